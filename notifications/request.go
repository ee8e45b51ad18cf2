package notifications

import (
	"net/http"
	"net/netip"
)

// RequestOf makes the record of r, which the registry knows as id.
//
// Addr is the peer's address, ip:port. If that lies in trusted, the peer is a proxy and
// what it says about its client is believed: the addresses in X-Forwarded-For (or, only
// where there is none, in Forwarded, RFC 7239) are walked from the right, past those in
// trusted, to the first that is not; that IP alone is Addr. What cannot be read as an
// address ends the walk at the last proxy before it. X-Real-Ip counts only where neither
// list is given. A proxy that is trusted must therefore append to, or replace, the
// header that it is read from.
func RequestOf(id string, r *http.Request, trusted ...netip.Prefix) RequestRecord {
	addr := r.RemoteAddr
	if f := forwardingOf(r, trusted); f.client.IsValid() {
		addr = f.client.String()
	}
	return RequestRecord{
		ID:        id,
		Addr:      addr,
		Host:      r.Host,
		Method:    r.Method,
		UserAgent: r.UserAgent(),
	}
}
