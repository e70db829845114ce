package policy_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/verifier/policy"
)

const docsPage = "../../docs/policy.md"

// block is a fenced example of the page; mark says what it is a part of.
type block struct {
	line int
	mark string // "" is a whole document
	text string
}

func readPage(t *testing.T) (lines []string, blocks []block) {
	t.Helper()
	page, err := os.ReadFile(docsPage)
	require.NoError(t, err)
	lines = strings.Split(string(page), "\n")
	open := -1
	for i, line := range lines {
		switch {
		case open < 0 && strings.HasPrefix(line, "```"):
			language, mark, _ := strings.Cut(strings.TrimPrefix(line, "```"), " ")
			require.Equal(t, "json", language, "line %d", i+1)
			blocks = append(blocks, block{line: i + 1, mark: mark})
			open = i
		case line == "```":
			blocks[len(blocks)-1].text = strings.Join(lines[open+1:i], "\n")
			open = -1
		}
	}
	require.Negative(t, open, "an example that does not end")
	return lines, blocks
}

// TestDocsExamples parses every example of the page: whole documents as they are,
// parts inside the least document that they make sense in.
func TestDocsExamples(t *testing.T) {
	_, blocks := readPage(t)
	require.Greater(t, len(blocks), 50)
	s := compileSchema(t)
	for _, b := range blocks {
		t.Run(fmt.Sprintf("line %d", b.line), func(t *testing.T) {
			doc := []byte(b.text)
			kind := "go"
			if b.mark != "" {
				part, ok := decode(t, b.text).(map[string]any)
				require.True(t, ok)
				doc = encode(t, wrap(t, b.mark, part))
				if b.mark == "host" {
					require.Len(t, part, 1)
					kind = slices.Collect(maps.Keys(part))[0]
				}
			}
			for _, kind := range []string{"", kind} {
				_, err := policy.Parse(doc, kind)
				assert.NoError(t, err, "%s", doc)
			}
			assert.NoError(t, validate(t, s, doc))
		})
	}
}

func wrap(t *testing.T, mark string, part map[string]any) any {
	t.Helper()
	doc := load(t, "minimal").(map[string]any)
	in := doc["policy"].(map[string]any)
	issuer := in["issuers"].([]any)[0].(map[string]any)
	switch mark {
	case "policy":
		maps.Copy(in, part)
	case "rule":
		in["rules"] = []any{part}
	case "issuer":
		symmetric := strings.Contains(fmt.Sprint(part["algorithms"]), "HS")
		if symmetric || part["jwks"] != nil || part["jwks_file"] != nil || part["discovery"] != nil {
			delete(issuer, "jwks_uri")
		}
		maps.Copy(issuer, part)
		name := issuer["issuer"].(string)
		if symmetric {
			doc["host"] = map[string]any{"go": map[string]any{"secrets": map[string]any{name: strings.Repeat("A", 86)}}}
		}
		if part["jwks_file"] != nil {
			doc["host"] = map[string]any{"go": map[string]any{"jwks_files": map[string]any{name: "/keys.json"}}}
		}
	case "host":
		// An issuer for each name, of the kind that has a use for the value.
		var issuers []any
		for _, h := range part {
			for member, values := range h.(map[string]any) {
				for name := range values.(map[string]any) {
					is := maps.Clone(issuer)
					is["issuer"] = name
					if strings.HasPrefix(member, "secret") {
						is["algorithms"] = []any{"HS256"}
						delete(is, "jwks_uri")
					}
					issuers = append(issuers, is)
				}
			}
		}
		in["issuers"] = issuers
		doc["host"] = part
	default:
		require.Failf(t, "unknown mark", "%q", mark)
	}
	return doc
}

// TestDocsFields: the page has a heading, with an example, for each member of the
// schema and for no other, and there it says the same bounds, words and defaults.
func TestDocsFields(t *testing.T) {
	var root map[string]any
	require.NoError(t, json.Unmarshal(policy.Schema(), &root))
	at := func(path ...string) map[string]any {
		v := root
		for _, p := range path {
			v = v[p].(map[string]any)
		}
		return v
	}
	lines, _ := readPage(t)
	for title, properties := range map[string]map[string]any{
		"The document": at("properties"),
		"Issuers":      at("$defs", "issuer", "properties"),
		"Requests":     at("properties", "policy", "properties"),
		"Rules":        at("$defs", "rule", "properties"),
		"Hosts":        at("properties", "host", "properties"),
	} {
		fields := map[string]string{}
		section, field := "", ""
		for _, line := range lines {
			if name, ok := strings.CutPrefix(line, "## "); ok {
				section, field = name, ""
			} else if name, ok := strings.CutPrefix(line, "### "); ok && section == title {
				field = strings.Trim(name, "`")
				fields[field] = ""
			} else if field != "" && section == title {
				fields[field] += line + "\n"
			}
		}
		assert.ElementsMatch(t, slices.Collect(maps.Keys(properties)), slices.Collect(maps.Keys(fields)), title)
		for name, text := range fields {
			assert.Contains(t, text, "```json", "%s: no example", name)
			prose, _, _ := strings.Cut(text, "```json")
			says(t, root, title+": "+name, prose, properties[name])
		}
	}
}

// says checks that a text states what a part of the schema holds.
func says(t *testing.T, root map[string]any, name, text string, schema any) {
	t.Helper()
	m, ok := schema.(map[string]any)
	if !ok {
		return
	}
	word := func(v any) string {
		b, err := json.Marshal(v)
		require.NoError(t, err)
		return string(b)
	}
	for _, key := range []string{"minimum", "maximum", "maxItems", "maxProperties"} {
		if v, ok := m[key]; ok && name != "Issuers: algorithms" {
			assert.Regexp(t, `\b`+word(v)+`\b`, text, "%s: %s", name, key)
		}
	}
	if v, ok := m["default"]; ok && !strings.Contains(text, "`"+word(v)+"`") {
		// The long default of sources has spaces for its readers.
		assert.Contains(t, strings.ReplaceAll(strings.ReplaceAll(text, ": ", ":"), ", ", ","), "`"+word(v)+"`", "%s: default", name)
	}
	if words, ok := m["enum"].([]any); ok {
		for _, w := range words {
			assert.Contains(t, text, "`"+word(w)+"`", name)
		}
	}
	if w, ok := m["const"].(string); ok {
		assert.Contains(t, text, "`"+word(w)+"`", name)
	}
	for _, key := range []string{"oneOf", "anyOf"} {
		alternatives, _ := m[key].([]any)
		for _, a := range alternatives {
			says(t, root, name, text, a)
		}
	}
	if inner, ok := m["properties"].(map[string]any); ok && name != "Issuers: jwks" && !strings.HasPrefix(name, "The document") {
		for member := range inner {
			assert.Contains(t, text, "`"+member+"`", "%s: %s is not mentioned", name, member)
		}
	}
}

// TestDocsWords: the page names every algorithm and every field of a claim.
func TestDocsWords(t *testing.T) {
	page, err := os.ReadFile(docsPage)
	require.NoError(t, err)
	for f := policy.FieldIssuer; f <= policy.FieldExpiresAt; f++ {
		assert.Contains(t, string(page), "| `"+policy.Claim{Field: f}.String()+"` |", "in the table of dialects")
	}
	for _, a := range []string{"ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA", "Ed25519", "HS256", "HS384", "HS512"} {
		assert.Contains(t, string(page), "`"+a+"`")
	}
}

// TestDocsPaths runs the table of spellings.
func TestDocsPaths(t *testing.T) {
	lines, _ := readPage(t)
	row := regexp.MustCompile("^\\| `([^`]*)` \\| (passes|bad_path) \\| (?:`([^`]*)`|(bad_path)) \\|$")
	rows := 0
	for _, line := range lines {
		m := row.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		rows++
		spelling := policy.Spell(m[1])
		assert.Equal(t, m[2] == "bad_path", spelling&(policy.Invalid|policy.Loose) != 0, line)
		normal, ok := policy.NormalPath(nil, m[1])
		assert.Equal(t, m[4] != "bad_path", ok, line)
		if ok {
			assert.Equal(t, m[3], string(normal), line)
		}
	}
	assert.Equal(t, 21, rows)
}

// TestDocsLinks: links within the page lead to headings.
func TestDocsLinks(t *testing.T) {
	lines, _ := readPage(t)
	anchors := map[string]bool{}
	for _, line := range lines {
		if h := strings.TrimLeft(line, "#"); h != line {
			anchor := strings.ToLower(strings.Trim(h, " `"))
			anchors[strings.ReplaceAll(anchor, " ", "-")] = true
		}
	}
	links := regexp.MustCompile(`\]\(#([^)]*)\)`).FindAllStringSubmatch(strings.Join(lines, "\n"), -1)
	require.NotEmpty(t, links)
	for _, l := range links {
		assert.True(t, anchors[l[1]], l[1])
	}
}
