package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/regcast/regcast/notifications"
)

// A moment is when a client goes away.
type moment int

const (
	never     moment = iota
	inBody           // after some of its request's body
	atArrival        // when the registry has its request
	atTaken          // when the registry has all of it, and has not answered
	atStatus         // when it has the status
	inAnswer         // after some of the answer's body
)

// A plan is one request of the chaos: what is asked for, what goes wrong, and what came of it.
type plan struct {
	agent, user    string
	method, target string
	asks           map[string]string // header
	body           []byte
	session        *session // the upload that it belongs to; nil for none
	describesBody  bool     // the content of its events is the body
	want           []string // the events that it makes if it succeeds
	size           int64    // of the content in them, if that is not the body; -1: it cannot be known

	// Of the client.
	unsized     bool // the body is of no announced length
	piece       int  // bytes of it at a time
	leavesAfter bool // Connection: close
	cut         moment
	after       int // bytes, before it goes

	// Of the registry.
	closesIdle bool // connections, when this request is about to use one
	reads      int  // bytes of the body, -1: all
	hints      bool // 103 comes first
	status     int
	answers    map[string]string // header
	answer     []byte
	announced  bool // Content-Length
	hangsUp    bool // Connection: close
	ending     ending

	saw saw

	arrived, gone, passed chan struct{} // at the registry; the client, to the front; the front's answer
	arrive, lose, pass    func()        // once

	mu     sync.Mutex
	cancel context.CancelFunc
	did    did
}

// A saw is what a client has seen of an answer.
type saw struct {
	status int
	body   string
	all    bool // of the body
	err    error
}

func (p *plan) setLeave(cancel context.CancelFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cancel = cancel
}

// leave is the client's going away.
func (p *plan) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cancel()
}

func (p *plan) changes() bool { return p.method != http.MethodGet && p.method != http.MethodHead }

// String says what the plan is, and what came of it.
func (p *plan) String() string {
	return fmt.Sprintf("%s %s by %q, %d bytes in pieces of %d, unsized %v, %v, leaves after %v, cut %d after %d;\n"+
		"\tidle closed %v, reads %d, hints %v, %d %v, %d bytes, announced %v, hangs up %v, ending %d;\n\tthe registry: %v;\n\tthe client: %d, %d bytes (all: %v), %v",
		p.method, p.target, p.user, len(p.body), p.piece, p.unsized, p.asks, p.leavesAfter, p.cut, p.after,
		p.closesIdle, p.reads, p.hints, p.status, p.answers, len(p.answer), p.announced, p.hangsUp, p.ending, p.did,
		p.saw.status, len(p.saw.body), p.saw.all, p.saw.err)
}

// newOperation draws the n-th operation, of one request or, of an upload, several.
func newOperation(r *rand.Rand, n int) []*plan {
	repo := fmt.Sprintf("chaos/r%d", n)
	size := []int{1, 20, 1000, 5000, 70_000, 600_000}[r.IntN(6)]
	content := bytes.Repeat(fmt.Appendf(nil, "%d of %d\n", n, r.Uint64()), 1+size/4)[:size]
	dgst := digestOf(content)
	word := map[string]string{"Docker-Content-Digest": dgst}
	base := "/v2/" + repo
	var plans []*plan
	switch r.IntN(8) {
	case 0, 1:
		m := []byte(manifestOf(repo, strings.Repeat("x", len(content)%5000)))
		p := &plan{method: "PUT", target: base + "/manifests/v1", body: m, describesBody: true, status: 201, asks: map[string]string{"Content-Type": manifestType},
			answers: map[string]string{"Docker-Content-Digest": digestOf(m)}, want: []string{"push " + repo + ":v1@" + digestOf(m)}}
		if r.IntN(3) == 0 {
			p.target, p.answers["OCI-Tag"] = base+"/manifests/"+digestOf(m)+"?tag=a&tag=b", "a, b"
			p.want = []string{"push " + repo + ":a@" + digestOf(m), "push " + repo + ":b@" + digestOf(m)}
		}
		plans = append(plans, p)
	case 2, 3:
		plans = newUpload(r, base, repo, content)
	case 4:
		plans = append(plans, &plan{method: "POST", target: base + "/blobs/uploads/?digest=" + dgst, body: content, describesBody: true, status: 201,
			answers: word, want: []string{"push " + repo + ":@" + dgst}})
	case 5:
		p := &plan{method: "DELETE", target: base + "/manifests/" + dgst, status: 202, want: []string{"delete " + repo + ":@" + dgst}}
		switch r.IntN(4) {
		case 0:
			p.target = base + "/blobs/" + dgst
		case 1:
			p.target, p.want = base+"/manifests/v1", []string{"delete " + repo + ":v1@"}
		case 2:
			p = &plan{method: "POST", target: base + "/blobs/uploads/?mount=" + dgst + "&from=other", status: 201, answers: word,
				want: []string{"mount " + repo + ":@" + dgst}, size: -1}
		}
		plans = append(plans, p)
	default:
		plans = append(plans, newPull(r, base, repo, content))
	}
	for i, p := range plans {
		p.agent = fmt.Sprintf("chaos/%d/%d", n, i)
		p.arrived, p.gone, p.passed = make(chan struct{}), make(chan struct{}), make(chan struct{})
		p.arrive, p.lose, p.pass = sync.OnceFunc(func() { close(p.arrived) }), sync.OnceFunc(func() { close(p.gone) }), sync.OnceFunc(func() { close(p.passed) })
		p.spoil(r)
	}
	return plans
}

// newUpload is one in parts.
func newUpload(r *rand.Rand, base, repo string, content []byte) []*plan {
	target := base + "/blobs/uploads/1"
	upload := &session{}
	plans := []*plan{{method: "POST", target: base + "/blobs/uploads/", session: upload, status: 202}}
	rest := content
	for range r.IntN(3) {
		k := r.IntN(len(rest) + 1)
		plans = append(plans, &plan{method: "PATCH", target: target, session: upload, body: rest[:k], status: 202})
		rest = rest[k:]
		if r.IntN(3) == 0 {
			plans = append(plans, &plan{method: "GET", target: target, session: upload, status: 204})
		}
	}
	return append(plans, &plan{method: "PUT", target: target + "?digest=" + digestOf(content), session: upload, body: rest, status: 201,
		answers: map[string]string{"Docker-Content-Digest": digestOf(content)}, want: []string{"push " + repo + ":@" + digestOf(content)}})
}

func newPull(r *rand.Rand, base, repo string, content []byte) *plan {
	dgst := digestOf(content)
	p := &plan{method: "GET", target: base + "/blobs/" + dgst, status: 200, answer: content, announced: r.IntN(3) > 0, size: int64(len(content)),
		answers: map[string]string{"Docker-Content-Digest": dgst}, want: []string{"pull " + repo + ":@" + dgst}}
	switch r.IntN(7) {
	case 0:
		p.method = "HEAD"
	case 1:
		first := r.IntN(len(content))
		p.status, p.answer = 206, content[first:]
		p.asks = map[string]string{"Range": fmt.Sprintf("bytes=%d-", first)}
		p.answers["Content-Range"] = fmt.Sprintf("bytes %d-%d/%d", first, len(content)-1, len(content))
	case 2:
		p.status, p.answer, p.announced, p.size = 304, nil, false, -1
	case 3:
		p.status, p.answer, p.announced, p.size = 307, []byte("<a>elsewhere</a>"), true, -1
		p.answers["Location"] = "https://objects.example/" + dgst
	case 4:
		m := []byte(manifestOf(repo, "x"))
		p.target, p.answer, p.size = base+"/manifests/v1", m, int64(len(m))
		p.answers = map[string]string{"Docker-Content-Digest": digestOf(m), "Content-Type": manifestType}
		p.want = []string{"pull " + repo + ":v1@" + digestOf(m)}
	}
	return p
}

// spoil draws what goes wrong.
func (p *plan) spoil(r *rand.Rand) {
	one := func(n int) bool { return r.IntN(n) == 0 }
	p.user = []string{"", "alice", "bob"}[r.IntN(3)]
	p.asks = maps.Clone(p.asks)
	if p.asks == nil {
		p.asks = make(map[string]string)
	}
	p.unsized, p.piece = one(3), 1+r.IntN(40_000)
	p.leavesAfter, p.hints, p.hangsUp, p.closesIdle = one(8), one(8), one(8), one(6)
	p.reads = -1
	if len(p.body) > 0 && one(5) {
		p.reads = r.IntN(2) * r.IntN(len(p.body)+1) // none, as often as some
	} else if len(p.body) > 0 && one(4) {
		// Not with an early answer: before a registry with HTTP/2, a client that then sends
		// nothing more waits for the answer's end until Timeouts.Idle.
		p.asks["Expect"] = "100-continue"
	}
	if one(6) || p.reads >= 0 && p.method == http.MethodPatch { // one that takes part of a part does not say that it has taken it
		p.refuse([]int{400, 401, 403, 404, 429, 500, 503}[r.IntN(7)])
	}
	if p.changes() && p.status != http.StatusNoContent {
		p.answer, p.announced = []byte(`{"a":"document"}`), one(2)
	}
	switch r.IntN(8) {
	case 0:
		p.ending = slammed
	case 1, 2:
		if len(p.answer) > 1 && p.method != http.MethodHead {
			p.ending = broken
		}
	}
	if one(3) {
		p.cut = []moment{inBody, atArrival, atTaken, atTaken, atStatus, inAnswer}[r.IntN(6)]
		p.hints = p.hints || p.cut == atTaken && one(2)
		p.after = r.IntN(max(len(p.body), len(p.answer)) + 1)
		if p.cut == inBody && len(p.body) == 0 {
			p.cut = atTaken
		} else if p.cut == inBody {
			p.after %= len(p.body)
		}
	}
}

// refuse has the registry answer so that there is nothing to tell of.
func (p *plan) refuse(status int) {
	p.status, p.want, p.answers = status, nil, nil
	p.answer, p.announced = []byte(`{"errors":[{"code":"UNKNOWN"}]}`), true
}

// judge tells what is wrong with the events of a plan. exact says that no answer of the
// registry can be lost on its way.
func (p *plan) judge(events []*notifications.Event, exact bool) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	d := p.did
	if p.changes() && d.arrivals > 1 {
		say("the registry was asked %d times", d.arrivals)
	}
	var got []string
	for _, e := range events {
		got = append(got, fmt.Sprintf("%s %s:%s@%s", e.Action, e.Repository, e.Tag, e.Digest))
	}
	slices.Sort(got)
	counts := d.status != 0 && d.status == p.status && len(p.want) > 0
	must := counts && (exact || p.saw.status == d.status || p.changes() && d.taken && d.ended)
	switch {
	case !counts && len(got) > 0:
		say("events of what has not happened: %q", got)
	case len(got) > 0 && !slices.Equal(got, p.want), len(got) == 0 && must:
		say("events %q, want %q", got, p.want)
	}
	for _, e := range events {
		wrong = append(wrong, p.judgeEvent(e)...)
	}
	if p.cut == never && d.returned && (d.taken || len(p.body) == 0) && (p.saw.status != d.status || !p.saw.all || p.method != http.MethodHead && p.saw.body != string(p.answer)) {
		say("the client has not seen what the registry has answered")
	}
	return wrong
}

func (p *plan) judgeEvent(e *notifications.Event) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	details, err := e.Details()
	if err != nil {
		return []string{err.Error()}
	}
	d, size := p.did, p.size
	if p.changes() && d.size >= 0 {
		size = d.size
	}
	switch remark := details.Remark; {
	case e.Action == notifications.ActionDelete:
	case remark.SizeUnknown:
		if known := p.changes() && d.taken && (p.session == nil || !p.session.unsure) || !p.changes() && p.announced || p.method == http.MethodHead; size >= 0 && known {
			say("no size")
		}
	case details.Target.Size != size:
		say("size %d, want %d", details.Target.Size, size)
	}
	if e.Actor != p.user {
		say("actor %q", e.Actor)
	}
	aborted := details.Remark.Aborted
	switch broke := d.status != 0 && !d.returned && p.method == http.MethodGet; {
	case aborted && p.saw.all:
		say("aborted, and the client has it all")
	case aborted && p.changes():
		say("an aborted change")
	case !aborted && broke && p.ending == broken && p.status/100 == 2:
		say("not aborted, although the registry broke off")
	case aborted && p.announced && details.Remark.Sent >= int64(len(p.answer)):
		say("aborted after all of %d bytes", details.Remark.Sent)
	}
	return wrong
}

// A tally counts what has come to pass of all that a plan may have in store.
type tally map[string]int

func newTally() tally {
	return tally{"events": 0, "refused": 0, "torn requests": 0, "early answers": 0, "broken answers": 0, "orphaned changes": 0, "lost requests": 0, "aborted pulls": 0, "unknown sizes": 0}
}

func (t tally) count(p *plan, events []*notifications.Event) {
	for name, is := range map[string]bool{
		"refused":          p.did.status >= 400 && p.did.returned,
		"torn requests":    p.did.arrivals > 0 && p.cut == inBody && !p.did.taken,
		"early answers":    p.did.status == http.StatusCreated && !p.did.taken,
		"broken answers":   p.did.status != 0 && !p.did.returned,
		"orphaned changes": p.changes() && p.cut == atTaken && len(events) > 0,
		"lost requests":    p.did.arrivals == 0 && p.saw != (saw{}),
	} {
		if is {
			t[name]++
		}
	}
	for _, e := range events {
		t["events"]++
		switch d, _ := e.Details(); { // judgeEvent has tried it
		case d.Remark.Aborted:
			t["aborted pulls"]++
		case d.Remark.SizeUnknown:
			t["unknown sizes"]++
		}
	}
}
