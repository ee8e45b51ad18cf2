package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/sinks"
)

// settling is how long after a push a source that does not have what was pushed is not
// believed: its replicas may be behind.
const settling = 5 * time.Minute

// A missingError says that the source does not have what was pushed, and that this is no
// reason to settle the event.
type missingError struct {
	class endpoints.Class
	what  string
}

func (e *missingError) Error() string { return "source: it has no " + e.what }

// missing says what it means that the source has no such tag or digest, which it said in
// the words of a registry. From a repository that it knows, what was pushed a while ago is
// gone. A repository that it does not know may be deleted, but as well be hidden from our
// credential, or be another registry's: only a replay, which begins with what may be gone,
// settles such an event, and only if the source has ever served a manifest.
func (j *job) missing(ref string) error {
	known, err := j.m.source.knows(j.ctx, j.repository)
	if err != nil {
		return err
	}
	j.touch()
	what := "repository " + j.repository
	if known {
		what = fmt.Sprintf("%s in repository %s", ref, j.repository)
	}
	switch {
	case !known && !j.m.source.served.Load():
		return &missingError{endpoints.Misdirected, what}
	case j.replayed, known && !j.fresh:
		return &supersededError{reasonGone}
	default:
		return &missingError{endpoints.Transient, what}
	}
}

// knows tells whether the registry lists the tags of a repository. Its answer to a request
// for a manifest does not tell: CNCF distribution says MANIFEST_UNKNOWN where there is no
// such repository, too.
func (s *side) knows(ctx context.Context, repository string) (bool, error) {
	for _, err := range s.client.Tags(ctx, repository, nil) {
		if errors.Is(err, registry.ErrNotFound) {
			return false, nil
		}
		return err == nil, s.failed(err)
	}
	return true, nil // and it has none
}

// age notes how old an event is: by our clock, where an attempt says when it was stored.
func (j *job) age(e *notifications.Event) {
	a, _ := sinks.AttemptFrom(j.ctx)
	since := a.Stored
	if since.IsZero() {
		since = e.Timestamp
	}
	j.fresh, j.replayed = time.Since(since) < settling, a.Replay != ""
}
