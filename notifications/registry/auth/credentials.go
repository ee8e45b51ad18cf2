package auth

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// A Credential says who we are to a registry. The zero value is nobody. It prints
// without its secrets.
type Credential struct {
	Username string
	Password string
	// RefreshToken gets tokens from a token server in place of a password; Docker's
	// configuration calls it identitytoken.
	RefreshToken string
	// AccessToken is sent as it is; Docker's configuration calls it registrytoken.
	AccessToken string
}

// String names the user alone.
func (c Credential) String() string {
	if c == (Credential{}) {
		return "nobody"
	}
	return fmt.Sprintf("%s:<secret>", c.Username)
}

// GoString is String, so that %#v shows no secret either.
func (c Credential) GoString() string { return c.String() }

func (c Credential) hash() [sha256.Size]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%q %q %q", c.Username, c.Password, c.RefreshToken))
}

// Credentials finds the credential for a registry by its host, with the port if the
// registry's URL has one. The zero Credential is for a registry that nothing is known
// of. It is called by many goroutines at once.
type Credentials func(ctx context.Context, host string) (Credential, error)

// Anonymous knows nothing of any registry.
func Anonymous(context.Context, string) (Credential, error) { return Credential{}, nil }

// StaticCredential knows one registry, whose URL or host is given: whatever sends us to
// another host does not get it.
func StaticCredential(registry string, c Credential) Credentials {
	if u, err := url.Parse(registry); err == nil && u.Host != "" {
		registry = u.Host
	}
	return func(_ context.Context, host string) (Credential, error) {
		if strings.EqualFold(host, registry) {
			return c, nil
		}
		return Credential{}, nil
	}
}

// A heldCredential is one that we asked for.
type heldCredential struct {
	Credential
	until time.Time
}

// credential asks for the credential of a host, but not for each request: it may be a
// program's to answer.
func (t *Transport) credential(ctx context.Context, host string) (Credential, error) {
	if held, found := t.knownCredential(host); found {
		return held, nil
	}
	return t.asked.do(ctx, host, func(ctx context.Context) (Credential, error) {
		if held, found := t.knownCredential(host); found { // another's, since we looked
			return held, nil
		}
		c, err := t.opts.Credentials(ctx, host)
		if err != nil {
			return Credential{}, fmt.Errorf("finding the credential for %s: %w", host, err)
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if len(t.credentials) >= maxOrigins {
			clear(t.credentials)
		}
		t.credentials[host] = heldCredential{c, time.Now().Add(t.opts.CredentialAge)}
		return c, nil
	})
}

func (t *Transport) knownCredential(host string) (Credential, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	held, found := t.credentials[host]
	return held.Credential, found && time.Now().Before(held.until)
}

// forgetCredential makes the next request ask again.
func (t *Transport) forgetCredential(host string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.credentials, host)
}
