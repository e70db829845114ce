package hosttest_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/host/hosttest"
	"sessiongate/jwks"
	"sessiongate/verdict"
	"sessiongate/verifier"
)

func get(t *testing.T, url, tag string) (status int, body []byte, header http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	req.Header.Set("If-None-Match", tag)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, body, resp.Header
}

// Each algorithm's tokens verify under the published keys.
func TestMint(t *testing.T) {
	i := hosttest.NewIssuer(t)
	for _, name := range []string{"ES256", "ES384", "RS256", "PS256", "EdDSA"} {
		kid := i.Rotate(name)
		a, ok := jwks.ParseAlgorithm(name)
		require.True(t, ok)
		v, err := verifier.New(verifier.Config{Issuers: []verifier.Issuer{{Name: i.URL(), Algorithms: []jwks.Algorithm{a}, Audience: []string{hosttest.Audience}}}})
		require.NoError(t, err)
		_, document, _ := get(t, i.JWKSURL(), "")
		set, err := jwks.Parse(document)
		require.NoError(t, err)
		assert.Contains(t, set.KeyIDs(), kid)
		assert.Empty(t, set.Skipped())
		token := i.Mint(map[string]any{"sub": "somebody", "sid": nil})
		issued, err := verifier.New(verifier.Config{Issuers: []verifier.Issuer{{Name: i.URL(), Algorithms: []jwks.Algorithm{a}, UncheckedAudience: true, Parties: []string{hosttest.Audience}}}})
		require.NoError(t, err)
		for _, v := range []*verifier.Verifier{v, issued} {
			p, err := v.WithKeys(0, set, 0).Verify(token, time.Now().UnixMilli())
			require.NoError(t, err, name)
			assert.Equal(t, "somebody", p.Subject)
			assert.Empty(t, p.Session)
		}
		_, err = v.WithKeys(0, set, 0).Verify(i.MintWithHeader(map[string]any{"typ": "JWT"}, nil), time.Now().UnixMilli())
		require.ErrorIs(t, err, verdict.WrongType)
	}
	i.Withdraw()
	set, err := jwks.Parse(i.KeySet())
	require.NoError(t, err)
	assert.Equal(t, 1, set.Len())
}

func TestOutageAndConditionalFetch(t *testing.T) {
	i := hosttest.NewIssuer(t)
	status, _, header := get(t, i.JWKSURL(), "")
	assert.Equal(t, 200, status)
	assert.Equal(t, "public, max-age=1", header.Get("Cache-Control"))
	tag := header.Get("ETag")
	status, body, _ := get(t, i.JWKSURL(), tag)
	assert.Equal(t, 304, status)
	assert.Empty(t, body)
	i.Rotate("ES256")
	status, _, _ = get(t, i.JWKSURL(), tag)
	assert.Equal(t, 200, status)
	i.SetDown(true)
	for _, url := range []string{i.JWKSURL(), i.DiscoveryURL()} {
		status, _, _ = get(t, url, "")
		assert.Equal(t, 503, status)
	}
	i.SetDown(false)
	_, body, _ = get(t, i.DiscoveryURL(), "")
	assert.JSONEq(t, `{"issuer":"`+i.URL()+`","jwks_uri":"`+i.JWKSURL()+`"}`, string(body))
	assert.Equal(t, 4, i.Fetches())
}
