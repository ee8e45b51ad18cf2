package main

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/intake"
)

// relayRows measure from end to end: a registry posts, the webhook receives. The peer is
// a relay that reads a body and posts it on, without storing or understanding it.
func relayRows() []row {
	return []row{
		{name: "relay, 1 event in, 1 out, journal", against: "bare relay", unit: "events/s", reach: 0.5,
			ours: relay(30_000, 1), peer: bareRelay(30_000, 1)},
		{name: "relay, 100 events in, 100 out, journal", against: "bare relay", unit: "events/s", reach: 0.3,
			ours: relay(300_000, 100), peer: bareRelay(300_000, 100)},
	}
}

const relayClients = 32

func relay(n, size int) func(context.Context) (result, error) {
	return func(ctx context.Context) (result, error) {
		engine, discard, err := journalEngine()
		if err != nil {
			return result{}, err
		}
		defer discard()
		to, err := receive(size, n)
		if err != nil {
			return result{}, err
		}
		defer to.stop()
		ctx, cancel := context.WithCancel(ctx)
		done, err := startEndpoint(ctx, engine, "bench", to.url, size)
		if err != nil {
			cancel()
			return result{}, err
		}
		defer func() { cancel(); <-done }()
		return relayed(ctx, intake.NewHandler(engine, nil), to, n, size)
	}
}

func bareRelay(n, size int) func(context.Context) (result, error) {
	return func(ctx context.Context) (result, error) {
		to, err := receive(size, n)
		if err != nil {
			return result{}, err
		}
		defer to.stop()
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: relayClients}}
		defer client.CloseIdleConnections()
		return relayed(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			resp, err := client.Post(to.url, notifications.MediaTypeV2, bytes.NewReader(body))
			if err != nil {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			w.WriteHeader(http.StatusAccepted)
		}), to, n, size)
	}
}

// relayed posts n events, size at a time, to h and measures until to has them all.
func relayed(ctx context.Context, h http.Handler, to *receiver, n, size int) (result, error) {
	s, err := serve(h)
	if err != nil {
		return result{}, err
	}
	defer s.stop()
	all := bodies(n/size, size)
	watch := startWatch()
	if err := post(ctx, s.url, all, relayClients, false); err != nil {
		return result{}, err
	}
	if err := to.wait(ctx); err != nil {
		return result{}, err
	}
	return watch.per(n), nil
}
