package verifier_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/internal/cases"
	"sessiongate/jwks"
	"sessiongate/verdict"
	"sessiongate/verifier"
)

// verifierOf is the verifier that a case describes.
func verifierOf(t testing.TB, c *cases.Case) *verifier.Verifier {
	t.Helper()
	v, err := verifier.New(verifier.Config{Issuers: c.Issuers})
	require.NoError(t, err)
	for i, k := range c.Keys {
		if k.Document == "" {
			continue
		}
		set, err := jwks.Parse([]byte(k.Document))
		require.NoError(t, err)
		v = v.WithKeys(i, set, k.ConfirmedAt)
	}
	return v
}

func TestCases(t *testing.T) {
	var kept verifier.Result // used for every token: nothing of one may reach the next
	for _, c := range all() {
		t.Run(c.Name, func(t *testing.T) {
			v := verifierOf(t, &c)

			principal, err := v.Verify(c.Token, c.Now)
			assert.Equal(t, c.Principal, principal)
			if c.Reason == verdict.None {
				assert.NoError(t, err)
			} else {
				require.ErrorIs(t, err, c.Reason)
				assert.EqualError(t, err, c.Reason.Error())
				assert.NoError(t, leak(err.Error(), c.Token))
			}

			token := []byte(c.Token)
			assert.Equal(t, c.Reason, v.VerifyInto(&kept, token, c.Now))
			assert.Equal(t, c.Token, string(token), "the token is only read")
			got := kept.Principal
			if len(got.Roles) == 0 {
				got.Roles = nil
			}
			if len(got.Permissions) == 0 {
				got.Permissions = nil
			}
			assert.Equal(t, c.Principal, got)
			if c.Reason == verdict.None {
				assert.True(t, kept.Claims().Member("exp").Kind() != 0 || c.Issuers[kept.Issuer].OptionalExpiry)
				_, claims, _ := cases.Segments(c.Token)
				assert.JSONEq(t, claims, string(kept.Claims().Raw()))
			} else {
				assert.Zero(t, kept.Claims().Kind(), "a refused token has no claims")
			}

			first := verdict.None
			for _, check := range v.Explain(c.Token, c.Now) {
				assert.NotEmpty(t, check.Name)
				if first == verdict.None {
					first = check.Reason
				}
			}
			assert.Equal(t, c.Reason, first, "the first Reason of the explanation")
		})
	}
}

// leak tells if an error's text has eight characters in a row that the token has.
func leak(text, token string) error {
	for i := 0; i+8 <= len(token) && i < 1<<14; i++ {
		if strings.Contains(text, token[i:i+8]) {
			return errors.New("the error holds " + token[i:i+8])
		}
	}
	return nil
}

// Each Reason that a verifier can answer is in the table.
func TestEveryReasonIsReached(t *testing.T) {
	// What the request, its rule or the host decides, and what comes with revocation.
	elsewhere := []verdict.Reason{verdict.MissingToken, verdict.MultipleTokens, verdict.BadPath, verdict.NoRule, verdict.CrossSite,
		verdict.SessionType, verdict.Tenant, verdict.Permission, verdict.Assurance, verdict.AuthenticationAge,
		verdict.Revoked, verdict.StatusUnknown, verdict.StatusStale, verdict.ClockUnusable, verdict.Internal}
	reached := map[verdict.Reason]int{}
	names := map[string]bool{}
	for _, c := range all() {
		reached[c.Reason]++
		require.Falsef(t, names[c.Name], "two cases are called %s", c.Name)
		names[c.Name] = true
	}
	for _, r := range verdict.Reasons() {
		assert.Equalf(t, !slices.Contains(elsewhere, r), reached[r] > 0, "%s", r)
	}
	t.Logf("%d cases, %d of them accepted", len(names), reached[verdict.None])
	assert.GreaterOrEqual(t, len(names), 450)

	long := find(t, "form/token-of-16384-bytes")
	assert.LessOrEqual(t, len(long.Token), cases.MaxToken)
	assert.Greater(t, len(long.Token), cases.MaxToken-2)
}
