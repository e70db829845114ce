package guest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/internal/abi"
)

const otherSet = `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"e","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
	{"kty":"EC","crv":"P-256","kid":"k","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`

type order struct {
	Issuer, ID  uint32
	URL, Accept string
	IfNoneMatch string `json:"if_none_match"`
}

type polled struct {
	Next    int64
	Orders  []order
	Sources []struct {
		Issuer      uint32
		ConfirmedAt int64 `json:"confirmed_at"`
	}
}

type answered struct {
	Outcome, Problem string
	ConfirmedAt      int64 `json:"confirmed_at"`
	Usable           int
	Order            *order
}

func (c *Calls) poll(t *testing.T, at int64) (p polled) {
	t.Helper()
	status, text := c.do(t, abi.CallRefresh, nil, at)
	require.Equal(t, abi.StatusOK, status)
	require.NoError(t, json.Unmarshal([]byte(text), &p))
	return p
}

func (c *Calls) answer(t *testing.T, at int64, f abi.Refreshed) (a answered) {
	t.Helper()
	status, text := c.do(t, abi.CallRefreshed, f.Append(nil), at)
	require.Equal(t, abi.StatusOK, status, text)
	require.NoError(t, json.Unmarshal([]byte(text), &a))
	return a
}

// inForce is what stats says of the first issuer's keys.
func (c *Calls) inForce(t *testing.T) (usable int, confirmedAt int64) {
	t.Helper()
	var v struct {
		Issuers []struct {
			Usable      int
			ConfirmedAt int64 `json:"confirmed_at"`
		}
	}
	_, text := c.do(t, abi.CallStats, nil, 0)
	require.NoError(t, json.Unmarshal([]byte(text), &v))
	return v.Issuers[0].Usable, v.Issuers[0].ConfirmedAt
}

func TestRefresh(t *testing.T) {
	c := configured(t, 0)
	p := c.poll(t, now)
	require.Equal(t, []order{{Issuer: 0, ID: 1, URL: "https://a.example/keys", Accept: "application/jwk-set+json, application/json"}}, p.Orders)
	require.Len(t, p.Sources, 1, "the secret is not fetched")
	assert.Zero(t, p.Sources[0].ConfirmedAt)
	assert.EqualValues(t, now+20_000, p.Next, "when the order will have failed")
	assert.Empty(t, c.poll(t, now+1).Orders, "one at a time")

	a := c.answer(t, now+2, abi.Refreshed{ID: 1, Status: 200, ETag: `"1"`, CacheControl: "max-age=60", Age: "20", Document: keySet})
	assert.Equal(t, answered{Outcome: "updated", ConfirmedAt: now, Usable: 1}, a)
	usable, confirmed := c.inForce(t)
	assert.Equal(t, 1, usable)
	assert.EqualValues(t, now, confirmed, "when it was asked for")
	assert.Equal(t, "ignored", c.answer(t, now+3, abi.Refreshed{ID: 1, Status: 200, Document: otherSet}).Outcome)
	assert.EqualValues(t, now+2+40_000, c.poll(t, now+3).Next)

	// A 304 confirms.
	at := int64(now + 50_000)
	p = c.poll(t, at)
	require.Len(t, p.Orders, 1)
	assert.Equal(t, `"1"`, p.Orders[0].IfNoneMatch)
	a = c.answer(t, at+1, abi.Refreshed{ID: 2, Status: 304})
	assert.Equal(t, answered{Outcome: "confirmed", ConfirmedAt: at, Usable: 1}, a)
	_, confirmed = c.inForce(t)
	assert.Equal(t, at, confirmed)

	// A kid that is not there asks for a fetch, after the cooldown.
	in := abi.UnknownKey{Issuer: 0, KeyID: "e"}
	status, rest := c.do(t, abi.CallUnknownKey, in.Append(nil), at+2)
	assert.Equal(t, abi.StatusOK, status)
	assert.Empty(t, rest)
	assert.Equal(t, at+10_000, c.poll(t, at+3).Next)
	at += 10_000
	require.Len(t, c.poll(t, at).Orders, 1)
	a = c.answer(t, at, abi.Refreshed{ID: 3, Status: 200, ETag: "no\ttag", Document: otherSet})
	assert.Equal(t, answered{Outcome: "updated", ConfirmedAt: at, Usable: 2}, a)

	// The clock is set back: a confirmation never lies in the future.
	c.poll(t, now+5_000)
	_, confirmed = c.inForce(t)
	assert.EqualValues(t, now+5_000, confirmed)

	// A tag that cannot be sent back is none. Whatever goes wrong, the last good set stays.
	bad := []struct {
		in      abi.Refreshed
		outcome string
		problem string
	}{
		{abi.Refreshed{}, "failed", "no answer came"},
		{abi.Refreshed{Status: 404, Document: keySet}, "failed", "the answer has status 404"},
		{abi.Refreshed{Status: 302}, "failed", "the answer has status 302"},
		{abi.Refreshed{Status: 304}, "failed", ""}, // nobody asked for it
		{abi.Refreshed{Status: 200, Document: strings.Repeat(" ", largestBody+1)}, "failed", "the answer is over 1 MiB"},
		{abi.Refreshed{Status: 200, Document: "<html>"}, "rejected", "the document is no key set with a usable key"},
		{abi.Refreshed{Status: 200, Document: `{"keys":[]}`}, "rejected", "the document is no key set with a usable key"},
	}
	at = now + 10_000_000
	for _, tt := range bad {
		at += 400_000
		orders := c.poll(t, at).Orders
		require.Len(t, orders, 1)
		assert.Empty(t, orders[0].IfNoneMatch)
		tt.in.ID = orders[0].ID
		a = c.answer(t, at, tt.in)
		assert.Equal(t, tt.outcome, a.Outcome)
		assert.Equal(t, tt.problem, a.Problem)
		assert.Equal(t, 2, a.Usable)
	}
	_, confirmed = c.inForce(t)
	assert.EqualValues(t, now+5_000, confirmed)
}

func TestRefreshNonsense(t *testing.T) {
	c := configured(t, 0)
	c.poll(t, now)
	for _, issuer := range []uint32{1, 2, 1 << 31} {
		in := abi.Refreshed{Issuer: issuer, ID: 1, Status: 200, Document: keySet}
		status, text := c.do(t, abi.CallRefreshed, in.Append(nil), now)
		assert.Equal(t, abi.StatusFaults, status)
		assert.Contains(t, text, "has no keys to fetch")
		unknown := abi.UnknownKey{Issuer: issuer}
		status, _ = c.do(t, abi.CallUnknownKey, unknown.Append(nil), now)
		assert.Equal(t, abi.StatusOK, status)
	}
	for _, number := range []abi.Call{abi.CallRefreshed, abi.CallUnknownKey} {
		status, _ := c.do(t, number, []byte{1, 2}, now)
		assert.Equal(t, abi.StatusBadInput, status)
	}
	assert.Equal(t, "ignored", c.answer(t, now, abi.Refreshed{ID: 7, Status: 200, Document: keySet}).Outcome)
	usable, _ := c.inForce(t)
	assert.Zero(t, usable)
	c.do(t, abi.CallConfigure, nil, now)
	assert.Empty(t, c.poll(t, now).Orders, "a policy with a fault changes nothing")

	var none Calls
	in := abi.Configure{Kind: "go", Policy: strings.ReplaceAll(document, `"jwks_uri":"https://a.example/keys","cooldown":10`, `"jwks":`+keySet)}
	in.Secrets = []abi.Secret{{Issuer: 1, Value: secret}}
	status, text := none.do(t, abi.CallConfigure, in.Append(nil), now)
	require.Equal(t, abi.StatusOK, status, text)
	_, text = none.do(t, abi.CallRefresh, nil, now)
	assert.JSONEq(t, `{"next":0,"orders":[],"sources":[]}`, text, "there is nothing to fetch")
}

func TestRefreshByDiscovery(t *testing.T) {
	c := new(Calls)
	in := abi.Configure{Kind: "go", Policy: strings.ReplaceAll(document, `"jwks_uri":"https://a.example/keys"`, `"discovery":"https://a.example/meta"`)}
	in.Secrets = []abi.Secret{{Issuer: 1, Value: secret}}
	status, text := c.do(t, abi.CallConfigure, in.Append(nil), now)
	require.Equal(t, abi.StatusOK, status, text)

	at := int64(now)
	metadata := func(document string) answered {
		at += 400_000
		orders := c.poll(t, at).Orders
		require.Len(t, orders, 1)
		require.Equal(t, "https://a.example/meta", orders[0].URL)
		require.Equal(t, "application/json", orders[0].Accept)
		require.Empty(t, orders[0].IfNoneMatch)
		return c.answer(t, at, abi.Refreshed{ID: orders[0].ID, Status: 200, ETag: "m", Document: document})
	}
	for _, bad := range []struct{ document, problem string }{
		{"<html>", "strict JSON"},
		{`{"issuer":"https://b.example","jwks_uri":"https://a.example/k"}`, "another issuer"},
		{`{"issuer":"https://a.example","issuer":"https://a.example","jwks_uri":"https://a.example/k"}`, "strict JSON"},
		{`{"issuer":"https://a.example"}`, "jwks_uri"},
		{`{"issuer":"https://a.example","jwks_uri":"http://a.example/k"}`, "jwks_uri"},
		{`{"issuer":"https://a.example","jwks_uri":7}`, "jwks_uri"},
	} {
		a := metadata(bad.document)
		assert.Equal(t, "failed", a.Outcome)
		assert.Contains(t, a.Problem, bad.problem)
	}
	good := `{"issuer":"https://a.example","jwks_uri":"https://keys.example/k"}`
	a := metadata(good)
	require.Equal(t, "continued", a.Outcome)
	require.Equal(t, "https://keys.example/k", a.Order.URL)
	a = c.answer(t, at, abi.Refreshed{ID: a.Order.ID, Status: 200, ETag: "s", Document: keySet})
	assert.Equal(t, "updated", a.Outcome)
	assert.Nil(t, a.Order)

	at += 400_000
	orders := c.poll(t, at).Orders
	require.Len(t, orders, 1)
	assert.Equal(t, "https://keys.example/k", orders[0].URL, "within the hour the metadata are not asked again")
	assert.Equal(t, "s", orders[0].IfNoneMatch)
	assert.Equal(t, "failed", c.answer(t, at, abi.Refreshed{ID: orders[0].ID, Status: 404}).Outcome)
	a = metadata(good)
	assert.Empty(t, a.Order.IfNoneMatch, "after a failure nobody knows whose tag that was")
	a = c.answer(t, at, abi.Refreshed{ID: a.Order.ID, Status: 200, ETag: "s", Document: keySet})
	assert.Equal(t, "confirmed", a.Outcome)

	at += rediscover
	a = metadata(good)
	assert.Equal(t, "s", a.Order.IfNoneMatch, "the same place's")
	a = c.answer(t, at, abi.Refreshed{ID: a.Order.ID, Status: 304})
	assert.Equal(t, "confirmed", a.Outcome)
	assert.Equal(t, 1, a.Usable)
}
