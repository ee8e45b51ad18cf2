package auth

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/internal/answer"
)

const (
	maxTokenBody = 128 << 10 // bytes
	minLifetime  = time.Minute
	maxLifetime  = 24 * time.Hour
	// earlier is how long before its end a token is not used any more: it has to arrive.
	earlier = 5 * time.Second
)

// token returns a token that allows what is needed, from the cache or from its server.
func (t *Transport) token(req *http.Request, c *answer.Challenge, credential Credential, need scopeSet) (grant, error) {
	realm, err := t.realm(req.URL, c.Params["realm"])
	if err != nil {
		return grant{}, err
	}
	key := tokenKey{
		origin:     answer.Origin(req.URL),
		realm:      realm.String(),
		service:    c.Params["service"],
		credential: credential.hash(),
	}
	if held, found := t.tokens.get(key, need, time.Now()); found {
		return grant{key: key, token: held}, nil
	}
	fetched, err := t.fetches.do(req.Context(), key.with(need), func(ctx context.Context) (token, error) {
		if held, found := t.tokens.get(key, need, time.Now()); found { // another's, since we looked
			return held, nil
		}
		return t.fetch(ctx, req.URL, realm, key, credential, need)
	})
	if err != nil {
		return grant{}, err
	}
	return grant{key: key, token: fetched, fresh: true}, nil
}

// fetch asks a token server and keeps what it says.
func (t *Transport) fetch(ctx context.Context, server, realm *url.URL, key tokenKey, credential Credential, need scopeSet) (token, error) {
	bounded, cancel := context.WithTimeoutCause(ctx, t.opts.AuthTimeout, fmt.Errorf("no answer from %s in %v", realm.Host, t.opts.AuthTimeout))
	defer cancel()
	fetched, err := t.ask(bounded, server, realm, key.service, credential, need.entries())
	if err != nil {
		if errors.Is(err, registry.ErrUnauthorized) || errors.Is(err, registry.ErrDenied) {
			t.forgetCredential(server.Host)
		}
		if ctx.Err() == nil && bounded.Err() != nil {
			err = context.Cause(bounded)
		}
		return token{}, fmt.Errorf("getting a token: %w", err)
	}
	fetched.scopes = need
	t.tokens.put(key, fetched, time.Now())
	return fetched, nil
}

// ask makes the request that the credential allows: by POST with a refresh token
// (https://distribution.github.io/distribution/spec/auth/oauth/), by GET with a password
// or as nobody (https://distribution.github.io/distribution/spec/auth/token/), and by GET
// where a server has no POST.
func (t *Transport) ask(ctx context.Context, server, realm *url.URL, service string, credential Credential, scopes []string) (token, error) {
	if err := t.checkRealm(ctx, server, realm); err != nil {
		return token{}, err
	}
	password := credential.Password
	if credential.RefreshToken != "" {
		fetched, err := t.askOAuth(ctx, realm, service, credential.RefreshToken, scopes)
		var refusal *registry.Error
		if !errors.As(err, &refusal) || refusal.Status != http.StatusNotFound && refusal.Status != http.StatusMethodNotAllowed {
			return fetched, err
		}
		if password == "" {
			password = credential.RefreshToken
		}
	}
	u := *realm
	query := u.Query()
	if service != "" {
		query.Set("service", service)
	}
	for _, scope := range scopes {
		query.Add("scope", scope)
	}
	if credential.Username != "" {
		query.Set("account", credential.Username)
	}
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return token{}, err
	}
	authorization := ""
	if credential.Username != "" || password != "" {
		authorization = basic(credential.Username, password)
	}
	return t.receive(req, authorization)
}

func (t *Transport) askOAuth(ctx context.Context, realm *url.URL, service, refresh string, scopes []string) (token, error) {
	form := url.Values{
		"grant_type":    {"refresh_token"},
		"client_id":     {t.opts.UserAgent},
		"service":       {service},
		"scope":         {strings.Join(scopes, " ")},
		"refresh_token": {refresh},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, realm.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return token{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return t.receive(req, "")
}

// receive reads a token server's answer. It follows no redirects: they would take the
// credential along.
func (t *Transport) receive(req *http.Request, authorization string) (token, error) {
	resp, err := t.send(req, newPayload(req), authorization)
	if err != nil {
		return token{}, fmt.Errorf("asking %s: %w", answer.Shown(req.URL), err)
	}
	resp.Request = req
	if resp.StatusCode != http.StatusOK {
		return token{}, registry.ErrorFrom(resp)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxTokenBody+1))
	switch {
	case err != nil:
		return token{}, fmt.Errorf("asking %s: %w", answer.Shown(req.URL), err)
	case len(body) > maxTokenBody:
		return token{}, fmt.Errorf("%w: the answer of %s", registry.ErrTooLarge, answer.Shown(req.URL))
	}
	var reply struct {
		Token       string    `json:"token"`
		AccessToken string    `json:"access_token"`
		ExpiresIn   float64   `json:"expires_in"` // seconds
		IssuedAt    time.Time `json:"issued_at"`
	}
	if err := json.Unmarshal(body, &reply); err != nil {
		return token{}, fmt.Errorf("%s answered something that is not a token", answer.Shown(req.URL))
	}
	value := reply.Token
	if value == "" {
		value = reply.AccessToken
	}
	if value == "" {
		return token{}, fmt.Errorf("%s answered without a token", answer.Shown(req.URL))
	}
	return token{value: value, expires: expiry(reply.ExpiresIn, reply.IssuedAt, time.Now())}, nil
}

// expiry is when to stop using a token. A server's clock that is not ours shows as an
// issue in the future, or as one so long ago that the token would be over.
func expiry(seconds float64, issued, now time.Time) time.Time {
	lifetime := minLifetime
	if seconds > minLifetime.Seconds() {
		lifetime = maxLifetime
		if seconds < maxLifetime.Seconds() {
			lifetime = time.Duration(seconds * float64(time.Second))
		}
	}
	if issued.After(now) || !issued.Add(lifetime).After(now) {
		issued = now
	}
	return issued.Add(lifetime - earlier)
}

// A token is what a server gave us for some scopes.
type token struct {
	value   string
	scopes  scopeSet
	expires time.Time
}

// A tokenKey is what a token was given to and by whom, but for the scopes.
type tokenKey struct {
	origin, realm, service string
	credential             [sha256.Size]byte
}

// with is the key for some scopes.
func (k tokenKey) with(scopes scopeSet) string {
	return fmt.Sprintf("%q %q %q %x %q", k.origin, k.realm, k.service, k.credential, scopes.entries())
}
