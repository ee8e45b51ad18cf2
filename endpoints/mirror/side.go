package mirror

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/auth"
)

// A side is one of the two registries.
type side struct {
	name    string // source or target
	shown   string // its URL
	client  *registry.Client
	carrier *endpoints.Carrier
	served  atomic.Bool // it has ever answered with a manifest
}

// maxRetryAfter is the longest wait that an attempt itself waits when a registry asks for
// one. Any other is the endpoint's: it keeps all copies from asking.
const maxRetryAfter = time.Second

// open makes the client. Errors: all that is wrong with the options, joined.
func (s *side) open(name string, r *Registry, o *Options) error {
	s.name = name
	s.shown = strings.TrimSuffix(r.URL, "/")
	conf := o.Endpoint
	conf.TLS = r.TLS
	var err error
	if s.carrier, err = endpoints.NewCarrier(&conf); err != nil {
		return ofSide(name, err)
	}
	userAgent := "regcast"
	if conf.Version != "" {
		userAgent += "/" + conf.Version
	}
	s.client, err = registry.NewClient(r.URL, &registry.ClientOptions{
		PageSize: 1, // who lists tags wants to know whether there is the repository
		Transport: auth.NewTransport(s.carrier, &auth.Options{
			Credentials:   s.credentials(r.Credentials),
			TokenHosts:    o.TokenHosts,
			Proxy:         s.carrier.Proxy,
			MaxRetryAfter: maxRetryAfter,
			UserAgent:     userAgent,
		}),
	})
	if err != nil {
		return &endpoints.OptionError{Option: name, Err: err}
	}
	return nil
}

// ofSide names the options of a side as the configuration does. Those that both sides
// share are the source's to report.
func ofSide(side string, err error) error {
	var own []error
	for _, err := range members(err) {
		if option, ok := errors.AsType[*endpoints.OptionError](err); ok {
			switch {
			case strings.HasPrefix(option.Option, "tls"):
				err = &endpoints.OptionError{Option: side + "_" + option.Option, Err: option.Err}
			case side == "target":
				continue
			}
		}
		own = append(own, err)
	}
	return errors.Join(own...)
}

// A credentialError says that a credential could not be had, which is nobody's answer.
type credentialError struct{ err error }

func (e *credentialError) Error() string { return e.err.Error() }

func (e *credentialError) Unwrap() error { return e.err }

func (s *side) credentials(inner auth.Credentials) auth.Credentials {
	if inner == nil {
		return auth.Anonymous
	}
	return func(ctx context.Context, host string) (auth.Credential, error) {
		c, err := inner(ctx, host)
		if err != nil {
			return auth.Credential{}, &credentialError{err}
		}
		return c, nil
	}
}

// find resolves a tag or a digest; found is false if the registry says that it has no
// such thing. A 404 that does not say so in the words of a registry is an error: what is
// gone for good must not be concluded from the answer of a server that happens to be there.
func (s *side) find(ctx context.Context, repository, ref string) (desc v1.Descriptor, found bool, err error) {
	desc, err = s.client.Resolve(ctx, repository, ref)
	if errors.Is(err, registry.ErrNotFound) { // an answer to HEAD has no words
		desc, _, err = s.client.Manifest(ctx, repository, ref, nil)
	}
	if isAbsent(err) {
		return v1.Descriptor{}, false, nil
	}
	if err != nil {
		return v1.Descriptor{}, false, s.failed(err)
	}
	s.served.Store(true)
	return desc, true, nil
}

// isAbsent tells whether a registry said that it has no such manifest or repository.
func isAbsent(err error) bool {
	answer, ok := errors.AsType[*registry.Error](err)
	return ok && errors.Is(answer, registry.ErrNotFound) && len(answer.Details) > 0 && answer.Details[0].Code != ""
}

// failed notes on which side an error happened; nil stays nil.
func (s *side) failed(err error) error {
	if err == nil {
		return nil
	}
	return &sideError{s, err}
}

// A sideError is an error that one of the registries caused.
type sideError struct {
	side *side
	err  error
}

// Error says what happened, and then what was asked.
func (e *sideError) Error() string {
	if unanswered, ok := e.err.(*url.Error); ok {
		return fmt.Sprintf("%s: %v (%s %s)", e.side.name, unanswered.Err, strings.ToUpper(unanswered.Op), unanswered.URL)
	}
	return e.side.name + ": " + e.err.Error()
}

func (e *sideError) Unwrap() error { return e.err }
