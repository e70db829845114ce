// Package envoy is the driver of examples/envoy: the guest inside Envoy.
package envoy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"sessiongate/e2e/matrix"
)

func init() {
	matrix.Register(matrix.Host{Name: "envoy", Start: start, Adjust: adjust,
		NotOn: map[string]string{
			"no_rule: a method in lower case":        "Envoy answers 400 by itself",
			"keep-alive: bodies of refused requests": "Envoy closes the connection of a request that is answered before its body has come",
		},
	})
}

// adjust: Envoy takes the type off an answer without body, unless it is one to gRPC.
func adjust(_ *matrix.Row, want *matrix.Cell) {
	if !want.Admitted && want.Body == "" && want.Header["content-type"] != "application/grpc" {
		delete(want.Header, "content-type")
	}
}

// start renders the example as its Makefile does, with the stage's policy. What Envoy itself does to paths and
// names before the guest sees them is switched off: the rows are about the guest. Trailers of HTTP/1.1 are switched on.
func start(ctx context.Context, s *matrix.Stage) (*matrix.Running, error) {
	out, err := exec.CommandContext(ctx, filepath.Join(s.Top(), "e2e/install-envoy")).Output()
	if err != nil {
		return nil, fmt.Errorf("install-envoy: %w", err)
	}
	guest, err := s.Guest("./wasm/proxywasm")
	if err != nil {
		return nil, err
	}
	public, err := matrix.FreePort()
	if err != nil {
		return nil, err
	}
	const protocols = `    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        use_downstream_protocol_config: {http_protocol_options: {enable_trailers: true}, http2_protocol_options: {}}
`
	config, err := s.Replace("examples/envoy/envoy.yaml",
		"port_value: 9901", "port_value: 0",
		"port_value: 10000", fmt.Sprintf("port_value: %d", public),
		"address: {socket_address: {address: 127.0.0.1, port_value: 9000}}\n    filter_chains", "address: {socket_address: {address: 127.0.0.1, port_value: 0}}\n    filter_chains",
		"port_value: 9000", "port_value: "+port(s.Upstream),
		"port_value: 8080", "port_value: "+port(s.Issuers),
		"  - name: upstream\n    connect_timeout: 1s\n", "  - name: upstream\n    connect_timeout: 1s\n"+protocols,
		"- name: issuer\n", "- name: issuers\n", "cluster_name: issuer\n", "cluster_name: issuers\n",
		"normalize_path: true", "normalize_path: false", "merge_slashes: true", "merge_slashes: false",
		"path_with_escaped_slashes_action: REJECT_REQUEST", "path_with_escaped_slashes_action: KEEP_UNCHANGED",
		"DROP_HEADER", "ALLOW",
		// Some answers do not tell the Reason to the client; here all do.
		"          stat_prefix: public\n", `          stat_prefix: public
          http_protocol_options: {enable_trailers: true}
          local_reply_config:
            mappers:
            - filter: {status_code_filter: {comparison: {op: GE, value: {default_value: 200, runtime_key: none}}}}
              headers_to_add: [{header: {key: x-sessiongate-reason, value: "%FILTER_STATE(wasm.reason:PLAIN)%"}}]
`)
	if err != nil {
		return nil, err
	}
	head, err := s.Replace("examples/envoy/filter.head.yaml", "filename: proxywasm.wasm", "filename: "+guest)
	if err != nil {
		return nil, err
	}
	for name, text := range map[string]string{"envoy.yaml": config, "filter.yaml": head + "          " + string(s.Policy) + "\n"} {
		if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	p, err := matrix.Start(s.Dir, strings.TrimSpace(string(out)), "-c", "envoy.yaml", "--concurrency", "2", "--use-dynamic-base-id",
		"--file-flush-interval-msec", "50", "--log-level", "warning", "--component-log-level", "wasm:info")
	if err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", public)
	// Envoy compiles the guest before it listens.
	if err := p.AwaitPort(3*time.Minute, address); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return &matrix.Running{URL: "http://" + address, H2: "http://" + address, Stop: p.Stop, Log: p.Log}, nil
}

func port(url string) string { return url[strings.LastIndexByte(url, ':')+1:] }
