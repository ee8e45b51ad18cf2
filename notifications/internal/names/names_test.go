package names

import (
	_ "crypto/sha512" // without it, package go-digest knows neither SHA-384 nor SHA-512
	"errors"
	"strings"
	"testing"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

const aSHA256 = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// FuzzNames compares with the packages of the vocabulary.
func FuzzNames(f *testing.F) {
	for _, s := range hardNames() {
		f.Add(s)
	}
	f.Fuzz(compare)
}

// TestShortNames compares every short word of the characters that matter.
func TestShortNames(t *testing.T) {
	for length, last := 1, []string{""}; length <= 5; length++ {
		var longer []string
		for _, w := range last {
			for _, c := range "a0._-/A:" {
				longer = append(longer, w+string(c))
			}
		}
		for _, w := range longer {
			compare(t, w)
		}
		last = longer
	}
}

// hardNames are names and what nearly are, of which no short word is an example.
func hardNames() []string {
	long := strings.Repeat("a", reference.RepositoryNameTotalLengthMax)
	return []string{
		"", "a--b", "a----b", "a___b", "a_-b", "ä", "a/b/c/d", "a b", "a\x00", "a\n",
		"localhost/a", "localhost:5000/a", "localhost:/a", "reg:5000", "Reg.Example-1.com/a", "Reg-/a", "Reg..com/a", "-reg.com/a", "A/B/a",
		"[::1]/a", "[::1]:5000/a", "[::1]:/a", "[::1/a", "[]/a", "[::g]/a", "[::1]x/a",
		long, long + "a", long[:128], long[:129], "v1.0_rc-1", ".a", "-a", "_a",
		aSHA256, strings.ToUpper(aSHA256), "sha256:" + strings.Repeat("A", 64), aSHA256[:70], aSHA256 + "0", "sha256:", ":" + aSHA256,
		"sha384:" + strings.Repeat("0", 96), "sha384:" + strings.Repeat("0", 64), "sha512:" + strings.Repeat("f", 128), "sha512:" + strings.Repeat("g", 128),
		"multihash+base58:Qm=_-", "a++b:c", "+a:c", "a+:c", "a:b:c", "a:b+", "md5:0", "A:b",
	}
}

// compare fails where s is taken as one thing and is not that to the vocabulary, or the
// other way round. A name with a host may be longer there.
func compare(t *testing.T, s string) {
	t.Helper()
	_, err := reference.WithName(s)
	if got, want := IsRepository(s), err == nil && len(s) <= reference.RepositoryNameTotalLengthMax; got != want {
		t.Errorf("repository %q: %t, want %t", s, got, want)
	}
	image, err := reference.WithName("image")
	if err != nil {
		t.Fatal(err)
	}
	_, err = reference.WithTag(image, s)
	if got, want := IsTag(s), err == nil; got != want {
		t.Errorf("tag %q: %t, want %t", s, got, want)
	}
	err = digest.Digest(s).Validate()
	if got, want := IsDigest(s), err == nil || errors.Is(err, digest.ErrDigestUnsupported); got != want {
		t.Errorf("digest %q: %t, want %t", s, got, want)
	}
}

func TestNamesAllocateNothing(t *testing.T) {
	for _, s := range hardNames() {
		var is [3]bool
		if n := testing.AllocsPerRun(10, func() { is = [...]bool{IsRepository(s), IsTag(s), IsDigest(s)} }); n != 0 {
			t.Errorf("%q: %v allocations (%v)", s, n, is)
		}
	}
}
