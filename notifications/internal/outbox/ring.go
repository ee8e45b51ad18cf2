package outbox

import (
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications"
)

// A ring is a first-in first-out list of events that grows as needed. The zero value is
// empty.
type ring struct {
	slots []entry
	head  int // of the oldest
	n     int
}

type entry struct {
	event  *notifications.Event
	weight int
}

func (r *ring) push(e entry) {
	if r.n == len(r.slots) {
		grown := make([]entry, max(16, 2*r.n))
		copy(grown[copy(grown, r.slots[r.head:]):], r.slots[:r.head])
		r.slots, r.head = grown, 0
	}
	r.slots[(r.head+r.n)%len(r.slots)] = e
	r.n++
}

// at returns the entry that is i behind the oldest.
func (r *ring) at(i int) entry { return r.slots[(r.head+i)%len(r.slots)] }

func (r *ring) pop() entry {
	e := r.slots[r.head]
	r.slots[r.head] = entry{}
	r.head = (r.head + 1) % len(r.slots)
	r.n--
	return e
}

// What an event and a descriptor take without their strings, roughly.
const (
	eventBytes      = 1 << 10
	descriptorBytes = 256
)

// weight estimates how much memory e takes, in bytes.
func weight(e *notifications.Event) int {
	d, _ := e.Details() // of what cannot be read, there is little
	n := eventBytes + len(e.ID) + len(e.Action) + len(e.Provenance.Sender) + len(d.Target.Repository) + len(d.Target.FromRepository) +
		len(d.Target.URL) + len(d.Target.Tag) + len(d.Actor.Name) +
		len(d.Request.ID) + len(d.Request.Addr) + len(d.Request.Host) + len(d.Request.Method) + len(d.Request.UserAgent) +
		len(d.Source.Addr) + len(d.Source.InstanceID) + descriptorWeight(&d.Target.Descriptor)
	for i := range d.Target.References {
		n += descriptorBytes + descriptorWeight(&d.Target.References[i])
	}
	return n
}

func descriptorWeight(d *v1.Descriptor) int {
	n := len(d.MediaType) + len(d.Digest) + len(d.Data) + len(d.ArtifactType)
	for _, u := range d.URLs {
		n += len(u)
	}
	for k, v := range d.Annotations {
		n += len(k) + len(v)
	}
	if d.Platform != nil {
		n += descriptorBytes
	}
	return n
}
