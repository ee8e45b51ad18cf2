package admin_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/sinks"
)

// A description is what tests need of an OpenAPI document.
type description struct {
	Paths      map[string]map[string]operation
	Components struct {
		Parameters map[string]parameter
		Responses  map[string]any
		Schemas    map[string]schema
	}
}

type operation struct {
	Role        string `json:"x-role"`
	Parameters  []parameter
	RequestBody *struct {
		Content map[string]struct{ Schema schema }
	}
	Responses map[string]any
}

type parameter struct {
	Ref    string `json:"$ref"`
	Name   string
	In     string
	Schema schema
}

type schema struct {
	Ref        string `json:"$ref"`
	Type       string
	Format     string
	Enum       []string
	Properties map[string]schema
	Required   []string
	Items      *schema
	AllOf      []schema
}

func described(t *testing.T) description {
	t.Helper()
	w := ask(newHandler(populated(), tokens), request("GET", "/openapi.json", "", "Authorization", "Bearer "+reader))
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	var d description
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *description) parameters(o operation) (all []parameter) {
	for _, p := range o.Parameters {
		if name, ok := strings.CutPrefix(p.Ref, "#/components/parameters/"); ok {
			p = d.Components.Parameters[name]
		}
		all = append(all, p)
	}
	return all
}

func TestDescriptionHasTheRoutes(t *testing.T) {
	want := make(map[string]string)
	for _, rt := range admin.Routes() {
		want[rt.String()] = string(rt.Needs)
	}
	got := make(map[string]string)
	for path, methods := range described(t).Paths {
		for method, o := range methods {
			got[strings.ToUpper(method)+" "+path] = o.Role
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes (-served +described):\n%s", diff)
	}
}

// TestDescriptionHasTheParameters sends every parameter that is described; one that a
// route does not know is refused.
func TestDescriptionHasTheParameters(t *testing.T) {
	d := described(t)
	values := map[string]string{"since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z", "limit": "5", "after": "5", "id": "5"}
	for path, methods := range d.Paths {
		for method, o := range methods {
			rt := admin.Route{Method: strings.ToUpper(method), Path: path}
			query := make(url.Values)
			inPath := 0
			for _, p := range d.parameters(o) {
				switch p.In {
				case "path":
					inPath++
					if !strings.Contains(path, "{"+p.Name+"}") {
						t.Errorf("%s has no %s", rt, p.Name)
					}
				case "query":
					query.Set(p.Name, "x")
					if v, ok := values[p.Name]; ok {
						query.Set(p.Name, v)
					}
				}
			}
			if inPath != strings.Count(path, "{") {
				t.Errorf("%s: %d parameters of the path", rt, inPath)
			}
			w := ask(newHandler(ended(), tokens), request(rt.Method, somewhere(rt)+"?"+query.Encode(), bodyOf(rt)))
			if w.Code/100 != 2 {
				t.Errorf("%s with %v: %d %s", rt, query, w.Code, w.Body)
			}
			if o.Responses[strconv.Itoa(w.Code)] == nil {
				t.Errorf("%s: status %d is not described", rt, w.Code)
			}
		}
	}
	// And none is left out: these are all that the routes know.
	for path, want := range map[string][]string{
		"/events":        {"action", "actor", "after", "digest", "id", "limit", "repository", "since", "tag", "until"},
		"/events/stream": {"Last-Event-ID", "action", "actor", "after", "digest", "id", "limit", "repository", "since", "tag", "until"},
		"/dead":          {"after", "endpoint", "id", "limit", "reason", "repository"},
		"/quarantine":    {"after", "id", "limit", "reason"},
		"/log":           {"after", "limit"},
	} {
		var got []string
		for _, p := range d.parameters(d.Paths[path]["get"]) {
			got = append(got, p.Name)
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +described):\n%s", path, diff)
		}
	}
}

func TestDescriptionHasTheStatuses(t *testing.T) {
	d := described(t)
	for _, tt := range routeTests() {
		status := tt.status
		if status == 0 {
			status = http.StatusOK
		}
		o := d.Paths[tt.route][strings.ToLower(tt.method)]
		if o.Responses[strconv.Itoa(status)] == nil {
			t.Errorf("%s %s: status %d is not described", tt.method, tt.route, status)
		}
		if (tt.body != "") != (o.RequestBody != nil) {
			t.Errorf("%s %s: a body is described: %v", tt.method, tt.route, o.RequestBody != nil)
		}
	}
}

// TestDescriptionHasTheStructs compares every schema with the struct of its name.
func TestDescriptionHasTheStructs(t *testing.T) {
	structs := map[string]any{
		"Endpoint": admin.Endpoint{}, "PingRequest": admin.PingRequest{}, "Pong": admin.Pong{},
		"Event": admin.Event{}, "EventStory": admin.EventStory{}, "Place": admin.Place{}, "Attempt": admin.Attempt{},
		"DeadLetter": admin.DeadLetter{}, "DeadRequest": admin.DeadRequest{}, "Outcome": admin.Outcome{},
		"Selection": admin.Selection{}, "ReplayRequest": admin.ReplayRequest{}, "Job": admin.Job{},
		"Quarantined": admin.Quarantined{}, "QuarantineRequest": admin.QuarantineRequest{},
		"BackfillRequest": admin.BackfillRequest{}, "Found": admin.Found{}, "Backfilled": admin.Backfilled{},
		"Operation": admin.Operation{}, "Problem": admin.Problem{}, "Failure": admin.Failure{},
		"EndpointPage": admin.Page[admin.Endpoint]{}, "EventPage": admin.Page[admin.Event]{},
		"DeadLetterPage": admin.Page[admin.DeadLetter]{}, "JobPage": admin.Page[admin.Job]{},
		"QuarantinedPage": admin.Page[admin.Quarantined]{}, "OperationPage": admin.Page[admin.Operation]{},
	}
	d := described(t)
	for name, s := range d.Components.Schemas {
		if name == "Text" {
			continue // a string or an object: TestText
		}
		v, ok := structs[name]
		if !ok {
			t.Errorf("schema %s is of nothing", name)
			continue
		}
		want, required := fieldsOf(reflect.TypeOf(v))
		got := make(map[string]string)
		for key, p := range s.Properties {
			got[key] = kindOf(p)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-struct +schema):\n%s", name, diff)
		}
		slices.Sort(s.Required)
		if diff := cmp.Diff(required, s.Required); diff != "" {
			t.Errorf("%s: required (-struct +schema):\n%s", name, diff)
		}
	}
	for name := range structs {
		if _, ok := d.Components.Schemas[name]; !ok {
			t.Errorf("no schema of %s", name)
		}
	}
}

// fieldsOf are the JSON kinds of a struct's fields, and which are always there.
func fieldsOf(t reflect.Type) (kinds map[string]string, required []string) {
	kinds = make(map[string]string)
	for _, f := range reflect.VisibleFields(t) {
		tag, ok := f.Tag.Lookup("json")
		if !ok {
			continue // embedded
		}
		name, opts, _ := strings.Cut(tag, ",")
		kinds[name] = goKind(f.Type)
		if opts == "" {
			required = append(required, name)
		}
	}
	slices.Sort(required)
	return kinds, required
}

func goKind(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "date-time"
	case t == reflect.TypeFor[json.RawMessage]():
		return "object"
	case t == reflect.TypeFor[admin.Text]():
		return "Text"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return goKind(t.Elem())
	case reflect.Slice:
		return "array of " + goKind(t.Elem())
	case reflect.Struct:
		return t.Name()
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Float64:
		return "number"
	default:
		return "integer"
	}
}

func kindOf(s schema) string {
	switch {
	case s.Ref != "":
		return strings.TrimPrefix(s.Ref, "#/components/schemas/")
	case len(s.AllOf) == 1:
		return kindOf(s.AllOf[0])
	case s.Type == "array":
		return "array of " + kindOf(*s.Items)
	case s.Format == "date-time":
		return s.Format
	}
	return s.Type
}

func TestDescriptionHasTheWords(t *testing.T) {
	d := described(t)
	var states, reasons []string
	for _, name := range endpoints.StateNames() {
		states = append(states, string(name))
	}
	for _, reason := range sinks.DeadReasons() {
		reasons = append(reasons, string(reason))
	}
	for _, state := range states {
		if got := d.Components.Schemas["Endpoint"].Properties["state"].Enum; !slices.Contains(got, state) {
			t.Errorf("state %s is not described", state)
		}
	}
	for name, got := range map[string][]string{
		"DeadLetter":  d.Components.Schemas["DeadLetter"].Properties["reason"].Enum,
		"DeadRequest": d.Components.Schemas["DeadRequest"].Properties["reason"].Enum,
		"parameter":   d.Components.Parameters["deadReason"].Schema.Enum,
	} {
		if diff := cmp.Diff(reasons, got); diff != "" {
			t.Errorf("reasons of %s (-served +described):\n%s", name, diff)
		}
	}
}
