package envoy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"sessiongate/verifier/policy"
)

// TestOldestVersion loads the guest and the example into the oldest Envoy that they are for.
func TestOldestVersion(t *testing.T) {
	p := start(t, setup{version: "1.36.2"})
	p.ready()
	t.Run("accepts", p.on(accepts))
	t.Run("refuses", p.on(refuses))
	t.Run("spoofing", p.on(spoofing))
	t.Run("observation", p.on(observation))
}

// inline is the example with the filter in envoy.yaml itself: Envoy's validation mode
// does not look at ECDS resources.
func inline(p *proxy, policy object) string {
	text := p.read("envoy.yaml")
	head := p.read("filter.head.yaml")
	_, filter, ok := strings.Cut(head, "  typed_config:\n")
	require.True(p.t, ok)
	filter = "            typed_config:\n" + indent(strings.Replace(filter, "proxywasm.wasm", must(p.t, built[""]), 1)+"          "+string(marshal(policy))+"\n", 10)
	start := strings.Index(text, "            config_discovery:\n")
	end := strings.Index(text, "          # Envoy can skip")
	require.True(p.t, start > 0 && end > start)
	return text[:start] + filter + text[end:]
}

func indent(text string, n int) (out string) {
	for line := range strings.Lines(text) {
		out += strings.Repeat(" ", n) + line
	}
	return out
}

func must(t testing.TB, f func() (string, error)) string {
	t.Helper()
	s, err := f()
	require.NoError(t, err)
	return s
}

// The examples pass Envoy's own validation, which configures the guest; a policy with a fault does not.
func TestValidate(t *testing.T) {
	p := &proxy{t: t, dir: t.TempDir()}
	policy, err := os.ReadFile("../../examples/envoy/policy.json")
	require.NoError(t, err)
	validate := func(text string) (string, error) {
		out, err := exec.Command(binary(t, ""), "--mode", "validate", "-c", p.write("envoy.yaml", text)).CombinedOutput()
		return string(out), err
	}
	good := inline(p, object{"PLACE": 1})
	good = strings.Replace(good, `{"PLACE":1}`, strings.Join(strings.Fields(string(policy)), " "), 1)
	out, err := validate(good)
	require.NoError(t, err, out)
	assert.Contains(t, out, "OK")
	out, err = validate(strings.Replace(good, `"ES256"`, `"none"`, 1))
	assert.Error(t, err)
	assert.Contains(t, out, "configuration: /policy/issuers/0/algorithms/0: ")
	out, err = validate(p.read("jwt_authn.yaml"))
	require.NoError(t, err, out)

	p.write("filter.yaml", "")
	cmd := exec.Command(binary(t, ""), "--mode", "validate", "-c", p.write("envoy.yaml", p.read("envoy.yaml")))
	cmd.Dir = p.dir
	text, err := cmd.CombinedOutput()
	require.NoError(t, err, string(text))
	assert.FileExists(t, filepath.Join(p.dir, "filter.yaml"))
}

// TestJWTAuthn holds what examples/envoy/README.md says about Envoy's own filter.
func TestJWTAuthn(t *testing.T) {
	p := start(t, setup{file: "jwt_authn.yaml", edit: func(text string) string {
		text = strings.ReplaceAll(text, "audiences: [example]", "audiences: [test]")
		return strings.ReplaceAll(text, "cache_duration: 300s", "cache_duration: 1s")
	}})
	token := p.issuer.Mint(object{"roles": []string{"dev", "ops"}})
	p.await(soon, "keys are there", func() bool { return p.get("/app", bearer(token)...).status == 200 })
	r := p.get("/app", append(bearer(token), "x-user-id: evil")...)
	assert.Equal(t, []string{"user_1"}, r.saw.Header["X-User-Id"])
	assert.Equal(t, 401, p.get("/app").status)
	assert.Equal(t, 403, p.get("/admin", bearer(token)...).status)
	assert.Equal(t, 200, p.get("/admin", bearer(p.issuer.Mint(object{"permissions": []string{"admin"}}))...).status)

	r = p.get("/app", bearer(token)...)
	assert.Equal(t, []string{"WyJkZXYiLCJvcHMiXQ=="}, r.saw.Header["X-User-Roles"], "a list is base64 of JSON")
	p.issuer.Rotate("RS256")
	p.await(soon, "a key of another algorithm is taken", func() bool { return p.get("/app", bearer(p.issuer.Mint(nil))...).status == 200 })
	r = p.get("/app", bearer("x.y.z")...)
	assert.Equal(t, "Jwt header is an invalid Base64url encoded", r.body)
	p.issuer.SetDown(true)
	time.Sleep(5 * time.Second)
	assert.Equal(t, 200, p.get("/app", bearer(token)...).status, "keys do not age")
}

// The manifests for Istio are not run, but what can be held against the example is.
func TestIstioManifests(t *testing.T) {
	read := func(name string) (v struct {
		Spec struct {
			PluginConfig  object `yaml:"pluginConfig"`
			ConfigPatches []struct {
				Patch struct{ Value object }
			} `yaml:"configPatches"`
		}
	}) {
		text, err := os.ReadFile("../../examples/istio/" + name)
		require.NoError(t, err)
		require.NoError(t, yaml.Unmarshal(text, &v))
		return v
	}
	_, err := policy.Parse(marshal(read("wasmplugin.yaml").Spec.PluginConfig), "envoy")
	require.NoError(t, err)
	rules := marshal(read("mark.yaml").Spec.ConfigPatches[0].Patch.Value["typed_config"])
	assert.JSONEq(t, `{"@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC", "rules": {"action": "ALLOW", "policies": {"passed": {
		"permissions": [{"any": true}], "principals": [{"filter_state": {"key": "wasm.gate", "string_match": {"exact": "pass"}}}]}}}}`, string(rules))
	assert.Contains(t, (&proxy{t: t}).read("envoy.yaml"), "principals: [{filter_state: {key: wasm.gate, string_match: {exact: pass}}}]")
}
