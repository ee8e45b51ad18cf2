package config

import "reflect"

// NeedRestart lists the paths of the keys that differ between the running configuration
// and the next one and that cannot change while regcast runs: what a reload is refused
// for. Everything else can change: endpoints, tokens, the level of the log.
func NeedRestart(running, next *Config) []string {
	return differences("", reflect.ValueOf(running).Elem(), reflect.ValueOf(next).Elem(), false)
}

// differences compares two structs of one type; all says that every key counts, not
// only those marked restart.
func differences(path string, a, b reflect.Value, all bool) []string {
	var paths []string
	for _, k := range keysOf(a.Type()) {
		at, x, y, counts := join(path, k.name), a.Field(k.field), b.Field(k.field), all || k.restart
		switch {
		case isTable(x.Type()):
			paths = append(paths, differences(at, x, y, counts)...)
		case counts && x.Kind() == reflect.Slice && isTable(x.Type().Elem()) && x.Len() == y.Len():
			for i := range x.Len() {
				paths = append(paths, differences(index(at, i), x.Index(i), y.Index(i), true)...)
			}
		case counts && !reflect.DeepEqual(x.Interface(), y.Interface()):
			paths = append(paths, at)
		}
	}
	return paths
}
