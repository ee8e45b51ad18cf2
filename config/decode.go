package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"time"
)

// A decoder moves a TOML document into a Config. The toml package could do so itself,
// but stops at the first value of a wrong type, takes Key for key and gives all elements
// of an array the same position.
type decoder struct {
	config   *Config
	problems Problems
	given    map[string]bool // the key paths of the document
	bad      map[string]bool // those that have a problem already
}

// A custom value decodes itself from what the toml package makes of a TOML value.
type custom interface{ decode(v any) error }

func (d *decoder) document(doc map[string]any) {
	d.given, d.bad = map[string]bool{}, map[string]bool{}
	d.table("", doc, reflect.ValueOf(d.config).Elem())
}

// report adds a problem with the key at path, unless it has one already: what is of a
// wrong type need not be missing as well.
func (d *decoder) report(path, format string, args ...any) {
	if d.bad[path] {
		return
	}
	d.bad[path] = true
	d.problems = append(d.problems, d.config.Problem(path, format, args...))
}

func (d *decoder) table(path string, src map[string]any, dst reflect.Value) {
	for key, v := range src {
		at := join(path, key)
		d.given[at] = true
		known := keysOf(dst.Type())
		i := slices.IndexFunc(known, func(k schemaKey) bool { return k.name == key })
		switch {
		case i >= 0:
			field := dst.Field(known[i].field)
			d.value(at, v, field)
			for _, name := range fileNames(at, known[i], field) {
				name.SetString(d.config.resolve(name.String()))
			}
		case later(at):
			d.report(at, "not yet available in this version")
		default:
			d.report(at, "unknown key%s", didYouMean(key, namesOf(known)))
		}
	}
}

// resolve makes a file name relative to the configuration file's folder one that can be
// opened.
func (c *Config) resolve(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(c.file), name)
}

func (d *decoder) value(path string, v any, dst reflect.Value) {
	if c, ok := dst.Addr().Interface().(custom); ok {
		if err := c.decode(v); err != nil {
			d.report(path, "%s", err)
		}
		return
	}
	var err error
	switch p := dst.Addr().Interface().(type) {
	case *time.Duration:
		*p, err = duration(v)
	case *netip.Prefix:
		*p, err = prefix(v)
	default:
		err = d.kind(path, v, dst)
	}
	if err != nil {
		d.report(path, "%s", err)
	}
}

func (d *decoder) kind(path string, v any, dst reflect.Value) error {
	switch dst.Kind() {
	case reflect.String:
		s, ok := v.(string)
		if !ok {
			return wrongType("a string", v)
		}
		dst.SetString(s)
	case reflect.Bool:
		b, ok := v.(bool)
		if !ok {
			return wrongType("true or false", v)
		}
		dst.SetBool(b)
	case reflect.Int:
		n, ok := v.(int64)
		if !ok {
			return wrongType("a whole number", v)
		}
		dst.SetInt(n)
	case reflect.Struct:
		t, ok := v.(map[string]any)
		if !ok {
			return wrongType("a table", v)
		}
		d.table(path, t, dst)
	case reflect.Slice:
		return d.slice(path, v, dst)
	case reflect.Map:
		return d.headers(path, v, dst)
	default:
		panic("config: no way to decode a " + dst.Type().String())
	}
	return nil
}

func (d *decoder) slice(path string, v any, dst reflect.Value) error {
	elem := dst.Type().Elem()
	if t, ok := v.([]map[string]any); ok { // as the toml package has [[array.of.tables]]
		list := make([]any, len(t))
		for i := range t {
			list[i] = t[i]
		}
		v = list
	}
	list, ok := v.([]any)
	if _, table := v.(map[string]any); table && elem.Kind() == reflect.Struct {
		key := plain(path)
		return fmt.Errorf("there can be several: write [[%s]] instead of [%[1]s]", key)
	}
	if !ok {
		return wrongType("a list", v)
	}
	dst.Set(reflect.MakeSlice(dst.Type(), len(list), len(list)))
	for i := range list {
		switch e := dst.Index(i).Addr().Interface().(type) {
		case *Endpoint:
			*e = defaultEndpoint()
		case *Proxy:
			*e = defaultProxy()
		}
		d.value(index(path, i), list[i], dst.Index(i))
	}
	return nil
}

// headers decodes a table whose values are strings or lists of strings.
func (d *decoder) headers(path string, v any, dst reflect.Value) error {
	t, ok := v.(map[string]any)
	if !ok {
		return wrongType("a table", v)
	}
	headers := make(map[string][]Secret, len(t))
	for name, v := range t {
		at := join(path, name)
		d.given[at] = true
		if _, ok := v.(string); ok {
			v = []any{v}
		}
		list, ok := v.([]any)
		if !ok {
			d.report(at, "%s", wrongType("a string or a list of strings", v))
			continue
		}
		values := make([]Secret, len(list))
		for i := range list {
			d.value(index(at, i), list[i], reflect.ValueOf(&values[i]).Elem())
		}
		headers[name] = values
	}
	dst.Set(reflect.ValueOf(headers))
	return nil
}

func duration(v any) (time.Duration, error) {
	const hint = `write it with a unit, such as "500ms", "20s" or "72h"`
	switch v := v.(type) {
	case string:
		t, err := time.ParseDuration(v)
		if err != nil {
			if _, numErr := strconv.ParseFloat(v, 64); numErr == nil {
				return 0, fmt.Errorf("%q lacks a unit of time: write %q or %q", v, v+"s", v+"ms")
			}
			return 0, fmt.Errorf("%q is not a duration: %s", v, hint)
		}
		return t, nil
	case int64, float64:
		return 0, fmt.Errorf("%v lacks a unit of time: write %q or %q", v, fmt.Sprint(v, "s"), fmt.Sprint(v, "ms"))
	default:
		return 0, wrongType("a duration", v)
	}
}

func prefix(v any) (netip.Prefix, error) {
	s, ok := v.(string)
	if !ok {
		return netip.Prefix{}, wrongType("a string", v)
	}
	p, err := netip.ParsePrefix(s)
	if err == nil {
		return p.Masked(), nil
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.Prefix{}, fmt.Errorf("%q lacks the length of its network: write %q", s, netip.PrefixFrom(a, a.BitLen()))
	}
	return netip.Prefix{}, fmt.Errorf(`%q is not a network: write it as "10.0.0.0/8"`, s)
}

// wrongType says what a value should have been, and what it is.
func wrongType(want string, v any) error {
	return fmt.Errorf("must be %s, not %s", want, tomlType(v))
}

func tomlType(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case int64:
		return "a whole number"
	case float64:
		return "a number"
	case bool:
		return "true or false"
	case time.Time:
		return "a time"
	case map[string]any:
		return "a table"
	default:
		return "a list"
	}
}
