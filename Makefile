# One target a task; CI runs the same ones.
PACKAGES_LAB := iproute2 nftables procps iputils-ping python3
# They check packets of ours without our code.
PACKAGES_TEST := tshark openssl python3-scapy python3-cryptography prometheus etcd-server
PACKAGES_TELEMETRY := prometheus python3-venv
PACKAGES_CONSOLE := chromium fonts-inter
PACKAGES_BENCH := iperf3 util-linux
PACKAGES_PEERS := wireguard-go wireguard-tools strongswan-swanctl charon-systemd libcharon-extra-plugins \
	libstrongswan-standard-plugins
# A whole Linux kernel as an ordinary process, and what its scenarios run.
PACKAGES_KERNEL := qemu-system-x86 kmod busybox-static strongswan-swanctl charon-systemd \
	libstrongswan-standard-plugins openssl
# libFuzzer is C++.
PACKAGES_FUZZ := g++ python3
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
demo: setup build ## The main job: three sites, a failure, a healing, and why (KEEP=1 leaves it running; DRIVER=kernel: in the kernel lab)
	@$(if $(filter kernel,$(DRIVER)),tools/setup $(PACKAGES_KERNEL) && tools/kernel target/kernel)
	@target/debug/hawser-demo --driver $(or $(DRIVER),userspace) $(if $(KEEP),--keep)

.PHONY: test
test: setup ## Every test, the lab's scenarios too (root)
	@tools/setup $(PACKAGES_TEST) $(PACKAGES_KERNEL)
	@tools/kernel target/kernel
	@# Binaries together with the tests: one set of features, so nothing is compiled twice.
	$(CARGO) build --workspace --bins --tests
	$(CARGO) test --workspace --no-fail-fast
	@$(MAKE) --no-print-directory fuzz-quick

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

.PHONY: package
package: build ## Debian packages of the binaries → target/debian
	@tools/package

.PHONY: test-package
test-package: package ## Installs the packages in a clean Debian, starts and enrols by their units, upgrades, purges (root)
	@tools/test-package

.PHONY: test-long
test-long: setup ## The tests that take longer than people wait: days of virtual time
	$(CARGO) test -p hawser-edge-core --test detection -- --ignored --nocapture

.PHONY: test-rollout
test-rollout: setup ## A generation that cuts the controller off, and a controller killed in mid-rollout: four minutes (root)
	$(CARGO) build --workspace --bins --tests
	$(CARGO) test --workspace --test poisoned_generation -- --ignored --nocapture

.PHONY: test-telemetry
test-telemetry: setup check-compose ## Dashboards, rules and pushes against a real Prometheus and a real OTLP receiver → target/reports/telemetry.json
	@tools/setup $(PACKAGES_TELEMETRY)
	$(CARGO) build --workspace --bins
	@receiver=$$(tools/otlp-receiver) && target/debug/hawser-telemetry-check --receiver "$$receiver"

.PHONY: console
console: ## The web console → console/dist; the controller that is built after it has it (Node.js 20, npm)
	@tools/console

.PHONY: test-console
test-console: setup console ## The console in headless Chromium, against a live lab → target/reports/console.json (IMAGES=DIR; root)
	@tools/setup $(PACKAGES_CONSOLE)
	$(CARGO) build --workspace --bins
	@cd console && npm run --silent test
	@target/debug/hawser-console-check $(if $(IMAGES),--images $(IMAGES))

.PHONY: check-compose
check-compose: ## deploy/compose.yml against the Compose specification's schema
	@tools/setup python3-venv
	@tools/check-compose

.PHONY: docs
docs: ## What is generated from the catalogue of metrics: docs/METRICS.md, Grafana's dashboards
	$(CARGO) build --workspace --examples
	target/debug/examples/metrics_page > docs/METRICS.md
	target/debug/examples/dashboards deploy/grafana/dashboards

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

.PHONY: fuzz
fuzz: ## Every fuzz target, ten million inputs each or half an hour (EXECUTIONS=N, SECONDS_EACH=N, TARGETS="a b") → target/reports/fuzz.json
	@tools/setup $(PACKAGES_FUZZ)
	tools/fuzz --executions-per-target $(or $(EXECUTIONS),10000000) --seconds-per-target $(or $(SECONDS_EACH),1800) $(TARGETS)

.PHONY: fuzz-quick
fuzz-quick: ## The corpora, and 15 s of new search by each target
	@tools/setup $(PACKAGES_FUZZ)
	tools/fuzz --seconds-per-target 15 $(TARGETS)

.PHONY: bench-dataplane
bench-dataplane: ## The data plane with everything on, beside a bare veth and other userspace tunnels → target/reports/bench-dataplane.json (QUICK=1, LANES=COUNT)
	@tools/setup $(PACKAGES_LAB) $(PACKAGES_BENCH)
	$(CARGO) build --release -p hawser-edge --example bench_dataplane
	$(CARGO) build -p hawser-e2e --bin hawser-report
	@set -o pipefail; target/release/examples/bench_dataplane $(if $(QUICK),--quick) $(if $(LANES),--lanes $(LANES)) | target/debug/hawser-report bench-dataplane

.PHONY: bench-peers
bench-peers: ## Installs the other tunnels that bench-dataplane measures beside ours
	@tools/setup $(PACKAGES_PEERS)
	$(CARGO) install --locked gotatun-cli boringtun-cli

.PHONY: bench-selection
bench-selection: setup ## How fast and how calm link selection is, in labs and simulated → target/reports/selection.json (QUICK=1, ONLY=NAME,NAME)
	$(CARGO) build --workspace --bins --examples
	@target/debug/hawser-bench-selection $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

.PHONY: crash-test
crash-test: ## Kill the controller under writers, 300 times and more, and fill its disk → target/reports/crash.json (ROUNDS=300; root)
	$(CARGO) build --workspace --bins --examples
	@set -o pipefail; target/debug/examples/crash_test $(or $(ROUNDS),300) | target/debug/hawser-report crash

.PHONY: bench-controller
bench-controller: ## 2,000 agents with real streams on one controller → target/reports/controller.json (AGENTS=2000)
	$(CARGO) build --workspace --bins --examples
	@set -o pipefail; ulimit -n 20000; target/debug/examples/bench_controller $(or $(AGENTS),2000) | target/debug/hawser-report controller

.PHONY: test-api
test-api: ## Thousands of odd requests to the REST API of a live controller, by schemathesis (EXAMPLES=50)
	$(CARGO) build --workspace --bins
	@tools/test-api $(or $(EXAMPLES),50)
