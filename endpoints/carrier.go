package endpoints

import (
	"net/http"
	"net/url"
)

// A Carrier is an [http.RoundTripper] for senders of other packages that connects as
// webhooks do: to no address that the options refuse, by the egress proxy, with the TLS
// options, whose files are read again when they change, and by HTTP/1.1. It does not
// follow redirects, and keeps nothing open but idle connections. It is safe for concurrent
// use.
type Carrier struct {
	carrier *carrier
	guard   guard
}

// NewCarrier returns a carrier. Of the options it takes TLS, ProxyURL, AllowCIDRs,
// DenyCIDRs, Concurrency and Logger. Nothing is connected yet. Errors: all that is wrong
// with these, see [OptionError].
func NewCarrier(opts *Options) (*Carrier, error) {
	o := opts.withDefaults()
	var p problems
	o.validateCarrier(&p)
	if err := p.err(); err != nil {
		return nil, err
	}
	c, err := newCarrier(o)
	if err != nil {
		return nil, &OptionError{Option: "tls", Err: err}
	}
	return &Carrier{carrier: c, guard: guard{allow: o.AllowCIDRs, deny: o.DenyCIDRs}}, nil
}

// RoundTrip makes one request. Its errors are for [TransportError].
func (c *Carrier) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := c.guard.checkHost(req.URL.Hostname()); err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	return c.carrier.current().RoundTrip(req)
}

// Proxy tells by which egress proxy a request is made, nil for none.
func (c *Carrier) Proxy(req *http.Request) (*url.URL, error) {
	return c.carrier.current().Proxy(req)
}

// CloseIdleConnections closes connections that no request uses. The carrier can still be
// used.
func (c *Carrier) CloseIdleConnections() { c.carrier.shutdown() }
