package policy_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/verifier"
	"sessiongate/verifier/policy"
)

// FuzzParse: no document makes Parse panic or leaves it without a verdict; what it
// accepts it accepts again with the same result, the schema accepts it too, and the
// verifier can be made of it.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob(policies + "/*/*.json")
	require.NoError(f, err)
	require.NotEmpty(f, files)
	for _, file := range files {
		doc, err := os.ReadFile(file)
		require.NoError(f, err)
		for kind := range kinds {
			f.Add(doc, uint8(kind))
		}
	}
	s := compileSchema(f)
	f.Fuzz(func(t *testing.T, doc []byte, kind uint8) {
		name := kinds[int(kind)%len(kinds)]
		p, err := policy.Parse(doc, name)
		if err != nil {
			var faults policy.Errors
			require.True(t, errors.As(err, &faults))
			require.NotEmpty(t, faults)
			require.Nil(t, p)
			require.NotEmpty(t, err.Error())
			return
		}
		again, err := policy.Parse(append([]byte(nil), doc...), name)
		require.NoError(t, err)
		assert.Equal(t, p, again)
		assert.NoError(t, validate(t, s, doc))
		_, err = policy.Parse(doc, name+"?")
		require.Error(t, err)

		require.Len(t, p.Keys, len(p.Issuers))
		for i, k := range p.Keys {
			if k.Kind == policy.Secret && p.Issuers[i].Secret == nil {
				p.Issuers[i].Secret = make([]byte, 64) // from a file
			}
		}
		_, err = verifier.New(verifier.Config{Issuers: p.Issuers})
		assert.NoError(t, err)
	})
}

var kinds = []string{"", "go", "envoy", "traefik", "js"}
