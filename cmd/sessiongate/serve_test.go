package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/host/hosttest"
)

func TestGatewayTLS(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	cert, key, pool := certificateFiles(t, t.TempDir(), 1)
	gw := gatewayFor(t, issuer, http.HandlerFunc(echo), "--tls-cert", cert, "--tls-key", key)
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	h2 := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, Protocols: protocols}}
	resp, body := get(t, h2, "GET", gw.addr.URL+"/a", bearer(issuer.Mint(nil))...)
	require.Equal(t, 200, resp.StatusCode)
	assert.Equal(t, "HTTP/2.0", resp.Proto)
	assert.Equal(t, []string{"https"}, sawOf(t, body).Header["X-Forwarded-Proto"])

	// A new certificate is served once SIGHUP has said so.
	_, _, newPool := certificateFiles(t, filepath.Dir(cert), 2)
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
	require.Eventually(t, func() bool {
		fresh := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: newPool}, DisableKeepAlives: true}}
		resp, err := fresh.Get(gw.addr.URL + "/public/a")
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil && resp.StatusCode == 200
	}, 10*time.Second, 50*time.Millisecond)
}

func certificateFiles(t *testing.T, dir string, serial int64) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool = x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(certPEM))
	certFile = writeFile(t, filepath.Join(dir, "cert.pem"), certPEM)
	keyFile = writeFile(t, filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	return certFile, keyFile, pool
}

func TestGatewayUpstreamFails(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	policy := writeFile(t, filepath.Join(t.TempDir(), "policy.json"), policyFor(t, issuer, nil))
	for _, test := range []struct {
		name, upstream string
		status         int
		code           string
	}{
		{"down", gone.URL, 502, "upstream_failed"},
		{"silent", "http://" + silent.Addr().String(), 504, "upstream_timeout"},
	} {
		t.Run(test.name, func(t *testing.T) {
			gw := start(t, "gateway", "--policy", policy, "--upstream", test.upstream, "--listen", "127.0.0.1:0", "--upstream-timeout", "300ms")
			resp, body := get(t, new(http.Client), "GET", gw.addr.URL+"/a?secret=1", bearer(issuer.Mint(nil))...)
			assert.Equal(t, test.status, resp.StatusCode)
			assert.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
			assert.Contains(t, body, `"code":"`+test.code+`"`)
			assert.Contains(t, gw.log.String(), "upstream")
			assert.NotContains(t, gw.log.String(), "secret")
		})
	}
}

// A request over HTTP/2 to an upstream that speaks nothing else, with the trailers
// that gRPC lives on.
func TestGatewayH2CUpstream(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = io.Copy(w, r.Body)
		w.Header().Set("Grpc-Status", "0")
		w.Header().Set(http.TrailerPrefix+"X-Proto", r.Proto+" "+r.Header.Get("Te"))
	}))
	up.Config.Protocols = new(http.Protocols)
	up.Config.Protocols.SetUnencryptedHTTP2(true)
	up.Start()
	defer up.Close()
	policy := writeFile(t, filepath.Join(t.TempDir(), "policy.json"), policyFor(t, issuer, nil))
	gw := start(t, "gateway", "--policy", policy, "--upstream", strings.Replace(up.URL, "http:", "h2c:", 1), "--listen", "127.0.0.1:0")
	req, err := http.NewRequest("POST", gw.addr.URL+"/a", strings.NewReader("hello"))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+issuer.Mint(nil))
	req.Header.Set("Te", "trailers")
	resp, err := clientFor("HTTP/2.0").Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, "hello", string(body))
	assert.Equal(t, "0", resp.Trailer.Get("Grpc-Status"))
	assert.Equal(t, "HTTP/2.0 trailers", resp.Trailer.Get("X-Proto"))
}

func TestGatewayReload(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	up := httptest.NewServer(http.HandlerFunc(echo))
	defer up.Close()
	policy := writeFile(t, filepath.Join(t.TempDir(), "policy.json"), policyFor(t, issuer, nil))
	gw := start(t, "gateway", "--policy", policy, "--upstream", up.URL, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	status := func() int {
		resp, _ := get(t, new(http.Client), "GET", gw.addr.URL+"/a")
		return resp.StatusCode
	}
	eventually := func(want int) {
		t.Helper()
		require.Eventually(t, func() bool { return status() == want }, 10*time.Second, 20*time.Millisecond)
	}
	open := object{"rules": []any{object{"path_prefix": "/", "access": "public"}}}
	require.Equal(t, 401, status())

	writeFile(t, policy, policyFor(t, issuer, open)) // noticed without a signal
	eventually(200)

	writeFile(t, policy, []byte(`{"version":1,"policy":{"issuers":[],"ruels":[]}}`))
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
	require.Eventually(t, func() bool { return strings.Contains(gw.log.String(), "/policy/ruels") }, 10*time.Second, 20*time.Millisecond)
	assert.Equal(t, 200, status(), "the old policy keeps serving")

	writeFile(t, policy, policyFor(t, issuer, nil))
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
	eventually(401)
}

func TestGatewayReadiness(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	issuer.SetDown(true)
	up := httptest.NewServer(http.HandlerFunc(echo))
	defer up.Close()
	policy := writeFile(t, filepath.Join(t.TempDir(), "policy.json"), issuer.Policy())
	gw := start(t, "gateway", "--policy", policy, "--upstream", up.URL, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	client := new(http.Client)
	resp, _ := get(t, client, "GET", gw.addr.AdminURL+"/livez")
	assert.Equal(t, 200, resp.StatusCode)
	resp, body := get(t, client, "GET", gw.addr.AdminURL+"/readyz")
	assert.Equal(t, 503, resp.StatusCode)
	assert.Contains(t, body, "missing")
	resp, body = get(t, client, "GET", gw.addr.URL+"/a", bearer(issuer.Mint(nil))...)
	assert.Equal(t, 503, resp.StatusCode)
	assert.Contains(t, body, "keys_unavailable")

	issuer.SetDown(false)
	require.Eventually(t, func() bool {
		resp, _ := get(t, client, "GET", gw.addr.AdminURL+"/readyz")
		return resp.StatusCode == 200
	}, 15*time.Second, 50*time.Millisecond)
	resp, _ = get(t, client, "GET", gw.addr.URL+"/a", bearer(issuer.Mint(nil))...)
	assert.Equal(t, 200, resp.StatusCode)
}

func TestGatewayDrains(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	next := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/events", events(next))
	mux.HandleFunc("/ws", webSocketEcho)
	gw := gatewayFor(t, issuer, mux, "--drain", "2s", "--drain-delay", "500ms")
	token := issuer.Mint(nil)
	conn, r := upgraded(t, gw.addr.Listen, "/ws", "Authorization: Bearer "+token+"\r\n")
	req, err := http.NewRequest("GET", gw.addr.URL+"/events", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := new(http.Client).Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()

	gw.stop()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	require.Eventually(t, func() bool {
		resp, body := get(t, client, "GET", gw.addr.AdminURL+"/readyz")
		return resp.StatusCode == 503 && body == "draining\n"
	}, 5*time.Second, 10*time.Millisecond, "readiness fails first")
	resp2, _ := get(t, client, "GET", gw.addr.URL+"/public/a")
	assert.Equal(t, 404, resp2.StatusCode, "while new requests are still taken")
	require.Eventually(t, func() bool {
		_, err := net.DialTimeout("tcp", gw.addr.Listen, time.Second)
		return err != nil
	}, 5*time.Second, 10*time.Millisecond, "then no more are")

	// What runs goes on.
	_, err = fmt.Fprintln(conn, "still here")
	require.NoError(t, err)
	line, err := r.ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "echo still here\n", line)
	close(next)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, "data: 1\n\ndata: 2\n\n", string(body))

	// A WebSocket does not hold the drain for ever.
	assert.Equal(t, exitDone, gw.wait())
	_, err = r.ReadString('\n')
	assert.Error(t, err)
}

func TestGatewayDrainsAtOnce(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	gw := gatewayFor(t, issuer, http.HandlerFunc(echo))
	get(t, new(http.Client), "GET", gw.addr.URL+"/public/a")
	began := time.Now()
	gw.stop()
	assert.Equal(t, exitDone, gw.wait())
	assert.Less(t, time.Since(began), 10*time.Second, "there is nothing to wait for")
	_, err := new(net.Dialer).DialContext(context.Background(), "tcp", gw.addr.Listen)
	assert.Error(t, err)
}
