# Everything needs Go and nothing else, unless a target says so.

GO      ?= go
TOOLS   := $(CURDIR)/.cache/bin
LINT    := $(TOOLS)/golangci-lint
LINT_AT := v2.15.0
BROWSER := ./examples/browser
HAVE_BROWSER := $(wildcard examples/browser/*.go)
# All packages but the walk through a browser, which is driven without the race detector.
PACKAGES = $(shell $(GO) list ./... | grep -v '/examples/browser')

.DEFAULT_GOAL := help
.PHONY: help run build release test race check bench fuzz chaos golden journey sdk fmt setup lint tidy generated arrows

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## build and start everything with demo data
	./souk demo

build: ## build ./souk
	$(GO) build -trimpath -o souk .

release: ## build ./souk as for a server: by a profile of the gateway, which takes longer
	$(GO) build -trimpath -pgo=examples/bench/solo/default.pgo -o souk .

test: setup ## all tests with the race detector, the gateway's without it too, the walk through a browser
	$(GO) test -race -timeout 20m $(PACKAGES)
	$(GO) test -timeout 10m ./gateway/... # allocations and sizes, which the race detector changes
ifneq ($(HAVE_BROWSER),)
	$(GO) test -timeout 10m $(BROWSER)/...
endif

race: ## all tests with the race detector, ten times
	$(GO) test -race -count=10 -timeout 100m $(PACKAGES)

check: lint arrows tidy generated ## what CI runs beside the tests: format, vet, lint, arrows, go.mod, generated files

bench: ## the gateway beside nginx and haproxy (Debian's), if they are there, and benchmarks of the rooms
	$(GO) run ./examples/bench/beside
	$(GO) test -run '^$$' -bench . -benchtime 1s -benchmem ./signer/... ./gateway/... ./console/... ./sdkgen/...
	$(GO) test -run '^$$' -bench . -benchtime 3s ./examples/bench

fuzz: ## each fuzz target of the wire for a minute
	for f in FuzzRequests FuzzResponses FuzzBodies; do $(GO) test ./gateway/wire -run '^$$' -fuzz "^$$f\$$" -fuzztime 60s -fuzzminimizetime 1s || exit 1; done

chaos: ## what takes long: twenty upgrades under load, 18 000 idle callers, bodies of 10 GiB, each fuzz target for a minute
	SOUK_UPGRADES=20 SOUK_UPGRADE_CALLS=100000 $(GO) test -count=1 -v -timeout 10m -run UpgradesUnderLoad ./examples/command
	SOUK_IDLE=18000 $(GO) test -count=1 -v -timeout 5m -run IdleCallers ./examples/command
	SOUK_BODY=10737418240 $(GO) test -count=1 -v -timeout 20m -run LargeBodies ./gateway
	$(MAKE) fuzz

golden: ## rewrite golden files; look at the difference
	$(GO) test ./sdkgen/lang/... -update

journey: ## the examples, end to end
	$(GO) test -count=1 -v ./examples/journey/...

sdk: ## generate and test every SDK whose language is installed
	$(GO) test -count=1 ./sdkgen/...

fmt: ## format all Go files
	gofmt -w $$(git ls-files '*.go')

# The browser walk needs a browser and fonts, the Python SDK a Python, the race detector a
# C compiler.
setup:
	@missing=; \
	command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || missing="$$missing chromium"; \
	command -v python3 >/dev/null || missing="$$missing python3"; \
	command -v gcc >/dev/null || missing="$$missing gcc libc6-dev"; \
	[ -n "$$(fc-list :lang=zh 2>/dev/null | head -n 1)" ] || missing="$$missing fontconfig fonts-noto-cjk"; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
		else \
			echo "The tests need more: sudo apt-get install -y --no-install-recommends$$missing"; exit 1; \
		fi; \
	fi

lint: $(LINT)
	@bad=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$bad" ] || { echo "not formatted, run make fmt:"; echo "$$bad"; exit 1; }
	$(GO) vet ./...
	$(LINT) run ./...

$(LINT):
	GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_AT)

arrows:
	$(GO) test -count=1 -run 'Arrows|Explained' ./console/standard

tidy:
	$(GO) mod tidy -diff

generated:
	@before=$$(git diff | cksum); $(GO) generate ./... || exit 1; \
	[ "$$before" = "$$(git diff | cksum)" ] || { echo "generated files were not current; look at git diff"; exit 1; }
