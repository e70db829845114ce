package verifier_test

import (
	"errors"
	"fmt"

	"sessiongate/internal/cases"
	"sessiongate/jwks"
	"sessiongate/verdict"
	"sessiongate/verifier"
)

func Example() {
	v, err := verifier.New(verifier.Config{Issuers: []verifier.Issuer{{
		Name:        "https://issuer.example",
		Dialect:     verifier.Own,
		Algorithms:  []jwks.Algorithm{jwks.ES256},
		Audience:    []string{"api"},
		Leeway:      5_000,
		MaxLifetime: 86_400_000,
		MaxStale:    86_400_000,
	}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	now := int64(1_700_000_000_000) // the verifier reads no clock
	keys, err := jwks.Parse([]byte(cases.Set(cases.ES256.JWK())))
	if err != nil {
		fmt.Println(err)
		return
	}
	v = v.WithKeys(0, keys, now)

	token := cases.ES256.Compact(`{"alg":"ES256","kid":"es256","typ":"at+jwt"}`,
		`{"iss":"https://issuer.example","sub":"user_1","aud":["api"],"iat":1699999990,"exp":1700000050,"roles":["admin"]}`)
	p, err := v.Verify(token, now)
	fmt.Println(p.Subject, p.Roles, err)

	_, err = v.Verify(token, now+60_000)
	fmt.Println(err, errors.Is(err, verdict.Expired))
	// Output:
	// user_1 [admin] <nil>
	// expired: token is expired true
}

func ExampleVerifier_Explain() {
	v, err := verifier.New(verifier.Config{Issuers: []verifier.Issuer{{
		Name: "https://issuer.example", Algorithms: []jwks.Algorithm{jwks.ES256}, Audience: []string{"billing"},
	}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	now := int64(1_700_000_000_000)
	keys, err := jwks.Parse([]byte(cases.Set(cases.ES256.JWK())))
	if err != nil {
		fmt.Println(err)
		return
	}
	token := cases.ES256.Compact(`{"alg":"ES256","kid":"es256","typ":"at+jwt"}`,
		`{"iss":"https://issuer.example","sub":"user_1","aud":["api"],"exp":1699999940}`)
	for _, check := range v.WithKeys(0, keys, now).Explain(token, now) {
		if check.Reason != verdict.None {
			fmt.Printf("%s: %s (%s)\n", check.Name, check.Reason.String(), check.Detail)
		}
	}
	// Output:
	// exp: expired (2023-11-14T22:12:20Z, 1m ago)
	// audience: wrong_audience (aud ["api"]; the policy accepts "billing")
}
