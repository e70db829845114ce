package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/verifier/policy"
)

const (
	otherPoint = `{"kty": "EC", "crv": "P-256", "kid": "off", "x": "k7FPMEcf7gm2mta9cKHLZhx-bKvDs9DRTF9nzbdR_BI", "y": "k7FPMEcf7gm2mta9cKHLZhx-bKvDs9DRTF9nzbdR_BI"}`
	secret32   = "b25seSBmb3IgZXhhbXBsZXM6IDMyIGJ5dGVzLi4uLi4"
)

// TestFaultsOfMeaning are the faults that only the parser sees: the schema accepts
// each of these documents. No kind of such a fault is without a row.
func TestFaultsOfMeaning(t *testing.T) {
	s := compileSchema(t)
	seen := make([]bool, len(onlyParser))
	for _, c := range []struct {
		name  string
		base  string
		edits []string
		want  []string // "path: beginning of the problem"
	}{
		{"a whole number with a fraction", "full", []string{"/policy/issuers/0/leeway 5.0"},
			[]string{"/policy/issuers/0/leeway: is not a whole number, written without fraction and exponent; accepted: whole seconds from 0 to 300"}},
		{"a whole number with an exponent", "full", []string{"/policy/issuers/0/max_lifetime 1e3"},
			[]string{"/policy/issuers/0/max_lifetime: is not a whole number"}},
		{"version 1.0", "full", []string{"/version 1.0"}, []string{"/version: is a version that this build does not know; accepted: 1"}},
		{"one issuer twice", "full", []string{`/policy/issuers/1/issuer "https://issuer.example"`, "/host/go/jwks_files", "/host/envoy/clusters/https:~1~1clerk.example", "/host/traefik/jwks_files/https:~1~1clerk.example"},
			[]string{"/policy/issuers/1/issuer: is the issuer of element 0 too"}},
		{"one algorithm under two names", "full", []string{`/policy/issuers/0/algorithms ["EdDSA", "Ed25519", "ES256"]`},
			[]string{"/policy/issuers/0/algorithms/1: is there already (Ed25519 and EdDSA are one algorithm)"}},
		{"one type in two spellings", "full", []string{`/policy/issuers/0/types ["at+jwt", "application/AT+JWT"]`},
			[]string{"/policy/issuers/0/types/1: is there already"}},
		{"keys go stale before they are fetched", "full", []string{"/policy/issuers/1/max_stale 59"},
			[]string{"/policy/issuers/1/max_stale: is shorter than cooldown, so that keys would go stale before they may be fetched again; accepted: at least the seconds of cooldown (60)"}},
		{"the default of cooldown counts", "file", []string{"/policy/issuers/0/jwks_file", `/policy/issuers/0/jwks_uri "https://issuer.example/keys"`, "/policy/issuers/0/max_stale 29"},
			[]string{"/policy/issuers/0/max_stale: is shorter than cooldown"}},
		{"inline keys for another algorithm", "full", []string{`/policy/issuers/0/algorithms ["ES384"]`},
			[]string{"/policy/issuers/0/jwks: has no key for the algorithms; accepted: a JWK Set"}},
		{"inline keys of no use", "full", []string{"/policy/issuers/0/jwks/keys [" + otherPoint + `, {"kty": "oct", "k": "` + secret32 + `"}]`},
			[]string{"/policy/issuers/0/jwks: has no key for the algorithms; keys/0 is not usable: x and y are not a point of the curve; keys/1 is not usable: a symmetric key in a key set"}},
		{"a private key", "full", []string{`/policy/issuers/0/jwks/keys/0/d "` + secret32 + `"`},
			[]string{"/policy/issuers/0/jwks: has no key for the algorithms; keys/0 is not usable: a private key in a key set"}},
		{"many keys of no use", "full", []string{"/policy/issuers/0/jwks/keys [1,1,1,1,1,1,1,1,1,1,1]"},
			[]string{"/policy/issuers/0/jwks: has no key for the algorithms; keys/0 is not usable: not an object"}},
		{"{segments} of one name", "full", []string{`/policy/rules/2/path_template "/{tenant}/{tenant}"`},
			[]string{"/policy/rules/2/path_template: has two {segments} of one name"}},
		{"a needless escape", "full", []string{`/policy/rules/0/path "/%61"`}, []string{"/policy/rules/0/path: is not in its one spelling"}},
		{"an escape of a reserved character", "full", []string{`/policy/rules/0/path "/a%3Fb"`}, []string{"/policy/rules/0/path: escapes a character that stands for itself, or a ? or #"}},
		{"a control character", "full", []string{`/policy/rules/0/path "/a%00"`}, []string{"/policy/rules/0/path: holds something that no path may hold"}},
		{"no {segment} of that name", "full", []string{`/policy/rules/2/tenant_segment "tenants"`},
			[]string{"/policy/rules/2/tenant_segment: is no {segment} of path_template; accepted: the name of one, without its braces"}},
		{"the same rule again", "full", []string{`/policy/rules/- {"path_prefix": "/admin/", "access": "optional"}`},
			[]string{"/policy/rules/5: is never reached: rule 3 matches everything that it matches; accepted: the narrower rule first"}},
		{"a header and its scheme in other case", "full", []string{`/policy/sources/- {"header": "Authorization", "scheme": "bearer"}`},
			[]string{"/policy/sources/4: is there already (element 0)"}},
		{"a header with and without scheme", "full", []string{`/policy/sources/- {"header": "X-Session-Token", "scheme": "Token"}`},
			[]string{"/policy/sources/4: reads the same header, once with a scheme and once without (element 2)"}},
		{"AUTHORIZATION without scheme", "full", []string{`/policy/sources [{"header": "AUTHORIZATION"}]`},
			[]string{`/policy/sources/0/scheme: is missing, and Authorization always has one; accepted: an authentication scheme, such as "Bearer"`}},
		{"a header that is not free", "full", []string{`/policy/sources/2/header "Content_Length"`},
			[]string{"/policy/sources/2/header: says how to read the request's body and cannot hold a token of its own"}},
		{"an identity header that is not free", "full", []string{`/policy/identity_headers/X-Forwarded-Host "subject"`},
			[]string{"/policy/identity_headers/X-Forwarded-Host: says where the request goes or comes from and cannot be set"}},
		{"an identity header twice", "full", []string{`/policy/identity_headers/X_User_Id "session"`},
			[]string{`/policy/identity_headers/x-user-id: is there already: case does not count, nor does "_" for "-"`}},
		{"an identity header that is a source", "full", []string{`/policy/identity_headers/X_Session_Token "session"`},
			[]string{"/policy/identity_headers/X_Session_Token: is a source of tokens too"}},
		{"return_to in the URL already", "full", []string{`/policy/sign_in/return_to "from"`},
			[]string{"/policy/sign_in/url: has the query parameter already that return_to names"}},
		{"a secret with other bits", "full", []string{`/host/js/secrets/internal "` + secret32[:42] + `5"`},
			[]string{"/host/js/secrets/internal: is not base64url without padding (RFC 4648 section 5)"}},
		{"a secret for a longer hash", "full", []string{`/policy/issuers/3/algorithms ["HS384"]`},
			[]string{"/host/envoy/secrets/internal: is shorter than HS384 wants: 48 bytes (RFC 7518 section 3.2)",
				"/host/traefik/secrets/internal: is shorter than HS384", "/host/js/secrets/internal: is shorter than HS384"}},
		{"the longest hash counts", "full", []string{`/policy/issuers/3/algorithms ["HS256", "HS512"]`, "/host/envoy", "/host/traefik"},
			[]string{"/host/js/secrets/internal: is shorter than HS512 wants: 64 bytes"}},
		{"a secret twice", "full", []string{`/host/go/secrets {"internal": "` + secret32 + `"}`},
			[]string{"/host/go/secrets/internal: stands beside a file of the same issuer in secret_files"}},
		{"a secret on the wrong side", "full", []string{`/host/js/secrets/` + secret32 + ` "` + strings.Repeat("A", 43) + `"`},
			[]string{"/host/js/secrets: has a member, number 1, that is not named by an issuer of the policy; accepted: https://issuer.example, https://clerk.example, https://kratos.example, internal"}},
		{"a header name in other spelling", "full", []string{`/policy/identity_headers/Transfer_Encoding "subject"`},
			[]string{"/policy/identity_headers/Transfer_Encoding: belongs to one connection (RFC 9110 section 7.6.1) and cannot be set"}},
		{"a file for nobody", "full", []string{`/host/go/jwks_files/https:~1~1nobody.example "/f"`},
			[]string{"/host/go/jwks_files/https:~1~1nobody.example: is not an issuer of the policy; accepted: https://issuer.example, "}},
		{"a file for inline keys", "full", []string{`/host/go/jwks_files/https:~1~1issuer.example "/f"`},
			[]string{"/host/go/jwks_files/https:~1~1issuer.example: is for an issuer that reads no file"}},
		{"a cluster for inline keys", "full", []string{`/host/envoy/clusters/https:~1~1issuer.example "c"`},
			[]string{"/host/envoy/clusters/https:~1~1issuer.example: is for an issuer that fetches no keys"}},
		{"a secret beside public keys", "full", []string{`/host/js/secrets/https:~1~1issuer.example "` + secret32 + `"`},
			[]string{"/host/js/secrets/https:~1~1issuer.example: is for an issuer without a symmetric algorithm"}},
		{"a secret file beside public keys", "full", []string{`/host/go/secret_files/https:~1~1issuer.example "/f"`},
			[]string{"/host/go/secret_files/https:~1~1issuer.example: is for an issuer without a symmetric algorithm"}},
		{"no secret in one host", "full", []string{"/host/js/secrets"},
			[]string{"/policy/issuers/3/algorithms: has no secret in host.js.secrets"}},
		{"no secret anywhere", "full", []string{"/host"},
			[]string{"/policy/issuers/3/algorithms: has its secret in no host member"}},
		{"no path in one host", "file", []string{"/host/go/jwks_files"},
			[]string{"/policy/issuers/0/jwks_file: has no path in host.go.jwks_files"}},
		{"no path anywhere", "file", []string{"/host {}"},
			[]string{"/policy/issuers/0/jwks_file: has its path in no host member; accepted: host.go.jwks_files or host.traefik.jwks_files"}},
		{"a file where none can be read", "file", []string{"/host/js {}"},
			[]string{"/policy/issuers/0/jwks_file: cannot be used with host.js: that host reads no files; accepted: jwks or jwks_uri"}},
		{"a URL where nothing is fetched", "full", []string{"/host/traefik/jwks_files/https:~1~1clerk.example"},
			[]string{"/policy/issuers/1/jwks_uri: cannot be fetched by host.traefik: that host fetches nothing"}},
		{"no cluster", "full", []string{"/host/envoy/clusters/https:~1~1kratos.example"},
			[]string{"/policy/issuers/2/discovery: has no cluster in host.envoy.clusters"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			doc := encode(t, edit(t, load(t, c.base), c.edits...))
			assert.NoError(t, validate(t, s, doc), "the schema sees it too: it belongs into TestFaultsOfShape")
			for _, f := range faults(t, doc, "", c.want) {
				if i := onlyParserIndex(f.Problem); assert.GreaterOrEqual(t, i, 0, "%v", f) {
					seen[i] = true
				}
			}
		})
	}
	// Of the whole text, which no editor can help with.
	for _, c := range []struct{ doc, want string }{
		{"", ": is not strict JSON (RFC 8259): line 1, byte 1; accepted: a value"},
		{"{\n  \"version\": 1,\n  \"version\": 1}", ": is not strict JSON (RFC 8259): line 3, byte 3; accepted: each member name once"},
		{"{\"version\": 1} x", ": is not strict JSON (RFC 8259): line 1, byte 16; accepted: the end of the text"},
		{"{// comment\n}", ": is not strict JSON (RFC 8259): line 1, byte 2; accepted: a member name"},
		{"\ufeff{}", ": is not strict JSON (RFC 8259): line 1, byte 1"},
		{"{\"\xff\": 1}", ": is not strict JSON (RFC 8259): line 1, byte 2; accepted: UTF-8"},
		{strings.Repeat("[", 33), ": is over a bound: line 1, byte 33; accepted: "},
		{manyMembers(1025), ": is over a bound: line 1, "},
		{"{}" + strings.Repeat(" ", policy.MaxBytes), ": is larger than 1 MiB"},
	} {
		for _, f := range faults(t, []byte(c.doc), "", []string{c.want}) {
			seen[onlyParserIndex(f.Problem)] = true
		}
	}
	for i, there := range seen {
		assert.True(t, there, "no row for %s", onlyParser[i])
	}
}

func manyMembers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"m%d":0`, i)
	}
	return "{" + b.String()[1:] + "}"
}

// TestFaultsAreBounded: of very many faults the first thousand are told.
func TestFaultsAreBounded(t *testing.T) {
	_, err := policy.Parse([]byte(manyMembers(1000)), "")
	got := err.(policy.Errors)
	require.Len(t, got, 1001)
	assert.Equal(t, "/m999", got[999].Path)
	assert.Equal(t, policy.Fault{Problem: "has more faults than these"}, got[1000])
}

// faults parses a document that has exactly the wanted faults.
func faults(t *testing.T, doc []byte, kind string, want []string) policy.Errors {
	t.Helper()
	p, err := policy.Parse(doc, kind)
	assert.Nil(t, p)
	require.Error(t, err)
	got := err.(policy.Errors)
	if assert.Len(t, got, len(want), "%v", err) {
		for i, w := range want {
			f := got[i]
			assert.True(t, strings.HasPrefix(f.Path+": "+f.Problem, w), "got  %s: %s\nwant %s", f.Path, f.Problem, w)
		}
	}
	assert.NotContains(t, err.Error(), secret32[:20], "a secret in an error")
	return got
}

// TestFaultsOfShape names the faults that the schema sees too.
func TestFaultsOfShape(t *testing.T) {
	s := compileSchema(t)
	for _, c := range []struct {
		name  string
		base  string
		edits []string
		want  []string
	}{
		{"not an object", "full", []string{" [1]"}, []string{`: is a list; accepted: an object: {"version": 1, "policy": {…}, "host": {…}}`}},
		{"nothing in it", "full", []string{" {}"}, []string{"/version: is missing; accepted: 1", "/policy: is missing; accepted: the policy: an object"}},
		{"another version", "full", []string{"/version 2"}, []string{"/version: is a version that this build does not know; accepted: 1"}},
		{"a version in quotes", "full", []string{`/version "1"`}, []string{"/version: is a string; accepted: 1"}},
		{"a near miss", "full", []string{`/policy/issuers/0/authorizedParties ["x"]`},
			[]string{`/policy/issuers/0/authorizedParties: is not a known member (did you mean "authorized_parties"?); accepted: issuer, dialect, algorithms, audience, authorized_parties,`}},
		{"another near miss", "full", []string{`/policy/rule []`}, []string{`/policy/rule: is not a known member (did you mean "rules"?)`}},
		{"no near miss", "full", []string{`/policy/comment "x"`}, []string{`/policy/comment: is not a known member; accepted: issuers,`}},
		{"a name that needs escapes", "full", []string{`/policy/a~1b~0c "x"`}, []string{`/policy/a~1b~0c: is not a known member`}},
		{"a word", "full", []string{`/policy/on_multiple "frist"`}, []string{`/policy/on_multiple: is another word (did you mean "first"?); accepted: "refuse", "first"`}},
		{"a dialect", "full", []string{`/policy/issuers/0/dialect "Clerk"`}, []string{`/policy/issuers/0/dialect: is another word (did you mean "clerk"?); accepted: "own", "clerk", "kratos", "jwt"`}},
		{"an algorithm", "full", []string{`/policy/issuers/0/algorithms/0 "es256"`}, []string{`/policy/issuers/0/algorithms/0: is not an algorithm (did you mean "ES256"?); accepted: ES256, ES384, ES512, RS256,`,
			`/policy/issuers/0/jwks: has no key for the algorithms`}},
		{"none", "full", []string{`/policy/issuers/0/algorithms/1 "None"`}, []string{`/policy/issuers/0/algorithms/1: would accept tokens that nobody signed`}},
		{"no algorithms", "full", []string{`/policy/issuers/0/algorithms`}, []string{`/policy/issuers/0/algorithms: is missing; accepted: a list of 1 to 14 algorithms`}},
		{"an empty list", "full", []string{`/policy/issuers/0/algorithms []`}, []string{`/policy/issuers/0/algorithms: is empty; accepted: a list of 1 to 14 algorithms`}},
		{"secret and public keys", "full", []string{`/policy/issuers/0/algorithms ["ES256", "HS256"]`}, []string{`/policy/issuers/0/algorithms: mixes algorithms of secrets and of public keys`}},
		{"a key set for a secret", "full", []string{`/policy/issuers/3/jwks_uri "https://a.example"`}, []string{`/policy/issuers/3/jwks_uri: goes with no symmetric algorithm`}},
		{"ageing of a secret", "full", []string{`/policy/issuers/3/max_stale 60`}, []string{`/policy/issuers/3/max_stale: goes with no key that stands in the document`}},
		{"ageing of inline keys", "full", []string{`/policy/issuers/0/cooldown 60`}, []string{`/policy/issuers/0/cooldown: goes with no key that stands in the document`}},
		{"two sources of keys", "full", []string{`/policy/issuers/0/jwks_file true`}, []string{`/policy/issuers/0/jwks_file: is a second source of keys beside jwks; accepted: exactly one of jwks, jwks_uri, jwks_file, discovery`}},
		{"no source of keys", "full", []string{`/policy/issuers/0/jwks`}, []string{`/policy/issuers/0: has no source of keys; accepted: exactly one of`}},
		{"jwks_file is a path", "file", []string{`/policy/issuers/0/jwks_file "/etc/keys.json"`}, []string{`/policy/issuers/0/jwks_file: is a string; accepted: true (the path stands in jwks_files of each host member)`}},
		{"nobody is meant", "full", []string{`/policy/issuers/1/audience`, `/policy/issuers/1/authorized_parties`}, []string{`/policy/issuers/1/audience: is missing, and so is authorized_parties`}},
		{"audience is a word", "full", []string{`/policy/issuers/0/audience "api"`}, []string{`/policy/issuers/0/audience: is a string; accepted: a list of audiences, or "unchecked"`}},
		{"types is a word", "full", []string{`/policy/issuers/0/types "JWT"`}, []string{`/policy/issuers/0/types: is a string; accepted: a list of typ headers, or "unchecked"`}},
		{"a type is a number", "full", []string{`/policy/issuers/0/types [1]`}, []string{`/policy/issuers/0/types/0: is a number; accepted: a media type`}},
		{"leeway beyond its bound", "full", []string{`/policy/issuers/0/leeway 301`}, []string{`/policy/issuers/0/leeway: is out of range; accepted: whole seconds from 0 to 300`}},
		{"leeway in a string", "full", []string{`/policy/issuers/0/leeway "5s"`}, []string{`/policy/issuers/0/leeway: is a string; accepted: whole seconds from 0 to 300`}},
		{"lifetime of another word", "full", []string{`/policy/issuers/0/max_lifetime "none"`}, []string{`/policy/issuers/0/max_lifetime: is a string; accepted: whole seconds from 1 to 315360000, or "unchecked"`}},
		{"pointers of a fixed dialect", "full", []string{`/policy/issuers/0/pointers {}`}, []string{`/policy/issuers/0/pointers: goes with another dialect`}},
		{"pointers that kratos has not", "full", []string{`/policy/issuers/2/pointers/tenant "/t"`}, []string{`/policy/issuers/2/pointers/tenant: is not a known member; accepted: assurance, authenticated_at`}},
		{"any issuer beside others", "full", []string{`/policy/issuers/0/issuer "unchecked"`}, []string{`/policy/issuers/0/issuer: is "unchecked" beside other issuers`}},
		{"discovery of any issuer", "unchecked", []string{`/policy/issuers/0/algorithms ["ES256"]`, `/policy/issuers/0/discovery "https://a.example/x"`, `/host/go/secrets`},
			[]string{`/policy/issuers/0/discovery: goes with no "unchecked" issuer: the metadata must name the iss`}},
		{"no issuers", "full", []string{`/policy/issuers`}, []string{`/policy/issuers: is missing; accepted: a list of 1 to 1000 issuers`}},
		{"an issuer that is none", "full", []string{`/policy/issuers/- "https://a.example"`}, []string{`/policy/issuers/4: is a string; accepted: an issuer: an object`}},
		{"plain http", "full", []string{`/policy/issuers/1/jwks_uri "http://clerk.example/keys"`}, []string{`/policy/issuers/1/jwks_uri: is http to a host that is not a loopback address; accepted: an https URL, or http to a loopback address`}},
		{"a source of two places", "full", []string{`/policy/sources/0/cookie "a"`}, []string{`/policy/sources/0: names 2 places; accepted: an object: {"header": …, "scheme": …}, {"cookie": …} or {"query": …}`}},
		{"a source of no place", "full", []string{`/policy/sources/0 {}`}, []string{`/policy/sources/0: names 0 places`}},
		{"a cookie with a scheme", "full", []string{`/policy/sources/1/scheme "Bearer"`}, []string{`/policy/sources/1/scheme: goes with a header only`}},
		{"a source twice", "full", []string{`/policy/sources/- {"cookie": "__session"}`}, []string{`/policy/sources/4: is there already (element 1); accepted: each place once`}},
		{"an origin twice", "full", []string{`/policy/allowed_origins/- "https://app.example"`}, []string{`/policy/allowed_origins/2: is there already; accepted: each element once`}},
		{"an origin with a path", "full", []string{`/policy/allowed_origins/0 "https://app.example/"`}, []string{`/policy/allowed_origins/0: has a path, a query or a fragment; accepted: https://host[:port]`}},
		{"a rule without a path", "full", []string{`/policy/rules/4 {}`}, []string{`/policy/rules/4: has no path; accepted: exactly one of path, path_prefix, path_template (path_prefix "/" is every path)`}},
		{"a rule with two paths", "full", []string{`/policy/rules/4/path "/x"`}, []string{`/policy/rules/4/path_prefix: is a second path beside path`}},
		{"a public rule that asks", "full", []string{`/policy/rules/0/assurance "aal2"`}, []string{`/policy/rules/0/assurance: asks something of a token that a public rule ignores; accepted: access "required" or "optional"`}},
		{"two tenants", "full", []string{`/policy/rules/2/tenant "t"`}, []string{`/policy/rules/2/tenant_segment: is a second tenant beside tenant`}},
		{"a segment of a prefix", "full", []string{`/policy/rules/3/tenant`, `/policy/rules/3/tenant_segment "admin"`}, []string{`/policy/rules/3/tenant_segment: needs a path_template that has this {segment}`}},
		{"no age", "full", []string{`/policy/rules/2/authentication_age 0`}, []string{`/policy/rules/2/authentication_age: is out of range; accepted: whole seconds from 1 to`}},
		{"an identity header without a claim", "full", []string{`/policy/identity_headers/x-user-roles/claim`}, []string{`/policy/identity_headers/x-user-roles/claim: is missing; accepted: issuer, subject,`}},
		{"an identity header of a number", "full", []string{`/policy/identity_headers/x-user-roles 1`}, []string{`/policy/identity_headers/x-user-roles: is a number; accepted: issuer, subject,`}},
		{"an identity header without a name", "full", []string{`/policy/identity_headers/ "subject"`}, []string{`/policy/identity_headers/: is empty; accepted: a header name of its own, such as x-user-id`}},
		{"a field", "full", []string{`/policy/log/0 "subjekt"`}, []string{`/policy/log/0: is not a field (did you mean "subject"?); accepted: issuer, subject,`}},
		{"sign-in and no origin", "full", []string{`/policy/public_origin`}, []string{`/policy/public_origin: is missing, and sign_in needs it: it is where the browser comes back to; accepted: https://host[:port]`}},
		{"an identity header of one connection", "full", []string{`/policy/identity_headers/upgrade "subject"`}, []string{`/policy/identity_headers/upgrade: belongs to one connection (RFC 9110 section 7.6.1) and cannot be set`}},
		{"an identity header of the body", "full", []string{`/policy/identity_headers/content-length "subject"`}, []string{`/policy/identity_headers/content-length: says how to read the request's body and cannot be set`}},
		{"an identity header of the browser", "full", []string{`/policy/identity_headers/origin "subject"`}, []string{`/policy/identity_headers/origin: says from which site a request comes and cannot be set`}},
		{"identity headers in a list", "full", []string{`/policy/identity_headers ["subject"]`}, []string{`/policy/identity_headers: is a list; accepted: an object whose members are named by headers`}},
		{"an unknown host", "full", []string{`/host/nginx {}`}, []string{`/host/nginx: is not a known member; accepted: go, envoy, traefik, js`}},
		{"a host's unknown member", "full", []string{`/host/traefik/secret_files {}`}, []string{`/host/traefik/secret_files: is not a known member; accepted: jwks_files, secrets`}},
		{"a host that is a list", "full", []string{`/host/js []`}, []string{`/host/js: is a list; accepted: an object`}},
		{"secrets in a list", "full", []string{`/host/js/secrets ["` + secret32 + `"]`}, []string{`/host/js/secrets: is a list; accepted: an object: the secret in base64url for each issuer`,
			`/policy/issuers/3/algorithms: has no secret in host.js.secrets`}},
		{"a secret in an unknown member", "full", []string{`/policy/issuers/3/secret "` + secret32 + `"`}, []string{`/policy/issuers/3/secret: is not a known member`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := load(t, c.base)
			if c.edits[0][0] == ' ' {
				tree = decode(t, c.edits[0])
			} else {
				tree = edit(t, tree, c.edits...)
			}
			doc := encode(t, tree)
			assert.Error(t, validate(t, s, doc), "the schema does not see it")
			faults(t, doc, "", c.want)
		})
	}
}

// TestEveryFaultAtOnce has faults in every part, and all are told, in the
// document's order of parts.
func TestEveryFaultAtOnce(t *testing.T) {
	doc := encode(t, edit(t, load(t, "full"),
		`/policy/issuers/0/leeway 301`, `/policy/issuers/0/dialect "oun"`, `/policy/issuers/1/jwks_uri "http://a"`, `/policy/issuers/3/algorithms ["none"]`,
		`/policy/sources/0 {}`, `/policy/rules/0 {}`, `/policy/rules/1/access "publik"`, `/policy/identity_headers/host "subject"`,
		`/policy/token "remove"`, `/policy/realm "\""`, `/policy/log []`, `/policy/sign_in/url 1`, `/policy/x 1`, `/host/go/x 1`, `/host/x 1`, `/x 1`))
	_, err := policy.Parse(doc, "")
	require.Error(t, err)
	var paths []string
	for _, f := range err.(policy.Errors) {
		paths = append(paths, f.Path)
	}
	assert.Equal(t, []string{"/x", "/policy/x",
		"/policy/issuers/0/dialect", "/policy/issuers/0/leeway", "/policy/issuers/1/jwks_uri", "/policy/issuers/3/algorithms/0",
		"/policy/sources/0", "/policy/rules/0", "/policy/rules/1/access", "/policy/identity_headers/host",
		"/policy/token", "/policy/realm", "/policy/log", "/policy/sign_in/url", "/host/x", "/host/go/x"}, paths)
	assert.Equal(t, len(paths), strings.Count(err.Error(), "\n")+1, "one line each")
}

// TestNoCascade: a fault is not told again by everything that hangs on it.
func TestNoCascade(t *testing.T) {
	for _, c := range []struct {
		edit, path string
	}{
		{`/policy/issuers/0/issuer ""`, "/policy/issuers/0/issuer"},
		{`/policy/issuers/1/issuer 7`, "/policy/issuers/1/issuer"},
		{`/policy/issuers/3/algorithms 7`, "/policy/issuers/3/algorithms"},
		{`/policy/rules/0/path_prefix 7`, "/policy/rules/0/path_prefix"},
		{`/policy/rules/4/methods []`, "/policy/rules/4/methods"},
		{`/policy/rules/2/path_template "x"`, "/policy/rules/2/path_template"},
		{`/host 7`, "/host"},
		{`/host/go 7`, "/host/go"},
	} {
		doc := encode(t, edit(t, load(t, "full"), c.edit))
		faults(t, doc, "", []string{c.path + ": "})
		faults(t, doc, "go", []string{c.path + ": "})
	}
}

func TestUnreachableRules(t *testing.T) {
	for _, c := range []struct {
		rules   string
		reached bool
	}{
		{`[{"path": "/a"}, {"path": "/a"}]`, false},
		{`[{"path": "/a"}, {"path": "/a/"}]`, true},
		{`[{"path": "/a"}, {"path_prefix": "/a"}]`, true},
		{`[{"path_prefix": "/a"}, {"path": "/a"}]`, false},
		{`[{"path_prefix": "/a"}, {"path": "/ab"}]`, true},
		{`[{"path_prefix": "/a"}, {"path_prefix": "/a/b"}]`, false},
		{`[{"path_prefix": "/a/"}, {"path_prefix": "/a"}]`, true},
		{`[{"path_prefix": "/a"}, {"path_prefix": "/a/"}]`, false},
		{`[{"path_prefix": "/a"}, {"path_template": "/a/{b}"}]`, false},
		{`[{"path_prefix": "/"}, {"path_template": "/{b}"}]`, false},
		{`[{"path_template": "/{a}"}, {"path_template": "/{a}"}]`, false},
		{`[{"path_prefix": "/a/"}, {"path_template": "/a/**"}]`, true}, // by "/a"
		{`[{"path_prefix": "/a/"}, {"path_template": "/a/{b}/**"}]`, false},
		{`[{"path_prefix": "/a/"}, {"path_template": "/a/"}]`, false},
		{`[{"path_prefix": "/"}, {"path_template": "/**"}]`, false},
		{`[{"path": "/a"}, {"path_template": "/a"}]`, false},
		{`[{"path": "/a"}, {"path_template": "/{a}"}]`, true},
		{`[{"path_template": "/{a}"}, {"path": "/a"}]`, false},
		{`[{"path_template": "/{a}"}, {"path": "/a/"}]`, true},
		{`[{"path_template": "/{a}"}, {"path_prefix": "/a"}]`, true},
		{`[{"path_template": "/{a}/**"}, {"path_prefix": "/a"}]`, false},
		{`[{"path_template": "/{a}/**"}, {"path_prefix": "/"}]`, true},
		{`[{"path_template": "/**"}, {"path_prefix": "/"}]`, false},
		{`[{"path_template": "/t/{a}"}, {"path_template": "/t/root"}]`, false},
		{`[{"path_template": "/t/{a}"}, {"path_template": "/{b}/root"}]`, true},
		{`[{"path_template": "/t/{a}"}, {"path_template": "/t/{b}/"}]`, true},
		{`[{"path_template": "/t/{a}"}, {"path_template": "/t/{b}/**"}]`, true},
		{`[{"path_template": "/t/{a}/**"}, {"path_template": "/t/{b}/c/{d}"}]`, false},
		{`[{"path_template": "/t/{a}/**"}, {"path_template": "/t/{b}/"}]`, false},
		{`[{"path_template": "/t/{a}/**"}, {"path_template": "/t/**"}]`, true},
		{`[{"path_prefix": "/", "methods": ["GET", "HEAD"]}, {"path": "/a", "methods": ["HEAD"]}]`, false},
		{`[{"path_prefix": "/", "methods": ["GET", "HEAD"]}, {"path": "/a", "methods": ["HEAD", "PUT"]}]`, true},
		{`[{"path_prefix": "/", "methods": ["GET"]}, {"path": "/a"}]`, true},
		{`[{"path_prefix": "/"}, {"path": "/a", "methods": ["GET"]}]`, false},
		{`[{"path": "/a", "methods": ["GET", "PUT"]}, {"path": "/a", "methods": ["PUT", "GET"]}]`, false},
		{`[{"path_prefix": "/", "hosts": ["a"]}, {"path": "/a"}]`, true},
		{`[{"path_prefix": "/", "hosts": ["a", "b"]}, {"path": "/a", "hosts": ["b"]}]`, false},
		{`[{"path_prefix": "/", "hosts": ["*.a"]}, {"path": "/a", "hosts": ["b.a"]}]`, false},
		{`[{"path_prefix": "/", "hosts": ["*.a"]}, {"path": "/a", "hosts": ["*.b.a"]}]`, false},
		{`[{"path_prefix": "/", "hosts": ["*.a"]}, {"path": "/a", "hosts": ["a"]}]`, true},
		{`[{"path_prefix": "/", "hosts": ["*.a"]}, {"path": "/a", "hosts": ["b.a", "ba"]}]`, true},
	} {
		doc := encode(t, edit(t, load(t, "minimal"), "/policy/rules "+c.rules))
		if _, err := policy.Parse(doc, ""); c.reached {
			assert.NoError(t, err, c.rules)
		} else {
			faults(t, doc, "", []string{"/policy/rules/1: is never reached: rule 0 "})
		}
	}
}
