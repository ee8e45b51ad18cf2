package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/regcast/regcast/cmd/internal/app"
	"github.com/regcast/regcast/config"
)

//go:embed init.toml.tmpl
var initTemplate string

// secretsDir is where init puts secrets that it takes out of a registry's configuration,
// beside the file it writes.
const secretsDir = "regcast-secrets"

// maxRegistryFile bounds a registry's configuration, in bytes.
const maxRegistryFile = 1 << 20

func newInitCommand() *cobra.Command {
	var from, output string
	cmd := &cobra.Command{
		Use:     "init",
		GroupID: groupConfig,
		Short:   "Write a configuration file to start from",
		Long: `init writes a commented configuration to stdout or, with --output, to a file. It never
overwrites one.

With --from it carries over the notifications of a CNCF distribution registry: its
endpoints with their URLs, headers, timeouts and ignore rules. Authorization headers go
into files of their own in the folder ` + secretsDir + ` beside the configuration, which
only you can read. What has no equivalent is said on stderr and in the file, and so are
the lines that point the registry at regcast. Environment variables that override the
registry's file (REGISTRY_NOTIFICATIONS_…) are not looked at.`,
		Example: `  regcast init --output regcast.toml
  regcast init --from /etc/distribution/config.yml --output regcast.toml
  docker exec registry cat /etc/distribution/config.yml | regcast init --from - --output regcast.toml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return initialize(cmd, from, output) },
	}
	cmd.Flags().StringVar(&from, "from", "", "distribution's configuration `file` to carry over, - for stdin")
	cmd.Flags().StringVarP(&output, "output", "o", "", "`file` to write (default stdout)")
	// The errors are those of flags that do not exist.
	_ = cmd.MarkFlagFilename("from", "yml", "yaml")
	_ = cmd.MarkFlagFilename("output", "toml")
	return cmd
}

func initialize(cmd *cobra.Command, from, output string) error {
	s := &starter{}
	if from != "" {
		data, err := readRegistryFile(cmd.InOrStdin(), from)
		if err != nil {
			return usageError{err}
		}
		if s, err = migrate(data); err != nil {
			return usageError{err}
		}
		s.From = printable(from)
	}
	for i := range s.Endpoints {
		if e := &s.Endpoints[i]; e.Authorization != "" {
			e.AuthorizationFile = filepath.ToSlash(filepath.Join(secretsDir, e.Name+"-authorization"))
		}
	}
	text, err := s.render()
	if err != nil {
		return fmt.Errorf("rendering the configuration: %w", err)
	}
	if err := sound(text); err != nil {
		return usagef("carrying over %s: %w", from, err)
	}
	files := s.secretFiles(filepath.Dir(output))
	if output != "" {
		files = append(files, newFile{output, text, s.mode()})
	}
	if err := createAll(files); err != nil {
		return err
	}
	if output == "" {
		if _, err := cmd.OutOrStdout().Write(text); err != nil {
			return err
		}
	}
	s.explain(cmd.ErrOrStderr(), filepath.Dir(output))
	return nil
}

// sound says what "check" would find wrong with the result. Nothing is written then.
func sound(text []byte) error {
	cfg, err := config.Parse(text, "the result")
	if cfg == nil {
		return err
	}
	problems, _ := errors.AsType[config.Problems](err)
	if problems = problems.Merge(app.Check(cfg)); len(problems) > 0 {
		return errors.New(problems.Error())
	}
	return nil
}

func readRegistryFile(stdin io.Reader, name string) ([]byte, error) {
	r := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("reading the registry's configuration: %w", err)
		}
		defer func() { _ = f.Close() }() // only read
		r = f
	}
	data, err := io.ReadAll(io.LimitReader(r, maxRegistryFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading the registry's configuration: %w", err)
	}
	if len(data) > maxRegistryFile {
		return nil, fmt.Errorf("reading the registry's configuration: %s is larger than 1MiB", name)
	}
	return data, nil
}

func (s *starter) render() ([]byte, error) {
	t, err := template.New("init").Funcs(template.FuncMap{
		"comment": func(note string) string { return "# " + printable(note) },
		"quote":   quoteTOML,
		"list": func(values []string) string {
			quoted := make([]string, len(values))
			for i, v := range values {
				quoted[i] = quoteTOML(v)
			}
			return "[" + strings.Join(quoted, ", ") + "]"
		},
	}).Parse(initTemplate)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, s); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// printable leaves out what would end or spoil a comment.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// quoteTOML writes a string as JSON does, which is a basic string of TOML as well but for
// the one control character that JSON lets stand.
func quoteTOML(s string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic("encoding a string: " + err.Error())
	}
	return strings.ReplaceAll(strings.TrimSpace(b.String()), "\x7f", `\u007f`)
}

// mode is that of the configuration file: headers that were carried over may be secret.
func (s *starter) mode() fs.FileMode {
	for _, e := range s.Endpoints {
		if len(e.Headers) > 0 {
			return 0o600
		}
	}
	return 0o644
}

// A newFile is one that is to be written.
type newFile struct {
	name    string
	content []byte
	mode    fs.FileMode
}

// secretFiles are the Authorization headers, below dir.
func (s *starter) secretFiles(dir string) []newFile {
	var files []newFile
	for _, e := range s.Endpoints {
		if e.AuthorizationFile != "" {
			files = append(files, newFile{filepath.Join(dir, e.AuthorizationFile), []byte(e.Authorization + "\n"), 0o600})
		}
	}
	return files
}

// createAll writes all files, or none if one of them is there already.
func createAll(files []newFile) error {
	for _, f := range files {
		if _, err := os.Lstat(f.name); err == nil {
			return fmt.Errorf("%s is there already and is not overwritten: move it away, or use another --output", f.name)
		}
	}
	for _, f := range files {
		if err := f.create(); err != nil {
			return fmt.Errorf("writing the configuration: %w", err)
		}
	}
	return nil
}

func (f newFile) create() error {
	if f.mode&0o077 == 0 {
		if err := os.MkdirAll(filepath.Dir(f.name), 0o700); err != nil {
			return err
		}
	}
	w, err := os.OpenFile(f.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.mode)
	if err != nil {
		return err
	}
	_, err = w.Write(f.content)
	return errors.Join(err, w.Close())
}

// explain says on stderr which files hold secrets, what was not carried over and how to
// point the registry here.
func (s *starter) explain(stderr io.Writer, dir string) {
	if s.From == "" {
		return
	}
	for _, f := range s.secretFiles(dir) {
		fmt.Fprintf(stderr, "wrote an Authorization header to %s (mode 0600): the user that runs regcast has to be able to read it\n", f.name)
	}
	for _, note := range s.Notes {
		fmt.Fprintln(stderr, note)
	}
	for _, e := range s.Endpoints {
		for _, note := range e.Notes {
			fmt.Fprintf(stderr, "%s: %s\n", e.Name, note)
		}
	}
	fmt.Fprint(stderr, "\nTo point the registry at regcast, its notifications become:\n\n", s.registryLines(), `
where url is intake.listen as the registry sees it. If intake has a token, add
      headers: {Authorization: [Bearer TOKEN]}
regcast follows no redirects: each endpoint's url has to be the final one.
`)
}

func (s *starter) registryLines() string {
	var events string
	if s.IncludeReferences {
		events = "  events:\n    includereferences: true\n"
	}
	return "notifications:\n" + events + `  endpoints:
    - name: regcast
      url: http://127.0.0.1:8410/events
      timeout: 5s
      threshold: 3
      backoff: 1s
`
}
