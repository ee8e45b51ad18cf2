package main

import (
	"path"
	"strings"
	"testing"
)

// TestHouse lets a plain "go test ./..." guard the rules of the house.
func TestHouse(t *testing.T) {
	wrong, _, err := checkHouse("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wrong {
		t.Error(w)
	}
}

func TestRules(t *testing.T) {
	const head = "// Package p is.\npackage p\n"
	tests := map[string]struct {
		files map[string]string
		want  []string // a part of each finding, in order
	}{
		"nothing to say": {files: map[string]string{
			"p/p.go": head + `
var ErrX = errors.New("x")
var _ I = (*T)(nil)
var pattern = regexp.MustCompile("x")
var table = map[string]int{"a": 1}
var pool = sync.Pool{New: func() any { return new(T) }}
//go:embed x.sql
var schema string
func f() { table := 1; table++; _ = table; x := ErrX; _ = x }
func NewT() *T { return nil }
`,
			"p/p_test.go": `package p
var update = flag.Bool("update", false, "")
func ExampleNewT() {
	fmt.Println(NewT())
	// Output: <nil>
}
func TestX(t *testing.T) { synctest.Test(t, func(t *testing.T) { time.Sleep(1) }) }
func TestY(t *testing.T) { synctest.Test(t, func(t *testing.T) { rig{}.wait() }) }
func (rig) wait() { pass() }
func pass() { time.Sleep(1) }
`}},
		"init":             {map[string]string{"p/p.go": head + "func init() {}"}, []string{"p/p.go:3: init"}},
		"unfinished":       {map[string]string{"p/p.go": head + "// TO" + "DO: this\n"}, []string{"p/p.go:3: unfinished"}},
		"sleeps":           {map[string]string{"p/p.go": head, "p/p_test.go": "package p\nfunc TestX(t *testing.T) {\n\ttime.Sleep(1)\n}"}, []string{"p/p_test.go:3: time.Sleep"}},
		"sleeps elsewhere": {map[string]string{"p/p.go": head, "p/p_test.go": "package p\nfunc TestX(t *testing.T) { synctest.Test(t, f); other() }\nfunc other() { time.Sleep(1) }"}, []string{"p/p_test.go:3: time.Sleep"}},
		"no comment":       {map[string]string{"p/p.go": "package p"}, []string{"p: no package comment"}},
		"two comments":     {map[string]string{"p/p.go": head, "p/q.go": head}, []string{"p: more than one package comment: p/p.go, p/q.go"}},
		"empty state":      {map[string]string{"p/p.go": head + "var x int"}, []string{"variable x starts empty"}},
		"made state":       {map[string]string{"p/p.go": head + "var x = make(chan int)"}, []string{"variable x starts empty"}},
		"pointer state":    {map[string]string{"p/p.go": head + "var x = &T{}"}, []string{"variable x is a pointer"}},
		"lock state":       {map[string]string{"p/p.go": head + "var mu = sync.Mutex{}"}, []string{"variable mu is a sync.Mutex"}},
		"assigned state":   {map[string]string{"p/p.go": head + "var x = 1\nfunc f() { x = 2 }"}, []string{"variable x is changed"}},
		"state of a part":  {map[string]string{"p/p.go": head + "var x = []int{1}\nfunc f() { x[0]++ }"}, []string{"variable x is changed"}},
		"state by delete":  {map[string]string{"p/p.go": head + "var x = map[int]int{1: 1}\nfunc f() { delete(x, 1) }"}, []string{"variable x is changed"}},
		"state by address": {map[string]string{"p/p.go": head + "var x = T{1}\nfunc f() *T { return &x }"}, []string{"variable x is changed"}},
		"no example":       {map[string]string{"p/p.go": head + "func NewT() *T { return nil }"}, []string{"p/p.go:3: no Example with an Output calls NewT"}},
		"example not run":  {map[string]string{"p/p.go": head + "func NewT() *T { return nil }", "p/p_test.go": "package p\nfunc ExampleNewT() { NewT() }"}, []string{"no Example with an Output calls NewT"}},
		"no importers":     {files: map[string]string{"cmd/x/x.go": head + "func NewT() *T { return nil }"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var f folder
			for _, file := range []string{"p/p.go", "p/q.go", "p/p_test.go", "cmd/x/x.go"} {
				source, ok := test.files[file]
				if !ok {
					continue
				}
				parsed, err := parseSource(file, []byte(source))
				if err != nil {
					t.Fatal(err)
				}
				f.dir = path.Dir(file)
				f.files = append(f.files, parsed)
			}
			got, _ := f.judge()
			if len(got) != len(test.want) {
				t.Fatalf("got %d findings, want %d:\n%s", len(got), len(test.want), strings.Join(got, "\n"))
			}
			for i := range got {
				if !strings.Contains(got[i], test.want[i]) {
					t.Errorf("got  %s\nwant …%s…", got[i], test.want[i])
				}
			}
		})
	}
}

func TestLongFileWarns(t *testing.T) {
	source := "// Package p is.\npackage p\n" + strings.Repeat("\n", maxFileLines)
	file, err := parseSource("p/p.go", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	_, warnings := folder{dir: "p", files: []sourceFile{file}}.judge()
	if len(warnings) != 1 {
		t.Errorf("got warnings %q, want one", warnings)
	}
}
