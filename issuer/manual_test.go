package issuer_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/issuer"
	"sessiongate/issuer/store"
)

// TestManual holds README.md to the code: each member of issuer.json and each
// scope is in it.
func TestManual(t *testing.T) {
	doc, err := os.ReadFile("README.md")
	require.NoError(t, err)
	for i := range reflect.TypeFor[issuer.Settings]().NumField() {
		name := reflect.TypeFor[issuer.Settings]().Field(i).Tag.Get("json")
		assert.Contains(t, string(doc), "`"+name+"`")
	}
	for _, scope := range issuer.Scopes() {
		assert.Contains(t, string(doc), "`"+scope+"`")
	}
	for _, code := range []issuer.Code{issuer.NotFound, issuer.Unsafe, issuer.WrongState, issuer.SessionOver, issuer.LastOperator, issuer.BadAPIKey,
		issuer.BadSession, issuer.TooManyScope, issuer.Conflict, issuer.NoVerifier, issuer.NoSigningKey, issuer.TokenTooBig, issuer.NotDurable} {
		assert.True(t, strings.Contains(string(doc), "`"+string(code)+"`"), code)
	}
}

func BenchmarkMint(b *testing.B) {
	dir := b.TempDir()
	s := settings()
	s.Algorithms = []string{"ES256", "EdDSA", "RS256"}
	_, err := issuer.Init(b.Context(), dir, s, nil)
	require.NoError(b, err)
	i, err := issuer.Open(b.Context(), dir, issuer.Config{}, nil)
	require.NoError(b, err)
	defer i.Close()
	_, _, err = i.PutUser(b.Context(), store.User{ID: "u"})
	require.NoError(b, err)
	session, _, err := i.CreateSession(b.Context(), issuer.NewSession{UserID: "u"})
	require.NoError(b, err)
	for _, alg := range s.Algorithms {
		b.Run(alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := i.Mint(b.Context(), session.ID, issuer.TokenRequest{Algorithm: alg}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
