package sinks

import (
	"errors"
	"fmt"
	"strings"

	"github.com/regcast/regcast/notifications"
)

// A Matcher selects events. It is safe for concurrent use, does no I/O and looks only at
// an event's exported fields and kind.
type Matcher interface {
	Match(e *notifications.Event) bool
}

// MatcherFunc is a function as a [Matcher].
type MatcherFunc func(*notifications.Event) bool

// Match calls f.
func (f MatcherFunc) Match(e *notifications.Event) bool { return f(e) }

// Rules are one half of what selects events: see [NewMatcher]. An empty list is a key
// that is not given.
type Rules struct {
	Kinds        []string // names that notifications.ParseKind knows
	Actions      []string // exact
	Repositories []string // patterns: see [Glob]
	Tags         []string // patterns
	MediaTypes   []string // patterns
	Actors       []string // patterns
	Methods      []string // HTTP methods, in upper case
}

// A RuleMatcher selects events by [Rules]. It is immutable and safe for concurrent use.
type RuleMatcher struct {
	filter, ignore ruleSet
}

// NewMatcher returns a matcher of what filter selects and ignore does not.
//
// The values of one key are alternatives. In filter every key given must match; in ignore
// one matching key is enough, and it wins. A field that an event lacks matches no value:
// filter.MediaTypes excludes deletes, which have none. An event whose action
// [notifications.KnownAction] does not know passes only where filter.Actions names it.
//
// Errors: a [*RuleError] for each bad value, joined by errors.Join.
func NewMatcher(filter, ignore Rules) (*RuleMatcher, error) {
	f, badFilter := compile("filter", filter)
	i, badIgnore := compile("ignore", ignore)
	if err := errors.Join(append(badFilter, badIgnore...)...); err != nil {
		return nil, err
	}
	return &RuleMatcher{f, i}, nil
}

// A RuleError says what is wrong with one value of a [Rules] list.
type RuleError struct {
	Key   string // such as "filter.media_types"
	Value string
	Err   error
}

// Error names the key, the value and what is wrong.
func (e *RuleError) Error() string { return fmt.Sprintf("%s: %q: %v", e.Key, e.Value, e.Err) }

// Unwrap returns what is wrong.
func (e *RuleError) Unwrap() error { return e.Err }

// Match tells whether e is selected. It allocates nothing.
func (m *RuleMatcher) Match(e *notifications.Event) bool { return m.Explain(e) == "" }

// MayMatch is Match for an event of which the media type may not be known yet: it is
// false only if no media type would make it true.
func (m *RuleMatcher) MayMatch(e *notifications.Event) bool {
	return m.excluder(e, openFields(e)) == ""
}

// Explain names the key that keeps e out, such as "filter.repositories" or
// "ignore.methods", and is "" if e is selected.
func (m *RuleMatcher) Explain(e *notifications.Event) string { return m.excluder(e, 0) }

// excluder is Explain that leaves out the fields in open.
func (m *RuleMatcher) excluder(e *notifications.Event, open fieldSet) string {
	for i := range m.ignore.rules {
		if r := &m.ignore.rules[i]; !open.has(r.field) && r.match(e) {
			return r.key
		}
	}
	if !m.filter.actions && !notifications.KnownAction(e.Action) {
		return "filter.actions"
	}
	for i := range m.filter.rules {
		if r := &m.filter.rules[i]; !open.has(r.field) && !r.match(e) {
			return r.key
		}
	}
	return ""
}

// A field is what a key of Rules looks at.
type field uint8

const (
	kindField field = iota
	actionField
	repositoryField
	tagField
	mediaTypeField
	actorField
	methodField
)

func (f field) of(e *notifications.Event) string {
	switch f {
	case actionField:
		return e.Action
	case repositoryField:
		return e.Repository
	case tagField:
		return e.Tag
	case mediaTypeField:
		return e.MediaType
	case actorField:
		return e.Actor
	case methodField:
		return e.Method
	}
	return ""
}

type fieldSet uint8

func (s fieldSet) has(f field) bool { return s&(1<<f) != 0 }

// openFields are the fields that may still change when all of e becomes known: the media
// type, which deletes do not have, and the kind where it depends on the media type.
func openFields(e *notifications.Event) fieldSet {
	switch {
	case e.MediaType != "" || e.Action == notifications.ActionDelete:
		return 0
	case e.Tag != "" || e.Action == notifications.ActionMount:
		return 1 << mediaTypeField
	}
	return 1<<mediaTypeField | 1<<kindField
}

// A ruleSet is Rules, made ready: a rule for each key given, the cheapest first.
type ruleSet struct {
	rules   []rule
	actions bool // the key is given
}

// A rule holds the alternatives of one key.
type rule struct {
	key   string // as in "filter.tags"
	field field
	kinds notifications.Kind
	names map[string]struct{} // values without a wildcard
	globs []Glob
}

func (r *rule) match(e *notifications.Event) bool {
	if r.field == kindField {
		return e.Kind().Has(r.kinds)
	}
	value := r.field.of(e)
	if value == "" {
		return false
	}
	if len(r.names) > 0 {
		if _, ok := r.names[value]; ok {
			return true
		}
	}
	for i := range r.globs {
		if r.globs[i].Match(value) {
			return true
		}
	}
	return false
}

// compile makes rules ready. half is "filter" or "ignore".
func compile(half string, rules Rules) (set ruleSet, bad []error) {
	keys := []struct {
		name   string
		field  field
		values []string
		add    func(*rule, string) error
	}{
		{"actions", actionField, rules.Actions, addAction},
		{"kinds", kindField, rules.Kinds, addKind},
		{"methods", methodField, rules.Methods, addMethod},
		{"tags", tagField, rules.Tags, addName},
		{"repositories", repositoryField, rules.Repositories, addName},
		{"media_types", mediaTypeField, rules.MediaTypes, addName},
		{"actors", actorField, rules.Actors, addPattern},
	}
	set.actions = len(rules.Actions) > 0
	for _, k := range keys {
		if len(k.values) == 0 {
			continue
		}
		r := rule{key: half + "." + k.name, field: k.field, names: make(map[string]struct{})}
		for _, v := range k.values {
			if err := k.add(&r, v); err != nil {
				bad = append(bad, &RuleError{r.key, v, err})
			}
		}
		set.rules = append(set.rules, r)
	}
	return set, bad
}

func addKind(r *rule, name string) error {
	kind, err := notifications.ParseKind(name)
	r.kinds |= kind
	return err
}

func addAction(r *rule, action string) error {
	if action == "" || strings.ContainsAny(action, "*? ") {
		return errors.New("actions are named in full, not by patterns")
	}
	r.names[action] = struct{}{}
	return nil
}

func addMethod(r *rule, method string) error {
	if method == "" || strings.ContainsFunc(method, func(c rune) bool { return c < 'A' || c > 'Z' }) {
		return errors.New("not an HTTP method in upper case")
	}
	r.names[method] = struct{}{}
	return nil
}

// addName adds a pattern of names in which the wildcards of other languages cannot occur,
// so that one who expects them is told.
func addName(r *rule, pattern string) error {
	if i := strings.IndexAny(pattern, `?[]{}\!`); i >= 0 {
		return fmt.Errorf(`%q has no meaning here: only "*" and "**" are wildcards`, pattern[i])
	}
	return addPattern(r, pattern)
}

func addPattern(r *rule, pattern string) error {
	glob, err := ParseGlob(pattern)
	if err != nil {
		return err
	}
	if glob.exact() {
		r.names[pattern] = struct{}{}
	} else {
		r.globs = append(r.globs, glob)
	}
	return nil
}
