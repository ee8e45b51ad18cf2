package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	orascredentials "oras.land/oras-go/v2/registry/remote/credentials"
)

// DockerConfig finds credentials where "docker login" leaves them: in the auths of a
// configuration file, or with the helpers that its credHelpers and credsStore name, which
// are run as "docker-credential-NAME get" for at most 30 s and read up to 64 KiB. file is
// its name; "" is the user's own, $DOCKER_CONFIG/config.json or ~/.docker/config.json,
// which need not exist. The file is read again when it has changed.
//
// A helper is a program that the configuration names: whoever may write the file may run
// programs as us.
//
// Errors of the Credentials name the file and the host, never what the file holds.
func DockerConfig(file string) Credentials {
	config := &dockerConfig{file: file, needed: file != ""}
	return config.credential
}

// CheckDockerConfig says why a file is of no use to [DockerConfig]: it cannot be read, is
// not what docker writes, or names neither a registry nor a helper. No helper is run, and
// the error holds nothing of what the file does.
func CheckDockerConfig(file string) error {
	store, err := readDockerStore(file)
	switch {
	case err != nil:
		return withoutContent(err)
	case len(store.Auths) == 0 && store.CredsStore == "" && len(store.CredHelpers) == 0:
		return errors.New("it has neither auths nor a credential helper")
	}
	return nil
}

// A dockerConfig is the configuration file as it was last read.
type dockerConfig struct {
	needed bool // it has to exist

	mu       sync.Mutex
	file     string
	modified time.Time
	size     int64
	store    *dockerStore // nil until the file was read
}

// A dockerStore is what one state of the file says. Its auths are oras' to read, and
// immutable here.
type dockerStore struct {
	auths       *orascredentials.FileStore
	Auths       map[string]json.RawMessage `json:"auths"`
	CredsStore  string                     `json:"credsStore"`
	CredHelpers map[string]string          `json:"credHelpers"`
}

func (d *dockerConfig) credential(ctx context.Context, host string) (Credential, error) {
	store, file, err := d.current()
	if err != nil {
		return Credential{}, fmt.Errorf("reading docker's configuration: %w", err)
	}
	address := orascredentials.ServerAddressFromHostname(host)
	helper := store.CredHelpers[address]
	if helper == "" {
		helper = store.CredsStore
	}
	if helper != "" {
		found, err := askHelper(ctx, helper, address)
		if err != nil {
			return Credential{}, fmt.Errorf("asking the credential helper %q, which %s names, for %s: %w", helper, file, host, err)
		}
		return found, nil
	}
	if store.auths == nil { // there is no file
		return Credential{}, nil
	}
	found, err := store.auths.Get(ctx, address)
	if err != nil {
		return Credential{}, fmt.Errorf("reading %s for %s: %w", file, host, withoutContent(err))
	}
	return Credential{
		Username:     found.Username,
		Password:     found.Password,
		RefreshToken: found.RefreshToken,
		AccessToken:  found.AccessToken,
	}, nil
}

// current returns the configuration, read again if the file is another.
func (d *dockerConfig) current() (*dockerStore, string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == "" {
		own, err := orascredentials.NewStoreFromDocker(orascredentials.StoreOptions{})
		if err != nil {
			return nil, "", withoutContent(err)
		}
		d.file = own.ConfigPath()
	}
	info, err := os.Stat(d.file)
	switch {
	case err != nil && !d.needed && errors.Is(err, os.ErrNotExist):
		d.store = nil
		return &dockerStore{}, d.file, nil
	case err != nil:
		return nil, "", err
	case d.store != nil && info.ModTime().Equal(d.modified) && info.Size() == d.size:
		return d.store, d.file, nil
	}
	store, err := readDockerStore(d.file)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", d.file, withoutContent(err))
	}
	d.store, d.modified, d.size = store, info.ModTime(), info.Size()
	return store, d.file, nil
}

func readDockerStore(file string) (*dockerStore, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	store := &dockerStore{}
	if err := json.Unmarshal(text, store); err != nil && len(bytes.TrimSpace(text)) > 0 {
		return nil, err
	}
	store.auths, err = orascredentials.NewFileStore(file)
	return store, err
}

// withoutContent keeps of an error what cannot quote a secret: a decoder shows what it
// could not decode.
func withoutContent(err error) error {
	if path := (*os.PathError)(nil); errors.As(err, &path) {
		return path
	}
	return errors.New("it is not what docker writes")
}
