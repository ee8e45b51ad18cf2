package observer

import (
	"net/http"
	"net/url"
	"strings"
)

// GitLabRoutes recognizes how GitLab's registry deletes a tag, for [Options.Extra]:
// DELETE /v2/<name>/tags/reference/<tag>.
func GitLabRoutes(r *http.Request) (Deletion, bool) {
	if r.Method != http.MethodDelete || r.URL.RawPath != "" {
		return Deletion{}, false
	}
	_, rest, ok := strings.Cut(r.URL.Path, "/v2/")
	name, tag, found := cutAround(rest, "/tags/reference/")
	if !ok || !found || !isName(name) || !isTag(tag) {
		return Deletion{}, false
	}
	return Deletion{Repository: name, Tag: tag}, true
}

// HarborRoutes recognizes how Harbor's API deletes a repository or a tag, for
// [Options.Extra]:
//
//	DELETE /api/v2.0/projects/<project>/repositories/<repository>
//	DELETE /api/v2.0/projects/<project>/repositories/<repository>/artifacts/<reference>/tags/<tag>
//
// A slash in the name of a repository is escaped twice there.
func HarborRoutes(r *http.Request) (Deletion, bool) {
	if r.Method != http.MethodDelete || r.URL.RawPath != "" {
		return Deletion{}, false
	}
	_, rest, ok := strings.Cut(r.URL.Path, "/api/v2.0/projects/")
	project, rest, found := strings.Cut(rest, "/repositories/")
	if !ok || !found {
		return Deletion{}, false
	}
	repository, artifact, deeper := strings.Cut(rest, "/artifacts/")
	repository, err := url.PathUnescape(repository)
	d := Deletion{Repository: project + "/" + repository}
	if deeper {
		var reference string
		reference, d.Tag, found = cutAround(artifact, "/tags/")
		found = found && isTag(d.Tag) && (isTag(reference) || isDigest(reference))
	}
	if err != nil || !found || !isName(d.Repository) {
		return Deletion{}, false
	}
	return d, true
}

// cutAround splits s around the last sep.
func cutAround(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// deletedByVendor reports what a request outside the distribution API has deleted.
func (x *exchange) deletedByVendor() {
	if !x.succeeded() {
		return
	}
	repo := named(x.deletion.Repository)
	if tag := x.deletion.Tag; tag != "" {
		x.observer.tags.remove(repo.Name(), tag)
		x.told(x.tell().TagDeleted(x.ctx(), repo, tag))
		return
	}
	x.observer.tags.removeAll(repo.Name())
	x.told(x.tell().RepositoryDeleted(x.ctx(), repo))
}
