package differential_test

import (
	"net/http"

	specs "github.com/opencontainers/image-spec/specs-go"
)

func versioned() specs.Versioned { return specs.Versioned{SchemaVersion: 2} }

// deleteThings plays deletes of tags, manifests and blobs.
func (s *script) deleteThings() {
	s.tb.Helper()
	const name = "deletes/here"
	config := []byte("{  }")
	blob := s.pushBlob(name, config).String()
	first, second := image(false, config), image(true, config)
	list := index(true, second)
	remove := func(what string) request { return request{method: "DELETE", target: "/v2/" + name + "/" + what} }
	for _, tag := range []string{"a", "b", "c"} {
		s.pushManifest(name, tag, first)
	}
	s.pushManifest(name, "other", second)
	s.pushManifest(name, "moved", first)
	s.pushManifest(name, "moved", second)
	s.pushManifest(name, "list", list)
	for _, r := range []row{
		{"tag", remove("manifests/a"), 202, "delete:a", ""},
		{"tag again", remove("manifests/a"), 404, "", ""},
		{"unknown tag", remove("manifests/unknown"), 404, "", ""},
		{"as nobody", request{method: "DELETE", target: "/v2/" + name + "/manifests/b", user: "nobody"}, s.statusOf("nobody", 202), s.eventsOf("nobody", "delete:b"), ""},
	} {
		s.play(r)
	}
	s.pushManifest(name, "b", first)
	for _, r := range []row{
		{"digest with two tags", remove("manifests/" + first.digest.String()), 202, "delete delete:b delete:c", ""},
		{"digest again", remove("manifests/" + first.digest.String()), 404, "", ""},
		{"tag of a deleted manifest", request{method: "GET", target: "/v2/" + name + "/manifests/b", header: header("Accept", everything())}, 404, "", ""},
		{"delete of such a tag", remove("manifests/b"), 404, "", ""},
		{"list", remove("manifests/" + list.digest.String()), 202, "delete delete:list", ""},
		{"digest with a moved tag", remove("manifests/" + second.digest.String()), 202, "delete delete:moved delete:other", ""},
		{"unknown digest", remove("manifests/" + emptyDigest), 404, "", ""},
		{"malformed digest", remove("manifests/sha256:short"), 0, "", ""},
		{"blob", remove("blobs/" + blob), 202, "delete", ""},
		{"blob again", remove("blobs/" + blob), 404, "", ""},
		{"deleted blob", request{method: "GET", target: "/v2/" + name + "/blobs/" + blob}, 404, "", ""},
		{"malformed blob", remove("blobs/sha256:short"), 0, "", ""},
		{"unknown repository", request{method: "DELETE", target: "/v2/deletes/nothing/manifests/a"}, 404, "", ""},
	} {
		r.name = "delete " + r.name
		s.play(r)
	}
	s.pushBlob(name, config)
	s.pushManifest(name, second.digest.String(), second)
	s.pushManifest(name, "list", list)
	s.play(row{"pull of an image out of a list", request{method: "GET", target: "/v2/" + name + "/manifests/list", header: header("Accept", mediaTypeDockerManifest)}, 200, "pull pull:list", "list"})
	s.play(row{"delete of the image", remove("manifests/" + second.digest.String()), 202, "delete", ""})
	s.pushManifest(name, "again", first)
	s.play(row{"delete of what was pushed again", remove("manifests/" + first.digest.String()), 202, "delete delete:again", ""})
}

// deleteColdThings plays what those outside cannot know.
func (s *script) deleteColdThings() {
	s.tb.Helper()
	const name = coldRepository + "here"
	config, layer := []byte("{   }"), []byte("cold layer")
	d := image(false, config, layer)
	s.cold(func() {
		s.pushBlob(name, config)
		s.pushBlob(name, layer)
		s.pushManifest(name, "a", d)
		s.pushManifest(name, "b", d)
	})
	manifest := "/v2/" + name + "/manifests/"
	all := header("Accept", everything())
	s.play(row{"cold HEAD", request{method: "HEAD", target: manifest + "a", header: all}, 200, "pull:a", "cold references"})
	s.play(row{"cold GET", request{method: "GET", target: manifest + d.digest.String(), header: all}, 200, "pull", ""})
	s.play(row{"HEAD after GET", request{method: "HEAD", target: manifest + "a", header: all}, 200, "pull:a", ""})
	s.play(row{"cold delete", request{method: "DELETE", target: manifest + d.digest.String()}, 202, "delete delete:a delete:b", "cold tag"})
}

// hostileNames plays names that look like routes, and paths that servers clean.
func (s *script) hostileNames() {
	s.tb.Helper()
	config := []byte("{    }")
	d := image(false, config)
	for _, name := range []string{
		"a/blobs/uploads", "foo/bar/manifests", "x/tags", "manifests/manifests", "blobs/blobs", "blobs", "a/tags/list", "v2",
		"a/b/c/d/e/f/g/h/i/j", "a-b__c.d/e", "0", "token/token",
	} {
		dgst := s.pushBlob(name, config)
		s.pushManifest(name, "list", d)
		s.pushManifest(name, "latest", d)
		for _, r := range []row{
			{"pull of a tag", request{method: "GET", target: "/v2/" + name + "/manifests/list", header: header("Accept", everything())}, 200, "pull:list", ""},
			{"pull of a blob", request{method: "GET", target: "/v2/" + name + "/blobs/" + dgst.String()}, 200, "pull", ""},
			{"list of tags", request{method: "GET", target: "/v2/" + name + "/tags/list"}, 200, "", ""},
			{"delete of a tag", request{method: "DELETE", target: "/v2/" + name + "/manifests/list"}, 202, "delete:list", ""},
			{"delete of a manifest", request{method: "DELETE", target: "/v2/" + name + "/manifests/" + d.digest.String()}, 202, "delete delete:latest", ""},
			{"delete of a blob", request{method: "DELETE", target: "/v2/" + name + "/blobs/" + dgst.String()}, 202, "delete", ""},
		} {
			r.name = name + ": " + r.name
			s.play(r)
		}
	}
	if s.auth != "" {
		return // what follows is refused before it is read
	}
	s.pushBlob("foo/bar", config)
	s.pushManifest("foo/bar", "t", d)
	all := header("Accept", everything())
	for _, target := range []string{
		"/v2/manifests/latest", "/v2/blobs/uploads/", "/v2/tags/list", "/v2//foo/bar/manifests/t", "/v2/foo//bar/manifests/t",
		"/v2/foo/../foo/bar/manifests/t", "/v2/./foo/bar/manifests/t", "/v2/foo/bar/manifests/t/", "/v2/foo/bar/manifests//t",
		"/v2/foo/bar/manifests/..", "/v2/FOO/manifests/t", "/v2/foo/bar/manifests/t%00", "/v2/foo/bar/manifests/%2e", "/v2/foo/bar/manifests/",
		"/v2/foo/bar/blobs/", "/v2/foo/bar/blobs/uploads", "/v2/-/manifests/t", "/v1/foo/bar/manifests/t", "/foo/bar/manifests/t",
		"/v2/foo/bar/manifests/t?manifests/latest", "/v2/foo/bar/manifests/t;a=b",
	} {
		for _, method := range []string{"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"} {
			s.prepared()
			x := s.do(request{method: method, target: target, header: all})
			if _, wrong := s.compare(); len(wrong) > 0 {
				s.tb.Errorf("hostile name: %v: %s", x, wrong)
			}
		}
		s.pushManifest("foo/bar", "t", d) // where one of them was not that hostile
	}
	for _, target := range []string{"/v2/foo%2Fbar/manifests/t", "/v2/foo/bar%2fmanifests/t", "/v2/f%6fo/bar/manifests/t", "/v2/foo/bar/manifests/%74"} {
		s.play(row{"escaped path", request{method: "GET", target: target, header: all}, 200, "pull:t", ""})
	}
	escaped := request{method: "DELETE", target: "/v2/foo/bar/manifests/%74"}
	if s.proxied { // which lets no change pass that it cannot report
		s.play(row{"escaped delete", escaped, 400, "", ""})
	} else {
		s.play(row{"escaped delete", escaped, 202, "delete:t", ""})
	}
}

// otherRoutes plays what makes no event.
func (s *script) otherRoutes() {
	s.tb.Helper()
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE"} {
		for _, target := range []string{
			"/v2/", "/v2", "/", "/v2/_catalog", "/v2/_catalog?n=1", "/v2/hello/tags/list", "/v2/hello/tags/list?n=1&last=a",
			"/v2/hello/referrers/" + emptyDigest, "/v2/hello/manifests", "/v2/hello",
		} {
			s.play(row{"other route", request{method: method, target: target}, 0, "", ""})
		}
	}
	for _, method := range []string{"OPTIONS", "PATCH", "POST", "PROPFIND"} {
		s.play(row{"a method that manifests do not know", request{method: method, target: "/v2/hello/manifests/v1"}, 0, "", ""})
		s.play(row{"a method that blobs do not know", request{method: method, target: "/v2/hello/blobs/" + emptyDigest}, 0, "", ""})
	}
}

// actors plays who can ask.
func (s *script) actors() {
	s.tb.Helper()
	const name = "actors/here"
	config := []byte("{     }")
	s.pushBlob(name, config)
	s.pushManifest(name, "v1", image(false, config))
	for _, user := range []string{"alice", "bob", "mallory", "nobody"} {
		s.prepared()
		x := s.do(request{method: "HEAD", target: "/v2/" + name + "/manifests/v1", header: header("Accept", everything()), user: user})
		truth, wrong := s.compare()
		for _, w := range wrong {
			s.tb.Error(w)
		}
		if s.refuses(user) {
			if x.status != http.StatusUnauthorized || len(truth) > 0 {
				s.tb.Errorf("%s: %v: %v", user, x, truth)
			}
			continue
		}
		if user == "nobody" {
			user = ""
		}
		if len(truth[x.agent]) != 1 || truth[x.agent][0].Actor.Name != user {
			s.tb.Errorf("%s: %v: %v", user, x, truth)
		}
	}
}

// refuses tells whether the registry answers user with 401.
func (s *script) refuses(user string) bool {
	return s.auth != "" && (user == "nobody" || user == "mallory")
}
