package config

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
)

const exampleFile = "../examples/regcast.toml"

func readExample(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestExampleIsSound(t *testing.T) {
	c, err := Parse([]byte(readExample(t)), exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	if warnings := c.Warnings(); len(warnings) > 0 {
		t.Errorf("the example has warnings:\n%v", warnings)
	}
}

// TestExampleShowsDefaults: what the example gives for keys that it does not need is
// what they are without it.
func TestExampleShowsDefaults(t *testing.T) {
	got, err := Parse([]byte(readExample(t)), exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Parse([]byte(`
[source]
addr = "registry.example:5000"
[intake]
token_file = "secrets/intake"
[[admin.token]]
name = "ops"
role = "operate"
token_file = "secrets/ops"
[[proxy]]
name = "main"
listen = "127.0.0.1:5000"
upstream = "https://registry.internal:5000"
[[endpoint]]
name = "audit"
url = "https://audit.example/hooks/registry"
authorization_file = "secrets/audit"
signing = { secret_files = ["secrets/audit-key"] }
headers = { X-Team = ["registry"], X-Trace = ["a", "b"] }
filter = { kinds = ["image"], actions = ["push", "delete"], repositories = ["team/**"] }
ignore = { repositories = ["team/scratch/**"], actors = ["scanner"], methods = ["HEAD"] }
proxy_url = ""
[[endpoint]]
name = "console"
url = "console:"
[[endpoint]]
name = "archive"
url = "file:archive/events.jsonl"
filter = { actions = ["push", "delete", "mount"] }
[[endpoint]]
name = "copy"
kind = "mirror"
source = "https://registry.internal:5000"
target = "https://registry.other/prefix"
source_auth_file = "secrets/registry.json"
target_auth_file = "secrets/other.json"
`), exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	emptyIsNil := cmp.FilterValues(func(a, b any) bool {
		x, y := reflect.ValueOf(a), reflect.ValueOf(b)
		return x.Kind() == reflect.Slice && y.Kind() == reflect.Slice && x.Len() == 0 && y.Len() == 0
	}, cmp.Ignore())
	unexported := cmp.FilterPath(func(p cmp.Path) bool {
		f, ok := p.Last().(cmp.StructField)
		return ok && (f.Name() == "file" || f.Name() == "lines")
	}, cmp.Ignore())
	if diff := cmp.Diff(want, got, emptyIsNil, unexported); diff != "" {
		t.Errorf("the example is not what the defaults make (-defaults +example):\n%s", diff)
	}
}

// TestExampleIsComplete: each key of the structs is in the example, be it as #key, and
// nothing else is.
func TestExampleIsComplete(t *testing.T) {
	text := regexp.MustCompile(`(?m)^#(\w+ = )`).ReplaceAllString(readExample(t), "$1")
	var doc map[string]any
	if _, err := toml.Decode(text, &doc); err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	collect("", doc, documented)
	exist := map[string]bool{}
	allKeys("", reflect.TypeFor[Config](), exist)
	for path := range exist {
		if !documented[path] {
			t.Errorf("%s exists and is not in %s", path, exampleFile)
		}
	}
	for path := range documented {
		if !exist[path] && !strings.HasPrefix(path, "endpoint.headers.") {
			t.Errorf("%s is in %s and does not exist", path, exampleFile)
		}
	}
}

// collect adds the paths of all keys in a table, without indices.
func collect(path string, v any, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			into[join(path, key)] = true
			collect(join(path, key), value, into)
		}
	case []map[string]any:
		for _, table := range v {
			collect(path, table, into)
		}
	}
}

func allKeys(path string, t reflect.Type, into map[string]bool) {
	for _, k := range keysOf(t) {
		at, field := join(path, k.name), t.Field(k.field).Type
		into[at] = true
		if field.Kind() == reflect.Slice {
			field = field.Elem()
		}
		if isTable(field) {
			allKeys(at, field, into)
		}
	}
}

// TestSchema: what the structs' tags say makes sense.
func TestSchema(t *testing.T) {
	var names []string
	walk("", reflect.ValueOf(Trial()).Elem(), func(path string, k schemaKey, v reflect.Value) {
		if !slices.Contains([]string{"", "path", "file", "secret"}, k.names) || k.names != "" && v.Kind() != reflect.String && v.Type() != reflect.TypeFor[[]string]() {
			t.Errorf("%s: the tag says that it names a %q", path, k.names)
		}
		if (strings.HasSuffix(path, "_file") || strings.HasSuffix(path, "_files")) != (k.names == "file" || k.names == "secret") {
			t.Errorf("%s: names a file by its key or by its tag alone", path)
		}
		if later(path) {
			t.Errorf("%s exists and is refused as not yet available", path)
		}
		names = append(names, path)
	})
	if !slices.Contains(names, "endpoint[0].tls.ca_file") || !slices.Contains(names, "engine.journal.on_full") {
		t.Errorf("walk does not reach everything: %v", names)
	}
}
