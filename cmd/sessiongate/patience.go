package main

import (
	"io"
	"net/http"
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
			r = r.WithContext(r.Context())
			r.Body = body
		}
		// The rest of a response leaves after the handler has returned.
		defer p.limit()
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
}

func (b *patientBody) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(b.each))
	n, err := b.ReadCloser.Read(p)
	// Without this a deadline would outlive the body and end the request with it.
	_ = b.control.SetReadDeadline(time.Time{})
	return n, err
}
