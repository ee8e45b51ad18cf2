package observer_test

import (
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/notifications/observer"
)

func TestManifestPulls(t *testing.T) {
	served := []string{"Content-Type", ociManifest, "Docker-Content-Digest", manifest.String()}
	size := []string{"Content-Length", fmt.Sprint(len(image))}
	pull := fmt.Sprintf("a/b:v1@image manifest.v1+json %d refs=config,blob", len(image))
	byDigest := fmt.Sprintf("a/b@image manifest.v1+json %d refs=config,blob", len(image))
	unread := fmt.Sprintf("a/b:v1@image manifest.v1+json %d", len(image))
	broken := `{"config":{"digest":"sha256:short"}}`
	tag, dgst := "/v2/a/b/manifests/v1", "/v2/a/b/manifests/"+manifest.String()
	runRows(t, []row{
		{"nothing to pull", observer.Options{}, []exchange{
			{"GET", "/v2/", "", nil, 200, nil, "{}"},
			{"GET", "/v2/_catalog", "", nil, 200, nil, `{"repositories":[]}`},
			{"GET", "/v2/a/b/tags/list", "", nil, 200, nil, `{"tags":["v1"]}`},
			{"GET", "/v2/a/b/referrers/" + blob.String(), "", nil, 200, nil, "{}"},
			{"OPTIONS", tag, "", nil, 200, nil, ""},
			{"POST", tag, "", nil, 200, nil, ""},
			{"GET", "/", "", nil, 200, nil, "hello"},
		}, nil},
		{"by tag", observer.Options{}, []exchange{
			{"GET", tag, "", nil, 200, header(served, size), image},
		}, []string{"pull GET " + pull}},
		{"by tag, of implicit length and status", observer.Options{}, []exchange{
			{"GET", tag, "", nil, 0, served, image},
		}, []string{"pull GET " + pull}},
		{"by digest", observer.Options{}, []exchange{
			{"GET", dgst, "", nil, 200, header(served, size), image},
		}, []string{"pull GET " + byDigest}},
		{"media type with parameters and in capitals", observer.Options{}, []exchange{
			{"GET", tag, "", nil, 200, []string{"Content-Type", "application/vnd.oci.image.MANIFEST.v1+json; charset=utf-8", "Docker-Content-Digest", manifest.String()}, image},
		}, []string{"pull GET " + pull}},
		{"media type from the manifest", observer.Options{}, []exchange{
			{"GET", tag, "", nil, 200, []string{"Content-Type", "json", "Docker-Content-Digest", manifest.String()}, image},
		}, []string{"pull GET " + pull}},
		{"digest from the content", observer.Options{}, []exchange{
			{"GET", tag, "", nil, 200, []string{"Content-Type", ociManifest}, image},
		}, []string{"pull GET " + pull}},
		{"digest that is none", observer.Options{}, []exchange{
			{"GET", tag, "", nil, 200, []string{"Content-Type", ociManifest, "Docker-Content-Digest", "sha256:short"}, image},
		}, []string{"pull GET " + pull}},
		{"an index", observer.Options{}, []exchange{
			{"GET", tag, "", nil, 200, []string{"Content-Type", ociIndex}, list},
		}, []string{fmt.Sprintf("pull GET a/b:v1@list index.v1+json %d refs=image", len(list))}},
		{"an encoded body", observer.Options{}, []exchange{
			{"GET", tag, "", nil, 200, header(served, []string{"Content-Encoding", "gzip"}), "compressed"},
		}, []string{"pull GET a/b:v1@image manifest.v1+json ?"}},
		{"an encoded body and no digest", observer.Options{}, []exchange{
			{"GET", tag, "", nil, 200, []string{"Content-Type", ociManifest, "Content-Encoding", "gzip"}, "compressed"},
		}, nil},
		{"HEAD of an unknown manifest", observer.Options{}, []exchange{
			{"HEAD", tag, "", nil, 200, header(served, size), ""},
		}, []string{"pull HEAD " + unread}},
		{"HEAD of one that has passed", observer.Options{}, []exchange{
			{"GET", dgst, "", nil, 200, header(served, size), image},
			{"HEAD", tag, "", nil, 200, header(served, size), ""},
		}, []string{"pull GET " + byDigest, "pull HEAD " + pull}},
		{"HEAD that tells the digest as its ETag", observer.Options{}, []exchange{
			{"HEAD", tag, "", nil, 200, header(size, []string{"Content-Type", ociManifest, "Etag", `W/"` + manifest.String() + `"`}), ""},
		}, []string{"pull HEAD " + unread}},
		{"HEAD that tells no digest", observer.Options{}, []exchange{
			{"HEAD", tag, "", nil, 200, header(size, []string{"Content-Type", ociManifest}), ""},
		}, nil},
		{"HEAD by digest that tells nothing", observer.Options{}, []exchange{
			{"HEAD", dgst, "", nil, 200, nil, ""},
		}, []string{"pull HEAD a/b@image ? kind=manifest"}},
		{"HEAD, dropped but remembered", observer.Options{DropHead: true}, []exchange{
			{"HEAD", tag, "", nil, 200, served, ""}, {"DELETE", dgst, "", nil, 202, nil, ""}, {"HEAD", dgst, "", nil, 200, served, ""},
			{"GET", dgst, "", nil, 200, served, image},
		}, []string{"delete DELETE a/b@image kind=manifest", "delete DELETE a/b:v1 inferred", "pull GET " + byDigest}},
		{"not modified", observer.Options{Parity: observer.Strict}, []exchange{
			{"GET", tag, "", []string{"If-None-Match", `"` + manifest.String() + `"`}, 304, nil, ""},
		}, nil},
		{"refused", observer.Options{Parity: observer.Strict}, []exchange{
			{"GET", tag, "", nil, 401, nil, "{}"}, {"GET", tag, "", nil, 403, nil, "{}"},
			{"GET", tag, "", nil, 404, served, "{}"}, {"HEAD", tag, "", nil, 404, served, ""},
			{"GET", tag, "", nil, 406, nil, "{}"}, {"GET", tag, "", nil, 429, nil, "{}"}, {"GET", tag, "", nil, 500, nil, "{}"},
		}, nil},
		{"redirected by digest", observer.Options{}, []exchange{
			{"GET", dgst, "", nil, 307, []string{"Location", "https://storage.example/x", "Content-Type", "text/html"}, "<a>"},
		}, []string{"pull GET a/b@image ? kind=manifest redirected"}},
		{"redirected by tag with a digest", observer.Options{}, []exchange{
			{"GET", dgst, "", nil, 200, served, image},
			{"GET", tag, "", nil, 302, []string{"Location", "https://storage.example/x", "Docker-Content-Digest", manifest.String()}, ""},
		}, []string{"pull GET " + byDigest, "pull GET " + pull + " redirected"}},
		{"redirected by tag", observer.Options{}, []exchange{
			{"GET", tag, "", nil, 303, []string{"Location", "https://storage.example/x"}, ""},
		}, nil},
		{"a part", observer.Options{}, []exchange{
			{"GET", tag, "", nil, 206, header(served, []string{"Content-Range", fmt.Sprintf("bytes 0-3/%d", len(image))}), image[:4]},
		}, []string{"pull GET " + unread}},
		{"by a digest that nobody has verified", observer.Options{}, []exchange{
			{"GET", "/v2/a/b/manifests/" + blob512.String(), "", nil, 200, []string{"Content-Type", ociManifest}, image},
			{"HEAD", "/v2/a/b/manifests/" + blob512.String(), "", nil, 200, []string{"Content-Type", ociManifest, "Content-Length", fmt.Sprint(len(image))}, ""},
		}, []string{
			fmt.Sprintf("pull GET a/b@blob512 manifest.v1+json %d refs=config,blob", len(image)),
			fmt.Sprintf("pull HEAD a/b@blob512 manifest.v1+json %d", len(image)),
		}},
		{"several parts", observer.Options{}, []exchange{
			{"GET", tag, "", nil, 206, []string{"Content-Type", "multipart/byteranges; boundary=x", "Docker-Content-Digest", manifest.String()}, "--x--"},
		}, []string{"pull GET a/b:v1@image ?"}},
		{"references that are none", observer.Options{}, []exchange{
			{"GET", tag, "", nil, 200, []string{"Content-Type", ociManifest}, broken},
		}, []string{fmt.Sprintf("pull GET a/b:v1@%s manifest.v1+json %d", digest.FromString(broken), len(broken))}},
		{"with a prefix", observer.Options{Prefix: "/registry/"}, []exchange{
			{"GET", "/registry" + tag, "", nil, 200, served, image},
			{"GET", tag, "", nil, 200, served, image},
		}, []string{"pull GET " + pull}},
	})
}

func TestBlobPulls(t *testing.T) {
	path := "/v2/a/b/blobs/" + blob.String()
	size := []string{"Content-Length", "22"}
	word := []string{"Docker-Content-Digest", blob.String()}
	get, unknown, redirected := "pull GET a/b@blob 22", "pull GET a/b@blob ?", " redirected"
	known := exchange{"HEAD", path, "", nil, 200, size, ""}
	head := "pull HEAD a/b@blob 22"
	location := []string{"Location", "https://storage.example/x", "Content-Length", "3"}
	runRows(t, []row{
		{"all of it", observer.Options{}, []exchange{{"GET", path, "", nil, 200, size, blobContent}}, []string{get}},
		{"all of it, without length", observer.Options{}, []exchange{{"GET", path, "", nil, 0, nil, blobContent}}, []string{get}},
		{"as a layer's media type", observer.Options{}, []exchange{{"GET", path, "", nil, 200, header(size, []string{"Content-Type", "application/vnd.oci.image.layer.v1.tar"}), blobContent}}, []string{get}},
		{"encoded", observer.Options{}, []exchange{{"GET", path, "", nil, 200, []string{"Content-Encoding", "gzip", "Content-Length", "4"}, "gzip"}}, []string{unknown}},
		{"of identity encoding", observer.Options{}, []exchange{{"GET", path, "", nil, 200, header(size, []string{"Content-Encoding", "identity"}), blobContent}}, []string{get}},
		{"an empty one", observer.Options{}, []exchange{{"GET", "/v2/a/b/blobs/" + empty.String(), "", nil, 200, []string{"Content-Length", "0"}, ""}}, []string{"pull GET a/b@empty 0"}},
		{"HEAD", observer.Options{}, []exchange{known}, []string{head}},
		{"HEAD without length", observer.Options{}, []exchange{{"HEAD", path, "", nil, 200, nil, ""}}, []string{"pull HEAD a/b@blob ?"}},
		{"asked for by SHA-512", observer.Options{}, []exchange{{"GET", "/v2/a/b/blobs/" + blob512.String(), "", nil, 200, header(size, word), blobContent}}, []string{get}},
		{"a part of it", observer.Options{}, []exchange{{"GET", path, "", nil, 206, []string{"Content-Range", "bytes 0-3/22", "Content-Length", "4"}, blobContent[:4]}}, []string{get}},
		{"a part of who knows how much", observer.Options{}, []exchange{
			{"GET", path, "", nil, 206, []string{"Content-Range", "bytes 0-3/*", "Content-Length", "4"}, blobContent[:4]},
			{"GET", path, "", nil, 206, []string{"Content-Type", "multipart/byteranges; boundary=x"}, "--x--"},
		}, []string{unknown, unknown}},
		{"parts of a known one", observer.Options{}, []exchange{
			known, {"GET", path, "", nil, 206, []string{"Content-Range", "bytes 0-3/*"}, blobContent[:4]},
		}, []string{head, get}},
		{"redirected", observer.Options{}, []exchange{
			{"GET", path, "", nil, 307, location, "<a>"}, {"HEAD", path, "", nil, 307, location, ""}, {"GET", path, "", nil, 302, location, "<a>"},
			{"GET", path, "", nil, 303, location, "<a>"}, {"GET", path, "", nil, 308, location, "<a>"},
		}, []string{unknown + redirected, "pull HEAD a/b@blob ?" + redirected, unknown + redirected, unknown + redirected, unknown + redirected}},
		{"redirected, a known one", observer.Options{}, []exchange{known, {"GET", path, "", nil, 307, location, "<a>"}}, []string{head, get + redirected}},
		{"redirected, known from a manifest", observer.Options{}, []exchange{
			{"PUT", "/v2/a/b/manifests/v1", image, []string{"Content-Type", ociManifest}, 201, nil, ""},
			{"GET", path, "", nil, 307, location, "<a>"},
		}, []string{fmt.Sprintf("push PUT a/b:v1@image manifest.v1+json %d refs=config,blob", len(image)), get + redirected}},
		{"redirected, known from a manifest that was wrong", observer.Options{}, []exchange{
			{"PUT", "/v2/a/b/manifests/v1", image, []string{"Content-Type", ociManifest}, 201, nil, ""},
			{"HEAD", path, "", nil, 200, []string{"Content-Length", "23"}, ""},
			{"GET", path, "", nil, 307, location, "<a>"},
		}, []string{fmt.Sprintf("push PUT a/b:v1@image manifest.v1+json %d refs=config,blob", len(image)), "pull HEAD a/b@blob 23", "pull GET a/b@blob 23" + redirected}},
		{"redirected, seen before in another size", observer.Options{}, []exchange{
			{"HEAD", path, "", nil, 200, []string{"Content-Length", "23"}, ""}, known, {"GET", path, "", nil, 307, location, "<a>"},
		}, []string{"pull HEAD a/b@blob 23", head, get + redirected}},
		{"redirected, known in another repository", observer.Options{}, []exchange{
			known, {"GET", "/v2/a/c/blobs/" + blob.String(), "", nil, 307, location, "<a>"},
		}, []string{head, "pull GET a/c@blob ?" + redirected}},
		{"HEAD, dropped but remembered", observer.Options{DropHead: true}, []exchange{
			known, {"HEAD", path, "", nil, 307, location, ""}, {"GET", path, "", nil, 307, location, "<a>"},
		}, []string{get + redirected}},
		{"not modified", observer.Options{}, []exchange{known, {"GET", path, "", nil, 304, nil, ""}}, []string{head, get}},
		{"no such range", observer.Options{}, []exchange{{"GET", path, "", nil, 416, []string{"Content-Range", "bytes */22"}, ""}, {"GET", path, "", nil, 412, nil, ""}}, nil},
		{"no such range, to be strict", observer.Options{Parity: observer.Strict}, []exchange{
			{"GET", path, "", nil, 416, []string{"Content-Range", "bytes */22"}, ""}, {"GET", path, "", nil, 412, nil, ""},
		}, []string{get, get}},
		{"refused", observer.Options{Parity: observer.Strict}, []exchange{
			{"GET", path, "", nil, 401, size, blobContent}, {"GET", path, "", nil, 403, nil, "{}"}, {"GET", path, "", nil, 404, nil, "{}"}, {"GET", path, "", nil, 503, nil, "{}"},
		}, nil},
		{"another than was asked for", observer.Options{}, []exchange{
			{"GET", path, "", nil, 200, header(size, []string{"Docker-Content-Digest", other.String()}), blobContent},
		}, []string{"pull GET a/b@other ?"}},
	})
}
