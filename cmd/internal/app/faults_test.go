package app_test

import (
	"testing"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/app"
)

// account checks that each of the n events stored for an endpoint is delivered, filtered,
// dead, dropped, evicted or pending, by the metrics as by the admin API, and returns
// how many are what. Nothing is stored meanwhile.
func account(t *testing.T, a *app.App, endpoint string, n int) map[string]int {
	t.Helper()
	c := operator(t, a, "")
	metrics := scrape(t, a)
	checkIdentity(t, metrics, endpoint, n)
	if e := status(t, c, endpoint); stored(&e) != uint64(n) {
		t.Errorf("%+v adds up to %d, want %d stored", e, stored(&e), n)
	}
	return settled(metrics, endpoint)
}

// buried returns the reasons of an endpoint's dead letters by the ids of their events.
func buried(t *testing.T, a *app.App, endpoint string) map[string]string {
	t.Helper()
	reasons := make(map[string]string)
	for _, l := range must(operator(t, a, "").DeadLetters(t.Context(), admin.DeadQuery{DeadSelection: admin.DeadSelection{Endpoint: endpoint}, Limit: 1000}))(t) {
		reasons[l.EventID] = l.Reason
	}
	return reasons
}
