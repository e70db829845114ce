package matrix

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	answerLimit = 20 * time.Second
	wsMessage   = "to and fro\n"
)

// Answer is what a client got.
type Answer struct {
	Status int
	Header http.Header // trailers too
	Body   string
	Err    error
}

// client asks on one connection.
type client struct {
	running *Running
	conn    net.Conn // HTTP/1.1
	reader  *bufio.Reader
	h2      *http.Client
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close()
	}
	if c.h2 != nil {
		c.h2.CloseIdleConnections()
	}
}

func (c *client) ask(ctx context.Context, r *Request, mark string) *Answer {
	if r.H2 {
		return c.ask2(ctx, r, mark)
	}
	return c.ask1(r, mark)
}

// text is an HTTP/1.1 request.
func (r *Request) text(mark string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n%s: %s\r\n", r.Method, r.Path, r.Host, markHeader, mark)
	for _, line := range r.Header {
		b.WriteString(line + "\r\n")
	}
	if r.WS {
		b.WriteString("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
	}
	switch {
	case len(r.Trailer) > 0:
		var names []string
		for _, line := range r.Trailer {
			name, _, _ := strings.Cut(line, ":")
			names = append(names, name)
		}
		fmt.Fprintf(&b, "Trailer: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n", strings.Join(names, ", "), len(r.Body), r.Body)
		for _, line := range r.Trailer {
			b.WriteString(line + "\r\n")
		}
		b.WriteString("\r\n")
	case r.Body != "" || r.Method == http.MethodPost || r.Method == http.MethodPut:
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(r.Body), r.Body)
	default:
		b.WriteString("\r\n")
	}
	return b.String()
}

func (c *client) ask1(r *Request, mark string) *Answer {
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", strings.TrimPrefix(c.running.URL, "http://"), answerLimit)
		if err != nil {
			return &Answer{Err: err}
		}
		c.conn, c.reader = conn, bufio.NewReaderSize(conn, 64<<10)
	}
	_ = c.conn.SetDeadline(time.Now().Add(answerLimit))
	_, wrote := io.WriteString(c.conn, r.text(mark)) // a server may answer before it has read it all
	resp, err := http.ReadResponse(c.reader, &http.Request{Method: r.Method})
	for err == nil && resp.StatusCode/100 == 1 && resp.StatusCode != http.StatusSwitchingProtocols {
		resp, err = http.ReadResponse(c.reader, &http.Request{Method: r.Method})
	}
	if err != nil {
		return &Answer{Err: errors.Join(err, wrote)}
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		_, _ = io.WriteString(c.conn, wsMessage)
		line, err := c.reader.ReadString('\n')
		return &Answer{Status: resp.StatusCode, Header: resp.Header, Body: line, Err: err}
	}
	return read(resp)
}

func (c *client) ask2(ctx context.Context, r *Request, mark string) *Answer {
	if c.h2 == nil {
		p := new(http.Protocols)
		p.SetUnencryptedHTTP2(true)
		p.SetHTTP2(true)
		c.h2 = &http.Client{Transport: &http.Transport{Protocols: p, DisableCompression: true,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, //nolint:gosec // a certificate of the driver's own, on loopback
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: answerLimit}
	}
	var body io.Reader
	if r.Body != "" || len(r.Trailer) > 0 {
		body = io.MultiReader(strings.NewReader(r.Body)) // of unknown length: trailers want that
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, c.running.H2, body)
	if err != nil {
		return &Answer{Err: err}
	}
	target, err := url.ParseRequestURI(r.Path)
	if err != nil {
		return &Answer{Err: err}
	}
	req.URL.Path, req.URL.RawPath, req.URL.RawQuery = target.Path, target.RawPath, target.RawQuery
	req.Host = r.Host
	req.Header = fields(r.Header)
	req.Header.Set(markHeader, mark)
	if len(r.Trailer) > 0 {
		req.Trailer = fields(r.Trailer)
	}
	resp, err := c.h2.Do(req)
	if err != nil {
		return &Answer{Err: err}
	}
	if resp.ProtoMajor != 2 {
		return &Answer{Err: errors.New("answered with " + resp.Proto)}
	}
	return read(resp)
}

func fields(lines []string) http.Header {
	h := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		h.Add(name, strings.TrimSpace(value))
	}
	return h
}

func read(resp *http.Response) *Answer {
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	a := &Answer{Status: resp.StatusCode, Header: resp.Header, Body: string(body), Err: err}
	for name, values := range resp.Trailer {
		a.Header[name] = append(a.Header[name], values...)
	}
	return a
}
