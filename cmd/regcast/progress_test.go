package main

import (
	"bytes"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestProgressWithoutTerminal(t *testing.T) {
	for total, want := range map[int]string{100: "sending: 20 of 100\n", -1: "sending: 20\n"} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			p := newProgress(&out, total, "beginning")
			p.add(10)
			if out.Len() > 0 {
				t.Errorf("said %q at once", out.String())
			}
			time.Sleep(progressEvery)
			p.describe("sending")
			p.add(10)
			p.add(10)
			p.finish()
			if got := out.String(); got != want {
				t.Errorf("said %q, want %q", got, want)
			}
		})
	}
}

// The null device is a character device, as a terminal is.
func TestProgressBar(t *testing.T) {
	out, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p := newProgress(out, 2, "sending")
	if p.bar == nil {
		t.Fatal("no bar")
	}
	p.describe("still sending")
	p.add(1)
	if got := p.bar.State().CurrentNum; got != 1 {
		t.Errorf("the bar shows %d, want 1", got)
	}
	p.finish()
}
