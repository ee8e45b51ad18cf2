package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"strings"
)

// CheckFiles says which of the files that c names are not there or cannot be read, and
// warns of those with secrets that everybody can read, or nobody has put one into. It opens
// files and reads nothing.
func (c *Config) CheckFiles() (problems, warnings Problems) {
	inline := false // a secret in the file itself
	walk("", reflect.ValueOf(c).Elem(), func(path string, k schemaKey, v reflect.Value) {
		switch v := v.Interface().(type) {
		case Secret:
			// The URL of an egress proxy is one only with a password in it.
			inline = inline || v.IsSet() && (k.name != "proxy_url" || strings.Contains(v.Reveal(), "@"))
		case []Secret:
			inline = inline || len(v) > 0
		}
		if k.names == "path" {
			return
		}
		for path, name := range fileNames(path, k, v) {
			found, err := inspect(name.String())
			switch {
			case err != nil:
				problems = append(problems, c.Problem(path, "%s", err))
			case k.names != "secret":
			case found.empty:
				warnings = append(warnings, c.Problem(path, "%s is empty; regcast waits for a secret in it", name.String()))
			case found.open:
				warnings = append(warnings, c.Problem(path, "everybody on this machine can read %s: chmod o-rwx", name.String()))
			}
		}
	})
	if inline && c.file != "" {
		if found, err := inspect(c.file); err == nil && found.open {
			warnings = append(warnings, c.Problem("", "holds a secret and everybody on this machine can read it: chmod o-rwx, or use the _file keys"))
		}
	}
	problems.Sort()
	warnings.Sort()
	return problems, warnings
}

// A finding is what can be said of a file without reading it.
type finding struct {
	open  bool // to everybody
	empty bool
}

// inspect says what keeps a file from being read, or what can be said of it.
func inspect(name string) (finding, error) {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return finding{}, fmt.Errorf("there is no file %s", name)
	case err != nil:
		return finding{}, err
	case info.IsDir():
		return finding{}, fmt.Errorf("%s is a folder, not a file", name)
	case !info.Mode().IsRegular():
		return finding{}, nil // opening a pipe would wait, or take what is in it
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrPermission) {
		return finding{}, fmt.Errorf("this user may not read %s", name)
	}
	if err != nil {
		return finding{}, err
	}
	return finding{info.Mode().Perm()&0o007 != 0, info.Size() == 0}, f.Close()
}
