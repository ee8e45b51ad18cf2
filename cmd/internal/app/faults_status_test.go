package app_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/notifications/notificationstest"
)

// A fate is what becomes of the first event that is answered with a status.
type fate struct {
	states []string // of the endpoint, when it has settled on one
	reason string   // of the dead letter; "" if there is none
	done   bool     // it is not pending any more
}

// fateOf is the table of verdicts as people read it.
func fateOf(code int) fate {
	switch code {
	case 101:
		return fate{states: []string{"misdirected"}}
	case 401, 403, 407:
		return fate{states: []string{"auth"}}
	case 404, 405, 406, 415, 501, 505:
		return fate{states: []string{"misdirected"}}
	case 408, 425:
		return fate{states: []string{"down"}}
	case 409:
		return fate{states: []string{"ok", "retrying"}}
	case 410:
		return fate{states: []string{"disabled"}}
	case 411, 413:
		return fate{states: []string{"ok"}, reason: "too_large", done: true}
	case 429:
		return fate{states: []string{"throttled"}}
	}
	switch code / 100 {
	case 1, 2: // an informational answer is followed by 200
		return fate{states: []string{"ok"}, done: true}
	case 3:
		return fate{states: []string{"misdirected"}}
	case 4:
		return fate{states: []string{"ok"}, reason: "rejected", done: true}
	default:
		return fate{states: []string{"down"}}
	}
}

func (f fate) fits(e *admin.Endpoint) bool {
	if f.done != (e.Pending == 0) || (e.Dead == 1) != (f.reason != "") {
		return false
	}
	for _, s := range f.states {
		if e.State == s {
			return true
		}
	}
	return false
}

// TestEveryStatus has an endpoint for each status there can be, and then a receiver that
// has come to its senses.
func TestEveryStatus(t *testing.T) {
	t.Parallel() // an event that is rejected is tried again after 10 s
	const first, last = 100, 599
	var healed atomic.Bool
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if code, err := strconv.Atoi(path.Base(r.URL.Path)); err != nil {
			t.Error(err)
		} else if !healed.Load() {
			w.WriteHeader(code)
		}
	}))
	t.Cleanup(hook.Close)
	name := func(code int) string { return fmt.Sprintf("status-%d", code) }
	var list strings.Builder
	for code := first; code <= last; code++ {
		fmt.Fprintf(&list, "\n[[endpoint]]\nname = %q\nurl = \"%s/%d\"\nconcurrency = 1\nretry = { initial = \"100ms\", max = \"500ms\" }\n", name(code), hook.URL, code)
	}
	a := startApp(t, load(t, t.TempDir(), list.String()))
	c := operator(t, a, "")
	mustSend(t, a, notificationstest.Pushes(1, 1, "team/a")...)

	unfit := make(map[string]admin.Endpoint)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for range int(patience / time.Second) {
		clear(unfit)
		for _, e := range must(c.Endpoints(t.Context()))(t) {
			if code, _ := strconv.Atoi(strings.TrimPrefix(e.Name, "status-")); !fateOf(code).fits(&e) {
				unfit[e.Name] = e
			}
		}
		if len(unfit) == 0 {
			break
		}
		<-tick.C
	}
	for name, e := range unfit {
		t.Errorf("%s: %+v", name, e)
	}

	healed.Store(true)
	var steering sync.WaitGroup
	for code := first; code <= last; code++ {
		action := admin.Resume
		switch fateOf(code).states[0] {
		case "ok", "down": // which heals by itself
			continue
		case "disabled":
			action = admin.Enable
		}
		steering.Go(func() {
			if err := c.Control(t.Context(), name(code), action); err != nil {
				t.Errorf("%d: %s: %v", code, action, err)
			}
		})
	}
	steering.Wait()
	pending := regexp.MustCompile(`(?m)^regcast_endpoint_pending_events\{.*\} [1-9]`)
	lines := make(map[string]string) // of the metrics, by endpoint
	for _, m := range accounts.FindAllStringSubmatch(scrapeUntil(t, a, func(metrics string) bool { return !pending.MatchString(metrics) }), -1) {
		lines[m[1]] += m[0] + "\n"
	}
	letters := make(map[string]string)
	for _, l := range must(c.DeadLetters(t.Context(), admin.DeadQuery{Limit: 1000}))(t) {
		letters[l.Endpoint] = l.Reason
	}
	for code := first; code <= last; code++ {
		checkIdentity(t, lines[name(code)], name(code), 1)
		if want := fateOf(code).reason; letters[name(code)] != want {
			t.Errorf("%d: dead letter %q, want %q", code, letters[name(code)], want)
		}
		if got := settled(lines[name(code)], name(code))["delivered"] == 1; got != (fateOf(code).reason == "") {
			t.Errorf("%d: delivered %t", code, got)
		}
	}
}
