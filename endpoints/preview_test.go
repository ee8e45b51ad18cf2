package endpoints_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
)

func TestPreview(t *testing.T) {
	url := "https://bob:hidden@receiver.example/hook?key=hidden"
	for _, opts := range []*endpoints.Options{
		{},
		{Authorization: func() (string, error) { t.Error("a secret is read"); return "", nil }},
	} {
		opts.Version = "1.2.3"
		opts.Headers = http.Header{"x-team": {"hidden"}}
		got, ok := newEndpoint(t, url, opts).Preview(batch)
		want := endpoints.Preview{
			Method: "POST", URL: "https://receiver.example/hook", Body: notifications.AppendEnvelope(nil, batch),
			Header: http.Header{
				"Authorization": {"<secret>"}, "Content-Type": {notifications.MediaTypeV2}, "User-Agent": {"regcast/1.2.3"},
				"X-Team": {"<secret>"}, "Regcast-Attempt": {"1"}, "Regcast-Sequence": {"1"},
			},
		}
		if diff := cmp.Diff(want, got); diff != "" || !ok {
			t.Errorf("%v\n%s", ok, diff)
		}
	}
	secret := &endpoints.Options{URL: func() (string, error) { t.Error("a secret is read"); return "", nil }}
	if got, ok := newEndpoint(t, "", secret).Preview(batch); !ok || got.URL != "<secret>" {
		t.Errorf("of a secret URL: %v, %+v", ok, got)
	}
	if _, ok := newEndpoint(t, "console:", nil).Preview(batch); ok {
		t.Error("a console makes a request")
	}
}
