package journal_test

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
	"github.com/regcast/regcast/sinks/journal"
)

// TestNotices: what retention and bounds cut with every commit is logged when it begins,
// then once a minute as a sum, and at the end: no more lines, and nothing untold.
func TestNotices(t *testing.T) {
	var log logged
	var evicted uint64
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		j := mustOpen(t, dir, &journal.Options{RetentionBytes: 8 << 10, QuarantineBytes: 2 << 10, Logger: log.logger()})
		cursorOf(t, j, "slow", nil)
		for n := range 100 {
			bad := []notifications.Quarantined{{Reason: notifications.ReasonSyntax, Body: make([]byte, 500)}}
			if _, err := j.Record(ctx, notificationstest.Pushes(n, 1, "team/a"), bad); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		evicted = infoOf(t, j, "slow").Totals[sinks.Evicted]
		mustShutdown(t, j)
	})
	for what, c := range map[string]struct {
		line string
		min  uint64
		max  uint64
	}{
		"evicted":     {`level=ERROR msg="retention_bytes reached.*cursor=slow events=(\d+)`, evicted, evicted},
		"quarantined": {`level=ERROR msg="the oldest entries.*table=quarantine .*removed=(\d+)`, 90, 100},
	} {
		var sum uint64
		lines := regexp.MustCompile(c.line).FindAllStringSubmatch(log.String(), -1)
		for _, m := range lines {
			n, err := strconv.ParseUint(m[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += n
		}
		if len(lines) != 3 {
			t.Errorf("%s: %d lines in 100 s, want the first, one after a minute and the last", what, len(lines))
		}
		if sum == 0 || sum < c.min || sum > c.max {
			t.Errorf("%s: the log says %d, want %d to %d", what, sum, c.min, c.max)
		}
	}
	if t.Failed() {
		t.Log(log.String())
	}
}

// A chunk that cannot be indexed is complained of once.
func TestDamageIsLoggedOnce(t *testing.T) {
	dir := filled(t, 50)
	sqlExec(t, dir, "UPDATE chunk SET body = x'00' WHERE first = 21; UPDATE indexed SET last = 0; DELETE FROM by_id; DELETE FROM by_repository; DELETE FROM repository")
	var log logged
	synctest.Test(t, func(t *testing.T) {
		j := mustOpen(t, dir, &journal.Options{Logger: log.logger()})
		time.Sleep(2 * time.Second)
		mustShutdown(t, j)
	})
	if n := strings.Count(log.String(), `msg="build indexes"`); n != 1 {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
}
