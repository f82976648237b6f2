# What one runs. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
TESTBED ?= $(CURDIR)/target/testbed
export ARTIFACTAPI_TESTBED := $(TESTBED)

.PHONY: help run test unit testbed corpus lint deps deploy bench flip fuzz

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

run: ## Serve config/remotes.yaml on port 8000
	cargo run --release

testbed: ## Provide the real clients and servers of the tests, and the upstream repositories made with them
	tests/testbed/provide --dev
	fixtures/build

test: testbed ## Every test, with real apk, dnf, zypper, curl, S3, PostgreSQL and Redis
	tests/run

unit: ## Only the tests that need no client and no service
	cargo test -p artifactapi-formats

corpus: ## Parsers, checkers and writers over a corpus of real repositories (ARTIFACTAPI_CORPUS names it), with createrepo_c
	cargo test -p artifactapi-formats --features corpus --test corpus

lint: ## Formatting, clippy and documentation, warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items

deps: ## Licences and doubled versions of dependencies
	tests/dependencies

deploy: ## The Kubernetes manifests and the compose file against their schemas
	deploy/kubernetes/validate

bench: testbed ## Side by side with nginx; writes bench/RESULTS.md
	bench/run

flip: testbed ## Clients that check everything, over an upstream that never rests: this server and nginx, three minutes each
	ARTIFACTAPI_FLIP_SECONDS=180 cargo test --test suite flip:: -- --nocapture --test-threads 1

fuzz: ## Every parser, ten minutes each
	formats/fuzz/run 10
