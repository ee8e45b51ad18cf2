package trial_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/regcast/regcast/cmd/internal/trial"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/notifications/verify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// receiver starts a receiver that keeps what it accepts.
func receiver(t *testing.T, opts trial.ReceiverOptions) (r *trial.Receiver, url string, accepted *[]*notifications.Event) {
	t.Helper()
	accepted = new([]*notifications.Event)
	opts.Print = func(events []*notifications.Event) error {
		*accepted = append(*accepted, events...)
		return nil
	}
	r = trial.NewReceiver(opts)
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	return r, server.URL, accepted
}

func TestSend(t *testing.T) {
	tests := map[string]struct {
		concurrency, batch, requests int
	}{
		"one by one":      {1, 1, 25},
		"in batches":      {1, 10, 3},
		"side by side":    {4, 1, 25},
		"all in one":      {0, 1000, 1},
		"batches at once": {4, 5, 5},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r, url, accepted := receiver(t, trial.ReceiverOptions{Count: 25})
			var progress atomic.Int64
			sent, err := trial.Send(t.Context(), trial.Samples(25), trial.SendOptions{
				URL: url, Concurrency: test.concurrency, Batch: test.batch,
				Progress: func(n int) { progress.Add(int64(n)) },
			})
			if err != nil || sent.Accepted != 25 || sent.Total() != 25 || sent.Rate() <= 0 {
				t.Errorf("sent %+v, error %v", sent, err)
			}
			<-r.Done()
			if got := r.Received(); got.Requests != test.requests || got.Events != 25 || got.Refused != 0 {
				t.Errorf("received %+v, want %d requests", got, test.requests)
			}
			if progress.Load() != 25 {
				t.Errorf("progress was told of %d", progress.Load())
			}
			var tags []string
			for _, e := range *accepted {
				tags = append(tags, e.Tag)
			}
			if test.concurrency <= 1 {
				for i, tag := range tags {
					if tag != fmt.Sprintf("v%d", i) {
						t.Fatalf("out of order: %v", tags)
					}
				}
			}
		})
	}
}

func TestSendCountsFailures(t *testing.T) {
	_, url, _ := receiver(t, trial.ReceiverOptions{Status: 503, FailFirst: 2})
	sent, err := trial.Send(t.Context(), trial.Samples(5), trial.SendOptions{URL: url, Batch: 1})
	if sent.Accepted != 3 || sent.Failed != 2 {
		t.Errorf("sent %+v", sent)
	}
	if err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), "misbehaving") {
		t.Errorf("got error %v, want the first answer", err)
	}
}

func TestSendToNobody(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	sent, err := trial.Send(t.Context(), trial.Samples(2), trial.SendOptions{URL: server.URL})
	if err == nil || sent.Failed != 2 {
		t.Errorf("sent %+v, error %v", sent, err)
	}
}

func TestSendReadsCounts(t *testing.T) {
	tests := map[string]struct {
		answer string
		want   trial.Sent
	}{
		"an intake's":   {`{"accepted":1,"duplicates":2,"quarantined":3}`, trial.Sent{Accepted: 1, Duplicates: 2, Quarantined: 3}},
		"no JSON":       {"thanks", trial.Sent{Accepted: 6}},
		"other JSON":    {`{"accepted":"yes"}`, trial.Sent{Accepted: 6}},
		"half of it":    {`{"accepted":1}`, trial.Sent{Accepted: 6}},
		"nothing":       {"", trial.Sent{Accepted: 6}},
		"a redirection": {"302", trial.Sent{Failed: 6}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var token, contentType string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				token, contentType = r.Header.Get("Authorization"), r.Header.Get("Content-Type")
				if test.answer == "302" {
					http.Redirect(w, r, "/", http.StatusFound)
					return
				}
				w.WriteHeader(http.StatusAccepted)
				io.WriteString(w, test.answer)
			}))
			defer server.Close()
			sent, err := trial.Send(t.Context(), trial.Samples(6), trial.SendOptions{URL: server.URL, Batch: 6, Token: "s3cret"})
			sent.Took = 0
			if sent != test.want || (err != nil) != (test.want.Failed > 0) {
				t.Errorf("sent %+v, error %v, want %+v", sent, err, test.want)
			}
			if token != "Bearer s3cret" || contentType != notifications.MediaTypeV2 {
				t.Errorf("sent %q with token %q", contentType, token)
			}
		})
	}
}

func TestSendEndsWithItsContext(t *testing.T) {
	_, url, accepted := receiver(t, trial.ReceiverOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	source := func(yield func(*notifications.Event, error) bool) {
		for i := 0; ; i++ {
			if i == 3 {
				cancel()
			}
			if !yield(notificationstest.Push("a", "v1", i), nil) {
				return
			}
		}
	}
	sent, err := trial.Send(ctx, source, trial.SendOptions{URL: url})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v", err)
	}
	if sent.Failed != 0 || sent.Accepted != len(*accepted) || sent.Accepted > 3 {
		t.Errorf("sent %+v, accepted %d: what was under way must be waited for", sent, len(*accepted))
	}
}

func TestSendReportsItsSource(t *testing.T) {
	_, url, _ := receiver(t, trial.ReceiverOptions{})
	broken := func(yield func(*notifications.Event, error) bool) {
		if yield(notificationstest.Push("a", "v1", 1), nil) {
			yield(nil, errors.New("the file broke"))
		}
	}
	sent, err := trial.Send(t.Context(), broken, trial.SendOptions{URL: url})
	if err == nil || err.Error() != "the file broke" || sent.Accepted != 1 {
		t.Errorf("sent %+v, error %v", sent, err)
	}
}

func collect(source iter.Seq2[*notifications.Event, error]) (numbers []int, err error) {
	for e, err := range source {
		if err != nil {
			return numbers, err
		}
		numbers = append(numbers, notificationstest.Number(e))
	}
	return numbers, nil
}

func TestRead(t *testing.T) {
	line := func(n int) string { return string(notificationstest.Push("team/app", "v1", n).AppendJSON(nil)) }
	indented := string(notifications.IndentEnvelope(nil, notifications.AppendEnvelope(nil, notificationstest.Pushes(7, 2, "a"))))
	tests := map[string]struct {
		in    string
		want  []int
		error string
	}{
		"JSON lines":                     {line(1) + "\n" + line(2) + "\n", []int{1, 2}, ""},
		"an envelope":                    {indented, []int{7, 8}, ""},
		"one after the other":            {line(1) + indented + "\n\n" + line(3), []int{1, 7, 8, 3}, ""},
		"nothing":                        {"", nil, ""},
		"no JSON":                        {line(1) + "\noops", []int{1}, "reading events after byte"},
		"cut off":                        {line(1)[:20], nil, "unexpected EOF"},
		"JSON of something else":         {line(1) + "\n" + `{"a":1}`, []int{1}, "no event after byte"},
		"a bad event in a good envelope": {`{"events":[` + line(1) + `,{"action":"push"}]}`, []int{1}, "incomplete"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := collect(trial.Read(strings.NewReader(test.in)))
			if !slices.Equal(got, test.want) {
				t.Errorf("read %v, want %v", got, test.want)
			}
			if (err != nil) != (test.error != "") || err != nil && !strings.Contains(err.Error(), test.error) {
				t.Errorf("got error %v, want %q", err, test.error)
			}
		})
	}
}

func TestSamplesAreEvents(t *testing.T) {
	ids := make(map[string]bool)
	for e, err := range trial.Samples(30) {
		if err != nil {
			t.Fatal(err)
		}
		ids[e.ID] = true
		again, err := notifications.ParseEvent(string(e.AppendJSON(nil)))
		if err != nil {
			t.Fatalf("an intake would not take %s: %v", e.AppendJSON(nil), err)
		}
		if !again.Kind().Has(notifications.KindImage) {
			t.Errorf("%s is no push of an image", e.AppendJSON(nil))
		}
	}
	if len(ids) != 30 {
		t.Errorf("%d different ids, want 30", len(ids))
	}
}

func envelope(n int) string {
	return string(notifications.AppendEnvelope(nil, []*notifications.Event{notificationstest.Push("a", "v1", n)}))
}

func post(r *trial.Receiver, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/hook", strings.NewReader(body)))
	return w
}

func TestReceiverAnswers(t *testing.T) {
	tests := map[string]struct {
		opts trial.ReceiverOptions
		want []int
	}{
		"well behaved":     {trial.ReceiverOptions{}, []int{200, 200, 200}},
		"another success":  {trial.ReceiverOptions{Status: 204}, []int{204, 204, 204}},
		"always failing":   {trial.ReceiverOptions{Status: 429}, []int{429, 429, 429}},
		"failing at first": {trial.ReceiverOptions{Status: 500, FailFirst: 2}, []int{500, 500, 200}},
		"full":             {trial.ReceiverOptions{Count: 2}, []int{200, 200, 503}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var refused []string
			test.opts.Refused = func(line string) { refused = append(refused, line) }
			r := trial.NewReceiver(test.opts)
			wantRefused := 0
			for i, want := range test.want {
				if got := post(r, envelope(i)).Code; got != want {
					t.Errorf("request %d got %d, want %d", i, got, want)
				}
				if want >= 300 {
					wantRefused++
				}
			}
			if got := r.Received(); got.Refused != wantRefused || len(refused) != wantRefused || got.Events != len(test.want)-wantRefused {
				t.Errorf("received %+v, refused %q, want %d refused", got, refused, wantRefused)
			}
		})
	}
}

// TestReceiverRefusesForgeries: what is not signed is answered 401, printed nowhere and
// not counted.
func TestReceiverRefusesForgeries(t *testing.T) {
	const secret = "a raw secret of more than 24 bytes"
	key, err := verify.ParseKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := verify.New([]string{secret}, &verify.Options{Header: verify.HeaderHub})
	if err != nil {
		t.Fatal(err)
	}
	var printed, refused int
	r := trial.NewReceiver(trial.ReceiverOptions{
		Verify:  verifier.Verify,
		Print:   func(events []*notifications.Event) error { printed += len(events); return nil },
		Refused: func(string) { refused++ },
	})
	for n, c := range []struct {
		signature string
		want      int
	}{
		{"", http.StatusUnauthorized},
		{key.SignBody([]byte(envelope(0))), http.StatusUnauthorized},
		{key.SignBody([]byte(envelope(2))), http.StatusOK},
	} {
		req := httptest.NewRequest(http.MethodPost, "/hook", strings.NewReader(envelope(n)))
		req.Header.Set(verify.HeaderHub, c.signature)
		w := httptest.NewRecorder()
		if r.ServeHTTP(w, req); w.Code != c.want {
			t.Errorf("request %d got %d %s, want %d", n, w.Code, w.Body, c.want)
		}
	}
	if got := r.Received(); printed != 1 || refused != 2 || got.Events != 1 || got.Refused != 2 {
		t.Errorf("received %+v, printed %d, refused %d", got, printed, refused)
	}
}

func TestReceiverCountsDistinctEvents(t *testing.T) {
	r := trial.NewReceiver(trial.ReceiverOptions{Count: 2})
	for range 3 {
		post(r, envelope(1))
	}
	select {
	case <-r.Done():
		t.Fatal("three times the same event counted as two")
	default:
	}
	post(r, envelope(2))
	<-r.Done()
	if got := r.Received().Events; got != 4 {
		t.Errorf("received %d events, repeats included, want 4", got)
	}
}

func TestReceiverRefusesNonsense(t *testing.T) {
	r := trial.NewReceiver(trial.ReceiverOptions{Print: func([]*notifications.Event) error { return errors.New("stdout is closed") }})
	if got := post(r, "nonsense").Code; got != http.StatusBadRequest {
		t.Errorf("nonsense got %d", got)
	}
	if got := post(r, envelope(1)).Code; got != http.StatusInternalServerError {
		t.Errorf("what could not be printed got %d", got)
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" {
		t.Errorf("GET got %d", w.Code)
	}
}

func TestReceiverDawdles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := trial.NewReceiver(trial.ReceiverOptions{Delay: time.Minute})
		start := time.Now()
		if got := post(r, envelope(1)).Code; got != 200 || time.Since(start) != time.Minute {
			t.Errorf("got %d after %v", got, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", strings.NewReader(envelope(2))).WithContext(ctx))
		if got := r.Received().Events; got != 1 {
			t.Errorf("an event whose sender had gone was accepted: %d", got)
		}
	})
}
