package sessiongatecaddy

import (
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("sessiongate", parseCaddyfile)
	// Behind what rewrites a request, so that the path that is judged is the one that
	// is served, and before everything that authenticates, routes or answers.
	httpcaddyfile.RegisterDirectiveOrder("sessiongate", httpcaddyfile.Before, "basicauth")
}

func parseCaddyfile(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	g := new(Gate)
	return g, g.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile reads the directive:
//
//	sessiongate [<matcher>] {
//	    policy    <file>
//	    module    <file>
//	    instances <number>
//	    cache_dir <directory>
//	}
func (g *Gate) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if d.NextArg() {
		return d.Errf("unexpected argument %q; options stand in a block, such as: policy policy.json", d.Val())
	}
	seen := make(map[string]bool)
	for d.NextBlock(0) {
		option := d.Val()
		if seen[option] {
			return d.Errf("option %q stands there twice", option)
		}
		seen[option] = true
		var value string
		if !d.AllArgs(&value) {
			return d.ArgErr()
		}
		switch option {
		case "policy":
			g.Policy = value
		case "module":
			g.Module = value
		case "instances":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 {
				return d.Errf("instances: %q is no number of instances; accepted: 1 or more", value)
			}
			g.Instances = n
		case "cache_dir":
			g.CacheDir = value
		default:
			return d.Errf("unknown option %q; accepted: policy, module, instances, cache_dir", option)
		}
	}
	if g.Policy == "" {
		return d.Err("option policy is missing; it names the file of the policy document")
	}
	return nil
}

var _ caddyfile.Unmarshaler = (*Gate)(nil)
