package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

// reads is how many requests a row makes, of readers at once.
const reads, readers = 20_000, 8

// A reader asks for the same again and again, on a connection of its own. net/http's client
// takes as long to ask as its server to answer, and that would count as much for a row as
// what the row is about.
type reader struct {
	conn    net.Conn
	in      *bufio.Reader
	request []byte
	body    []byte // that every answer must have
}

// newReader connects to the server of req. The caller closes conn.
func newReader(req *http.Request, body []byte) (*reader, error) {
	var spelled bytes.Buffer
	if err := req.Write(&spelled); err != nil {
		return nil, err
	}
	conn, err := net.Dial("tcp", req.URL.Host)
	if err != nil {
		return nil, err
	}
	r := &reader{conn: conn, in: bufio.NewReaderSize(conn, len(body)+4<<10), request: spelled.Bytes(), body: body}
	return r, conn.SetDeadline(time.Now().Add(time.Minute))
}

// ask makes one request and reads its answer, which must have status 200, a length as Go's
// servers write it, and the right body, with nothing behind it.
func (r *reader) ask() error {
	if _, err := r.conn.Write(r.request); err != nil {
		return err
	}
	status, err := r.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("answered %q", status)
	}
	length := -1
	for {
		line, err := r.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		if n, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(n)); err != nil {
				return err
			}
		}
	}
	if length != len(r.body) {
		return fmt.Errorf("answered %d bytes, not %d", length, len(r.body))
	}
	body, err := r.in.Peek(length)
	if err != nil {
		return err
	}
	if !bytes.Equal(body, r.body) || r.in.Buffered() != length {
		return fmt.Errorf("answered other bytes: %q", body)
	}
	_, err = r.in.Discard(length)
	return err
}

// readAll asks base for path, readers at once, reads times in all.
func readAll(ctx context.Context, base, path string, body []byte) (result, error) {
	all := make([]*reader, 0, readers)
	defer func() {
		for _, r := range all {
			_ = r.conn.Close()
		}
	}()
	for range readers {
		req, err := question(ctx, base, path)
		if err != nil {
			return result{}, err
		}
		r, err := newReader(req, body)
		if err != nil {
			return result{}, err
		}
		all = append(all, r)
	}
	w := startWatch()
	err := inParallel(readers, all, func(r *reader) error {
		for range reads / readers {
			if err := r.ask(); err != nil {
				return err
			}
		}
		return nil
	})
	return w.per(reads), err
}
