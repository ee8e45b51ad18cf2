package journal_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/regcast/regcast/sinks"
	"github.com/regcast/regcast/sinks/journal"
	"github.com/regcast/regcast/sinks/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEngine(t *testing.T) {
	t.Parallel()
	open := func(opts *journal.Options) func(*testing.T, string) sinks.Engine {
		return func(t *testing.T, dir string) sinks.Engine {
			j, err := journal.Open(dir, opts)
			if err != nil {
				t.Fatal(err)
			}
			return j
		}
	}
	sinktest.TestEngine(t, sinktest.EngineSuite{
		Open:      open(nil),
		OpenSmall: open(&journal.Options{RetentionBytes: 32 << 10}),
		Bubble:    true,
	})
}
