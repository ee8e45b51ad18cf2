package registry_test

import (
	"iter"
	"testing"
	"time"
)

// soon is a backoff for tests that wait for real.
func soon(int) time.Duration { return time.Millisecond }

func collect(t testing.TB, names iter.Seq2[string, error]) []string {
	t.Helper()
	var all []string
	for name, err := range names {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, name)
	}
	return all
}
