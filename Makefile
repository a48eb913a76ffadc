# What is done to this repository. Everything comes from package registries; tools of our own choosing are
# installed once into a folder outside the repository.

.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

CARGO ?= cargo
# Seconds that each fuzz target runs.
FUZZ_SECONDS ?= 60

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tagwarden
DENY := $(CACHE)/tools/cargo-deny-0.20.2/bin/cargo-deny
FUZZ := $(CACHE)/tools/cargo-fuzz-0.13.2/bin/cargo-fuzz

# One set of features for `test` and `e2e`, so that the package is compiled once and both test the same program.
TEST := $(CARGO) test --locked --features e2e

.PHONY: help
help: ## list these targets
	@grep -hE '^[a-z0-9-]+:.* ## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

.PHONY: test
test: ## everything that needs no cluster: unit, integration and doc tests; benches compile; instructions are counted
	registries="$$(tests/registries/build.sh)" && export TAGWARDEN_REGISTRIES="$$registries" && \
	  helm="$$(tests/chart/build.sh)" && export TAGWARDEN_HELM="$$helm" && \
	  python="$$(tests/python/build.sh)" && export TAGWARDEN_PYTHON="$$python" && \
	  yaml_ls="$$(tests/editor/build.sh)" && export TAGWARDEN_YAML_LS="$$yaml_ls" && \
	  $(TEST) --lib --bins --test it
	$(TEST) --doc
	$(TEST) --benches --no-run
	$(MAKE) --no-print-directory bench-counts

.PHONY: e2e
e2e: e2e-cluster e2e-node ## the suites against a real API server and on a whole node (root; programs are built once)

.PHONY: e2e-cluster
e2e-cluster: ## the suite against a real API server (etcd and Kubernetes' programs: built once, or from KUBEBUILDER_ASSETS)
	assets="$$(tests/cluster/assets/build.sh)" && registries="$$(tests/registries/build.sh)" && \
	  helm="$$(tests/chart/build.sh)" && export TAGWARDEN_HELM="$$helm" && \
	  KUBEBUILDER_ASSETS="$$assets" TAGWARDEN_REGISTRIES="$$registries" $(TEST) --test cluster

# SCENARIO names scenarios by a part of their names. tests/node/harness/cluster.rs tells how to use a cluster that exists.
.PHONY: e2e-node
e2e-node: ## the suite on a whole node, which it starts, with the image of `make image` (SCENARIO=part of a name)
	tests/node/run.sh $(SCENARIO)

.PHONY: image
image: ## the container image as an OCI archive (IMAGE_OUT, default target/image/tagwarden.tar), checked; pulls nothing
	tests/image/build.sh

# The tests that find these files stale write them instead.
.PHONY: manifests
manifests: ## what is generated from the chart: its README's values, the definition of ImagePolicy, deploy/
	helm="$$(tests/chart/build.sh)" && TAGWARDEN_HELM="$$helm" UPDATE_MANIFESTS=1 $(TEST) --test it -- chart::generated

.PHONY: lint
lint: fmt clippy deny doc wasm fuzz-check ## format, clippy, dependencies, documentation, the engine on wasm32

.PHONY: fmt
fmt:
	$(CARGO) fmt --check
	@if [ -e fuzz/Cargo.toml ]; then $(CARGO) fmt --check --manifest-path fuzz/Cargo.toml; fi

.PHONY: clippy
clippy:
	$(CARGO) clippy --locked --all-targets --all-features -- -D warnings

.PHONY: deny
deny: $(DENY)
	$(DENY) --locked check bans licenses sources

.PHONY: advisories
advisories: $(DENY) ## known vulnerabilities of dependencies; fetches the advisory database, so it is no part of lint
	$(DENY) --locked check advisories

.PHONY: doc
doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --locked

# The engine is what builds where there are no sockets, no files and no clock.
.PHONY: wasm
wasm:
	@rustc --print target-libdir --target wasm32-unknown-unknown | xargs test -d || rustup target add wasm32-unknown-unknown
	RUSTFLAGS="-D warnings" $(CARGO) check --locked --lib --no-default-features --target wasm32-unknown-unknown

# Fuzz targets are a package of their own; what is not compiled rots.
.PHONY: fuzz-check
fuzz-check:
	@if [ -e fuzz/Cargo.toml ]; then $(CARGO) check --locked --manifest-path fuzz/Cargo.toml --target-dir $(or $(CARGO_TARGET_DIR),target)/fuzz; fi

.PHONY: bench
bench: ## the server over the wire beside its floor: throughput, latency, CPU, memory, start (docs/performance.md)
	about=$@ && . tests/tools.sh && programs h2load:nghttp2-client
	$(CARGO) bench --locked --bench wire

.PHONY: bench-scale
bench-scale: ## what a review costs as connections, rules, policies, namespaces, images and digests become many
	about=$@ && . tests/tools.sh && programs h2load:nghttp2-client
	$(CARGO) bench --locked --bench wire -- scale

.PHONY: bench-overload
bench-overload: ## four times what the server takes at one time, then a million reviews of every kind
	about=$@ && . tests/tools.sh && programs h2load:nghttp2-client
	$(CARGO) bench --locked --bench wire -- overload

.PHONY: bench-engine
bench-engine: ## the engine's parts alone, by criterion: parsing, reading, judging, remembered digests
	$(CARGO) bench --locked --bench reference --bench engine --bench registry

.PHONY: bench-cli
bench-cli: ## the command line's figures: start, 1,000 policy tests, 10,000 manifests beside kubeconform
	kubeconform="$$(benches/kubeconform.sh)" && TAGWARDEN_KUBECONFORM="$$kubeconform" $(CARGO) bench --locked --bench cli

.PHONY: bench-counts
bench-counts: ## instructions that the engine needs, none of them over benches/baseline.json (UPDATE_BASELINE=1 writes it)
	about=$@ && . tests/tools.sh && programs valgrind:valgrind
	$(CARGO) bench --locked --no-default-features --bench counts

# Stable with RUSTC_BOOTSTRAP, because cargo-fuzz needs the sanitizer flags and nothing else of nightly.
.PHONY: fuzz
fuzz: $(FUZZ) ## every fuzz target for FUZZ_SECONDS (default 60) each, from its seeds
	export RUSTC_BOOTSTRAP=1; targets="$$($(FUZZ) list)"; \
	for target in $$targets; do \
	  mkdir -p fuzz/corpus/$$target fuzz/seeds/$$target; \
	  $(FUZZ) run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- -max_total_time=$(FUZZ_SECONDS); \
	done

# Tools build in a folder of their own: a shared target folder would keep their objects for ever.
$(DENY): PACKAGE = cargo-deny@0.20.2
$(FUZZ): PACKAGE = cargo-fuzz@0.13.2
$(DENY) $(FUZZ):
	env -u CARGO_TARGET_DIR -u RUSTFLAGS $(CARGO) install --locked --root $(patsubst %/bin/,%,$(dir $@)) $(PACKAGE)
