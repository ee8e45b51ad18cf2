package config

import (
	"net/netip"
	"time"
)

// The formats of what endpoints receive.
const (
	FormatDistribution   = "distribution"    // distribution v3's envelope
	FormatDistributionV1 = "distribution-v1" // as distribution v2.8 spells it
)

// The kinds of endpoint.
const (
	KindWebhook = "webhook" // events are sent, or printed, or written to a file
	KindMirror  = "mirror"  // what they are about is copied to another registry
)

// What order an endpoint's events are kept in.
const (
	OrderRepository = "repository" // within each repository
	OrderEndpoint   = "endpoint"   // over all of them: one request at a time
	OrderNone       = "none"       // as it comes
)

// What becomes of an event that has held up its repository for MaxBlock.
const (
	OnBlockPark       = "park"        // it is put aside and tried again later, out of order
	OnBlockHold       = "hold"        // its repository goes on waiting for it
	OnBlockDeadLetter = "dead_letter" // it is given up on
)

// How requests are signed.
const (
	SchemeStandardWebhooks = "standard-webhooks" // the Standard Webhooks specification
	SchemeHMACSHA256       = "hmac-sha256"       // one header, as GitHub has it
)

// An Endpoint is a consumer of events and the terms on which it gets them.
type Endpoint struct {
	// Name is the endpoint's identity: its place among the events hangs on it.
	Name string `toml:"name"`
	// Kind is KindWebhook or KindMirror. A mirror has the keys of Mirror; of a webhook's it
	// has none that say what a request is like.
	Kind string `toml:"kind"`
	// URL is where events are posted (http or https), "console:" for a line per event on
	// stdout, or "file:PATH" for JSON lines in a file. Exactly one of URL and URLFile is set,
	// but for a mirror.
	URL string `toml:"url"`
	// URLFile is a file that holds the URL, for when its path is a secret.
	URLFile string `toml:"url_file,secret"`
	// Format is FormatDistribution or FormatDistributionV1.
	Format string `toml:"format"`
	// Start is where the endpoint begins when it is new.
	Start Start `toml:"start"`
	// Required events are never evicted; intake answers 503 instead.
	Required bool `toml:"required"`
	// Timeout bounds one request, from dialling to the end of the answer; of a mirror, how
	// long a copy may go without progress: 5 min if it is not given.
	Timeout time.Duration `toml:"timeout"`
	// Authorization is the whole value of the Authorization header.
	Authorization Secret `toml:"authorization"`
	// AuthorizationFile is a file that holds it.
	AuthorizationFile string `toml:"authorization_file,secret"`
	// Headers are sent with each request; they replace those that regcast sets. In the
	// file a value is a string or a list of strings.
	Headers map[string][]Secret `toml:"headers"`
	// Ordering is OrderRepository, OrderEndpoint or OrderNone.
	Ordering string `toml:"ordering"`
	// Concurrency is how many requests may be under way at once.
	Concurrency int `toml:"concurrency"`
	// MaxBlock is how long one event that fails may hold up its repository.
	MaxBlock time.Duration `toml:"max_block"`
	// OnBlock is what becomes of it then: OnBlockPark, OnBlockHold or OnBlockDeadLetter.
	OnBlock string `toml:"on_block"`
	// Batch says how many events go into one request.
	Batch Batch `toml:"batch"`
	// Retry says how long to wait before the same request is tried again.
	Retry Retry `toml:"retry"`
	// Filter selects events: every key given must match.
	Filter Rules `toml:"filter"`
	// Ignore excludes events: one matching key is enough, and it wins over Filter.
	Ignore Rules `toml:"ignore"`
	// Signing says how requests are signed.
	Signing Signing `toml:"signing"`
	// TLS says how the endpoint's certificate is checked.
	TLS ClientTLS `toml:"tls"`
	// ProxyURL is an egress proxy; it may hold a password.
	ProxyURL Secret `toml:"proxy_url"`
	// AllowCIDRs are the only networks that are connected to, unless there are none.
	AllowCIDRs []netip.Prefix `toml:"allow_cidrs"`
	// DenyCIDRs are networks that are never connected to.
	DenyCIDRs []netip.Prefix `toml:"deny_cidrs"`
	// SuccessOn are extra statuses that mean "accepted".
	SuccessOn []int `toml:"success_on"`
	// RetryOn are extra statuses that mean "again later".
	RetryOn []int `toml:"retry_on"`
	// DropOn are extra statuses that mean "never this event": it becomes a dead letter.
	DropOn []int `toml:"drop_on"`
	// Disabled keeps the endpoint's place but sends nothing.
	Disabled bool `toml:"disabled"`

	// Source is the registry that is copied from: http or https, a host, and perhaps a path
	// that is put before the names of repositories.
	Source string `toml:"source"`
	// Target is the registry that is copied to, in the same form.
	Target string `toml:"target"`
	// SourceAuthFile holds the credential for Source as Docker's configuration does.
	SourceAuthFile string `toml:"source_auth_file,secret"`
	// TargetAuthFile holds the one for Target.
	TargetAuthFile string `toml:"target_auth_file,secret"`
	// SourceTLS says how Source's certificate is checked.
	SourceTLS ClientTLS `toml:"source_tls"`
	// TargetTLS says how Target's certificate is checked.
	TargetTLS ClientTLS `toml:"target_tls"`
	// TokenHosts are hosts of token servers that may have internal addresses.
	TokenHosts []string `toml:"token_hosts"`
	// Platforms are those that are copied of an index, such as "linux/amd64"; all if there
	// are none.
	Platforms []string `toml:"platforms"`
	// BlobConcurrency is how many blobs of one event are copied at once.
	BlobConcurrency int `toml:"blob_concurrency"`
	// ByDigest copies what is pushed by digest alone, too.
	ByDigest bool `toml:"by_digest"`
	// Referrers copies those of these whose subject the target has, such as signatures.
	Referrers bool `toml:"referrers"`
	// PropagateDeletes deletes at Target what was deleted at Source.
	PropagateDeletes bool `toml:"propagate_deletes"`
}

// Batch bounds what goes into one request.
type Batch struct {
	// MaxEvents is how many events, at most.
	MaxEvents int `toml:"max_events"`
	// MaxBytes is how many bytes of events, at most; a single larger event goes alone.
	MaxBytes Size `toml:"max_bytes"`
	// Linger is how long to wait for more before a request that is not full is sent.
	Linger time.Duration `toml:"linger"`
}

// Retry is how long to wait before the same request is tried again.
type Retry struct {
	// Initial is the first wait; each further one is twice as long.
	Initial time.Duration `toml:"initial"`
	// Max is the longest wait.
	Max time.Duration `toml:"max"`
	// MaxAge is how long an event may fail before it is given up on, the time under a hold
	// of its endpoint not counted.
	MaxAge time.Duration `toml:"max_age"`
	// RetryAfterMax is the longest wait that an endpoint may ask for.
	RetryAfterMax time.Duration `toml:"retry_after_max"`
}

// Signing is how requests are signed; without a secret they are not.
type Signing struct {
	// SecretFiles are files with a secret each, "whsec_" and base64 or as it is. There is a
	// signature by each; SchemeHMACSHA256 has room for one.
	SecretFiles []string `toml:"secret_files,secret"`
	// Scheme is SchemeStandardWebhooks or SchemeHMACSHA256.
	Scheme string `toml:"scheme"`
	// Header is the header of SchemeHMACSHA256, "" for X-Hub-Signature-256.
	Header string `toml:"header"`
}

// Rules select events. The values of one key are alternatives.
type Rules struct {
	// Kinds are image, manifest, blob, tag or repository.
	Kinds []string `toml:"kinds"`
	// Actions are push, pull, mount, delete, or others that senders use.
	Actions []string `toml:"actions"`
	// Repositories are globs of repository names: * within a path segment, ** across.
	Repositories []string `toml:"repositories"`
	// Tags are globs of tags.
	Tags []string `toml:"tags"`
	// MediaTypes are globs of the target's media type.
	MediaTypes []string `toml:"media_types"`
	// Actors are globs of the actor's name.
	Actors []string `toml:"actors"`
	// Methods are HTTP methods of the request that led to the event.
	Methods []string `toml:"methods"`
}

func defaultEndpoint() Endpoint {
	return Endpoint{
		Kind:        KindWebhook,
		Format:      FormatDistribution,
		Timeout:     15 * time.Second,
		Ordering:    OrderRepository,
		Concurrency: 8,
		Batch:       Batch{MaxEvents: 1, MaxBytes: 1 * MiB},
		MaxBlock:    10 * time.Minute,
		OnBlock:     OnBlockPark,
		Retry:       Retry{Initial: time.Second, Max: time.Minute, MaxAge: 72 * time.Hour, RetryAfterMax: time.Hour},
		Signing:     Signing{Scheme: SchemeStandardWebhooks},
	}
}
