package journal_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
	"github.com/regcast/regcast/sinks/journal"
)

const (
	crashDir   = "JOURNAL_CRASH_DIR" // makes this test binary the process that is killed
	crashRound = "JOURNAL_CRASH_ROUND"

	crashRounds  = 6
	crashWriters = 4

	// What is settled is written by the commits that begin this much later.
	settlePromise = 100 * time.Millisecond
)

var quiet = slog.New(slog.DiscardHandler)

func mustOpen(t testing.TB, dir string, opts *journal.Options) *journal.Journal {
	t.Helper()
	var o journal.Options
	if opts != nil {
		o = *opts
	}
	if o.Logger == nil {
		o.Logger = quiet
	}
	j, err := journal.Open(dir, &o)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func mustShutdown(t testing.TB, j *journal.Journal) {
	t.Helper()
	if err := j.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestKill kills a process that writes and settles at full speed, again and again, and
// looks at what it left.
func TestKill(t *testing.T) {
	if dir := os.Getenv(crashDir); dir != "" {
		beKilled(t, dir, os.Getenv(crashRound))
		return
	}
	if testing.Short() {
		t.Skip("starts and kills processes for seconds")
	}
	t.Parallel()
	dir := t.TempDir()
	var from uint64 = 1
	for round := range crashRounds {
		seen := killOne(t, dir, round)
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
		from = checkKilled(t, dir, from, seen)
		if t.Failed() {
			t.Fatalf("round %d: %d events acknowledged, %d delivered", round, len(seen.acked), len(seen.delivered))
		}
	}
}

// killed is what a process said before it was killed, times by its own clock.
type killed struct {
	acked     map[string]bool          // ids
	delivered map[string]bool          // ids
	settled   map[string]time.Duration // ids, and when Settle had returned
	written   time.Duration            // when the last write began that was acknowledged
}

func killOne(t *testing.T, dir string, round int) killed {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), crashDir+"="+dir, fmt.Sprintf("%s=%d", crashRound, round))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	seen := killed{acked: make(map[string]bool), delivered: make(map[string]bool), settled: make(map[string]time.Duration)}
	lines := bufio.NewReader(out)
	var end *time.Timer
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // cut short by the kill: it was not said
		}
		var what, id string
		var at time.Duration
		if _, err := fmt.Sscan(line, &what, &at, &id); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		switch what {
		case "acked":
			seen.acked[id] = true
			seen.written = max(seen.written, at)
		case "delivered":
			seen.delivered[id] = true
		case "settled":
			seen.settled[id] = at
		default:
			t.Errorf("the process says: %s", line)
		}
		if end == nil && what == "delivered" {
			if _, err := journal.Open(dir, nil); !errors.Is(err, journal.ErrLocked) {
				t.Errorf("opened by a second process: %v, want %v", err, journal.ErrLocked)
			}
			end = time.AfterFunc(time.Duration(rand.IntN(900))*time.Millisecond, func() {
				if err := cmd.Process.Kill(); err != nil {
					t.Error(err)
				}
			})
		}
	}
	err = cmd.Wait()
	if end == nil {
		t.Fatalf("the process ended before it did anything: %v", err)
	}
	return seen
}

// beKilled writes and settles until the process ends. What it says on stdout has happened
// when it is read: that an event was acknowledged, with the time when its write began;
// that one was delivered and is about to be settled; and that it was settled.
func beKilled(t *testing.T, dir, round string) {
	j := mustOpen(t, dir, nil)
	ctx := context.Background()
	c, err := j.Cursor(ctx, "c", &sinks.CursorOptions{From: sinks.Oldest()})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	var mu sync.Mutex
	say := func(what string, at time.Duration, ids ...string) {
		var b strings.Builder
		for _, id := range ids {
			fmt.Fprintf(&b, "%s %d %s\n", what, at, id)
		}
		mu.Lock()
		defer mu.Unlock()
		if _, err := io.WriteString(os.Stdout, b.String()); err != nil {
			os.Exit(1)
		}
	}
	for w := range crashWriters {
		go func() {
			for n := 0; ; {
				batch := make([]*notifications.Event, 1+rand.IntN(3))
				ids := make([]string, len(batch))
				for i := range batch {
					ids[i] = fmt.Sprintf("%s-%d-%06d", round, w, n)
					batch[i] = &notifications.Event{ID: ids[i], Action: "push", Repository: fmt.Sprintf("team/app-%d", w), Tag: strings.Repeat("x", rand.IntN(600))}
					n++
				}
				began := time.Since(start)
				if err := j.Write(ctx, batch); err != nil {
					say("failed", began, strconv.Quote(err.Error()))
					os.Exit(1)
				}
				say("acked", began, ids...)
			}
		}()
	}
	into := make([]sinks.Delivery, 16)
	for {
		n, err := c.Claim(ctx, into)
		if err != nil {
			os.Exit(1)
		}
		ends := make([]sinks.Settlement, n)
		ids := make([]string, n)
		for i, d := range into[:n] {
			ids[i] = d.Event.ID
			ends[i] = sinks.Settlement{Sequence: d.Sequence, Outcome: sinks.Delivered}
			if rand.IntN(50) == 0 {
				ends[i].Outcome, ends[i].Dead = sinks.DeadLettered, &sinks.DeadLetter{Reason: sinks.DeadRejected, Event: d.Event}
			}
		}
		rand.Shuffle(n, func(a, b int) { ends[a], ends[b] = ends[b], ends[a] })
		say("delivered", time.Since(start), ids...)
		if err := c.Settle(ends...); err != nil {
			os.Exit(1)
		}
		say("settled", time.Since(start), ids...)
	}
}

// checkKilled looks at what was stored from sequence from on, and returns where the next
// round begins.
func checkKilled(t *testing.T, dir string, from uint64, seen killed) (next uint64) {
	t.Helper()
	report, err := journal.Verify(context.Background(), dir)
	if err != nil || !report.OK() {
		t.Fatalf("verify: %v, %q", err, report.Problems)
	}
	j := mustOpen(t, dir, nil)
	defer mustShutdown(t, j)

	stored := make(map[string]bool)
	newest := make(map[string]string) // repository -> id
	all := drain(t, j, "check", &sinks.CursorOptions{From: sinks.AtSequence(from), To: report.Last})
	next = from
	for _, d := range all {
		if d.Sequence != next {
			t.Errorf("event %d after event %d", d.Sequence, next-1)
		}
		next++
		if d.Event.ID <= newest[d.Event.Repository] {
			t.Errorf("event %s of %s after %s", d.Event.ID, d.Event.Repository, newest[d.Event.Repository])
		}
		newest[d.Event.Repository] = d.Event.ID
		stored[d.Event.ID] = true
	}
	for id := range seen.acked {
		if !stored[id] {
			t.Errorf("event %s was acknowledged and is lost", id)
		}
	}
	again := make(map[string]bool)
	var last uint64
	for _, d := range drain(t, j, "c", &sinks.CursorOptions{To: report.Last}) {
		if d.Sequence <= last {
			t.Errorf("claimed %d after %d", d.Sequence, last)
		}
		last = d.Sequence
		again[d.Event.ID] = true
		// A commit that is known to have been made, and to have begun late enough, had it;
		// how long the machine took for that commit does not matter.
		if at, ok := seen.settled[d.Event.ID]; ok && at+settlePromise < seen.written {
			t.Errorf("event %s is repeated, and was settled %v before an event that is stored was written", d.Event.ID, seen.written-at)
		}
	}
	for id := range stored {
		if !seen.delivered[id] && !again[id] {
			t.Errorf("event %s was skipped", id)
		}
	}
	checkTotals(t, j, "c")
	return next
}

// drain claims and settles everything that a cursor has.
func drain(t *testing.T, j *journal.Journal, name string, opts *sinks.CursorOptions) (all []sinks.Delivery) {
	t.Helper()
	c, err := j.Cursor(context.Background(), name, opts)
	if err != nil {
		t.Fatal(err)
	}
	into := make([]sinks.Delivery, 1000)
	for {
		n, err := c.Claim(context.Background(), into)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range into[:n] {
			all = append(all, d)
			if err := c.Settle(sinks.Settlement{Sequence: d.Sequence, Outcome: sinks.Delivered}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if name != "c" {
		if err := j.DeleteCursor(context.Background(), name); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// checkTotals checks that dead letters are as many as their total says: mark and letter
// are durable together.
func checkTotals(t *testing.T, j *journal.Journal, name string) {
	t.Helper()
	infos, err := j.CursorInfos(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	counts, err := j.DeadCount(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		if info.Name == name && info.Totals[sinks.DeadLettered] != counts[sinks.DeadRejected] {
			t.Errorf("%d dead letters, %d settled as dead", counts[sinks.DeadRejected], info.Totals[sinks.DeadLettered])
		}
	}
}
