package registrytest

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd" // registers itself
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem" // for Options.Directory
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"   // for all others
	"github.com/sirupsen/logrus"
	"golang.org/x/crypto/bcrypt"
)

// Auth is how a registry wants its clients to authenticate.
type Auth string

// The ways of distribution.
const (
	None     Auth = ""
	Htpasswd Auth = "htpasswd"
	Token    Auth = "token"
)

// The user that every registry with authentication knows, and who may do everything.
const (
	Username = "alice"
	Password = "correct horse"
)

// Options says what a registry is like. The zero value is one that keeps its content in
// memory and knows everybody.
type Options struct {
	Auth      Auth
	Users     map[string]string // more users, by name, and their passwords
	Tokens    TokenOptions      // with Token
	Directory string            // of the content; "" keeps it in memory
	TLS       bool              // served by https, with a certificate that only Registry.Client trusts
	// Wrap returns the handler to serve in place of the registry's, nil for the registry's
	// own. It sees the requests for tokens, too.
	Wrap func(registry http.Handler) http.Handler
	// Configure changes distribution's configuration before the registry is made.
	Configure func(*configuration.Configuration)
}

// A Registry is CNCF distribution v3 on a loopback port.
type Registry struct {
	// Tokens is the registry's token server, nil unless it was made with Token.
	Tokens *TokenServer

	server  *httptest.Server
	app     *handlers.App
	scratch string
}

// Start opens a registry that is closed when the test ends. A problem ends the test.
func Start(tb testing.TB, opts *Options) *Registry {
	tb.Helper()
	r, err := Open(opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := r.Close(); err != nil {
			tb.Error(err)
		}
	})
	return r
}

// Open starts a registry; nil options are the zero value's. Close ends it.
func Open(opts *Options) (*Registry, error) {
	o := Options{}
	if opts != nil {
		o = *opts
	}
	r := &Registry{}
	var err error
	if r.scratch, err = os.MkdirTemp("", "registrytest-"); err != nil {
		return nil, fmt.Errorf("starting a registry: %w", err)
	}
	mux := http.NewServeMux()
	var handler http.Handler = mux
	if o.Wrap != nil {
		handler = o.Wrap(mux)
	}
	r.server = httptest.NewUnstartedServer(handler)
	if err := r.open(mux, o); err != nil {
		return nil, fmt.Errorf("starting a registry: %w", err)
	}
	if o.TLS {
		r.server.StartTLS()
	} else {
		r.server.Start()
	}
	return r, nil
}

func (r *Registry) open(mux *http.ServeMux, o Options) error {
	config := &configuration.Configuration{}
	config.Log.AccessLog.Disabled = true
	config.HTTP.Secret = rand.Text() // signs the state of upload sessions
	config.Catalog.MaxEntries = 1000
	config.Storage = configuration.Storage{
		"delete":      {"enabled": true},
		"redirect":    {"disable": true},
		"maintenance": {"uploadpurging": map[any]any{"enabled": false}},
	}
	if o.Directory == "" {
		config.Storage["inmemory"] = configuration.Parameters{}
	} else {
		config.Storage["filesystem"] = configuration.Parameters{"rootdirectory": o.Directory}
	}
	if err := r.authenticate(config, mux, o); err != nil {
		return err
	}
	if o.Configure != nil {
		o.Configure(config)
	}
	logrus.SetOutput(io.Discard)
	//lint:ignore SA1029 the key is distribution's
	ctx := context.WithValue(context.Background(), "instance.id", "registrytest")
	r.app = handlers.NewApp(ctx, config)
	mux.Handle("/", r.app)
	return nil
}

// authenticate configures how the registry knows its clients.
func (r *Registry) authenticate(config *configuration.Configuration, mux *http.ServeMux, o Options) error {
	users := map[string]string{Username: Password}
	for name, password := range o.Users {
		users[name] = password
	}
	switch o.Auth {
	case None:
	case Htpasswd:
		file, err := r.htpasswd(users)
		if err != nil {
			return err
		}
		config.Auth = configuration.Auth{"htpasswd": {"realm": "a registry, of tests", "path": file}}
	case Token:
		var err error
		if r.Tokens, err = newTokenServer(users, o.Tokens); err != nil {
			return err
		}
		if err := registerTokenAccess(); err != nil {
			return err
		}
		realm := o.Tokens.Realm
		switch {
		case realm == "" && o.TLS:
			realm = "https://" + r.Host() + TokenPath
		case realm == "":
			realm = "http://" + r.Host() + TokenPath
		}
		config.Auth = configuration.Auth{tokenAccessName: {"controller": &tokenAccess{realm, &r.Tokens.key.PublicKey}}}
		mux.Handle(TokenPath, r.Tokens)
	default:
		return fmt.Errorf("no such authentication: %q", o.Auth)
	}
	return nil
}

// htpasswd writes a file of users and returns its name.
func (r *Registry) htpasswd(users map[string]string) (string, error) {
	var lines strings.Builder
	for name, password := range users {
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&lines, "%s:%s\n", name, hash)
	}
	file := filepath.Join(r.scratch, "htpasswd")
	return file, os.WriteFile(file, []byte(lines.String()), 0o600)
}

// Host is the registry's host:port, known before the registry is served.
func (r *Registry) Host() string { return r.server.Listener.Addr().String() }

// URL is the registry's base URL, without a slash at its end.
func (r *Registry) URL() string { return r.server.URL }

// Client returns a client that trusts the registry's certificate.
func (r *Registry) Client() *http.Client { return r.server.Client() }

// Close ends the registry and closes its connections.
func (r *Registry) Close() error {
	r.server.CloseClientConnections()
	r.server.Close()
	err := r.app.Shutdown()
	if rerr := os.RemoveAll(r.scratch); err == nil {
		err = rerr
	}
	return err
}
