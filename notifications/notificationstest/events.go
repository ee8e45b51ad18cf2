package notificationstest

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications"
)

// Time is when sample event n happened: a second after the one before.
func Time(n int) time.Time {
	return time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(n) * time.Second)
}

// Push returns sample event n: an image manifest was pushed to repo as tag, or by digest
// if tag is "". The same arguments make the same event, the id included, so that a
// second one is a repeat of the first; n must be in [0, 2^31).
func Push(repo, tag string, n int) *notifications.Event {
	return manifestEvent(notifications.ActionPush, "PUT", repo, tag, n)
}

// Pull is [Push] for a pull.
func Pull(repo, tag string, n int) *notifications.Event {
	return manifestEvent(notifications.ActionPull, "GET", repo, tag, n)
}

// Delete returns sample event n: the manifest of [Push] with the same number was deleted.
func Delete(repo string, n int) *notifications.Event {
	target := notifications.Target{Repository: repo}
	target.Digest = Digest(repo, n)
	return event(notifications.ActionDelete, "DELETE", target, n)
}

// BlobPush returns sample event n: a blob was pushed to repo.
func BlobPush(repo string, n int) *notifications.Event {
	return event(notifications.ActionPush, "PUT", blob(repo, n), n)
}

// BlobPull returns sample event n: a blob was pulled from repo.
func BlobPull(repo string, n int) *notifications.Event {
	return event(notifications.ActionPull, "GET", blob(repo, n), n)
}

// BlobMount returns sample event n: a blob of from was mounted into repo.
func BlobMount(repo, from string, n int) *notifications.Event {
	target := blob(repo, n)
	target.FromRepository = from
	return event(notifications.ActionMount, "POST", target, n)
}

// TagDelete returns sample event n: tag was deleted in repo.
func TagDelete(repo, tag string, n int) *notifications.Event {
	return event(notifications.ActionDelete, "DELETE", notifications.Target{Repository: repo, Tag: tag}, n)
}

// RepositoryDelete returns sample event n: repo was deleted.
func RepositoryDelete(repo string, n int) *notifications.Event {
	return event(notifications.ActionDelete, "DELETE", notifications.Target{Repository: repo}, n)
}

// Pushes returns count sample pushes, numbered from first, dealt to repos in turn.
func Pushes(first, count int, repos ...string) []*notifications.Event {
	events := make([]*notifications.Event, count)
	for i := range events {
		n := first + i
		events[i] = Push(repos[n%len(repos)], "v"+strconv.Itoa(n), n)
	}
	return events
}

// Number returns the n that e was made with, or -1 if e is no sample event.
func Number(e *notifications.Event) int {
	if len(e.ID) != len("01234567-89ab-7def-8123-456789abcdef") {
		return -1
	}
	n, err := strconv.ParseUint(e.ID[24:], 16, 48)
	if err != nil {
		return -1
	}
	return int(n)
}

// Numbers returns the [Number] of each event.
func Numbers(events []*notifications.Event) []int {
	numbers := make([]int, len(events))
	for i, e := range events {
		numbers[i] = Number(e)
	}
	return numbers
}

// Digest is the digest of whatever sample event n of repo is about.
func Digest(repo string, n int) digest.Digest {
	return digest.FromString(fmt.Sprintf("%s %d", repo, n))
}

func manifestEvent(action, method, repo, tag string, n int) *notifications.Event {
	target := notifications.Target{
		Descriptor: v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: Digest(repo, n), Size: 700},
		Length:     700,
		Repository: repo,
		Tag:        tag,
		URL:        fmt.Sprintf("http://registry.example:5000/v2/%s/manifests/%s", repo, Digest(repo, n)),
	}
	return event(action, method, target, n)
}

func blob(repo string, n int) notifications.Target {
	return notifications.Target{
		Descriptor: v1.Descriptor{MediaType: "application/octet-stream", Digest: Digest(repo, n), Size: 4096},
		Length:     4096,
		Repository: repo,
		URL:        fmt.Sprintf("http://registry.example:5000/v2/%s/blobs/%s", repo, Digest(repo, n)),
	}
}

func event(action, method string, target notifications.Target, n int) *notifications.Event {
	e := notifications.NewEvent(action, notifications.Details{
		Target: target,
		Request: notifications.RequestRecord{
			ID:        fmt.Sprintf("01960000-0000-7000-8000-%012x", n),
			Addr:      "192.0.2.7:51234",
			Host:      "registry.example:5000",
			Method:    method,
			UserAgent: "sample/1.0",
		},
		Actor:  notifications.ActorRecord{Name: "alice"},
		Source: notifications.SourceRecord{Addr: "registry-0:5000", InstanceID: "01960000-0000-7000-8000-000000000000"},
	})
	e.Timestamp = Time(n)
	e.ID = id(e, n)
	return e
}

// id makes a UUIDv7 that says when, of what kind and which number: distinct for
// different events, the same in every run.
func id(e *notifications.Event, n int) string {
	h := fnv.New32a()
	fmt.Fprintf(h, "%s %s %s %s %s", e.Action, e.Repository, e.Tag, e.Digest, e.MediaType)
	kind := h.Sum32()
	ms := uint64(e.Timestamp.UnixMilli())
	return fmt.Sprintf("%08x-%04x-7%03x-%04x-%012x", ms>>16, ms&0xffff, kind>>20, 0x8000|kind&0x3fff, n)
}
