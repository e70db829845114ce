package strict_test

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/internal/strict"
)

var reference = base64.RawURLEncoding.Strict()

func decode(t testing.TB, src []byte) ([]byte, bool) {
	dst := make([]byte, strict.DecodedLen(len(src)))
	n, ok := strict.DecodeBase64(dst, src)
	if ok && n != len(dst) {
		t.Fatalf("%q: %d bytes of %d", src, n, len(dst))
	}
	return dst[:n], ok
}

// Every text of one and two bytes, of three bytes over the alphabet and some
// around it, and of four at each place, against the standard library, which
// ignores line breaks.
func TestDecodeBase64Exhaustively(t *testing.T) {
	check := func(src []byte) bool {
		got, ok := decode(t, src)
		want, err := reference.DecodeString(string(src))
		if wantOK := err == nil && !bytes.ContainsAny(src, "\r\n"); ok != wantOK || ok && !bytes.Equal(got, want) {
			t.Fatalf("%q: %x %v, not %x %v", src, got, ok, want, wantOK)
		}
		return ok
	}
	accepted := 0
	count := func(src ...byte) {
		if check(src) {
			accepted++
		}
	}
	count()
	for a := range 256 {
		count(byte(a))
		for b := range 256 {
			count(byte(a), byte(b))
		}
	}
	assert.Equal(t, 1+256, accepted, "each byte has one spelling")
	accepted = 0
	var some []byte
	for c := range 256 {
		if c < 0x80 || c%31 == 0 {
			some = append(some, byte(c))
		}
	}
	for _, a := range some {
		for _, b := range some {
			for _, c := range some {
				count(a, b, c)
			}
		}
	}
	assert.Equal(t, 1<<16, accepted, "each pair of bytes has one spelling")
	for at := range 8 {
		for c := range 256 {
			src := []byte("QUJDREVG")
			src[at] = byte(c)
			check(src)
			check(src[:7])
			check(src[:6])
			check(src[:5])
		}
	}
}

func TestBase64RoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 200 {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		text := strict.AppendBase64([]byte("x"), b)
		require.Equal(t, "x"+reference.EncodeToString(b), string(text))
		back, ok := decode(t, text[1:])
		require.True(t, ok)
		require.Equal(t, b, back)
		assert.Equal(t, n, strict.DecodedLen(len(text)-1))
	}
	for a := range 256 { // all of one, two and three bytes
		for b := range 256 {
			for _, c := range []int{0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xbf, 0xc0, 0xff} {
				for _, src := range [][]byte{{byte(a)}, {byte(a), byte(b)}, {byte(a), byte(b), byte(c)}} {
					text := strict.AppendBase64(nil, src)
					back, ok := decode(t, text)
					if string(text) != reference.EncodeToString(src) || !ok || !bytes.Equal(back, src) {
						t.Fatalf("%x: %s", src, text)
					}
				}
			}
		}
	}
}

func TestDecodeBase64ShortBuffer(t *testing.T) {
	_, ok := strict.DecodeBase64(make([]byte, 2), []byte("QUJD"))
	assert.False(t, ok)
	n, ok := strict.DecodeBase64(make([]byte, 10), []byte("QUJD"))
	assert.True(t, ok)
	assert.Equal(t, 3, n)
}

func TestSplitCompact(t *testing.T) {
	for _, c := range []struct{ token, header, payload, signature, input string }{
		{"a.b.c", "a", "b", "c", "a.b"},
		{"a.b.", "a", "b", "", "a.b"},
		{"a..c", "a", "", "c", "a."},
		{"a..", "a", "", "", "a."},
	} {
		header, payload, signature, input, ok := strict.SplitCompact([]byte(c.token))
		require.True(t, ok, c.token)
		assert.Equal(t, []string{c.header, c.payload, c.signature, c.input}, []string{string(header), string(payload), string(signature), string(input)})
	}
	for _, token := range []string{"", ".", "..", "...", "a", "a.b", ".b.c", "..c", "a.b.c.", "a.b.c.d", ".a.b.c", "a.b.c.d.e", strings.Repeat(".", 1000)} {
		_, _, _, _, ok := strict.SplitCompact([]byte(token))
		assert.False(t, ok, token)
	}
}
