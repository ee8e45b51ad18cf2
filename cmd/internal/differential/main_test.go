package differential_test

import (
	"bytes"
	"log"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	log.SetOutput(quiet{})
	os.Exit(m.Run())
}

// quiet is standard error, without the complaints of net/http about distribution, which
// answers twice when a client is gone.
type quiet struct{}

func (quiet) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("superfluous response.WriteHeader call")) {
		return len(p), nil
	}
	return os.Stderr.Write(p)
}
