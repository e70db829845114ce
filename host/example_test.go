package host_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"

	"sessiongate/host"
	"sessiongate/verdict"
)

// A server whose handler sees no request without a good token.
func Example() {
	core, err := os.ReadFile("core.wasm") // or go:embed, as in examples/embed
	if err != nil {
		log.Fatal(err)
	}
	h, err := host.New(context.Background(), host.Config{Module: core, PolicyFile: "policy.json"})
	if err != nil {
		log.Fatal(err) // a *host.ConfigError names every fault of the policy
	}
	defer h.Close()
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := host.PrincipalFrom(r.Context())
		fmt.Fprintln(w, "hello,", p.Subject)
	})
	log.Print(http.ListenAndServe("127.0.0.1:8080", h.Handler(hello)))
}

// Judging a token by hand.
func ExampleHost_Verify() {
	var h *host.Host // see Example
	p, err := h.Verify(context.Background(), "eyJ…")
	switch {
	case errors.Is(err, verdict.Expired):
		fmt.Println("sign in again")
	case errors.Is(err, verdict.Internal):
		fmt.Println("not judged:", err)
	case err != nil:
		fmt.Println("refused:", err)
	default:
		fmt.Println(p.Subject, p.Roles)
	}
}
