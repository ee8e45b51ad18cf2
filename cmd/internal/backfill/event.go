package backfill

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/google/uuid"
	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/delivery"
	"github.com/regcast/regcast/notifications"
)

// maxMediaType bounds a media type, in bytes: twice 127 and a slash (RFC 6838 §4.2).
const maxMediaType = 255

// ParseRegistry reads the URL of a registry: a scheme, https or http, and a host. It
// returns the form of it that is always the same: in lower case, and without the scheme's
// own port.
func ParseRegistry(from string) (*url.URL, error) {
	u, err := url.Parse(from)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("a registry is https:// or http:// and a host, such as https://registry.example:5000")
	case u.User != nil:
		return nil, errors.New("the URL of a registry has no user: credentials are Docker's")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("the URL of a registry ends with its host: name repositories by patterns")
	}
	host := strings.ToLower(u.Host)
	if port := map[string]string{"https": ":443", "http": ":80"}[u.Scheme]; u.Port() != "" {
		host = strings.TrimSuffix(host, port)
	}
	return &url.URL{Scheme: u.Scheme, Host: host}, nil
}

// ID is the id of the event that tells endpoint of a manifest or, with a tag, of a tag in
// the registry at host: a UUIDv8 (RFC 9562 §5.8) of a hash of all that.
func ID(host, endpoint string, f *admin.Found) string {
	h := sha256.New()
	for _, part := range []string{host, f.Repository, f.Tag, f.Digest, endpoint} {
		h.Write(binary.AppendUvarint(nil, uint64(len(part))))
		h.Write([]byte(part))
	}
	id := uuid.UUID(h.Sum(nil)[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id.String()
}

// newEvent makes the event that tells endpoint of f, which the registry has. It judges f
// as intake would.
func newEvent(registry *url.URL, endpoint, sender string, f *admin.Found) (*notifications.Event, error) {
	switch {
	case f.Digest == "":
		return nil, errors.New("a manifest has a digest")
	case len(f.MediaType) > maxMediaType || f.Size < 0:
		return nil, fmt.Errorf("%s@%s is no manifest", f.Repository, f.Digest)
	}
	var d notifications.Details
	d.Target.MediaType, d.Target.Digest, d.Target.Size = f.MediaType, digest.Digest(f.Digest), f.Size
	d.Target.Repository, d.Target.Tag = f.Repository, f.Tag
	d.Target.URL = registry.JoinPath("v2", f.Repository, "manifests", f.Digest).String()
	d.Source.Addr = registry.Host
	d.Remark = notifications.Remark{Origin: notifications.OriginBackfill, Audience: endpoint}
	made := notifications.NewEvent(notifications.ActionPush, d)
	made.ID = ID(registry.Host, endpoint, f)
	e, err := notifications.ParseEvent(string(made.AppendJSON(nil)))
	if err != nil {
		return nil, err
	}
	e.Provenance = notifications.Provenance{Format: delivery.FormatBackfill, Sender: sender}
	return e, nil
}
