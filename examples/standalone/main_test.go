package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestStandalone(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	t.Log("\n" + out.String())
	for line, n := range map[string]int{
		"audit  ← push   team/app         (PUT)": 3, // two layers and the configuration
		"audit  ← push   team/app:1.0     (PUT)": 1,
		"audit  ← push   scratch/try:1.0  (PUT)": 1,
		"deploy ← push   team/app:1.0     (PUT)": 1,
		"deploy ← push   scratch/try:1.0  (PUT)": 0,
		"deploy ← pull":                          0,
	} {
		if got := strings.Count(out.String(), line); got != n {
			t.Errorf("%q is there %d times, want %d", line, got, n)
		}
	}
}
