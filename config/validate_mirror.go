package config

import (
	"net/url"
	"strings"
	"time"
)

// What a mirror has if the file does not say.
const (
	mirrorTimeout         = 5 * time.Minute
	mirrorBlobConcurrency = 4
)

// mirrorKeys are the keys that a mirror alone has.
func mirrorKeys() []string {
	return []string{
		"source", "target", "source_auth_file", "target_auth_file", "source_tls", "target_tls",
		"token_hosts", "platforms", "blob_concurrency", "by_digest", "referrers", "propagate_deletes",
	}
}

// webhookKeys are those that say what a request is like, and how its answer is taken.
func webhookKeys() []string {
	return []string{
		"url", "url_file", "format", "authorization", "authorization_file", "headers", "signing", "tls",
		"success_on", "retry_on", "drop_on",
	}
}

// mirror checks what says what is copied, and from where to where. What a platform is
// called, the mirror knows.
func (d *decoder) mirror(at string, e *Endpoint) {
	for _, key := range webhookKeys() {
		d.require(join(at, key), !d.given[join(at, key)], "is for a webhook, and this is a mirror")
	}
	batch := join(at, "batch")
	d.require(join(batch, "max_events"), e.Batch.MaxEvents <= 1, "must be 1: a mirror copies for one event at a time")
	for _, key := range []string{"max_bytes", "linger"} {
		d.require(join(batch, key), !d.given[join(batch, key)], "is for a webhook, and this is a mirror")
	}
	if !d.given[join(at, "timeout")] {
		e.Timeout = mirrorTimeout
	}
	d.require(join(at, "timeout"), e.Timeout >= time.Millisecond && e.Timeout <= 24*time.Hour, "must be from 1ms to 24h")
	if !d.given[join(at, "blob_concurrency")] {
		e.BlobConcurrency = mirrorBlobConcurrency
	}
	d.require(join(at, "blob_concurrency"), e.BlobConcurrency >= 1 && e.BlobConcurrency <= 64, "must be from 1 to 64")
	e.Format = "" // it sends none
	d.registry(at, "source", e.Source, e.SourceTLS)
	d.registry(at, "target", e.Target, e.TargetTLS)
	for i, host := range e.TokenHosts {
		u, err := url.Parse("//" + host)
		d.require(index(join(at, "token_hosts"), i), err == nil && u.Host == host && u.Hostname() != "",
			`%q is no host: write it as "auth.internal" or "auth.internal:5001"`, host)
	}
}

// registry checks one side of a mirror.
func (d *decoder) registry(at, side, raw string, tls ClientTLS) {
	path, tlsPath := join(at, side), join(at, side+"_tls")
	d.pair(tlsPath, tls.CertFile, tls.KeyFile)
	if raw == "" {
		d.report(path, `is missing: a registry's URL, such as "https://registry.example:5000"`)
		return
	}
	if err := checkURL(raw, "http", "https"); err != nil {
		d.report(path, "%s", err)
		return
	}
	u, err := url.Parse(raw)
	if err != nil {
		return // checkURL has parsed it
	}
	d.require(path, u.User == nil, "holds a user name or password: move it to %s_auth_file", side)
	d.require(path, u.RawQuery == "" && !u.ForceQuery && u.Fragment == "", "ends in a ? or # part, which no registry has")
	d.require(tlsPath, !strings.HasPrefix(raw, "http:") || tls == (ClientTLS{}), "is for a registry with https")
}
