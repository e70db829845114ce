package jwks_test

import (
	"fmt"

	"sessiongate/jwks"
)

// A driver gives the machine the time, carries out its orders and reports back.
func ExampleRefresh() {
	r := jwks.NewRefresh(jwks.RefreshConfig{MaxStale: 86_400_000, Cooldown: 30_000})
	now := int64(1_700_000_000_000)

	order, due := r.Poll(now)
	fmt.Println("fetch:", due)
	// … an HTTP request, with order.IfNoneMatch …
	outcome := r.Answer(jwks.Answer{ID: order.ID, Status: jwks.Fetched, Document: keySet("a"), ETag: `"1"`, Lifetime: 600_000}, now+40)
	fmt.Println(outcome, "next in", r.Next()-now-40, "ms")

	// A token names a kid that the set does not have: the next fetch comes sooner.
	r.Unknown([]byte("b"), now+10_000)
	fmt.Println("next in", r.Next()-now, "ms")
	// Output:
	// fetch: true
	// updated next in 600000 ms
	// next in 30000 ms
}
