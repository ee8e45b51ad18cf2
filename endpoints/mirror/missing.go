package mirror

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/sinks"
)

// settling is how long after an event a source that shows something else is not believed:
// its replicas may be behind.
const settling = 5 * time.Minute

// An unsettledError says that the source shows something else than the event tells of, and
// that this is no reason to settle the event.
type unsettledError struct {
	class  endpoints.Class
	status int // that the source answered, if it was not 200
	shows  string
}

func (e *unsettledError) Error() string { return "source: " + e.shows }

// superseded settles an event, of which the source shows something else by now, unless
// the event is so young that it may be a replica of the source that is behind. Then it is
// tried again, and put aside until then: if there is a later one, that is not kept waiting.
func (j *job) superseded(r reason, status int, shows string) error {
	if j.early() {
		return &unsettledError{endpoints.Early, status, shows}
	}
	return &supersededError{r}
}

// early tells whether a replica of the source may be behind.
func (j *job) early() bool { return j.fresh && !j.replayed }

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
	shows := "it has no repository " + j.repository
	switch {
	case known:
		return j.superseded(reasonGone, http.StatusNotFound, fmt.Sprintf("it has no %s in repository %s", ref, j.repository))
	case !j.m.source.served.Load():
		return &unsettledError{endpoints.Misdirected, http.StatusNotFound, shows}
	case j.replayed:
		return &supersededError{reasonGone}
	default:
		return &unsettledError{endpoints.Transient, http.StatusNotFound, shows}
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
