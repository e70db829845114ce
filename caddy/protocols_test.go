package sessiongatecaddy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestProtocols(t *testing.T) {
	trusting := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the certificate is this test's own
	transport := func(set func(*http.Protocols)) *http.Transport {
		p := new(http.Protocols)
		set(p)
		return &http.Transport{Protocols: p, TLSClientConfig: trusting}
	}
	h3 := &http3.Transport{TLSClientConfig: trusting}
	defer h3.Close()
	for _, tt := range []struct {
		name      string
		tls       bool
		transport http.RoundTripper
		proto     string
	}{
		{"HTTP/1.1", false, transport(func(p *http.Protocols) { p.SetHTTP1(true) }), "HTTP/1.1"},
		{"HTTP/1.1 over TLS", true, transport(func(p *http.Protocols) { p.SetHTTP1(true) }), "HTTP/1.1"},
		{"HTTP/2 by prior knowledge", false, transport(func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }), "HTTP/2.0"},
		{"HTTP/2 over TLS", true, transport(func(p *http.Protocols) { p.SetHTTP2(true) }), "HTTP/2.0"},
		{"HTTP/3", true, h3, "HTTP/3.0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, nil)
			if tt.tls {
				s.tls = "tls " + certificate(t, s.dir)
				s.url = "https://" + s.front
			}
			s.start()
			client := &http.Client{Transport: tt.transport, Timeout: 10 * time.Second}
			ask := func(token string) (*http.Response, string) {
				r, err := http.NewRequest(http.MethodPost, s.url+"/", strings.NewReader("body"))
				require.NoError(t, err)
				r.Header.Set("Authorization", "Bearer "+token)
				r.Header.Set("X-User-Id", "root")
				r.Trailer = http.Header{"X-Sum": {"1"}, "X-User-Id": {"root"}}
				r.ContentLength = -1
				resp, err := client.Do(r)
				require.NoError(t, err)
				return resp, readAll(t, resp.Body)
			}
			resp, body := ask(s.issuer.Mint(object{"sub": "ada"}))
			assert.Equal(t, tt.proto, resp.Proto)
			assert.Equal(t, 200, resp.StatusCode)
			assert.Equal(t, "hello ada 4", body)
			seen := s.upstream.take()
			require.Len(t, seen, 1)
			assert.NotContains(t, seen[0].Trailer, "X-User-Id")
			if tt.proto != "HTTP/3.0" { // there no trailer gets as far as Caddy
				assert.Equal(t, "1", seen[0].Trailer.Get("X-Sum"))
			}
			resp, body = ask("nonsense")
			assert.Equal(t, 401, resp.StatusCode)
			assert.Contains(t, body, `"code":"malformed"`)
			assert.Empty(t, s.upstream.take())
		})
	}
}

// certificate makes one for 127.0.0.1, and returns its files.
func certificate(t *testing.T, dir string) string {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	return certFile + " " + keyFile
}
