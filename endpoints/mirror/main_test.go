package mirror_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Distribution never ends the broadcaster of its events.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/docker/go-events.(*Broadcaster).run"))
}
