package config

import (
	"errors"
	"net/netip"
	"time"
)

// What becomes of events for which distribution counts what did not happen.
const (
	ParitySane   = "sane"   // left out
	ParityStrict = "strict" // reported, as distribution does
)

// What becomes of a change whose event cannot be stored in time.
const (
	UnrecordedAllow  = "allow"  // it is forwarded, and its event waits
	UnrecordedRefuse = "refuse" // it is answered 503 before it is forwarded
)

// By which name the upstream is asked.
const (
	HostClient   = "client"   // the one that the client asked for
	HostUpstream = "upstream" // the upstream's own
)

// How the upstream's addresses in Location and Link are rewritten.
const (
	LocationAbsolute = "absolute" // scheme and host as the client addressed the proxy
	LocationRelative = "relative" // the path alone
	LocationAsIs     = "asis"     // not at all
)

// The registries whose own routes are understood.
const (
	VendorGitLab = "gitlab"
	VendorHarbor = "harbor"
)

// What becomes of HEAD requests for manifests and blobs.
const (
	HeadEmit = "emit" // they are pulls, as distribution has it
	HeadDrop = "drop" // they make no events
)

// How the bearers of opaque tokens are named.
const (
	TokensNone = "none" // not at all
	TokensHash = "hash" // by a part of the token's hash
)

// A Proxy stands in front of a registry and makes an event of each operation that passes.
type Proxy struct {
	// Name tells proxies apart in logs and metrics.
	Name string `toml:"name"`
	// Listen is the address, host:port, for the registry's clients. Off loopback it needs
	// no credential: the registry asks for its own.
	Listen string `toml:"listen"`
	// Upstream is the registry's URL: http or https, a host, and perhaps a path.
	Upstream string `toml:"upstream"`
	// PublicURL is where clients reach the proxy, with the path that is cut off on the way,
	// if any; "" if their requests tell.
	PublicURL string `toml:"public_url"`
	// Source describes the registry in events; an empty Addr is that of Config.Source and,
	// if that is empty, Listen.
	Source Source `toml:"source"`
	// Parity is ParitySane or ParityStrict.
	Parity string `toml:"parity"`
	// Head is HeadEmit or HeadDrop.
	Head string `toml:"head"`
	// References puts what a manifest refers to into its events.
	References bool `toml:"references"`
	// OnUnrecorded is UnrecordedAllow or UnrecordedRefuse.
	OnUnrecorded string `toml:"on_unrecorded"`
	// RecordWait is how long the answer to a change waits for its event to be stored.
	RecordWait time.Duration `toml:"record_wait"`
	// DeletesTags says that the registry, when it deletes a manifest, deletes its tags.
	DeletesTags bool `toml:"deletes_tags"`
	// VendorRoutes are VendorGitLab, VendorHarbor or both.
	VendorRoutes []string `toml:"vendor_routes"`
	// TrustedProxies are those whose forwarded headers are believed and passed on.
	TrustedProxies []netip.Prefix `toml:"trusted_proxies"`
	// ActorKeysFile holds public keys, a JWK set or PEM: the subject of a JSON web token is
	// an actor only if one of them verifies it. "" believes every token that the registry
	// does not refuse.
	ActorKeysFile string `toml:"actor_keys_file,file"`
	// ActorAudience is for whom a token has to be, with ActorKeysFile; "" is anybody.
	ActorAudience string `toml:"actor_audience"`
	// ActorTokens is TokensNone or TokensHash.
	ActorTokens string `toml:"actor_tokens"`
	// UpstreamHost is HostClient or HostUpstream.
	UpstreamHost string `toml:"upstream_host"`
	// UpstreamNames are other hosts by which the upstream calls itself, with a port where
	// it is not the scheme's own.
	UpstreamNames []string `toml:"upstream_names"`
	// UpstreamHTTP2 lets an upstream with TLS be spoken to by HTTP/2.
	UpstreamHTTP2 bool `toml:"upstream_http2"`
	// Location is LocationAbsolute, LocationRelative or LocationAsIs.
	Location string `toml:"location"`
	// TLS makes the proxy speak HTTPS.
	TLS ServerTLS `toml:"tls"`
	// UpstreamTLS says how the upstream's certificate is checked.
	UpstreamTLS UpstreamTLS `toml:"upstream_tls"`
	// Timeouts bound how long the upstream and clients may take.
	Timeouts ProxyTimeouts `toml:"timeouts"`
	// Cache keeps answers.
	Cache Cache `toml:"cache"`
}

// UpstreamTLS says how an upstream's certificate is checked and what is shown to it.
type UpstreamTLS struct {
	// CAFile replaces the system's authorities, PEM.
	CAFile string `toml:"ca_file,file"`
	// CertFile is the client certificate, PEM.
	CertFile string `toml:"cert_file,file"`
	// KeyFile is its key, PEM.
	KeyFile string `toml:"key_file,secret"`
}

// ProxyTimeouts bound how long an upstream and clients may take.
type ProxyTimeouts struct {
	// Metadata is how long the upstream may take until its answer to a read begins.
	Metadata time.Duration `toml:"metadata"`
	// Commit is the same for a change, for which a registry may have to copy a blob or to
	// look through all tags. One that takes longer makes no event.
	Commit time.Duration `toml:"commit"`
	// Idle is how long nothing may pass in either direction.
	Idle time.Duration `toml:"idle"`
}

// The kinds of cache.
const (
	CacheNone   = "none"
	CacheMemory = "memory" // of this process
	CacheRedis  = "redis"  // shared by several
)

// Cache keeps answers about manifests, tags and the sizes of blobs, never blobs.
type Cache struct {
	// Kind is CacheNone, CacheMemory or CacheRedis.
	Kind string `toml:"kind"`
	// TTL is how long an answer is good for: 60 s or, with Exclusive, 24 h if it is not
	// given.
	TTL time.Duration `toml:"ttl"`
	// Exclusive says that every change of the registry passes here.
	Exclusive bool `toml:"exclusive"`
	// Share says who gets answers that others asked for.
	Share Share `toml:"share"`
	// Redis are the settings of that kind.
	Redis Redis `toml:"redis"`
}

// Redis says where a shared cache is.
type Redis struct {
	// URLFile is a file that holds the URL, such as redis://:password@host:6379/0.
	URLFile string `toml:"url_file,secret"`
	// Prefix begins every key.
	Prefix string `toml:"prefix"`
}

// Who gets answers that others asked for.
const (
	ShareIdentity  = "identity"  // nobody: who shows the same credentials
	ShareAnonymous = "anonymous" // as well: all who show none
	SharePublic    = "public"    // as well: everybody, for the repositories of Share.Public
)

// Share says who gets answers that others asked for.
type Share struct {
	// Level is ShareIdentity, ShareAnonymous or SharePublic.
	Level string
	// Public are globs of repositories that everybody may read, if Level is SharePublic.
	Public []string
}

func (s *Share) decode(v any) error {
	const want = `must be "identity", "anonymous" or { public = ["library/**"] }`
	switch v := v.(type) {
	case string:
		if v != ShareIdentity && v != ShareAnonymous {
			return errors.New(want)
		}
		*s = Share{Level: v}
		return nil
	case map[string]any:
		list, ok := v["public"].([]any)
		if !ok || len(v) != 1 || len(list) == 0 {
			return errors.New(want)
		}
		globs := make([]string, len(list))
		for i := range list {
			if globs[i], ok = list[i].(string); !ok {
				return errors.New(want)
			}
		}
		*s = Share{Level: SharePublic, Public: globs}
		return nil
	default:
		return errors.New(want)
	}
}

// The TTL of answers that does not stand in the file.
const (
	cacheTTL          = time.Minute
	cacheTTLExclusive = 24 * time.Hour
)

func defaultProxy() Proxy {
	return Proxy{
		Parity:        ParitySane,
		Head:          HeadEmit,
		References:    true,
		OnUnrecorded:  UnrecordedAllow,
		RecordWait:    50 * time.Millisecond,
		DeletesTags:   true,
		ActorTokens:   TokensNone,
		UpstreamHost:  HostClient,
		UpstreamHTTP2: true,
		Location:      LocationAbsolute,
		Timeouts:      ProxyTimeouts{Metadata: 30 * time.Second, Commit: 15 * time.Minute, Idle: 15 * time.Minute},
		Cache: Cache{
			Kind:  CacheNone,
			TTL:   cacheTTL,
			Share: Share{Level: ShareIdentity},
			Redis: Redis{Prefix: "regcast:"},
		},
	}
}
