package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/admin/admintest"
	"github.com/regcast/regcast/config"
)

// A pretended dispatcher is what dispatcher.json of a script holds.
type pretended struct {
	Endpoints  []admin.Endpoint
	Events     []admin.EventStory
	Live       []admin.Event // what a stream sends before it ends
	Dead       []admin.DeadLetter
	Jobs       []admin.Job
	Quarantine []admin.Quarantined
	Log        []admin.Operation // oldest first
	Pong       admin.Pong
	Outcome    admin.Outcome
	Errs       map[string]string // by method; "conflict: …" for an admin.ErrConflict
	Problems   config.Problems   // of Reload
}

const (
	operatorToken = "operator-secret"
	readerToken   = "reader-secret"
)

// TestOperate runs the commands that talk to a dispatcher against one that only pretends,
// as testdata/operate/*.txtar say. Beside the commands of testscript and exits they have:
//
//	calls [CALL...]   # the calls that changed or selected something since the last time are these
//
// $REGCAST_ADMIN and $REGCAST_TOKEN are those of the dispatcher; $READER is a token that
// may only read.
func TestOperate(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/operate",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			d, err := pretend(filepath.Join(env.WorkDir, "dispatcher.json"))
			if err != nil {
				return err
			}
			srv := httptest.NewServer(admin.NewHandler(&admin.Options{
				Healthy: fine, Ready: fine, Gatherer: prometheus.NewRegistry(), Dispatcher: d,
				Tokens: func() []admin.Token {
					return []admin.Token{{Name: "ops", Role: admin.Operate, Value: operatorToken}, {Name: "dev", Role: admin.Read, Value: readerToken}}
				},
			}))
			env.Defer(srv.Close)
			env.Values["dispatcher"] = d
			env.Setenv("REGCAST_ADMIN", srv.URL)
			env.Setenv("REGCAST_TOKEN", operatorToken)
			env.Setenv("READER", readerToken)
			return setup(env)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"address": address,
			"calls":   calls,
			"exits":   exits,
		},
	})
}

func fine() error { return nil }

// pretend makes the dispatcher that a file describes.
func pretend(file string) (*admintest.Dispatcher, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var p pretended
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	d := &admintest.Dispatcher{
		EndpointList: p.Endpoints, EventList: p.Events, DeadList: p.Dead, JobList: p.Jobs, QuarantineList: p.Quarantine,
		Pong: p.Pong, Outcome: p.Outcome, Errs: make(map[string]error), Live: make(chan admin.Event, len(p.Live)),
	}
	for _, e := range p.Live {
		d.Live <- e
	}
	for i := range p.Log {
		if err := d.Record(context.Background(), &p.Log[i]); err != nil {
			return nil, err
		}
	}
	for method, text := range p.Errs {
		d.Errs[method] = errors.New(text)
		if after, ok := strings.CutPrefix(text, "conflict: "); ok {
			d.Errs[method] = fmt.Errorf("%w: %s", admin.ErrConflict, after)
		}
	}
	if len(p.Problems) > 0 {
		d.Errs["Reload"] = p.Problems
	}
	return d, nil
}

func calls(ts *testscript.TestScript, neg bool, want []string) {
	if neg {
		ts.Fatalf("usage: calls [CALL...]")
	}
	got := ts.Value("dispatcher").(*admintest.Dispatcher).Calls()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		ts.Fatalf("calls:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
