package mirror_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/endpoints/mirror"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// replacing answers requests that begin with a prefix in place of a registry.
func replacing(prefix string, answer http.HandlerFunc) *registrytest.Options {
	return &registrytest.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.Method+" "+r.URL.Path, prefix) {
				answer(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}}
}

// unknownTo is a registry that refuses pings, too.
func unknownTo(o *registrytest.Options) *registrytest.Options {
	return &registrytest.Options{Wrap: func(next http.Handler) http.Handler {
		rest := o.Wrap(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v2/" {
				says(http.StatusForbidden, "DENIED")(w, r)
				return
			}
			rest.ServeHTTP(w, r)
		})
	}}
}

// says answers with a status and the code of a registry's error.
func says(status int, code string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			fmt.Fprintf(w, `{"errors":[{"code":%q,"message":"as the test wants"}]}`, code)
		}
	}
}

func TestWhatAnAnswerMeans(t *testing.T) {
	t.Parallel()
	const (
		upload   = "POST /v2/team/app/blobs/uploads/"
		commit   = "PUT /v2/team/app/blobs/uploads/"
		manifest = "PUT /v2/team/app/manifests/1.0"
		read     = "GET /v2/team/app/blobs/"
	)
	for name, test := range map[string]struct {
		source, target *registrytest.Options
		class          endpoints.Class
		status         int
	}{
		"the target denies one repository":  {nil, replacing(upload, says(403, "DENIED")), endpoints.Rejected, 403},
		"the target denies all":             {nil, unknownTo(replacing(upload, says(403, "DENIED"))), endpoints.Auth, 403},
		"the target does not know us":       {nil, replacing(upload, says(403, "UNAUTHORIZED")), endpoints.Auth, 403},
		"the target wants somebody":         {nil, replacing(upload, says(401, "UNAUTHORIZED")), endpoints.Auth, 401},
		"the target has no such repository": {nil, replacing(upload, says(404, "NAME_UNKNOWN")), endpoints.Misdirected, 404},
		"the target only reads":             {nil, replacing(upload, says(405, "UNSUPPORTED")), endpoints.Misdirected, 405},
		"the target supports no manifests":  {nil, replacing(manifest, says(400, "UNSUPPORTED")), endpoints.Misdirected, 400},
		"the target throttles":              {nil, replacing(upload, says(429, "TOOMANYREQUESTS", "Retry-After", "30")), endpoints.Throttled, 429},
		"the target is busy":                {nil, replacing(upload, says(503, "UNKNOWN", "Retry-After", "30")), endpoints.Throttled, 503},
		"the target fails":                  {nil, replacing(commit, says(500, "UNKNOWN")), endpoints.Transient, 500},
		"the target forgot the upload":      {nil, replacing(commit, says(404, "BLOB_UPLOAD_UNKNOWN")), endpoints.Transient, 404},
		"the layer is too large":            {nil, replacing(commit, says(413, "SIZE_INVALID")), endpoints.TooLarge, 413},
		"the manifest is invalid":           {nil, replacing(manifest, says(400, "MANIFEST_INVALID")), endpoints.Rejected, 400},
		"the target misses a blob":          {nil, replacing(manifest, says(404, "MANIFEST_BLOB_UNKNOWN")), endpoints.Rejected, 404},
		"the target is gone":                {nil, replacing(upload, says(410, "UNKNOWN")), endpoints.Misdirected, 410},
		"the source denies one repository":  {replacing(read, says(403, "DENIED")), nil, endpoints.Rejected, 403},
		"the source denies all":             {unknownTo(replacing(read, says(403, "DENIED"))), nil, endpoints.Auth, 403},
		"the source throttles":              {replacing(read, says(429, "TOOMANYREQUESTS", "Retry-After", "30")), nil, endpoints.Throttled, 429},
		"the source fails":                  {replacing(read, says(502, "UNKNOWN")), nil, endpoints.Transient, 502},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, test.source, test.target, nil)
			desc := putImage(t, r.from, "team/app", "1.0", noise(1, 1000))
			err := r.refused(t, push("team/app", "1.0", desc.Digest), test.class)
			side := "target: "
			if test.source != nil {
				side = "source: "
			}
			if err.Status != test.status || !strings.Contains(err.Error(), ": "+side+fmt.Sprint(test.status)) || !strings.Contains(err.Error(), "as the test wants") {
				t.Error(err)
			}
			if want := test.class == endpoints.Throttled; (err.RetryAfter() == 30*time.Second) != want {
				t.Errorf("wait %v", err.RetryAfter())
			}
			r.metrics(t, "inflight_bytes 0")
		})
	}
}

func TestWhatNoAnswerMeans(t *testing.T) {
	t.Parallel()
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	for name, test := range map[string]struct {
		target *registrytest.Options
		change func(*rig)
		class  endpoints.Class
		fault  endpoints.Fault
	}{
		"an unknown certificate": {&registrytest.Options{TLS: true}, func(*rig) {}, endpoints.Untrusted, endpoints.FaultTLS},
		"nobody listens": {nil, func(r *rig) {
			closed := httptest.NewServer(nil)
			closed.Close()
			r.opts.Target.URL = closed.URL
		}, endpoints.Transient, endpoints.FaultConnect},
		"a denied address": {nil, func(r *rig) { r.opts.Endpoint.DenyCIDRs = []netip.Prefix{loopback} }, endpoints.Blocked, endpoints.FaultBlocked},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil, test.target, test.change)
			desc := putImage(t, r.from, "team/app", "1.0", noise(1, 1000))
			err := r.refused(t, push("team/app", "1.0", desc.Digest), test.class)
			if err.Fault == endpoints.FaultConnect && !strings.Contains(err.Error(), "connection refused (HEAD http://") {
				t.Error(err)
			}
			if err.Fault != test.fault || err.URL != r.opts.Target.URL {
				t.Errorf("%v: %s, %s", err, err.Fault, err.URL)
			}
		})
	}
}

// A manifest that names the layer of another repository, at a source that takes such,
// opens nothing at the target that its own repository does not have at the source.
func TestAForeignLayerIsNotMounted(t *testing.T) {
	var forged []byte
	r := newRig(t, replacing("GET /v2/evil/app/manifests/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", v1.MediaTypeImageManifest)
		_, _ = w.Write(forged)
	}), nil, func(r *rig) { r.opts.ByDigest = true })
	secret := image(t, r.from, "secret/app", noise(1, 100))
	desc := putManifest(t, r.from, "secret/app", "1.0", v1.MediaTypeImageManifest, secret)
	r.deliver(t, push("secret/app", "1.0", desc.Digest))

	evil := image(t, r.from, "evil/app") // a configuration of its own
	evil.Layers = secret.Layers
	var err error
	if forged, err = json.Marshal(evil); err != nil {
		t.Fatal(err)
	}
	refused := r.refused(t, push("evil/app", "", digest.FromBytes(forged)), endpoints.Rejected)
	if !strings.Contains(refused.Error(), "source: ") || !strings.Contains(refused.Error(), "BLOB_UNKNOWN") {
		t.Error(refused)
	}
	if _, err := r.to.StatBlob(t.Context(), "evil/app", secret.Layers[0].Digest); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("evil/app has the layer of secret/app: %v", err)
	}
	r.metrics(t, "blobs_total mounted 0")
}

// A blob that is not what its digest says is stored nowhere, and the target need not
// find out.
func TestACorruptBlob(t *testing.T) {
	var committed atomic.Int32
	target := &registrytest.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut && r.URL.Query().Has("digest") {
				n, err := io.Copy(io.Discard, r.Body)
				if err == nil && n == r.ContentLength {
					committed.Add(1)
				}
				w.WriteHeader(http.StatusCreated) // it believes everything
				return
			}
			next.ServeHTTP(w, r)
		})
	}}
	var other string
	r := newRig(t, replacing("GET /v2/team/app/blobs/", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, other)
	}), target, nil)
	layer := noise(1, 100_000)
	m := image(t, r.from, "team/app", layer)
	m.Config = m.Layers[0] // the one blob there is
	desc := putManifest(t, r.from, "team/app", "1.0", v1.MediaTypeImageManifest, m)
	layer[99_999] ^= 1
	other = string(layer)
	r.refused(t, push("team/app", "1.0", desc.Digest), endpoints.Rejected)
	if n := committed.Load(); n != 0 {
		t.Errorf("%d blobs reached the target complete", n)
	}
}

// A copy may take any time as long as it moves, and none when it does not.
func TestTimeWithoutProgress(t *testing.T) {
	t.Parallel()
	const patience = 4 * time.Second // a machine that stands still for so long is none to test on
	for _, stalls := range []bool{false, true} {
		t.Run(fmt.Sprint("stalls ", stalls), func(t *testing.T) {
			t.Parallel()
			layer := noise(1, 1000)
			dgst := digest.FromBytes(layer)
			var progress atomic.Value
			var r *rig
			r = newRig(t, replacing("GET /v2/team/app/blobs/"+dgst.String(), func(w http.ResponseWriter, req *http.Request) {
				w.Header().Set("Content-Length", "1000")
				tick := time.NewTicker(patience / 8)
				defer tick.Stop()
				for i := range 10 {
					_, _ = w.Write(layer[100*i : 100*(i+1)])
					w.(http.Flusher).Flush()
					if i == 5 {
						progress.Store(r.endpoint.Progress())
					}
					if stalls && i == 5 {
						<-req.Context().Done()
						return
					}
					<-tick.C
				}
			}), nil, func(r *rig) { r.opts.Endpoint.Timeout = patience })
			desc := putImage(t, r.from, "team/app", "1.0", layer)
			if !stalls {
				r.deliver(t, push("team/app", "1.0", desc.Digest))
				r.arrived(t, "team/app", "1.0")
				return
			}
			err := r.refused(t, push("team/app", "1.0", desc.Digest), endpoints.Transient)
			if err.Fault != endpoints.FaultTimeout || !strings.Contains(err.Error(), "nothing moved for 4s (team/app:1.0 1/2 blobs, 1 KiB)") {
				t.Error(err)
			}
			if got, _ := progress.Load().(string); !strings.HasPrefix(got, "team/app:1.0 1/2 blobs, ") {
				t.Errorf("progress %q", got)
			}
		})
	}
}

// A layer passes in constant memory, however large it is.
func TestALargeLayer(t *testing.T) {
	size := int64(1 << 30)
	if raceEnabled || testing.Short() {
		size = 64 << 20
	}
	content := func() io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{}), size) }
	hash := digest.SHA256.Digester()
	if _, err := io.Copy(hash.Hash(), content()); err != nil {
		t.Fatal(err)
	}
	layer := v1.Descriptor{MediaType: v1.MediaTypeImageLayer, Digest: hash.Digest(), Size: size}
	r := newRig(t, &registrytest.Options{Directory: t.TempDir()}, &registrytest.Options{Directory: t.TempDir()}, nil)
	if err := r.from.PutBlob(t.Context(), "team/large", layer, content()); err != nil {
		t.Fatal(err)
	}
	desc := putManifest(t, r.from, "team/large", "1.0", v1.MediaTypeImageManifest, v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest,
		Config: putBlob(t, r.from, "team/large", v1.MediaTypeImageConfig, configuration(1)), Layers: []v1.Descriptor{layer},
	})
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	done := make(chan error, 1)
	go func() {
		done <- r.endpoint.Write(t.Context(), []*notifications.Event{push("team/large", "1.0", desc.Digest)})
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	peak := before.HeapAlloc
	for copying := true; copying; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			copying = false
		case <-tick.C:
			runtime.ReadMemStats(&now)
			peak = max(peak, now.HeapAlloc)
		}
	}
	r.arrived(t, "team/large", "1.0")
	if grown := peak - before.HeapAlloc; grown > 24<<20 { // the two registries have theirs of it
		t.Errorf("%d MiB of memory for a layer of %d MiB", grown>>20, size>>20)
	}
	if got := r.counter(t, "bytes_total"); got < float64(size) {
		t.Errorf("%v bytes", got)
	}
}

// Bounds of what one event may lead to.
func TestTooManyManifests(t *testing.T) {
	r := newRig(t, nil, nil, nil)
	inner := putManifest(t, r.from, "team/app", "", v1.MediaTypeImageIndex, v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex,
	})
	for range 10 {
		inner = putManifest(t, r.from, "team/app", "1.0", v1.MediaTypeImageIndex, v1.Index{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{inner},
		})
	}
	if err := r.refused(t, push("team/app", "1.0", inner.Digest), endpoints.Rejected); !strings.Contains(err.Error(), "8 levels") {
		t.Error(err)
	}
}

func TestOptions(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*mirror.Options)
		want   string
	}{
		"no source":     {func(o *mirror.Options) { o.Source.URL = "" }, "source"},
		"a password":    {func(o *mirror.Options) { o.Target.URL = "https://me:hunter2@b.example" }, "target"},
		"one registry":  {func(o *mirror.Options) { o.Target.URL = "https://A.example:443/prefix" }, "target"},
		"a rooted name": {func(o *mirror.Options) { o.Target.URL = "https://a.example./prefix" }, "target"},
		"loopback": {func(o *mirror.Options) {
			o.Source.URL, o.Target.URL = "http://127.0.0.1:5000", "http://localhost:5000/prefix"
		}, "target"},
		"loopback of IPv6": {func(o *mirror.Options) {
			o.Source.URL, o.Target.URL = "http://LOCALHOST:5000", "http://[::1]:5000/prefix"
		}, "target"},
		"a platform":       {func(o *mirror.Options) { o.Platforms = []string{"linux"} }, "platforms"},
		"blobs":            {func(o *mirror.Options) { o.BlobConcurrency = 65 }, "blob_concurrency"},
		"batches":          {func(o *mirror.Options) { o.Endpoint.Batch.MaxEvents = 2 }, "batch.max_events"},
		"a source's TLS":   {func(o *mirror.Options) { o.Source.TLS.CertFile = "x" }, "source_tls.cert_file"},
		"a target's TLS":   {func(o *mirror.Options) { o.Target.TLS.CAFile = "/none" }, "target_tls"},
		"an egress proxy":  {func(o *mirror.Options) { o.Endpoint.ProxyURL = "x" }, "proxy_url"},
		"another option's": {func(o *mirror.Options) { o.Endpoint.Ordering = "x" }, "ordering"},
	} {
		t.Run(name, func(t *testing.T) {
			opts := mirror.Options{Source: mirror.Registry{URL: "https://a.example"}, Target: mirror.Registry{URL: "https://b.example"}}
			test.change(&opts)
			_, err := mirror.NewEndpoint("copy", &opts)
			joined, ok := err.(interface{ Unwrap() []error })
			if !ok || len(joined.Unwrap()) != 1 {
				t.Fatalf("%v, want one problem", err)
			}
			option, ok := errors.AsType[*endpoints.OptionError](err)
			if !ok || option.Option != test.want || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v, want %s", err, test.want)
			}
		})
	}
	if _, err := mirror.NewEndpoint("Copy!", &mirror.Options{}); len(strings.Split(err.Error(), "\n")) != 3 {
		t.Errorf("not all problems at once: %v", err)
	}
}

// A ping asks both registries and copies nothing.
func TestPing(t *testing.T) {
	r := newRig(t, &registrytest.Options{Auth: registrytest.Htpasswd}, &registrytest.Options{Auth: registrytest.Htpasswd}, nil)
	if _, err := r.endpoint.Ping(t.Context(), event(notifications.ActionPing, "regcast/ping", "latest", v1.DescriptorEmptyJSON)); err != nil {
		t.Error(err)
	}
	r.opts.Source.Credentials = nil
	r.endpoint = newEndpoint(t, "stranger", &r.opts)
	result, err := r.endpoint.Ping(t.Context(), event(notifications.ActionPing, "regcast/ping", "latest", v1.DescriptorEmptyJSON))
	if err == nil || result.Status != 401 || !strings.Contains(err.Error(), "source: ") {
		t.Errorf("%+v, %v", result, err)
	}
	r.metrics(t, "blobs_total 0", "manifests_total 0")
}
