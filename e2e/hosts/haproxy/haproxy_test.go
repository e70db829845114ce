package haproxy

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/e2e/matrix"
)

// HAProxy goes on with a request whose action failed. The example lets none through.
func TestActionThatFails(t *testing.T) {
	out, err := exec.Command("../../install-haproxy").Output()
	require.NoError(t, err, "e2e/install-haproxy")
	example, err := os.ReadFile("../../../examples/haproxy/haproxy.cfg")
	require.NoError(t, err)
	reached := 0
	upstream := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ }))
	defer upstream.Close()
	for name, test := range map[string]struct {
		action string
		status int
	}{
		"passes":        {`txn:set_var("txn.sessiongate", "pass")`, 200},
		"does nothing":  {``, 503},
		"another word":  {`txn:set_var("txn.sessiongate", "passed")`, 503},
		"error":         {`error("asked for")`, 503},
		"never ends":    {`while true do end`, 503},
		"out of memory": {`local t = {} while true do t[#t + 1] = string.rep("x", 1048576) .. #t end`, 503},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			script := fmt.Sprintf("core.register_action(\"sessiongate\", { \"http-req\" }, function(txn) %s end, 0)\n", test.action)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "broken.lua"), []byte(script), 0o600))
			var ports [3]int
			for i := range ports {
				ports[i], err = matrix.FreePort()
				require.NoError(t, err)
			}
			config := strings.NewReplacer("lua-load sessiongate.lua", "tune.lua.session-timeout 500ms\n  tune.lua.maxmem 64\n  lua-load broken.lua",
				"server upstream 127.0.0.1:9000", "server upstream "+strings.TrimPrefix(upstream.URL, "http://"),
				"127.0.0.1:10000", fmt.Sprintf("127.0.0.1:%d", ports[0]), "127.0.0.1:10001", fmt.Sprintf("127.0.0.1:%d", ports[1]),
				"bind 127.0.0.1:9000", fmt.Sprintf("bind 127.0.0.1:%d", ports[2])).Replace(string(example))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "haproxy.cfg"), []byte(config), 0o600))
			p, err := matrix.Start(dir, strings.TrimSpace(string(out)), "-db", "-f", "haproxy.cfg")
			require.NoError(t, err)
			defer func() { assert.NoError(t, p.Stop()) }()
			require.NoError(t, p.AwaitPort(20*time.Second, fmt.Sprintf("127.0.0.1:%d", ports[0])))
			reached = 0
			resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", ports[0]))
			require.NoError(t, err, p.Log())
			require.NoError(t, resp.Body.Close())
			assert.Equal(t, test.status, resp.StatusCode, p.Log())
			assert.Equal(t, test.status == 200, reached > 0)
		})
	}
}
