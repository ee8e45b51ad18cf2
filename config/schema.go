package config

import (
	"iter"
	"reflect"
	"strings"
)

// A schemaKey is a key of the file, as the tags of the structs have it.
type schemaKey struct {
	name    string
	names   string // what a string, or each of a list, names: "path", "file" or "secret" (a file that holds one); or ""
	restart bool   // cannot change while regcast runs
	field   int    // of the struct
}

// keysOf lists the keys of a struct.
func keysOf(t reflect.Type) []schemaKey {
	var keys []schemaKey
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		name, names, _ := strings.Cut(tag.Get("toml"), ",")
		if name != "" {
			keys = append(keys, schemaKey{name, names, tag.Get("restart") != "", i})
		}
	}
	return keys
}

func namesOf(keys []schemaKey) []string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	return names
}

// fileNames yields the strings of a key that names files, be it one or a list, with their
// paths; empty ones, which name none, are left out.
func fileNames(path string, k schemaKey, v reflect.Value) iter.Seq2[string, reflect.Value] {
	return func(yield func(string, reflect.Value) bool) {
		switch {
		case k.names == "":
		case v.Kind() == reflect.Slice:
			for i := range v.Len() {
				if name := v.Index(i); name.String() != "" && !yield(index(path, i), name) {
					return
				}
			}
		case v.String() != "":
			yield(path, v)
		}
	}
}

// isTable says whether a type is a table in the file; a Secret is a struct, but a value.
func isTable(t reflect.Type) bool { return t.Kind() == reflect.Struct && len(keysOf(t)) > 0 }

// walk visits every key of struct v and of the structs and lists of structs in it,
// tables before what is in them.
func walk(path string, v reflect.Value, visit func(path string, k schemaKey, v reflect.Value)) {
	for _, k := range keysOf(v.Type()) {
		at, field := join(path, k.name), v.Field(k.field)
		visit(at, k, field)
		switch {
		case isTable(field.Type()):
			walk(at, field, visit)
		case field.Kind() == reflect.Slice && isTable(field.Type().Elem()):
			for i := range field.Len() {
				walk(index(at, i), field.Index(i), visit)
			}
		}
	}
}

// later says whether the key at path belongs to a part of regcast that does not exist
// yet. It is refused for that reason, and neither as unknown nor silently ignored.
func later(path string) bool {
	switch plain(path) {
	case "engine.jetstream":
		return true
	}
	return false
}
