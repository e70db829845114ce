module sessiongate/e2e

go 1.26.4

require (
	github.com/http-wasm/http-wasm-host-go v0.7.0
	github.com/stretchr/testify v1.12.1
	github.com/tetratelabs/wazero v1.12.0
	sessiongate v0.0.0
)

require (
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace sessiongate => ..
