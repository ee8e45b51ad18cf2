// Audit-consumer is a webhook consumer as an audit system would have it: it verifies the
// signature of each request, recognizes repeats by the event's id, and appends every event
// once to a file in which each line holds the hash of the one before. It answers 204 when
// the events are on disk, and 500 when they cannot be, so that regcast sends them again.
//
//	(umask 077; openssl rand -base64 32 | sed s/^/whsec_/ > audit-key)
//	go run ./examples/audit-consumer -secret-file audit-key -file audit.jsonl
//	go run ./examples/audit-consumer -verify audit.jsonl
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/verify"
)

// remembered is how many ids of events are kept in memory, from the newest on: about
// 150 MB of them.
const remembered = 1_000_000

func main() {
	listen := flag.String("listen", "127.0.0.1:8420", "where regcast's endpoint points to")
	secrets := flag.String("secret-file", "", "the secrets of the signatures, one in a line: the one of the endpoint, or two while it is replaced")
	file := flag.String("file", "audit.jsonl", "where events are appended to")
	check := flag.String("verify", "", "check the chain of this file and end")
	flag.Parse()
	log.SetFlags(0)

	if *check != "" {
		lines, head, err := verifyFile(*check)
		if err != nil {
			log.Fatalf("audit-consumer: %v", err)
		}
		fmt.Printf("%s: %d events, head %s\n", *check, lines, head)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *secrets == "" {
		log.Fatal("audit-consumer: name the file of the secrets with -secret-file")
	}
	if err := serve(ctx, *listen, *secrets, *file); err != nil {
		log.Fatalf("audit-consumer: %v", err)
	}
}

// serve consumes until ctx ends, and then finishes what is under way.
func serve(ctx context.Context, listen, secretFile, file string) (err error) {
	content, err := os.ReadFile(secretFile)
	if err != nil {
		return fmt.Errorf("reading the secrets: %w", err)
	}
	verifier, err := verify.New(strings.FieldsFunc(string(content), func(r rune) bool { return r == '\n' || r == '\r' }), nil)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", listen) // first, so that there is no second consumer with this file
	if err != nil {
		return err
	}
	defer listener.Close()
	seen := verify.NewSeen(remembered)
	trail, err := openTrail(file, func(e *notifications.Event) { seen.Add(e.ID) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, trail.Close()) }()

	server := &http.Server{
		Handler:           verifier.Handler(&consumer{seen, trail}),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
	}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		limit, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		stopped <- server.Shutdown(limit)
	}()
	log.Printf("%d events in %s, listening on http://%s", trail.lines, file, listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

// A consumer takes requests whose signature is good.
type consumer struct {
	seen  *verify.Seen
	trail *trail
}

func (c *consumer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	events, err := verify.Decode(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest) // regcast tries once more and keeps it as a dead letter
		return
	}
	if err := c.seen.Do(events, c.record); err != nil {
		log.Printf("audit-consumer: %v", err)
		http.Error(w, "the events could not be stored", http.StatusInternalServerError) // it comes again
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// record stores events that are new; Seen calls it once at a time. A ping is an operator's
// test. What counts is its action, which is signed, not its header, which is not.
func (c *consumer) record(fresh []*notifications.Event) error {
	events := slices.DeleteFunc(fresh, func(e *notifications.Event) bool { return e.Action == notifications.ActionPing })
	return c.trail.Append(events, time.Now())
}
