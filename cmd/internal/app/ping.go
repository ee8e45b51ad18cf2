package app

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
)

// Ping sends a test event to an endpoint; see [admin.EndpointControl].
func (d *dispatcher) Ping(ctx context.Context, name, sample string) (admin.Pong, error) {
	at, err := d.Find(ctx, name)
	if err != nil {
		return admin.Pong{}, err
	}
	_, ep := at.Current()
	return ping(ctx, ep, sourceOf(d.app.config.Load()), sample)
}

// PingAlone sends a test event to the endpoint of that name in cfg, as a running
// dispatcher does. Errors: admin.ErrNotFound; admin.ErrInvalid for a sample that there is
// none of; [config.Problems].
func PingAlone(ctx context.Context, cfg *config.Config, version, name, sample string) (admin.Pong, error) {
	if problems := Check(cfg); len(problems) > 0 {
		return admin.Pong{}, problems
	}
	for i := range cfg.Endpoints {
		if cfg.Endpoints[i].Name != name {
			continue
		}
		opts, err := endpointOptions(&cfg.Endpoints[i])
		if err != nil {
			return admin.Pong{}, err
		}
		opts.Version = version
		ep, err := buildEndpoint(&cfg.Endpoints[i], opts, nil)
		if err != nil {
			return admin.Pong{}, err
		}
		defer ep.Shutdown(context.WithoutCancel(ctx))
		return ping(ctx, ep, sourceOf(cfg), sample)
	}
	return admin.Pong{}, fmt.Errorf("endpoint %s: %w in the configuration", name, admin.ErrNotFound)
}

// sourceOf is how a dispatcher names itself in events that it makes.
func sourceOf(cfg *config.Config) notifications.SourceRecord {
	addr := cfg.Source.Addr
	if addr == "" {
		addr, _ = os.Hostname() // a host without a name has none to give
	}
	return notifications.SourceRecord{Addr: addr}
}

// ping sends an event that looks as sample says, but for its action.
func ping(ctx context.Context, ep *endpoints.Endpoint, source notifications.SourceRecord, sample string) (admin.Pong, error) {
	e, err := pingEvent(source, sample)
	if err != nil {
		return admin.Pong{}, err
	}
	result, err := ep.Ping(ctx, e)
	pong := admin.Pong{
		ID: e.ID, Status: result.Status, DurationSeconds: result.Duration.Seconds(), Excerpt: result.Excerpt,
	}
	if err != nil {
		pong.Error = err.Error()
	}
	return pong, nil
}

// pingEvent is an event of a repository that no registry has.
func pingEvent(source notifications.SourceRecord, sample string) (*notifications.Event, error) {
	content := []byte("regcast ping")
	target := notifications.Target{
		Descriptor: v1.Descriptor{
			MediaType: v1.MediaTypeImageManifest, Digest: digest.FromBytes(content), Size: int64(len(content)),
		},
		Length: int64(len(content)), Repository: "regcast/ping", Tag: "latest",
	}
	method := http.MethodGet
	switch sample {
	case "", notifications.ActionPush:
		method = http.MethodPut
	case notifications.ActionPull:
	case notifications.ActionMount:
		method = http.MethodPost
		target.MediaType, target.Tag, target.FromRepository = v1.MediaTypeImageLayerGzip, "", "regcast/base"
	case notifications.ActionDelete:
		method = http.MethodDelete
		target = notifications.Target{Descriptor: v1.Descriptor{Digest: target.Digest}, Repository: target.Repository}
	default:
		return nil, fmt.Errorf("%w: no sample is called %q; there are push, pull, mount and delete", admin.ErrInvalid, sample)
	}
	return notifications.NewEvent(notifications.ActionPing, notifications.Details{
		Target: target, Source: source,
		Request: notifications.RequestRecord{Method: method, UserAgent: "regcast"},
		Actor:   notifications.ActorRecord{Name: "regcast"},
	}), nil
}
