package cases_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/internal/cases"
	"sessiongate/verifier/policy"
)

// The policy document of a case says what its Issuers say.
func TestPolicySaysTheSame(t *testing.T) {
	for _, c := range cases.All() {
		t.Run(c.Name, func(t *testing.T) {
			p, err := policy.Parse(c.Policy(""), "go")
			require.NoError(t, err)
			require.Len(t, p.Issuers, len(c.Issuers))
			for i, is := range p.Issuers {
				assert.Equal(t, c.Issuers[i], is)
				assert.Equal(t, c.Keys[i].Inline, p.Keys[i].Kind == policy.Inline)
				if c.Keys[i].Inline {
					assert.Equal(t, c.Keys[i].Document, string(p.Keys[i].Inline))
				}
			}
		})
	}
}
