package app

import (
	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/endpoints/mirror"
	"github.com/regcast/regcast/notifications/registry/auth"
)

// buildEndpoint makes an endpoint of the kind that c says. opts are those of c, and more;
// mirrored, which may be nil, measures if it is a mirror.
func buildEndpoint(c *config.Endpoint, opts *endpoints.Options, mirrored *mirror.Metrics) (*endpoints.Endpoint, error) {
	if c.Kind != config.KindMirror {
		return endpoints.NewEndpoint(c.Name, c.URL, opts)
	}
	return mirror.NewEndpoint(c.Name, &mirror.Options{
		Source:           mirrorSide(c.Source, c.SourceAuthFile, c.SourceTLS),
		Target:           mirrorSide(c.Target, c.TargetAuthFile, c.TargetTLS),
		TokenHosts:       c.TokenHosts,
		Platforms:        c.Platforms,
		BlobConcurrency:  c.BlobConcurrency,
		ByDigest:         c.ByDigest,
		Referrers:        c.Referrers,
		PropagateDeletes: c.PropagateDeletes,
		Endpoint:         *opts,
		Metrics:          mirrored,
	})
}

func mirrorSide(url, authFile string, tls config.ClientTLS) mirror.Registry {
	r := mirror.Registry{URL: url, TLS: clientTLS(tls)}
	if authFile != "" {
		r.Credentials = auth.DockerConfig(authFile)
	}
	return r
}

func clientTLS(c config.ClientTLS) endpoints.TLSOptions {
	return endpoints.TLSOptions{
		CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile,
		InsecureSkipVerify: c.InsecureSkipVerify,
	}
}

// series are the metrics that endpoints have: those of every one, and those of mirrors.
type series struct {
	all     *endpoints.Metrics
	mirrors *mirror.Metrics
}

// Forget ends the series of an endpoint.
func (s series) Forget(name string) {
	s.all.Forget(name)
	s.mirrors.Forget(name)
}
