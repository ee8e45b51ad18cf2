package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/regcast/regcast/notifications/registry"
)

const (
	// helperTimeout is how long a credential helper may take; it may have to ask a person.
	helperTimeout = 30 * time.Second
	// helperDelay is how long a child of a helper that was ended may keep its output open.
	helperDelay     = time.Second
	maxHelperOutput = 64 << 10 // bytes
)

// askHelper runs a credential helper, by the protocol of
// https://github.com/docker/docker-credential-helpers#development. oras-go runs them, too,
// but waits for their children without end and reads without a bound.
func askHelper(ctx context.Context, name, address string) (Credential, error) {
	if strings.ContainsAny(name, `/\`) {
		return Credential{}, errors.New("its name is a path")
	}
	bounded, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	var out boundedBuffer
	cmd := exec.CommandContext(bounded, "docker-credential-"+name, "get")
	cmd.Stdin, cmd.Stdout, cmd.WaitDelay = strings.NewReader(address), &out, helperDelay
	err := cmd.Run()
	exit := (*exec.ExitError)(nil)
	switch {
	case bounded.Err() != nil:
		return Credential{}, context.Cause(bounded)
	case errors.As(err, &exit) && strings.Contains(out.b.String(), "credentials not found"):
		return Credential{}, nil
	case errors.As(err, &exit):
		return Credential{}, fmt.Errorf("it ended with %s", exit.ProcessState) // its output may hold a secret
	case err != nil:
		return Credential{}, err
	}
	var reply struct{ Username, Secret string }
	if json.Unmarshal(out.b.Bytes(), &reply) != nil {
		return Credential{}, errors.New("its answer is not JSON")
	}
	if reply.Username == "<token>" {
		return Credential{RefreshToken: reply.Secret}, nil
	}
	return Credential{Username: reply.Username, Password: reply.Secret}, nil
}

// A boundedBuffer refuses more than a helper has to say. It has no ReadFrom, which would
// go round the bound.
type boundedBuffer struct{ b bytes.Buffer }

func (b *boundedBuffer) Write(p []byte) (int, error) {
	if b.b.Len()+len(p) > maxHelperOutput {
		return 0, fmt.Errorf("%w: its output", registry.ErrTooLarge)
	}
	return b.b.Write(p)
}
