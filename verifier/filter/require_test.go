package filter_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/verdict"
	"sessiongate/verifier/filter"
)

func TestRequirements(t *testing.T) {
	f := newFilter(t, `"rules": [
		{"path_prefix": "/type", "session_types": ["ssdash", "sess"]},
		{"path_prefix": "/tenant", "tenant": "t1"},
		{"path_template": "/tenants/{id}/users/{user}", "tenant_segment": "id"},
		{"path_prefix": "/any", "permissions_any": ["write", "admin"]},
		{"path_prefix": "/all", "permissions_all": ["read", "write"]},
		{"path_prefix": "/both", "permissions_any": ["admin"], "permissions_all": ["read"]},
		{"path_prefix": "/aal1", "assurance": "aal1"},
		{"path_prefix": "/aal2", "assurance": "aal2"},
		{"path_prefix": "/acr", "assurance": "urn:mfa"},
		{"path_prefix": "/age", "authentication_age": 600},
		{"path_prefix": "/everything", "session_types": ["sess"], "tenant": "t1", "permissions_any": ["read"], "assurance": "aal2", "authentication_age": 600},
		{"path_prefix": "/optional", "access": "optional", "permissions_any": ["admin"]},
		{"path_prefix": "/public", "access": "public"}]`)
	for _, c := range []struct {
		path   string
		claims claims
		want   verdict.Reason
	}{
		{"/type", nil, verdict.None},
		{"/type", claims{"session_type": "ssdash"}, verdict.None},
		{"/type", claims{"session_type": "SESS"}, verdict.SessionType},
		{"/type", claims{"session_type": nil}, verdict.SessionType},
		{"/tenant", nil, verdict.None},
		{"/tenant", claims{"tenant_id": "t2"}, verdict.Tenant},
		{"/tenant", claims{"tenant_id": nil}, verdict.Tenant},
		{"/tenants/t1/users/7", nil, verdict.None},
		{"/tenants/t2/users/7", nil, verdict.Tenant},
		{"/tenants/T1/users/7", nil, verdict.Tenant},
		{"/tenants/t1/users/7", claims{"tenant_id": nil}, verdict.Tenant},
		{"/tenants/t1/users/7", claims{"tenant_id": ""}, verdict.Tenant},
		{"/tenants/a%20%C3%A9/users/7", claims{"tenant_id": "a é"}, verdict.None},
		{"/tenants/a%20%c3%a9/users/7", claims{"tenant_id": "a é"}, verdict.None},
		{"/tenants/a+b/users/7", claims{"tenant_id": "a+b"}, verdict.None},
		{"/tenants/a+b/users/7", claims{"tenant_id": "a b"}, verdict.Tenant},
		{"/tenants/a%20b/users/7", claims{"tenant_id": "a%20b"}, verdict.Tenant},
		{"/tenants/t1", nil, verdict.NoRule},
		{"/any", nil, verdict.None},
		{"/any", claims{"permissions": []string{"admin"}}, verdict.None},
		{"/any", claims{"permissions": []string{"read", "writer"}}, verdict.Permission},
		{"/any", claims{"permissions": nil}, verdict.Permission},
		{"/all", nil, verdict.None},
		{"/all", claims{"permissions": []string{"write"}}, verdict.Permission},
		{"/both", claims{"permissions": []string{"admin", "read"}}, verdict.None},
		{"/both", claims{"permissions": []string{"admin"}}, verdict.Permission},
		{"/both", claims{"permissions": []string{"read"}}, verdict.Permission},
		{"/aal1", nil, verdict.None},
		{"/aal1", claims{"acr": "aal3"}, verdict.None},
		{"/aal1", claims{"acr": "aal0"}, verdict.Assurance},
		{"/aal2", nil, verdict.Assurance},
		{"/aal2", claims{"acr": "aal2"}, verdict.None},
		{"/aal2", claims{"acr": "aal3"}, verdict.None},
		{"/aal2", claims{"acr": "aal4"}, verdict.Assurance},
		{"/aal2", claims{"acr": "aal22"}, verdict.Assurance},
		{"/aal2", claims{"acr": "AAL3"}, verdict.Assurance},
		{"/aal2", claims{"acr": "urn:mfa"}, verdict.Assurance},
		{"/aal2", claims{"acr": nil}, verdict.Assurance},
		{"/acr", claims{"acr": "urn:mfa"}, verdict.None},
		{"/acr", claims{"acr": "urn:mfa:2"}, verdict.Assurance},
		{"/acr", claims{"acr": "aal3"}, verdict.Assurance},
		{"/age", nil, verdict.None},
		{"/age", claims{"auth_time": now/1000 - 600}, verdict.None},
		{"/age", claims{"auth_time": now/1000 - 601}, verdict.AuthenticationAge},
		{"/age", claims{"auth_time": nil}, verdict.AuthenticationAge},
		{"/age", claims{"auth_time": now/1000 + 5}, verdict.None}, // within the leeway
		{"/age", claims{"auth_time": now/1000 + 6}, verdict.AuthenticationAge},
		{"/everything", claims{"acr": "aal2"}, verdict.None},
		{"/everything", claims{"session_type": "x", "tenant_id": "x", "permissions": nil, "acr": nil, "auth_time": nil}, verdict.SessionType},
		{"/everything", claims{"tenant_id": "x", "permissions": nil, "acr": nil, "auth_time": nil}, verdict.Tenant},
		{"/everything", claims{"permissions": nil, "acr": nil, "auth_time": nil}, verdict.Permission},
		{"/everything", claims{"acr": nil, "auth_time": nil}, verdict.Assurance},
		{"/optional", nil, verdict.Permission},
		{"/optional", claims{"permissions": []string{"admin"}}, verdict.None},
		{"/optional", claims{"exp": 1}, verdict.Expired},
		{"/public", claims{"exp": 1}, verdict.None},
		{"/elsewhere", nil, verdict.NoRule},
	} {
		d := f.Decide(request(c.path, "Authorization: Bearer "+mint(t, c.claims)), now)
		assert.Equal(t, c.want.String(), d.Reason.String(), "%s %v", c.path, c.claims)
		assert.Equal(t, c.want == verdict.None && c.path != "/public", d.Authenticated)
		if c.want != verdict.None {
			assert.Equal(t, c.want.Status(), d.Status)
			assert.Empty(t, d.Principal)
			assert.Empty(t, d.Set)
		}
	}
	assert.True(t, f.Decide(request("/optional"), now).Forward)
	assert.True(t, f.Decide(request("/public", "Authorization: Bearer x, Bearer y"), now).Forward)
	assert.Equal(t, verdict.Malformed, f.Decide(request("/optional", "Authorization: Bearer x"), now).Reason)
	assert.Equal(t, verdict.MissingToken, f.Decide(request("/type"), now).Reason)
}

func TestRuleOrder(t *testing.T) {
	f := newFilter(t, `"rules": [
		{"hosts": ["admin.example"], "path_prefix": "/"},
		{"methods": ["GET"], "path_prefix": "/x", "access": "public"},
		{"hosts": ["*.open.example"], "path_prefix": "/", "access": "public"},
		{"path": "/only", "access": "public"}]`)
	for _, c := range []struct {
		method, host, path string
		want               verdict.Reason
	}{
		{"GET", "admin.example", "/x", verdict.MissingToken},
		{"GET", "ADMIN.example.:8443", "/x", verdict.MissingToken},
		{"GET", "api.example", "/x", verdict.None},
		{"GET", "", "/x", verdict.None},
		{"POST", "api.example", "/x", verdict.NoRule},
		{"POST", "a.open.example", "/x", verdict.None},
		{"POST", "open.example", "/x", verdict.NoRule},
		{"GET", "api.example", "/only", verdict.None},
		{"GET", "api.example", "/only/", verdict.NoRule},
		// A host or method that cannot be compared is not left to the rules that do
		// not look at it.
		{"GET", "admin.example:80:80", "/x", verdict.NoRule},
		{"GET", "admin.example,", "/x", verdict.NoRule},
		{"GET", "u@admin.example", "/x", verdict.NoRule},
		{"get", "api.example", "/only", verdict.NoRule},
		{"", "api.example", "/only", verdict.NoRule},
		{"G ET", "api.example", "/only", verdict.NoRule},
		{"M-SEARCH", "api.example", "/only", verdict.None},
	} {
		req := request(c.path)
		req.Method, req.Host = c.method, c.host
		assert.Equal(t, c.want.String(), f.Decide(req, now).Reason.String(), "%+v", c)
	}
	// Where no rule names hosts or methods, they are nobody's business.
	free := newFilter(t, `"rules": [{"path_prefix": "/", "access": "public"}]`)
	req := request("/x")
	req.Method, req.Host = "get", "a,b"
	assert.True(t, free.Decide(req, now).Forward)
	// Without a rule nothing passes.
	assert.Equal(t, verdict.NoRule, newFilter(t, "").Decide(request("/", "Authorization: Bearer "+mint(t, nil)), now).Reason)
}

func TestPreflight(t *testing.T) {
	const rules = `"rules": [{"path_prefix": "/x"}], "identity_headers": {"x-user": "subject"}`
	f := newFilter(t, rules)
	origin, method := "Origin: https://a.example", "Access-Control-Request-Method: PUT"
	for _, c := range []struct {
		target  string
		headers []string
		want    verdict.Reason
	}{
		{"OPTIONS /x", []string{origin, method}, verdict.None},
		{"OPTIONS /no/rule", []string{origin, method}, verdict.None},
		{"OPTIONS /x/../y", []string{origin, method}, verdict.BadPath},
		{"OPTIONS /x", []string{origin}, verdict.MissingToken},
		{"OPTIONS /x", []string{method}, verdict.MissingToken},
		{"OPTIONS /x", []string{origin, origin, method}, verdict.MissingToken},
		{"OPTIONS /x", []string{origin, method, method}, verdict.MissingToken},
		{"OPTIONS /x", []string{origin, "Access-Control-Request-Method: "}, verdict.MissingToken},
		{"GET /x", []string{origin, method}, verdict.MissingToken},
		{"options /x", []string{origin, method}, verdict.MissingToken},
	} {
		d := f.Decide(request(c.target, c.headers...), now)
		assert.Equal(t, c.want.String(), d.Reason.String(), "%s %v", c.target, c.headers)
		if c.want == verdict.None {
			assert.Equal(t, []string{"x-user"}, d.Remove)
			assert.Empty(t, d.Set)
		}
	}
	checked := newFilter(t, rules+`, "preflight": "check"`)
	assert.Equal(t, verdict.MissingToken, checked.Decide(request("OPTIONS /x", origin, method), now).Reason)
}

func TestKeys(t *testing.T) {
	p := newPolicyOf(t, `{"issuer": "`+issuer+`", "dialect": "own", "algorithms": ["EdDSA"], "audience": ["api"],
		"jwks_uri": "https://issuer.example/jwks.json", "max_stale": 3600}`)
	f, err := filter.New(p)
	require.NoError(t, err)
	decide := func(token string, at int64) verdict.Reason {
		return f.Decide(request("/", "Authorization: Bearer "+token), at).Reason
	}
	a, b := edKey(1), edKey(2)
	token := mintEd(t, "a", a, nil)

	assert.Equal(t, verdict.KeysUnavailable, decide(token, now))
	index, kid := f.Refusal()
	assert.Equal(t, 0, index)
	assert.Equal(t, "a", string(kid))

	skipped, err := f.UpdateKeys(0, jwkSet(t, "a", a), now)
	require.NoError(t, err)
	assert.Empty(t, skipped)
	assert.Equal(t, verdict.None, decide(token, now))
	index, kid = f.Refusal()
	assert.Equal(t, -1, index)
	assert.Nil(t, kid)

	assert.Equal(t, verdict.UnknownKey, decide(mintEd(t, "b", b, nil), now))
	index, kid = f.Refusal()
	assert.Equal(t, 0, index)
	assert.Equal(t, "b", string(kid))
	assert.Equal(t, verdict.BadSignature, decide(mintEd(t, "a", b, nil), now))
	index, _ = f.Refusal()
	assert.Equal(t, -1, index)
	assert.Equal(t, verdict.MissingToken, f.Decide(request("/"), now).Reason)

	// A bad update changes nothing.
	fresh, err := filter.New(p)
	require.NoError(t, err)
	_, err = fresh.UpdateKeys(0, nil, now)
	assert.Error(t, err, "there is nothing to confirm")
	for _, doc := range []string{" ", "{}", `{"keys":[]}`, `{"keys":[{"kty":"x"}]}`, "[]", "{"} {
		_, err := f.UpdateKeys(0, []byte(doc), now)
		assert.Error(t, err, doc)
	}
	skipped, err = f.UpdateKeys(0, []byte(`{"keys":[{"kty":"x"}]}`), now)
	assert.ErrorContains(t, err, "no usable key")
	assert.Len(t, skipped, 1)
	for _, i := range []int{-1, 1} {
		_, err = f.UpdateKeys(i, jwkSet(t, "a", a), now)
		assert.ErrorContains(t, err, "index")
	}
	assert.Equal(t, verdict.None, decide(token, now))

	late := mintEd(t, "a", a, claims{"exp": now/1000 + 7200})
	assert.Equal(t, verdict.None, decide(late, now+3600_000))
	assert.Equal(t, verdict.KeysStale, decide(late, now+3600_001))
	index, _ = f.Refusal()
	assert.Equal(t, 0, index)
	_, err = f.UpdateKeys(0, jwkSet(t, "a", a), now+3600_000)
	require.NoError(t, err)
	assert.Equal(t, verdict.None, decide(late, now+3600_001))
	// Without a document, the set in force is confirmed anew.
	assert.Equal(t, verdict.KeysStale, decide(late, now+7200_001))
	_, err = f.UpdateKeys(0, nil, now+7200_000)
	require.NoError(t, err)
	assert.Equal(t, verdict.Expired, decide(late, now+7205_001))

	_, err = f.UpdateKeys(0, jwkSet(t, "b", b), now)
	require.NoError(t, err)
	assert.Equal(t, verdict.UnknownKey, decide(token, now))
	_, err = f.Verifier().Verify(mintEd(t, "b", b, nil), now)
	assert.NoError(t, err)
}

// A symmetric issuer has no key set to update.
func TestSecretIssuer(t *testing.T) {
	f := newFilter(t, anyPath)
	_, err := f.UpdateKeys(0, jwkSet(t, "a", edKey(1)), now)
	assert.ErrorContains(t, err, "secret")
	assert.True(t, f.Decide(request("/", "Authorization: Bearer "+mint(t, nil)), now).Forward)
}

func TestInlineKeys(t *testing.T) {
	inline := func(set string) string {
		return `{"issuer": "` + issuer + `", "dialect": "own", "algorithms": ["EdDSA"], "audience": ["api"], "jwks": ` + set + `}`
	}
	f, err := filter.New(newPolicyOf(t, inline(string(jwkSet(t, "a", edKey(1))))))
	require.NoError(t, err)
	d := f.Decide(request("/", "Authorization: Bearer "+mintEd(t, "a", edKey(1), claims{"exp": now/1000 + 80000})), now+79_000_000)
	assert.True(t, d.Forward, "inline keys do not age: %v", d.Reason)

	p := newPolicyOf(t, inline(string(jwkSet(t, "a", edKey(1)))))
	p.Keys[0].Inline = []byte(`{"keys":[]}`)
	_, err = filter.New(p)
	assert.ErrorContains(t, err, "issuers[0].jwks")
	p.Issuers = nil
	_, err = filter.New(p)
	assert.Error(t, err)
}
