package delivery_test

import (
	"testing"

	"github.com/regcast/regcast/cmd/internal/delivery"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

func TestForAudience(t *testing.T) {
	pushes, err := sinks.NewMatcher(sinks.Rules{Actions: []string{"push"}, MediaTypes: []string{"image/*"}}, sinks.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, format, wire string
		match              sinks.Matcher
		want, early        bool
	}{
		{"for it", "backfill", `"regcast":{"origin":"backfill","audience":"audit"}`, nil, true, true},
		{"for it, by its filter", "backfill", `"regcast":{"audience":"audit"}`, pushes, false, true},
		{"for another", "backfill", `"regcast":{"origin":"backfill","audience":"audit-2"}`, nil, false, false},
		{"for nobody", "backfill", `"regcast":{"origin":"backfill"}`, nil, false, false},
		{"without a remark", "backfill", `"a":1`, nil, false, false},
		{"unreadable", "backfill", `"regcast":{"audience":["audit"]}`, nil, false, false},
		{"a registry's, for another", "distribution", `"regcast":{"origin":"backfill","audience":"deploy"}`, nil, true, true},
		{"a registry's, by its filter", "distribution", `"regcast":{"audience":"deploy"}`, pushes, false, true},
		{"a bridge's", "", `"regcast":{"audience":"deploy"}`, nil, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			e, err := notifications.ParseEvent(`{"id":"1","action":"push","target":{"repository":"team/app"},` + test.wire + `}`)
			if err != nil {
				t.Fatal(err)
			}
			e.Provenance.Format = test.format
			m := delivery.ForAudience("audit", test.match)
			if got := m.Match(e); got != test.want {
				t.Errorf("Match = %t, want %t", got, test.want)
			}
			if got := sinks.MayMatch(m, e); got != test.early {
				t.Errorf("MayMatch = %t, want %t", got, test.early)
			}
		})
	}
}
