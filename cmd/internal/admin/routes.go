package admin

import (
	_ "embed"
	"net/http"
	"strings"
)

// Prefix begins the path of every route of the API.
const Prefix = "/api/v1"

//go:embed openapi.json
var openAPI []byte

// An api serves the routes below Prefix.
type api struct {
	*Handler
	Dispatcher

	mux         *http.ServeMux
	crossOrigin *http.CrossOriginProtection
	streams     chan struct{} // holds one for each stream
}

// A route is a method and a path below Prefix, and what it takes to be let in.
type route struct {
	method, path string
	needs        Role
	serve        func(*call) error
}

func (a *api) routes() []route {
	return []route{
		{"GET", "/openapi.json", Read, a.describe},

		{"GET", "/endpoints", Read, a.listEndpoints},
		{"GET", "/endpoints/{name}", Read, a.showEndpoint},
		{"POST", "/endpoints/{name}/pause", Operate, a.control(Pause)},
		{"POST", "/endpoints/{name}/resume", Operate, a.control(Resume)},
		{"POST", "/endpoints/{name}/disable", Operate, a.control(Disable)},
		{"POST", "/endpoints/{name}/enable", Operate, a.control(Enable)},
		{"POST", "/endpoints/{name}/ping", Operate, a.pingEndpoint},
		{"DELETE", "/endpoints/{name}", Operate, a.control(Forget)},

		{"GET", "/events", Read, a.listEvents},
		{"GET", "/events/{id}", Read, a.showEvent},
		{"GET", "/events/stream", Read, a.streamEvents},

		{"GET", "/dead", Read, a.listDead},
		{"GET", "/dead/{id}", Read, a.showDead},
		{"POST", "/dead/replay", Operate, a.replayDead},
		{"POST", "/dead/drop", Operate, a.dropDead},

		{"POST", "/replay", Operate, a.replay},
		{"GET", "/jobs", Read, a.listJobs},
		{"GET", "/jobs/{id}", Read, a.showJob},
		{"DELETE", "/jobs/{id}", Operate, a.cancelJob},

		{"GET", "/quarantine", Read, a.listQuarantined},
		{"GET", "/quarantine/{id}", Read, a.showQuarantined},
		{"POST", "/quarantine/retry", Operate, a.retryQuarantined},
		{"POST", "/quarantine/drop", Operate, a.dropQuarantined},

		{"POST", "/backfill", Operate, a.backfill},

		{"POST", "/reload", Operate, a.reload},
		{"GET", "/log", Read, a.listLog},
	}
}

func newAPI(h *Handler) *api {
	a := &api{
		Handler: h, Dispatcher: h.opts.Dispatcher,
		mux: http.NewServeMux(), crossOrigin: http.NewCrossOriginProtection(),
		streams: make(chan struct{}, maxStreams),
	}
	for _, rt := range a.routes() {
		a.mux.Handle(rt.method+" "+Prefix+rt.path, a.guard(rt))
	}
	return a
}

// ServeHTTP answers in JSON even where no route does.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, pattern := a.mux.Handler(r); pattern != "" {
		a.mux.ServeHTTP(w, r)
		return
	}
	c := &call{Request: r, w: w}
	if allowed := a.allowed(r); len(allowed) > 0 {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		a.fail(c, refusal{http.StatusMethodNotAllowed, "this takes " + strings.Join(allowed, " or ") + " only"})
		return
	}
	a.fail(c, refusal{http.StatusNotFound, "no such route; what there is: GET " + Prefix + "/openapi.json"})
}

// allowed are the methods that the path of r takes.
func (a *api) allowed(r *http.Request) (methods []string) {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		if _, pattern := a.mux.Handler(&http.Request{Method: method, Host: r.Host, URL: r.URL}); pattern != "" {
			methods = append(methods, method)
		}
	}
	return methods
}

// guard lets those in who may use a route.
func (a *api) guard(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{Request: r, w: w}
		var err error
		if c.token, err = authorize(a.opts.Tokens(), a.crossOrigin, r, rt.needs); err != nil {
			a.fail(c, err)
			return
		}
		select {
		case <-a.refused:
			a.fail(c, errStopping)
			return
		default:
		}
		if err := rt.serve(c); err != nil {
			a.fail(c, err)
		}
	})
}

func (a *api) describe(c *call) error {
	c.answerRaw(http.StatusOK, openAPI)
	return nil
}
