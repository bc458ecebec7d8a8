# One target a task; CI runs the same ones.
PACKAGES_LAB := iproute2 nftables procps iputils-ping python3
# They check packets of ours without our code.
PACKAGES_TEST := tshark openssl python3-scapy python3-cryptography
PACKAGES_BENCH := iperf3
# A whole Linux kernel as an ordinary process, and what its scenarios run.
PACKAGES_KERNEL := qemu-system-x86 kmod busybox-static strongswan-swanctl charon-systemd
CARGO ?= cargo
SHELL := bash
comma := ,

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | sort | expand -t 18

.PHONY: setup
setup:
	@tools/setup $(PACKAGES_LAB)

.PHONY: build
build: ## All binaries
	$(CARGO) build --workspace --bins

.PHONY: demo
demo: setup build ## The main job: three sites, a failure, a healing, and why (KEEP=1 leaves it running)
	@target/debug/hawser-demo $(if $(KEEP),--keep)

.PHONY: test
test: setup ## Every test, the lab's scenarios too (root)
	@tools/setup $(PACKAGES_TEST) $(PACKAGES_KERNEL)
	@tools/kernel target/kernel
	@# Binaries together with the tests: one set of features, so nothing is compiled twice.
	$(CARGO) build --workspace --bins --tests
	$(CARGO) test --workspace --no-fail-fast

.PHONY: lab-kernel
lab-kernel: setup build ## Scenarios inside a full Linux kernel → target/reports/kernel.json (ONLY=NAME,NAME)
	@tools/setup $(PACKAGES_KERNEL)
	@tools/kernel target/kernel
	@target/debug/hawser-lab kernel run $(subst $(comma), ,$(ONLY))

.PHONY: lab-kernel-shell
lab-kernel-shell: setup build ## A shell in that kernel
	@tools/setup $(PACKAGES_KERNEL)
	@tools/kernel target/kernel
	@target/debug/hawser-lab kernel shell

.PHONY: test-long
test-long: setup ## The tests that take longer than people wait: days of virtual time
	$(CARGO) test -p hawser-edge-core --test detection -- --ignored --nocapture

.PHONY: soak
soak: ## The properties of selection over many more cases: 200,000 and more (TIMES=20)
	HAWSER_SOAK=$(or $(TIMES),20) $(CARGO) test -p hawser-edge-core --test selection_properties -- --nocapture

.PHONY: lint
lint: ## rustfmt, clippy with warnings as errors, cargo-deny's offline checks
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	@# What other platforms would need, too: deny looks at the whole graph.
	$(CARGO) fetch --locked
	$(CARGO) deny --offline check bans licenses sources

.PHONY: bench-dataplane
bench-dataplane: ## One TCP stream through the data plane, and beside it a bare veth → target/reports/bench-dataplane.json
	@tools/setup $(PACKAGES_LAB) $(PACKAGES_BENCH)
	$(CARGO) build -p hawser-edge --example bench_dataplane
	$(CARGO) build -p hawser-e2e --bin hawser-report
	@set -o pipefail; target/debug/examples/bench_dataplane 5 3 | target/debug/hawser-report bench-dataplane

.PHONY: bench-selection
bench-selection: setup ## How fast and how calm link selection is, in labs and simulated → target/reports/selection.json (QUICK=1, ONLY=NAME,NAME)
	$(CARGO) build --workspace --bins --examples
	@target/debug/hawser-bench-selection $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))
