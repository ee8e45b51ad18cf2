package differential_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// compare settles the rig and compares every report with the truth, request by request,
// since the last time. It returns the truth by User-Agent and what is wrong.
func (r *rig) compare() (truth map[string][]observation, wrong []string) {
	r.tb.Helper()
	r.settle()
	truth = r.truth.take(barrierAgent)
	for _, c := range r.reports {
		report := c.take(barrierAgent)
		agents := make(map[string]bool)
		for agent := range truth {
			agents[agent] = true
		}
		for agent := range report {
			agents[agent] = true
		}
		for _, agent := range slices.Sorted(maps.Keys(agents)) {
			x := r.exchanges[agent]
			if x == nil {
				x = &exchange{agent: agent, method: "requests by", target: agent}
			}
			if w := r.judge(c.name, x, truth[agent], report[agent]); w != "" {
				wrong = append(wrong, w)
			}
		}
	}
	clear(r.exchanges)
	return truth, wrong
}

// judge compares what a report and the truth have of an exchange, and says what is wrong.
func (r *rig) judge(report string, x *exchange, truth, seen []observation) string {
	d := differ(truth, seen)
	for _, name := range d.excuse(report, x) {
		r.used[report+"/"+name]++
	}
	var out strings.Builder
	for _, o := range d.missing {
		fmt.Fprintf(&out, "  - %v\n", o)
	}
	for _, o := range d.extra {
		fmt.Fprintf(&out, "  + %v\n", o)
	}
	for _, o := range seen {
		if w := misremark(report, r.auth, x, o); w != "" {
			fmt.Fprintf(&out, "  %s: %v\n", w, o)
		}
	}
	if out.Len() == 0 {
		return ""
	}
	return fmt.Sprintf("%v: the %s (+) differs from distribution (-):\n%sdistribution:\n%s%s:\n%s",
		x, report, out.String(), list(truth), report, list(seen))
}

func list(observations []observation) string {
	if len(observations) == 0 {
		return "  nothing\n"
	}
	var out strings.Builder
	for _, o := range observations {
		fmt.Fprintf(&out, "  %v\n", o)
	}
	return out.String()
}

// misremark says what is wrong with the remark of an event: it is what distribution has
// no words for, and so not part of what is compared.
func misremark(report string, auth registrytest.Auth, x *exchange, o observation) string {
	kinds, origin := []string{""}, ""
	if o.Action == "delete" && o.Target.Digest != "" {
		kinds = []string{"manifest", "blob"}
		switch {
		case x.route("manifests"):
			kinds = []string{"manifest"}
		case x.route("blobs"):
			kinds = []string{"blob"}
		}
	}
	if o.Action == "delete" && o.Target.Tag != "" && report != "adapter" {
		if x.method != http.MethodDelete {
			return "" // several requests, and any of them may have been the one
		}
		if strings.Contains(x.target, ":") {
			origin = "inferred"
		}
	}
	switch r := o.Remark; {
	case !slices.Contains(kinds, r.Kind), r.Origin != origin:
		return fmt.Sprintf("remark %+v, want kind %q and origin %q", r, kinds, origin)
	case r.SizeUnknown && (o.Target.Size != 0 || o.Action == "delete" || report == "adapter"):
		return fmt.Sprintf("remark %+v of a size that is known", r)
	case (r.Aborted || r.Redirected) && (o.Action != "pull" || report == "adapter"), r.Sent != 0 && !r.Aborted:
		return fmt.Sprintf("remark %+v of what was answered in full", r)
	case r.Subject != "" && o.Action != "push":
		return fmt.Sprintf("remark %+v of what belongs to nothing", r)
	case r.ActorVerified != (report == "proxy" && auth == registrytest.Token && o.Actor.Name != ""):
		return fmt.Sprintf("remark %+v of an actor by %v", r, auth)
	}
	return ""
}
