package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Warnings are about what is allowed and probably not meant. They open no file.
func (c *Config) Warnings() Problems {
	var warnings Problems
	warn := func(path, message string) {
		warnings = append(warnings, c.Problem(path, "%s", message))
	}
	if len(c.Endpoints) == 0 {
		warn("endpoint", "there is none: events are stored and sent nowhere")
	}
	for i := range c.Proxies {
		c.Proxies[i].warnings(index("proxy", i), warn)
	}
	for i := range c.Endpoints {
		c.Endpoints[i].warnings(index("endpoint", i), warn)
	}
	warnings.Sort()
	return warnings
}

func (e *Endpoint) warnings(at string, warn func(path, message string)) {
	wantsDeletes := len(e.Filter.Actions) == 0 || slices.Contains(e.Filter.Actions, "delete")
	if len(e.Filter.MediaTypes) > 0 && wantsDeletes {
		warn(join(join(at, "filter"), "media_types"), "excludes deletes, which have no media type; use kinds to keep them")
	}
	if e.Batch.Linger > 0 && e.Batch.MaxEvents == 1 {
		warn(join(join(at, "batch"), "linger"), "has no effect while max_events is 1")
	}
	if e.Kind == KindMirror {
		e.mirrorWarnings(at, wantsDeletes, warn)
		return
	}
	if e.TLS.InsecureSkipVerify {
		warn(join(join(at, "tls"), "insecure_skip_verify"), "anybody between here and the endpoint can read and change events; use ca_file")
	}
	secret := e.Authorization.IsSet() || e.AuthorizationFile != ""
	if secret && inClear(e.URL) {
		warn(join(at, "url"), "sends the Authorization header without TLS")
	}
	if builtin := e.URL == "console:" || strings.HasPrefix(e.URL, "file:"); builtin && (secret || len(e.Headers) > 0 || len(e.Signing.SecretFiles) > 0) {
		warn(join(at, "url"), "is not a webhook: authorization, headers and signing have no effect")
	}
}

func (e *Endpoint) mirrorWarnings(at string, wantsDeletes bool, warn func(path, message string)) {
	for _, side := range []struct {
		name, url, authFile string
		tls                 ClientTLS
	}{{"source", e.Source, e.SourceAuthFile, e.SourceTLS}, {"target", e.Target, e.TargetAuthFile, e.TargetTLS}} {
		if side.tls.InsecureSkipVerify {
			warn(join(join(at, side.name+"_tls"), "insecure_skip_verify"), "anybody between here and the registry can read the credential; use ca_file")
		}
		if side.authFile != "" && inClear(side.url) {
			warn(join(at, side.name), "sends the credential of "+side.name+"_auth_file without TLS")
		}
		if endsInAPI(side.url) {
			warn(join(at, side.name), apiTwice)
		}
	}
	if e.PropagateDeletes && !wantsDeletes {
		warn(join(at, "propagate_deletes"), "has no effect: filter.actions leaves deletes out")
	}
}

func (p *Proxy) warnings(at string, warn func(path, message string)) {
	// Where the world comes by https although nothing here speaks it, TLS ends in front.
	if p.Listen != "" && p.TLS.CertFile == "" && !strings.HasPrefix(p.PublicURL, "https:") && inClear("http://"+p.Listen) {
		warn(join(at, "listen"), "passes the credentials of clients without TLS; use tls, or public_url if TLS ends in front")
	}
	if endsInAPI(p.Upstream) {
		warn(join(at, "upstream"), apiTwice)
	}
	if c := &p.Cache; c.Kind == CacheNone && (c.TTL != cacheTTL || c.Exclusive || c.Share.Level != ShareIdentity) {
		warn(join(at, "cache"), `has no effect while kind is "none"`)
	}
	if p.Cache.Kind != CacheRedis && p.Cache.Redis.URLFile != "" {
		warn(join(join(at, "cache"), "redis"), `has no effect while kind is not "redis"`)
	}
}

// apiTwice is what is wrong with a registry's URL that endsInAPI.
const apiTwice = "ends in /v2, which is added anyway: leave it out"

// endsInAPI says whether the URL of a registry has the beginning of the API's paths at its end.
func endsInAPI(raw string) bool { return strings.HasSuffix(strings.TrimRight(raw, "/"), "/v2") }

// inClear says whether requests to raw cross a network without TLS.
func inClear(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" || u.Hostname() == "localhost" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err != nil || !ip.IsLoopback()
}
