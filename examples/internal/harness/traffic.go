package harness

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// A Client does to a registry what people do: push, pull, mount and delete, over HTTP.
type Client struct {
	host    string
	options []remote.Option
}

// NewClient returns a client of the registry at host. Its calls end with ctx.
func NewClient(ctx context.Context, host string) *Client {
	return &Client{host: host, options: []remote.Option{
		remote.WithContext(ctx), remote.WithUserAgent("regcast-harness"), remote.WithJobs(1),
	}}
}

func (c *Client) tag(repository, tag string) (name.Tag, error) {
	return name.NewTag(c.host + "/" + repository + ":" + tag)
}

// PushImage pushes a new random image of some layers under a tag.
func (c *Client) PushImage(repository, tag string, layers int64) (v1.Image, error) {
	image, err := random.Image(2<<10, layers)
	if err != nil {
		return nil, fmt.Errorf("making an image: %w", err)
	}
	ref, err := c.tag(repository, tag)
	if err != nil {
		return nil, err
	}
	if err := remote.Write(ref, image, c.options...); err != nil {
		return nil, fmt.Errorf("pushing %s: %w", ref, err)
	}
	return image, nil
}

// PushIndex pushes a new random index of two images under a tag.
func (c *Client) PushIndex(repository, tag string) error {
	index, err := random.Index(1<<10, 1, 2)
	if err != nil {
		return fmt.Errorf("making an index: %w", err)
	}
	ref, err := c.tag(repository, tag)
	if err != nil {
		return err
	}
	// A platform for each child: distribution refuses an index without.
	manifest, err := index.IndexManifest()
	if err != nil {
		return fmt.Errorf("reading the index: %w", err)
	}
	platforms := []v1.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}
	out := v1.ImageIndex(mutate.IndexMediaType(emptyIndex(index), manifest.MediaType))
	for i, child := range manifest.Manifests {
		image, err := index.Image(child.Digest)
		if err != nil {
			return fmt.Errorf("reading a child of the index: %w", err)
		}
		child.Platform = &platforms[i%len(platforms)]
		out = mutate.AppendManifests(out, mutate.IndexAddendum{Add: image, Descriptor: child})
	}
	if err := remote.WriteIndex(ref, out, c.options...); err != nil {
		return fmt.Errorf("pushing %s: %w", ref, err)
	}
	return nil
}

// emptyIndex is index without its children.
func emptyIndex(index v1.ImageIndex) v1.ImageIndex {
	return mutate.RemoveManifests(index, func(v1.Descriptor) bool { return true })
}

// Pull pulls an image whole: manifest, config and layers.
func (c *Client) Pull(reference string) error {
	ref, err := name.ParseReference(c.host + "/" + reference)
	if err != nil {
		return err
	}
	image, err := remote.Image(ref, c.options...)
	if err != nil {
		return fmt.Errorf("pulling %s: %w", ref, err)
	}
	if _, err := image.RawConfigFile(); err != nil {
		return fmt.Errorf("pulling the config of %s: %w", ref, err)
	}
	layers, err := image.Layers()
	if err != nil {
		return fmt.Errorf("pulling the layers of %s: %w", ref, err)
	}
	for _, layer := range layers {
		content, err := layer.Compressed()
		if err != nil {
			return fmt.Errorf("pulling a layer of %s: %w", ref, err)
		}
		if err := content.Close(); err != nil {
			return fmt.Errorf("pulling a layer of %s: %w", ref, err)
		}
	}
	return nil
}

// Copy copies a tagged image to another repository of the same registry; its blobs are
// mounted, not pushed.
func (c *Client) Copy(from, tag, to string) error {
	src, err := c.tag(from, tag)
	if err != nil {
		return err
	}
	dst, err := c.tag(to, tag)
	if err != nil {
		return err
	}
	image, err := remote.Image(src, c.options...)
	if err != nil {
		return fmt.Errorf("reading %s: %w", src, err)
	}
	if err := remote.Write(dst, image, c.options...); err != nil {
		return fmt.Errorf("copying %s to %s: %w", src, dst, err)
	}
	return nil
}

// DeleteTag deletes a tag and leaves what it pointed at.
func (c *Client) DeleteTag(repository, tag string) error {
	ref, err := c.tag(repository, tag)
	if err != nil {
		return err
	}
	if err := remote.Delete(ref, c.options...); err != nil {
		return fmt.Errorf("deleting %s: %w", ref, err)
	}
	return nil
}

// DeleteManifest deletes an image by digest, and so every tag that points at it.
func (c *Client) DeleteManifest(repository string, image v1.Image) error {
	digest, err := image.Digest()
	if err != nil {
		return fmt.Errorf("reading the digest: %w", err)
	}
	ref, err := name.NewDigest(c.host + "/" + repository + "@" + digest.String())
	if err != nil {
		return err
	}
	if err := remote.Delete(ref, c.options...); err != nil {
		return fmt.Errorf("deleting %s: %w", ref, err)
	}
	return nil
}

// Play does everything once in the repositories under prefix: it pushes an image of
// three layers and an index, pulls by tag and by digest, mounts blobs into another
// repository, deletes a tag and a manifest.
func (c *Client) Play(prefix string) error {
	app, fork := prefix+"/app", prefix+"/fork"
	image, err := c.PushImage(app, "1.0", 3)
	if err != nil {
		return err
	}
	digest, err := image.Digest()
	if err != nil {
		return fmt.Errorf("reading the digest: %w", err)
	}
	for _, step := range []func() error{
		func() error { return c.PushIndex(app, "multi") },
		func() error { return c.Pull(app + ":1.0") },
		func() error { return c.Pull(app + "@" + digest.String()) },
		func() error { return c.Copy(app, "1.0", fork) },
		func() error { return c.DeleteTag(app, "multi") },
		func() error { return c.DeleteManifest(fork, image) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
