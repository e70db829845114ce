package jwks_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/jwks"
)

const ecKey = `{"kty":"EC","crv":"P-256","kid":"k","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`

func TestKeyFile(t *testing.T) {
	const bare = `{"keys":[` + ecKey + `]}`
	for _, document := range []string{
		bare,
		"\n" + `{"x":1, "keys" : [` + ecKey + `] , "y":{"keys":[]}}` + "\n",
		`{"confirmed_at":1,"keys":[` + ecKey + `],"confirmed_at":"two"}`, // the issuer's own words do not count
	} {
		file, err := jwks.AppendFile(nil, []byte(document), 1_800_000_000_999)
		require.NoError(t, err)
		assert.Equal(t, `{"confirmed_at":1800000000,"keys":[`+ecKey+`]}`, string(file))
		back, at, err := jwks.ParseFile(file)
		require.NoError(t, err)
		assert.Equal(t, bare, string(back))
		assert.Equal(t, int64(1_800_000_000_000), at)
		// Whoever knows nothing of the time reads the file all the same.
		set, err := jwks.Parse(file)
		require.NoError(t, err)
		assert.Equal(t, 1, set.Len())
	}
	_, err := jwks.AppendFile(nil, []byte("<html>"), 1_800_000_000_000)
	require.ErrorIs(t, err, jwks.ErrNotJSON)
	_, err = jwks.AppendFile(nil, []byte(bare), 0)
	require.ErrorIs(t, err, jwks.ErrConfirmedAt)
}

func TestLargestKeyFile(t *testing.T) {
	document := `{"keys":[],"pad":"` + strings.Repeat("x", jwks.MaxBytes-20) + `"}`
	require.Len(t, document, jwks.MaxBytes)
	_, err := jwks.AppendFile(nil, []byte(document), 1_800_000_000_000)
	require.NoError(t, err)
	document = `{"keys":["` + strings.Repeat("x", jwks.MaxBytes-13) + `"]}`
	require.Len(t, document, jwks.MaxBytes)
	file, err := jwks.AppendFile(nil, []byte(document), 253402300799_000)
	require.NoError(t, err)
	assert.LessOrEqual(t, len(file), jwks.MaxFileBytes)
	back, at, err := jwks.ParseFile(file)
	require.NoError(t, err)
	assert.Equal(t, document, string(back))
	assert.NotZero(t, at)
}

func TestParseFile(t *testing.T) {
	for _, tt := range []struct {
		file, document string
		at             int64
		err            error
	}{
		{`{"keys":[]}`, `{"keys":[]}`, 0, nil},
		{`{"keys":[], "x":1}`, `{"keys":[], "x":1}`, 0, nil},
		{`{"keys":[],"confirmed_at":2}`, `{"keys":[]}`, 2000, nil},
		{`{"keys":[],"confirmed\u005fat":2}`, `{"keys":[]}`, 2000, nil},
		{`{"confirmed_at":2}`, `{"keys":null}`, 2000, nil},
		{`{"confirmed_at":2,"keys":[],"keys":[1]}`, "", 2000, nil}, // refused by Parse
		{`not json`, `not json`, 0, nil},
		{``, ``, 0, nil},
		{`[]`, `[]`, 0, nil},
		{`{"keys":[],"confirmed_at":"2"}`, "", 0, jwks.ErrConfirmedAt},
		{`{"keys":[],"confirmed_at":null}`, "", 0, jwks.ErrConfirmedAt},
		{`{"keys":[],"confirmed_at":2.5}`, "", 0, jwks.ErrConfirmedAt},
		{`{"keys":[],"confirmed_at":0}`, "", 0, jwks.ErrConfirmedAt},
		{`{"keys":[],"confirmed_at":-2}`, "", 0, jwks.ErrConfirmedAt},
		{`{"keys":[],"confirmed_at":253402300800}`, "", 0, jwks.ErrConfirmedAt},
		{`{"keys":[],"confirmed_at":99999999999999999999}`, "", 0, jwks.ErrConfirmedAt},
		{`{"confirmed_at":2,"keys":[],"confirmed_at":2}`, "", 0, jwks.ErrConfirmedAt},
	} {
		document, at, err := jwks.ParseFile([]byte(tt.file))
		require.ErrorIs(t, err, tt.err, tt.file)
		assert.Equal(t, tt.at, at, tt.file)
		if tt.document != "" || tt.err != nil {
			assert.Equal(t, tt.document, string(document), tt.file)
		} else if tt.at != 0 {
			_, err := jwks.Parse(document)
			assert.Error(t, err, tt.file)
		}
	}
}

// A copy that says when its keys were confirmed ages from then on.
func TestRefreshOfACopy(t *testing.T) {
	const now = 1_800_000_000_000
	document := []byte(`{"keys":[` + ecKey + `]}`)
	r := jwks.NewRefresh(jwks.RefreshConfig{MaxStale: 60_000, Cooldown: 1000, Backoff: 1000})
	answer := func(a jwks.Answer, at int64) jwks.Outcome {
		o, due := r.Poll(at)
		require.True(t, due)
		a.ID, a.Document, a.ETag, a.Lifetime = o.ID, document, "1", 1000
		return r.Answer(a, at)
	}
	require.Equal(t, jwks.Updated, answer(jwks.Answer{Status: jwks.Fetched, ConfirmedAt: now - 50_000}, now))
	assert.Equal(t, int64(now-50_000), r.Snapshot().ConfirmedAt)
	assert.Equal(t, jwks.Fresh, r.Freshness(now))
	require.Equal(t, jwks.Confirmed, answer(jwks.Answer{Status: jwks.NotModified, ConfirmedAt: now - 50_000}, now+20_000))
	assert.Equal(t, jwks.Stale, r.Freshness(now+20_000), "looked at, but not confirmed")
	require.Equal(t, jwks.Confirmed, answer(jwks.Answer{Status: jwks.Fetched, ConfirmedAt: now + 20_000}, now+21_000))
	assert.Equal(t, jwks.Fresh, r.Freshness(now+70_000))
	// Clocks differ a little; not by more than a minute.
	require.Equal(t, jwks.Confirmed, answer(jwks.Answer{Status: jwks.Fetched, ConfirmedAt: now + 90_000}, now+30_000))
	assert.Equal(t, int64(now+30_000), r.Snapshot().ConfirmedAt)
	require.Equal(t, jwks.Failed, answer(jwks.Answer{Status: jwks.Fetched, ConfirmedAt: now + 100_001}, now+40_000))
	assert.Equal(t, int64(now+30_000), r.Snapshot().ConfirmedAt)
	require.Equal(t, jwks.Failed, answer(jwks.Answer{Status: jwks.NotModified, ConfirmedAt: now + 200_000}, now+50_000))
	require.Equal(t, jwks.Confirmed, answer(jwks.Answer{Status: jwks.NotModified}, now+60_000))
	assert.Equal(t, int64(now+60_000), r.Snapshot().ConfirmedAt)
}
