package redis

import (
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/notifications/observer/cache"
)

// FuzzParse reads entries as anybody may have written them: whatever is accepted is what
// was written, and a valid descriptor of the digest that was asked for.
func FuzzParse(f *testing.F) {
	sha256, sha512 := digest.FromString("a").String(), digest.SHA512.FromString("a").String()
	f.Add(sha256, sha256, "1", "application/octet-stream", byte(0))
	f.Add(sha512, sha256, "9223372036854775807", "a/b", byte(0))
	f.Add(sha256, sha256, "9223372036854775808", "a/b", byte(0))
	f.Add(sha256, digest.FromString("b").String(), "1", "a/b", byte(0))
	f.Add(sha256, sha256, "-1", "a/b", byte(0))
	f.Add(sha256, sha256, "1", "", byte(0))
	f.Add(sha256, "", "", "", byte(7))
	f.Fuzz(func(t *testing.T, key, dgst, size, mediaType string, missing byte) {
		fields := []any{dgst, size, mediaType}
		for i := range fields {
			if missing&(1<<i) != 0 {
				fields[i] = nil
			}
		}
		desc, ok := parse(digest.Digest(key), fields)
		if !ok {
			return
		}
		if err := cache.Validate(digest.Digest(key), desc); err != nil || missing&7 != 0 {
			t.Errorf("accepted, missing %03b: %v", missing&7, err)
		}
		digits := strings.TrimLeft(size, "0")
		if digits == "" {
			digits = "0"
		}
		if desc.Digest.String() != dgst || desc.MediaType != mediaType || strconv.FormatInt(desc.Size, 10) != digits {
			t.Errorf("%q, %q, %q became %+v", dgst, size, mediaType, desc)
		}
	})
}
