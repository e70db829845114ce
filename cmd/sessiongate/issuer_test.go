package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/issuer/api"
	"sessiongate/issuer/client"
)

// runCommand runs a command to its end in this process.
func runCommand(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	needGuest(t)
	out, log := new(lockedBuffer), new(lockedBuffer)
	status = run(t.Context(), args, strings.NewReader(""), out, log)
	return status, out.String(), log.String()
}

func initIssuer(t *testing.T, flags ...string) (dir, apiKey string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	status, out, log := runCommand(t, append([]string{"--json", "issuer", "init", "--data", dir}, flags...)...)
	require.Equal(t, exitDone, status, log)
	var made struct {
		APIKey string `json:"api_key"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &made))
	require.True(t, strings.HasPrefix(made.APIKey, "sgk_"))
	return dir, made.APIKey
}

// TestIssuerCommand shows the issuer tokens: it asks the guest, and knows itself
// which sessions are over. It stops with status 0.
func TestIssuerCommand(t *testing.T) {
	dir, key := initIssuer(t, "--algorithm", "ES256,EdDSA")
	c := start(t, "issuer", "--data", dir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	cl, err := client.New(c.addr.AdminURL, key)
	require.NoError(t, err)
	ctx := t.Context()
	_, err = cl.PutUser(ctx, "ada", api.UserBody{})
	require.NoError(t, err)
	s, err := cl.CreateSession(ctx, api.SessionBody{UserID: "ada", Methods: []api.MethodBody{{Method: "password", AAL: "aal1"}}})
	require.NoError(t, err)
	ask := func(token string) api.Introspection {
		t.Helper()
		seen, err := cl.Introspect(ctx, token)
		require.NoError(t, err)
		return seen
	}
	for _, alg := range []string{"ES256", "EdDSA"} {
		tok, err := cl.Mint(ctx, s.Session.ID, api.TokenBody{Algorithm: alg})
		require.NoError(t, err)
		seen := ask(tok.Token)
		assert.True(t, seen.Active, seen.Reason)
		assert.Equal(t, "ada", seen.Subject)
		assert.Equal(t, "aal1", seen.Assurance)
		flipped := []byte(tok.Token)
		if c := &flipped[len(flipped)-10]; *c == 'A' { // still base64url
			*c = 'B'
		} else {
			*c = 'A'
		}
		assert.Equal(t, api.Introspection{Reason: "bad_signature"}, ask(string(flipped)))
	}
	assert.Equal(t, "malformed", ask("garbage").Reason)

	// A key of which the guest was never told until now.
	keys, err := cl.Keys(ctx)
	require.NoError(t, err)
	old, err := cl.Mint(ctx, s.Session.ID, api.TokenBody{})
	require.NoError(t, err)
	_, err = cl.Withdraw(ctx, keys.Keys[0].KeyID, api.WithdrawBody{Emergency: true, Reason: "test"})
	require.NoError(t, err)
	fresh, err := cl.Mint(ctx, s.Session.ID, api.TokenBody{})
	require.NoError(t, err)
	assert.True(t, ask(fresh.Token).Active)
	assert.Equal(t, "unknown_key", ask(old.Token).Reason)
	assert.Contains(t, c.log.String(), "EMERGENCY")

	require.NoError(t, cl.RevokeSession(ctx, s.Session.ID))
	assert.Equal(t, "revoked", ask(fresh.Token).Reason)
	assert.NotContains(t, c.log.String(), fresh.Token)
	c.stop()
	assert.Equal(t, exitDone, c.wait())
}

func TestKeysCommand(t *testing.T) {
	dir, key := initIssuer(t, "--algorithm", "ES256,EdDSA")
	c := start(t, "issuer", "--data", dir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	t.Setenv("SESSIONGATE_API_KEY", key)
	t.Setenv("SESSIONGATE_ADMIN", c.addr.AdminURL)
	list := func() api.Keys {
		t.Helper()
		status, out, log := runCommand(t, "--json", "keys", "list", "--all")
		require.Equal(t, exitDone, status, log)
		var keys api.Keys
		require.NoError(t, json.Unmarshal([]byte(out), &keys))
		return keys
	}
	first := list()
	require.Len(t, first.Keys, 2)
	kid := first.Keys[0].KeyID

	status, _, log := runCommand(t, "keys", "rotate")
	assert.Equal(t, exitUsage, status)
	assert.Contains(t, log, "--algorithm")
	status, _, log = runCommand(t, "keys", "rotate", kid, "--now")
	assert.Equal(t, exitRefused, status)
	assert.Contains(t, log, "rotation is unsafe before")
	assert.Contains(t, log, "which is in 1h0m0s")
	status, out, log := runCommand(t, "keys", "rotate", "--algorithm", "ES256")
	require.Equal(t, exitDone, status, log)
	assert.Contains(t, out, "is announced and signs from")
	status, _, _ = runCommand(t, "keys", "rotate", kid)
	assert.Equal(t, exitRefused, status)

	status, out, log = runCommand(t, "keys", "list")
	require.Equal(t, exitDone, status, log)
	assert.Contains(t, out, kid)
	assert.Contains(t, out, "announced  signs from")

	status, _, log = runCommand(t, "keys", "withdraw", kid)
	assert.Equal(t, exitRefused, status)
	assert.Contains(t, log, "tokens signed by "+kid+" may still be in use")
	status, _, log = runCommand(t, "keys", "withdraw", kid, "--emergency")
	assert.Equal(t, exitUsage, status, log)
	status, out, log = runCommand(t, "keys", "withdraw", kid, "--emergency", "--reason", "test")
	require.Equal(t, exitDone, status, log)
	assert.Equal(t, kid+" is withdrawn\n", out)
	assert.Contains(t, log, "verifiers with an older key set accept them until")
	assert.Len(t, list().Keys, 3)
	status, _, _ = runCommand(t, "keys", "withdraw", "nobody")
	assert.Equal(t, exitFailed, status)

	for name, args := range map[string][]string{
		"wrong key": {"keys", "list", "--api-key-file", writeFile(t, filepath.Join(t.TempDir(), "k"), []byte("sgk_wrong\n"))},
		"no file":   {"keys", "list", "--api-key-file", "/nowhere"},
		"nobody":    {"keys", "list", "--admin", "http://127.0.0.1:1"},
	} {
		status, out, log = runCommand(t, args...)
		assert.Equal(t, exitFailed, status, name)
		assert.Empty(t, out, name)
		assert.Contains(t, log, "sessiongate: error: ", name)
	}
	status, _, _ = runCommand(t, "keys", "list", "--admin", "nonsense")
	assert.Equal(t, exitUsage, status)
	t.Setenv("SESSIONGATE_API_KEY", "")
	status, _, log = runCommand(t, "keys", "list")
	assert.Equal(t, exitUsage, status)
	assert.Contains(t, log, "SESSIONGATE_API_KEY")
	status, _, log = runCommand(t, "keys", "list", "--api-key-file", writeFile(t, filepath.Join(t.TempDir(), "k"), []byte(key+"\n")))
	assert.Equal(t, exitDone, status, log)
}

// TestIssuerCommandRefuses has what keeps the issuer from its work: one error that
// names it, and nothing on standard output.
func TestIssuerCommandRefuses(t *testing.T) {
	dir, _ := initIssuer(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	keep := map[string][]byte{}
	for _, name := range []string{"issuer.json", "issuer.db", "sealing.key"} {
		b, err := os.ReadFile(at(name))
		require.NoError(t, err)
		keep[name] = b
	}
	for name, tc := range map[string]struct {
		damage func()
		args   []string
		status int
		want   string
	}{
		"no directory":     {args: []string{"issuer", "--data", "/nowhere/at/all"}, status: exitFailed, want: "issuer init --data DIR"},
		"init again":       {args: []string{"issuer", "init", "--data", dir}, status: exitFailed, want: "nothing was overwritten"},
		"wrong flags":      {args: []string{"issuer", "init", "--data", dir + "2", "--issuer", "nonsense", "--algorithm", "none"}, status: exitUsage, want: "algorithms[0]: "},
		"no data":          {args: []string{"issuer", "init"}, status: exitUsage, want: "--data"},
		"parts of seconds": {args: []string{"issuer", "init", "--data", dir + "2", "--cache-age", "1500ms"}, status: exitUsage, want: "--cache-age: must be whole seconds"},
		"broken settings":  {damage: func() { writeFile(t, at("issuer.json"), []byte(`{"skew":-1}`)) }, status: exitFailed, want: "skew: "},
		"corrupt database": {damage: func() { writeFile(t, at("issuer.db"), make([]byte, 8192)) }, status: exitFailed, want: at("issuer.db")},
		"open sealing key": {damage: func() { require.NoError(t, os.Chmod(at("sealing.key"), 0o644)) }, status: exitFailed, want: "chmod"},
		"no sealing key":   {damage: func() { require.NoError(t, os.Remove(at("sealing.key"))) }, status: exitFailed, want: at("sealing.key")},
		"bad address":      {args: []string{"issuer", "--data", dir, "--listen", "nonsense"}, status: exitUsage, want: "--listen"},
		"no drain":         {args: []string{"issuer", "--data", dir, "--drain", "0s"}, status: exitUsage, want: "--drain"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.damage != nil {
				tc.damage()
				tc.args = []string{"issuer", "--data", dir}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			out, log := new(lockedBuffer), new(lockedBuffer)
			status := run(ctx, tc.args, strings.NewReader(""), out, log)
			assert.Equal(t, tc.status, status, log)
			assert.Empty(t, out.String())
			assert.Contains(t, log.String(), "sessiongate: error: ")
			assert.Contains(t, log.String(), tc.want)
			for name, b := range keep {
				_ = os.Remove(at(name))
				require.NoError(t, os.WriteFile(at(name), b, 0o600))
			}
		})
	}
	assert.NoDirExists(t, dir+"2")
}
