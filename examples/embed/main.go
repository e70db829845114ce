// Command embed is a program with the guest inside: an HTTP server whose handler
// sees only requests with a good session token, and knows whose they are.
package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"time"

	"sessiongate/host"
)

// The guest is built from the required version of the module, so that host and
// guest are always of one version.
//
//go:generate make core.wasm
//go:embed core.wasm
var core []byte

func main() {
	policy := flag.String("policy", "policy.json", "policy document")
	listen := flag.String("listen", "127.0.0.1:8080", "address to serve")
	flag.Parse()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	h, err := host.New(ctx, host.Config{
		Module:     core,
		PolicyFile: *policy,
		Logger:     slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	server := &http.Server{Addr: *listen, Handler: h.Handler(http.HandlerFunc(hello)), ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServe())
}

func hello(w http.ResponseWriter, r *http.Request) {
	p, _ := host.PrincipalFrom(r.Context())
	fmt.Fprintf(w, "hello, %s\n", p.Subject)
}
