package app

import (
	"fmt"
	"net/http"

	"github.com/regcast/regcast/cmd/internal/delivery"
	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/sinks"
)

// newEndpoint builds what the configuration describes. It starts nothing.
func (a *App) newEndpoint(c *config.Endpoint) (*endpoints.Endpoint, error) {
	opts, err := endpointOptions(c)
	if err != nil {
		return nil, err
	}
	opts.Match = delivery.ForAudience(c.Name, opts.Match)
	opts.Version, opts.Console = a.opts.Version, a.opts.Console
	opts.Logger = a.logger
	opts.Metrics = a.metrics
	opts.Slots = a.slots
	opts.OnState = func(s endpoints.Snapshot) { a.deliveries.Note(c.Name, s) }
	opts.OnStorm = func(sequences []uint64) { a.deliveries.ReviveStorm(c.Name, sequences) }
	if a.history != nil {
		opts.OnAttempt = func(r sinks.AttemptRecord) { a.history.RecordAttempts(r) }
	}
	ep, err := buildEndpoint(c, opts, a.mirrored)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", c.Name, err)
	}
	return ep, nil
}

// endpointOptions translates the configuration of an endpoint.
func endpointOptions(c *config.Endpoint) (*endpoints.Options, error) {
	match, err := sinks.NewMatcher(rules(c.Filter), rules(c.Ignore))
	if err != nil {
		return nil, err
	}
	opts := &endpoints.Options{
		Format:        c.Format,
		Timeout:       c.Timeout,
		Authorization: secretOf(c.Authorization, c.AuthorizationFile),
		Headers:       make(http.Header, len(c.Headers)),
		Ordering:      endpoints.Ordering(c.Ordering),
		Concurrency:   c.Concurrency,
		Batch:         sinks.BatchOptions{MaxEvents: c.Batch.MaxEvents, MaxBytes: int(c.Batch.MaxBytes), Linger: c.Batch.Linger},
		Retry: endpoints.RetryOptions{
			Initial: c.Retry.Initial, Max: c.Retry.Max, MaxAge: c.Retry.MaxAge, RetryAfterMax: c.Retry.RetryAfterMax,
		},
		MaxBlock:   c.MaxBlock,
		OnBlock:    endpoints.BlockRule(c.OnBlock),
		AllowCIDRs: c.AllowCIDRs, DenyCIDRs: c.DenyCIDRs,
		Match:     match,
		TLS:       clientTLS(c.TLS),
		Signing:   endpoints.SigningOptions{Scheme: c.Signing.Scheme, Header: c.Signing.Header},
		ProxyURL:  c.ProxyURL.Reveal(),
		SuccessOn: c.SuccessOn, RetryOn: c.RetryOn, DropOn: c.DropOn,
	}
	for name, values := range c.Headers {
		for _, v := range values {
			opts.Headers[name] = append(opts.Headers[name], v.Reveal())
		}
	}
	for _, file := range c.Signing.SecretFiles {
		opts.Signing.Secrets = append(opts.Signing.Secrets, endpoints.SecretFile(file))
	}
	if c.URLFile != "" {
		opts.URL = endpoints.SecretFile(c.URLFile)
	}
	return opts, nil
}

func rules(r config.Rules) sinks.Rules {
	return sinks.Rules{
		Kinds: r.Kinds, Actions: r.Actions, Repositories: r.Repositories, Tags: r.Tags,
		MediaTypes: r.MediaTypes, Actors: r.Actors, Methods: r.Methods,
	}
}
