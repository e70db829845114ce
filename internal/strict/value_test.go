package strict_test

import (
	"encoding/json"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/internal/strict"
)

func TestAbsent(t *testing.T) {
	var v strict.Value
	assert.Equal(t, strict.Invalid, v.Kind())
	assert.Zero(t, v.Len())
	assert.Zero(t, v.Offset())
	assert.Nil(t, v.Raw())
	assert.Empty(t, v.Key())
	assert.False(t, v.KeyIs(""))
	assert.False(t, v.Is(""))
	for _, absent := range []strict.Value{v.First(), v.Next(), v.Member("a"), v.Pointer("/a"), v.Pointer("")} {
		assert.Equal(t, strict.Invalid, absent.Kind())
	}
	_, ok := v.Text()
	assert.False(t, ok)
	_, ok = v.AppendText(nil)
	assert.False(t, ok)
	_, ok = v.Int()
	assert.False(t, ok)
	_, ok = v.Millis()
	assert.False(t, ok)
}

// No method of one kind answers for another.
func TestKinds(t *testing.T) {
	names := []string{"nothing", "null", "false", "true", "a number", "a string", "an array", "an object"}
	for i, text := range []string{"null", "false", "true", "12", `"12"`, "[12]", `{"a":12}`} {
		v := parse(t, text)
		kind := strict.Kind(i + 1)
		assert.Equal(t, kind, v.Kind())
		assert.Equal(t, names[i+1], kind.String())
		_, isText := v.Text()
		assert.Equal(t, kind == strict.String, isText, text)
		_, isText = v.AppendText(nil)
		assert.Equal(t, kind == strict.String, isText, text)
		assert.Equal(t, kind == strict.String, v.Is("12"), text)
		_, isInt := v.Int()
		assert.Equal(t, kind == strict.Number, isInt, text)
		_, isDate := v.Millis()
		assert.Equal(t, kind == strict.Number, isDate, text)
		assert.Equal(t, kind >= strict.Array, v.First().Kind() == strict.Number, text)
		assert.Equal(t, kind == strict.Object, v.Member("a").Kind() == strict.Number, text)
		assert.Equal(t, kind == strict.Array, v.Pointer("/0").Kind() == strict.Number, text)
		assert.Equal(t, kind == strict.Object, v.Pointer("/a").Kind() == strict.Number, text)
		assert.Empty(t, v.Key())
	}
	assert.Equal(t, names[0], strict.Invalid.String())
}

func TestIteration(t *testing.T) {
	v := parse(t, ` {"a" : [1,[2,3],{"x":4}], "\u0062\n":{}, "":null, "d":"e"} `)
	var keys, raws []string
	for m := v.First(); m.Kind() != strict.Invalid; m = m.Next() {
		keys, raws = append(keys, m.Key()), append(raws, string(m.Raw()))
		assert.True(t, m.KeyIs(m.Key()))
		assert.False(t, m.KeyIs(m.Key()+"x"))
	}
	assert.Equal(t, []string{"a", "b\n", "", "d"}, keys)
	assert.Equal(t, []string{`[1,[2,3],{"x":4}]`, "{}", "null", `"e"`}, raws)
	assert.Equal(t, 4, v.Len())
	raws = nil
	for e := v.Member("a").First(); e.Kind() != strict.Invalid; e = e.Next() {
		raws = append(raws, string(e.Raw()))
		assert.Empty(t, e.Key())
		assert.False(t, e.KeyIs(""))
	}
	assert.Equal(t, []string{"1", "[2,3]", `{"x":4}`}, raws)
	assert.Equal(t, 1, v.Offset())
	assert.Equal(t, 8, v.Member("a").Offset())
	assert.Equal(t, strict.Invalid, v.Next().Kind(), "nothing stands behind the root")
	assert.Equal(t, strict.Invalid, v.Member("d").Next().Kind())
	assert.Equal(t, strict.Invalid, v.Member("b").Kind())
	assert.Equal(t, strict.Object, v.Member("b\n").Kind())
	assert.Equal(t, strict.Null, v.Member("").Kind())
	assert.Equal(t, strict.Invalid, v.Member("x").Kind(), "members of members are not its own")
	assert.Equal(t, strict.Invalid, v.Member("a").First().Next().First().Next().Next().Kind())
}

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		`""`: "", `"abc"`: "abc", `"\"\\\/\b\f\n\r\t"`: "\"\\/\b\f\n\r\t", `"\u0041\u00e9\u4e16"`: "A\u00e9\u4e16", `"\u0000"`: "\x00",
		`"a\uD83D\ude00b"`: "a\U0001F600b", `"\uffff"`: "\uffff", `"\udbff\udfff"`: "\U0010ffff", `"\u007f\u0080\u07ff\u0800"`: "\u007f\u0080\u07ff\u0800",
		"\"\u00e9\"": "\u00e9", `"\\u0041"`: `\u0041`, `"\\\""`: `\"`,
	} {
		v := parse(t, text)
		got, ok := v.Text()
		assert.True(t, ok)
		assert.Equal(t, want, got, text)
		b, ok := v.AppendText([]byte("before "))
		assert.True(t, ok)
		assert.Equal(t, "before "+want, string(b), text)
		assert.True(t, v.Is(want))
		assert.False(t, v.Is(want+" "))
		assert.Zero(t, testing.AllocsPerRun(10, func() { v.Is(want) }))
	}
}

func TestInt(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "-0": 0, "7": 7, "-12": -12, "999999999999999999": 999999999999999999, "-999999999999999999": -999999999999999999} {
		n, ok := parse(t, text).Int()
		assert.True(t, ok, text)
		assert.Equal(t, want, n, text)
	}
	for _, text := range []string{"1.0", "1e0", "1E2", "0.5", "1000000000000000000", "-1000000000000000000", "99999999999999999999"} {
		_, ok := parse(t, text).Int()
		assert.False(t, ok, text)
	}
}

// millis is what Millis answers, by rational arithmetic.
func millis(text string) (int64, bool) {
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		panic(text)
	}
	r.Mul(r, big.NewRat(1000, 1))
	n := new(big.Int).Add(r.Num(), r.Denom())
	n.Sub(n, big.NewInt(1)).Div(n, r.Denom()) // rounded up, below zero too
	bound := big.NewInt(strict.MaxMillis)
	if n.CmpAbs(bound) > 0 {
		return 0, false
	}
	return n.Int64(), true
}

func TestMillis(t *testing.T) {
	texts := []string{"0", "-0", "0.0", "-0.0", "0e5", "0e-5", "1", "-1", "1700000000", "1700000000.5", "1700000000.001", "1700000000.0001", "1700000000.0000000000000001",
		"1.7e9", "1.7E+9", "17e8", "1700000000000e-3", "1700000000001e-3", "1700000000001e-4", "0.001", "0.0001", "-0.001", "-0.0001", "-0.0011", "-1.5", "1e-400", "-1e-400",
		"253402300799", "253402300799.999", "253402300799.9991", "253402300799.9990", "253402300800", "-253402300799.999", "-253402300799.9991", "-253402300800",
		"253402300799999e-3", "2534023007999990e-4", "2534023007999991e-4", "2.53402300799999e11", "2.53402300800e11", "9223372036854775807", "9223372036854775808",
		"18446744073709551616", "92233720368547758.07", "1e11", "1e12", "1e18", "1e19", "1e30", "10e10", "0.0000000001e20", "0.0000000001e22",
		strings.Repeat("9", 400), "0." + strings.Repeat("0", 400) + "1", strings.Repeat("1", 12) + "." + strings.Repeat("9", 400),
		"1" + strings.Repeat("0", 400) + "e-400", "1" + strings.Repeat("0", 400) + "e-395", "0." + strings.Repeat("0", 399) + "1e405", "1e00000000000000000003", "1e-00000000000000000003"}
	for _, text := range texts {
		want, wantOK := millis(text)
		got, ok := parse(t, text).Millis()
		assert.Equal(t, wantOK, ok, text)
		assert.Equal(t, want, got, text)
	}
	// Exponents that rational arithmetic would take its time over.
	for text, want := range map[string]int64{"1e-1000000": 1, "-1e-1000000": 0, "0e999999999999": 0, "0e-999999999999": 0, "1e-99999999999999999999": 1, "0.00e99999999999999999999": 0} {
		got, ok := parse(t, text).Millis()
		assert.True(t, ok, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{"1e1000000", "-1e1000000", "1e99999999999999999999", "0.000001e99999999999999999999"} {
		_, ok := parse(t, text).Millis()
		assert.False(t, ok, text)
	}
	for _, text := range []string{`"1700000000"`, "null", "true", "[1]", "{}"} {
		_, ok := parse(t, text).Millis()
		assert.False(t, ok, text)
	}
}

func TestMillisProperty(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	digits := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = '0' + byte(r.IntN(10))
			if r.IntN(3) == 0 {
				b[i] = "09"[r.IntN(2)]
			}
		}
		return string(b)
	}
	inRange := 0
	for range 100_000 {
		whole := strings.TrimLeft(digits(r.IntN(16)), "0")
		if whole == "" {
			whole = "0"
		}
		text := whole
		if r.IntN(2) == 0 {
			text = "-" + text
		}
		if r.IntN(2) == 0 {
			text += "." + digits(1+r.IntN(12))
		}
		if r.IntN(2) == 0 {
			text += []string{"e", "E", "e+", "e-", "E-"}[r.IntN(5)] + strconv.Itoa(r.IntN(18))
		}
		want, wantOK := millis(text)
		got, ok := parse(t, text).Millis()
		if wantOK != ok || want != got {
			t.Fatalf("%s: %d %v, not %d %v", text, got, ok, want, wantOK)
		}
		if ok {
			inRange++
		}
	}
	assert.Greater(t, inRange, 25_000)
}

// The rounding keeps comparisons with whole milliseconds exact.
func TestMillisComparesExactly(t *testing.T) {
	for _, text := range []string{"1.5", "1.5001", "1.4999", "1.0000001", "-1.5001", "-1.5", "0.0000001", "-0.0000001"} {
		exact, _ := new(big.Rat).SetString(text)
		exact.Mul(exact, big.NewRat(1000, 1))
		got, ok := parse(t, text).Millis()
		require.True(t, ok)
		for now := got - 3; now <= got+3; now++ {
			cmp := big.NewRat(now, 1).Cmp(exact)
			assert.Equal(t, cmp >= 0, now >= got, "%d against %s", now, text)
			assert.Equal(t, cmp < 0, now < got, "%d against %s", now, text)
		}
	}
}

// The document is that of RFC 6901 section 5.
func TestPointer(t *testing.T) {
	v := parse(t, `{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8,"~1":9,"x":{"0":10,"y":{"z":[[11]]}}}`)
	for pointer, want := range map[string]string{
		"": string(v.Raw()), "/foo": `["bar","baz"]`, "/foo/0": `"bar"`, "/foo/1": `"baz"`, "/": "0", "/a~1b": "1", "/c%d": "2", "/e^f": "3", "/g|h": "4",
		`/i\j`: "5", `/k"l`: "6", "/ ": "7", "/m~0n": "8", "/~01": "9", "/x/0": "10", "/x/y/z/0/0": "11",
	} {
		assert.Equal(t, want, string(v.Pointer(pointer).Raw()), pointer)
		assert.True(t, strict.ValidPointer(pointer), pointer)
	}
	for _, pointer := range []string{"/nope", "/foo/2", "/foo/-", "/foo/00", "/foo/01", "/foo/+1", "/foo/1e0", "/foo/", "/foo/999999999999999999999", "/foo/0/x",
		"/foo/0/", "//", "/x/y/z/0/0/0", "/foo/bar", "/~1", "/ /x", "/m~n "} {
		assert.Equal(t, strict.Invalid, v.Pointer(pointer).Kind(), pointer)
	}
	for _, pointer := range []string{"foo", "foo/0", " /foo", "#/foo"} {
		assert.Equal(t, strict.Invalid, v.Pointer(pointer).Kind(), pointer)
		assert.False(t, strict.ValidPointer(pointer), pointer)
	}
	for pointer, valid := range map[string]bool{"/~": false, "/~2": false, "/a~": false, "/~0~1": true, "/~00": true, "/é": true, "/~/": false} {
		assert.Equal(t, valid, strict.ValidPointer(pointer), pointer)
	}
}

func TestAppendQuote(t *testing.T) {
	for text, want := range map[string]string{
		"": `""`, "abc": `"abc"`, `"\`: `"\"\\"`, "\n": `"\n"`, "\x00\x1f\x7f": `"\u0000\u001f\u007f"`, "<&>": `"\u003c\u0026\u003e"`,
		"\u2028\u2029": `"\u2028\u2029"`, "é😀": `"é😀"`, "a\xffb": "\"a\ufffdb\"", "\xed\xa0\x80": "\"\ufffd\ufffd\ufffd\"", "/": `"/"`, "\ufffd": "\"\ufffd\"",
	} {
		assert.Equal(t, want, string(strict.AppendQuote(nil, text)), "%q", text)
		assert.Equal(t, "x"+want, string(strict.AppendQuote([]byte("x"), text)), "%q", text)
	}
	// Whatever the text, a reader of either kind gets it back.
	for c := range rune(0x11000) {
		text := "a" + string(c) + "b"
		quoted := strict.AppendQuote(nil, text)
		var back string
		require.NoError(t, json.Unmarshal(quoted, &back))
		require.Equal(t, text, back)
		require.True(t, parse(t, string(quoted)).Is(text))
	}
}
