package verify_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/notifications/verify"
)

// A consumer: it verifies, decodes, and works once on each event.
func ExampleNew() {
	verifier, err := verify.New([]string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	seen := verify.NewSeen(100_000)
	consumer := verifier.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		events, err := verify.Decode(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		err = seen.Do(events, func(fresh []*notifications.Event) error {
			for _, e := range fresh {
				fmt.Println(e.Action, e.Repository, e.Tag)
			}
			return nil
		})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError) // and it comes again
		}
	}))

	// What regcast would send, twice, and somebody else.
	body := notifications.AppendEnvelope(nil, []*notifications.Event{notificationstest.Push("team/app", "v1", 1)})
	for _, secret := range []string{
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "the secret of somebody else",
	} {
		key, err := verify.ParseKey(secret)
		if err != nil {
			fmt.Println(err)
			return
		}
		now := time.Now()
		request := httptest.NewRequest(http.MethodPost, "/hook", bytes.NewReader(body))
		request.Header.Set(verify.HeaderID, "one")
		request.Header.Set(verify.HeaderTimestamp, strconv.FormatInt(now.Unix(), 10))
		request.Header.Set(verify.HeaderSignature, key.Sign("one", now, body))
		answer := httptest.NewRecorder()
		consumer.ServeHTTP(answer, request)
		fmt.Println(answer.Code)
	}
	// Output:
	// push team/app v1
	// 200
	// 200
	// 401
}

func ExampleNewSeen() {
	seen := verify.NewSeen(1000)
	seen.Add("a") // as found in what was done before
	events := []*notifications.Event{{ID: "a"}, {ID: "b"}, {ID: "b"}}
	err := seen.Do(events, func(fresh []*notifications.Event) error {
		fmt.Println(len(fresh), fresh[0].ID)
		return nil
	})
	fmt.Println(err)
	// Output:
	// 1 b
	// <nil>
}
