package differential_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/regcast/regcast/notifications"
)

// An observation is an event without what cannot be equal in two reports of one
// operation: its id and time, the request's id, the client's port and the source. What
// distribution's format has no words for is kept apart.
type observation struct {
	Action string `json:"action"`
	Target struct {
		MediaType      string            `json:"mediaType"`
		Digest         string            `json:"digest"`
		Size           int64             `json:"size"`
		Length         int64             `json:"length"`
		Repository     string            `json:"repository"`
		FromRepository string            `json:"fromRepository"`
		URL            string            `json:"url"`
		Tag            string            `json:"tag"`
		References     []json.RawMessage `json:"references"`
	} `json:"target"`
	Request struct {
		UserAgent string `json:"useragent"`
	} `json:"request"`
	Actor struct {
		Name string `json:"name"`
	} `json:"actor"`
	Remark notifications.Remark `json:"regcast"`

	canonical map[string]any
}

// observe reads the wire form of an event.
func observe(raw []byte) (observation, error) {
	var o observation
	if err := json.Unmarshal(raw, &o); err != nil {
		return o, err
	}
	if err := json.Unmarshal(raw, &o.canonical); err != nil {
		return o, err
	}
	for _, name := range []string{"id", "timestamp"} {
		if s, _ := o.canonical[name].(string); s == "" {
			return o, fmt.Errorf("an event without %s: %s", name, raw)
		}
	}
	for _, name := range []string{"id", "timestamp", "source", "regcast"} {
		delete(o.canonical, name)
	}
	request, ok := o.canonical["request"].(map[string]any)
	if !ok {
		return o, fmt.Errorf("an event without a request: %s", raw)
	}
	delete(request, "id")
	if addr, _ := request["addr"].(string); addr != "" {
		if host, _, err := net.SplitHostPort(addr); err == nil {
			request["addr"] = host
		}
	}
	return o, nil
}

// String is the canonical form: two observations of one operation have the same.
func (o observation) String() string {
	text, err := json.Marshal(o.canonical) // of a map: sorted
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// without returns o without some members of its target.
func (o observation) without(members ...string) observation {
	target, _ := o.canonical["target"].(map[string]any)
	cut := make(map[string]any, len(target))
	for name, value := range target {
		if !slices.Contains(members, name) {
			cut[name] = value
		}
	}
	canonical := make(map[string]any, len(o.canonical))
	for name, value := range o.canonical {
		canonical[name] = value
	}
	canonical["target"] = cut
	o.canonical = canonical
	return o
}

// brief is action and tag, as the matrix has it.
func (o observation) brief() string {
	if o.Target.Tag == "" {
		return o.Action
	}
	return o.Action + ":" + o.Target.Tag
}

// A collector keeps observations by the User-Agent of their request. It is the sink of an
// observer, and behind a webhook that of distribution's own notifications.
type collector struct {
	name string
	tb   testing.TB

	mu      sync.Mutex
	byAgent map[string][]observation
	changed chan struct{} // closed and replaced at each event
}

func newCollector(tb testing.TB, name string) *collector {
	return &collector{name: name, tb: tb, byAgent: make(map[string][]observation), changed: make(chan struct{})}
}

// Write implements notifications.Sink.
func (c *collector) Write(_ context.Context, batch []*notifications.Event) error {
	for _, e := range batch {
		c.add(e.AppendJSON(nil))
	}
	return nil
}

// ServeHTTP is a webhook for distribution.
func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var envelope struct {
		Events []json.RawMessage `json:"events"`
	}
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &envelope)
	}
	if err != nil {
		c.tb.Errorf("%s: %v", c.name, err)
	}
	for _, raw := range envelope.Events {
		c.add(raw)
	}
}

func (c *collector) add(raw []byte) {
	o, err := observe(raw)
	if err != nil {
		c.tb.Errorf("%s: %v", c.name, err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byAgent[o.Request.UserAgent] = append(c.byAgent[o.Request.UserAgent], o)
	close(c.changed)
	c.changed = make(chan struct{})
}

// await waits until there is an event of a request by agent.
func (c *collector) await(ctx context.Context, agent string) error {
	for {
		c.mu.Lock()
		n, changed := len(c.byAgent[agent]), c.changed
		c.mu.Unlock()
		if n > 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s has no event of %s: %w", c.name, agent, ctx.Err())
		}
	}
}

// take removes and returns all observations but those of agents with a prefix, by agent.
func (c *collector) take(except string) map[string][]observation {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := c.byAgent
	c.byAgent = make(map[string][]observation)
	for agent := range taken {
		if strings.HasPrefix(agent, except) {
			delete(taken, agent)
		}
	}
	return taken
}
