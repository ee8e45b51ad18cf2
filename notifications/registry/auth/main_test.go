package auth_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Nothing of ours goes on: no connection, no goroutine. Distribution never ends the
// broadcaster of its events.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/docker/go-events.(*Broadcaster).run"))
}
