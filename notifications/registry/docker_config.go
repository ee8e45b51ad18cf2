package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"

	orascredentials "oras.land/oras-go/v2/registry/remote/credentials"
)

// helperTimeout is how long a credential helper may take; it may have to ask a person.
const helperTimeout = 30 * time.Second

// DockerConfig finds credentials where "docker login" leaves them: in the auths of a
// configuration file, or with the helpers that its credHelpers and credsStore name, which
// are run as "docker-credential-NAME get" for at most 30 s. file is its name; "" is the
// user's own, $DOCKER_CONFIG/config.json or ~/.docker/config.json, which need not exist.
// The file is read again when it has changed.
//
// A helper is a program that the configuration names: whoever may write the file may run
// programs as us.
//
// Errors of the Credentials name the file and the host, never what the file holds.
func DockerConfig(file string) Credentials {
	config := &dockerConfig{file: file, needed: file != ""}
	return config.credential
}

// A dockerConfig is the configuration file as it was last read.
type dockerConfig struct {
	needed bool // it has to exist

	mu       sync.Mutex
	file     string
	modified time.Time
	size     int64
	store    *orascredentials.DynamicStore
}

func (d *dockerConfig) credential(ctx context.Context, host string) (Credential, error) {
	store, err := d.current()
	if err != nil {
		return Credential{}, err
	}
	bounded, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	found, err := store.Get(bounded, orascredentials.ServerAddressFromHostname(host))
	if err != nil {
		return Credential{}, fmt.Errorf("reading %s for %s: %w", store.ConfigPath(), host, withoutContent(bounded, err))
	}
	return Credential{
		Username:     found.Username,
		Password:     found.Password,
		RefreshToken: found.RefreshToken,
		AccessToken:  found.AccessToken,
	}, nil
}

// current returns the configuration, read again if the file is another.
func (d *dockerConfig) current() (*orascredentials.DynamicStore, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == "" {
		store, err := orascredentials.NewStoreFromDocker(orascredentials.StoreOptions{})
		if err != nil {
			return nil, fmt.Errorf("reading docker's configuration: %w", withoutContent(context.Background(), err))
		}
		d.file = store.ConfigPath()
	}
	info, err := os.Stat(d.file)
	switch {
	case err != nil && (d.needed || !errors.Is(err, os.ErrNotExist)):
		return nil, fmt.Errorf("reading docker's configuration: %w", err)
	case err != nil: // there is none, which is known, too
		d.modified, d.size = time.Time{}, 0
	case d.store != nil && info.ModTime().Equal(d.modified) && info.Size() == d.size:
		return d.store, nil
	default:
		d.modified, d.size = info.ModTime(), info.Size()
	}
	store, err := orascredentials.NewStore(d.file, orascredentials.StoreOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", d.file, withoutContent(context.Background(), err))
	}
	d.store = store
	return store, nil
}

// withoutContent keeps of an error what cannot quote a secret: a decoder shows what it
// could not decode, a helper prints what it likes.
func withoutContent(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if missing := (*exec.Error)(nil); errors.As(err, &missing) {
		return missing
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return fmt.Errorf("the credential helper: %s", exit.ProcessState)
	}
	if path := (*os.PathError)(nil); errors.As(err, &path) {
		return path
	}
	return errors.New("it is not what docker writes, or its credential helper refused")
}
