package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

const (
	connectTimeout     = 10 * time.Second
	handshakeTimeout   = 10 * time.Second
	continueTimeout    = time.Second // until a body is sent although the registry has not asked for it
	idleConnection     = 90 * time.Second
	idleConnections    = 128
	maxResponseHeader  = 1 << 20
	pingAfter          = 30 * time.Second // of silence on a connection of HTTP/2
	pingTimeout        = 15 * time.Second
	transportBufferLen = 32 << 10
)

// newTransport makes the transport to the registry. Errors: an OptionError.
func newTransport(o *Options) (*http.Transport, error) {
	conf, err := tlsConfig(o.TLS)
	if err != nil {
		return nil, err
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(o.HTTP2)
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSClientConfig:        conf,
		TLSHandshakeTimeout:    handshakeTimeout,
		ExpectContinueTimeout:  continueTimeout,
		DisableCompression:     true, // or it would unpack what a client wants as it is
		MaxIdleConns:           idleConnections,
		MaxIdleConnsPerHost:    idleConnections,
		IdleConnTimeout:        idleConnection,
		MaxResponseHeaderBytes: maxResponseHeader,
		ReadBufferSize:         transportBufferLen,
		Protocols:              &protocols,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}, nil
}

func tlsConfig(files UpstreamTLS) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if files.CAFile != "" {
		pem, err := os.ReadFile(files.CAFile)
		if err != nil {
			return nil, &OptionError{"TLS.CAFile", err}
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, badOption("TLS.CAFile", "no certificate in %s", files.CAFile)
		}
	}
	if files.CertFile != "" {
		load := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
			if err != nil {
				return nil, fmt.Errorf("reading %s and %s: %w", files.CertFile, files.KeyFile, err)
			}
			return &pair, nil
		}
		if _, err := load(); err != nil {
			return nil, &OptionError{"TLS.CertFile", err}
		}
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return conf, nil
}
