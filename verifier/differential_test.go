package verifier_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
	jwxjwt "github.com/lestrrat-go/jwx/v2/jwt"
	"github.com/stretchr/testify/require"

	"sessiongate/internal/cases"
	"sessiongate/jwks"
	"sessiongate/verdict"
	"sessiongate/verifier"
)

// three are verifiers of one configuration: any issuer, any audience, exp wanted
// by nobody, no leeway, and the same keys of every asymmetric kind.
type three struct {
	ours   *verifier.Verifier
	result verifier.Result
	set    jwk.Set
	other  *jwt.Parser
}

func newThree(t testing.TB) *three {
	var list []string
	for _, k := range []*cases.Key{cases.ES256, cases.ES384, cases.ES512, cases.RSA, cases.Ed25519} {
		list = append(list, k.JWK())
	}
	document := []byte(cases.Set(list...))
	set, err := jwks.Parse(document)
	require.NoError(t, err)
	ours, err := verifier.New(verifier.Config{Issuers: []verifier.Issuer{{UncheckedIssuer: true, UncheckedAudience: true, UncheckedType: true,
		OptionalExpiry: true, Dialect: verifier.JWT, Algorithms: []jwks.Algorithm{jwks.ES256, jwks.ES384, jwks.ES512, jwks.RS256, jwks.RS384,
			jwks.RS512, jwks.PS256, jwks.PS384, jwks.PS512, jwks.EdDSA}}}})
	require.NoError(t, err)
	theirs, err := jwk.Parse(document)
	require.NoError(t, err)
	return &three{
		ours: ours.WithKeys(0, set, cases.Now),
		set:  theirs,
		other: jwt.NewParser(jwt.WithTimeFunc(func() time.Time { return time.UnixMilli(cases.Now) }), jwt.WithIssuedAt(),
			jwt.WithValidMethods([]string{"ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"})),
	}
}

func (v *three) jwx(token string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("panic")
		}
	}()
	_, err = jwxjwt.ParseString(token, jwxjwt.WithKeySet(v.set, jws.WithRequireKid(false), jws.WithInferAlgorithmFromKey(true)),
		jwxjwt.WithClock(jwxjwt.ClockFunc(func() time.Time { return time.UnixMilli(cases.Now) })))
	return err
}

func (v *three) golang(token string) error {
	_, err := v.other.Parse(token, func(t *jwt.Token) (any, error) {
		switch t.Method.Alg()[:2] {
		case "ES":
			return map[string]any{"ES256": cases.ES256.Public(), "ES384": cases.ES384.Public(), "ES512": cases.ES512.Public()}[t.Method.Alg()].(*ecdsa.PublicKey), nil
		case "Ed":
			return cases.Ed25519.Public().(ed25519.PublicKey), nil
		}
		return cases.RSA.Public().(*rsa.PublicKey), nil
	})
	return err
}

// compare holds the three against one another on one token.
func (v *three) compare(t *testing.T, token string) {
	reason := v.ours.VerifyInto(&v.result, []byte(token), cases.Now)
	first := verdict.None
	for _, c := range v.ours.Explain(token, cases.Now) {
		if first == verdict.None {
			first = c.Reason
		}
	}
	require.Equal(t, reason, first, "the explanation")
	errX, errG := v.jwx(token), v.golang(token)
	if reason == verdict.None {
		if errX != nil {
			require.Containsf(t, excused(token), "jwx", "we accept and jwx does not: %v\n%s", errX, token)
		}
		if errG != nil {
			require.Containsf(t, excused(token), "golang-jwt", "we accept and golang-jwt does not: %v\n%s", errG, token)
		}
	} else if errX == nil && errG == nil {
		require.NotEmptyf(t, strictness(token), "both accept and we answer %s\n%s", reason, token)
	}
}

// excused lists who may refuse a token that we accept:
//   - both for alg "Ed25519" (RFC 9864), which is newer than they are;
//   - jwx where a header parameter that is none of our business has not the type
//     that it knows (a header is no place to look for keys, so we leave it unread);
//   - jwx, which drops white space around the header before it looks at the signature;
//   - jwx for a date before 1970;
//   - both, which round dates, for one within the second of now.
func excused(token string) []string {
	header, claims, ok := objects(token)
	if !ok {
		return nil
	}
	var list []string
	if header["alg"] == "Ed25519" {
		list = append(list, "jwx", "golang-jwt")
	}
	for _, name := range []string{"jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256"} {
		if _, there := header[name]; there {
			list = append(list, "jwx")
		}
	}
	if b, _ := base64.RawURLEncoding.DecodeString(token[:strings.IndexByte(token, '.')]); !bytes.Equal(b, bytes.TrimSpace(b)) {
		list = append(list, "jwx")
	}
	for _, name := range []string{"exp", "nbf", "iat"} {
		if n, is := claims[name].(json.Number); is {
			if n.String()[0] == '-' {
				list = append(list, "jwx")
			}
			if f, err := n.Float64(); err == nil && f > cases.Now/1000-1 && f < cases.Now/1000+1 {
				list = append(list, "jwx", "golang-jwt")
			}
		}
	}
	return list
}

// strictness says by what rule a token is refused that both others accept; "" is
// by none, and then the refusal is a fault of ours. It is written without the
// verifier, over encoding/json.
func strictness(token string) string {
	if len(token) > verifier.MaxTokenBytes {
		return "over 16 KiB"
	}
	segments := strings.Split(token, ".")
	if len(segments) != 3 {
		return "three segments"
	}
	var decoded [2][]byte
	for i, s := range segments {
		b, err := base64.RawURLEncoding.Strict().DecodeString(s)
		if err != nil || strings.ContainsAny(s, "\r\n") {
			return "canonical base64url without line breaks"
		}
		if i < 2 {
			decoded[i] = b
		}
	}
	if len(decoded[0]) > verifier.MaxHeaderBytes {
		return "header over 4 KiB"
	}
	for _, text := range decoded {
		if kind := strictJSON(text); kind != "" {
			return kind
		}
	}
	header, claims, ok := objects(token)
	if !ok {
		return "header and claims are objects"
	}
	for _, name := range []string{"crit", "b64"} {
		if _, there := header[name]; there {
			return "crit and b64"
		}
	}
	for _, name := range []string{"alg", "kid", "typ", "cty"} {
		if v, there := header[name]; there && !isText(v) {
			return "header parameters are of their types"
		}
	}
	kids := map[string]string{"ES256": "es256", "ES384": "es384", "ES512": "es512", "EdDSA": "ed25519"}
	if alg, _ := header["alg"].(string); header["kid"] != nil {
		want := kids[alg]
		if want == "" {
			want = "rsa"
		}
		if header["kid"] != want {
			return "the kid names the key"
		}
	}
	if v, there := claims["cnf"]; there || v != nil {
		return "cnf is no bearer token"
	}
	for _, name := range []string{"iss", "sub", "jti", "azp", "sid", "acr"} {
		if v, there := claims[name]; there && !isText(v) {
			return "claims are of their types"
		}
	}
	if v, there := claims["aud"]; there && !isText(v) {
		list, is := v.([]any)
		if !is || len(list) == 0 || !slices.Equal(list, slices.DeleteFunc(slices.Clone(list), func(v any) bool { return !isText(v) })) {
			return "aud is a text or a list of texts"
		}
	}
	if v, there := claims["act"]; there {
		act, is := v.(map[string]any)
		if sub, named := act["sub"]; !is || named && !isText(sub) {
			return "act is an object with a sub"
		}
	}
	if v, there := claims["auth_time"]; there {
		text, is := v.(string)
		_, err := time.Parse(time.RFC3339, text)
		if !isDate(v) && (!is || err != nil) {
			return "auth_time is a date"
		}
	}
	for _, name := range []string{"exp", "nbf", "iat"} {
		v, there := claims[name]
		if !there {
			continue
		}
		if !isDate(v) {
			return "dates are numbers up to the year 9999"
		}
		if f, _ := v.(json.Number).Float64(); name == "exp" && f <= 0 {
			return "exp 0 is a date in 1970"
		} else if f > cases.Now/1000-1 && f < cases.Now/1000+1 {
			return "dates have fractions"
		}
	}
	return ""
}

func isText(v any) bool {
	_, is := v.(string)
	return is
}

func isDate(v any) bool {
	n, is := v.(json.Number)
	if !is {
		return false
	}
	if at := strings.IndexAny(n.String(), "eE"); at >= 0 {
		if e, err := strconv.Atoi(n.String()[at+1:]); err != nil || e > 1000 || e < -20_000 {
			// Rat would take its time. A zero of any exponent is a date all the same.
			return err == nil && e < 0 || strings.Trim(n.String()[:at], "-0.") == ""
		}
	}
	r, ok := new(big.Rat).SetString(n.String())
	return ok && r.Cmp(big.NewRat(253_402_300_800, 1)) < 0 && r.Cmp(big.NewRat(-253_402_300_800, 1)) > 0
}

// objects decodes header and claims, numbers as they are written.
func objects(token string) (header, claims map[string]any, ok bool) {
	segments := strings.Split(token, ".")
	if len(segments) != 3 {
		return nil, nil, false
	}
	for i, into := range []*map[string]any{&header, &claims} {
		b, err := base64.RawURLEncoding.DecodeString(segments[i])
		if err != nil {
			return nil, nil, false
		}
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		if d.Decode(into) != nil || *into == nil {
			return nil, nil, false
		}
	}
	return header, claims, true
}

var surrogates = regexp.MustCompile(`(?i)\\u(d8|d9|da|db)..\\u(dc|dd|de|df)..`)

// strictJSON says what rule of ours a text breaks that encoding/json accepts.
func strictJSON(text []byte) string {
	if !utf8.Valid(text) {
		return "UTF-8"
	}
	rest := regexp.MustCompile(`\\[^u]`).ReplaceAll(text, nil)
	if regexp.MustCompile(`(?i)\\ud[89a-f]`).Match(surrogates.ReplaceAll(rest, nil)) {
		return "no lone surrogates"
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	type level struct {
		names map[string]bool // nil for an array
		name  bool            // a name comes next
	}
	var open []level
	for {
		token, err := d.Token()
		if err == io.EOF {
			return ""
		}
		if err != nil {
			return "one JSON text and nothing behind it"
		}
		if len(open) == 0 && d.InputOffset() > 0 && token != json.Delim('{') {
			return "one object"
		}
		top := len(open) - 1
		if top >= 0 && open[top].names != nil {
			if name, is := token.(string); is && open[top].name {
				if open[top].names[name] {
					return "each member once"
				}
				if open[top].names[name] = true; len(open[top].names) > verifier.MaxMembers {
					return "256 members"
				}
				open[top].name = false
				continue
			}
			open[top].name = true
		}
		switch token {
		case json.Delim('{'):
			open = append(open, level{map[string]bool{}, true})
		case json.Delim('['):
			open = append(open, level{})
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		}
		if len(open) > verifier.MaxDepth {
			return "32 levels"
		}
	}
}

// FuzzToken judges whole tokens as they come.
func FuzzToken(f *testing.F) {
	for _, c := range all() {
		if len(c.Token) < 8<<10 {
			f.Add(c.Token)
		}
	}
	v := newThree(f)
	f.Fuzz(func(t *testing.T, token string) { v.compare(t, token) })
}

// FuzzSigned signs whatever it is given, so that what stands behind the signature
// is reached too.
func FuzzSigned(f *testing.F) {
	for _, c := range all() {
		if parts := strings.Split(c.Token, "."); len(parts) == 3 && len(c.Token) < 8<<10 {
			header, err := base64.RawURLEncoding.DecodeString(parts[0])
			claims, err2 := base64.RawURLEncoding.DecodeString(parts[1])
			if err == nil && err2 == nil {
				f.Add(regexp.MustCompile(`"(ES|RS|PS|HS)\d\d\d"`).ReplaceAllString(
					strings.NewReplacer(`"es256"`, `"ed25519"`, `"rsa"`, `"ed25519"`).Replace(string(header)), `"EdDSA"`), string(claims))
			}
		}
	}
	v := newThree(f)
	f.Fuzz(func(t *testing.T, header, claims string) { v.compare(t, cases.Ed25519.Compact(header, claims)) })
}

// The seeds are worth something only if the three agree on enough of them.
func TestDifferentialReachesAcceptance(t *testing.T) {
	v := newThree(t)
	accepted, stricter := 0, map[string]int{}
	for _, c := range all() {
		err := errors.Join(v.jwx(c.Token), v.golang(c.Token))
		if v.ours.VerifyInto(&v.result, []byte(c.Token), cases.Now) == verdict.None && err == nil {
			accepted++
		} else if err == nil {
			stricter[strictness(c.Token)]++
		}
	}
	require.Greater(t, accepted, 100)
	require.NotContains(t, stricter, "")
	require.Greater(t, len(stricter), 5)
	t.Log(accepted, "tokens accepted by all three; both others alone accept:", stricter)
}
