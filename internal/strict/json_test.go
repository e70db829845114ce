package strict_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/internal/strict"
	"sessiongate/verdict"
)

func parse(t testing.TB, text string) strict.Value {
	t.Helper()
	d := new(strict.Doc)
	require.Equal(t, verdict.None, d.Parse([]byte(text), strict.Limits{}), text)
	return d.Root()
}

func TestParseAccepts(t *testing.T) {
	for text, kind := range map[string]strict.Kind{
		`null`: strict.Null, `true`: strict.True, `false`: strict.False, `0`: strict.Number, `-0`: strict.Number,
		`""`: strict.String, `[]`: strict.Array, `{}`: strict.Object,
		" \t\r\n1 \t\r\n": strict.Number, "[ ]": strict.Array, "{\n}": strict.Object, "[ 1 , 2 ]": strict.Array, `{ "a" : 1 , "b" : 2 }`: strict.Object,
		`1.5`: strict.Number, `-1.5e10`: strict.Number, `1E+2`: strict.Number, `1e-2`: strict.Number, `0e0`: strict.Number, `0.0`: strict.Number,
		`10`: strict.Number, `1e0000000000000000000001`: strict.Number, `123456789012345678901234567890`: strict.Number,
		`"\"\\\/\b\f\n\r\t"`: strict.String, `"\u0000"`: strict.String, `"\uD83D\uDE00"`: strict.String, `"\ud800\udc00"`: strict.String,
		`"\ue000"`: strict.String, "\"\x7f\"": strict.String, "\"\u00e9\u2028\U0010ffff\"": strict.String, `"/"`: strict.String,
		`[[],{},[{}],{"a":[]}]`: strict.Array, `{"":1}`: strict.Object, `{"a":{"a":1},"b":{"a":1}}`: strict.Object,
		`{"a":1,"A":1,"\u00e1":1,"a ":1}`: strict.Object,
	} {
		v := parse(t, text)
		assert.Equal(t, kind, v.Kind(), text)
		assert.Equal(t, strings.Trim(text, " \t\r\n"), string(v.Raw()), text)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		text string
		at   int
		want string
	}{
		{"", 0, "a value"}, {" ", 1, "a value"}, {"\x00", 0, "a value"}, {"\ufeff1", 0, "a value"}, {"\v1", 0, "a value"}, {"\u00a01", 0, "a value"},
		{"x", 0, "a value"}, {"nul", 0, "a value"}, {"nulL", 0, "a value"}, {"True", 0, "a value"}, {"NaN", 0, "a value"},
		{"Infinity", 0, "a value"}, {"-Infinity", 0, "a value"}, {"undefined", 0, "a value"}, {"'a'", 0, "a value"}, {"// c\n1", 0, "a value"},
		{"/**/1", 0, "a value"}, {"]", 0, "a value"}, {"}", 0, "a value"}, {",", 0, "a value"}, {":", 0, "a value"},
		{"nullx", 4, "the end of the text"}, {"1 2", 2, "the end of the text"}, {"{}{}", 2, "the end of the text"}, {"[]]", 2, "the end of the text"},
		{`{}""`, 2, "the end of the text"}, {"1\x00", 1, "the end of the text"}, {"1,", 1, "the end of the text"}, {`"a"b`, 3, "the end of the text"},
		{"-", 0, "a value"}, {"+1", 0, "a value"}, {".5", 0, "a value"}, {"1.", 0, "a value"}, {"1.e1", 0, "a value"}, {"1e", 0, "a value"},
		{"1e+", 0, "a value"}, {"1e1.5", 3, "the end of the text"}, {"01", 1, "the end of the text"}, {"-01", 2, "the end of the text"},
		{"00", 1, "the end of the text"}, {"0x1", 1, "the end of the text"}, {"1_0", 1, "the end of the text"}, {"- 1", 0, "a value"},
		{"--1", 0, "a value"}, {"1.2.3", 3, "the end of the text"}, {"1f", 1, "the end of the text"}, {"\u0661", 0, "a value"},
		{`"`, 1, "a closing quote"}, {`"a`, 2, "a closing quote"}, {`"\"`, 3, "a closing quote"}, {"\"a\nb\"", 2, "no control byte in a string"},
		{"\"\t\"", 1, "no control byte in a string"}, {"\"\x00\"", 1, "no control byte in a string"}, {"\"\x1f\"", 1, "no control byte in a string"},
		{`"\x"`, 1, "a known escape"}, {`"\`, 1, "a known escape"}, {`"\'"`, 1, "a known escape"}, {`"\U0041"`, 1, "a known escape"},
		{`"\u"`, 1, "a known escape"}, {`"\u004"`, 1, "a known escape"}, {`"\u004g"`, 1, "a known escape"}, {`"\u 041"`, 1, "a known escape"},
		{`"\u+041"`, 1, "a known escape"}, {`"\ud800"`, 1, "a known escape"}, {`"\udc00"`, 1, "a known escape"}, {`"\udfff"`, 1, "a known escape"},
		{`"\ud800\ud800"`, 1, "a known escape"}, {`"\ud800\u0041"`, 1, "a known escape"}, {`"\ud800x\udc00"`, 1, "a known escape"},
		{`"\udc00\ud800"`, 1, "a known escape"}, {`"\ud800\udc0"`, 1, "a known escape"}, {`"\ud800\n"`, 1, "a known escape"},
		{"\"\xff\"", 0, "UTF-8"}, {"\"\xc0\x80\"", 0, "UTF-8"}, {"\"\xed\xa0\x80\"", 0, "UTF-8"}, {"\"\xf4\x90\x80\x80\"", 0, "UTF-8"},
		{"\"\xe2\x82\"", 0, "UTF-8"}, {"[\"\x80\"]", 1, "UTF-8"}, {"\xff", 0, "a value"},
		{"[", 1, "a value"}, {"[1", 2, "a comma or a closing bracket"}, {"[1,", 3, "a value"}, {"[1,]", 3, "a value"}, {"[,1]", 1, "a value"},
		{"[1 2]", 3, "a comma or a closing bracket"}, {"[1}", 2, "a comma or a closing bracket"}, {"[1,,2]", 3, "a value"}, {"[1:2]", 2, "a comma or a closing bracket"},
		{"{", 1, "a member name"}, {`{"a"`, 4, "a colon"}, {`{"a":`, 5, "a value"}, {`{"a":1`, 6, "a comma or a closing bracket"},
		{`{"a":1,`, 7, "a member name"}, {`{"a":1,}`, 7, "a member name"}, {`{,}`, 1, "a member name"}, {`{a:1}`, 1, "a member name"},
		{`{1:1}`, 1, "a member name"}, {`{null:1}`, 1, "a member name"}, {`{"a" 1}`, 5, "a colon"}, {`{"a","b"}`, 4, "a colon"},
		{`{"a":1 "b":2}`, 7, "a comma or a closing bracket"}, {`{"a":1]`, 6, "a comma or a closing bracket"}, {`{"a"::1}`, 5, "a value"}, {`{[]:1}`, 1, "a member name"},
		{`{"\x":1}`, 2, "a known escape"}, {"{\"\xff\":1}", 1, "UTF-8"},
		{`{"a":1,"a":1}`, 7, "each member name once"}, {`{"a":1,"b":2,"a":3}`, 13, "each member name once"},
		{`{"iss":1,"\u0069ss":2}`, 9, "each member name once"}, {`{"\u0069ss":2,"iss":1}`, 14, "each member name once"},
		{`{"/":1,"\/":2}`, 7, "each member name once"}, {`{"":1,"":2}`, 6, "each member name once"},
		{"{\"\U0001F600\":1,\"\\uD83D\\uDE00\":2}", 10, "each member name once"}, {`{"\u00E9":1,"\u00e9":2}`, 12, "each member name once"},
		{`{"x":{"a":1,"a":1}}`, 12, "each member name once"}, {`[{"a":[{"b":1,"b":2}]}]`, 14, "each member name once"},
		{`{"a":{"b":1},"c":[2],"a":3}`, 21, "each member name once"}, {`{"a":{"a":{"a":1,"a":2}}}`, 17, "each member name once"},
	} {
		var d strict.Doc
		assert.Equalf(t, verdict.Malformed, d.Parse([]byte(c.text), strict.Limits{}), "%q", c.text)
		assert.Equalf(t, c.at, d.ErrorOffset(), "%q", c.text)
		assert.Equalf(t, c.want, d.ErrorText(), "%q", c.text)
		assert.Equalf(t, strict.Invalid, d.Root().Kind(), "%q", c.text)
	}
}

// Names that share a hash are still different names. These pairs were found by
// search, for FNV-1a of 32 bits.
func TestNamesOfOneHash(t *testing.T) {
	for _, pair := range [][2]string{{"costarring", "liquid"}, {"declinate", "macallums"}, {"altarage", "zinke"}} {
		require.Equal(t, fnv1a(pair[0]), fnv1a(pair[1]))
		v := parse(t, `{"`+pair[0]+`":1,"`+pair[1]+`":2}`)
		assert.Equal(t, "1", string(v.Member(pair[0]).Raw()))
		assert.Equal(t, "2", string(v.Member(pair[1]).Raw()))
	}
}

func fnv1a(s string) uint32 {
	h := uint32(2166136261)
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return h
}

func TestKeepDuplicates(t *testing.T) {
	keep := strict.Limits{KeepDuplicates: true}
	var d strict.Doc
	for text, want := range map[string]bool{
		`{"a":1,"a":2}`: true, `{"a":1,"\u0061":2}`: true, `{"x":{"a":1,"a":2}}`: true, `[{"a":1},{"a":1}]`: false, `{"a":1,"b":2}`: false, `1`: false,
	} {
		require.Equal(t, verdict.None, d.Parse([]byte(text), keep), text)
		assert.Equal(t, want, d.Root().Ambiguous(), text)
	}
	// The fault is the part's, not its neighbours'.
	require.Equal(t, verdict.None, d.Parse([]byte(`[{"a":1,"a":2},{"b":{"c":[{"d":1,"d":1}]}},{"e":1}]`), keep))
	v := d.Root()
	assert.True(t, v.Ambiguous())
	assert.True(t, v.First().Ambiguous())
	assert.True(t, v.First().Next().Ambiguous())
	assert.True(t, v.First().Next().Member("b").Ambiguous())
	assert.False(t, v.First().Next().Next().Ambiguous())
	assert.Equal(t, "1", string(v.First().Member("a").Raw()), "the first of two")
	assert.Equal(t, 2, v.First().Len())
	assert.False(t, strict.Value{}.Ambiguous())
}

func TestLimits(t *testing.T) {
	array := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	object := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	members := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(`,"` + strings.Repeat("k", i+1) + `":1`)
		}
		return "{" + strings.TrimPrefix(b.String(), ",") + "}"
	}
	for _, c := range []struct {
		text string
		lim  strict.Limits
		want verdict.Reason
	}{
		{"12345", strict.Limits{Bytes: 5}, verdict.None},
		{"12345", strict.Limits{Bytes: 4}, verdict.TooLarge},
		{"x2345", strict.Limits{Bytes: 4}, verdict.TooLarge},
		{array(32), strict.Limits{Depth: 32}, verdict.None},
		{array(33), strict.Limits{Depth: 32}, verdict.TooLarge},
		{object(32), strict.Limits{Depth: 32}, verdict.None},
		{object(33), strict.Limits{Depth: 32}, verdict.TooLarge},
		{"[" + array(31) + "," + array(31) + "]", strict.Limits{Depth: 32}, verdict.None},
		{"[" + array(31) + "," + array(32) + "]", strict.Limits{Depth: 32}, verdict.TooLarge},
		{strings.Repeat("[", 33), strict.Limits{Depth: 32}, verdict.TooLarge},
		{array(100_000), strict.Limits{}, verdict.None},
		{strings.Repeat("[", 100_000), strict.Limits{}, verdict.Malformed},
		{members(16), strict.Limits{Members: 16}, verdict.None},
		{members(17), strict.Limits{Members: 16}, verdict.TooLarge},
		{"[" + members(16) + "," + members(16) + "]", strict.Limits{Members: 16}, verdict.None},
		{`{"a":` + members(17) + "}", strict.Limits{Members: 16}, verdict.TooLarge},
		{`{"a":` + members(16) + `,"b":` + members(16) + "}", strict.Limits{Members: 16}, verdict.None},
		{"[" + strings.Repeat("1,", 999) + "1]", strict.Limits{Members: 16}, verdict.None}, // elements are no members
		{members(300), strict.Limits{}, verdict.None},
	} {
		var d strict.Doc
		assert.Equal(t, c.want, d.Parse([]byte(c.text), c.lim))
		if c.want == verdict.TooLarge {
			assert.Contains(t, []string{"a shorter text", "less nesting", "fewer members"}, d.ErrorText())
			assert.Equal(t, strict.Invalid, d.Root().Kind())
		}
	}
}

// Objects of every size around the one from which names are sorted: the last
// name is that of each earlier member in turn, nested objects between them.
func TestDuplicatesInObjectsOfEverySize(t *testing.T) {
	name := func(i int) string { return "n" + strconv.Itoa(i) }
	escaped := func(i int) string { return `\u006e` + strconv.Itoa(i) }
	var d strict.Doc
	for size := 1; size < 32; size++ {
		for again := range size + 1 {
			var b strings.Builder
			b.WriteString(`{`)
			for i := range size {
				spelled := name(i)
				if i%3 == 1 {
					spelled = escaped(i)
				}
				b.WriteString(`"` + spelled + `":`)
				switch i % 4 {
				case 0:
					b.WriteString("1,")
				case 1: // the same names inside are other members
					b.WriteString(`{"n0":1,"n1":[{"n2":2}]},`)
				case 2:
					b.WriteString("[[],{}],")
				case 3:
					if size < 12 {
						b.WriteString(`{"n0":0,"n1":0,"n2":0,"n3":0,"n4":0,"n5":0,"n6":0,"n7":0,"n8":0,"n9":0,"n10":0,"n11":0},`)
					} else {
						b.WriteString("null,")
					}
				}
			}
			last := b.String() + `"` + name(again) + `":1}`
			want := verdict.Malformed
			if again == size {
				want = verdict.None
			}
			if got := d.Parse([]byte(last), strict.Limits{}); got != want {
				t.Fatalf("%d members and %s: %s", size, name(again), got)
			}
			if want == verdict.Malformed {
				require.Equal(t, b.Len(), d.ErrorOffset())
				require.Equal(t, "each member name once", d.ErrorText())
			}
			require.Equal(t, verdict.None, d.Parse([]byte(last), strict.Limits{KeepDuplicates: true}))
			require.Equal(t, again < size, d.Root().Ambiguous())
			require.Equal(t, size+1, d.Root().Len())
			// Behind a duplicate that was let pass, every other one is found too.
			more := b.String() + `"` + name(again) + `":1,"x":{"a":1},"x":2}`
			require.Equal(t, verdict.None, d.Parse([]byte(more), strict.Limits{KeepDuplicates: true}))
			require.True(t, d.Root().Ambiguous())
		}
	}
}

// A Doc is used again and again, also after a fault, and then allocates nothing.
func TestDocIsReused(t *testing.T) {
	var d strict.Doc
	texts := [][]byte{[]byte(`{"a":[1,{"b":"c\n","\u0064":null}]}`), []byte(`{"a":1,"a":2}`), []byte(`[[[[`), []byte(`"\ud800"`), []byte(`7`)}
	wants := []verdict.Reason{verdict.None, verdict.Malformed, verdict.Malformed, verdict.Malformed, verdict.None}
	round := func() {
		for i, text := range texts {
			if got := d.Parse(text, strict.Limits{}); got != wants[i] {
				t.Errorf("%s: %s", text, got)
			}
		}
	}
	round()
	assert.Zero(t, testing.AllocsPerRun(100, round))
	assert.Equal(t, "7", string(d.Root().Raw()))
	assert.Empty(t, d.ErrorText())
}
