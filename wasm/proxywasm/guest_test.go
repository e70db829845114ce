package main_test

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// What the oldest Envoy has of WASI, and what the guest may ask of it: no files, no sockets.
var wasi = []string{
	"args_get", "args_sizes_get", "clock_time_get", "environ_get", "environ_sizes_get",
	"fd_close", "fd_fdstat_get", "fd_fdstat_set_flags", "fd_prestat_dir_name", "fd_prestat_get",
	"fd_read", "fd_seek", "fd_write", "poll_oneoff", "proc_exit", "random_get", "sched_yield",
}

// The calls that the guest makes, each with the number of its parameters. All are 32 bits
// but the second of the two metric calls.
var calls = map[string]int{
	"proxy_log": 3, "proxy_get_current_time_nanoseconds": 1, "proxy_set_tick_period_milliseconds": 1, "proxy_get_buffer_bytes": 5,
	"proxy_get_header_map_pairs": 3, "proxy_remove_header_map_value": 3, "proxy_replace_header_map_value": 5, "proxy_set_property": 4,
	"proxy_send_local_response": 8, "proxy_define_metric": 4, "proxy_increment_metric": 2, "proxy_record_metric": 2,
	"proxy_http_call": 10, "proxy_get_shared_data": 5, "proxy_set_shared_data": 5,
}

func build(t *testing.T) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "proxywasm.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", file, ".")
	for _, kv := range os.Environ() {
		// What a test run is built with (-race, -cover) is not for the guest.
		if name, _, _ := strings.Cut(kv, "="); name != "GOFLAGS" && name != "GOOS" && name != "GOARCH" {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, "GOOS=wasip1", "GOARCH=wasm")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	wasm, err := os.ReadFile(file)
	require.NoError(t, err)
	return wasm
}

// proxy is the least of a proxy that the built guest runs in.
type proxy struct {
	t      *testing.T
	guest  api.Module
	config string
	head   [][2]string
	shared map[string]string

	log        []string
	properties map[string]string
	status     uint32
	details    string
	answer     [][2]string
	body       string
	called     string // cluster
	callHead   [][2]string
}

func (p *proxy) text(data, size uint64) string {
	b, ok := p.guest.Memory().Read(uint32(data), uint32(size))
	require.True(p.t, ok)
	return string(b)
}

func (p *proxy) put(at uint64, n uint32) {
	require.True(p.t, p.guest.Memory().WriteUint32Le(uint32(at), n))
}

// give hands bytes over: it asks the guest for room while a call of the guest's runs.
func (p *proxy) give(text string, data, size uint64) {
	out, err := p.guest.ExportedFunction("proxy_on_memory_allocate").Call(context.Background(), uint64(len(text)))
	require.NoError(p.t, err)
	require.NotZero(p.t, out[0])
	require.True(p.t, p.guest.Memory().WriteString(uint32(out[0]), text))
	p.put(data, uint32(out[0]))
	p.put(size, uint32(len(text)))
}

func pairs(list [][2]string) string {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(list)))
	for _, kv := range list {
		b = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, uint32(len(kv[0]))), uint32(len(kv[1])))
	}
	for _, kv := range list {
		b = append(append(b, kv[0]+"\x00"...), kv[1]+"\x00"...)
	}
	return string(b)
}

func unpair(text string) (list [][2]string) {
	n := int(binary.LittleEndian.Uint32([]byte(text)))
	rest := text[4+8*n:]
	for range n {
		name, after, _ := strings.Cut(rest, "\x00")
		value, after, _ := strings.Cut(after, "\x00")
		list, rest = append(list, [2]string{name, value}), after
	}
	return list
}

// call makes a call of proxy-wasm 0.2.1; s are its parameters.
func (p *proxy) call(name string, s []uint64) uint32 {
	switch name {
	case "proxy_log":
		p.log = append(p.log, p.text(s[1], s[2]))
	case "proxy_get_current_time_nanoseconds":
		p.guest.Memory().WriteUint64Le(uint32(s[0]), uint64(time.Now().UnixNano()))
	case "proxy_get_buffer_bytes":
		p.give(p.config, s[3], s[4])
	case "proxy_get_header_map_pairs":
		p.give(pairs(p.head), s[1], s[2])
	case "proxy_remove_header_map_value":
		name := p.text(s[1], s[2])
		p.head = slices.DeleteFunc(p.head, func(kv [2]string) bool { return kv[0] == name })
	case "proxy_replace_header_map_value":
		name := p.text(s[1], s[2])
		p.head = slices.DeleteFunc(p.head, func(kv [2]string) bool { return kv[0] == name })
		p.head = append(p.head, [2]string{name, p.text(s[3], s[4])})
	case "proxy_set_property":
		p.properties[p.text(s[0], s[1])] = p.text(s[2], s[3])
	case "proxy_send_local_response":
		p.status, p.details, p.body, p.answer = uint32(s[0]), p.text(s[1], s[2]), p.text(s[3], s[4]), unpair(p.text(s[5], s[6]))
		assert.EqualValues(p.t, -1, int32(s[7]))
	case "proxy_http_call":
		p.called, p.callHead = p.text(s[0], s[1]), unpair(p.text(s[2], s[3]))
		p.put(s[9], 42)
	case "proxy_get_shared_data":
		value, ok := p.shared[p.text(s[0], s[1])]
		if !ok {
			return 1
		}
		p.give(value, s[2], s[3])
		p.put(s[4], 1)
	case "proxy_set_shared_data":
		p.shared[p.text(s[0], s[1])] = p.text(s[2], s[3])
	}
	return 0
}

// load runs the built guest, with calls of exactly the declared types.
func load(t *testing.T, wasm []byte) *proxy {
	t.Helper()
	ctx := t.Context()
	// The interpreter: compiling takes longer than all of this, much longer under the race detector.
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	t.Cleanup(func() { r.Close(context.Background()) })
	wasi_snapshot_preview1.MustInstantiate(ctx, r)
	p := &proxy{t: t, shared: map[string]string{}, properties: map[string]string{}}
	env := r.NewHostModuleBuilder("env")
	for name, n := range calls {
		params := slices.Repeat([]api.ValueType{api.ValueTypeI32}, n)
		if strings.HasSuffix(name, "ent_metric") || strings.HasSuffix(name, "record_metric") {
			params[1] = api.ValueTypeI64
		}
		env.NewFunctionBuilder().WithGoFunction(api.GoFunc(func(_ context.Context, stack []uint64) {
			stack[0] = uint64(p.call(name, stack[:n]))
		}), params, []api.ValueType{api.ValueTypeI32}).Export(name)
	}
	_, err := env.Instantiate(ctx)
	require.NoError(t, err)
	p.guest, err = r.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithStartFunctions("_initialize").
		WithSysWalltime().WithSysNanotime().WithRandSource(rand.Reader).WithStderr(os.Stderr))
	require.NoError(t, err)
	return p
}

func (p *proxy) enter(name string, params ...uint64) uint64 {
	p.t.Helper()
	out, err := p.guest.ExportedFunction(name).Call(p.t.Context(), params...)
	require.NoError(p.t, err, name)
	if len(out) == 0 {
		return 0
	}
	return out[0]
}

func (p *proxy) configure(document string) uint64 {
	p.config = document
	require.EqualValues(p.t, 1, p.enter("proxy_on_vm_start", 1, 0))
	p.enter("proxy_on_context_create", 1, 0)
	return p.enter("proxy_on_configure", 1, uint64(len(document)))
}

func (p *proxy) request(context uint64, head ...[2]string) uint64 {
	p.head = append([][2]string{{":method", "GET"}, {":authority", "a"}, {":scheme", "http"}}, head...)
	p.properties = map[string]string{}
	p.enter("proxy_on_context_create", context, 1)
	action := p.enter("proxy_on_request_headers", context, uint64(len(p.head)), 1)
	p.enter("proxy_on_delete", context)
	return action
}

var secret = []byte("0123456789abcdef0123456789abcdef")

func mint() string {
	b64 := base64.RawURLEncoding.EncodeToString
	now := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{"iss": "me", "aud": "api", "sub": "user_1", "sid": "s", "client_id": "c", "jti": "j", "iat": now, "exp": now + 600})
	if err != nil {
		panic(err)
	}
	input := b64([]byte(`{"alg":"HS256","typ":"at+jwt"}`)) + "." + b64(claims)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + b64(mac.Sum(nil))
}

// The built guest, in a proxy that is as small as can be.
func TestGuest(t *testing.T) {
	wasm := build(t)
	t.Logf("%d bytes", len(wasm))
	t.Run("imports and exports", func(t *testing.T) {
		r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
		defer r.Close(context.Background())
		m, err := r.CompileModule(t.Context(), wasm)
		require.NoError(t, err)
		imported := 0
		for _, f := range m.ImportedFunctions() {
			module, name, _ := f.Import()
			if module == "env" {
				imported++
				assert.Contains(t, calls, name)
			} else {
				assert.Equal(t, "wasi_snapshot_preview1", module)
				assert.Contains(t, wasi, name)
			}
		}
		assert.Equal(t, len(calls), imported)
		var exported []string
		for name := range m.ExportedFunctions() {
			exported = append(exported, name)
		}
		assert.ElementsMatch(t, []string{"_initialize", "proxy_abi_version_0_2_1", "proxy_on_memory_allocate", "proxy_on_vm_start", "proxy_on_context_create",
			"proxy_on_configure", "proxy_on_tick", "proxy_on_request_headers", "proxy_on_request_trailers", "proxy_on_http_call_response", "proxy_on_delete"}, exported,
			"one ABI, and no entry that nobody needs")
	})

	policy := `{"version": 1, "policy": {"issuers": [{"issuer": "me", "dialect": "own", "algorithms": ["HS256"], "audience": ["api"]}],
		"rules": [{"path_prefix": "/"}], "identity_headers": {"x-user": "subject"}, "log": ["subject"]},
		"host": {"envoy": {"secrets": {"me": "` + base64.RawURLEncoding.EncodeToString(secret) + `"}}}}`
	t.Run("requests", func(t *testing.T) {
		p := load(t, wasm)
		require.EqualValues(t, 1, p.configure(policy), p.log)
		bearer := [2]string{"authorization", "Bearer " + mint()}
		require.EqualValues(t, 0, p.request(2, [2]string{":path", "/x"}, bearer, [2]string{"x-user", "evil"}, [2]string{"x_user", "evil"}), p.body)
		assert.Equal(t, map[string]string{"subject": "user_1", "gate": "pass"}, p.properties)
		assert.Equal(t, [2]string{"x-user", "user_1"}, p.head[len(p.head)-1])
		assert.NotContains(t, p.head, [2]string{"x_user", "evil"})

		require.EqualValues(t, 1, p.request(3, [2]string{":path", "/x"}))
		assert.EqualValues(t, 401, p.status)
		assert.Equal(t, "missing_token", p.details)
		assert.Contains(t, p.body, `"code":"missing_token"`)
		assert.Contains(t, p.answer, [2]string{"content-type", "application/problem+json"})
		assert.NotContains(t, p.properties, "gate")

		// As large as a proxy may be told to take, and larger than what is kept.
		require.EqualValues(t, 0, p.request(4, [2]string{":path", "/x"}, [2]string{"x-large", strings.Repeat("x", 1<<20)}, bearer))
		require.EqualValues(t, 0, p.request(5, [2]string{":path", "/x"}, bearer))
		out, err := p.guest.ExportedFunction("proxy_on_memory_allocate").Call(t.Context(), 1<<30)
		require.NoError(t, err)
		assert.Zero(t, out[0], "no room for that, and no trap")
		assert.NotZero(t, p.enter("proxy_on_memory_allocate", 0))
	})
	t.Run("faults", func(t *testing.T) {
		p := load(t, wasm)
		require.EqualValues(t, 0, p.configure(strings.Replace(policy, "HS256", "none", 1)))
		require.NotEmpty(t, p.log)
		assert.Contains(t, p.log[0], "/policy/issuers/0/algorithms/0: ")
		require.EqualValues(t, 1, p.request(2, [2]string{":path", "/x"}))
		assert.Equal(t, "internal", p.details)
	})
	t.Run("keys", func(t *testing.T) {
		p := load(t, wasm)
		require.EqualValues(t, 1, p.configure(`{"version": 1, "policy": {"issuers": [{"issuer": "https://me.example", "dialect": "own", "algorithms": ["ES256"],
			"audience": ["api"], "jwks_uri": "https://me.example/keys"}], "rules": [{"path_prefix": "/"}]},
			"host": {"envoy": {"clusters": {"https://me.example": "idp"}}}}`), p.log)
		p.enter("proxy_on_tick", 1)
		require.Equal(t, "idp", p.called)
		assert.Contains(t, p.callHead, [2]string{":path", "/keys"})
		p.head = [][2]string{{":status", "200"}}
		p.config = `{"keys":[{"kty":"EC","crv":"P-256","kid":"k","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`
		p.enter("proxy_on_http_call_response", 1, 42, 1, uint64(len(p.config)), 0)
		assert.Contains(t, strings.Join(p.log, "\n"), "keys updated")
		published := 0
		for _, value := range p.shared {
			if strings.HasSuffix(value, p.config) {
				published++
			}
		}
		assert.Equal(t, 1, published)
	})
}
