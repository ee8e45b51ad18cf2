package observer

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

const aSHA256 = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// What is remembered of manifests takes no more memory than it weighs.
func TestRememberedManifestsAreWeighed(t *testing.T) {
	for name, reference := range map[string]string{
		"tiny references":      `{"digest":"a:b"}`,
		"tiny annotations":     `{"digest":"a:b","annotations":{"%d":"","b%[1]d":"","c%[1]d":"","d%[1]d":"","e%[1]d":"","f%[1]d":"","g%[1]d":"","h%[1]d":"","i%[1]d":""}}`,
		"one annotation each":  `{"digest":"a:b","annotations":{"%d":""}}`,
		"tiny URLs":            `{"digest":"a:b","urls":["","","","","","","","","","","","","","","%d"]}`,
		"tiny platforms":       `{"digest":"a:b","platform":{"os.features":["","","","","%d"]}}`,
		"ordinary descriptors": `{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"` + aSHA256 + `","size":%d}`,
	} {
		t.Run(name, func(t *testing.T) {
			m := newManifestMemory()
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			for i := range 16 {
				var s strings.Builder
				s.WriteString(`{"layers":[`)
				for n := range 1000 {
					if s.Len() > 40<<10 {
						break
					}
					if n > 0 {
						s.WriteByte(',')
					}
					if strings.Contains(reference, "%") {
						fmt.Fprintf(&s, reference, n)
					} else {
						s.WriteString(reference)
					}
				}
				s.WriteString(`]}`)
				f, err := readFields([]byte(s.String()), true)
				if err != nil {
					t.Fatal(err)
				}
				dgst := digest.FromString(fmt.Sprint(i))
				known := &manifest{descriptor: v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: dgst}, references: f.references("")}
				m.add("a", known, true)
				if !m.has("a", dgst) {
					t.Fatalf("a manifest of weight %d is not remembered", weigh(content{}, known))
				}
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			kept, said := int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(m.weight)
			if kept > said*9/8 || said > 2*kept {
				t.Errorf("%d manifests take %d bytes, weighed as %d", m.recent.Len(), kept, said)
			}
			for m.recent.Len() > 0 {
				m.recent.RemoveOldest()
			}
			if m.weight != 0 {
				t.Errorf("nothing weighs %d", m.weight)
			}
		})
	}
}

func TestHeavyManifestsAreNotRemembered(t *testing.T) {
	m := newManifestMemory()
	heavy := &manifest{descriptor: v1.Descriptor{Digest: aSHA256}, references: []v1.Descriptor{{Data: make([]byte, maxWeight)}}}
	m.add("a", heavy, true)
	if m.has("a", aSHA256) || m.weight != 0 {
		t.Errorf("it is remembered, weight %d", m.weight)
	}
	m.add("a", heavy, false)
	first := m.weight
	m.add("a", heavy, false)
	if !m.has("a", aSHA256) || m.weight != first || first > 2048 {
		t.Errorf("without references it weighs %d, and %d when added again", first, m.weight)
	}
	m.remove("a", aSHA256)
	if m.weight != 0 {
		t.Errorf("nothing weighs %d", m.weight)
	}
}

func TestRememberedManifestsHaveABound(t *testing.T) {
	m := newManifestMemory()
	heavy := []v1.Descriptor{{Data: make([]byte, maxWeight*3/4)}}
	for i := range 100 {
		m.add("a", &manifest{descriptor: v1.Descriptor{Digest: digest.FromString(fmt.Sprint(i))}, references: heavy}, true)
		if m.weight > maxRemembered {
			t.Fatalf("%d manifests weigh %d", m.recent.Len(), m.weight)
		}
	}
	if n := m.recent.Len(); n < 64 || n > 80 || !m.has("a", digest.FromString("99")) || m.has("a", digest.FromString("0")) {
		t.Errorf("%d manifests, weight %d", n, m.weight)
	}
}
