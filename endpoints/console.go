package endpoints

import (
	"context"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/regcast/regcast/notifications"
)

// A console prints a line per event: time, action, name, digest, actor; "-" for what an
// event does not have.
type console struct {
	mu     sync.Mutex
	dst    io.Writer
	buf    []byte
	closed bool
}

func newConsole(dst io.Writer) *console { return &console{dst: dst} }

func (c *console) send(_ context.Context, batch []*notifications.Event) (answer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return answer{}, notifications.ErrClosed
	}
	c.buf = c.buf[:0]
	for _, e := range batch {
		c.buf = appendLine(c.buf, e)
	}
	if len(c.buf) == 0 {
		return answer{}, nil
	}
	if _, err := c.dst.Write(c.buf); err != nil {
		return answer{}, &DeliveryError{URL: urlConsole, Class: Transient, Fault: FaultLocal, Err: err}
	}
	return answer{}, nil
}

// Shutdown leaves the writer open: it is not the console's.
func (c *console) Shutdown(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return nil
}

func appendLine(dst []byte, e *notifications.Event) []byte {
	if e.Timestamp.IsZero() {
		dst = append(dst, '-')
	} else {
		dst = e.Timestamp.UTC().AppendFormat(dst, time.RFC3339)
	}
	dst = append(dst, ' ')
	dst = appendWord(dst, e.Action)
	dst = append(dst, ' ')
	dst = appendWord(dst, e.Repository)
	if e.Tag != "" {
		dst = append(dst, ':')
		dst = appendWord(dst, e.Tag)
	}
	dst = append(dst, ' ')
	dst = appendWord(dst, string(e.Digest))
	dst = append(dst, ' ')
	dst = appendWord(dst, e.Actor)
	return append(dst, '\n')
}

// appendWord keeps a word a word: what another program sent must not break the line or
// speak to a terminal.
func appendWord(dst []byte, word string) []byte {
	if word == "" {
		return append(dst, '-')
	}
	for i := range len(word) {
		if c := word[i]; c <= ' ' || c >= 0x7f || c == '"' {
			return strconv.AppendQuoteToASCII(dst, word)
		}
	}
	return append(dst, word...)
}
