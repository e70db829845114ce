package jwks_test

import (
	"fmt"

	"sessiongate/internal/cases"
	"sessiongate/jwks"
)

func ExampleParse() {
	document := cases.Set(
		cases.ES256.JWK(),
		cases.ES256B.JWK("use", "enc"),
		`{"kty":"RSA","kid":"short","n":"AQAB","e":"AQAB"}`,
	)
	set, err := jwks.Parse([]byte(document))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(set.Len(), "usable:", set.KeyIDs(), set.Keys()[0].Algorithms())
	for _, s := range set.Skipped() {
		fmt.Println(s.Index, s.KeyID, s.Why)
	}
	// Output:
	// 1 usable: [es256] [ES256]
	// 1 es256-b use is not sig
	// 2 short modulus is under 2048 bits
}
