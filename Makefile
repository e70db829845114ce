# sessiongate. `make help` lists the targets; everything needs Go and make alone.

GO        ?= go
GUESTS    := build/guests
# The clock's floor (docs/abi.md): the commit's time, in a checkout that has one.
COMMITTED := $(shell git log -1 --format=%ct 2>/dev/null)
FLOOR     := $(if $(COMMITTED),-X main.buildSeconds=$(COMMITTED))
GUEST_NAMES := $(patsubst wasm/%/main.go,%,$(wildcard wasm/*/main.go))
GUESTFLAGS = -buildmode=c-shared -trimpath
CC_FOUND  := $(shell command -v $${CC:-gcc} 2>/dev/null || command -v clang 2>/dev/null)
# The race detector needs a C compiler; without one the tests run without it.
RACE      := $(if $(CC_FOUND),-race)
STATICCHECK = $(GO) tool -modfile=tools/go.mod staticcheck
FUZZTIME  ?= 3000x
CASES     ?= ../shared/conformance

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  make example-NAME   Run examples/NAME as it stands: $(patsubst examples/%/Makefile,%,$(wildcard examples/*/Makefile))"

.PHONY: build
build: guests ## Build bin/sessiongate, with the guests inside
	$(GO) build -trimpath -o bin/sessiongate ./cmd/sessiongate

.PHONY: guests
guests: ## Build the WebAssembly guests into build/guests
	@mkdir -p $(GUESTS)
	@for guest in $(GUEST_NAMES); do \
	  echo "build $(GUESTS)/$$guest.wasm"; \
	  GOOS=wasip1 GOARCH=wasm $(GO) build $(GUESTFLAGS) -ldflags="-s -w $(FLOOR)" -o $(GUESTS)/$$guest.wasm ./wasm/$$guest || exit 1; \
	  cp $(GUESTS)/$$guest.wasm cmd/sessiongate/guests/; \
	done

.PHONY: demo
demo: build ## Show the main job from start to finish, in about half a minute
	@bin/sessiongate demo

.PHONY: test
test: lint ## Run every test and linter; the race detector too where a C compiler is
	@echo "race detector: $(if $(RACE),on,OFF: no C compiler found)"
	$(GO) test $(RACE) -timeout 30m ./...
	cd examples/embed && $(MAKE) --no-print-directory test GO="$(GO)"

.PHONY: lint
lint: ## gofmt, go vet, staticcheck
	@out=$$(gofmt -l $$(git ls-files '*.go' 2>/dev/null || find . -name '*.go')); [ -z "$$out" ] || { echo "gofmt would change: $$out"; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags conformance ./verifier/... ./cmd/conformance ./host/...
	$(STATICCHECK) ./...
	$(STATICCHECK) -tags conformance ./verifier/... ./cmd/conformance

.PHONY: js
js: ## Put the guest into the npm package in wasm/js
	GOOS=wasip1 GOARCH=wasm $(GO) build $(GUESTFLAGS) -ldflags="-s -w $(FLOOR)" -o wasm/js/core.wasm ./wasm/core

.PHONY: js-test
js-test: js ## Test the npm package with Node (20 and up)
	@mkdir -p $(GUESTS)
	GOOS=wasip1 GOARCH=wasm $(GO) build -tags conformance $(GUESTFLAGS) -ldflags="-s -w" -o $(GUESTS)/core-conformance.wasm ./wasm/core
	$(GO) run ./internal/cases/export > build/cases.json
	cd wasm/js && node --test

.PHONY: conformance
conformance: guests ## Build bin/conformance and judge the independent cases with it
	.ci/conformance $(CASES)

.PHONY: e2e
e2e: build ## Real proxies: their tests and one matrix of requests; HOSTS=envoy,nginx runs some
	$(MAKE) -C e2e e2e GO="$(GO)" HOSTS="$(HOSTS)"

.PHONY: matrix
matrix: build ## The matrix alone, written to build/e2e/matrix.md; HOSTS=envoy,nginx runs some
	$(MAKE) -C e2e matrix GO="$(GO)" HOSTS="$(HOSTS)"

# example-envoy, example-nginx, …: runs examples/NAME as it stands.
.PHONY: example-%
example-%: build
	$(MAKE) -C examples/$* run

.PHONY: fuzz
fuzz: ## Run every fuzz target FUZZTIME times (3000x), or for FUZZTIME (20s)
	@for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "fuzz $$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
	  done; done

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin build cmd/sessiongate/guests/*.wasm
