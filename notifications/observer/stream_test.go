package observer_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/notifications/observer"
)

const large = 256 << 20

// zeros is a reader of n bytes that needs no memory.
type zeros struct{ n int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.n == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.n)
	z.n -= n
	return int(n), nil
}

func TestLargeBlobsNeedNoMemory(t *testing.T) {
	path := "/v2/a/b/blobs/" + blob.String()
	w := watch(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodGet:
			_, _ = io.Copy(w, &zeros{large})
		case http.MethodPost:
			w.Header().Set("Location", "/v2/a/b/blobs/uploads/1")
			w.WriteHeader(http.StatusAccepted)
		default:
			n, err := io.Copy(io.Discard, r.Body)
			if n != large || err != nil {
				t.Errorf("read %d bytes, %v", n, err)
			}
			w.WriteHeader(http.StatusCreated)
		}
	}), nil)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	resp, err := w.client.Get(w.address + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); n != large || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
	w.do(t, "POST", "/v2/a/b/blobs/uploads/", "")
	r, err := http.NewRequest(http.MethodPut, w.address+"/v2/a/b/blobs/uploads/1?digest="+blob.String(), &zeros{large})
	if err != nil {
		t.Fatal(err)
	}
	put, err := w.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	put.Body.Close()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
		t.Errorf("%d bytes allocated", n)
	}
	if diff := cmp.Diff([]string{"pull GET a/b@blob 268435456", "push PUT a/b@blob 268435456"}, briefs(t, w.settled(t))); diff != "" {
		t.Errorf("events, -want +got:\n%s", diff)
	}
}

func TestFlush(t *testing.T) {
	arrived := make(chan struct{})
	w := watch(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, blobContent[:11])
		w.(http.Flusher).Flush()
		<-arrived
		_, _ = io.WriteString(w, blobContent[11:])
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
	}), nil)
	resp, err := w.client.Get(w.address + "/v2/a/b/blobs/" + blob.String())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadFull(resp.Body, make([]byte, 11)); err != nil {
		t.Fatal(err)
	}
	close(arrived)
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"pull GET a/b@blob 22"}, briefs(t, w.settled(t))); diff != "" {
		t.Errorf("events, -want +got:\n%s", diff)
	}
}

// A readerFrom notes what is copied to it without being read by us.
type readerFrom struct {
	*httptest.ResponseRecorder
	copied int64
	fails  error
}

func (w *readerFrom) ReadFrom(src io.Reader) (int64, error) {
	if w.fails != nil {
		return 0, w.fails
	}
	n, err := io.Copy(w.ResponseRecorder, src)
	w.copied += n
	return n, err
}

func TestReadFromReachesTheServer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(file, []byte(blobContent), 0o600); err != nil {
		t.Fatal(err)
	}
	var rec notificationstest.Recorder
	o := observer.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) }), &rec, notifications.SourceRecord{}, nil)
	w := &readerFrom{ResponseRecorder: httptest.NewRecorder()}
	o.ServeHTTP(w, httptest.NewRequest("GET", "/v2/a/b/blobs/"+blob.String(), nil))
	if w.copied != 22 || w.Body.String() != blobContent {
		t.Errorf("%d bytes copied, body %q", w.copied, w.Body)
	}
	// The server writes a status with the first byte. Without one, the handler does.
	failing := observer.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(w, struct{ io.Reader }{strings.NewReader(blobContent)}); err != nil {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}), &rec, notifications.SourceRecord{}, nil)
	failing.ServeHTTP(&readerFrom{ResponseRecorder: httptest.NewRecorder(), fails: errors.New("disk")}, httptest.NewRequest("GET", "/v2/a/b/blobs/"+blob.String(), nil))
	failing.ServeHTTP(&readerFrom{ResponseRecorder: httptest.NewRecorder()}, httptest.NewRequest("GET", "/v2/a/b/blobs/"+blob.String(), nil))
	if err := errors.Join(o.Shutdown(t.Context()), failing.Shutdown(t.Context())); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"pull GET a/b@blob 22", "pull GET a/b@blob 22"}, briefs(t, rec.Events())); diff != "" {
		t.Errorf("events, -want +got:\n%s", diff)
	}
}

// Of a blob of no announced length that was cut off, the size is not known.
func TestCutOff(t *testing.T) {
	var rec notificationstest.Recorder
	o := observer.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, blobContent)
	}), &rec, notifications.SourceRecord{}, nil)
	o.ServeHTTP(cutOff{httptest.NewRecorder()}, httptest.NewRequest("GET", "/v2/a/b/blobs/"+blob.String(), nil))
	o.ServeHTTP(cutOff{httptest.NewRecorder()}, httptest.NewRequest("GET", "/v2/a/b/manifests/"+manifest.String(), nil))
	if err := o.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"pull GET a/b@blob ? aborted after 11", "pull GET a/b@image ? kind=manifest aborted after 11"}, briefs(t, rec.Events())); diff != "" {
		t.Errorf("events, -want +got:\n%s", diff)
	}
}

type cutOff struct{ *httptest.ResponseRecorder }

func (w cutOff) Write(p []byte) (int, error) { return len(p) / 2, io.ErrShortWrite }

// Where the server has nothing to gain from ReadFrom, the handler's own buffer is used.
func TestNoReadFromWithoutTheServers(t *testing.T) {
	var rec notificationstest.Recorder
	o := observer.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := w.(io.ReaderFrom); ok {
			t.Error("the writer has ReadFrom")
		}
	}), &rec, notifications.SourceRecord{}, nil)
	o.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/v2/a/b/blobs/"+blob.String(), nil))
	if err := o.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestHTTP2(t *testing.T) {
	w := &watched{}
	server := httptest.NewUnstartedServer(w.observe(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("request by %s", r.Proto)
		}
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Error(err)
		}
		if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("Hijack: %v", err)
		}
		switch r.Method {
		case http.MethodGet:
			_, _ = io.WriteString(w, blobContent)
		case http.MethodPost:
			w.Header().Set("Location", "/v2/a/b/blobs/uploads/1")
			w.WriteHeader(http.StatusAccepted)
		default:
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusCreated)
		}
	}), nil))
	server.EnableHTTP2 = true
	server.StartTLS()
	w.address, w.client, w.close = server.URL, server.Client(), server.Close
	defer w.end()
	resp, err := w.client.Get(w.address + "/v2/a/b/blobs/" + blob.String())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for _, x := range []struct{ method, path, body string }{
		{"POST", "/v2/a/b/blobs/uploads/", ""}, {"PUT", "/v2/a/b/blobs/uploads/1?digest=" + blob.String(), blobContent}, {"PUT", "/v2/a/b/manifests/v1", image},
	} {
		r, err := http.NewRequest(x.method, w.address+x.path, struct{ io.Reader }{strings.NewReader(x.body)}) // of no announced length
		if err != nil {
			t.Fatal(err)
		}
		resp, err := w.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if diff := cmp.Diff([]string{"pull GET a/b@blob 22", "push PUT a/b@blob 22", "push PUT a/b:v1@image manifest.v1+json 394"}, briefs(t, w.settled(t))); diff != "" {
		t.Errorf("events, -want +got:\n%s", diff)
	}
}

func TestHijack(t *testing.T) {
	w := watch(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = rw.WriteString("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		_ = rw.Flush()
		_ = conn.Close()
	}), nil)
	if resp := w.do(t, "DELETE", "/v2/a/manifests/v1", ""); resp.StatusCode != 202 {
		t.Errorf("status %d", resp.StatusCode)
	}
	if events := w.settled(t); len(events) != 0 {
		t.Errorf("events %q of what nobody saw", briefs(t, events))
	}
}

func TestPanicsPassThrough(t *testing.T) {
	get, del, put := "/v2/a/blobs/"+blob.String(), "/v2/a/manifests/v1", "/v2/a/blobs/uploads/1?digest="+blob.String()
	for _, tc := range []struct {
		name, method, path string
		status             int // 0: none is written
		want               string
	}{
		{"before the answer to a pull", "GET", get, 0, ""},
		{"in the answer to a pull", "GET", get, 200, "pull GET a@blob ? aborted after 5"},
		{"before the answer to a change", "DELETE", del, 0, ""},
		{"before the answer to an upload", "PUT", put, 0, ""},
		{"after a change was refused", "DELETE", del, 405, ""},
		{"after a change", "DELETE", del, 202, "delete DELETE a:v1"},
	} {
		for _, value := range []any{http.ErrAbortHandler, "oops"} {
			t.Run(tc.name, func(t *testing.T) {
				var rec notificationstest.Recorder
				o := observer.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if tc.status != 0 {
						w.WriteHeader(tc.status)
						_, _ = io.WriteString(w, blobContent[:5])
					}
					panic(value)
				}), &rec, notifications.SourceRecord{}, nil)
				func() {
					defer func() {
						if got := recover(); got != value {
							t.Errorf("panic %v", got)
						}
					}()
					o.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(tc.method, tc.path, nil))
				}()
				if err := o.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				if got := strings.Join(briefs(t, rec.Events()), "; "); got != tc.want {
					t.Errorf("events %q, want %q", got, tc.want)
				}
			})
		}
	}
}

func TestInformationalAnswers(t *testing.T) {
	w := watch(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Docker-Content-Digest", other.String())
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Docker-Content-Digest", manifest.String())
		w.WriteHeader(http.StatusCreated)
		w.Header().Set("Docker-Content-Digest", other.String())
	}), nil)
	if resp := w.do(t, "PUT", "/v2/a/manifests/v1", image, "Content-Type", ociManifest); resp.StatusCode != 201 {
		t.Errorf("status %d", resp.StatusCode)
	}
	if got := strings.Join(briefs(t, w.settled(t)), "; "); got != "push PUT a:v1@image manifest.v1+json ?" { // its body was not read
		t.Errorf("events %q", got)
	}
}

// A client that goes away has pulled all the same, and has pushed nothing.
func TestClientsThatGoAway(t *testing.T) {
	gone, begun := make(chan struct{}), make(chan struct{})
	w := watch(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(gone)
		if r.Method == http.MethodPut {
			close(begun)
		}
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Length", "268435456")
			_, _ = io.Copy(w, &zeros{large})
			return
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusCreated)
	}), nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.address+"/v2/a/blobs/"+blob.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := w.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, resp.Body, 1000); err != nil {
		t.Fatal(err)
	}
	cancel()
	resp.Body.Close()
	<-gone

	gone = make(chan struct{})
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	body, feed := io.Pipe()
	r, err = http.NewRequestWithContext(ctx, http.MethodPut, w.address+"/v2/a/manifests/v1", body)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = feed.Write([]byte(image[:10]))
		<-begun // or the registry never hears of it
		cancel()
		_ = feed.CloseWithError(context.Canceled) // net/http waits for whoever reads it
	}()
	if resp, err := w.client.Do(r); err == nil {
		resp.Body.Close()
		t.Errorf("status %d", resp.StatusCode)
	}
	<-gone
	if got := strings.Join(briefs(t, w.settled(t)), "; "); !strings.HasPrefix(got, "pull GET a@blob 268435456 aborted after ") {
		t.Errorf("events %q", got)
	}
}

// An answer that comes while the client still sends says nothing of what it sends.
func TestAnswerBeforeTheBody(t *testing.T) {
	w := watch(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		_, _ = io.ReadFull(r.Body, make([]byte, 10))
		w.WriteHeader(http.StatusCreated)
		_, _ = io.Copy(io.Discard, r.Body)
	}), nil)
	w.do(t, "PUT", "/v2/a/manifests/"+manifest.String(), image, "Content-Type", ociManifest)
	w.do(t, "PUT", "/v2/a/manifests/v1", image)
	w.do(t, "PUT", "/v2/a/blobs/uploads/1?digest="+blob.String(), blobContent)
	if got := strings.Join(briefs(t, w.settled(t)), "; "); got != "push PUT a@image manifest.v1+json ?; push PUT a@blob ?" {
		t.Errorf("events %q", got)
	}
}

// A proxy reads the body in another goroutine, perhaps after the handler has returned.
func TestBodyReadByAnother(t *testing.T) {
	w := watch(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		read := make(chan struct{})
		go func() {
			defer close(read)
			_, _ = io.Copy(io.Discard, r.Body)
		}()
		w.WriteHeader(http.StatusCreated)
		if r.URL.RawQuery != "late" {
			<-read
		}
	}), nil)
	for range 20 {
		w.do(t, "PUT", "/v2/a/manifests/"+manifest.String(), image, "Content-Type", ociManifest)
		w.do(t, "PUT", "/v2/a/manifests/"+manifest.String()+"?late", image, "Content-Type", ociManifest)
	}
	if n := len(w.settled(t)); n != 40 {
		t.Errorf("%d events", n)
	}
}

// A handler that takes as many bytes as were announced need not look for the end.
func TestBodyReadWithoutItsEnd(t *testing.T) {
	var rec notificationstest.Recorder
	o := observer.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadFull(r.Body, make([]byte, len(blobContent)))
		w.WriteHeader(http.StatusCreated)
	}), &rec, notifications.SourceRecord{}, nil)
	o.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/v2/a/blobs/uploads/?digest="+blob.String(), strings.NewReader(blobContent)))
	if err := o.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"push POST a@blob 22"}, briefs(t, rec.Events())); diff != "" {
		t.Errorf("events, -want +got:\n%s", diff)
	}
}

// A status that ends HTTP is no success, and none follows it.
func TestSwitchingProtocols(t *testing.T) {
	w := watch(t, status(http.StatusSwitchingProtocols), nil)
	for _, method := range []string{"PUT", "DELETE", "GET"} {
		w.Observer.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, "/v2/a/manifests/"+manifest.String(), strings.NewReader(image)))
	}
	w.Observer.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/v2/a/blobs/"+blob.String(), nil))
	w.end()
	if w.events.Len() != 0 {
		t.Errorf("events: %q", briefs(t, w.events.Events()))
	}
}
