package config

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// nameRule is what names of endpoints and tokens look like, in words.
const nameRule = "must be 1 to 63 of a-z, 0-9 and -, and not begin with -"

// validate reports what is wrong with values that decoded well. What takes more than
// looking, such as compiling globs, is up to those who use the values.
func validate(d *decoder) {
	c := d.config
	d.require("data_dir", c.DataDir != "", "names no folder")
	d.require("drain_timeout", c.DrainTimeout >= 0 && c.DrainTimeout <= time.Hour, "must be from 0s to 1h")
	d.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	d.oneOf("log.format", c.Log.Format, "text", "json")
	d.intake(&c.Intake)
	d.admin(&c.Admin)
	d.engine(&c.Engine)
	d.proxies(c.Proxies)
	d.listeners()
	d.endpoints(c.Endpoints)
}

func (d *decoder) require(path string, ok bool, format string, args ...any) {
	if !ok {
		d.report(path, format, args...)
	}
}

func (d *decoder) oneOf(path, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		d.report(path, "%q is none of %s%s", value, strings.Join(allowed, ", "), didYouMean(value, allowed))
	}
}

func (d *decoder) intake(in *Intake) {
	loopback := d.address("intake.listen", in.Listen)
	d.require("intake.listen", loopback || in.AllowAnonymous || in.HasCredential(),
		"%s can be reached from other machines: set intake.token_file or intake.tls.client_ca_file, "+
			"or intake.allow_anonymous = true", in.Listen)
	d.secret("intake", "token", in.Token, in.TokenFile)
	for i, token := range in.Tokens {
		d.require(index("intake.tokens", i), token.Reveal() != "", "is empty")
	}
	if len(in.Tokens) > 0 && (in.Token.IsSet() || in.TokenFile != "") {
		d.report("intake.tokens", "give tokens, or token, or token_file; not two of them")
	}
	d.require("intake.tokens", !d.given["intake.tokens"] || len(in.Tokens) > 0, "holds no token; leave it out")
	d.require("intake.max_body", in.MaxBody >= KiB, "must be at least 1KiB")
	d.require("intake.max_events", in.MaxEvents >= 1, "must be at least 1")
	d.require("intake.max_event", in.MaxEvent >= KiB, "must be at least 1KiB")
	d.require("intake.header_timeout", in.HeaderTimeout > 0, "must be more than 0s")
	d.require("intake.idle_timeout", in.IdleTimeout > 0, "must be more than 0s")
	d.serverTLS("intake.tls", in.TLS)
}

func (d *decoder) admin(a *Admin) {
	loopback := d.address("admin.listen", a.Listen)
	d.require("admin.listen", loopback || len(a.Tokens) > 0,
		"%s can be reached from other machines: add an [[admin.token]]", a.Listen)
	names := map[string]int{}
	for i, token := range a.Tokens {
		at := index("admin.token", i)
		d.name(at, token.Name, names, i)
		if token.Role == "" {
			d.report(join(at, "role"), "is missing: %s or %s", RoleRead, RoleOperate)
		}
		d.oneOf(join(at, "role"), token.Role, RoleRead, RoleOperate)
		d.secret(at, "token", token.Token, token.TokenFile)
		d.require(at, token.Token.IsSet() || token.TokenFile != "", "needs token_file or token")
	}
	d.serverTLS("admin.tls", a.TLS)
}

func (d *decoder) engine(e *Engine) {
	if e.Kind == "jetstream" {
		d.report("engine.kind", "%q is not yet available in this version", e.Kind)
	}
	d.oneOf("engine.kind", e.Kind, EngineJournal, EngineMemory)
	d.oneOf("engine.history", e.History, HistoryAll, HistoryFailures, HistoryOff)
	j := &e.Journal
	d.require("engine.journal.retention_age", j.RetentionAge > 0, "must be more than 0s")
	d.require("engine.journal.retention_bytes", j.RetentionBytes >= MiB, "must be at least 1MiB")
	d.oneOf("engine.journal.on_full", j.OnFull, OnFullEvict, OnFullRefuse)
	d.require("engine.journal.dead_bytes", j.DeadBytes >= MiB, "must be at least 1MiB")
	d.require("engine.journal.quarantine_bytes", j.QuarantineBytes >= MiB, "must be at least 1MiB")
}

// name checks a name and that it is not one of names, which it joins.
func (d *decoder) name(table, name string, names map[string]int, i int) {
	path := join(table, "name")
	if name == "" {
		d.report(path, "is missing: %s", nameRule)
		return
	}
	if first, ok := names[name]; ok {
		other := index(plain(table), first)
		d.report(path, "%q is the name of %s on line %d as well; a name must be unique", name, other, d.config.lines.of(join(other, "name")))
		return
	}
	names[name] = i
	d.require(path, validName(name), "%q %s", name, nameRule)
}

func validName(name string) bool {
	if len(name) == 0 || len(name) > 63 || name[0] == '-' {
		return false
	}
	for _, r := range name {
		if !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-') {
			return false
		}
	}
	return true
}

// secret checks a secret and its twin: not both, and neither of them empty. An empty
// one is most likely a variable that was not set, and would leave a door open.
func (d *decoder) secret(table, key string, s Secret, file string) {
	path, twin := join(table, key), join(table, key+"_file")
	d.require(path, !s.IsSet() || file == "", "give %s or %s_file, not both", key, key)
	d.require(path, !s.IsSet() || s.Reveal() != "", "is empty")
	d.require(twin, !d.given[twin] || file != "", "is empty; leave it out or name a file")
}

// address checks host:port and says whether only this machine can reach it. What is no
// address passes for loopback: one problem is enough.
func (d *decoder) address(path, addr string) (loopback bool) {
	if addr == "" {
		d.report(path, `is empty: write host:port, such as "127.0.0.1:8410"`)
		return true
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil || port(addr) < 0 {
		d.report(path, `%q is no address: write host:port, such as "127.0.0.1:8410"`, addr)
		return true
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// port is the port of an address, -1 if it has none.
func port(addr string) int {
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		return -1
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return -1
	}
	return int(n)
}

func (d *decoder) serverTLS(path string, t ServerTLS) {
	d.pair(path, t.CertFile, t.KeyFile)
	d.require(join(path, "client_ca_file"), t.ClientCAFile == "" || t.CertFile != "",
		"needs cert_file and key_file beside it: without TLS nobody shows a certificate")
}

// pair checks that a certificate has its key and the other way round.
func (d *decoder) pair(path, cert, key string) {
	d.require(join(path, "key_file"), cert == "" || key != "", "is missing: cert_file needs it")
	d.require(join(path, "cert_file"), key == "" || cert != "", "is missing: key_file needs it")
}
