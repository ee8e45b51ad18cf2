package differential_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
)

// An operation is something a client does in a tiny universe: what, and to which of its
// few repositories, blobs, images and tags. Every value of the four bytes is one, so that
// any bytes are a script.
type operation [4]byte

// The size of the universe.
const (
	universeRepositories = 3
	universeBlobs        = 4
	universeImages       = 4 // two of them indexes
	universeTags         = 3
	universeSessions     = 2
)

func (o operation) verb() verb      { return verbs()[int(o[0])%len(verbs())] }
func (o operation) repository() int { return int(o[1]) % universeRepositories }
func (o operation) other() int      { return int(o[1]) / universeRepositories % universeRepositories }
func (o operation) thing() int      { return int(o[2]) }
func (o operation) how() int        { return int(o[3]) }

func (o operation) blob() int    { return o.thing() % universeBlobs }
func (o operation) image() int   { return o.thing() % universeImages }
func (o operation) session() int { return o.how() % universeSessions }

// tag is the tag of an operation on a manifest, -1 for one that names the digest.
func (o operation) tag() int { return o.thing()/universeImages%(universeTags+1) - 1 }

func (o operation) String() string {
	v := o.verb()
	return v.name + " " + v.describe(o)
}

// A verb is a kind of operation. Its weight says how often it is drawn.
type verb struct {
	name     string
	weight   int
	describe func(operation) string
	run      func(u *universe, o operation)
}

func describeBlob(o operation) string {
	return fmt.Sprintf("repo %d, blob %d, how %d", o.repository(), o.blob(), o.how())
}

func describeMount(o operation) string {
	return fmt.Sprintf("blob %d of repo %d into repo %d, how %d", o.blob(), o.other(), o.repository(), o.how()%8)
}

func describeImage(o operation) string {
	return fmt.Sprintf("repo %d, image %d, tag %d, how %d", o.repository(), o.image(), o.tag(), o.how())
}

func describeSession(o operation) string {
	return fmt.Sprintf("session %d, repo %d, blob %d, length %d", o.session(), o.repository(), o.blob(), o.how()/universeSessions%16)
}

func verbs() []verb {
	return []verb{
		{"push blob", 8, describeBlob, (*universe).pushBlob},
		{"pull blob", 6, describeBlob, (*universe).pullBlob},
		{"delete blob", 2, describeBlob, (*universe).deleteBlob},
		{"mount blob", 4, describeMount, (*universe).mountBlob},
		{"push image", 8, describeImage, (*universe).pushImage},
		{"pull image", 8, describeImage, (*universe).pullImage},
		{"delete image", 4, describeImage, (*universe).deleteImage},
		{"open session", 2, describeSession, (*universe).openSession},
		{"patch session", 3, describeSession, (*universe).patchSession},
		{"put session", 3, describeSession, (*universe).putSession},
		{"look at session", 1, describeSession, (*universe).statusOfSession},
		{"delete session", 1, describeSession, (*universe).deleteSession},
		{"abort session", 1, describeSession, (*universe).abortSession},
		{"list tags", 1, describeBlob, (*universe).listTags},
	}
}

// A universe is what operations act upon. Several of them share a rig: each has names and
// content of its own.
type universe struct {
	*rig
	salt     string
	images   []document
	sessions [universeSessions]string // where uploads go on, "" before the first
}

func newUniverse(r *rig, salt string) *universe {
	u := &universe{rig: r, salt: salt}
	oci := image(false, u.content(0), u.content(1))
	docker := image(true, u.content(1), u.content(2), u.content(3))
	u.images = []document{oci, docker, index(false, oci), index(true, docker)}
	return u
}

// content is that of a blob; the last is empty.
func (u *universe) content(blob int) []byte {
	if blob == universeBlobs-1 {
		return nil
	}
	return []byte(strings.Repeat(fmt.Sprintf("%s, blob %d.", u.salt, blob), 1+5*blob))
}

func (u *universe) digest(blob int) digest.Digest { return digest.FromBytes(u.content(blob)) }

// path is below a repository.
func (u *universe) path(repository int, rest string) string {
	return fmt.Sprintf("/v2/%s/%s/%s", u.salt, []string{"r", "r/blobs/uploads", "r/s"}[repository], rest)
}

func (u *universe) pushBlob(o operation) {
	content, dgst := u.content(o.blob()), u.digest(o.blob())
	stream := o.how()&1 != 0
	x := u.do(request{method: "POST", target: u.path(o.repository(), "blobs/uploads/")})
	if x.status != http.StatusAccepted {
		return
	}
	chunks := o.how() / 2 % 4 // before the PUT
	at := 0
	for i := range chunks {
		end := at + (len(content)-at)/(chunks-i+1)
		q := request{method: "PATCH", target: x.location, body: content[at:end], stream: stream, header: header("Content-Type", "application/octet-stream")}
		if o.how()&8 != 0 && end > at {
			q.header.Set("Content-Range", fmt.Sprintf("%d-%d", at, end-1))
		}
		if x = u.do(q); x.status != http.StatusAccepted {
			return
		}
		at = end
	}
	if o.how()&16 != 0 {
		dgst = u.digest((o.blob() + o.how()/32) % universeBlobs)
	}
	u.do(request{method: "PUT", target: withDigest(x.location, dgst), body: content[at:], stream: stream})
}

func (u *universe) pullBlob(o operation) {
	q := request{method: "GET", target: u.path(o.repository(), "blobs/"+u.digest(o.blob()).String())}
	if o.how()&1 != 0 {
		q.method = "HEAD"
	}
	etag := `"` + u.digest(o.blob()).String() + `"`
	variants := [][]string{
		nil, nil, nil, {"Range", "bytes=0-3"}, {"Range", "bytes=5-"}, {"Range", "bytes=-3"}, {"Range", "bytes=1-2,4-5"},
		{"Range", "bytes=9999-"}, {"If-None-Match", etag}, {"If-Match", `"x"`}, {"Range", "bytes=0-1", "If-Range", etag},
	}
	q.header = header(variants[o.how()/2%len(variants)]...)
	u.do(q)
}

func (u *universe) deleteBlob(o operation) {
	u.do(request{method: "DELETE", target: u.path(o.repository(), "blobs/"+u.digest(o.blob()).String())})
}

func (u *universe) mountBlob(o operation) {
	from := strings.TrimSuffix(strings.TrimPrefix(u.path(o.other(), ""), "/v2/"), "/")
	query := "mount=" + u.digest(o.blob()).String()
	switch o.how() % 8 {
	case 0: // without from
	case 1:
		query += "&from=" + from + "&digest=" + u.digest(o.blob()).String()
	default:
		query += "&from=" + from
	}
	x := u.do(request{method: "POST", target: u.path(o.repository(), "blobs/uploads/?"+query)})
	if x.status == http.StatusAccepted && o.how()&8 != 0 {
		u.do(request{method: "PUT", target: withDigest(x.location, u.digest(o.blob())), body: u.content(o.blob())})
	}
}

// reference is the tag or digest of an operation on an image.
func (u *universe) reference(o operation) string {
	if o.tag() >= 0 {
		return fmt.Sprintf("t%d", o.tag())
	}
	return u.images[o.image()].digest.String()
}

func (u *universe) pushImage(o operation) {
	d := u.images[o.image()]
	if o.how()&3 == 0 { // its children and blobs first, or it fails too often
		for i := range universeBlobs {
			u.pushBlob(operation{0, o[1], byte(i), 0})
		}
		for _, child := range u.images[:2] {
			u.putManifest(o.repository(), child.digest.String(), child)
		}
	}
	u.putManifest(o.repository(), u.reference(o), d)
}

func (u *universe) putManifest(repository int, reference string, d document) {
	u.do(request{method: "PUT", target: u.path(repository, "manifests/"+reference), body: d.content, header: header("Content-Type", d.mediaType)})
}

func (u *universe) pullImage(o operation) {
	d := u.images[o.image()]
	q := request{method: "GET", target: u.path(o.repository(), "manifests/"+u.reference(o)), header: header("Accept", everything())}
	if o.how()&1 != 0 {
		q.method = "HEAD"
	}
	switch o.how() / 2 % 8 {
	case 0:
		q.header = nil
	case 1:
		q.header = header("Accept", d.mediaType)
	case 2:
		q.header.Set("If-None-Match", `"`+d.digest.String()+`"`)
	case 3:
		q.header.Set("Accept", mediaTypeDockerManifest)
	}
	u.do(q)
}

func (u *universe) deleteImage(o operation) {
	u.do(request{method: "DELETE", target: u.path(o.repository(), "manifests/"+u.reference(o))})
}

func (u *universe) listTags(o operation) {
	u.do(request{method: "GET", target: u.path(o.repository(), "tags/list")})
}

func (u *universe) openSession(o operation) {
	if x := u.do(request{method: "POST", target: u.path(o.repository(), "blobs/uploads/")}); x.status == http.StatusAccepted {
		u.sessions[o.session()] = x.location
	}
}

// onSession does something with a session, and remembers where it goes on.
func (u *universe) onSession(o operation, q request) {
	if u.sessions[o.session()] == "" {
		return
	}
	q.target = u.sessions[o.session()] + q.target
	if x := u.do(q); x.location != "" && x.status < 300 {
		u.sessions[o.session()] = x.location
	}
}

// part is some of a blob's content from its start.
func (u *universe) part(o operation) []byte {
	content := u.content(o.blob())
	return content[:min(len(content), o.how()/universeSessions%16)]
}

func (u *universe) patchSession(o operation) {
	u.onSession(o, request{method: "PATCH", body: u.part(o), header: header("Content-Type", "application/octet-stream")})
}

func (u *universe) putSession(o operation) {
	dgst := digest.FromBytes(u.part(o)) // right if nothing was sent before
	if o.how()&32 != 0 {
		dgst = u.digest(o.blob())
	}
	u.onSession(o, request{method: "PUT", target: "&digest=" + dgst.String(), body: u.part(o)})
}

func (u *universe) statusOfSession(o operation) { u.onSession(o, request{method: "GET"}) }
func (u *universe) deleteSession(o operation)   { u.onSession(o, request{method: "DELETE"}) }

func (u *universe) abortSession(o operation) {
	content := u.content(o.blob())
	if len(content) == 0 {
		return
	}
	k := len(u.part(o))
	q := request{method: "PATCH", body: content, cut: &k, header: header("Content-Type", "application/octet-stream")}
	if o.repository() == 0 {
		q.method, q.target = "PUT", "&digest="+u.digest(o.blob()).String()
	}
	u.onSession(o, q)
}

// encode is a script for the flag -replay.
func encode(operations []operation) string {
	var bytes []byte
	for _, o := range operations {
		bytes = append(bytes, o[:]...)
	}
	return hex.EncodeToString(bytes)
}

func decode(script string) ([]operation, error) {
	bytes, err := hex.DecodeString(script)
	if err != nil {
		return nil, err
	}
	if len(bytes)%4 != 0 {
		return nil, errors.New("a script has four bytes for each operation")
	}
	var operations []operation
	for ; len(bytes) > 0; bytes = bytes[4:] {
		operations = append(operations, operation(bytes[:4]))
	}
	return operations, nil
}
