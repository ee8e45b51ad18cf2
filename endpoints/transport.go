package endpoints

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	connectTimeout    = 5 * time.Second
	handshakeTimeout  = 5 * time.Second
	idleTimeout       = 90 * time.Second
	maxResponseHeader = 64 << 10
)

// newTransport makes the transport of one endpoint. It speaks HTTP/1.1 alone: each
// request in flight has a connection of its own, so one that hangs holds up no other,
// and a dead one is noticed by the request that meets it.
func newTransport(o *Options, conf *tls.Config) *http.Transport {
	proxy := http.ProxyFromEnvironment
	if o.ProxyURL != "" {
		if u, err := url.Parse(o.ProxyURL); err == nil { // validated
			proxy = http.ProxyURL(u)
		}
	}
	g := guard{allow: o.AllowCIDRs, deny: o.DenyCIDRs}
	var http1 http.Protocols
	http1.SetHTTP1(true)
	t := &http.Transport{
		Proxy:                  proxy,
		DialContext:            (&net.Dialer{Timeout: connectTimeout, Control: g.control}).DialContext,
		TLSClientConfig:        conf,
		TLSHandshakeTimeout:    handshakeTimeout,
		DisableCompression:     true, // answers are thrown away
		MaxIdleConns:           o.Concurrency,
		MaxIdleConnsPerHost:    o.Concurrency,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxResponseHeader,
		Protocols:              &http1,
		OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
			if resp.StatusCode != http.StatusOK {
				return &proxyError{resp.StatusCode}
			}
			return nil
		},
	}
	if o.Batch.MaxEvents > 1 {
		t.WriteBufferSize = 32 << 10 // fewer writes of a large body
	}
	return t
}

// A carrier holds the transport of an endpoint and follows the files of its TLS options.
type carrier struct {
	opts *Options

	mu        sync.Mutex
	transport *http.Transport
	files     tlsFiles
	complaint string // why the files could not be used the last time
}

// newCarrier reads the files.
func newCarrier(o *Options) (*carrier, error) {
	c := &carrier{opts: o, files: tlsFilesOf(&o.TLS)}
	if _, err := c.files.load(); err != nil {
		return nil, err
	}
	conf, err := c.tlsConfig()
	if err != nil {
		return nil, err
	}
	c.transport = newTransport(o, conf)
	return c, nil
}

// current returns the transport to use. Where files have changed and are of use it is a
// new one; the old one's idle connections are closed, and those in use when they have
// been idle for idleTimeout.
func (c *carrier) current() *http.Transport {
	if len(c.files) == 0 {
		return c.transport
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	changed, err := c.files.load()
	if err == nil && !changed {
		return c.transport
	}
	var conf *tls.Config
	if err == nil {
		conf, err = c.tlsConfig()
	}
	if err != nil {
		if c.complaint != err.Error() {
			c.complaint = err.Error()
			c.opts.Logger.Warn("changed TLS files are of no use, going on with the old ones", slog.Any("error", err))
		}
		return c.transport
	}
	c.complaint = ""
	c.transport.CloseIdleConnections()
	c.transport = newTransport(c.opts, conf)
	return c.transport
}

func (c *carrier) tlsConfig() (*tls.Config, error) {
	conf := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: c.opts.TLS.InsecureSkipVerify, // where an operator says so
		ClientSessionCache: tls.NewLRUClientSessionCache(c.opts.Concurrency),
	}
	return conf, c.files.apply(conf)
}

// shutdown closes idle connections; those in use close when their requests end.
func (c *carrier) shutdown() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.transport.CloseIdleConnections()
}
