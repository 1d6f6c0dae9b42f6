# metaim: `make demo` shows it, `make test` checks it. `make` alone lists the rest.
GO ?= go
BIN := bin/metaim
FUZZTIME ?= 20s
SEED ?= 1
RUNS ?= 100000
MINUTES ?= 30
RATE ?= 500

.DEFAULT_GOAL := help
.PHONY: help demo test race lint fuzz bench build security simulate reliability libsecp256k1 release soak platforms

help: ## list what there is to make
	@awk -F':.*## ' '/^[a-z0-9]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/metaim
	@$(GO) build -o $(BIN) ./cmd/metaim

demo: build ## start a node and a server, send messages, stay up (ONCE=1: end by itself)
	@$(BIN) demo $(if $(ONCE),--once)

test: lint race ## vet, staticcheck, gofmt, then every test with the race detector

# SQLite is C turned into Go, which the race detector makes twenty times as slow:
# index/sqlite and internal/reliability, which hardly do anything else, are tested
# without it, and what runs side by side in them with it.
SLOW := /index/sqlite$$|/internal/reliability$$
race: ## every test, with the race detector
	$(GO) test ./index/sqlite ./internal/reliability
	$(GO) test -race -run '^TestConformance/(readers_beside|a_view_that)|^TestSecondWriter|^TestDatabaseDownAndBack' ./index/sqlite ./internal/reliability
	$(GO) test -race -timeout 20m $$($(GO) list ./... | grep -vE '$(SLOW)')

lint: ## gofmt, vet, staticcheck
	@files=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	if [ -n "$$files" ]; then echo "not formatted by gofmt:"; echo "$$files"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

fuzz: ## every fuzz target for FUZZTIME (20s) each
	@set -e; $(GO) list -f '{{.Dir}}' ./... | while read -r dir; do \
	  for target in $$(grep -rhoE --include='*_test.go' --exclude-dir='[a-z]*' '^func Fuzz[A-Za-z0-9_]+' "$$dir" | sed 's/func //' | sort -u); do \
	    echo "$$target in $$dir"; (cd "$$dir" && $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 200x .); \
	  done; \
	done

bench: ## measure against limits and peers, write docs/benchmarks.md (QUICK=1: just run it, ONLY=name, TAGS=libsecp256k1)
	$(GO) run $(if $(TAGS),-tags $(TAGS)) ./bench $(if $(QUICK),-quick) $(if $(ONLY),-only '$(ONLY)')

libsecp256k1: ## test what verifies signatures with the C library instead of pure Go
	@pkg-config --exists libsecp256k1 || { apt-get update -q && apt-get install -y -q --no-install-recommends libsecp256k1-dev pkg-config; }
	$(GO) test -tags libsecp256k1 ./improtocol/frame ./improtocol ./index ./index/memory ./chainwatch

security: ## known vulnerabilities (govulncheck, where its database can be reached) and careless code (gosec)
	@.ci/security

simulate: ## play RUNS (100000) scenarios from SEED (1) against the naive oracle
	$(GO) run ./internal/simulate/run -seed $(SEED) -runs $(RUNS)

reliability: ## the long form of the reliability tests: kills, reorganisations, giants, subscribers
	METAIM_LONG=1 $(GO) test -v -timeout 3h ./internal/reliability ./internal/e2e ./internal/simulate

platforms: ## vet the program for Windows, the system least like the one that the tests run on
	GOOS=windows GOARCH=amd64 CGO_ENABLED=0 $(GO) vet ./cmd/metaim

release: ## build the archives of VERSION (1.2.3) for all systems into dist
	$(GO) run ./internal/release -version '$(VERSION)'

soak: ## run a server under load for MINUTES (30) at RATE (500) messages a second (STORE=postgres://...)
	$(GO) run ./bench/soak -minutes $(MINUTES) -rate $(RATE) $(if $(STORE),-store '$(STORE)')
