package app

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

// An Explanation says what becomes of one event at one endpoint.
type Explanation struct {
	Event      *notifications.Event
	Endpoint   string
	URL        string             // as far as it may be shown
	FilteredBy string             // the key that keeps it out, such as "filter.actions"; "" if it passes
	Why        string             // that in words, of a mirror's keys
	Does       string             // what is done instead of a request, by a mirror
	Disabled   bool               // it passes, and waits until the endpoint is enabled
	Request    *endpoints.Preview // what is sent; nil if nothing is, or by a built-in endpoint
}

// Explain says for each of events and each endpoint of cfg (only the named one, if only
// is not empty) whether it would be sent and how: event by event, endpoints in the order
// of the file. It sends nothing and starts nothing.
func Explain(cfg *config.Config, version, only string, events []*notifications.Event) ([]Explanation, error) {
	if problems := Check(cfg); len(problems) > 0 {
		return nil, problems
	}
	var names []string
	var explainers []explainer
	for i := range cfg.Endpoints {
		c := &cfg.Endpoints[i]
		names = append(names, c.Name)
		if only != "" && c.Name != only {
			continue
		}
		x, err := newExplainer(c, version)
		if err != nil {
			return nil, err
		}
		defer x.endpoint.Shutdown(context.Background())
		explainers = append(explainers, x)
	}
	switch {
	case len(names) == 0:
		return nil, errors.New("the configuration has no endpoint")
	case len(explainers) == 0:
		return nil, fmt.Errorf("there is no endpoint %q in the configuration: it has %s", only, strings.Join(names, ", "))
	}
	var out []Explanation
	for _, e := range events {
		for _, x := range explainers {
			out = append(out, x.explain(e))
		}
	}
	return out, nil
}

// An explainer explains what becomes of events at one endpoint.
type explainer struct {
	config   *config.Endpoint
	match    *sinks.RuleMatcher
	endpoint *endpoints.Endpoint
}

func newExplainer(c *config.Endpoint, version string) (explainer, error) {
	opts, err := endpointOptions(c)
	if err != nil {
		return explainer{}, err
	}
	opts.Version = version
	match, err := sinks.NewMatcher(rules(c.Filter), rules(c.Ignore))
	if err != nil {
		return explainer{}, err
	}
	ep, err := buildEndpoint(c, opts, nil)
	return explainer{config: c, match: match, endpoint: ep}, err
}

func (x explainer) explain(e *notifications.Event) Explanation {
	out := Explanation{Event: e, Endpoint: x.config.Name, URL: x.endpoint.URL(), FilteredBy: x.match.Explain(e)}
	if out.FilteredBy != "" {
		return out
	}
	plan, _ := x.endpoint.Plan(e)
	if out.FilteredBy, out.Why, out.Does = plan.Key, plan.Why, plan.Does; plan.Key != "" {
		return out
	}
	out.Disabled = x.config.Disabled
	if preview, ok := x.endpoint.Preview([]*notifications.Event{e}); ok {
		out.Request = &preview
	}
	return out
}
