package issuer_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/issuer"
)

func TestParseSettings(t *testing.T) {
	s, err := issuer.ParseSettings([]byte(`{"issuer": "https://a.example", "algorithms": ["EdDSA", "RS256"],
		"cache_age": 4, "skew": 1, "max_token_lifetime": 10, "token_ttl": 5, "rotate_every": 8}`))
	require.NoError(t, err)
	assert.EqualValues(t, 4, s.Announce)
	assert.EqualValues(t, 15, s.Retire)
	assert.Equal(t, []string{"EdDSA", "RS256"}, s.Algorithms)
	assert.Equal(t, "sealing.key", s.SealingKeyFile)

	s, err = issuer.ParseSettings([]byte(`{"issuer": "http://[::1]:8080", "sealing_key_env": "X"}`))
	require.NoError(t, err)
	assert.Empty(t, s.SealingKeyFile)
	assert.Equal(t, issuer.DefaultSettings().TokenTTL, s.TokenTTL)
	assert.NoError(t, issuer.DefaultSettings().Validate())
}

func TestParseSettingsRefuses(t *testing.T) {
	base, err := json.Marshal(issuer.DefaultSettings())
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		member string
		value  any
		want   string
	}{
		"unknown":            {"isuser", "x", "isuser: unknown member"},
		"no URL":             {"issuer", "issuer", "issuer: must be a URL"},
		"http":               {"issuer", "http://a.example", "issuer: must be https"},
		"slash":              {"issuer", "https://a.example/", "issuer: must not end in /"},
		"query":              {"issuer", "https://a.example?x=1", "issuer: must have no user, query or fragment"},
		"user":               {"issuer", "https://u@a.example", "issuer: must have no user"},
		"public URL":         {"public_url", "ftp://a", "public_url: must be a URL"},
		"no algorithm":       {"algorithms", []string{}, "algorithms: must name at least one"},
		"none":               {"algorithms", []string{"none"}, "algorithms[0]: must be one of ES256, EdDSA, RS256"},
		"HS256":              {"algorithms", []string{"ES256", "HS256"}, "algorithms[1]: must be one of"},
		"twice":              {"algorithms", []string{"ES256", "ES256"}, "algorithms[1]: is there twice"},
		"fraction":           {"token_ttl", 1.5, "token_ttl: must be a whole number"},
		"text":               {"token_ttl", "5m", "token_ttl: must be a whole number, is a string"},
		"over the cap":       {"token_ttl", 86401, "token_ttl: must be 1 to max_token_lifetime"},
		"no lifetime":        {"token_ttl", 0, "token_ttl: must be 1 to"},
		"session":            {"session_ttl", 0, "session_ttl: must be at least 1"},
		"cap":                {"max_token_lifetime", 0, "max_token_lifetime: must be at least 1 second"},
		"cache age":          {"cache_age", 0, "cache_age: must be at least 1 second"},
		"negative":           {"cache_age", -5, "cache_age: must be at least 1 second"},
		"skew":               {"skew", 301, "skew: must be 0 to 300"},
		"announce too short": {"announce", 3599, "announce: must be at least cache_age"},
		"retire too short":   {"retire", 90059, "retire: must be at least max_token_lifetime + skew + cache_age"},
		"rotates too often":  {"rotate_every", 3599, "rotate_every: must be 0"},
		"too many keys":      {"retire", 30 * 86400 * 200, "rotate_every: "},
		"beyond all bounds":  {"retire", 1 << 40, "retire: must be at most"},
		"no audience":        {"audience", []string{}, "audience: must name at least one"},
		"empty audience":     {"audience", []string{""}, "audience[0]: must not be empty"},
		"no client":          {"client_id", "", "client_id: must not be empty"},
		"cookie":             {"cookie_name", "a b", "cookie_name: must be a cookie name"},
		"two keys":           {"sealing_key_env", "X", "sealing_key_env: must be empty"},
		"host with port":     {"admin_hosts", []string{"a:80"}, "admin_hosts[0]: must be a host name"},
		"null":               {"issuer", nil, "issuer: must be a string, is null"},
	} {
		t.Run(name, func(t *testing.T) {
			var doc map[string]any
			require.NoError(t, json.Unmarshal(base, &doc))
			doc[tc.member] = tc.value
			src, err := json.Marshal(doc)
			require.NoError(t, err)
			_, err = issuer.ParseSettings(src)
			var faults issuer.Faults
			require.ErrorAs(t, err, &faults)
			assert.ErrorContains(t, err, tc.want)
		})
	}
	_, err = issuer.ParseSettings([]byte(`{"issuer":"x","algorithms":[],"audience":[],"announce":-1}`))
	for _, field := range []string{"issuer: ", "algorithms: ", "audience: ", "announce: "} {
		assert.ErrorContains(t, err, field, "all at once")
	}
	_, err = issuer.ParseSettings([]byte(`{"issuer":"https://a.example","issuer":"https://b.example"}`))
	assert.ErrorContains(t, err, "not strict JSON")
}

func TestReadSettings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "issuer.json")
	_, err := issuer.ReadSettings(path)
	assert.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(path, []byte(`{"skew": -1}`), 0o600))
	_, err = issuer.ReadSettings(path)
	assert.ErrorContains(t, err, path)
	assert.ErrorContains(t, err, "skew: ")
	require.NoError(t, os.WriteFile(path, make([]byte, 70<<10), 0o600))
	_, err = issuer.ReadSettings(path)
	assert.ErrorContains(t, err, "64 KiB")
}
