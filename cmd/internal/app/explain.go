package app

import (
	"context"
	"fmt"

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
	Disabled   bool               // it passes, and waits until the endpoint is enabled
	Request    *endpoints.Preview // what is sent; nil if nothing is, or by a built-in endpoint
}

// Explain says for each of events and each endpoint of cfg (only the named one, if only
// is not empty) whether it would be sent and how. It sends nothing and starts nothing.
func Explain(cfg *config.Config, version, only string, events []*notifications.Event) ([]Explanation, error) {
	if problems := Check(cfg); len(problems) > 0 {
		return nil, problems
	}
	var out []Explanation
	known := only == ""
	for i := range cfg.Endpoints {
		c := &cfg.Endpoints[i]
		if only != "" && c.Name != only {
			continue
		}
		known = true
		explained, err := explain(c, version, events)
		if err != nil {
			return nil, err
		}
		out = append(out, explained...)
	}
	if !known {
		return nil, fmt.Errorf("there is no endpoint %q", only)
	}
	return out, nil
}

func explain(c *config.Endpoint, version string, events []*notifications.Event) ([]Explanation, error) {
	opts, url, err := endpointOptions(c)
	if err != nil {
		return nil, err
	}
	opts.Version = version
	matcher, err := sinks.NewMatcher(rules(c.Filter), rules(c.Ignore))
	if err != nil {
		return nil, err
	}
	ep, err := endpoints.NewEndpoint(c.Name, url, opts)
	if err != nil {
		return nil, err
	}
	defer ep.Shutdown(context.Background())
	var out []Explanation
	for _, e := range events {
		x := Explanation{Event: e, Endpoint: c.Name, URL: ep.URL(), FilteredBy: matcher.Explain(e)}
		if x.FilteredBy == "" {
			x.Disabled = c.Disabled
			if preview, ok := ep.Preview([]*notifications.Event{e}); ok {
				x.Request = &preview
			}
		}
		out = append(out, x)
	}
	return out, nil
}
