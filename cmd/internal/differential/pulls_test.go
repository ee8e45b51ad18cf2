package differential_test

import (
	"bytes"
	"net/http"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// pullManifests plays pulls of manifests.
func (s *script) pullManifests() {
	s.tb.Helper()
	const name = "pulls/manifests"
	config, layer, other := []byte("{}"), []byte("a layer"), []byte("another layer")
	for _, content := range [][]byte{config, layer, other} {
		s.pushBlob(name, content)
	}
	oci, docker := image(false, config, layer, other), image(true, config, layer)
	ociIndex, dockerList := index(false, oci, image(false, config)), index(true, docker)
	s.pushManifest(name, oci.digest.String(), oci)
	s.pushManifest(name, "oci", oci)
	s.pushManifest(name, "docker", docker)
	second := image(false, config)
	s.pushManifest(name, second.digest.String(), second)
	s.pushManifest(name, "index", ociIndex)
	s.pushManifest(name, "list", dockerList)

	at := func(reference string) string { return "/v2/" + name + "/manifests/" + reference }
	all := header("Accept", everything())
	for _, method := range []string{"GET", "HEAD"} {
		for _, d := range []struct {
			tag string
			document
		}{{"oci", oci}, {"docker", docker}, {"index", ociIndex}, {"list", dockerList}} {
			byTag, byDigest := at(d.tag), at(d.digest.String())
			etag := d.digest.String()
			for _, r := range []row{
				{method + " by tag", request{method: method, target: byTag, header: all}, 200, "pull:" + d.tag, ""},
				{method + " by digest", request{method: method, target: byDigest, header: all}, 200, "pull", ""},
				{method + " its type alone", request{method: method, target: byTag, header: header("Accept", d.mediaType)}, 200, "pull:" + d.tag, ""},
				{method + " its type with a parameter", request{method: method, target: byTag, header: header("Accept", d.mediaType+";q=0.5")}, 200, "pull:" + d.tag, ""},
				{method + " several Accept", request{method: method, target: byTag, header: header("Accept", "text/html", "Accept", d.mediaType)}, 200, "pull:" + d.tag, ""},
				{method + " by tag, unchanged", request{method: method, target: byTag, header: header("Accept", everything(), "If-None-Match", `"`+etag+`"`)}, 304, "", ""},
				{method + " by digest, unchanged", request{method: method, target: byDigest, header: header("Accept", everything(), "If-None-Match", etag)}, 304, "", ""},
				{method + " changed", request{method: method, target: byTag, header: header("Accept", everything(), "If-None-Match", `"sha256:0"`)}, 200, "pull:" + d.tag, ""},
				{method + " a part", request{method: method, target: byTag, header: header("Accept", everything(), "Range", "bytes=0-3")}, 200, "pull:" + d.tag, ""},
				{method + " compressed", request{method: method, target: byTag, header: header("Accept", everything(), "Accept-Encoding", "gzip")}, 200, "pull:" + d.tag, ""},
			} {
				s.play(r)
			}
		}
		for _, r := range []row{
			{method + " no Accept, OCI manifest", request{method: method, target: at("oci")}, 404, "pull:oci", "unacceptable"},
			{method + " no Accept, OCI manifest by digest", request{method: method, target: at(oci.digest.String())}, 404, "pull", "unacceptable"},
			{method + " other Accept, OCI manifest", request{method: method, target: at("oci"), header: header("Accept", v1.MediaTypeImageIndex)}, 404, "pull:oci", "unacceptable"},
			{method + " other Accept, OCI index", request{method: method, target: at("index"), header: header("Accept", v1.MediaTypeImageManifest)}, 200, "pull:index", ""},
			{method + " no Accept, Docker manifest", request{method: method, target: at("docker")}, 200, "pull:docker", ""},
			{method + " any Accept, Docker manifest", request{method: method, target: at("docker"), header: header("Accept", "*/*")}, 200, "pull:docker", ""},
			{method + " list for a client that knows none", request{method: method, target: at("list"), header: header("Accept", mediaTypeDockerManifest)}, 200, "pull pull:list", "list"},
			{method + " list for a client that knows nothing", request{method: method, target: at("list")}, 400, "pull pull:list", "unacceptable"},
			{method + " list by digest for a client that knows none", request{method: method, target: at(dockerList.digest.String()), header: header("Accept", mediaTypeDockerManifest)}, 200, "pull", ""},
			{method + " unknown tag", request{method: method, target: at("unknown"), header: all}, 404, "", ""},
			{method + " unknown digest", request{method: method, target: at(emptyDigest), header: all}, 404, "", ""},
			{method + " unknown repository", request{method: method, target: "/v2/pulls/nothing/manifests/oci", header: all}, 404, "", ""},
			{method + " malformed digest", request{method: method, target: at("sha256:short"), header: all}, 0, "", ""},
			{method + " as somebody unknown", request{method: method, target: at("oci"), header: all, user: "mallory"}, s.statusOf("mallory", 200), s.eventsOf("mallory", "pull:oci"), ""},
			{method + " as nobody", request{method: method, target: at("oci"), header: all, user: "nobody"}, s.statusOf("nobody", 200), s.eventsOf("nobody", "pull:oci"), ""},
		} {
			s.play(r)
		}
	}
}

// pullBlobs plays pulls of blobs.
func (s *script) pullBlobs() {
	s.tb.Helper()
	const name = "pulls/blobs"
	content := bytes.Repeat([]byte("0123456789"), 100)
	dgst := s.pushBlob(name, content)
	empty := s.pushBlob(name, nil)
	at := func(digest string) string { return "/v2/" + name + "/blobs/" + digest }
	etag := `"` + dgst.String() + `"`
	for _, method := range []string{"GET", "HEAD"} {
		target := at(dgst.String())
		get := func(pairs ...string) request {
			return request{method: method, target: target, header: header(pairs...)}
		}
		for _, r := range []row{
			{method, get(), 200, "pull", ""},
			{method + " compressed", get("Accept-Encoding", "gzip, zstd"), 200, "pull", ""},
			{method + " from the start", get("Range", "bytes=0-99"), 206, "pull", ""},
			{method + " from the middle", get("Range", "bytes=10-19"), 206, "pull", ""},
			{method + " to the end", get("Range", "bytes=990-"), 206, "pull", ""},
			{method + " beyond the end", get("Range", "bytes=990-5000"), 206, "pull", ""},
			{method + " the last", get("Range", "bytes=-5"), 206, "pull", ""},
			{method + " all as a range", get("Range", "bytes=0-"), 206, "pull", ""},
			{method + " one byte", get("Range", "bytes=0-0"), 206, "pull", ""},
			{method + " two ranges", get("Range", "bytes=0-1,5-6"), 206, "pull", ""},
			{method + " another unit", get("Range", "lines=0-1"), 416, "pull", "nothing sent"},
			{method + " malformed range", get("Range", "bytes=b-a"), 416, "pull", "nothing sent"},
			{method + " range that is not there", get("Range", "bytes=5000-"), 416, "pull", "nothing sent"},
			{method + " If-Range that holds", get("Range", "bytes=0-1", "If-Range", etag), 206, "pull", ""},
			{method + " If-Range that does not", get("Range", "bytes=0-1", "If-Range", `"x"`), 200, "pull", ""},
			{method + " unchanged", get("If-None-Match", etag), 304, "pull", ""},
			{method + " unchanged, any", get("If-None-Match", "*"), 304, "pull", ""},
			{method + " changed", get("If-None-Match", `"x"`), 200, "pull", ""},
			{method + " If-Match that holds", get("If-Match", etag), 200, "pull", ""},
			{method + " If-Match that does not", get("If-Match", `"x"`), 412, "pull", "nothing sent"},
			{method + " unknown", request{method: method, target: "/v2/" + name + "/blobs/sha256:" + sixtyFour("0")}, 404, "", ""},
			{method + " of another repository", request{method: method, target: "/v2/pulls/nothing/blobs/" + dgst.String()}, 404, "", ""},
			{method + " malformed digest", request{method: method, target: at("sha256:short")}, 0, "", ""},
			{method + " empty blob", request{method: method, target: at(empty.String())}, 200, "pull", ""},
			{method + " empty blob, a part", request{method: method, target: at(empty.String()), header: header("Range", "bytes=0-1")}, 0, "pull", ""},
			{method + " mirror", request{method: method, target: target + "?ns=docker.io"}, 200, "pull", ""},
		} {
			s.play(r)
		}
	}
	large := bytes.Repeat([]byte("large"), 6<<20/5) // more than sockets keep
	target := at(s.pushBlob(name, large).String())
	for _, k := range []int{0, 1, 64 << 10} {
		s.play(row{"aborted download", request{method: "GET", target: target, cut: &k}, 200, "pull", ""})
		s.play(row{"aborted download of a part", request{method: "GET", target: target, header: header("Range", "bytes=1000-"), cut: &k}, 206, "pull", ""})
	}
}

func sixtyFour(digit string) string { return string(bytes.Repeat([]byte(digit), 64)) }

// statusOf is what a user gets where known users get status.
func (s *script) statusOf(user string, status int) int {
	if s.refuses(user) {
		return http.StatusUnauthorized
	}
	return status
}

func (s *script) eventsOf(user, events string) string {
	if s.refuses(user) {
		return ""
	}
	return events
}
