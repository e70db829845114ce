package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// patient bounds how long a client may take over each part of a body, in both
// directions, and never the whole: streams may last. A deadline stands only while
// something waits for the client.
func patient(next http.Handler, each time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		p := &patientWriter{ResponseWriter: w, control: c, each: each}
		// Over HTTP/2 a stream that is idle in this direction is nothing unusual, and
		// pings tell whether the client is still there.
		if r.Body != nil && r.Body != http.NoBody && r.ProtoMajor == 1 {
			// In a copy: the server has a look at the original's once the answer begins.
			body := &patientBody{ReadCloser: r.Body, control: c, each: each}
			r = r.WithContext(context.WithValue(r.Context(), bodyKey{}, body))
			r.Body = body
			defer body.leave()
		}
		// The rest of a response leaves after the handler has returned, and after what
		// the server still reads of an unread body.
		defer func() { _ = c.SetWriteDeadline(time.Now().Add(each + mostUnread)) }()
		next.ServeHTTP(p, r)
	})
}

type patientWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	each    time.Duration
}

func (w *patientWriter) limit() { _ = w.control.SetWriteDeadline(time.Now().Add(w.each)) }

func (w *patientWriter) free() { _ = w.control.SetWriteDeadline(time.Time{}) }

func (w *patientWriter) WriteHeader(status int) {
	w.limit()
	defer w.free()
	w.ResponseWriter.WriteHeader(status)
}

func (w *patientWriter) Write(p []byte) (int, error) {
	w.limit()
	defer w.free()
	return w.ResponseWriter.Write(p)
}

// FlushError is what http.ResponseController looks for.
func (w *patientWriter) FlushError() error {
	w.limit()
	defer w.free()
	return w.control.Flush()
}

// Unwrap gives http.ResponseController the way to the connection.
func (w *patientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

type patientBody struct {
	io.ReadCloser
	control *http.ResponseController
	each    time.Duration
	late    atomic.Bool
}

const mostUnread = 5 * time.Second

// leave bounds what the server reads of an unread body before it lets the answer go.
func (b *patientBody) leave() {
	left := min(b.each, mostUnread)
	if b.late.Load() {
		left = 0
	}
	_ = b.control.SetReadDeadline(time.Now().Add(left))
}

type bodyKey struct{}

// clientTooSlow reports whether a request failed because its body did not arrive.
func clientTooSlow(r *http.Request) bool {
	b, ok := r.Context().Value(bodyKey{}).(*patientBody)
	return ok && b.late.Load()
}

func (b *patientBody) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(b.each))
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		b.late.Store(true)
	}
	// Without this a deadline would outlive the body and end the request with it.
	_ = b.control.SetReadDeadline(time.Time{})
	return n, err
}
