package policy_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/jwks"
	"sessiongate/verifier"
	"sessiongate/verifier/policy"
)

func parse(t testing.TB, name, kind string) *policy.Policy {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(policies, "valid", name+".json"))
	require.NoError(t, err)
	p, err := policy.Parse(text, kind)
	require.NoError(t, err)
	return p
}

func TestParseFull(t *testing.T) {
	p := parse(t, "full", "go")

	require.Len(t, p.Issuers, 4)
	assert.Equal(t, verifier.Issuer{
		Name: "https://issuer.example", Dialect: verifier.Own, Algorithms: []jwks.Algorithm{jwks.ES256, jwks.EdDSA},
		Audience: []string{"api", "web"}, Parties: []string{"web"}, Types: []string{"at+jwt"},
		Leeway: 5_000, MaxLifetime: 86_400_000,
	}, p.Issuers[0])
	assert.Equal(t, verifier.Issuer{
		Name: "https://clerk.example", Dialect: verifier.Clerk, Algorithms: []jwks.Algorithm{jwks.RS256},
		UncheckedAudience: true, Parties: []string{"https://app.example"}, Types: []string{"", "jwt"},
		Leeway: 5_000, MaxLifetime: 86_400_000, MaxStale: 3_600_000,
	}, p.Issuers[1])
	assert.Equal(t, verifier.Issuer{
		Name: "https://kratos.example", Dialect: verifier.Kratos, Algorithms: []jwks.Algorithm{jwks.ES512, jwks.PS256},
		UncheckedAudience: true, UncheckedType: true, Leeway: 5_000, MaxLifetime: 86_400_000, MaxStale: 86_400_000,
		Assurance: "/aal", AuthenticatedAt: "/authenticated_at",
	}, p.Issuers[2])
	assert.Equal(t, verifier.Issuer{
		Name: "internal", Dialect: verifier.JWT, Algorithms: []jwks.Algorithm{jwks.HS256}, Audience: []string{"internal"},
		OptionalExpiry: true, Leeway: 5_000, Tenant: "/tid", Roles: "/realm_access/roles", Permissions: "/scope", Assurance: "/acr", AuthenticatedAt: "/auth_time",
	}, p.Issuers[3])

	require.Len(t, p.Keys, 4)
	assert.Equal(t, policy.Inline, p.Keys[0].Kind)
	set, err := jwks.Parse(p.Keys[0].Inline)
	require.NoError(t, err)
	assert.Equal(t, []string{"es-1"}, set.KeyIDs())
	assert.Equal(t, policy.KeySource{Kind: policy.File, Location: "/etc/sessiongate/clerk.json", MaxStale: 3_600_000, Cooldown: 60_000}, p.Keys[1],
		"the host's file stands for the URL")
	assert.Equal(t, policy.KeySource{Kind: policy.Discovery, Location: "https://kratos.example/.well-known/openid-configuration",
		MaxStale: 86_400_000, Cooldown: 30_000}, p.Keys[2])
	assert.Equal(t, policy.KeySource{Kind: policy.Secret, Location: "/run/secrets/internal"}, p.Keys[3])

	assert.Equal(t, []policy.Source{
		{Kind: policy.Header, Name: "authorization", Scheme: "Bearer"},
		{Kind: policy.Cookie, Name: "__session"},
		{Kind: policy.Header, Name: "x-session-token"},
		{Kind: policy.Query, Name: "access_token"},
	}, p.Sources)
	assert.Equal(t, []string{"https://app.example", "http://localhost:3000"}, p.Origins)

	require.Len(t, p.Rules, 5)
	assert.Equal(t, policy.Rule{Methods: []string{"GET", "HEAD"}, Path: pattern(t, policy.PathExact, "/healthz"), Access: policy.Public}, p.Rules[0])
	assert.Equal(t, policy.Rule{Hosts: []string{"api.example", "*.api.example"}, Path: pattern(t, policy.PathPrefix, "/public"),
		Access: policy.Optional, SessionTypes: []string{"sess"}}, p.Rules[1])
	assert.Equal(t, policy.Rule{Path: pattern(t, policy.PathTemplate, "/tenants/{tenant}/users/{id}"),
		PermissionsAny: []string{"users:read", "users:write"}, PermissionsAll: []string{"login"},
		TenantSegment: "tenant", Assurance: "aal2", AuthenticationAge: 600_000}, p.Rules[2])
	assert.Equal(t, policy.Rule{Path: pattern(t, policy.PathPrefix, "/admin/"), Tenant: "root", Assurance: "urn:example:silver"}, p.Rules[3])
	assert.Equal(t, policy.Rule{Path: pattern(t, policy.PathPrefix, "/")}, p.Rules[4])

	assert.Equal(t, []policy.IdentityHeader{
		{Name: "x-user-id", Claim: policy.Claim{Field: policy.FieldSubject}, Separator: ","},
		{Name: "x-user-email", Claim: policy.Claim{Pointer: "/email"}, Separator: ","},
		{Name: "x-user-roles", Claim: policy.Claim{Field: policy.FieldRoles}, Separator: ";"},
	}, p.Identity)
	assert.Equal(t, &policy.SignIn{URL: "https://app.example/sign-in?from=edge", ReturnTo: "return_to"}, p.SignIn)
	assert.Equal(t, "https://app.example", p.PublicOrigin)
	assert.Equal(t, "sessiongate", p.Realm)
	assert.Equal(t, []policy.Claim{{Field: policy.FieldSubject}, {Field: policy.FieldSession}, {Pointer: "/tenant_id"}}, p.Log)
	assert.False(t, p.FirstToken || p.NormalizePaths || p.CheckPreflight || p.StripToken || p.Ory)
}

func pattern(t testing.TB, kind policy.PathKind, text string) policy.PathPattern {
	t.Helper()
	p, problem := policy.ParsePath(kind, text)
	require.Empty(t, problem)
	return p
}

func TestParseDefaults(t *testing.T) {
	p := parse(t, "minimal", "go")
	assert.Equal(t, []policy.Source{{Kind: policy.Header, Name: "authorization", Scheme: "Bearer"}}, p.Sources)
	assert.Equal(t, verifier.Issuer{
		Name: "https://issuer.example", Dialect: verifier.Own, Algorithms: []jwks.Algorithm{jwks.ES256}, Audience: []string{"api"},
		Leeway: 5_000, MaxLifetime: 86_400_000, MaxStale: 86_400_000,
	}, p.Issuers[0])
	assert.Equal(t, []policy.KeySource{{Kind: policy.URI, Location: "https://issuer.example/.well-known/jwks.json",
		MaxStale: 86_400_000, Cooldown: 30_000}}, p.Keys)
	assert.Equal(t, []policy.Rule{{Path: pattern(t, policy.PathPrefix, "/")}}, p.Rules)
	assert.Equal(t, "sessiongate", p.Realm)
	assert.Nil(t, p.SignIn)
	assert.Empty(t, p.PublicOrigin)
	assert.Empty(t, p.Origins)
	assert.Empty(t, p.Identity)
	assert.Empty(t, p.Log)
	assert.False(t, p.FirstToken || p.NormalizePaths || p.CheckPreflight || p.StripToken || p.Ory)
	assert.Nil(t, parse(t, "keysets", "").Rules)
}

func TestParseLaxer(t *testing.T) {
	p := parse(t, "unchecked", "go")
	is := p.Issuers[0]
	assert.Empty(t, is.Name)
	assert.True(t, is.UncheckedIssuer && is.UncheckedAudience && is.UncheckedType && is.OptionalExpiry)
	assert.Zero(t, is.Leeway)
	assert.Zero(t, is.MaxLifetime)
	assert.Len(t, is.Secret, 64)
	assert.True(t, p.FirstToken && p.NormalizePaths && p.CheckPreflight && p.StripToken && p.Ory)
}

// TestParseSources: one header may hold tokens of several schemes, and names keep
// their case where it counts.
func TestParseSources(t *testing.T) {
	doc := encode(t, edit(t, load(t, "minimal"), `/policy/sources [{"header": "Authorization", "scheme": "Bearer"}, {"header": "authorization", "scheme": "Token"}, {"cookie": "Session"}, {"cookie": "session"}, {"query": "T"}]`))
	p, err := policy.Parse(doc, "go")
	require.NoError(t, err)
	assert.Equal(t, []policy.Source{
		{Kind: policy.Header, Name: "authorization", Scheme: "Bearer"},
		{Kind: policy.Header, Name: "authorization", Scheme: "Token"},
		{Kind: policy.Cookie, Name: "Session"}, {Kind: policy.Cookie, Name: "session"}, {Kind: policy.Query, Name: "T"},
	}, p.Sources)
}

// TestParseManyIssuers: a fault lists no more names than a person reads.
func TestParseManyIssuers(t *testing.T) {
	tree := load(t, "minimal")
	for i := range 20 {
		tree = edit(t, tree, "/policy/issuers/- "+strings.ReplaceAll(string(encode(t, tree.(map[string]any)["policy"].(map[string]any)["issuers"].([]any)[0])), "https://issuer.example\"", "i"+strconv.Itoa(i)+"\""))
	}
	doc := encode(t, edit(t, tree, `/host {"go": {"jwks_files": {"x": "/f"}}}`))
	got := faults(t, doc, "", []string{"/host/go/jwks_files/x: is not an issuer of the policy; accepted: https://issuer.example, i0, i1,"})
	assert.True(t, strings.HasSuffix(got[0].Problem, "i8, and more"), got[0].Problem)
}

// TestParseKind reads one document as each kind of host.
func TestParseKind(t *testing.T) {
	for _, c := range []struct {
		kind    string
		clerk   policy.KeySource
		secret  bool
		located string
	}{
		{"", policy.KeySource{Kind: policy.URI, Location: "https://clerk.example/v1/jwks"}, false, ""},
		{"go", policy.KeySource{Kind: policy.File, Location: "/etc/sessiongate/clerk.json"}, false, "/run/secrets/internal"},
		{"envoy", policy.KeySource{Kind: policy.URI, Location: "https://clerk.example/v1/jwks", Cluster: "clerk"}, true, ""},
		{"traefik", policy.KeySource{Kind: policy.File, Location: "/keys/clerk.json"}, true, ""},
		{"js", policy.KeySource{Kind: policy.URI, Location: "https://clerk.example/v1/jwks"}, true, ""},
	} {
		p := parse(t, "full", c.kind)
		c.clerk.MaxStale, c.clerk.Cooldown = 3_600_000, 60_000
		assert.Equal(t, c.clerk, p.Keys[1], c.kind)
		assert.Equal(t, c.located, p.Keys[3].Location, c.kind)
		if c.secret {
			assert.Equal(t, "only for examples: 32 bytes.....", string(p.Issuers[3].Secret), c.kind)
		} else {
			assert.Nil(t, p.Issuers[3].Secret, c.kind)
		}
	}
	for _, c := range []struct{ name, kind, want string }{
		{"minimal", "envoy", "/policy/issuers/0/jwks_uri: has no cluster in host.envoy.clusters"},
		{"minimal", "traefik", "/policy/issuers/0/jwks_uri: cannot be fetched by host.traefik: that host fetches nothing; accepted: beside it, the path in host.traefik.jwks_files"},
		{"file", "envoy", "/policy/issuers/0/jwks_file: cannot be used with host.envoy: that host reads no files"},
		{"file", "js", "/policy/issuers/0/jwks_file: cannot be used with host.js"},
		{"unchecked", "js", "/policy/issuers/0/algorithms: has no secret in host.js.secrets"},
		{"full", "nginx", `/host: was asked for a kind of host that is not known; accepted: "go", "envoy", "traefik", "js"`},
		{"full", "enovy", `/host: was asked for a kind of host that is not known (did you mean "envoy"?)`},
	} {
		faults(t, encode(t, load(t, c.name)), c.kind, []string{c.want})
	}
}

// TestParseIsUsable: whatever is accepted for a host is what the verifier accepts.
func TestParseIsUsable(t *testing.T) {
	for name, kinds := range map[string][]string{
		"minimal": {"go", "js"}, "full": {"envoy", "traefik", "js"}, "file": {"go", "traefik"}, "unchecked": {"go"}, "keysets": {"go", "js"},
	} {
		for _, kind := range kinds {
			p := parse(t, name, kind)
			assert.Len(t, p.Keys, len(p.Issuers))
			_, err := verifier.New(verifier.Config{Issuers: p.Issuers})
			assert.NoError(t, err, "%s for %s", name, kind)
		}
	}
}

// TestParseKeepsNothing: the document's memory may be used again.
func TestParseKeepsNothing(t *testing.T) {
	doc := encode(t, load(t, "full"))
	p, err := policy.Parse(doc, "envoy")
	require.NoError(t, err)
	again, err := policy.Parse(append([]byte(nil), doc...), "envoy")
	require.NoError(t, err)
	for i := range doc {
		doc[i] = 'x'
	}
	assert.Equal(t, again, p)
}

// TestPolicyFiles parses the examples: those in valid are good for some host, those
// in invalid have the faults that stand beside them, one a line: its path, a tab,
// and the beginning of the problem.
func TestPolicyFiles(t *testing.T) {
	valid, err := filepath.Glob(policies + "/valid/*.json")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(valid), 5)
	for _, file := range valid {
		parse(t, strings.TrimSuffix(filepath.Base(file), ".json"), "")
	}
	invalid, err := filepath.Glob(policies + "/invalid/*.json")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(invalid), 10)
	for _, file := range invalid {
		t.Run(filepath.Base(file), func(t *testing.T) {
			doc, err := os.ReadFile(file)
			require.NoError(t, err)
			lines, err := os.ReadFile(strings.TrimSuffix(file, ".json") + ".faults")
			require.NoError(t, err)
			var want []string
			for line := range strings.Lines(string(lines)) {
				path, problem, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
				require.True(t, ok, line)
				want = append(want, path+": "+problem)
			}
			require.NotEmpty(t, want)
			faults(t, doc, "", want)
		})
	}
}

func TestFaultStaysOnItsLine(t *testing.T) {
	f := policy.Fault{Path: "/policy/a\nb\x1b[31m", Problem: "is not a known member"}
	assert.Equal(t, `/policy/a\nb\u001b[31m: is not a known member`, f.String())
	assert.Equal(t, "document: is null", policy.Fault{Problem: "is null"}.String())
	assert.Equal(t, "/a: b\n/c: d", policy.Errors{{Path: "/a", Problem: "b"}, {Path: "/c", Problem: "d"}}.Error())
}

func TestParseSecret(t *testing.T) {
	hs256 := []jwks.Algorithm{jwks.HS256}
	secret, problem := policy.ParseSecret(secret32, hs256)
	assert.Empty(t, problem)
	assert.Equal(t, "only for examples: 32 bytes.....", string(secret))
	for text, want := range map[string]string{
		"":                     "is shorter than HS256 wants: 32 bytes (RFC 7518 section 3.2)",
		secret32[:40]:          "is shorter than HS256",
		secret32 + "=":         "is not base64url",
		secret32 + "\n":        "is not base64url",
		secret32[:42] + "5":    "is not base64url", // unused bits are not zero
		secret32[:42] + "+":    "is not base64url",
		"é" + secret32[2:]:     "is not base64url",
		secret32 + secret32:    "",
		strings.Repeat("A", 5): "is not base64url",
	} {
		secret, problem := policy.ParseSecret(text, hs256)
		if want == "" {
			continue
		}
		assert.Nil(t, secret, text)
		assert.True(t, strings.HasPrefix(problem, want), "%q: %s", text, problem)
	}
}

func TestClaimString(t *testing.T) {
	for text, c := range map[string]policy.Claim{
		"issuer": {Field: policy.FieldIssuer}, "expires_at": {Field: policy.FieldExpiresAt}, "/a~1b": {Pointer: "/a~1b"}, "": {},
	} {
		assert.Equal(t, text, c.String())
	}
}
