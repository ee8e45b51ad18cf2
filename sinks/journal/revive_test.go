package journal_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
	"github.com/regcast/regcast/sinks/journal"
)

// TestKillRevive kills a process that buries, revives and replays at full speed. Of each
// four events one is revived and one replayed.
func TestKillRevive(t *testing.T) {
	if dir := os.Getenv(crashDir); dir != "" {
		reviveAndReplay(t, dir)
		return
	}
	if testing.Short() {
		t.Skip("starts and kills processes for seconds")
	}
	t.Parallel()
	dir := t.TempDir()
	drained := make(map[uint64]bool) // by the check itself
	for round := range 4 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKillRevive$")
		cmd.Env = append(os.Environ(), crashDir+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said := make(map[uint64]bool) // sequences whose dead letters went
		var end *time.Timer
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var sequence uint64
			if n, _ := fmt.Sscanf(lines.Text(), "gone %d.", &sequence); n == 1 {
				said[sequence] = true
			}
			if end == nil && len(said) > 0 {
				end = time.AfterFunc(time.Duration(rand.IntN(400))*time.Millisecond, func() {
					if err := cmd.Process.Kill(); err != nil {
						t.Error(err)
					}
				})
			}
		}
		if err := cmd.Wait(); end == nil {
			t.Fatalf("the process ended before it did anything: %v", err)
		}
		checkRevived(t, dir, said, drained)
		if t.Failed() {
			t.Fatalf("round %d, %d letters gone", round, len(said))
		}
	}
}

func reviveAndReplay(t *testing.T, dir string) {
	ctx := context.Background()
	j := mustOpen(t, dir, nil)
	must := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	c, err := j.Cursor(ctx, "c", nil)
	must(err)
	into := make([]sinks.Delivery, 20)
	settle := func(c sinks.Cursor, ds []sinks.Delivery, o sinks.Outcome) {
		for _, d := range ds {
			must(c.Settle(sinks.Settlement{Sequence: d.Sequence, Outcome: o}))
		}
	}
	gone := func(ds []sinks.Delivery) {
		for _, d := range ds {
			fmt.Printf("gone %d.\n", d.Sequence)
		}
	}
	for first := rand.IntN(1 << 40); ; first += 20 {
		must(j.Write(ctx, notificationstest.Pushes(first, 20, "team/a")))
		n, err := c.Claim(ctx, into)
		must(err)
		settle(c, into[:n], sinks.DeadLettered)
		var revive, replay []uint64
		for _, d := range into[:n] {
			switch d.Sequence % 4 {
			case 0:
				revive = append(revive, d.Sequence)
			case 1:
				replay = append(replay, d.Sequence)
			}
		}
		if len(revive) == 0 || len(replay) == 0 {
			continue // what a former process had left came alone
		}
		_, err = c.Revive(ctx, sinks.DeadQuery{Sequences: revive})
		must(err)
		n, err = c.Claim(ctx, into)
		must(err)
		gone(into[:n])
		settle(c, into[:n], sinks.Delivered)

		r, err := j.DeadCursor(ctx, "c~r", sinks.DeadQuery{Cursor: "c", Sequences: replay})
		must(err)
		n, err = r.Claim(ctx, into)
		must(err)
		settle(r, into[:n], sinks.Delivered)
		gone(into[:n])
		must(r.Close())
	}
}

// checkRevived checks that each event is either pending, or settled, and as dead only
// with a letter or after it was replayed.
func checkRevived(t *testing.T, dir string, said, drained map[uint64]bool) {
	t.Helper()
	report, err := journal.Verify(context.Background(), dir)
	if err != nil || !report.OK() {
		t.Fatalf("verify: %v, %q", err, report.Problems)
	}
	j := mustOpen(t, dir, nil)
	defer mustShutdown(t, j)
	list, err := j.DeadLetters(context.Background(), sinks.DeadQuery{Limit: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	letters := make(map[uint64]bool)
	for _, d := range list {
		letters[d.Sequence] = true
		if said[d.Sequence] {
			t.Errorf("the dead letter of event %d is there again", d.Sequence)
		}
	}
	dead := infoOf(t, j, "c").Totals[sinks.DeadLettered]
	for _, d := range drain(t, j, "c", &sinks.CursorOptions{To: report.Last}) {
		drained[d.Sequence] = true
		if letters[d.Sequence] {
			t.Errorf("event %d is pending and has a dead letter", d.Sequence)
		}
	}
	replayed := uint64(0)
	for s := uint64(1); s <= report.Last; s++ {
		if s%4 == 1 && !drained[s] && !letters[s] {
			replayed++
		}
	}
	if settled := replayed + uint64(len(letters)); dead != settled {
		t.Errorf("%d settled as dead, want %d letters and %d replayed", dead, len(letters), replayed)
	}
}
