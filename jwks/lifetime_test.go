package jwks_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"sessiongate/jwks"
)

func TestLifetime(t *testing.T) {
	for _, tt := range []struct {
		control, age string
		want         int64
	}{
		{"", "", -1}, {"public", "", -1}, {"max-age=60", "", 60_000}, {`Public, Max-Age="60"`, "20", 40_000}, {"max-age=60", "90", 0},
		{"no-store", "", 0}, {"no-cache, max-age=60", "", 0}, {"max-age=x", "", -1}, {"max-age=x, max-age=7", "", 7_000},
		{"max-age=60", "-5", 60_000}, {"max-age=60", "x", 60_000}, {"max-age=-1", "", 0}, {"s-maxage=60", "", -1},
	} {
		assert.Equal(t, tt.want, jwks.Lifetime(tt.control, tt.age), "%q %q", tt.control, tt.age)
	}
}
