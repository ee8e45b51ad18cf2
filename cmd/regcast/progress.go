package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progressEvery is how often long work says how far it is where no bar can be shown.
const progressEvery = 10 * time.Second

// A progress shows how far long work is: a bar on a terminal, now and then a line
// elsewhere. It is safe for concurrent use.
type progress struct {
	what  string
	total int // -1: not known
	out   io.Writer
	bar   *progressbar.ProgressBar // nil where out is no terminal

	mu   sync.Mutex
	done int
	said time.Time
}

func newProgress(out io.Writer, total int, what string) *progress {
	p := &progress{what: what, total: total, out: out, said: time.Now()}
	if isTerminal(out) {
		p.bar = progressbar.NewOptions(total,
			progressbar.OptionSetWriter(out),
			progressbar.OptionSetDescription(what),
			progressbar.OptionShowCount(),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish(),
		)
	}
	return p
}

// isTerminal tells whether w is a file that a person reads, or writes, at once.
func isTerminal(w any) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// add says that n more are done.
func (p *progress) add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	if p.bar != nil {
		// A terminal that cannot be written to is no reason to stop working.
		_ = p.bar.Add(n)
		return
	}
	if time.Since(p.said) < progressEvery {
		return
	}
	p.said = time.Now()
	if p.total >= 0 {
		fmt.Fprintf(p.out, "%s: %d of %d\n", p.what, p.done, p.total)
	} else {
		fmt.Fprintf(p.out, "%s: %d\n", p.what, p.done)
	}
}

// describe says anew what it is that is done.
func (p *progress) describe(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.what = what
	if p.bar != nil {
		p.bar.Describe(what)
	}
}

// finish takes the bar away.
func (p *progress) finish() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
