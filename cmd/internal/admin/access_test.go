package admin_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/admin/admintest"
)

// somewhere fills in a route's path.
func somewhere(rt admin.Route) string {
	id := "5"
	switch {
	case strings.HasPrefix(rt.Path, "/jobs"):
		id = "job1"
	case strings.HasPrefix(rt.Path, "/quarantine"):
		id = "3"
	case strings.HasPrefix(rt.Path, "/events"):
		id = "e7"
	}
	return strings.NewReplacer("{name}", "audit", "{id}", id).Replace(rt.Path)
}

// bodyOf is a body that a route understands.
func bodyOf(rt admin.Route) string {
	switch rt.Path {
	case "/backfill":
		return `{"from":"https://registry.example","endpoints":["audit"],"step":"begin"}`
	case "/replay":
		return `{"endpoint":"audit","all":true}`
	case "/dead/replay", "/dead/drop", "/quarantine/retry", "/quarantine/drop":
		return `{"all":true}`
	}
	return ""
}

// ended is a populated dispatcher whose streams end at once.
func ended() *admintest.Dispatcher {
	d := populated()
	d.Live = make(chan admin.Event)
	close(d.Live)
	return d
}

// TestWhoMayDoWhat asks every route as everybody.
func TestWhoMayDoWhat(t *testing.T) {
	for _, rt := range admin.Routes() {
		for _, who := range []struct {
			name, authorization string
			read, operate       int // status; 0: success
		}{
			{"nobody", "", 401, 401},
			{"a stranger", "Bearer wrong", 401, 401},
			{"nothing", "Bearer ", 401, 401},
			{"basic", "Basic " + operator, 401, 401},
			{"without scheme", operator, 401, 401},
			{"reader", "Bearer " + reader, 0, 403},
			{"operator", "bearer  " + operator, 0, 0},
		} {
			want := who.read
			if rt.Needs == admin.Operate {
				want = who.operate
			}
			d := ended()
			w := try(t, newHandler(d, tokens), rt, "Authorization", who.authorization)
			if got := w.StatusCode; got != want && (want != 0 || got/100 != 2) {
				t.Errorf("%s as %s: %d, want %d", rt, who.name, got, want)
			}
			if (w.StatusCode == 401) != (w.Header.Get("WWW-Authenticate") != "") {
				t.Errorf("%s as %s: %d with WWW-Authenticate %q", rt, who.name, w.StatusCode, w.Header.Get("WWW-Authenticate"))
			}
			log, _ := d.Log(t.Context(), admin.LogQuery{Limit: 9})
			calls := d.Calls()
			if want != 0 && len(calls) > 1 || len(log) > 0 && want != 0 {
				t.Errorf("%s as %s: the dispatcher was asked %q", rt, who.name, calls)
			}
		}
	}
}

// try makes a request over a real connection, since streams need one.
func try(t *testing.T, h http.Handler, rt admin.Route, headers ...string) *http.Response {
	t.Helper()
	srv := httptest.NewServer(h)
	defer srv.Close()
	r := request(rt.Method, somewhere(rt), bodyOf(rt), headers...)
	r.RequestURI, r.URL.Host = "", srv.Listener.Addr().String()
	if r.Host == "127.0.0.1:8411" {
		r.Host = ""
	}
	res, err := srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res
}

func TestCrossSiteRequestsAreRefused(t *testing.T) {
	for _, rt := range admin.Routes() {
		for _, tt := range []struct {
			name    string
			headers []string
			safe    bool
		}{
			{"a person's own page", []string{"Sec-Fetch-Site", "same-origin", "Origin", "http://127.0.0.1:8411"}, true},
			{"the address bar", []string{"Sec-Fetch-Site", "none"}, true},
			{"no browser", nil, true},
			{"another site", []string{"Sec-Fetch-Site", "cross-site"}, false},
			{"a neighbour", []string{"Sec-Fetch-Site", "same-site"}, false},
			{"another site in an old browser", []string{"Origin", "https://evil.example"}, false},
			{"nowhere in an old browser", []string{"Origin", "null"}, false},
		} {
			d := ended()
			w := try(t, newHandler(d, tokens), rt, tt.headers...)
			ok := tt.safe || rt.Needs == admin.Read
			if (w.StatusCode/100 == 2) != ok || !ok && w.StatusCode != http.StatusForbidden {
				t.Errorf("%s from %s: %d", rt, tt.name, w.StatusCode)
			}
			if log, _ := d.Log(t.Context(), admin.LogQuery{Limit: 9}); !ok && len(log) > 0 {
				t.Errorf("%s from %s: logged %+v", rt, tt.name, log)
			}
		}
	}
}

// Without tokens whoever reaches us may do everything; a foreign page must not, by giving
// its own name our address.
func TestWithoutTokensForeignNamesAreRefused(t *testing.T) {
	none := func() []admin.Token { return nil }
	for host, want := range map[string]int{
		"127.0.0.1:8411": 200, "localhost:8411": 200, "LOCALHOST": 200, "[::1]:8411": 200, "::1": 200, "127.0.0.1": 200,
		"evil.example": 403, "evil.example:8411": 403, "localhost.evil.example": 403, "": 403, "127.0.0.1.evil.example": 403,
	} {
		r := request("GET", "/endpoints", "", "Authorization", "")
		r.Host = host
		if w := ask(newHandler(populated(), none), r); w.Code != want {
			t.Errorf("host %q: %d, want %d", host, w.Code, want)
		}
		r = request("GET", "/endpoints", "")
		r.Host = host
		if w := ask(newHandler(populated(), tokens), r); w.Code != 200 {
			t.Errorf("host %q with a token: %d", host, w.Code)
		}
	}
	d := populated()
	if w := ask(newHandler(d, none), request("POST", "/reload", "", "Authorization", "")); w.Code != 204 {
		t.Errorf("a change without tokens: %d", w.Code)
	}
	if log, _ := d.Log(t.Context(), admin.LogQuery{Limit: 9}); len(log) != 1 || log[0].Token != "" {
		t.Errorf("logged %+v, want an operation of nobody", log)
	}
}

// Tokens that cannot be read are in the list without a value: the door stays shut.
func TestAnEmptyTokenIsNoKey(t *testing.T) {
	empty := func() []admin.Token { return []admin.Token{{Name: "lost", Role: admin.Operate}} }
	for _, authorization := range []string{"", "Bearer", "Bearer ", "Bearer x"} {
		if w := ask(newHandler(populated(), empty), request("GET", "/endpoints", "", "Authorization", authorization)); w.Code != 401 {
			t.Errorf("%q: %d, want 401", authorization, w.Code)
		}
	}
}

func TestWithoutADispatcherThereIsNoAPI(t *testing.T) {
	if w := ask(newHandler(nil, tokens), request("GET", "/endpoints", "")); w.Code != 404 {
		t.Errorf("%d, want 404", w.Code)
	}
}
