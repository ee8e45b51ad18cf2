package config

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
)

// maxRetry is the longest wait between two attempts that makes sense: what is wrong for
// longer is for a person.
const maxRetry = 24 * time.Hour

func (d *decoder) endpoints(list []Endpoint) {
	names := map[string]int{}
	for i := range list {
		at := index("endpoint", i)
		d.name(at, list[i].Name, names, i)
		d.endpoint(at, &list[i])
	}
}

// endpoint checks the form of an endpoint; what statuses, headers, globs and certificates
// have to be like, those know who use them.
func (d *decoder) endpoint(at string, e *Endpoint) {
	d.oneOf(join(at, "kind"), e.Kind, KindWebhook, KindMirror)
	switch e.Kind {
	case KindMirror:
		d.mirror(at, e)
	case KindWebhook:
		d.webhook(at, e)
	}
	d.oneOf(join(at, "ordering"), e.Ordering, OrderRepository, OrderEndpoint, OrderNone)
	d.require(join(at, "concurrency"), e.Concurrency >= 1 && e.Concurrency <= 1024, "must be from 1 to 1024")
	d.require(join(at, "max_block"), e.MaxBlock >= time.Millisecond, "must be at least 1ms")
	d.oneOf(join(at, "on_block"), e.OnBlock, OnBlockPark, OnBlockHold, OnBlockDeadLetter)

	batch, retry := join(at, "batch"), join(at, "retry")
	d.require(join(batch, "max_events"), e.Batch.MaxEvents >= 1 && e.Batch.MaxEvents <= 10000, "must be from 1 to 10000")
	d.require(join(batch, "max_bytes"), e.Batch.MaxBytes >= KiB, "must be at least 1KiB")
	d.require(join(batch, "linger"), e.Batch.Linger >= 0 && e.Batch.Linger <= time.Minute, "must be from 0s to 1m")
	d.require(join(retry, "initial"), e.Retry.Initial >= time.Millisecond && e.Retry.Initial <= maxRetry, "must be from 1ms to 24h")
	d.require(join(retry, "max"), e.Retry.Max >= e.Retry.Initial, "must not be less than initial, which is %v", e.Retry.Initial)
	d.require(join(retry, "max"), e.Retry.Max <= maxRetry, "must be at most 24h")
	d.require(join(retry, "max_age"), e.Retry.MaxAge >= time.Millisecond, "must be at least 1ms")
	d.require(join(retry, "retry_after_max"), e.Retry.RetryAfterMax >= time.Second && e.Retry.RetryAfterMax <= maxRetry, "must be from 1s to 24h")

	if proxy := e.ProxyURL.Reveal(); proxy != "" {
		if err := checkURL(proxy, "http", "https", "socks5"); err != nil {
			d.report(join(at, "proxy_url"), "%s", err)
		}
	}
}

// webhook checks what says where events go, and how.
func (d *decoder) webhook(at string, e *Endpoint) {
	for _, key := range mirrorKeys() {
		d.require(join(at, key), !d.given[join(at, key)], `is for an endpoint of kind = "mirror"`)
	}
	d.target(at, e)
	d.format(join(at, "format"), e.Format)
	d.require(join(at, "timeout"), e.Timeout >= time.Millisecond && e.Timeout <= 10*time.Minute, "must be from 1ms to 10m")
	d.secret(at, "authorization", e.Authorization, e.AuthorizationFile)
	d.require(join(at, "authorization"), !strings.ContainsFunc(e.Authorization.Reveal(), unicode.IsControl), "has a line end or another control character in it")
	d.headerFields(join(at, "headers"), e)
	d.signing(join(at, "signing"), &e.Signing)
	d.pair(join(at, "tls"), e.TLS.CertFile, e.TLS.KeyFile)
}

// target checks where events go, and makes a file's path one that can be opened.
func (d *decoder) target(at string, e *Endpoint) {
	path := join(at, "url")
	switch {
	case e.URL != "" && e.URLFile != "":
		d.report(path, "give url or url_file, not both")
	case e.URLFile != "":
		d.require(path, !d.given[path], "is empty; leave it out beside url_file")
	case e.URL == "":
		d.report(path, "is missing: where events are to be sent, such as \"https://audit.example/hook\"")
	case e.URL == "console:":
	case strings.HasPrefix(e.URL, "file:"):
		name := strings.TrimPrefix(e.URL, "file:")
		if strings.HasPrefix(name, "//") && !strings.HasPrefix(name, "///") {
			d.report(path, `names a host: write "file:PATH" or "file:///PATH"`)
			return
		}
		name = strings.TrimPrefix(name, "//")
		d.require(path, name != "", `names no file: write "file:PATH"`)
		e.URL = "file:" + d.config.resolve(name)
	default:
		if err := checkURL(e.URL, "http", "https"); err != nil {
			d.report(path, "%s", err)
			return
		}
		if u, err := url.Parse(e.URL); err == nil && u.User != nil {
			d.report(path, "holds a user name or password: move it to authorization_file")
		}
	}
}

// checkURL says what is wrong with an absolute URL, without repeating it: there may be
// a password in it.
func checkURL(raw string, schemes ...string) error {
	u, err := url.Parse(raw)
	if err != nil {
		reason := "it is malformed"
		if uerr, ok := errors.AsType[*url.Error](err); ok {
			reason, _, _ = strings.Cut(uerr.Err.Error(), `"`)
		}
		return errors.New("does not parse as a URL: " + strings.TrimSpace(reason))
	}
	want := strings.Join(schemes, ":// or ") + "://"
	if !slices.Contains(schemes, u.Scheme) {
		return errors.New("must begin with " + want)
	}
	if u.Hostname() == "" {
		return errors.New("names no host after " + u.Scheme + "://")
	}
	return nil
}

func (d *decoder) format(path, format string) {
	switch format {
	case "cloudevents", "cloudevents-binary", "harbor", "template":
		d.report(path, "%q is not yet available in this version", format)
	default:
		d.oneOf(path, format, FormatDistribution, FormatDistributionV1)
	}
}

// maxSecretFiles is how many secrets a request may be signed with.
const maxSecretFiles = 8

// signing checks how requests are signed. Whether a file holds a secret that will do, the
// endpoint finds out.
func (d *decoder) signing(at string, s *Signing) {
	files, scheme, header := join(at, "secret_files"), join(at, "scheme"), join(at, "header")
	switch {
	case len(s.SecretFiles) > maxSecretFiles:
		d.report(files, "must be at most %d", maxSecretFiles)
	case len(s.SecretFiles) > 1 && s.Scheme == SchemeHMACSHA256:
		d.report(files, "must be one: there is one signature in a request by hmac-sha256")
	case len(s.SecretFiles) == 0 && d.given[at]:
		d.report(files, "names no file that holds a secret to sign with")
	}
	for i, name := range s.SecretFiles {
		d.require(index(files, i), name != "", "names no file")
	}
	d.oneOf(scheme, s.Scheme, SchemeStandardWebhooks, SchemeHMACSHA256)
	d.require(header, !d.given[header] || s.Scheme == SchemeHMACSHA256, "has no effect: only hmac-sha256 has a header of its own")
	d.require(header, !d.given[header] || s.Header != "", "is empty; leave it out for X-Hub-Signature-256")
}

// headerFields checks that a header is set once. What can be a header at all, the
// endpoint knows.
func (d *decoder) headerFields(path string, e *Endpoint) {
	seen := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(e.Headers)) {
		at, canonical := join(path, name), http.CanonicalHeaderKey(name)
		if first, ok := seen[canonical]; ok {
			d.report(at, "is the same header as %s; give it a list of values", first)
		}
		seen[canonical] = name
		if canonical == "Authorization" {
			d.require(at, !e.Authorization.IsSet() && e.AuthorizationFile == "", "is set by authorization or authorization_file as well; leave one out")
		}
	}
}
