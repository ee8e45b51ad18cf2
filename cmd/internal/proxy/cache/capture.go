package cache

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/notifications/observer/route"
)

// defaults fills in what every answer of a registry should have.
type defaults struct {
	http.ResponseWriter
	class route.Class
	begun bool
}

// Unwrap is for http.ResponseController.
func (d *defaults) Unwrap() http.ResponseWriter { return d.ResponseWriter }

func (d *defaults) WriteHeader(status int) {
	if !d.begun && status >= 200 {
		d.begun = true
		d.fill(status)
	}
	d.ResponseWriter.WriteHeader(status)
}

func (d *defaults) fill(status int) {
	h := d.Header()
	if h["Docker-Distribution-Api-Version"] == nil {
		h.Set("Docker-Distribution-Api-Version", "registry/2.0")
	}
	if status == http.StatusOK && d.class == route.Tags && len(h["Content-Type"]) == 0 {
		h.Set("Content-Type", "application/json")
	}
}

func (d *defaults) Write(p []byte) (int, error) {
	if !d.begun {
		d.WriteHeader(http.StatusOK)
	}
	return d.ResponseWriter.Write(p)
}

// A bumping writer begins a generation before an answer begins, unless that says that the
// registry has refused to change anything.
type bumping struct {
	ResponseWriter defaults
	ctx            context.Context
	store          *guarded
	repository     string
	bumped         bool
}

func (b *bumping) Header() http.Header { return b.ResponseWriter.Header() }

// Unwrap is for http.ResponseController.
func (b *bumping) Unwrap() http.ResponseWriter { return b.ResponseWriter.ResponseWriter }

func (b *bumping) WriteHeader(status int) {
	if status >= 200 && !b.bumped {
		b.bumped = true
		switch {
		case status == http.StatusUnauthorized || status == http.StatusForbidden: // nothing has changed
		case status >= 500: // the registry may go on with it
			b.store.suspect(b.ctx, b.repository)
		default:
			b.store.bump(b.ctx, b.repository)
		}
	}
	b.ResponseWriter.WriteHeader(status)
}

func (b *bumping) Write(p []byte) (int, error) {
	if !b.bumped {
		b.WriteHeader(http.StatusOK)
	}
	return b.ResponseWriter.Write(p)
}

// end is for a handler that ended without an answer.
func (b *bumping) end() {
	if !b.bumped {
		b.store.suspect(b.ctx, b.repository)
	}
}

// maxKept is the most of an answer that is kept, in bytes: as much as a registry must
// take of a manifest.
const maxKept = 4 << 20

// A capture holds back an answer until it is whole, or larger than is kept.
type capture struct {
	defaults
	head   bool   // there is no body
	done   func() // is called when it is known that nothing will be kept
	status int
	body   bytes.Buffer
	held   *budget // for body
	passed bool    // it is not held back, any more
	why    reason  // was it not, if it was to be
}

func (c *capture) WriteHeader(status int) {
	if status < 200 {
		c.ResponseWriter.WriteHeader(status)
		return
	}
	if c.status != 0 {
		return
	}
	c.status = status
	length, _ := strconv.ParseInt(c.Header().Get("Content-Length"), 10, 64)
	switch {
	case status != http.StatusOK:
		c.pass()
	case length > maxKept && !c.head:
		c.giveUp(reasonSize)
	}
}

func (c *capture) Write(p []byte) (int, error) {
	if c.status == 0 {
		c.WriteHeader(http.StatusOK)
	}
	switch {
	case c.passed:
	case c.body.Len()+len(p) > maxKept:
		c.giveUp(reasonSize)
	case !c.held.take(len(p)):
		c.giveUp(reasonBusy)
	}
	if c.passed {
		return c.ResponseWriter.Write(p)
	}
	return c.body.Write(p)
}

// giveUp does not hold back an answer that was to be kept.
func (c *capture) giveUp(why reason) {
	c.why = why
	c.pass()
}

// FlushError is for http.ResponseController: what is held back is not flushed.
func (c *capture) FlushError() error {
	if !c.passed {
		return nil
	}
	return http.NewResponseController(c.ResponseWriter).Flush()
}

// pass sends what was held back. Whoever waits for an answer to be kept is told before,
// since this client may not read it.
func (c *capture) pass() {
	c.passed = true
	c.done()
	c.Header().Set("X-Cache", "MISS") // whatever a cache behind us says
	c.defaults.WriteHeader(c.status)
	if c.body.Len() > 0 {
		defer c.held.give(c.body.Len())
		_, _ = c.ResponseWriter.Write(c.body.Bytes())
		c.body = bytes.Buffer{}
	}
}

// release sends what was held back, at the end.
func (c *capture) release() {
	if c.status != 0 && !c.passed {
		c.pass()
	}
}

// Why an answer with status 200 is not kept.
type reason string

const (
	reasonSize       reason = "size"       // it is larger than is kept
	reasonBusy       reason = "busy"       // too much is held back
	reasonFull       reason = "full"       // the store has no room
	reasonForbidden  reason = "forbidden"  // the registry says so, or sent it in a form of this client's
	reasonUnverified reason = "unverified" // it has not the digest that it should have, or is cut off, or no list of tags
)

func reasons() []reason {
	return []reason{reasonSize, reasonBusy, reasonFull, reasonForbidden, reasonUnverified}
}

// entry returns the answer to q as it is kept, or why it is not; both are empty for an
// answer with another status.
func (c *capture) entry(q *question) (*entry, reason) {
	switch {
	case c.status != http.StatusOK:
		return nil, ""
	case c.passed:
		return nil, c.why
	case !storable(c.Header()):
		return nil, reasonForbidden
	}
	c.fill(c.status)
	if q.route.Class == route.Manifest && len(c.Header()["Content-Type"]) == 0 {
		return nil, reasonUnverified // it has no meaning without
	}
	if !verified(q, c.Header(), c.body.Bytes()) {
		return nil, reasonUnverified
	}
	e := &entry{body: bytes.Clone(c.body.Bytes())}
	for _, name := range kept() {
		values := c.Header()[name]
		if name == "Content-Length" && !q.head {
			values = []string{strconv.Itoa(len(e.body))}
		}
		if len(values) > 0 && len(values) <= maxHeaderValues {
			e.header = append(e.header, field{name, slices.Clip(values)})
		}
	}
	return e, ""
}

// storable tells whether the registry lets an answer be kept.
func storable(h http.Header) bool {
	for _, list := range h["Cache-Control"] {
		for directive := range strings.SplitSeq(strings.ToLower(list), ",") {
			name, _, _ := strings.Cut(strings.TrimSpace(directive), "=")
			if name == "no-store" || name == "no-cache" || name == "private" {
				return false
			}
		}
	}
	for _, list := range h["Vary"] {
		for name := range strings.SplitSeq(strings.ToLower(list), ",") {
			switch strings.TrimSpace(name) {
			case "", "accept", "accept-encoding", "authorization", "origin", "cookie":
			default:
				return false
			}
		}
	}
	return len(h["Content-Encoding"]) == 0 && len(h["Trailer"]) == 0
}

// verified tells whether an answer is whole and has the digest that it should have.
func verified(q *question, h http.Header, body []byte) bool {
	length, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	if err != nil && (q.head || len(h["Content-Length"]) > 0) || err == nil && !q.head && length != int64(len(body)) {
		return false
	}
	if q.route.Class == route.Tags {
		var list struct{ Tags json.RawMessage } // perhaps null, but there
		var tags []string
		return q.head || json.Unmarshal(body, &list) == nil && list.Tags != nil && json.Unmarshal(list.Tags, &tags) == nil
	}
	want := q.route.Digest
	if said := digest.Digest(h.Get("Docker-Content-Digest")); said != "" {
		if want != "" && want != said {
			return false
		}
		want = said
	}
	if want.Validate() != nil {
		return false
	}
	return q.head || want.Algorithm().FromBytes(body) == want
}
