# metaim: `make demo` shows it, `make test` checks it. `make` alone lists the rest.
GO ?= go
BIN := bin/metaim
FUZZTIME ?= 20s

.DEFAULT_GOAL := help
.PHONY: help demo test race lint fuzz bench build

help: ## list what there is to make
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/metaim
	@$(GO) build -o $(BIN) ./cmd/metaim

demo: build ## start a node and a server, send messages, stay up (ONCE=1: end by itself)
	@$(BIN) demo $(if $(ONCE),--once)

test: lint race ## vet, staticcheck, gofmt, then every test with the race detector

race: ## every test with the race detector
	$(GO) test -race -timeout 20m ./...

lint: ## gofmt, vet, staticcheck
	@files=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	if [ -n "$$files" ]; then echo "not formatted by gofmt:"; echo "$$files"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

fuzz: ## every fuzz target for FUZZTIME (20s) each
	@set -e; $(GO) list -f '{{.Dir}}' ./... | while read -r dir; do \
	  for target in $$(grep -rhoE --include='*_test.go' --exclude-dir='[a-z]*' '^func Fuzz[A-Za-z0-9_]+' "$$dir" | sed 's/func //' | sort -u); do \
	    echo "$$target in $$dir"; (cd "$$dir" && $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) .); \
	  done; \
	done

bench: ## the benchmarks that stand beside the code
	$(GO) test -run '^$$' -bench . -benchmem ./...
