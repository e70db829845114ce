package jwks_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sessiongate/jwks"
)

// Two keys of one kid: neither is used, and without a kid both would fit.
const (
	clashing = `{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
		{"kty":"OKP","crv":"Ed25519","kid":"k","x":"PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw"}`
	other = `{"kty":"EC","crv":"P-256","kid":"e","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`
)

func selectsSet(keys ...string) []byte { return []byte(`{"keys":[` + strings.Join(keys, ",") + `]}`) }

func TestSelects(t *testing.T) {
	for name, c := range map[string]struct {
		keys []string
		want bool
	}{
		"one key":            {[]string{other}, true},
		"none":               {nil, false},
		"all clash":          {[]string{clashing}, false},
		"one does not clash": {[]string{clashing, other}, true},
	} {
		set, err := jwks.Parse(selectsSet(c.keys...))
		require.NoError(t, err, name)
		require.Equal(t, c.want, set.Selects(), name)
	}
	var none *jwks.Set
	require.False(t, none.Selects())
}

// A set whose keys all clash does not replace a good one, but it is better than none.
func TestRefreshKeepsAGoodSetFromOneThatSelectsNothing(t *testing.T) {
	r := jwks.NewRefresh(jwks.RefreshConfig{})
	order, _ := r.Poll(0)
	require.Equal(t, jwks.Updated, r.Answer(jwks.Answer{ID: order.ID, Status: jwks.Fetched, Document: selectsSet(clashing)}, 1))
	good := selectsSet(other)
	order, due := r.Poll(r.Next())
	require.True(t, due)
	require.Equal(t, jwks.Updated, r.Answer(jwks.Answer{ID: order.ID, Status: jwks.Fetched, Document: good}, r.Next()))
	order, due = r.Poll(r.Next() + 10_000_000)
	require.True(t, due)
	require.Equal(t, jwks.Rejected, r.Answer(jwks.Answer{ID: order.ID, Status: jwks.Fetched, Document: selectsSet(clashing)}, r.Next()))
	require.Equal(t, good, r.Snapshot().Document)
}
