package main

import (
	"context"
	"errors"
	"io"
	"testing"
)

func TestReadLineInterrupted(t *testing.T) {
	in, typed := io.Pipe()
	defer typed.Close() // ends the goroutine that reads
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if line, err := readLine(ctx, in); !errors.Is(err, context.Canceled) {
		t.Errorf("got %q, %v", line, err)
	}
}
