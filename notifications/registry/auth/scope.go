package auth

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/regcast/regcast/notifications/internal/names"
	"github.com/regcast/regcast/notifications/observer/route"
	"github.com/regcast/regcast/notifications/registry"
)

// A scopeSet is what a token is asked to allow: actions by resource, "repository:team/app"
// or "registry:catalog".
type scopeSet map[string][]string

// add adds actions on a resource.
func (s scopeSet) add(resource string, actions ...string) {
	for _, action := range actions {
		if action != "" && !slices.Contains(s[resource], action) {
			s[resource] = append(s[resource], action)
		}
	}
}

// addAll adds a scope parameter: entries "type:name:actions" that spaces separate. A
// name may have colons.
func (s scopeSet) addAll(parameter string) {
	for entry := range strings.FieldsSeq(parameter) {
		if i := strings.LastIndexByte(entry, ':'); i > 0 {
			s.add(entry[:i], strings.Split(entry[i+1:], ",")...)
		}
	}
}

// covers tells whether s allows all that want does.
func (s scopeSet) covers(want scopeSet) bool {
	for resource, actions := range want {
		has := s[resource]
		for _, action := range actions {
			if !slices.Contains(has, action) && !slices.Contains(has, "*") {
				return false
			}
		}
	}
	return true
}

// entries lists the set in the wire form and in a fixed order.
func (s scopeSet) entries() []string {
	entries := make([]string, 0, len(s))
	for _, resource := range slices.Sorted(maps.Keys(s)) {
		entries = append(entries, resource+":"+strings.Join(slices.Sorted(slices.Values(s[resource])), ","))
	}
	return entries
}

// scopesOf derives what a request needs from its method and path, as
// https://distribution.github.io/distribution/spec/auth/scope/ names it.
func scopesOf(req *http.Request) scopeSet {
	scopes := make(scopeSet)
	at := route.Parse(req.URL.Path)
	if at.Class == route.Catalog {
		scopes.add("registry:catalog", "*")
		return scopes
	}
	repository := at.Repository
	if repository == "" && at.Class != route.Base {
		repository = registry.RepositoryFrom(req.Context())
	}
	if repository == "" {
		return scopes
	}
	switch req.Method {
	case http.MethodGet, http.MethodHead, "":
		scopes.add("repository:"+repository, "pull")
	case http.MethodPost:
		// What else a client of a proxy puts there must not become a scope of its own.
		if from := req.URL.Query().Get("from"); names.IsRepository(from) {
			scopes.add("repository:"+from, "pull")
		}
		scopes.add("repository:"+repository, "pull", "push")
	case http.MethodPut, http.MethodPatch:
		scopes.add("repository:"+repository, "pull", "push")
	case http.MethodDelete:
		scopes.add("repository:"+repository, "delete")
	}
	return scopes
}
