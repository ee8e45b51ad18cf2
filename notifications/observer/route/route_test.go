package route

import (
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"

	v2 "github.com/distribution/distribution/v3/registry/api/v2"
	"github.com/distribution/reference"
	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/mux"
	"github.com/opencontainers/go-digest"
)

const (
	aSHA256 = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	aSHA512 = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"
)

func TestParse(t *testing.T) {
	long := strings.Repeat("a", 255)
	for _, tc := range []struct {
		name, path string
		want       Route
	}{
		{"base", "/v2/", Route{Class: Base}},
		{"base without its slash", "/v2", Route{Class: Base}},
		{"catalog", "/v2/_catalog", Route{Class: Catalog}},
		{"upload start", "/v2/a/b/blobs/uploads/", Route{Class: UploadStart, Repository: "a/b"}},
		{"upload start without its slash", "/v2/a/b/blobs/uploads", Route{Class: UploadStart, Repository: "a/b"}},
		{"upload", "/v2/a/b/blobs/uploads/X-y_z.=1", Route{Class: Upload, Repository: "a/b", Session: "X-y_z.=1"}},
		{"upload that distribution has not made", "/v2/a/blobs/uploads/é~1:2", Route{Class: Upload, Repository: "a", Session: "é~1:2"}},
		{"blob", "/v2/a/b/blobs/" + aSHA256, Route{Class: Blob, Repository: "a/b", Digest: aSHA256}},
		{"manifest by tag", "/v2/a/b/manifests/v1.0", Route{Class: Manifest, Repository: "a/b", Tag: "v1.0"}},
		{"manifest by digest", "/v2/a/b/manifests/" + aSHA256, Route{Class: Manifest, Repository: "a/b", Digest: aSHA256}},
		{"tags", "/v2/a/b/tags/list", Route{Class: Tags, Repository: "a/b"}},
		{"referrers", "/v2/a/b/referrers/" + aSHA256, Route{Class: Referrers, Repository: "a/b", Digest: aSHA256}},

		// Names that hold words of the API.
		{"manifest of blobs/uploads", "/v2/a/blobs/uploads/manifests/latest", Route{Class: Manifest, Repository: "a/blobs/uploads", Tag: "latest"}},
		{"tags of blobs/uploads", "/v2/a/blobs/uploads/tags/list", Route{Class: Tags, Repository: "a/blobs/uploads"}},
		{"upload start in blobs/uploads", "/v2/a/blobs/uploads/blobs/uploads/", Route{Class: UploadStart, Repository: "a/blobs/uploads"}},
		{"upload in blobs/uploads", "/v2/a/blobs/uploads/blobs/uploads/1", Route{Class: Upload, Repository: "a/blobs/uploads", Session: "1"}},
		{"blob in blobs/uploads", "/v2/a/blobs/uploads/blobs/" + aSHA256, Route{Class: Blob, Repository: "a/blobs/uploads", Digest: aSHA256}},
		{"manifest of manifests", "/v2/foo/bar/manifests/manifests/tags", Route{Class: Manifest, Repository: "foo/bar/manifests", Tag: "tags"}},
		{"tags of manifests", "/v2/foo/bar/manifests/tags/list", Route{Class: Tags, Repository: "foo/bar/manifests"}},
		{"manifest of tags", "/v2/x/tags/manifests/list", Route{Class: Manifest, Repository: "x/tags", Tag: "list"}},
		{"tag called uploads", "/v2/a/blobs/manifests/uploads", Route{Class: Manifest, Repository: "a/blobs", Tag: "uploads"}},
		{"upload called list", "/v2/a/blobs/uploads/list", Route{Class: Upload, Repository: "a", Session: "list"}},
		{"v2 in the name", "/v2/v2/manifests/v2", Route{Class: Manifest, Repository: "v2", Tag: "v2"}},
		{"catalog in the name", "/v2/_catalog/tags/list", Route{}},

		// No name.
		{"manifest of nothing", "/v2/manifests/latest", Route{}},
		{"upload start in nothing", "/v2/blobs/uploads/", Route{}},
		{"upload in nothing", "/v2/blobs/uploads/1", Route{}},
		{"tags of nothing", "/v2/tags/list", Route{}},
		{"blob in nothing", "/v2/blobs/" + aSHA256, Route{}},

		// Names with a host.
		{"host and port", "/v2/localhost:8080/foo/manifests/t", Route{Class: Manifest, Repository: "localhost:8080/foo", Tag: "t"}},
		{"host in capitals", "/v2/Reg.Example-1.com/foo/manifests/t", Route{Class: Manifest, Repository: "Reg.Example-1.com/foo", Tag: "t"}},
		{"IPv6 host", "/v2/[::1]:5000/foo/tags/list", Route{Class: Tags, Repository: "[::1]:5000/foo"}},
		{"host alone", "/v2/localhost:8080/manifests/t", Route{}},
		{"host with an open bracket", "/v2/[::1/foo/tags/list", Route{}},
		{"host with a dash at the end", "/v2/Reg-/foo/tags/list", Route{}},
		{"host with an empty label", "/v2/Reg..com/foo/tags/list", Route{}},
		{"host with an empty port", "/v2/reg:/foo/tags/list", Route{}},

		// Names that are none.
		{"capitals", "/v2/foo/Bar/manifests/t", Route{}},
		{"two periods", "/v2/foo..bar/manifests/t", Route{}},
		{"three underscores", "/v2/foo___bar/manifests/t", Route{}},
		{"many dashes", "/v2/foo----bar/manifests/t", Route{Class: Manifest, Repository: "foo----bar", Tag: "t"}},
		{"separator at the end", "/v2/foo-/manifests/t", Route{}},
		{"longest name", "/v2/" + long + "/manifests/t", Route{Class: Manifest, Repository: long, Tag: "t"}},
		{"name too long", "/v2/a" + long + "/manifests/t", Route{}},
		{"escaped slash, not decoded", "/v2/foo%2Fbar/tags/list", Route{}},
		{"escaped slash, decoded", "/v2/foo/bar/tags/list", Route{Class: Tags, Repository: "foo/bar"}},
		{"NUL", "/v2/foo\x00/tags/list", Route{}},

		// References that are none.
		{"digest too short", "/v2/foo/manifests/sha256:short", Route{}},
		{"digest too short in hexadecimal", "/v2/foo/manifests/sha256:" + strings.Repeat("a", 32), Route{}},
		{"digest in capitals", "/v2/foo/manifests/" + strings.ToUpper(aSHA256), Route{}},
		{"digest with capitals", "/v2/foo/manifests/sha256:" + strings.Repeat("A", 64), Route{}},
		{"digest without algorithm", "/v2/foo/blobs/:" + strings.Repeat("a", 64), Route{}},
		{"digest without encoding", "/v2/foo/blobs/sha256:", Route{}},
		{"sha512", "/v2/foo/manifests/" + aSHA512, Route{Class: Manifest, Repository: "foo", Digest: aSHA512}},
		{"digest of an unknown algorithm", "/v2/foo/blobs/multihash+base58:Qm=_-", Route{Class: Blob, Repository: "foo", Digest: "multihash+base58:Qm=_-"}},
		{"digest of no algorithm", "/v2/foo/blobs/a++b:c", Route{}},
		{"tag for a blob", "/v2/foo/blobs/latest", Route{}},
		{"tag for referrers", "/v2/foo/referrers/latest", Route{}},
		{"longest tag", "/v2/foo/manifests/" + long[:128], Route{Class: Manifest, Repository: "foo", Tag: long[:128]}},
		{"tag too long", "/v2/foo/manifests/" + long[:129], Route{}},
		{"tag that begins with a period", "/v2/foo/manifests/.a", Route{}},
		{"no reference", "/v2/foo/manifests/", Route{}},

		// Paths that servers clean or redirect.
		{"empty segment first", "/v2//foo/manifests/t", Route{}},
		{"empty segment in the name", "/v2/foo//bar/manifests/t", Route{}},
		{"empty segment behind the name", "/v2/foo//manifests/t", Route{}},
		{"dots", "/v2/a/../b/manifests/t", Route{}},
		{"dot", "/v2/a/./b/manifests/t", Route{}},
		{"dots for a session", "/v2/a/blobs/uploads/..", Route{}},
		{"dot for a session", "/v2/a/blobs/uploads/.", Route{}},
		{"dots for a tag", "/v2/a/manifests/..", Route{}},
		{"slash at the end", "/v2/foo/tags/list/", Route{}},
		{"slashes at the end", "/v2/foo/blobs/uploads//", Route{}},

		{"another version", "/v1/foo/tags/list", Route{}},
		{"prefix", "/x/v2/foo/tags/list", Route{}},
		{"nothing", "", Route{}},
		{"vendor route", "/v2/foo/tags/reference/latest", Route{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Parse(tc.path)); diff != "" {
				t.Errorf("Parse(%q), -want +got:\n%s", tc.path, diff)
			}
		})
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	for _, p := range []string{
		"/v2/", "/v2/a/b/manifests/latest", "/v2/a/b/blobs/" + aSHA256,
		"/v2/Localhost:8080/a/blobs/uploads/1", "/v2/A/B/C",
	} {
		if n := testing.AllocsPerRun(100, func() { Parse(p) }); n != 0 {
			t.Errorf("Parse(%q) allocates %v times", p, n)
		}
	}
}

// FuzzParse compares with the router of CNCF distribution. Where the two may differ,
// refused and beyondDistribution say.
func FuzzParse(f *testing.F) {
	for _, p := range []string{
		"/v2", "/v2/", "/v2/_catalog", "/v2/a/blobs/uploads", "/v2/a/blobs/uploads/", "/v2/a/blobs/uploads/1.=-_",
		"/v2/a/blobs/" + aSHA256, "/v2/a/blobs/" + aSHA512, "/v2/a/manifests/x", "/v2/a/manifests/" + aSHA256,
		"/v2/a/tags/list", "/v2/a/referrers/" + aSHA256,
		"/v2/a/blobs/uploads/manifests/latest", "/v2/a/blobs/uploads/blobs/uploads/", "/v2/a/blobs/uploads/tags/list",
		"/v2/foo/bar/manifests/manifests/tags", "/v2/manifests/latest", "/v2/blobs/uploads/", "/v2/tags/list",
		"/v2/localhost:8080/foo/manifests/t", "/v2/[::1]:1/a/tags/list", "/v2/A.b-c/d__e--f/tags/list",
		"/v2/foo/manifests/sha256:0123456789abcdef0123456789abcdef", "/v2//foo/tags/list", "/v2/a/../b/tags/list",
		"/v2/a/tags/list/", "/v2/a/blobs/x+y:0123456789abcdef0123456789abcdef",
	} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		got, theirs := Parse(p), routeOfDistribution(p)
		if theirs == nil { // it redirects to the slash that others do without
			theirs = routeOfDistribution(p + "/")
		}
		switch {
		case theirs == nil && got == (Route{}):
		case theirs == nil && !beyondDistribution(got):
			t.Fatalf("%q is %+v, but nothing to distribution", p, got)
		case theirs != nil && got == (Route{}) && !refused(*theirs):
			t.Fatalf("%q is unclassified, but to distribution %+v", p, *theirs)
		case theirs != nil && got != (Route{}):
			if diff := cmp.Diff(*theirs, got); diff != "" {
				t.Fatalf("%q, -distribution +Parse:\n%s", p, diff)
			}
		}
	})
}

// routeOfDistribution is what distribution serves at p, nil if that is nothing or a
// redirect.
func routeOfDistribution(p string) *Route {
	clean := path.Clean(p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	if p != clean { // its router redirects to the clean one
		return nil
	}
	var match mux.RouteMatch
	r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: p}}
	if !v2.Router().Match(r, &match) || match.Handler != nil { // redirects to the path with a slash, or without
		return nil
	}
	route := &Route{Repository: match.Vars["name"], Session: match.Vars["uuid"], Digest: digest.Digest(match.Vars["digest"])}
	route.Class = map[string]Class{
		v2.RouteNameBase:            Base,
		v2.RouteNameCatalog:         Catalog,
		v2.RouteNameTags:            Tags,
		v2.RouteNameManifest:        Manifest,
		v2.RouteNameBlob:            Blob,
		v2.RouteNameBlobUpload:      UploadStart,
		v2.RouteNameBlobUploadChunk: Upload,
	}[match.Route.GetName()]
	if ref := match.Vars["reference"]; strings.Contains(ref, ":") {
		route.Digest = digest.Digest(ref)
	} else {
		route.Tag = ref
	}
	return route
}

// refused tells whether distribution routes to r only to answer 400: its routes neither
// bound the length of a name nor know the length and letters of a digest.
func refused(r Route) bool {
	if r.Repository != "" {
		if _, err := reference.WithName(r.Repository); err != nil {
			return true
		}
	}
	return r.Digest != "" && r.Digest.Validate() != nil
}

// beyondDistribution tells whether r is of an API that other registries have: referrers,
// sessions in any spelling, digests that are not in hexadecimal.
func beyondDistribution(r Route) bool {
	switch r.Class {
	case Referrers:
		return true
	case Upload:
		return strings.Trim(r.Session, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.=") != ""
	case Blob, Manifest:
		d := r.Digest.String()
		return d != "" && reference.DigestRegexp.FindString(d) != d
	}
	return false
}
