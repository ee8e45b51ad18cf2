package mirror

import (
	"strings"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
)

// Wants tells whether there is anything to copy or to delete for an event.
func (o *Options) Wants(e *notifications.Event) bool {
	key, _ := o.leaves(e)
	return key == ""
}

// leaves says by which key, and why, there is nothing to do for an event; "" if there is.
// A repository below the target's path is a copy itself, of a mirror that runs the other
// way or of a registry that has two names, and would be copied without end.
func (o *Options) leaves(e *notifications.Event) (key, why string) {
	below := o.Target.path()
	manifest := e.Tag != "" || e.Kind().Has(notifications.KindManifest)
	switch {
	case below != "" && strings.HasPrefix(e.Repository, below+"/"):
		return "target", "a repository below " + below + "/ is a copy itself"
	case e.Action == notifications.ActionPush && !manifest:
		return "kind", "blobs are copied with the manifests that refer to them"
	case e.Action == notifications.ActionPush && e.Tag == "" && !o.ByDigest && !o.Referrers:
		return "by_digest", "it was pushed by digest alone, and neither by_digest nor referrers is set"
	case e.Action == notifications.ActionPush:
		return "", ""
	case e.Action != notifications.ActionDelete:
		return "kind", "a mirror is about pushes and deletes"
	case !manifest:
		return "kind", "the deletion of blobs and repositories is left to the target"
	case !o.PropagateDeletes:
		return "propagate_deletes", "it is a delete, and propagate_deletes is false"
	}
	return "", ""
}

// Plan says what there is to do for an event, or why nothing is.
func (m *mirror) Plan(e *notifications.Event) endpoints.Plan {
	if key, why := m.opts.leaves(e); key != "" {
		return endpoints.Plan{Key: key, Why: "not copied: " + why}
	}
	name := tagOrDigest(e)
	from, to := m.source.shown+"/"+name, m.target.shown+"/"+name
	switch {
	case e.Action == notifications.ActionDelete:
		return endpoints.Plan{Does: "deletes " + to + ", unless " + from + " is there"}
	case e.Tag != "":
		return endpoints.Plan{Does: "copies " + from + " to " + to + ", if it still is what was pushed"}
	case m.opts.ByDigest:
		return endpoints.Plan{Does: "copies " + from + " to " + to}
	}
	return endpoints.Plan{Does: "copies " + from + " to " + to + ", if it refers to a manifest that is there"}
}
