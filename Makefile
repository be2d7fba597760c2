# make help lists the targets.
.DEFAULT_GOAL := help
.PHONY: help build test quick check demo bench fuzz docs clean

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build ./gateway, static
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o gateway ./cmd/gateway

test: ## run all tests, with real clients (what CI runs)
	./test.sh

quick: ## run the tests that need nothing but Go
	./test.sh quick

check: test ## run before a change is sent

demo: ## start a gateway on loopback with two accounts, and show what happens
	go run ./cmd/gateway demo

bench: ## measure beside OpenSSH, Postfix and four FTP servers, and print tables
	go run ./bench

docs: ## write docs/config.md anew from the settings
	go run ./cmd/gateway config reference > docs/config.md

clean: ## remove what was built
	rm -rf gateway .tools
