package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
)

// The import matrix, three tables that hold for everything that is not a test. An entry
// of a list is a folder of ours; "endpoints/..." is the folder and all below it.

// A permission says which rooms may import an external module, and why only they.
type permission struct {
	rooms []string
	why   string
}

// modules lists every external module that our code may import directly: those that
// go.mod requires, but for what only tests use. What is not here may be imported by
// nobody: adding a dependency begins with its reason.
func modules() map[string]permission {
	vocabulary := []string{"..."}
	return map[string]permission{
		"github.com/google/uuid":                  {vocabulary, "ids"},
		"github.com/opencontainers/go-digest":     {vocabulary, "digests"},
		"github.com/distribution/reference":       {vocabulary, "names"},
		"github.com/opencontainers/image-spec":    {vocabulary, "descriptors"},
		"github.com/prometheus/client_golang":     {[]string{"endpoints/...", "notifications/intake", "notifications/observer/...", "notifications/internal/outbox", "notifications/distribution", "sinks/journal", "sinks/jetstream", "cmd/...", "examples/..."}, "notifications and sinks are compiled into registries that have metrics of their own"},
		"github.com/BurntSushi/toml":              {[]string{"config"}, "the configuration's syntax is the business of config alone"},
		"modernc.org/sqlite":                      {[]string{"sinks/journal"}, "the journal is the only durable store"},
		"golang.org/x/sys":                        {[]string{"sinks/journal", "cmd/..."}, "locks and file systems"},
		"github.com/docker/go-events":             {[]string{"notifications/compat", "cmd/dev/bench"}, "the ancestor's sinks are met in one place, and measured in another"},
		"github.com/distribution/distribution/v3": {[]string{"notifications/distribution", "notifications/registry/registrytest", "cmd/dev/bench", "examples/..."}, "an adapter and an oracle, never a part of what we ship"},
		"github.com/google/go-containerregistry":  {[]string{"examples/..."}, "a client to drive a registry with, in examples and tests"},
		"oras.land/oras-go/v2":                    {[]string{"notifications/registry", "notifications/registry/auth", "endpoints/mirror"}, "the calls of a registry client, and Docker's configuration"},
		"github.com/hashicorp/golang-lru/v2":      {[]string{"notifications/observer", "cmd/internal/proxy/..."}, "what is remembered of a registry's traffic is the most recent"},
		"github.com/hashicorp/golang-lru/arc/v2":  {[]string{"notifications/observer/cache"}, "the descriptor cache keeps what is used recently or often"},
		"github.com/redis/go-redis/v9":            {[]string{"notifications/observer/cache/redis", "cmd/..."}, "who does not share a cache compiles no Redis client"},
		"github.com/go-jose/go-jose/v4":           {[]string{"cmd/..."}, "the binary verifies tokens; whoever embeds an observer has a registry that does"},
		"golang.org/x/crypto":                     {[]string{"notifications/registry/registrytest"}, "bcrypt, for a registry's htpasswd"},
		"github.com/sirupsen/logrus":              {[]string{"notifications/registry/registrytest", "examples/..."}, "distribution logs through it, and a harness has to quiet it"},
		"github.com/google/go-cmp":                {[]string{"sinks/sinktest", "notifications/notificationstest"}, "comparison, in conformance suites"},
		"gopkg.in/yaml.v2":                        {[]string{"cmd/regcast"}, "init reads a registry's configuration; ours is TOML"},
		"golang.org/x/sync":                       {[]string{"cmd/dev/bench"}, "groups of clients"},
		"github.com/spf13/cobra":                  {[]string{"cmd/..."}, "the command line"},
		"github.com/schollz/progressbar/v3":       {[]string{"cmd/..."}, "the command line"},
	}
}

// An arrow says which rooms of ours a room may import, and why no others.
type arrow struct {
	from string
	to   []string
	why  string
}

// arrows lists every room, the more special before the more general: the first that
// fits counts. A room that is not here may import nothing of ours.
func arrows() []arrow {
	return []arrow{
		{"notifications", []string{"notifications/internal/names"}, "the domain knows nobody but what a name is"},
		{"notifications/internal/names", nil, "a leaf that everybody may judge names with"},
		{"notifications/observer/route", []string{"notifications/internal/names"}, "paths are read by who compiles no observer, too"},
		{"notifications/registry", []string{"notifications/registry/internal/answer", "notifications/registry/internal/backoff"}, "a client calls; who it is and what is repeated its transport decides, which the caller chooses"},
		{"notifications/registry/auth", []string{"notifications/registry/...", "notifications/observer/route", "notifications/internal/names"}, "a transport knows paths and names, not those who watch them: it compiles no metrics"},
		{"notifications/registry/internal/answer", nil, "a leaf that the client and its transport share"},
		{"notifications/registry/internal/backoff", nil, "a leaf that the client and its transport share"},
		{"notifications/...", []string{"notifications/..."}, "arrows point down: the domain's adapters know the domain, not who composes them"},
		{"sinks", []string{"notifications"}, "composition knows the domain, not its engines and adapters: whoever composes compiles neither"},
		{"sinks/...", []string{"sinks/...", "notifications", "notifications/notificationstest"}, "engines implement sinks and know nothing above"},
		{"endpoints", []string{"sinks", "notifications", "notifications/verify"}, "an endpoint works with any engine, so it knows none; what it signs and what receivers check is one piece of code"},
		{"endpoints/...", []string{"endpoints/...", "sinks", "notifications", "notifications/registry", "notifications/registry/auth"}, "an endpoint works with any engine, so it knows none"},
		{"config", nil, "pure data: what it means is decided in cmd/internal/app"},
		{"cmd/dev/...", []string{"..."}, "measures everything"},
		{"cmd/regcast", []string{"cmd/internal/...", "config", "notifications/...", "sinks/...", "endpoints/..."}, "the binary is made of everything but the examples and the task runner"},
		{"cmd/internal/...", []string{"cmd/internal/...", "config", "notifications/...", "sinks/...", "endpoints/..."}, "where configuration meets constructors"},
		{"examples/...", []string{"examples/...", "notifications/...", "sinks/...", "endpoints/..."}, "an example does what an embedder can do"},
	}
}

// A ban says what must not even be compiled into some packages, however indirectly.
type ban struct {
	from    []string
	modules []string
	why     string
}

func bans() []ban {
	domain := []string{"notifications", "sinks"}
	return []ban{
		{domain, []string{"github.com/prometheus/client_golang"}, "a registry that embeds us has metrics of its own"},
		{[]string{"notifications", "sinks", "endpoints"},
			[]string{"github.com/BurntSushi/toml", "modernc.org/sqlite", "github.com/nats-io/nats.go", "github.com/distribution/distribution/v3",
				"github.com/docker/go-events", "oras.land/oras-go/v2", "github.com/redis/go-redis/v9", "github.com/spf13/cobra"},
			"who embeds the bridge and a webhook compiles nothing that they do not use"},
		{[]string{"cmd/regcast"},
			[]string{"github.com/distribution/distribution/v3", "github.com/docker/go-events", "github.com/nats-io/nats-server/v2", "github.com/google/go-containerregistry"},
			"other people's registries and servers are oracles in tests, not parts of the binary"},
	}
}

// goPackage is what we need of "go list -json".
type goPackage struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Module     *struct{ Path string }
	Error      *struct{ Err string }
}

// room is the folder of one of our packages, "" for anybody else's.
func (p goPackage) room() string {
	room, ours := strings.CutPrefix(p.ImportPath, modulePath+"/")
	if !ours {
		return ""
	}
	return room
}

// checkArchitecture lists how the code under root breaks the matrix.
func checkArchitecture(ctx context.Context, root string) ([]string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-json=ImportPath,Standard,Imports,Module,Error", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
		}
		return nil, fmt.Errorf("listing packages: %w", err)
	}
	packages := make(map[string]goPackage)
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			return nil, fmt.Errorf("reading the list of packages: %w", err)
		}
		packages[p.ImportPath] = p
	}
	return matrixViolations(packages), nil
}

// matrixViolations judges a set of packages that holds every dependency of each.
func matrixViolations(packages map[string]goPackage) []string {
	var wrong []string
	for _, p := range packages {
		if p.room() == "" {
			continue
		}
		for _, path := range p.Imports {
			if v := judgeImport(p.room(), packages[path]); v != "" {
				wrong = append(wrong, v)
			}
		}
		wrong = append(wrong, judgeBans(p, packages)...)
	}
	slices.Sort(wrong)
	return wrong
}

// judgeImport says what is wrong with room importing target, "" if nothing.
func judgeImport(room string, target goPackage) string {
	switch {
	case target.Standard || target.ImportPath == "" || target.ImportPath == "C":
		return ""
	case target.room() != "":
		for _, a := range arrows() {
			if !within(room, []string{a.from}) {
				continue
			}
			if within(target.room(), a.to) {
				return ""
			}
			return fmt.Sprintf("%s imports %s: %s", room, target.room(), a.why)
		}
		return fmt.Sprintf("%s imports %s, and the matrix has no room of that name", room, target.room())
	case target.Module == nil:
		return fmt.Sprintf("%s imports %s, which belongs to no module", room, target.ImportPath)
	}
	allowed, known := modules()[target.Module.Path]
	if !known {
		return fmt.Sprintf("%s imports %s of a module that the matrix does not have: add it with its rooms and its reason", room, target.ImportPath)
	}
	if !within(room, allowed.rooms) {
		return fmt.Sprintf("%s imports %s, which belongs to %s alone: %s", room, target.ImportPath, strings.Join(allowed.rooms, ", "), allowed.why)
	}
	return ""
}

// judgeBans says which banned modules p is compiled with, and through whom.
func judgeBans(p goPackage, packages map[string]goPackage) []string {
	var wrong []string
	for _, b := range bans() {
		if !within(p.room(), b.from) {
			continue
		}
		for _, banned := range b.modules {
			if chain := chainTo(p.ImportPath, banned, packages, make(map[string]bool)); chain != nil {
				wrong = append(wrong, fmt.Sprintf("%s is compiled with %s: %s (%s)", p.room(), banned, b.why, strings.Join(chain, " → ")))
			}
		}
	}
	return wrong
}

// chainTo finds a path of imports from one package to any of a module, nil if there is none.
func chainTo(from, module string, packages map[string]goPackage, seen map[string]bool) []string {
	if seen[from] {
		return nil
	}
	seen[from] = true
	p := packages[from]
	if p.Module != nil && p.Module.Path == module {
		return []string{from}
	}
	for _, next := range p.Imports {
		if chain := chainTo(next, module, packages, seen); chain != nil {
			return append([]string{from}, chain...)
		}
	}
	return nil
}

// within tells whether room is one of the patterns: a folder, or with "/..." everything
// in and below it; "..." is every room.
func within(room string, patterns []string) bool {
	for _, pattern := range patterns {
		base, below := strings.CutSuffix(pattern, "...")
		if !below {
			if room == pattern {
				return true
			}
			continue
		}
		base = strings.TrimSuffix(base, "/")
		if base == "" || room == base || strings.HasPrefix(room, base+"/") {
			return true
		}
	}
	return false
}
