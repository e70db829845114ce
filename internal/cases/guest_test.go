package cases_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/internal/abi"
	"sessiongate/internal/cases"
	"sessiongate/internal/engine"
	"sessiongate/internal/guesttest"
	"sessiongate/verdict"
)

// The guest that ships says of every case what the verifier says: as a call for a
// token, as a request with the token in its header, and as an explanation.
func TestGuestSaysTheSame(t *testing.T) {
	e, err := engine.New(t.Context(), engine.Config{CacheDir: guesttest.CacheDir(t), MemoryLimit: 256 << 20})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, e.Close()) })
	module, err := e.Compile(t.Context(), guesttest.Core(t))
	require.NoError(t, err)
	t.Cleanup(module.Close)
	// One instance judges them all: nothing of one case may be left for the next.
	guest, err := module.Instantiate(t.Context())
	require.NoError(t, err)
	t.Cleanup(guest.Close)

	requests := 0
	for _, c := range cases.All() {
		t.Run(c.Name, func(t *testing.T) {
			call := func(number abi.Call, input []byte) string {
				status, out, err := guest.Call(t.Context(), number, c.Now, input)
				require.NoError(t, err)
				require.Equal(t, abi.StatusOK, status, out)
				return out
			}
			configure := abi.Configure{Kind: "go", Policy: string(c.Policy(""))}
			call(abi.CallConfigure, configure.Append(nil))
			for i, k := range c.Keys {
				if k.Document == "" || k.Inline {
					continue
				}
				update := abi.UpdateKeys{Issuer: uint32(i), ConfirmedAt: k.ConfirmedAt, Document: k.Document}
				status, out, err := guest.Call(t.Context(), abi.CallUpdateKeys, c.Now, update.Append(nil))
				require.NoError(t, err)
				if status != abi.StatusOK { // a set without a usable key is no update
					require.Equal(t, abi.StatusFaults, status)
					require.Equal(t, verdict.KeysUnavailable, c.Reason, out)
				}
			}

			token := c.Token[:min(len(c.Token), abi.MaxToken+1)]
			verified, err := abi.DecodeVerified(call(abi.CallVerify, []byte(token)))
			require.NoError(t, err)
			assert.Equal(t, c.Reason, verified.Reason)
			assert.Equal(t, c.Principal, tidy(verified.Principal))

			var explained struct {
				Checks []struct{ Name, Reason string }
			}
			require.NoError(t, json.Unmarshal([]byte(call(abi.CallExplain, []byte(token))), &explained))
			first := verdict.None.String()
			for _, check := range explained.Checks {
				if first == verdict.None.String() {
					first = check.Reason
				}
			}
			assert.Equal(t, c.Reason.String(), first)

			if token == "" || strings.Trim(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
				return // what stands in a header is more than a token, or none
			}
			requests++
			request := abi.Request{Method: "GET", Scheme: "https", Host: "api.test", Path: "/", Headers: []verdict.Field{{Name: "authorization", Value: "Bearer " + token}}}
			filtered, err := abi.DecodeFiltered(call(abi.CallFilter, request.Append(nil)))
			require.NoError(t, err)
			assert.Equal(t, c.Reason, filtered.Decision.Reason)
			assert.Equal(t, c.Reason == verdict.None, filtered.Decision.Forward)
			assert.Equal(t, c.Principal, tidy(filtered.Decision.Principal))
		})
	}
	assert.Greater(t, requests, 400)
}

// tidy makes lists without elements nil.
func tidy(p verdict.Principal) verdict.Principal {
	if len(p.Roles) == 0 {
		p.Roles = nil
	}
	if len(p.Permissions) == 0 {
		p.Permissions = nil
	}
	return p
}
