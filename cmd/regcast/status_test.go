package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"

	"github.com/regcast/regcast/cmd/internal/client"
)

var errGone = errors.New("connection\nrefused")

// watch watches what show shows for five seconds and returns what came out of it.
func watch(t *testing.T, show func(nth int) error) (stdout, stderr string, err error) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		var out, log bytes.Buffer
		cmd := new(cobra.Command)
		cmd.SetContext(ctx)
		cmd.SetOut(&out)
		cmd.SetErr(&log)
		nth := 0
		err = watchStatus(cmd, func() error {
			nth++
			fmt.Fprintln(&out, "status", nth)
			return show(nth)
		})
		stdout, stderr = out.String(), log.String()
	})
	return stdout, stderr, err
}

// A dispatcher that goes away is waited for.
func TestWatch(t *testing.T) {
	stdout, stderr, err := watch(t, func(nth int) error {
		if nth == 2 {
			return errGone
		}
		return nil
	})
	want := "2000-01-01T00:00:00Z\nstatus 1\n\n2000-01-01T00:00:02Z\nstatus 2\n\n2000-01-01T00:00:04Z\nstatus 3\n"
	if stdout != want || stderr != "connection\ufffdrefused\n" || err != nil {
		t.Errorf("got %q, %q, %v", stdout, stderr, err)
	}
}

func TestWatchGivesUp(t *testing.T) {
	refused := &client.Error{Status: http.StatusUnauthorized, Message: "no"}
	for name, show := range map[string]func(int) error{
		"when the dispatcher is not there at first": func(int) error { return errGone },
		"when it lets us in no more": func(nth int) error {
			if nth == 1 {
				return nil
			}
			return fmt.Errorf("%w", refused)
		},
	} {
		if stdout, _, err := watch(t, show); err == nil {
			t.Errorf("%s: goes on: %q", name, stdout)
		}
	}
}
