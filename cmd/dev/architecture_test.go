package main

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// TestArchitecture lets a plain "go test ./..." guard the import matrix.
func TestArchitecture(t *testing.T) {
	wrong, err := checkArchitecture(t.Context(), "../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wrong {
		t.Error(w)
	}
}

// A world is a set of packages as go list would report it: ours by their folder, others
// by module path and, where a package is not the module's root, "module|package".
type world map[string][]string

func (w world) packages() map[string]goPackage {
	packages := make(map[string]goPackage)
	for name, imports := range w {
		var p goPackage
		for _, i := range imports {
			p.Imports = append(p.Imports, importPath(i))
		}
		p.ImportPath = importPath(name)
		packages[p.ImportPath] = p
	}
	for name, imports := range w {
		for _, n := range append([]string{name}, imports...) {
			path := importPath(n)
			p := packages[path]
			p.ImportPath = path
			module, _, _ := strings.Cut(n, "|")
			switch {
			case strings.HasPrefix(path, modulePath):
				module = modulePath
			case !strings.Contains(path, "."):
				p.Standard = true
				packages[path] = p
				continue
			}
			p.Module = &struct{ Path string }{module}
			packages[path] = p
		}
	}
	return packages
}

func importPath(name string) string {
	module, sub, found := strings.Cut(name, "|")
	first, _, _ := strings.Cut(module, "/")
	switch {
	case found:
		return module + "/" + sub
	case strings.Contains(first, ".") || isStandard(first):
		return module
	}
	return modulePath + "/" + name
}

func isStandard(first string) bool { return first == "net" || first == "errors" || first == "database" }

func TestMatrix(t *testing.T) {
	const (
		client       = "github.com/prometheus/client_golang|prometheus"
		toml         = "github.com/BurntSushi/toml"
		sqlite       = "modernc.org/sqlite"
		events       = "github.com/docker/go-events"
		distribution = "github.com/distribution/distribution/v3|registry"
	)
	tests := map[string]struct {
		world world
		want  []string // a part of each violation, in order
	}{
		"the house as it is": {world: world{
			"notifications":             {"errors", "github.com/google/uuid", "github.com/distribution/reference"},
			"notifications/intake":      {"notifications", client, "net/http"},
			"notifications/compat":      {"notifications", events},
			"sinks":                     {"notifications"},
			"sinks/journal":             {"sinks", "notifications", sqlite, client, "database/sql"},
			"sinks/sinktest":            {"sinks", "notifications", "github.com/google/go-cmp|cmp"},
			"endpoints":                 {"sinks", "notifications", client},
			"config":                    {toml},
			"cmd/internal/app":          {"config", "endpoints", "sinks/journal", "notifications/intake"},
			"cmd/regcast":               {"cmd/internal/app", "config", "github.com/spf13/cobra"},
			"examples/demo":             {"examples/internal/harness"},
			"examples/internal/harness": {distribution, "notifications"},
		}},
		"the domain composes": {
			world: world{"notifications": {"sinks"}, "sinks": {}},
			want:  []string{"notifications imports sinks: the domain knows nobody"},
		},
		"the domain measures": {
			world: world{"notifications": {client}},
			want:  []string{"notifications imports github.com/prometheus", "notifications is compiled with github.com/prometheus"},
		},
		"an arrow points up": {
			world: world{"sinks/journal": {"endpoints"}, "endpoints": {}},
			want:  []string{"sinks/journal imports endpoints: engines"},
		},
		"composition picks an engine": {
			world: world{"sinks": {"sinks/journal"}, "sinks/journal": {}},
			want:  []string{"sinks imports sinks/journal"},
		},
		"an endpoint reads the configuration": {
			world: world{"endpoints": {"config"}, "config": {}},
			want:  []string{"endpoints imports config"},
		},
		"the configuration behaves": {
			world: world{"config": {"endpoints"}, "endpoints": {}},
			want:  []string{"config imports endpoints: pure data"},
		},
		"a second TOML reader": {
			world: world{"cmd/regcast": {toml}},
			want:  []string{"cmd/regcast imports github.com/BurntSushi/toml, which belongs to config alone"},
		},
		"an unknown module": {
			world: world{"cmd/internal/app": {"example.org/leftpad"}},
			want:  []string{"of a module that the matrix does not have"},
		},
		"an unknown room": {
			world: world{"util": {"notifications"}, "notifications": {}},
			want:  []string{"util imports notifications, and the matrix has no room"},
		},
		"an embedder compiles SQLite in a roundabout way": {
			world: world{
				"endpoints": {"sinks"}, "sinks": {"github.com/google/uuid"},
				"github.com/google/uuid": {sqlite},
			},
			want: []string{"endpoints is compiled with modernc.org/sqlite", "sinks is compiled with modernc.org/sqlite"},
		},
		"the binary links an oracle": {
			world: world{"cmd/regcast": {"notifications/distribution"}, "notifications/distribution": {distribution}},
			want:  []string{"cmd/regcast is compiled with github.com/distribution/distribution/v3: other people's"},
		},
		"an example reaches into the binary": {
			world: world{"examples/demo": {"cmd/internal/app"}, "cmd/internal/app": {}},
			want:  []string{"examples/demo imports cmd/internal/app"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := matrixViolations(test.world.packages())
			if len(got) != len(test.want) {
				t.Fatalf("got %d violations, want %d:\n%s", len(got), len(test.want), strings.Join(got, "\n"))
			}
			for i := range got {
				if !strings.Contains(got[i], test.want[i]) {
					t.Errorf("got  %s\nwant …%s…", got[i], test.want[i])
				}
			}
		})
	}
}

// The tables name rooms by hand: a room that is no pattern of arrows is a misspelling.
func TestMatrixTables(t *testing.T) {
	known := func(room string) bool {
		if room == "..." {
			return true
		}
		for _, a := range arrows() {
			if within(strings.TrimSuffix(room, "/..."), []string{a.from}) || strings.HasPrefix(a.from, strings.TrimSuffix(room, "...")) {
				return true
			}
		}
		return false
	}
	for module, p := range modules() {
		for _, room := range p.rooms {
			if !known(room) {
				t.Errorf("%s: no room %q", module, room)
			}
		}
		if p.why == "" {
			t.Errorf("%s: no reason", module)
		}
	}
	for _, b := range bans() {
		for _, room := range b.from {
			if !known(room) {
				t.Errorf("ban of %v: no room %q", b.modules, room)
			}
		}
	}
}

// A permission for a module that we do not have would let it in without anybody asking.
func TestMatrixModulesAreRequired(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json", "../../go.mod").Output()
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(out, &file); err != nil {
		t.Fatal(err)
	}
	required := make(map[string]bool)
	for _, r := range file.Require {
		required[r.Path] = !r.Indirect
	}
	for module := range modules() {
		if !required[module] {
			t.Errorf("%s: go.mod does not require it", module)
		}
	}
}
