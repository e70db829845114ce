package filter_test

import (
	"testing"
)

func BenchmarkDecide(b *testing.B) {
	f := newFilter(b, allSources+`, "rules": [{"path_prefix": "/admin", "permissions_any": ["admin"]}, {"path_template": "/t/{t}/users/{u}", "tenant_segment": "t"},
		{"path_prefix": "/public", "access": "public"}, {"path_prefix": "/api"}],
		"identity_headers": {"x-user": "subject", "x-tenant": "tenant", "x-roles": "roles"}`)
	token := mint(b, nil)
	for _, c := range []struct{ name, target, header string }{
		{"public", "/public/a/b/c.html?d=e", "Accept: */*"},
		{"missing", "/api/a/b/c", "Accept: */*"},
		{"badpath", "/api/a/../b/c", "Accept: */*"},
		{"malformed", "/api/a/b/c", "Authorization: Bearer a.b.c"},
		{"accepted", "/api/a/b/c", "Authorization: Bearer " + token},
		{"normal escapes", "/public/caf%C3%A9/c%23", "Accept: */*"},
	} {
		req := request(c.target, c.header)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f.Decide(req, now)
			}
		})
	}
}
