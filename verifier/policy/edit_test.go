package policy_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const policies = "../../testdata/policies"

// load reads a document of testdata/policies/valid as a tree to be edited.
func load(t testing.TB, name string) any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(policies, "valid", name+".json"))
	require.NoError(t, err)
	return decode(t, string(text))
}

func decode(t testing.TB, text string) (v any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	require.NoError(t, d.Decode(&v), text)
	return v
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	require.NoError(t, e.Encode(v))
	return b.Bytes()
}

// edit applies edits of the form "/pointer value": the value, which is JSON, takes
// the place of what is there or is added ("-" is the end of a list); without a value
// the member goes. The tree is changed and returned.
func edit(t testing.TB, tree any, edits ...string) any {
	t.Helper()
	for _, e := range edits {
		pointer, value, _ := strings.Cut(e, " ")
		parts := strings.Split(pointer, "/")[1:]
		for i, p := range parts {
			parts[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(p)
		}
		tree = change(t, tree, parts, value)
	}
	return tree
}

func change(t testing.TB, tree any, parts []string, value string) any {
	t.Helper()
	if len(parts) == 0 {
		return decode(t, value)
	}
	last := len(parts) == 1
	switch in := tree.(type) {
	case map[string]any:
		if last && value == "" {
			require.Contains(t, in, parts[0])
			delete(in, parts[0])
			return in
		}
		if !last {
			require.Contains(t, in, parts[0])
		}
		in[parts[0]] = change(t, in[parts[0]], parts[1:], value)
		return in
	case []any:
		if parts[0] == "-" {
			return append(in, decode(t, value))
		}
		i, err := strconv.Atoi(parts[0])
		require.NoError(t, err)
		require.Less(t, i, len(in))
		if last && value == "" {
			return append(in[:i:i], in[i+1:]...)
		}
		in[i] = change(t, in[i], parts[1:], value)
		return in
	}
	require.Failf(t, "no such place", "%v", parts)
	return nil
}
