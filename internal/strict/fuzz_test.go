package strict_test

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"sessiongate/internal/strict"
	"sessiongate/verdict"
)

var fuzzLimits = strict.Limits{Bytes: 1 << 16, Depth: 32, Members: 256}

// FuzzParse holds the parser against encoding/json: what it accepts is valid and
// means the same; what it refuses alone, it refuses for a reason of this list.
func FuzzParse(f *testing.F) {
	for _, text := range []string{`null`, ` [true , false] `, `-0.5e+10`, `"\u00e9\ud83d\ude00\n"`, `{"a":{"b":[1,2,{"":null}]},"\u0061b":"x"}`, `{"a":1,"a":2}`,
		`"\ud800"`, `"\ud800\ud800\udc00"`, "\"\xff\"", `[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]`, `{"a":1,}`, `[1,]`, "1e400", `{"\u0061":1,"a":2}`,
		`{"a":{"a":1},"b":[{"a":1,"b":{"c":1}}]}`, "\ufeff{}", `"\\ud800"`, `{"iss":"https://issuer.test","exp":1700000050.25,"aud":["api"]}`} {
		f.Add([]byte(text))
	}
	var d strict.Doc
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		reason := d.Parse(text, fuzzLimits)
		require.Equal(t, before, text, "the text is only read")
		var want any
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		err := decoder.Decode(&want)
		valid := json.Valid(text)
		if reason != verdict.None {
			require.NotEmpty(t, d.ErrorText())
			require.LessOrEqual(t, d.ErrorOffset(), len(text))
			require.Equal(t, strict.Invalid, d.Root().Kind())
			if valid {
				require.NotEmpty(t, explanation(text), "refused alone: %s at %d, wanted %s", reason, d.ErrorOffset(), d.ErrorText())
			}
			return
		}
		require.True(t, valid, "accepted alone")
		require.NoError(t, err)
		require.Empty(t, explanation(text), "accepted against the rules")
		got := read(t, d.Root())
		require.True(t, reflect.DeepEqual(want, got), "%v is not %v", got, want)
	})
}

// read turns a value into what encoding/json makes of it.
func read(t *testing.T, v strict.Value) any {
	n := 0
	defer func() { require.Equal(t, n, v.Len()) }()
	switch v.Kind() {
	case strict.Null:
		return nil
	case strict.False, strict.True:
		return v.Kind() == strict.True
	case strict.Number:
		return json.Number(v.Raw())
	case strict.String:
		text, ok := v.Text()
		require.True(t, ok)
		again, _ := v.AppendText([]byte("x"))
		require.Equal(t, "x"+text, string(again))
		require.True(t, v.Is(text))
		return text
	case strict.Array:
		list := []any{}
		for e := v.First(); e.Kind() != strict.Invalid; e = e.Next() {
			list = append(list, read(t, e))
			n++
		}
		return list
	}
	object := map[string]any{}
	for m := v.First(); m.Kind() != strict.Invalid; m = m.Next() {
		object[m.Key()] = read(t, m)
		require.Equal(t, m.Raw(), v.Member(m.Key()).Raw())
		n++
	}
	return object
}

var (
	pairs = regexp.MustCompile(`(?i)\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}`)
	lone  = regexp.MustCompile(`(?i)\\ud[89a-f]`)
	plain = regexp.MustCompile(`\\[^u]`)
)

// explanation says why a valid text is refused all the same; "" if it should not be.
func explanation(text []byte) string {
	switch {
	case len(text) > fuzzLimits.Bytes:
		return "length"
	case !utf8.Valid(text):
		return "UTF-8"
	case lone.Match(pairs.ReplaceAll(plain.ReplaceAll(text, nil), nil)):
		return "lone surrogate"
	}
	var open []map[string]bool
	var names []bool // a name comes next
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	for {
		token, err := decoder.Token()
		if err == io.EOF || err != nil {
			return ""
		}
		if top := len(open) - 1; top >= 0 && open[top] != nil {
			if name, is := token.(string); is && names[top] {
				if open[top][name] {
					return "duplicate"
				}
				if open[top][name] = true; len(open[top]) > fuzzLimits.Members {
					return "members"
				}
				names[top] = false
				continue
			}
			names[top] = true
		}
		switch token {
		case json.Delim('{'):
			open, names = append(open, map[string]bool{}), append(names, true)
		case json.Delim('['):
			open, names = append(open, nil), append(names, false)
		case json.Delim('}'), json.Delim(']'):
			open, names = open[:len(open)-1], names[:len(names)-1]
		}
		if len(open) > fuzzLimits.Depth {
			return "depth"
		}
	}
}

// FuzzMillis holds dates against rational arithmetic.
func FuzzMillis(f *testing.F) {
	for _, text := range []string{"0", "-0", "1700000050.25", "1.7e9", "253402300799.9991", "-1e-9", "1e400", "0.00012e3"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var d strict.Doc
		if d.Parse([]byte(text), strict.Limits{Bytes: 200}) != verdict.None || d.Root().Kind() != strict.Number {
			return
		}
		number := string(d.Root().Raw())
		if at := strings.IndexAny(number, "eE"); at >= 0 && len(strings.TrimLeft(number[at+1:], "+-0")) > 3 {
			return // rational arithmetic would take its time
		}
		want, wantOK := millis(number)
		got, ok := d.Root().Millis()
		require.Equal(t, wantOK, ok, number)
		require.Equal(t, want, got, number)
	})
}

// FuzzPointer: a pointer that is built from a document finds the place it was
// built from, and none panics.
func FuzzPointer(f *testing.F) {
	f.Add(`{"a/b":[{"~":1}]}`, "/a~1b/0/~0")
	f.Add(`[]`, "/0")
	f.Fuzz(func(t *testing.T, text, pointer string) {
		var d strict.Doc
		if d.Parse([]byte(text), fuzzLimits) != verdict.None {
			return
		}
		if found := d.Root().Pointer(pointer); found.Kind() != strict.Invalid {
			require.True(t, pointer == "" || pointer[0] == '/')
		}
		var walk func(v strict.Value, at string)
		walk = func(v strict.Value, at string) {
			require.True(t, strict.ValidPointer(at))
			require.Equal(t, v.Offset(), d.Root().Pointer(at).Offset(), at)
			i := 0
			for c := v.First(); c.Kind() != strict.Invalid; c = c.Next() {
				name := strings.NewReplacer("~", "~0", "/", "~1").Replace(c.Key())
				if v.Kind() == strict.Array {
					name = json.Number(itoa(i)).String()
				}
				walk(c, at+"/"+name)
				i++
			}
		}
		walk(d.Root(), "")
	})
}

func itoa(i int) string {
	b, _ := json.Marshal(i)
	return string(b)
}
