package mirror_test

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

// The tests that are parallel wait, for registries that were made to fail, more than they
// compute: as many run at once on any machine. What -parallel says is parsed later and wins.
//
// Distribution never ends the broadcaster of its events.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/docker/go-events.(*Broadcaster).run"))
}
