package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"gopkg.in/yaml.v2"
)

// registryFile is the part of distribution's configuration that is about notifications.
// It is read with the YAML package that distribution itself uses, so that both mean the
// same by it.
type registryFile struct {
	Notifications struct {
		Events struct {
			IncludeReferences bool           `yaml:"includereferences"`
			Rest              map[string]any `yaml:",inline"`
		} `yaml:"events"`
		Endpoints []registryEndpoint `yaml:"endpoints"`
		Rest      map[string]any     `yaml:",inline"`
	} `yaml:"notifications"`
}

type registryEndpoint struct {
	Name              string              `yaml:"name"`
	Disabled          bool                `yaml:"disabled"`
	URL               string              `yaml:"url"`
	Headers           map[string][]string `yaml:"headers"`
	Timeout           time.Duration       `yaml:"timeout"`
	Threshold         int                 `yaml:"threshold"`
	Backoff           time.Duration       `yaml:"backoff"`
	IgnoredMediaTypes []string            `yaml:"ignoredmediatypes"`
	Ignore            struct {
		MediaTypes []string       `yaml:"mediatypes"`
		Actions    []string       `yaml:"actions"`
		Rest       map[string]any `yaml:",inline"`
	} `yaml:"ignore"`
	Rest map[string]any `yaml:",inline"`
}

// A starter is what init writes: the fields of init.toml.tmpl, and the secrets that go
// into files of their own.
type starter struct {
	From              string // the file it was carried over from, "" for a new one
	Notes             []string
	Endpoints         []starterEndpoint
	IncludeReferences bool
}

type starterEndpoint struct {
	Name              string
	Notes             []string
	URL               string
	Timeout           string
	Authorization     string // goes into AuthorizationFile
	AuthorizationFile string
	Headers           []starterHeader
	RetryInitial      string
	RetryMax          string
	IgnoreMediaTypes  []string
	IgnoreActions     []string
	Disabled          bool
}

type starterHeader struct {
	Name   string
	Values []string
}

// leastDuration: distribution takes a bare number for nanoseconds, which nobody means
// who writes 500.
const leastDuration = time.Millisecond

// What the configuration takes at most.
const (
	mostTimeout = 10 * time.Minute
	mostRetry   = 24 * time.Hour
)

var quotedValue = regexp.MustCompile("`.*`")

// migrate turns the notifications of distribution's configuration into a starter. What
// has no equivalent is in its notes and those of its endpoints.
func migrate(data []byte) (*starter, error) {
	var file registryFile
	if err := yaml.Unmarshal(data, &file); err != nil {
		// The package quotes the beginning of a value, which may be a secret.
		return nil, fmt.Errorf("reading the registry's configuration: %s", quotedValue.ReplaceAllString(err.Error(), "a value"))
	}
	n := &file.Notifications
	s := &starter{IncludeReferences: n.Events.IncludeReferences}
	s.unknown("notifications", n.Rest)
	s.unknown("notifications.events", n.Events.Rest)
	names := map[string]bool{}
	for i, from := range n.Endpoints {
		at := fmt.Sprintf("notifications.endpoints[%d]", i)
		s.unknown(at, from.Rest)
		s.unknown(at+".ignore", from.Ignore.Rest)
		e, err := from.migrate(names)
		if err != nil {
			s.Notes = append(s.Notes, fmt.Sprintf("Left out: %s (%q): %v.", at, from.Name, err))
			continue
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	if len(n.Endpoints) == 0 {
		s.Notes = append(s.Notes, "The registry's configuration has no notifications.endpoints.")
	}
	return s, nil
}

func (s *starter) unknown(at string, rest map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(rest)) {
		s.Notes = append(s.Notes, fmt.Sprintf("Not carried over: %s.%s, which is not known here.", at, key))
	}
}

func (from *registryEndpoint) migrate(names map[string]bool) (starterEndpoint, error) {
	e := starterEndpoint{Name: uniqueName(from.Name, names), Disabled: from.Disabled}
	if e.Name != from.Name {
		e.note("The registry calls it %q; a name here has a-z, 0-9 and - alone.", from.Name)
	}
	user, err := e.target(from.URL)
	if err != nil {
		return e, err
	}
	e.headers(from.Headers)
	switch {
	case user == "":
	case e.Authorization == "":
		e.Authorization = user
		e.note("User name and password of the URL are in authorization_file.")
	default: // as Go's client does, and so the registry
		e.note("Not carried over: user name and password of the URL; the header Authorization is in authorization_file, and wins over them.")
	}
	e.times(from)
	for _, t := range append(slices.Clone(from.Ignore.MediaTypes), from.IgnoredMediaTypes...) {
		if t != "" && !slices.Contains(e.IgnoreMediaTypes, t) {
			e.IgnoreMediaTypes = append(e.IgnoreMediaTypes, t)
		}
	}
	e.IgnoreActions = slices.DeleteFunc(slices.Clone(from.Ignore.Actions), func(a string) bool { return a == "" })
	return e, nil
}

func (e *starterEndpoint) note(format string, args ...any) {
	e.Notes = append(e.Notes, fmt.Sprintf(format, args...))
}

// target takes the URL, and user and password out of it: the header that says them, ""
// without any.
func (e *starterEndpoint) target(raw string) (user string, err error) {
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return "", errors.New("its url is not an absolute http or https URL")
	}
	if u.User != nil {
		password, _ := u.User.Password()
		user = "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
		u.User = nil
	}
	e.URL = u.String()
	return user, nil
}

func (e *starterEndpoint) headers(from map[string][]string) {
	merged := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(from)) {
		canonical := http.CanonicalHeaderKey(name)
		merged[canonical] = append(merged[canonical], from[name]...)
	}
	for _, name := range slices.Sorted(maps.Keys(merged)) {
		values := merged[name]
		switch {
		case len(values) == 0:
		case strings.ContainsFunc(name+strings.Join(values, ""), unicode.IsControl):
			e.note("Not carried over: the header %q, which has control characters in it.", name)
		case name == "Authorization":
			e.Authorization = values[0]
			if len(values) > 1 {
				e.note("Not carried over: all values of Authorization but the first; a request has one.")
			}
		case slices.Contains([]string{"Content-Type", "Content-Length", "Transfer-Encoding", "Connection"}, name):
			e.note("Not carried over: the header %s, which regcast sets.", name)
		default:
			e.Headers = append(e.Headers, starterHeader{name, values})
		}
	}
	if len(e.Headers) > 0 {
		e.note("These headers stand in this file: if one is a secret, keep the file from other users.")
	}
}

func (e *starterEndpoint) times(from *registryEndpoint) {
	switch {
	case from.Timeout > mostTimeout:
		e.Timeout = short(mostTimeout)
		e.note("timeout = %v has become %s, the longest here.", from.Timeout, e.Timeout)
	case from.Timeout >= leastDuration:
		e.Timeout = short(from.Timeout)
	case from.Timeout > 0:
		e.note("Not carried over: timeout = %d, which is nanoseconds there; the default here is 15s.", from.Timeout)
	}
	switch {
	case from.Backoff >= leastDuration:
		e.RetryInitial, e.RetryMax = short(min(time.Second, from.Backoff)), short(min(from.Backoff, mostRetry))
		e.note("backoff has become the longest wait between two attempts.")
	case from.Backoff > 0:
		e.note("Not carried over: backoff = %d, which is nanoseconds there; the default here is 1s to 60s.", from.Backoff)
	}
	if from.Threshold != 0 {
		e.note("threshold = %d has no equivalent: every failed attempt is followed by a wait, and none is the last.", from.Threshold)
	}
}

// short writes a duration without parts that are zero: 1m for 1m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// uniqueName makes a name that an endpoint can have, unlike all in names, which it joins.
func uniqueName(from string, names map[string]bool) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(from))
	name = strings.Trim(name[:min(len(name), 60)], "-")
	if name == "" {
		name = "endpoint"
	}
	unique := name
	for i := 2; names[unique]; i++ {
		unique = fmt.Sprintf("%s-%d", name[:min(len(name), 55)], i)
	}
	names[unique] = true
	return unique
}
