package main

// The hosts, one a line.
import (
	_ "sessiongate/e2e/hosts/browser"
	_ "sessiongate/e2e/hosts/caddy"
	_ "sessiongate/e2e/hosts/deno"
	_ "sessiongate/e2e/hosts/envoy"
	_ "sessiongate/e2e/hosts/extauthz"
	_ "sessiongate/e2e/hosts/gateway"
	_ "sessiongate/e2e/hosts/haproxy"
	_ "sessiongate/e2e/hosts/nginx"
	_ "sessiongate/e2e/hosts/node"
	_ "sessiongate/e2e/hosts/traefik"
	_ "sessiongate/e2e/hosts/workerd"
)
