package differential_test

import (
	"net/http"
	"slices"
	"strings"
)

// An allowance is a difference that has a reason. It explains events away that are in the
// truth alone (missing) or in the other report alone (extra).
type allowance struct {
	name    string
	reports []string // in which it may occur
	explain func(x *exchange, d *difference) bool
}

// allowances lists every difference that is allowed, by the names that the matrix uses.
// An answer from a cache, of which the registry knows nothing, is not among them: the
// proxy has none.
func allowances() []allowance {
	outside := []string{"observer", "proxy"}
	return []allowance{
		// Distribution reads a manifest, and reports that, before it sees that the client
		// does not accept the type.
		{"unacceptable", outside, func(x *exchange, d *difference) bool {
			return x.route("manifests") && x.reads() && (x.status == http.StatusNotFound || x.status == http.StatusBadRequest) &&
				d.dropMissing(func(o observation) bool {
					return o.Action == "pull" && !strings.Contains(x.accept, o.Target.MediaType)
				})
		}},
		// A client that does not know lists gets the child for linux/amd64. Distribution
		// reports two pulls, the list under the tag and the child without.
		{"list", outside, func(x *exchange, d *difference) bool {
			if !x.route("manifests") || !x.reads() || x.status != http.StatusOK || len(d.missing) != 2 || len(d.extra) != 1 {
				return false
			}
			child := d.extra[0]
			return d.dropMissing(func(o observation) bool {
				return o.Target.MediaType == mediaTypeDockerList && o.Target.Tag == child.Target.Tag
			}) && d.dropMissing(func(o observation) bool {
				return o.String() == child.without("tag").String()
			}) && d.dropExtra(func(observation) bool { return true })
		}},
		// A tag that was there before the observer.
		{"cold tag", outside, func(x *exchange, d *difference) bool {
			return x.route("manifests") && x.method == http.MethodDelete && x.status == http.StatusAccepted &&
				d.dropMissing(func(o observation) bool {
					return o.Action == "delete" && o.Target.Tag != "" && o.cold()
				})
		}},
		// A blob of which nothing was sent: strict parity has these.
		{"nothing sent", outside, func(x *exchange, d *difference) bool {
			return !x.strict && x.route("blobs") && x.reads() &&
				(x.status == http.StatusPreconditionFailed || x.status == http.StatusRequestedRangeNotSatisfiable) &&
				d.dropMissing(func(o observation) bool { return o.Action == "pull" })
		}},
		// Distribution reports a push by tag before it writes the tag. When that fails the
		// client gets a 500.
		{"untagged", []string{"observer", "proxy", "adapter"}, func(x *exchange, d *difference) bool {
			return x.route("manifests") && x.method == http.MethodPut && x.status == http.StatusInternalServerError &&
				d.dropMissing(func(o observation) bool { return o.Action == "push" && o.Target.Tag != "" })
		}},
		// From where a blob is mounted can be said in a form, which an observer does not
		// read. So it does not know where to look for the size either.
		{"form", outside, func(x *exchange, d *difference) bool {
			if !x.form || x.status != http.StatusCreated || len(d.missing) != 1 || len(d.extra) != 1 {
				return false
			}
			want := d.missing[0].without("fromRepository", "size", "length").String()
			return d.missing[0].Action == "mount" &&
				d.dropExtra(func(o observation) bool {
					return o.Target.FromRepository == "" && o.Remark.SizeUnknown == (o.Target.Size == 0) &&
						o.without("size", "length").String() == want
				}) &&
				d.dropMissing(func(observation) bool { return true })
		}},
		// The answer to HEAD has no manifest to read. An observer that saw the manifest
		// before knows its references.
		{"cold references", outside, func(x *exchange, d *difference) bool {
			if !x.route("manifests") || x.method != http.MethodHead || x.status != http.StatusOK || len(d.missing) != 1 || len(d.extra) != 1 {
				return false
			}
			want := d.missing[0].without("references").String()
			return d.missing[0].cold() &&
				d.dropExtra(func(o observation) bool { return o.String() == want }) &&
				d.dropMissing(func(observation) bool { return true })
		}},
		// Part of an upload was cut off on its way through. Nobody knows how much of it the
		// registry has kept, until it takes the end; that the size is not known is said then.
		{"torn upload", outside, func(x *exchange, d *difference) bool {
			if !x.torn || x.method != http.MethodPut || x.status != http.StatusCreated || len(d.missing) != 1 || len(d.extra) != 1 {
				return false
			}
			want := d.missing[0].without("size", "length").String()
			return d.missing[0].Action == "push" &&
				d.dropExtra(func(o observation) bool {
					return o.Target.Size == 0 && o.Remark.SizeUnknown && o.without("size", "length").String() == want
				}) &&
				d.dropMissing(func(observation) bool { return true })
		}},
	}
}

// coldRepository is where rigs put what is there before the observers.
const coldRepository = "cold/"

func (o observation) cold() bool { return strings.HasPrefix(o.Target.Repository, coldRepository) }

// A difference is what two reports of one request do not have in common.
type difference struct{ missing, extra []observation }

// differ compares two reports as multisets.
func differ(truth, report []observation) *difference {
	d := &difference{extra: slices.Clone(report)}
	for _, o := range truth {
		text := o.String()
		if i := slices.IndexFunc(d.extra, func(e observation) bool { return e.String() == text }); i >= 0 {
			d.extra = slices.Delete(d.extra, i, i+1)
		} else {
			d.missing = append(d.missing, o)
		}
	}
	return d
}

func (d *difference) none() bool { return len(d.missing) == 0 && len(d.extra) == 0 }

// dropMissing removes what is explained, and tells whether there was any.
func (d *difference) dropMissing(explained func(observation) bool) bool {
	before := len(d.missing)
	d.missing = slices.DeleteFunc(slices.Clone(d.missing), explained)
	return len(d.missing) < before
}

func (d *difference) dropExtra(explained func(observation) bool) bool {
	before := len(d.extra)
	d.extra = slices.DeleteFunc(slices.Clone(d.extra), explained)
	return len(d.extra) < before
}

// excuse explains d away as far as allowances for report can, and returns their names.
func (d *difference) excuse(report string, x *exchange) (used []string) {
	for _, a := range allowances() {
		if d.none() {
			return used
		}
		if !slices.Contains(a.reports, report) {
			continue
		}
		rest := *d
		if a.explain(x, &rest) {
			*d = rest
			used = append(used, a.name)
		}
	}
	return used
}
