package differential_test

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// pushBlobs plays uploads.
func (s *script) pushBlobs() {
	s.tb.Helper()
	const name = "pushes/blobs"
	uploads := "/v2/" + name + "/blobs/uploads/"
	octets := func(pairs ...string) http.Header {
		return header(append([]string{"Content-Type", "application/octet-stream"}, pairs...)...)
	}
	n := 0
	content := func() ([]byte, digest.Digest) {
		n++
		b := []byte(fmt.Sprintf("the content of blob number %d", n))
		return b, digest.FromBytes(b)
	}

	b, d := content()
	s.play(row{"single POST, which distribution takes for a start", request{method: "POST", target: uploads + "?digest=" + d.String(), body: b, header: octets()}, 202, "", ""})
	s.play(row{"a start with an algorithm", request{method: "POST", target: uploads + "?digest-algorithm=sha512"}, 202, "", ""})
	s.play(row{"a start without the slash", request{method: "POST", target: strings.TrimSuffix(uploads, "/")}, 0, "", ""})

	for _, stream := range []bool{false, true} {
		b, d = content()
		x := s.open(name)
		s.play(row{"PUT with the body", request{method: "PUT", target: withDigest(x.location, d), body: b, stream: stream, header: octets()}, 201, "push", ""})
		x = s.open(name)
		s.play(row{"PUT of what is there", request{method: "PUT", target: withDigest(x.location, d), body: b, stream: stream, header: octets()}, 201, "push", ""})

		b, d = content()
		x = s.open(name)
		x = s.play(row{"PATCH", request{method: "PATCH", target: x.location, body: b, stream: stream, header: octets()}, 202, "", ""})
		s.play(row{"PUT without a body", request{method: "PUT", target: withDigest(x.location, d)}, 201, "push", ""})

		b, d = content()
		x = s.open(name)
		x = s.play(row{"PATCH", request{method: "PATCH", target: x.location, body: b[:10], stream: stream, header: octets()}, 202, "", ""})
		s.play(row{"PUT with the rest", request{method: "PUT", target: withDigest(x.location, d), body: b[10:], stream: stream, header: octets()}, 201, "push", ""})

		for _, cuts := range [][]int{{1, 2, 3}, {0, 1}, {1}, {5, 5, 5, 8}} {
			b, d = content()
			x = s.open(name)
			at := 0
			for _, n := range cuts {
				h := octets()
				if n > 0 {
					h = octets("Content-Range", fmt.Sprintf("%d-%d", at, at+n-1))
				}
				x = s.play(row{"chunk", request{method: "PATCH", target: x.location, body: b[at : at+n], stream: stream, header: h}, 202, "", ""})
				at += n
			}
			s.play(row{"the last chunk in PUT", request{method: "PUT", target: withDigest(x.location, d), body: b[at:], stream: stream, header: octets("Content-Range", fmt.Sprintf("%d-%d", at, len(b)-1))}, 201, "push", ""})
		}
	}

	b, d = content()
	x := s.open(name)
	chunked := s.play(row{"chunk", request{method: "PATCH", target: x.location, body: b[:5], header: octets("Content-Range", "0-4")}, 202, "", ""})
	s.play(row{"the same chunk, with the old state", request{method: "PATCH", target: x.location, body: b[:5], header: octets("Content-Range", "0-4")}, 416, "", ""})
	s.play(row{"a chunk out of order", request{method: "PATCH", target: chunked.location, body: b[7:], header: octets("Content-Range", fmt.Sprintf("7-%d", len(b)-1))}, 416, "", ""})
	s.play(row{"a chunk of another size", request{method: "PATCH", target: chunked.location, body: b[5:7], header: octets("Content-Range", "5-9")}, 400, "", ""})
	s.play(row{"a chunk of another type", request{method: "PATCH", target: chunked.location, body: b[5:7], header: header("Content-Type", "text/plain")}, 0, "", ""})
	status := s.play(row{"status", request{method: "GET", target: chunked.location}, 204, "", ""})
	s.play(row{"status by HEAD", request{method: "HEAD", target: chunked.location}, 204, "", ""})
	if got := status.answer.Get("Range"); got != "0-4" {
		s.tb.Errorf("status: Range %q", got)
	}
	x = s.play(row{"the right chunk", request{method: "PATCH", target: chunked.location, body: b[5:7], header: octets("Content-Range", "5-6")}, 202, "", ""})
	s.play(row{"PUT with the rest", request{method: "PUT", target: withDigest(x.location, d), body: b[7:], header: octets()}, 201, "push", ""})
	s.play(row{"a session that has ended", request{method: "PUT", target: withDigest(x.location, d)}, 404, "", ""})

	b, d = content()
	x = s.open(name)
	s.play(row{"PUT without a digest", request{method: "PUT", target: x.location, body: b, header: octets()}, 400, "", ""})
	s.play(row{"PUT with a malformed digest", request{method: "PUT", target: x.location + "&digest=sha256:short", body: b, header: octets()}, 400, "", ""})
	s.play(row{"PUT with another digest", request{method: "PUT", target: withDigest(x.location, digest.FromString("another")), body: b, header: octets()}, 400, "", ""})
	s.play(row{"PUT after that", request{method: "PUT", target: withDigest(x.location, d), body: b, header: octets()}, 0, "", ""})

	x = s.open(name)
	s.play(row{"DELETE of a session", request{method: "DELETE", target: x.location}, 204, "", ""})
	s.play(row{"PUT to a deleted session", request{method: "PUT", target: withDigest(x.location, d), body: b, header: octets()}, 404, "", ""})
	s.play(row{"status of a deleted session", request{method: "GET", target: x.location}, 404, "", ""})
	s.play(row{"an unknown session", request{method: "PUT", target: uploads + "0b8b1f2e-0000-4000-8000-000000000000?digest=" + d.String(), body: b}, 0, "", ""})
	x = s.open(name)
	s.play(row{"a session of another repository", request{method: "PUT", target: strings.Replace(withDigest(x.location, d), "/pushes/", "/other/", 1), body: b}, 0, "", ""})
	s.play(row{"and of its own", request{method: "PUT", target: withDigest(x.location, d), body: b}, 201, "push", ""})

	x = s.open(name)
	s.play(row{"empty blob", request{method: "PUT", target: withDigest(x.location, emptyDigest)}, 201, "push", ""})
	b, _ = content()
	sum := sha512.Sum512(b)
	x = s.open(name)
	s.play(row{"PUT by sha512", request{method: "PUT", target: withDigest(x.location, digest.Digest("sha512:"+hex.EncodeToString(sum[:]))), body: b, header: octets()}, 201, "push", ""})
	s.play(row{"HEAD by sha256 after that", request{method: "HEAD", target: "/v2/" + name + "/blobs/" + digest.FromBytes(b).String()}, 200, "pull", ""})
	s.play(row{"HEAD by sha512 after that", request{method: "HEAD", target: "/v2/" + name + "/blobs/sha512:" + hex.EncodeToString(sum[:])}, 200, "pull", ""})
	for _, query := range []string{"&digest=" + d.String() + "&digest=" + emptyDigest, "&digest=" + emptyDigest + "&digest=" + d.String()} {
		x = s.open(name)
		s.play(row{"two digests, of which the first counts", request{method: "PUT", target: x.location + query}, 0, s.ofTwoDigests(query), ""})
	}
	b, d = content()
	s.play(row{"as nobody", request{method: "POST", target: uploads, user: "nobody"}, s.statusOf("nobody", 202), "", ""})
	x = s.open(name)
	s.play(row{"as somebody unknown", request{method: "PUT", target: withDigest(x.location, d), body: b, user: "mallory"}, s.statusOf("mallory", 201), s.eventsOf("mallory", "push"), ""})
}

// ofTwoDigests: nothing was uploaded, so that a push succeeds by the empty blob's alone.
func (s *script) ofTwoDigests(query string) string {
	if strings.HasPrefix(query, "&digest="+emptyDigest) {
		return "push"
	}
	return ""
}

// abortUploads closes connections after every byte of a small blob.
func (s *script) abortUploads() {
	s.tb.Helper()
	const name = "pushes/aborted"
	content := []byte("twelve bytes")
	dgst := digest.FromBytes(content)
	for _, stream := range []bool{false, true} {
		for k := range content {
			x := s.open(name)
			s.play(row{fmt.Sprintf("PUT aborted at %d", k), request{method: "PUT", target: withDigest(x.location, dgst), body: content, stream: stream, cut: &k}, 0, "", ""})
			s.play(row{"status after that", request{method: "GET", target: x.location}, 0, "", ""})
			x = s.open(name)
			s.play(row{fmt.Sprintf("PATCH aborted at %d", k), request{method: "PATCH", target: x.location, body: content, stream: stream, cut: &k}, 0, "", ""})
			x = s.play(row{"status after that", request{method: "GET", target: x.location}, 204, "", ""})
			s.finish(x, content, dgst)
		}
	}
	all := len(content)
	x := s.open(name)
	s.play(row{"PUT by a client that is gone before the answer", request{method: "PUT", target: withDigest(x.location, dgst), body: content, cut: &all}, 0, "push", ""})
	manifest := image(false, content)
	for k := 0; k < len(manifest.content); k += 37 {
		s.play(row{fmt.Sprintf("manifest aborted at %d", k), request{
			method: "PUT", target: "/v2/" + name + "/manifests/v1", body: manifest.content, header: header("Content-Type", manifest.mediaType), cut: &k,
		}, 0, "", ""})
	}
}

// finish ends an upload of which a part is there, by the range that its status says.
func (s *script) finish(status *exchange, content []byte, dgst digest.Digest) {
	s.tb.Helper()
	var last int
	if _, err := fmt.Sscanf(status.answer.Get("Range"), "0-%d", &last); err != nil {
		s.tb.Errorf("%v: Range %q", status, status.answer.Get("Range"))
		return
	}
	at := 0
	if last > 0 {
		at = last + 1
	}
	s.prepared()
	x := s.do(request{method: "PUT", target: withDigest(status.location, dgst), body: content[at:]})
	if _, wrong := s.compare(); len(wrong) > 0 {
		s.tb.Errorf("going on at %d, %v: %s", at, x, strings.Join(wrong, "\n"))
	}
}

// mountBlobs plays mounts, and what was meant to be one.
func (s *script) mountBlobs() {
	s.tb.Helper()
	const from, to = "mounts/from", "mounts/to"
	d := s.pushBlob(from, []byte("a blob to mount")).String()
	uploads := "/v2/" + to + "/blobs/uploads/"
	post := func(query string) request { return request{method: "POST", target: uploads + query} }
	form := func(values url.Values) request {
		return request{method: "POST", target: uploads, body: []byte(values.Encode()), header: header("Content-Type", "application/x-www-form-urlencoded")}
	}
	other := s.pushBlob(from, []byte("another blob to mount")).String()
	for _, r := range []row{
		{"mount", post("?mount=" + d + "&from=" + from), 201, "mount", ""},
		{"mount again", post("?mount=" + d + "&from=" + from), 201, "mount", ""},
		{"mount with an origin", post("?mount=" + d + "&from=" + from + "&origin=elsewhere.test"), 201, "mount", ""},
		{"mount from itself", post("?mount=" + d + "&from=" + to), 201, "mount", ""},
		{"HEAD of what was mounted", request{method: "HEAD", target: "/v2/" + to + "/blobs/" + d}, 200, "pull", ""},
		{"mount without from", post("?mount=" + d), 202, "", ""},
		{"from without mount", post("?from=" + from), 202, "", ""},
		{"mount from where it is not", post("?mount=" + d + "&from=mounts/nothing"), 202, "", ""},
		{"mount of what is not", post("?mount=sha256:" + sixtyFour("1") + "&from=" + from), 202, "", ""},
		{"mount of a malformed digest", post("?mount=sha256:short&from=" + from), 202, "", ""},
		{"mount from a malformed name", post("?mount=" + d + "&from=UPPER"), 202, "", ""},
		{"mount with a digest", post("?mount=" + d + "&from=" + from + "&digest=" + d), 201, "mount", ""},
		{"two digests to mount", post("?mount=" + d + "&mount=" + other + "&from=" + from), 201, "mount", ""},
	} {
		s.play(r)
	}
	if s.auth == "token" {
		return // the scopes of a token are not asked for by form
	}
	s.play(row{"mount by form", form(url.Values{"mount": {other}, "from": {from}}), 201, "mount", "form"})
	s.play(row{"mount by form and query", request{
		method: "POST", target: uploads + "?mount=" + other, body: []byte("from=" + url.QueryEscape(from)),
		header: header("Content-Type", "application/x-www-form-urlencoded"),
	}, 201, "mount", "form"})
}

// pushManifests plays pushes of manifests.
func (s *script) pushManifests() {
	s.tb.Helper()
	const name = "pushes/manifests"
	config, layer := []byte("{ }"), []byte("some layer")
	s.pushBlob(name, config)
	s.pushBlob(name, layer)
	oci, docker := image(false, config, layer), image(true, config, layer)
	put := func(reference string, d document, pairs ...string) request {
		return request{method: "PUT", target: "/v2/" + name + "/manifests/" + reference, body: d.content,
			header: header(append([]string{"Content-Type", d.mediaType}, pairs...)...)}
	}
	streamed := put("streamed", oci)
	streamed.stream = true
	noBlobs := image(false, []byte("not pushed"))
	large := newDocument(v1.MediaTypeImageManifest, v1.Manifest{
		Versioned: versioned(), MediaType: v1.MediaTypeImageManifest, Config: blobDescriptor(v1.MediaTypeImageConfig, config),
		Layers: []v1.Descriptor{}, Annotations: map[string]string{"large": strings.Repeat("x", 4<<20)},
	})
	nearly := newDocument(v1.MediaTypeImageManifest, v1.Manifest{
		Versioned: versioned(), MediaType: v1.MediaTypeImageManifest, Config: blobDescriptor(v1.MediaTypeImageConfig, config),
		Layers: []v1.Descriptor{}, Annotations: map[string]string{"large": strings.Repeat("x", 4<<20-1000)},
	})
	rich := newDocument(v1.MediaTypeImageManifest, map[string]any{
		"schemaVersion": 2, "mediaType": v1.MediaTypeImageManifest,
		"config": map[string]any{"mediaType": v1.MediaTypeImageConfig, "digest": digest.FromBytes(config), "size": len(config), "data": "eyB9", "artifactType": "application/x"},
		"layers": []any{map[string]any{
			"mediaType": v1.MediaTypeImageLayer, "digest": digest.FromBytes(layer), "size": len(layer),
			"annotations": map[string]string{"title": "<é> & \u2028"}, "unknown": 1,
		}},
		"subject":     map[string]any{"mediaType": v1.MediaTypeImageManifest, "digest": oci.digest, "size": len(oci.content)},
		"annotations": map[string]string{"a": "b"},
	})
	indented := document{oci.mediaType, bytes.ReplaceAll(oci.content, []byte(","), []byte(",\n   ")), ""}
	indented.digest = digest.FromBytes(indented.content)
	for _, r := range []row{
		{"by tag", put("v1", oci), 201, "push:v1", ""},
		{"by tag again", put("v1", oci), 201, "push:v1", ""},
		{"another by the same tag", put("v1", docker), 201, "push:v1", ""},
		{"by digest", put(oci.digest.String(), oci), 201, "push", ""},
		{"by digest with tags, which distribution does not know", put(oci.digest.String()+"?tag=a&tag=b", oci), 201, "push", ""},
		{"streamed", streamed, 201, "push:streamed", ""},
		{"by another digest", put(docker.digest.String(), oci), 400, "", ""},
		{"by sha512", put("sha512:"+sixtyFour("0")+sixtyFour("0"), oci), 400, "", ""},
		{"whose blobs are not there", put("v2", noBlobs), 400, "", ""},
		{"index", put("index", index(false, oci)), 201, "push:index", ""},
		{"index by digest", put(index(false, oci, docker).digest.String(), index(false, oci, docker)), 201, "push", ""},
		{"list", put("list", index(true, docker)), 201, "push:list", ""},
		{"index whose children are not there", put("index", index(false, noBlobs)), 400, "", ""},
		{"with a subject and more", put("rich", rich), 201, "push:rich", ""},
		{"indented", put("indented", indented), 201, "push:indented", ""},
		{"type with a parameter", put("parameter", oci, "Content-Type", oci.mediaType+"; charset=utf-8"), 0, "push:parameter", ""},
		{"not JSON", request{method: "PUT", target: "/v2/" + name + "/manifests/v3", body: []byte("{"), header: header("Content-Type", v1.MediaTypeImageManifest)}, 400, "", ""},
		{"of another type", request{method: "PUT", target: "/v2/" + name + "/manifests/v3", body: docker.content, header: header("Content-Type", v1.MediaTypeImageManifest)}, 0, "", ""},
		{"schema 1", request{method: "PUT", target: "/v2/" + name + "/manifests/v3", body: []byte(`{"schemaVersion":1}`), header: header("Content-Type", "application/vnd.docker.distribution.manifest.v1+prettyjws")}, 400, "", ""},
		{"empty", request{method: "PUT", target: "/v2/" + name + "/manifests/v3", header: header("Content-Type", v1.MediaTypeImageManifest)}, 400, "", ""},
		{"over 4 MiB", put("large", large), 400, "", ""},
		{"under 4 MiB", put("nearly", nearly), 201, "push:nearly", ""},
		{"a tag that is none", put(".hidden", oci), 0, "", ""},
		{"the longest tag", put(strings.Repeat("t", 128), oci), 201, "push:" + strings.Repeat("t", 128), ""},
		{"a longer tag", put(strings.Repeat("t", 129), oci), 0, "", ""},
		{"as nobody", func() request { q := put("v4", oci); q.user = "nobody"; return q }(), s.statusOf("nobody", 201), s.eventsOf("nobody", "push:v4"), ""},
	} {
		r.name = "manifest " + r.name
		s.play(r)
	}
	malformed := put("sha256:short", oci)
	if s.do(request{method: "GET", target: malformed.target}).status != http.StatusBadRequest {
		// Until v3.1.2, distribution takes it for a tag, and fails when it writes that.
		s.play(row{"manifest by a malformed digest", malformed, 500, "push:sha256:short", "untagged"})
	} else {
		s.play(row{"manifest by a malformed digest", malformed, 400, "", ""})
	}
	for _, tag := range []string{"v1", "rich", "indented", "nearly"} {
		s.play(row{"HEAD of " + tag, request{method: "HEAD", target: "/v2/" + name + "/manifests/" + tag, header: header("Accept", everything())}, 200, "pull:" + tag, ""})
		s.play(row{"GET of " + tag, request{method: "GET", target: "/v2/" + name + "/manifests/" + tag, header: header("Accept", everything())}, 200, "pull:" + tag, ""})
	}
}
