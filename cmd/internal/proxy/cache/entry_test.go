package cache

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Whatever stands in a store, reading it ends, and what was read is written the same.
func FuzzDecode(f *testing.F) {
	f.Add((&entry{stored: time.UnixMilli(1), until: time.UnixMilli(2), header: []field{{"Link", []string{"a", ""}}}, body: []byte("x")}).encode())
	f.Add([]byte{})
	f.Add([]byte{entryVersion, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Add(append([]byte{entryVersion, 0, 0, 28}, bytes.Repeat([]byte{1, 0xff, 0xff, 0x7f}, 7)...))
	f.Add([]byte{entryVersion, 0, 0, 9, 2, 1, 'a', 0, 0, 0, 0, 0, 0, 'b'})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, ok := decode(b)
		if !ok {
			return
		}
		again, ok := decode(e.encode())
		if !ok || !again.stored.Equal(e.stored) || !again.until.Equal(e.until) || !bytes.Equal(again.body, e.body) {
			t.Fatalf("%+v became %+v", e, again)
		}
		if diff := cmp.Diff(e.header, again.header, cmp.AllowUnexported(field{})); diff != "" {
			t.Error(diff)
		}
	})
}
