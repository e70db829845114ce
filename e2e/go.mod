module sessiongate/e2e

go 1.26.4

require (
	github.com/stretchr/testify v1.12.1
	sessiongate v0.0.0
)

require go.yaml.in/yaml/v3 v3.0.5 // indirect

replace sessiongate => ..
