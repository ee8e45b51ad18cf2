package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/notifications/intake"
)

// servers are the two that every app listens with.
type servers struct {
	intake, admin *server
	failed        chan error // of any server that ended on its own
}

// startServers listens for events and in front of registries first and for operators
// last, so that readiness is seen only once events are taken.
func (a *App) startServers(cfg *config.Config) (err error) {
	a.servers.failed = make(chan error, 2+len(cfg.Proxies))
	a.intake = intake.NewHandler(a.news, a.intakeOptions(cfg))
	in := intake.NewServer(a.intake)
	in.ReadHeaderTimeout, in.IdleTimeout = cfg.Intake.HeaderTimeout, cfg.Intake.IdleTimeout
	if a.servers.intake, err = a.listen("intake", cfg.Intake.Listen, cfg.Intake.TLS, in); err != nil {
		return err
	}
	a.logger.Info("taking events", "url", a.servers.intake.url()+"/events")
	if err := a.startFronts(cfg); err != nil {
		return err
	}

	a.admin = admin.NewHandler(&admin.Options{
		Healthy: a.Health, Ready: a.Ready,
		Gatherer: a.registry, MetricsAnonymous: cfg.Admin.MetricsAnonymous,
		Tokens:     a.adminTokens,
		Dispatcher: a.dispatcher, Logger: a.logger,
	})
	admin := &http.Server{
		Handler:           a.admin,
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slogWarnings(a.logger),
	}
	if a.servers.admin, err = a.listen("admin", cfg.Admin.Listen, cfg.Admin.TLS, admin); err != nil {
		return err
	}
	a.logger.Info("health, metrics and the admin API", "url", a.servers.admin.url())
	return nil
}

func (a *App) intakeOptions(cfg *config.Config) *intake.Options {
	return &intake.Options{
		MaxBody: int(cfg.Intake.MaxBody), MaxEvents: cfg.Intake.MaxEvents, MaxEventBytes: int(cfg.Intake.MaxEvent),
		Tokens:         func() ([]string, bool) { return a.tokens.Load().intake(a.logger) },
		TrustedProxies: cfg.Intake.TrustedProxies,
		Registerer:     a.registry,
		Logger:         a.logger,
	}
}

// A server is an http.Server at work. A nil one was never started.
type server struct {
	name     string
	secure   bool // speaks TLS; http.TLSConfig does not tell, because a server that runs sets it
	http     *http.Server
	listener net.Listener
	done     chan struct{}
}

// slogWarnings is what a server says of its connections.
func slogWarnings(logger *slog.Logger) *log.Logger {
	return slog.NewLogLogger(logger.Handler(), slog.LevelWarn)
}

// listen starts a server. Its goroutine is joined by shutdown.
func (a *App) listen(name, addr string, files config.ServerTLS, h *http.Server) (*server, error) {
	s, err := bind(name, addr, files, h)
	if err == nil {
		s.serve(a.servers.failed)
	}
	return s, err
}

// bind takes the address of a server, which name, a table of the configuration, describes.
// Until serve, closing its listener is all that it needs.
func bind(name, addr string, files config.ServerTLS, h *http.Server) (*server, error) {
	var err error
	if h.TLSConfig, err = serverTLS(files); err != nil {
		return nil, fmt.Errorf("%s.tls: %w", name, err)
	}
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s.listen: %w; stop what listens there, or give regcast another address", name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s.listen: %w", name, err)
	}
	return &server{name: name, secure: h.TLSConfig != nil, http: h, listener: l, done: make(chan struct{})}, nil
}

// serve begins to answer. What ends it on its own goes to failed. The goroutine is joined
// by shutdown.
func (s *server) serve(failed chan<- error) {
	go func() {
		defer close(s.done)
		serve := func() error { return s.http.Serve(s.listener) }
		if s.secure {
			serve = func() error { return s.http.ServeTLS(s.listener, "", "") }
		}
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("%s server: %w", s.name, err)
		}
	}()
}

func (s *server) addr() string {
	if s == nil {
		return ""
	}
	return s.listener.Addr().String()
}

func (s *server) url() string {
	if s.secure {
		return "https://" + s.addr()
	}
	return "http://" + s.addr()
}

// shutdown lets requests under way finish until ctx ends, then cuts them.
func (s *server) shutdown(ctx context.Context) error {
	if s == nil {
		return nil
	}
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("stopping the %s server: %w", s.name, err), s.http.Close())
	}
	<-s.done
	return err
}

// serverTLS reads the certificates of a server; without any it returns nil, for plain
// HTTP. The pair is read again for each handshake, so that a renewed certificate is used
// at once.
func serverTLS(files config.ServerTLS) (*tls.Config, error) {
	if files.CertFile == "" {
		return nil, nil
	}
	if _, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile); err != nil {
		return nil, fmt.Errorf("reading %s and %s: %w", files.CertFile, files.KeyFile, err)
	}
	c := &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
			return &pair, err
		},
	}
	if files.ClientCAFile != "" {
		pem, err := os.ReadFile(files.ClientCAFile)
		if err != nil {
			return nil, fmt.Errorf("reading the clients' authorities: %w", err)
		}
		c.ClientCAs = x509.NewCertPool()
		if !c.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("no certificate in %s", files.ClientCAFile)
		}
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return c, nil
}
