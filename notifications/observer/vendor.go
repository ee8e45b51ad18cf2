package observer

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/internal/names"
	"github.com/regcast/regcast/notifications/observer/route"
)

// A Deletion is what a request outside the distribution API deletes: the manifest with a
// digest, a tag of a repository, or if there is neither the repository. One without a
// repository is of something that cannot be told: it is counted.
type Deletion struct {
	Repository string
	Tag        string
	Digest     digest.Digest
	Manifest   bool // of the Tag, the manifest that it names, with all its tags
}

// sound tells whether d can be told.
func (d Deletion) sound() bool {
	return names.IsRepository(d.Repository) && (d.Tag == "" || names.IsTag(d.Tag)) && (d.Digest == "" || names.IsDigest(d.Digest.String()))
}

// GitLabRoutes recognizes how GitLab's registry deletes a tag, for [Options].Extra:
// DELETE /v2/<name>/tags/reference/<tag>. No route of that registry is known to delete a
// repository; the one of GitLab's own API names it by a number.
func GitLabRoutes(r *http.Request) (Deletion, bool) {
	if r.Method != http.MethodDelete {
		return Deletion{}, false
	}
	_, rest, ok := strings.Cut(r.URL.Path, "/v2/")
	name, tag, found := cutAround(rest, "/tags/reference/")
	if !ok || !found || !names.IsRepository(name) || !names.IsTag(tag) {
		return Deletion{}, false
	}
	return Deletion{Repository: name, Tag: tag}, true
}

// HarborRoutes recognizes how Harbor's API deletes a repository, an artifact or a tag, for
// [Options].Extra:
//
//	DELETE /api/v2.0/projects/<project>/repositories/<repository>
//	DELETE /api/v2.0/projects/<project>/repositories/<repository>/artifacts/<reference>
//	DELETE /api/v2.0/projects/<project>/repositories/<repository>/artifacts/<reference>/tags/<tag>
//
// A slash in the name of a repository is escaped there, twice if need be. An artifact is a
// manifest, and goes with all its tags even if the reference is one of them: then the
// delete of that tag is sure, and that of the manifest inferred from what the tag was last
// seen to name; if that is not known it is counted. Other deletes of a project, or in its
// repositories, are counted, but those of an artifact's labels.
func HarborRoutes(r *http.Request) (Deletion, bool) {
	_, rest, ok := strings.Cut(r.URL.EscapedPath(), "/api/v2.0/projects/")
	if !ok || r.Method != http.MethodDelete {
		return Deletion{}, false
	}
	project, rest, below := strings.Cut(rest, "/")
	if !below {
		return Deletion{}, true
	}
	rest, ok = strings.CutPrefix(rest, "repositories/")
	if !ok {
		return Deletion{}, false // a policy, a member, a robot
	}
	segments := strings.Split(rest, "/")
	for i, s := range segments {
		segments[i], _ = url.PathUnescape(s) // "" is nothing's name
	}
	repository, _ := url.PathUnescape(segments[0])
	d := Deletion{Repository: project + "/" + repository}
	switch artifact := segments[1:]; {
	case len(artifact) == 0:
	case len(artifact) == 4 && artifact[0] == "artifacts" && artifact[2] == "labels":
		return Deletion{}, false
	case len(artifact) == 4 && artifact[0] == "artifacts" && artifact[2] == "tags" && names.IsTag(artifact[3]):
		d.Tag = artifact[3]
	case len(artifact) == 2 && artifact[0] == "artifacts" && names.IsTag(artifact[1]):
		d.Tag, d.Manifest = artifact[1], true
	case len(artifact) == 2 && artifact[0] == "artifacts" && names.IsDigest(artifact[1]):
		d.Digest = digest.Digest(artifact[1])
	default:
		return Deletion{}, true
	}
	if !d.sound() {
		return Deletion{}, true
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
	d := x.deletion
	x.route = route.Route{Class: route.Manifest, Repository: d.Repository, Tag: d.Tag, Digest: d.Digest}
	switch {
	case d.Tag != "" && d.Manifest:
		x.taggedManifestDeleted()
	case d.Tag != "" || d.Digest != "":
		x.manifestDeleted()
	default:
		x.observer.tags.removeAll(d.Repository)
		x.told(x.tell().RepositoryDeleted(x.ctx(), named(d.Repository)))
	}
}

// taggedManifestDeleted reports the delete of a manifest that was named by tag.
func (x *exchange) taggedManifestDeleted() {
	o, repo, tag := x.observer, named(x.route.Repository), x.route.Tag
	dgst := o.tags.named(repo.Name(), tag)
	o.tags.remove(repo.Name(), tag)
	if dgst == "" {
		x.told(x.tell().TagDeleted(x.ctx(), repo, tag))
		o.metrics.unclassified.Inc()
		return
	}
	tags := o.tags.removeDigest(repo.Name(), dgst)
	x.together(func(ctx context.Context) {
		x.told(x.tell().TagDeleted(ctx, repo, tag))
		x.told(x.tellOf(notifications.Remark{Origin: notifications.OriginInferred}).ManifestDeleted(ctx, repo, dgst))
		x.inferTagDeletes(ctx, repo, tags)
	})
	x.forget(dgst)
}
