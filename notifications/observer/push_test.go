package observer_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/notifications/observer"
)

func TestManifestPushes(t *testing.T) {
	typed := []string{"Content-Type", ociManifest}
	word := []string{"Docker-Content-Digest", manifest.String()}
	what := fmt.Sprintf("@image manifest.v1+json %d refs=config,blob", len(image))
	tag, dgst := "/v2/a/b/manifests/v1", "/v2/a/b/manifests/"+manifest.String()
	large := fmt.Sprintf(`{"annotations":{"x":%q},%s`, strings.Repeat("x", observer.MaxManifest), image[1:])
	fits := image + strings.Repeat(" ", observer.MaxManifest-len(image))
	signature := fmt.Sprintf(`{"subject":{"mediaType":%q,"digest":%q,"size":1},%s`, ociManifest, other, image[1:])
	signed := fmt.Sprintf("@%s manifest.v1+json %d refs=config,blob", digest.FromString(signature), len(signature))
	odd := `{"subject":"` + other.String() + `",` + image[1:]
	runRows(t, []row{
		{"by tag", observer.Options{}, []exchange{{"PUT", tag, image, typed, 201, word, ""}}, []string{"push PUT a/b:v1" + what}},
		{"by digest", observer.Options{}, []exchange{{"PUT", dgst, image, typed, 201, word, ""}}, []string{"push PUT a/b" + what}},
		{"answered without any header", observer.Options{}, []exchange{{"PUT", tag, image, typed, 201, nil, ""}}, []string{"push PUT a/b:v1" + what}},
		{"answered with other successes", observer.Options{}, []exchange{
			{"PUT", tag, image, typed, 200, nil, ""}, {"PUT", tag, image, typed, 202, nil, ""}, {"PUT", tag, image, typed, 204, nil, ""}, {"PUT", tag, image, typed, 0, nil, ""},
		}, []string{"push PUT a/b:v1" + what, "push PUT a/b:v1" + what, "push PUT a/b:v1" + what, "push PUT a/b:v1" + what}},
		{"encoded, which is not the content", observer.Options{}, []exchange{
			{"PUT", tag, "gzip", header(typed, []string{"Content-Encoding", "gzip"}), 201, nil, ""},
			{"PUT", tag, "gzip", header(typed, []string{"Content-Encoding", "gzip"}), 201, word, ""},
			{"PUT", dgst, "gzip", header(typed, []string{"Content-Encoding", "gzip"}), 201, nil, ""},
			{"PUT", tag, image, header(typed, []string{"Content-Encoding", "identity"}), 201, nil, ""},
		}, []string{"push PUT a/b:v1@image manifest.v1+json ?", "push PUT a/b@image manifest.v1+json ?", "push PUT a/b:v1" + what}},
		{"an index", observer.Options{}, []exchange{{"PUT", tag, list, []string{"Content-Type", ociIndex}, 201, nil, ""}},
			[]string{fmt.Sprintf("push PUT a/b:v1@list index.v1+json %d refs=image", len(list))}},
		{"of no media type", observer.Options{}, []exchange{{"PUT", tag, image, nil, 201, nil, ""}}, []string{"push PUT a/b:v1" + what}},
		{"what is no JSON", observer.Options{}, []exchange{{"PUT", tag, "manifest", typed, 201, nil, ""}},
			[]string{"push PUT a/b:v1@" + digest.FromString("manifest").String() + " manifest.v1+json 8"}},
		{"refused", observer.Options{Parity: observer.Strict}, []exchange{
			{"PUT", tag, image, typed, 400, word, ""}, {"PUT", tag, image, typed, 401, word, ""}, {"PUT", tag, image, typed, 413, word, ""},
			{"PUT", tag, image, typed, 500, word, ""}, {"PUT", tag, image, typed, 307, word, ""},
		}, nil},
		{"by digest with tags", observer.Options{}, []exchange{
			{"PUT", dgst + "?tag=v1&tag=v2&tag=v3", image, typed, 201, header(word, []string{"OCI-Tag", "v1, v2,-x", "OCI-Tag", "v3", "OCI-Tag", "v1"}), ""},
		}, []string{"push PUT a/b:v1" + what, "push PUT a/b:v2" + what, "push PUT a/b:v3" + what}},
		{"by digest with tags that the registry ignores", observer.Options{}, []exchange{
			{"PUT", dgst + "?tag=v1&tag=v2", image, typed, 201, word, ""},
		}, []string{"push PUT a/b" + what}},
		{"with a subject", observer.Options{}, []exchange{{"PUT", tag, image, typed, 201, header(word, []string{"OCI-Subject", other.String()}), ""}}, []string{"push PUT a/b:v1" + what + " subject=other"}},
		{"with a subject that is in the manifest alone", observer.Options{}, []exchange{
			{"PUT", tag, signature, typed, 201, nil, ""}, {"PUT", tag, signature, typed, 201, nil, ""}, {"GET", tag, "", nil, 200, typed, signature},
		}, []string{"push PUT a/b:v1" + signed + " subject=other", "push PUT a/b:v1" + signed + " subject=other", "pull GET a/b:v1" + signed}},
		{"with a subject of which the registry has another", observer.Options{}, []exchange{
			{"PUT", tag, signature, typed, 201, []string{"OCI-Subject", manifest.String()}, ""},
		}, []string{"push PUT a/b:v1" + signed + " subject=image"}},
		{"with a subject that is none", observer.Options{}, []exchange{
			{"PUT", tag, odd, typed, 201, []string{"OCI-Subject", "sha256:short"}, ""},
		}, []string{fmt.Sprintf("push PUT a/b:v1@%s manifest.v1+json %d refs=config,blob", digest.FromString(odd), len(odd))}},
		{"with a subject in bytes that are not the content", observer.Options{}, []exchange{
			{"PUT", tag, signature, typed, 201, []string{"Docker-Content-Digest", other.String()}, ""},
		}, []string{"push PUT a/b:v1@other manifest.v1+json ?"}},
		{"signed, of a digest that its bytes do not have", observer.Options{}, []exchange{
			{"PUT", tag, image, []string{"Content-Type", dockerV1}, 201, []string{"Docker-Content-Digest", other.String()}, ""},
		}, []string{"push PUT a/b:v1@other " + dockerV1 + " ?"}},
		{"the largest that is read", observer.Options{}, []exchange{{"PUT", tag, fits, typed, 201, nil, ""}},
			[]string{fmt.Sprintf("push PUT a/b:v1@%s manifest.v1+json %d refs=config,blob", digest.FromString(fits), len(fits))}},
		{"one too large to be read", observer.Options{}, []exchange{{"PUT", tag, large, typed, 201, nil, ""}},
			[]string{fmt.Sprintf("push PUT a/b:v1@%s manifest.v1+json %d", digest.FromString(large), len(large))}},

		// Registries that lie: the event has their word for the digest, and beside it only
		// what is known of that.
		{"another digest than that of the bytes", observer.Options{}, []exchange{
			{"PUT", tag, image, typed, 201, []string{"Docker-Content-Digest", other.String()}, ""},
		}, []string{"push PUT a/b:v1@other manifest.v1+json ?"}},
		{"another digest, which is known", observer.Options{}, []exchange{
			{"PUT", tag, list, []string{"Content-Type", ociIndex}, 201, nil, ""},
			{"PUT", tag, image, typed, 201, []string{"Docker-Content-Digest", index.String()}, ""},
		}, []string{
			fmt.Sprintf("push PUT a/b:v1@list index.v1+json %d refs=image", len(list)),
			fmt.Sprintf("push PUT a/b:v1@list manifest.v1+json %d refs=image", len(list)),
		}},
		{"another digest than that in the path", observer.Options{}, []exchange{
			{"PUT", "/v2/a/b/manifests/" + other.String(), image, typed, 201, nil, ""},
		}, []string{"push PUT a/b@other manifest.v1+json ?"}},
		{"a digest that is none", observer.Options{}, []exchange{
			{"PUT", tag, image, typed, 201, []string{"Docker-Content-Digest", "sha256:short"}, ""},
		}, []string{"push PUT a/b:v1" + what}},
	})
}

func TestBlobPushes(t *testing.T) {
	start, session := "/v2/a/b/blobs/uploads/", "/v2/a/b/blobs/uploads/1"
	location := func(s string) []string { return []string{"Location", s} }
	word := []string{"Docker-Content-Digest", blob.String()}
	query := "?digest=" + blob.String()
	octet := []string{"Content-Type", octets}
	half, rest := blobContent[:11], blobContent[11:]
	opened := exchange{"POST", start, "", nil, 202, location(session), ""}
	pushed, unknown := []string{"push PUT a/b@blob 22"}, []string{"push PUT a/b@blob ?"}
	runRows(t, []row{
		{"at once at the end", observer.Options{}, []exchange{opened, {"PUT", session + query, blobContent, octet, 201, word, ""}}, pushed},
		{"with the digest escaped, answered by none", observer.Options{}, []exchange{opened, {"PUT", session + "?_state=x&digest=" + strings.Replace(blob.String(), ":", "%3A", 1), blobContent, octet, 204, nil, ""}}, pushed},
		{"at an absolute location", observer.Options{}, []exchange{
			{"POST", start, "", nil, 202, location("https://registry.example/v2/a/b/blobs/uploads/2?_state=x"), ""},
			{"PUT", "/v2/a/b/blobs/uploads/2" + query + "&_state=x", blobContent, octet, 201, word, ""},
		}, pushed},
		{"at a location relative to the start", observer.Options{}, []exchange{
			{"POST", start, "", nil, 202, location("3"), ""}, {"PUT", "/v2/a/b/blobs/uploads/3" + query, blobContent, octet, 201, word, ""},
		}, pushed},
		{"at a location of any shape", observer.Options{}, []exchange{
			{"POST", start, "", nil, 202, location("/artifacts-uploads/x/y%2Fz"), ""},
			{"PATCH", "/artifacts-uploads/x/y%2Fz", half, octet, 202, location("/artifacts-uploads/x/z"), ""},
			{"PUT", "/artifacts-uploads/x/z" + query, rest, octet, 201, word, ""},
			{"PUT", "/artifacts-uploads/x/z" + query, rest, octet, 201, word, ""}, // over
		}, pushed},
		{"at a location that the client escapes in another way", observer.Options{}, []exchange{
			{"POST", start, "", nil, 202, location("/artifacts-uploads/x~y"), ""}, {"PUT", "/artifacts-uploads/x%7Ey" + query, blobContent, octet, 201, word, ""},
		}, pushed},
		{"at a location that is something else", observer.Options{}, []exchange{
			{"POST", start, "", nil, 202, location("/v2/c/manifests/v1"), ""},
			{"PUT", "/v2/c/manifests/v1" + query, image, []string{"Content-Type", ociManifest}, 201, nil, ""},
		}, []string{fmt.Sprintf("push PUT c:v1@image manifest.v1+json %d refs=config,blob", len(image))}},
		{"started without the slash", observer.Options{}, []exchange{
			{"POST", "/v2/a/b/blobs/uploads", "", nil, 202, location(session), ""}, {"PUT", session + query, blobContent, octet, 201, word, ""},
		}, pushed},
		{"streamed", observer.Options{}, []exchange{
			opened, {"PATCH", session, blobContent, nil, 202, header(location(session), []string{"Range", "0-21"}), ""}, {"PUT", session + query, "", nil, 201, word, ""},
		}, pushed},
		{"in parts, each with a location of its own", observer.Options{}, []exchange{
			opened,
			{"PATCH", session, half, []string{"Content-Range", "0-10"}, 202, location("/v2/a/b/blobs/uploads/1b"), ""},
			{"PUT", "/v2/a/b/blobs/uploads/1b" + query, rest, octet, 201, word, ""},
		}, pushed},
		{"in parts, one of them of a byte", observer.Options{}, []exchange{
			opened,
			{"PATCH", session, blobContent[:1], nil, 202, header(location(session), []string{"Range", "0-0"}), ""},
			{"PATCH", session, blobContent[1:], nil, 202, header(location(session), []string{"Range", "0-21"}), ""},
			{"PUT", session + query, "", nil, 201, word, ""},
		}, pushed},
		{"after a part that was refused", observer.Options{}, []exchange{
			opened, {"PATCH", session, half, nil, 416, []string{"Range", "0-0"}, ""}, {"PUT", session + query, rest, octet, 201, word, ""},
		}, unknown},
		{"after a part that was refused and a question", observer.Options{}, []exchange{
			opened, {"PATCH", session, half, nil, 500, nil, ""},
			{"GET", session, "", nil, 204, []string{"Range", "0-10"}, ""},
			{"PUT", session + query, rest, octet, 201, word, ""},
		}, pushed},
		{"after a question whose answer says nothing", observer.Options{}, []exchange{
			opened, {"PATCH", session, half, nil, 500, nil, ""},
			{"GET", session, "", nil, 204, []string{"Range", "0-0"}, ""},
			{"PUT", session + query, rest, octet, 201, word, ""},
		}, unknown},
		{"after a part that was refused and another", observer.Options{}, []exchange{
			opened, {"PATCH", session, half, nil, 500, nil, ""},
			{"PATCH", session, half, nil, 202, []string{"Range", "0-10"}, ""},
			{"PUT", session + query, rest, octet, 201, word, ""},
		}, pushed},
		{"of a session that nobody saw begin", observer.Options{}, []exchange{{"PUT", session + query, rest, octet, 201, word, ""}}, unknown},
		{"of a session seen from its middle", observer.Options{}, []exchange{
			{"PATCH", session, half, nil, 202, header(location(session), []string{"Range", "0-10"}), ""}, {"PUT", session + query, rest, octet, 201, word, ""},
		}, pushed},
		{"of a known size", observer.Options{}, []exchange{
			{"HEAD", "/v2/a/b/blobs/" + blob.String(), "", nil, 200, []string{"Content-Length", "22"}, ""}, {"PUT", session + query, rest, octet, 201, word, ""},
		}, []string{"pull HEAD a/b@blob 22", pushed[0]}},
		{"refused at the end", observer.Options{}, []exchange{opened, {"PUT", session + query, blobContent, octet, 400, nil, ""}, {"PUT", session + query, blobContent, octet, 416, nil, ""}, {"PUT", session + query, blobContent, octet, 500, word, ""}}, nil},
		{"cancelled", observer.Options{}, []exchange{opened, {"DELETE", session, "", nil, 204, nil, ""}}, nil},
		{"in SHA-512, which the registry canonicalizes", observer.Options{}, []exchange{opened, {"PUT", session + "?digest=" + blob512.String(), blobContent, octet, 201, word, ""}}, pushed},
		{"empty", observer.Options{}, []exchange{opened, {"PUT", session + "?digest=" + empty.String(), "", nil, 201, nil, ""}}, []string{"push PUT a/b@empty 0"}},
		{"with another digest than was asked for", observer.Options{}, []exchange{opened, {"PUT", session + query, blobContent, octet, 201, []string{"Docker-Content-Digest", other.String()}, ""}}, []string{"push PUT a/b@other ?"}},

		{"in one POST", observer.Options{}, []exchange{{"POST", start + query, blobContent, octet, 201, location("/v2/a/b/blobs/" + blob.String()), ""}}, []string{"push POST a/b@blob 22"}},
		{"in one POST that is taken for a start", observer.Options{}, []exchange{
			{"POST", start + query, blobContent, octet, 202, location(session), ""}, {"PUT", session + query, blobContent, octet, 201, word, ""},
		}, pushed},
		{"in one POST of which nothing is known", observer.Options{}, []exchange{{"POST", start, blobContent, octet, 201, nil, ""}}, nil},
		{"with an algorithm to choose", observer.Options{}, []exchange{
			{"POST", start + "?digest-algorithm=sha512", "", nil, 202, location(session), ""}, {"PUT", session + "?digest=" + blob512.String(), blobContent, octet, 201, nil, ""},
		}, []string{"push PUT a/b@blob512 22"}},
		{"to a session in the query", observer.Options{}, []exchange{
			{"POST", start, "", nil, 202, location("/v2/a/b/blobs/uploads/?id=1"), ""}, {"PUT", start + query + "&id=1", blobContent, octet, 201, word, ""},
		}, unknown},
		{"in parts, of which another proxy saw one", observer.Options{}, []exchange{
			{"POST", start, "", nil, 202, location(session + "?_state=a"), ""},
			{"PATCH", session + "?_state=a", half, octet, 202, location(session + "?_state=b"), ""},
			{"PUT", session + "?_state=d&digest=" + blob.String(), "", octet, 201, word, ""},
		}, unknown},
		{"in parts, of which another proxy saw one between others", observer.Options{}, []exchange{
			{"POST", start, "", nil, 202, location(session + "?_state=a"), ""},
			{"PATCH", session + "?_state=b", rest[1:], octet, 202, header(location(session+"?_state=c"), []string{"Range", "0-20"}), ""},
			{"PUT", session + "?digest=" + blob.String() + "&_state=c", rest[10:], octet, 201, word, ""},
		}, pushed},
		{"at locations that only their queries tell apart", observer.Options{}, []exchange{
			{"POST", start, "", nil, 202, location("/uploads?id=1&x=%2B"), ""},
			{"POST", "/v2/c/blobs/uploads/", "", nil, 202, location("/uploads?id=2&x"), ""},
			{"PATCH", "/uploads?x=%2b&id=1", half, octet, 202, nil, ""},
			{"PUT", "/uploads?digest=" + blob.String() + "&id=2&x=", blobContent, octet, 201, word, ""},
			{"PUT", "/uploads?x=%2B&id=1&digest=" + blob.String(), rest, octet, 201, word, ""},
			{"PUT", "/uploads?id=3&digest=" + blob.String(), blobContent, octet, 201, word, ""}, // of nobody knows where
		}, []string{"push PUT c@blob 22", pushed[0]}},
		{"with a prefix", observer.Options{Prefix: "/registry"}, []exchange{
			{"POST", "/registry" + start, "", nil, 202, location("/registry" + session), ""}, {"PUT", "/registry" + session + query, blobContent, octet, 201, word, ""},
		}, pushed},
	})
}

func TestMounts(t *testing.T) {
	start := "/v2/a/b/blobs/uploads/"
	mount := start + "?mount=" + blob.String()
	word := []string{"Docker-Content-Digest", blob.String()}
	seen := exchange{"HEAD", "/v2/c/blobs/" + blob.String(), "", nil, 200, []string{"Content-Length", "22"}, ""}
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	inForm := "mount=" + blob.String() + "&from=c"
	lie := strings.Replace(image, `"size":22`, `"size":999999`, 1)
	lied := func(repository string) string {
		return fmt.Sprintf("push PUT %s:v1@%s manifest.v1+json %d refs=config,blob", repository, digest.FromString(lie), len(lie))
	}
	at := []string{"Location", "/v2/a/b/blobs/" + blob.String()}
	runRows(t, []row{
		{"from another repository", observer.Options{}, []exchange{seen, {"POST", mount + "&from=c", "", nil, 201, word, ""}}, []string{"pull HEAD c@blob 22", "mount POST a/b@blob 22 from=c"}},
		{"of a size that only a manifest said there", observer.Options{}, []exchange{
			{"PUT", "/v2/c/manifests/v1", lie, []string{"Content-Type", ociManifest}, 201, nil, ""}, {"POST", mount + "&from=c", "", nil, 201, word, ""},
			{"GET", "/v2/a/b/blobs/" + blob.String(), "", nil, 307, []string{"Location", "/x"}, ""},
		}, []string{lied("c"), "mount POST a/b@blob ? from=c", "pull GET a/b@blob ? redirected"}},
		{"of a size that a manifest said and that was seen since", observer.Options{}, []exchange{
			{"PUT", "/v2/c/manifests/v1", lie, []string{"Content-Type", ociManifest}, 201, nil, ""}, seen,
			{"PUT", "/v2/c/manifests/v1", lie + " ", []string{"Content-Type", ociManifest}, 201, nil, ""}, {"POST", mount + "&from=c", "", nil, 201, word, ""},
		}, []string{lied("c"), "pull HEAD c@blob 22", strings.Replace(strings.Replace(lied("c"), digest.FromString(lie).String(), digest.FromString(lie+" ").String(), 1), fmt.Sprint(len(lie)), fmt.Sprint(len(lie)+1), 1), "mount POST a/b@blob 22 from=c"}},
		{"of unknown size", observer.Options{}, []exchange{{"POST", mount + "&from=c", "", nil, 201, word, ""}}, []string{"mount POST a/b@blob ? from=c"}},
		{"of unknown size here, as it is not told from where", observer.Options{}, []exchange{seen, {"POST", mount, "", nil, 201, nil, ""}}, []string{"pull HEAD c@blob 22", "mount POST a/b@blob ?"}},
		{"once more, of the size it had", observer.Options{}, []exchange{seen, {"POST", mount + "&from=c", "", nil, 201, nil, ""}, {"POST", mount, "", nil, 201, nil, ""}},
			[]string{"pull HEAD c@blob 22", "mount POST a/b@blob 22 from=c", "mount POST a/b@blob 22"}},
		{"from what is no name", observer.Options{}, []exchange{{"POST", mount + "&from=C", "", nil, 201, nil, ""}}, []string{"mount POST a/b@blob ?"}},
		{"refused, with an upload instead", observer.Options{}, []exchange{
			{"POST", mount + "&from=c", "", nil, 202, []string{"Location", start + "1"}, ""}, {"PUT", start + "1?digest=" + blob.String(), blobContent, nil, 201, nil, ""},
		}, []string{"push PUT a/b@blob 22"}},
		{"refused", observer.Options{}, []exchange{{"POST", mount + "&from=c", "", nil, 401, nil, ""}, {"POST", mount + "&from=c", "", nil, 404, nil, ""}, {"POST", start + "?from=c", "", nil, 405, nil, ""}}, nil},
		{"in a form", observer.Options{}, []exchange{{"POST", start, inForm, form, 201, header(word, at), ""}}, []string{"mount POST a/b@blob ?"}},
		{"in a form, answered with a location", observer.Options{}, []exchange{{"POST", start, inForm, form, 201, at, ""}}, []string{"mount POST a/b@blob ?"}},
		{"in a form, answered with another location", observer.Options{}, []exchange{{"POST", start, inForm, form, 201, []string{"Location", "/v2/c/blobs/" + blob.String()}, ""}}, nil},
		{"answered with another digest", observer.Options{}, []exchange{{"POST", mount + "&from=c", "", nil, 201, []string{"Docker-Content-Digest", other.String()}, ""}}, []string{"mount POST a/b@other ? from=c"}},
		{"with a digest too", observer.Options{}, []exchange{
			{"POST", mount + "&digest=" + blob.String(), "", nil, 201, nil, ""}, {"POST", mount + "&digest=" + blob.String(), blobContent, nil, 201, nil, ""},
		}, []string{"mount POST a/b@blob ?", "push POST a/b@blob 22"}},
	})
}

// Clients come by addresses with a path that is taken off before the Observer.
func TestUploadsUnderAPublicPath(t *testing.T) {
	start := "/v2/a/b/blobs/uploads/"
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	for name, opts := range map[string]observer.Options{"alone": {PublicPath: "/registry/"}, "before a prefix": {PublicPath: "/registry", Prefix: "/x"}} {
		prefix := opts.Prefix
		at := func(path string) []string {
			return []string{"Location", "http://public.example/registry" + prefix + path}
		}
		runRows(t, []row{
			{name + ", in parts", opts, []exchange{
				{"POST", prefix + start, "", nil, 202, at(start + "1"), ""},
				{"PATCH", prefix + start + "1", blobContent[:10], nil, 202, at(start + "2"), ""},
				{"PUT", prefix + start + "2?digest=" + blob.String(), blobContent[10:], nil, 201, at("/v2/a/b/blobs/" + blob.String()), ""},
			}, []string{"push PUT a/b@blob 22"}},
			{name + ", at an address of the registry's own", opts, []exchange{
				{"POST", prefix + start, "", nil, 202, []string{"Location", prefix + start + "1"}, ""},
				{"PUT", prefix + start + "1?digest=" + blob.String(), blobContent, nil, 201, nil, ""},
			}, []string{"push PUT a/b@blob 22"}},
			{name + ", mounted by a form", opts, []exchange{
				{"POST", prefix + start, "mount=" + blob.String(), form, 201, at("/v2/a/b/blobs/" + blob.String()), ""},
			}, []string{"mount POST a/b@blob ?"}},
		})
	}
}
