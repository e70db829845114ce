package sessiongatecaddy

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The directive comes behind rewrites and before everything else that handles a
// request, wherever it stands.
func TestAdapt(t *testing.T) {
	source, err := os.ReadFile("testdata/sites.Caddyfile")
	require.NoError(t, err)
	assert.Equal(t, string(caddyfile.Format(source)), string(source), "caddy fmt would change it")
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt(source, nil)
	require.NoError(t, err)
	assert.Empty(t, warnings)
	var got bytes.Buffer
	require.NoError(t, json.Indent(&got, config, "", "  "))
	want, err := os.ReadFile("testdata/sites.json")
	require.NoError(t, err)
	assert.JSONEq(t, string(want), got.String(), "%s", got.String())
}

func TestCaddyfileErrors(t *testing.T) {
	for _, tt := range []struct{ directive, want string }{
		{"sessiongate", "option policy is missing"},
		{"sessiongate {\n}", "option policy is missing"},
		{"sessiongate * policy.json", `unexpected argument "policy.json"`},
		{"sessiongate {\n policy\n}", "wrong argument count"},
		{"sessiongate {\n policy a b\n}", "wrong argument count"},
		{"sessiongate {\n policy a\n policy b\n}", `option "policy" stands there twice`},
		{"sessiongate {\n policy a\n instances many\n}", `instances: "many" is no number`},
		{"sessiongate {\n policy a\n instances 0\n}", `instances: "0" is no number`},
		{"sessiongate {\n policy a\n modul core.wasm\n}", `unknown option "modul"; accepted: policy, module, instances, cache_dir`},
	} {
		_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte("http://a.example {\n"+tt.directive+"\n}\n"), nil)
		assert.ErrorContains(t, err, tt.want, tt.directive)
	}
}

// What a Caddyfile cannot say, JSON can.
func TestOptions(t *testing.T) {
	old := Guest
	Guest = nil
	defer func() { Guest = old }()
	_, err := (&Gate{Instances: -1, Module: "/none"}).module()
	for _, part := range []string{"policy: is missing", "instances: is negative", "module: open /none"} {
		assert.ErrorContains(t, err, part)
	}
	_, err = (&Gate{Policy: "p"}).module()
	assert.ErrorContains(t, err, "this program carries no guest")
	Guest = []byte("guest")
	module, err := (&Gate{Policy: "p"}).module()
	require.NoError(t, err)
	assert.Equal(t, "guest", string(module))
}

// The example is as caddy fmt wants it, and has no option that Caddy does not know.
func TestExample(t *testing.T) {
	source, err := os.ReadFile("../examples/caddy/Caddyfile")
	require.NoError(t, err)
	assert.Equal(t, string(caddyfile.Format(source)), string(source), "caddy fmt would change it")
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt(source, nil)
	require.NoError(t, err)
	assert.Empty(t, warnings)
	judged, forwarded := bytes.Index(config, []byte(`"handler":"sessiongate"`)), bytes.Index(config, []byte(`"handler":"reverse_proxy"`))
	assert.Positive(t, judged)
	assert.Less(t, judged, forwarded)
}
