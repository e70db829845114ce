package filter_test

import (
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/verdict"
	"sessiongate/verifier/filter"
)

const fuzzRules = `"preflight": "check", "token": "strip", "allowed_origins": ["https://app.example"],
	"public_origin": "https://app.example", "sign_in": {"url": "https://id.example/in"},
	"identity_headers": {"x-user": "subject", "x-roles": "roles", "x_tenant": "tenant"},
	"rules": [
		{"path_prefix": "/admin"},
		{"hosts": ["inner.example"], "path_prefix": "/"},
		{"path_prefix": "/both", "access": "optional"},
		{"path_prefix": "/", "access": "public"}], ` + allSources

// readings are the paths for which servers of different care could take a target:
// decoded up to three times, backslashes and parameters dealt with or not, cut off
// at what decoding brought to light, resolved.
func readings(target string) []string {
	p, _, _ := strings.Cut(target, "?")
	var all []string
	for range 4 {
		for _, q := range []string{p, cutAny(p, "?"), cutAny(p, "#"), cutAny(p, "?#"), cutAny(p, "\x00"), cutAny(p, "\r\n")} {
			slashed := strings.ReplaceAll(q, `\`, "/")
			for _, r := range []string{q, slashed, withoutParameters(q), withoutParameters(slashed)} {
				all = append(all, path.Clean("/"+r))
			}
		}
		next, err := url.PathUnescape(p)
		if err != nil || next == p {
			break
		}
		p = next
	}
	return all
}

func cutAny(s, chars string) string {
	if i := strings.IndexAny(s, chars); i >= 0 {
		return s[:i]
	}
	return s
}

func withoutParameters(p string) string {
	segments := strings.Split(p, "/")
	for i, s := range segments {
		segments[i], _, _ = strings.Cut(s, ";")
	}
	return strings.Join(segments, "/")
}

func TestReadings(t *testing.T) {
	for _, target := range []string{"/admin", "/%61dmin", "//admin", "/x/..;y/admin", "/%2561dmin", `/x%5c..\admin`, "/admin%3Fx", "/admin%00"} {
		assert.Contains(t, readings(target), "/admin", target)
	}
}

func FuzzRequestHead(f *testing.F) {
	good := mint(f, nil)
	for _, s := range spellings {
		f.Add("GET", "api.example", s.target, "")
		f.Add("GET", "api.example", "/admin"+s.target, "")
		f.Add("GET", "api.example", s.target+"/../admin", "")
	}
	for _, headers := range []string{
		"authorization: Bearer TOKEN", "authorization: Bearer TOKEN\nx-user: admin\nconnection: x-user, close", "cookie: a=b; __session=TOKEN\norigin: https://app.example",
		"x-session-token: TOKEN\nx_user: a", "connection: X-Tenant\nauthorization: bearer TOKEN", "upgrade: websocket\ncookie: __session=TOKEN",
		"accept: text/html", "content-type: application/grpc-web", "origin: x\naccess-control-request-method: y", "cookie: __session=\"TOKEN\";;=;x",
	} {
		f.Add("GET", "API.example:80", "/admin/x?access_token=TOKEN&a=%", headers)
		f.Add("POST", "inner.example.", "/", headers)
		f.Add("OPTIONS", "[::1]:1", "/both/%2B%3F", headers)
	}
	p := newPolicy(f, fuzzRules)
	judges := []*filter.Filter{newFilter(f, fuzzRules), newFilter(f, fuzzRules+`, "paths": "normalize"`)}
	wanted := filter.Headers(p)
	identity := filter.Strip(p)

	f.Fuzz(func(t *testing.T, method, host, target, headers string) {
		req := &filter.Request{Method: method, Host: host, Path: strings.ReplaceAll(target, "TOKEN", good)}
		for _, line := range strings.Split(strings.ReplaceAll(headers, "TOKEN", good), "\n") {
			name, value, _ := strings.Cut(line, ": ")
			if name = strings.ToLower(name); slices.Contains(wanted, name) {
				req.Headers = append(req.Headers, verdict.Field{Name: name, Value: value})
			}
		}
		for _, judge := range judges {
			d := judge.Decide(req, now)
			if !d.Forward {
				require.NotEqual(t, verdict.None, d.Reason)
				require.NotZero(t, d.Status)
				require.Empty(t, d.Principal)
				if method == "HEAD" {
					require.Empty(t, d.Body)
				}
				for _, h := range d.Headers {
					require.False(t, strings.ContainsAny(h.Value, "\r\n\x00"), "%q", h.Value)
				}
				continue
			}
			require.Equal(t, verdict.None, d.Reason)
			checkForwarded(t, req, d, identity)
			out := d.Path
			if out == "" {
				out = req.Path
			}
			require.True(t, strings.HasPrefix(out, "/"), "%q", out)
			require.NotContains(t, out, "access_token="+good, "the token goes no further")
			if d.Authenticated {
				require.Equal(t, "user_1", d.Principal.Subject)
				continue
			}
			for _, reading := range readings(out) {
				require.False(t, reading == "/admin" || strings.HasPrefix(reading, "/admin/"), "%q goes on as %q, which may be read as %q", req.Path, out, reading)
			}
			if h := strings.TrimSuffix(strings.ToLower(cutAny(host, ":")), "."); h == "inner.example" {
				t.Fatalf("%q was not taken for the inner host", host)
			}
			again := *req
			again.Path = out
			require.True(t, judge.Decide(&again, now).Forward, "%q, made of %q, passes again", out, req.Path)
		}
	})
}

// checkForwarded holds the promise that nobody but the filter speaks in the
// identity headers.
func checkForwarded(t *testing.T, req *filter.Request, d *verdict.Decision, identity []string) {
	for _, name := range identity {
		require.Contains(t, d.Remove, name)
	}
	for _, h := range d.Set {
		switch {
		case slices.Contains(identity, h.Name):
			require.True(t, d.Authenticated, "%s is set for nobody", h.Name)
		case h.Name == "cookie", h.Name == "connection":
			require.Contains(t, d.Remove, h.Name)
		default:
			t.Fatalf("sets %s", h.Name)
		}
		for i := range len(h.Value) {
			if slices.Contains(identity, h.Name) {
				require.True(t, h.Value[i] >= ' ' && h.Value[i] < 0x7f, "%q", h.Value)
			}
		}
	}
	connection, set := field(d.Set, "connection")
	if !set && !slices.Contains(d.Remove, "connection") {
		for _, h := range req.Headers {
			if h.Name == "connection" {
				connection += "," + h.Value
			}
		}
	}
	for _, option := range strings.Split(connection, ",") {
		option = strings.ReplaceAll(strings.ToLower(strings.Trim(option, " \t")), "_", "-")
		for _, name := range identity {
			require.NotEqual(t, strings.ReplaceAll(name, "_", "-"), option)
		}
	}
}
