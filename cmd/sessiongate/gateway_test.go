package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/host/hosttest"
)

// seen is what an upstream saw of a request.
type seen struct {
	Method, Host, URI, Proto string
	Header, Trailer          http.Header
	Body                     int64
}

// echo is an upstream that answers with what it saw.
func echo(w http.ResponseWriter, r *http.Request) {
	n, _ := io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(seen{r.Method, r.Host, r.RequestURI, r.Proto, r.Header, r.Trailer, n})
}

func sawOf(t *testing.T, body string) seen {
	t.Helper()
	var s seen
	require.NoError(t, json.Unmarshal([]byte(body), &s), body)
	return s
}

// gatewayFor starts a gateway in front of an upstream, with a policy that has the
// issuer's key inline.
func gatewayFor(t *testing.T, issuer *hosttest.Issuer, upstream http.Handler, args ...string) *command {
	t.Helper()
	up := httptest.NewUnstartedServer(upstream)
	up.Config.Protocols = new(http.Protocols)
	up.Config.Protocols.SetHTTP1(true)
	up.Config.Protocols.SetUnencryptedHTTP2(true)
	up.Start()
	t.Cleanup(func() { up.CloseClientConnections(); up.Close() })
	policy := writeFile(t, filepath.Join(t.TempDir(), "policy.json"), policyFor(t, issuer, nil))
	return start(t, append([]string{"gateway", "--policy", policy, "--upstream", up.URL, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}, args...)...)
}

func TestGatewayForwardsAndRefuses(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	gw := gatewayFor(t, issuer, http.HandlerFunc(echo))
	client := new(http.Client)
	token := issuer.Mint(object{"roles": []string{"owner", "a,b"}, "tenant_id": "t1"})

	resp, body := get(t, client, "GET", gw.addr.URL+"/a%C3%A9b/c?d=1;e=2&%zz", bearer(token)...)
	require.Equal(t, 200, resp.StatusCode, body)
	saw := sawOf(t, body)
	assert.Equal(t, "/a%C3%A9b/c?d=1;e=2&%zz", saw.URI, "the target passes byte for byte")
	assert.Equal(t, gw.addr.Listen, saw.Host)
	assert.Equal(t, []string{"user_1"}, saw.Header["X-User-Id"])
	assert.Equal(t, []string{"owner,a%2Cb"}, saw.Header["X-User-Roles"])
	assert.Equal(t, []string{"t1"}, saw.Header["X-Tenant"])
	assert.Equal(t, []string{"127.0.0.1"}, saw.Header["X-Forwarded-For"])
	assert.Equal(t, []string{"http"}, saw.Header["X-Forwarded-Proto"])
	assert.Equal(t, []string{gw.addr.Listen}, saw.Header["X-Forwarded-Host"])

	for _, test := range []struct {
		name, path string
		headers    []string
		status     int
		code       string
	}{
		{"no token", "/a", nil, 401, "missing_token"},
		{"garbage", "/a", bearer("x.y.z"), 401, "malformed"},
		{"expired", "/a", bearer(issuer.Mint(object{"iat": 1000, "nbf": 1000, "exp": 2000})), 401, "expired"},
		{"another audience", "/a", bearer(issuer.Mint(object{"aud": []string{"other"}})), 401, "wrong_audience"},
		{"no permission", "/write/a", bearer(token), 403, "permission"},
		{"ambiguous path", "/public/..%2fwrite", bearer(token), 400, "bad_path"},
		{"two tokens", "/a", append(bearer(token), bearer(token)...), 400, "multiple_tokens"},
	} {
		t.Run(test.name, func(t *testing.T) {
			resp, body := get(t, client, "GET", gw.addr.URL+test.path, test.headers...)
			assert.Equal(t, test.status, resp.StatusCode)
			assert.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
			assert.Contains(t, body, `"code":"`+test.code+`"`)
		})
	}
	resp, body = get(t, client, "GET", gw.addr.URL+"/public/a")
	require.Equal(t, 200, resp.StatusCode)
	assert.NotContains(t, sawOf(t, body).Header, "X-User-Id")

	// The access log tells of each of them, with Reasons, and without query or token.
	log := gw.log.String()
	assert.Contains(t, log, "path=/a%C3%A9b/c status=200")
	assert.Contains(t, log, "status=401 reason=expired")
	assert.Contains(t, log, "claims.subject=user_1")
	assert.NotContains(t, log, "d=1")
	assert.NotContains(t, log, token[:20])
	assert.NotContains(t, log, "owner")

	_, metrics := get(t, client, "GET", gw.addr.AdminURL+"/metrics")
	assert.Contains(t, metrics, `sessiongate_http_requests_total{reason="expired",status="401"} 1`)
	assert.Contains(t, metrics, `sessiongate_verdicts_total{call="filter",reason="bad_path"} 1`)
	assert.Contains(t, metrics, "go_goroutines")
}

// A client that speaks raw HTTP can write what http.Client will not.
func raw(t *testing.T, address, request string) (status int, body string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = conn.Write([]byte(strings.ReplaceAll(request, "\n", "\r\n")))
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(b)
}

func TestGatewayClientCannotSpeakAsUs(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	gw := gatewayFor(t, issuer, http.HandlerFunc(echo))
	auth := "Authorization: Bearer " + issuer.Mint(nil)
	for _, test := range []struct{ name, headers, body string }{
		{"as it is", "X-User-Id: root\n", ""},
		{"lower case", "x-user-id: root\n", ""},
		{"mixed case", "x-UsEr-iD: root\n", ""},
		{"underscores", "X_User_Id: root\n", ""},
		{"one underscore", "X-User_Id: root\n", ""},
		{"repeated", "X-User-Id: root\nX-User-Id: root\nx_user_id: root\n", ""},
		{"named in Connection", "Connection: x-user-id, X-Tenant\nX-User-Id: root\n", ""},
		{"as a trailer", "Transfer-Encoding: chunked\nTrailer: X-User-Id, X-Sum\n", "1\na\n0\nX-User-Id: root\nX-Sum: 1\n\n"},
		{"as a trailer in disguise", "Transfer-Encoding: chunked\nTrailer: X_User_Id, X-Sum\n", "1\na\n0\nX_User_Id: root\nX-Sum: 1\n\n"},
		{"as a trailer that nobody announced", "Transfer-Encoding: chunked\nTrailer: X-Sum\n", "1\na\n0\nX-User-Id: root\nX-Sum: 1\n\n"},
		{"about the connection", "X-Forwarded-For: 10.0.0.1\nX-Forwarded-Proto: root\nForwarded: for=root\nX-Real-IP: root\nX_Forwarded_Host: root\nX-Forwarded-Prefix: /root\n", ""},
		{"about the path", "X-Original-URL: /root\nX-Rewrite-Url: /root\nX_Original_URL: /root\nX-HTTP-Method-Override: root\n", ""},
	} {
		for _, path := range []string{"/a", "/public/a", "/maybe/a"} {
			t.Run(test.name+" on "+path, func(t *testing.T) {
				token := auth + "\n"
				if path != "/a" {
					token = ""
				}
				method := "GET"
				if test.body != "" {
					method = "POST"
				}
				status, body := raw(t, gw.addr.Listen, method+" "+path+" HTTP/1.1\nHost: h\n"+token+test.headers+"\n"+test.body)
				require.Equal(t, 200, status, body)
				assert.NotContains(t, body, "root")
				saw := sawOf(t, body)
				if token != "" {
					assert.Equal(t, []string{"user_1"}, saw.Header["X-User-Id"])
				}
				assert.Equal(t, []string{"127.0.0.1"}, saw.Header["X-Forwarded-For"])
				if test.body != "" {
					assert.Equal(t, http.Header{"X-Sum": {"1"}}, saw.Trailer, "other trailers pass")
				}
			})
		}
	}
}

func TestGatewayTargets(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	gw := gatewayFor(t, issuer, http.HandlerFunc(echo))
	for _, test := range []struct {
		line, uri string
		status    int
	}{
		{"GET http://h/public/a?b HTTP/1.1", "/public/a?b", 200}, // absolute form
		{"GET /public/a? HTTP/1.1", "/public/a?", 200},
		{"OPTIONS * HTTP/1.1", "", 400},
		{"CONNECT h:1 HTTP/1.1", "", 405},
		{"GET //public/a HTTP/1.1", "", 400},
		{"GET /public/../a HTTP/1.1", "", 400},
		{"GET /public/%2e%2e/a HTTP/1.1", "", 400},
	} {
		status, body := raw(t, gw.addr.Listen, test.line+"\nHost: h\n\n")
		if assert.Equal(t, test.status, status, test.line) && status == 200 {
			assert.Equal(t, test.uri, sawOf(t, body).URI)
		}
	}
}

// upgraded makes a WebSocket handshake and returns the connection.
func upgraded(t *testing.T, address, path, headers string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, X-User-Id\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", path, headers)
	require.NoError(t, err)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	assert.Equal(t, "user_1", resp.Header.Get("X-Saw"))
	return conn, r
}

// webSocketEcho upgrades and sends back each line, as a stand-in for frames.
func webSocketEcho(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Connection") != "Upgrade" {
		http.Error(w, "no upgrade", http.StatusBadRequest)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Saw: %s\r\n\r\n", r.Header.Get("X-User-Id"))
	for {
		line, err := buffered.ReadString('\n')
		if err != nil {
			return
		}
		_, _ = conn.Write([]byte("echo " + line))
	}
}

func TestGatewayWebSocket(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	gw := gatewayFor(t, issuer, http.HandlerFunc(webSocketEcho), "--patience", "1s")
	status, body := raw(t, gw.addr.Listen, "GET /ws HTTP/1.1\nHost: h\nConnection: Upgrade\nUpgrade: websocket\n\n")
	assert.Equal(t, 401, status)
	assert.Contains(t, body, "missing_token")

	conn, r := upgraded(t, gw.addr.Listen, "/ws", "Authorization: Bearer "+issuer.Mint(nil)+"\r\n")
	for i := range 3 {
		if i == 2 {
			time.Sleep(1200 * time.Millisecond) // idle for longer than the patience with a body
		}
		_, err := fmt.Fprintf(conn, "frame %d\n", i)
		require.NoError(t, err)
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprintf("echo frame %d\n", i), line)
	}
}

// events sends one event, waits to be told, and sends another.
func events(next <-chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-next:
		case <-r.Context().Done():
			return
		}
		_, _ = io.WriteString(w, "data: 2\n\n")
	}
}

func TestGatewayStreams(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			next := make(chan struct{})
			gw := gatewayFor(t, issuer, events(next), "--patience", "1s")
			client := clientFor(protocol)
			req, err := http.NewRequest("GET", gw.addr.URL+"/events", nil)
			require.NoError(t, err)
			req.Header.Set("Authorization", "Bearer "+issuer.Mint(nil))
			resp, err := client.Do(req)
			require.NoError(t, err)
			defer resp.Body.Close()
			assert.Equal(t, protocol, resp.Proto)
			r := bufio.NewReader(resp.Body)
			line, err := r.ReadString('\n')
			require.NoError(t, err)
			assert.Equal(t, "data: 1\n", line, "the first event is here before the stream ends")
			time.Sleep(1500 * time.Millisecond) // idle for longer than the patience
			close(next)
			rest, err := io.ReadAll(r)
			require.NoError(t, err)
			assert.Equal(t, "\ndata: 2\n\n", string(rest))
		})
	}
}

func clientFor(protocol string) *http.Client {
	p := new(http.Protocols)
	if protocol == "HTTP/2.0" {
		p.SetUnencryptedHTTP2(true)
	} else {
		p.SetHTTP1(true)
	}
	return &http.Client{Transport: &http.Transport{Protocols: p}}
}

func TestGatewayUploadStreams(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	first := make(chan string, 1)
	gw := gatewayFor(t, issuer, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		line, _ := bufio.NewReader(r.Body).ReadString('\n')
		first <- line
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	body, in := io.Pipe()
	req, err := http.NewRequest("POST", gw.addr.URL+"/up", body)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+issuer.Mint(nil))
	done := make(chan error, 1)
	go func() {
		resp, err := new(http.Client).Do(req)
		if err == nil {
			resp.Body.Close()
		}
		done <- err
	}()
	_, err = in.Write([]byte("part 1\n"))
	require.NoError(t, err)
	select {
	case line := <-first:
		assert.Equal(t, "part 1\n", line, "the upstream has the first part before the last one was sent")
	case <-time.After(10 * time.Second):
		t.Fatal("the upload is buffered")
	}
	require.NoError(t, in.Close())
	require.NoError(t, <-done)
}

func TestGatewayLargeBodies(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	const large = 32 << 20
	gw := gatewayFor(t, issuer, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		w.Header().Set("Trailer", "X-Sum")
		part := bytes.Repeat([]byte("x"), 1<<16)
		for range n >> 16 {
			_, _ = w.Write(part)
		}
		w.Header().Set("X-Sum", fmt.Sprint(n))
	}))
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			req, err := http.NewRequest("POST", gw.addr.URL+"/large", io.LimitReader(zeros{}, large))
			require.NoError(t, err)
			req.Header.Set("Authorization", "Bearer "+issuer.Mint(nil))
			resp, err := clientFor(protocol).Do(req)
			require.NoError(t, err)
			defer resp.Body.Close()
			n, err := io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			assert.EqualValues(t, large, n)
			assert.Equal(t, fmt.Sprint(large), resp.Trailer.Get("X-Sum"), "a response's trailers pass")
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A client that sends half a body and then nothing does not hold a request for ever.
func TestGatewaySlowClient(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	ended := make(chan error, 1)
	gw := gatewayFor(t, issuer, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		ended <- err
	}), "--patience", "1s")
	conn, err := net.Dial("tcp", gw.addr.Listen)
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "POST /a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\nContent-Length: 100\r\n\r\nhalf", issuer.Mint(nil))
	require.NoError(t, err)
	select {
	case err := <-ended:
		assert.Error(t, err)
	case <-time.After(10 * time.Second):
		t.Fatal("the request is still there")
	}
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.Equal(t, http.StatusRequestTimeout, resp.StatusCode)
}

// Nor does one that is refused and keeps its body to itself.
func TestGatewaySlowRefusedClient(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	gw := gatewayFor(t, issuer, http.HandlerFunc(echo), "--patience", "1s")
	status, body := raw(t, gw.addr.Listen, "POST /a HTTP/1.1\nHost: h\nContent-Length: 100\n\nhalf")
	assert.Equal(t, 401, status)
	assert.Contains(t, body, "missing_token")
}

// What the policy sets under a name like those that are dropped from clients stays.
func TestGatewayForwardedUser(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	up := httptest.NewServer(http.HandlerFunc(echo))
	defer up.Close()
	policy := writeFile(t, filepath.Join(t.TempDir(), "policy.json"), policyFor(t, issuer, object{"identity_headers": object{"x-forwarded-user": "subject"}}))
	gw := start(t, "gateway", "--policy", policy, "--upstream", up.URL, "--listen", "127.0.0.1:0")
	_, body := get(t, new(http.Client), "GET", gw.addr.URL+"/a", append(bearer(issuer.Mint(nil)), "X-Forwarded-User", "root", "X-Forwarded-Email", "root")...)
	saw := sawOf(t, body)
	assert.Equal(t, []string{"user_1"}, saw.Header["X-Forwarded-User"])
	assert.NotContains(t, saw.Header, "X-Forwarded-Email")
}
