package config

import (
	"net/netip"
	"time"
)

// A Config is a whole configuration, defaults filled in and paths absolute or relative
// to the working directory. Nobody changes it once made; [Parse], [Load] and [Trial]
// make it.
//
// The struct tags: toml gives the key and, after a comma, what a string names that is
// relative to the configuration file: a path, a file that is read, or a file that is
// read and holds a secret. restart marks what cannot change while regcast runs.
type Config struct {
	// DataDir is the folder of the journal and of everything else that is kept.
	DataDir string `toml:"data_dir,path" restart:"true"`
	// DrainTimeout is how long requests that are under way may go on after a request to
	// stop, first through proxies, then to endpoints; 0: they are cut off at once.
	DrainTimeout time.Duration `toml:"drain_timeout" restart:"true"`
	// Log says what is logged to stderr.
	Log Log `toml:"log"`
	// Source describes this dispatcher in events that it makes itself.
	Source Source `toml:"source" restart:"true"`
	// Intake is the server that receives events.
	Intake Intake `toml:"intake"`
	// Admin is the server for health, metrics and the admin API.
	Admin Admin `toml:"admin"`
	// Engine stores events until every endpoint has them.
	Engine Engine `toml:"engine" restart:"true"`
	// Proxies stand in front of registries, in the order of the file.
	Proxies []Proxy `toml:"proxy" restart:"true"`
	// Endpoints are where events go, in the order of the file.
	Endpoints []Endpoint `toml:"endpoint"`

	file  string
	lines lines
}

// Log says what is logged.
type Log struct {
	// Level is the least level that is logged: debug, info, warn or error.
	Level string `toml:"level"`
	// Format is text or json.
	Format string `toml:"format" restart:"true"`
}

// Source describes this dispatcher in the source record of events that it makes itself.
type Source struct {
	// Addr is the registry's host and port as the world knows it; "" for this host's name.
	Addr string `toml:"addr"`
}

// Intake is the server that receives events by POST. At most one of Token, TokenFile and
// Tokens is set.
type Intake struct {
	// Listen is the address, host:port. Off loopback it needs a credential.
	Listen string `toml:"listen" restart:"true"`
	// Token is what senders present as bearer token or as password.
	Token Secret `toml:"token"`
	// TokenFile is a file that holds it.
	TokenFile string `toml:"token_file,secret"`
	// Tokens are several, each of them valid, to change from one to the next.
	Tokens []Secret `toml:"tokens"`
	// AllowAnonymous allows an address off loopback without a credential.
	AllowAnonymous bool `toml:"allow_anonymous"`
	// MaxBody bounds the body of a request; what is larger is put into quarantine.
	MaxBody Size `toml:"max_body" restart:"true"`
	// MaxEvents bounds the events of one envelope; what has more is put into quarantine.
	MaxEvents int `toml:"max_events" restart:"true"`
	// MaxEvent bounds one event; a larger one is put into quarantine.
	MaxEvent Size `toml:"max_event" restart:"true"`
	// HeaderTimeout bounds how long the header of a request may take to come in.
	HeaderTimeout time.Duration `toml:"header_timeout" restart:"true"`
	// IdleTimeout is how long a connection may stay open between two requests.
	IdleTimeout time.Duration `toml:"idle_timeout" restart:"true"`
	// TrustedProxies are those whose forwarded headers are believed, for the sender's
	// address in an event's provenance.
	TrustedProxies []netip.Prefix `toml:"trusted_proxies" restart:"true"`
	// TLS makes the server speak HTTPS.
	TLS ServerTLS `toml:"tls" restart:"true"`
}

// HasCredential says whether senders have to authenticate themselves.
func (in *Intake) HasCredential() bool {
	return in.Token.IsSet() || in.TokenFile != "" || len(in.Tokens) > 0 || in.TLS.ClientCAFile != ""
}

// Admin is the server for health, metrics and the admin API.
type Admin struct {
	// Listen is the address, host:port. Off loopback it needs a token.
	Listen string `toml:"listen" restart:"true"`
	// MetricsAnonymous opens /metrics to those who have no token.
	MetricsAnonymous bool `toml:"metrics_anonymous" restart:"true"`
	// TLS makes the server speak HTTPS.
	TLS ServerTLS `toml:"tls" restart:"true"`
	// Tokens are who may use it; without any, everyone on loopback.
	Tokens []AdminToken `toml:"token"`
}

// An AdminToken lets someone use the admin API. One of Token and TokenFile is set.
type AdminToken struct {
	// Name says whose it is; it appears in the operators' log.
	Name string `toml:"name"`
	// Role is read (look) or operate (look and change).
	Role string `toml:"role"`
	// Token is the bearer token.
	Token Secret `toml:"token"`
	// TokenFile is a file that holds it.
	TokenFile string `toml:"token_file,secret"`
}

// ServerTLS are the certificates of a server; empty for plain HTTP.
type ServerTLS struct {
	// CertFile is the certificate chain, PEM.
	CertFile string `toml:"cert_file,file"`
	// KeyFile is its key, PEM.
	KeyFile string `toml:"key_file,secret"`
	// ClientCAFile makes the server ask clients for a certificate of these authorities.
	ClientCAFile string `toml:"client_ca_file,file"`
}

// ClientTLS says how an endpoint's certificate is checked and what is shown to it.
type ClientTLS struct {
	// CAFile replaces the system's authorities, PEM.
	CAFile string `toml:"ca_file,file"`
	// CertFile is the client certificate, PEM.
	CertFile string `toml:"cert_file,file"`
	// KeyFile is its key, PEM.
	KeyFile string `toml:"key_file,secret"`
	// InsecureSkipVerify accepts any certificate.
	InsecureSkipVerify bool `toml:"insecure_skip_verify"`
}

// The kinds of engine.
const (
	EngineJournal = "journal" // on this machine's disk
	EngineMemory  = "memory"  // survives nothing
)

// Engine stores events until every endpoint has them.
type Engine struct {
	// Kind is EngineJournal or EngineMemory.
	Kind string `toml:"kind"`
	// History says which attempts to deliver are remembered: HistoryAll, HistoryFailures
	// or HistoryOff.
	History string `toml:"history"`
	// Journal are the settings of that kind.
	Journal Journal `toml:"journal"`
}

// Which attempts are remembered.
const (
	HistoryAll      = "all"
	HistoryFailures = "failures" // those that were not accepted
	HistoryOff      = "off"
)

// What a full journal does.
const (
	OnFullEvict  = "evict"  // evict the oldest unsettled events, loudly
	OnFullRefuse = "refuse" // answer 503 until there is room
)

// Journal are the settings of the engine on disk.
type Journal struct {
	// RetentionAge is how long settled events are kept for search and replay. Unsettled
	// ones are not cut by age.
	RetentionAge time.Duration `toml:"retention_age"`
	// RetentionBytes bounds the events on disk, settled or not.
	RetentionBytes Size `toml:"retention_bytes"`
	// OnFull is OnFullEvict or OnFullRefuse, when unsettled events alone reach
	// RetentionBytes.
	OnFull string `toml:"on_full"`
	// DeadBytes bounds the dead letters on disk.
	DeadBytes Size `toml:"dead_bytes"`
	// QuarantineBytes bounds what intake could not read and kept.
	QuarantineBytes Size `toml:"quarantine_bytes"`
}

// The roles of an admin token.
const (
	RoleRead    = "read"    // may look
	RoleOperate = "operate" // may look and change
)

// Default is the configuration of an empty file: no endpoint.
func Default() *Config {
	return &Config{
		DataDir:      "regcast-data",
		DrainTimeout: 20 * time.Second,
		Log:          Log{Level: "info", Format: "text"},
		Intake: Intake{
			Listen:        "127.0.0.1:8410",
			MaxBody:       8 * MiB,
			MaxEvents:     10000,
			MaxEvent:      1 * MiB,
			HeaderTimeout: 10 * time.Second,
			IdleTimeout:   2 * time.Minute,
		},
		Admin: Admin{Listen: "127.0.0.1:8411"},
		Engine: Engine{
			Kind:    EngineJournal,
			History: HistoryAll,
			Journal: Journal{
				RetentionAge:    168 * time.Hour,
				RetentionBytes:  10 * GiB,
				OnFull:          OnFullEvict,
				DeadBytes:       1 * GiB,
				QuarantineBytes: 256 * MiB,
			},
		},
	}
}

// Trial is the configuration that regcast runs with when there is no file: the defaults,
// and one endpoint that prints each event on stdout.
func Trial() *Config {
	c := Default()
	e := defaultEndpoint()
	e.Name, e.URL = "console", "console:"
	c.Endpoints = []Endpoint{e}
	return c
}

// File is the name of the file that c was read from, "" if there is none.
func (c *Config) File() string { return c.file }
