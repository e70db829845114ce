package strict_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sessiongate/internal/strict"
	"sessiongate/verdict"
)

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// colliding returns 2^n names that all have one FNV-1a hash: n blocks in a row,
// each of which may be one of two that lead to the same state.
func colliding(n int) []string {
	names, state := []string{""}, uint32(2166136261)
	for range n {
		seen := map[uint32]string{}
		for i := uint32(0); ; i++ {
			x, block := i*2654435761, ""
			for range 4 {
				block += alphabet[x>>26:][:1]
				x <<= 6
			}
			h := state
			for j := range len(block) {
				h = (h ^ uint32(block[j])) * 16777619
			}
			if first, hit := seen[h]; hit {
				var longer []string
				for _, name := range names {
					longer = append(longer, name+first, name+block)
				}
				names, state = longer, h
				break
			}
			seen[h] = block
		}
	}
	return names
}

// texts are token-sized, and each is as much work as its kind can be.
func texts() map[string]string {
	object := func(names []string) string {
		return `{"` + strings.Join(names, `":0,"`) + `":0}`
	}
	var short, escaped []string
	for i := range 256 {
		short = append(short, fmt.Sprintf("%02x", i))
		escaped = append(escaped, fmt.Sprintf(`\u0041%02x`, i))
	}
	return map[string]string{
		"claims":           `{"iss":"https://issuer.test","sub":"user_1","aud":["api"],"exp":1700000050,"iat":1699999990,"roles":["admin","member"],"act":{"sub":"x"}}`,
		"256 names":        object(short),
		"256 escaped":      object(escaped),
		"256 of one hash":  object(colliding(8)),
		"objects of 256":   "[" + strings.Repeat(object(short)+",", 5) + "0]",
		"nested":           "[" + strings.Repeat(strings.Repeat("[", 31)+strings.Repeat("]", 31)+",", 190) + "0]",
		"numbers":          "[" + strings.Repeat("1,", 6000) + "1]",
		"one long string":  `"` + strings.Repeat("x", 12<<10) + `"`,
		"escapes":          `"` + strings.Repeat(`\u0041`, 2<<10) + `"`,
		"one long number":  strings.Repeat("1", 12<<10),
		"two-byte letters": `"` + strings.Repeat("é", 6<<10) + `"`,
		"white space":      strings.Repeat(" ", 12<<10) + "1",
	}
}

func BenchmarkParse(b *testing.B) {
	for name, text := range texts() {
		b.Run(name, func(b *testing.B) {
			src := []byte(text)
			var d strict.Doc
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				if d.Parse(src, strict.Limits{Depth: 32, Members: 256}) != verdict.None {
					b.Fatal(d.ErrorText())
				}
			}
		})
	}
}

// The texts of the benchmark are what they say, and a Doc that has grown to the
// worst of them grows no further.
func TestWorstTexts(t *testing.T) {
	names := colliding(8)
	require.Len(t, names, 256)
	for _, name := range names {
		require.Equal(t, fnv1a(names[0]), fnv1a(name))
	}
	var d strict.Doc
	all := texts()
	parseAll := func() {
		for name, text := range all {
			if d.Parse([]byte(text), strict.Limits{Bytes: 12<<10 + 10, Depth: 32, Members: 256}) != verdict.None {
				t.Errorf("%s: %s at %d", name, d.ErrorText(), d.ErrorOffset())
			}
		}
	}
	parseAll()
	v := d.Root()
	require.NotEqual(t, strict.Invalid, v.Kind())
	require.Equal(t, verdict.None, d.Parse([]byte(all["256 of one hash"]), strict.Limits{Members: 256}))
	for _, name := range names {
		require.Equal(t, strict.Number, d.Root().Member(name).Kind())
	}
}
