# `make demo` and `make test` do all of their own set-up; `make help` lists the rest.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
PORT ?= 4566
ENV ?= dev
DATASET ?= us_accidents

# Whether a variable says yes: DRY_RUN=0 and LOCAL=no do not.
YES := 1 y Y yes Yes YES true True TRUE on On ON
NO := 0 n N no No NO false False FALSE off Off OFF
says = $(if $(strip $($(1))),$(if $(filter $(YES),$($(1))),yes,$(if $(filter $(NO),$($(1))),,$(error $(1)=$($(1)): expected yes or no))))

# The number that a variable gives, or a default.
undigit = $(subst 0,,$(subst 1,,$(subst 2,,$(subst 3,,$(subst 4,,$(subst 5,,$(subst 6,,$(subst 7,,$(subst 8,,$(subst 9,,$(1)))))))))))
number = $(if $(call undigit,$(subst .,,$($(1)))),$(error $(1)=$($(1)): expected a number, for example $(2)),$(or $($(1)),$(2)))
whole = $(if $(call undigit,$($(1))),$(error $(1)=$($(1)): expected a whole number, for example $(2)),$(or $($(1)),$(2)))

# What the user has set, on the command line or in the shell.
set = $(if $(filter-out file undefined,$(origin $(1))),$($(1)))

# The variables of the command line.
GIVEN := $(foreach name,$(.VARIABLES),$(if $(findstring command,$(origin $(name))),$(name)))

# Paths and queries reach the shell as they were typed, with any space, quote or dollar.
export override CSV := $(value CSV)
export override FILE := $(value FILE)
export override SQL := $(value SQL)
export override WHO := $(value WHO)

# checkov asks for older versions of what sam asks for: it has an environment of its own.
VENV := .venv
CHECK_VENV := .venv-check
PY = $(HOLD) $(VENV)/bin/python

# Holds Ctrl-C back while Python starts, which would print a traceback of its own. The package tools lets it arrive.
HOLD := $(shell env --block-signal=INT true 2>/dev/null && echo env --block-signal=INT)

# Makes ready what a command needs, with its progress: tools by their files in tools/requirements, and programs, at the
# same time. All commands compile the same graph of crates with the same profile: cargo build --workspace.
SETUP = @command -v $(firstword $(PYTHON)) >/dev/null || { \
    echo "error: expected Python 3.10 or later, found no $(PYTHON); name another: make PYTHON=python3.12 …" >&2; exit 1; }; \
  $(HOLD) $(PYTHON) -m tools.setup
LOCAL_TOOLS = $(SETUP) --tools local
DEPLOY_TOOLS = $(SETUP) --tools local deploy
TEST_TOOLS = $(SETUP) --tools local deploy test

# Mutation testing has a tool of its own, installed into the checkout.
MUTANTS_VERSION := 27.0.0
MUTANTS := target/tools/mutants-$(MUTANTS_VERSION)/bin/cargo-mutants

export PATH := $(CURDIR)/$(VENV)/bin:$(CURDIR)/$(CHECK_VENV)/bin:$(PATH)
export SAM_CLI_TELEMETRY := 0

# Where cargo deny keeps the advisories that it has fetched.
ADVISORIES := $(or $(CARGO_HOME),$(HOME)/.cargo)/advisory-dbs/*/.git

# A stack's cloud: the one that make deploy goes to, or the local one if LOCAL=1 says so or no AWS credentials are configured.
PLACE = --port "$(PORT)" $(if $(call set,ENV),--env "$(ENV)") $(if $(call set,DATASET),--dataset "$(DATASET)") $(if $(call says,LOCAL),--local)

.PHONY: help
help: ## List what there is to make
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/\1\t\2/' | expand -t 12

.DEFAULT:
	@echo "error: there is no target $@; make help lists them" >&2; exit 2

.PHONY: tools
tools: ## Install what the documents use: the AWS CLI, SAM and cargo-lambda, into .venv
	$(DEPLOY_TOOLS)

.PHONY: demo
demo: ## Run the pipeline end to end on the local cloud [DATASET=name] [CSV=file] [ROWS=n] [RATE=rows/s] [PORT=n]
	$(LOCAL_TOOLS) --compile programs
	@$(PY) -m tools.local.demo --port "$(PORT)" --dataset "$(DATASET)" $(if $(CSV),--csv "$$CSV") $(if $(ROWS),--rows "$(ROWS)") $(if $(RATE),--rate "$(RATE)")

# Where the tests record what is sent to the local cloud, to check it against AWS's models.
REQUESTS := $(CURDIR)/target/requests

# Much of the time, tests on a local cloud wait for it. Several processes run them, each with a cloud of its own, which takes
# a gigabyte of memory. A file is run by one process, in the order of its tests; files begin in the order of their names.
PYTESTS := pytest --numprocesses=auto --maxprocesses=3 --dist=loadfile --no-loadscope-reorder

# The fast tests come first: nothing is started for a change that they refuse.
.PHONY: test
test: ## Run all tests, those on a local cloud of their own included
	$(TEST_TOOLS) --compile tests
	pytest tests/plan tests/conformance
	cargo test --workspace
	$(PYTESTS) -rs tests/template tests/mapping tests/report
	rm -rf "$(REQUESTS)"
	REQUEST_RECORD="$(REQUESTS)" $(PYTESTS) -rs tests/e2e tests/faults
	$(PY) -m tests.conformance.check "$(REQUESTS)"

.PHONY: faults
faults: ## Send events through functions that are killed, before services that fail [EVENTS=20000] [SHARE=0.2] [SEED=1]
	$(TEST_TOOLS)
	EVENTS=$(call whole,EVENTS,20000) SHARE=$(call number,SHARE,0.2) SEED=$(call whole,SEED,1) pytest -s tests/faults

.PHONY: fuzz
fuzz: ## Try each format with bad input by chance [SECONDS=60 for each] [SEED=1]
	FUZZ_SECONDS=$(call whole,SECONDS,60) FUZZ_SEED=$(call whole,SEED,1) cargo test --workspace --test hostile -- fuzz:: --nocapture

.PHONY: simulate
simulate: ## Simulate the chain under faults, step by step [SEED=n], or many at once [CASES=n]
	$(SETUP) --compile simulator
	@target/debug/simulate --seed $(call whole,SEED,0) $(if $(CASES),--cases $(call whole,CASES,100000))

# The tree is a copy, since the changes are made in place: the checkout stays as it is. It has a target folder of its own,
# because cargo takes both trees for the same packages and would reuse what was built of a wrong change. With few scenarios
# the simulation is one of the fast tests.
.PHONY: mutants
mutants: $(MUTANTS) ## Make small wrong changes, and list those that no fast test notices [FILES=shared/src/stream/kpl.rs] [CHANGE=main] [SHARD=0/8]
	@rm -rf target/mutants/tree && mkdir -p target/mutants/tree
	@git ls-files -z --cached --others --exclude-standard | tar --create --null --files-from=- | tar --extract --touch --directory target/mutants/tree
	@$(if $(CHANGE),git diff --merge-base "$(CHANGE)" >target/mutants/change.diff)
	cd target/mutants/tree && SCENARIOS=300 CARGO_TARGET_DIR="$(CURDIR)/target/mutants/target" "$(CURDIR)/$(MUTANTS)" mutants \
	  --workspace --in-place --output "$(CURDIR)/target/mutants" $(foreach file,$(or $(FILES),$(MUTATED)),--file "$(file)") \
	  $(if $(CHANGE),--in-diff "$(CURDIR)/target/mutants/change.diff") $(if $(SHARD),--shard "$(SHARD)")

# What runs in the functions.
MUTATED := functions/*/src/**/*.rs shared/src/**/*.rs

.PHONY: check
check: ## Check format, lints, documentation and the template
	$(TEST_TOOLS) --check-tools check
	@echo "check: format of the Rust code"
	cargo fmt --all --check
	@echo "check: lints of the Rust code"
	cargo clippy --workspace --all-targets -- -D warnings
	@echo "check: documentation of the Rust code"
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
	@echo "check: dependencies that nothing uses"
	cargo shear
	@echo "check: licences, sources and versions of the dependencies"
	cargo deny --locked check bans licenses sources
	@$(if $(wildcard $(ADVISORIES)),cargo deny --locked --offline check advisories,echo "check: no advisories at hand; make advisories fetches them and checks")
	@echo "check: lints and format of the Python code"
	ruff check
	ruff format --check
	@echo "check: what is generated"
	@$(MAKE) render CHECK=1
	@echo "check: template against the resources' schemas"
	cfn-lint template.yaml key.yaml
	@echo "check: template as SAM"
	sam validate --lint
	@echo "check: templates against the policies of checkov"
	checkov --config-file .ci/checkov.yaml --file template.yaml key.yaml

.PHONY: advisories
advisories: ## Fetch the known defects of dependencies, and check for them
	$(SETUP) --check-tools check
	@cargo deny --locked fetch db || { echo "error: the advisories were not fetched: they come from https://github.com/RustSec/advisory-db" >&2; exit 1; }
	cargo deny --locked --offline check advisories

.PHONY: up
up: ## Start the local cloud with the stack deployed [DATASET=name] [PORT=n]
	$(LOCAL_TOOLS) --compile programs
	@$(PY) -m tools.local.cloud up --port "$(PORT)" --dataset "$(DATASET)"

.PHONY: down
down: ## Stop the local cloud [PORT=n]
	$(LOCAL_TOOLS)
	@$(PY) -m tools.local.cloud down --port "$(PORT)"

.PHONY: live
live: ## Show a stack while it runs, on a page of this machine [ENV=dev] [DATASET=name] [LOCAL=1] [PORT=n] [PAGE=n] [HOST=address]
	$(LOCAL_TOOLS)
	@$(PY) -m tools.live $(PLACE) $(if $(PAGE),--page "$(PAGE)") $(if $(HOST),--host "$(HOST)")

.PHONY: replay
replay: ## Send a file as live incidents to the stack: CSV=file [FORMAT=csv] [CHARSET=windows-1252] [DATE_ORDER=dmy] [DATASET=name] [RATE=rows/s] [ENV=dev] [LOCAL=1] [PORT=n]
	@$(if $(CSV),,echo "error: name the file to send: make replay CSV=file" >&2; exit 1)
	$(LOCAL_TOOLS) --compile programs
	@$(PY) -m tools.local.where $(PLACE) -- target/debug/replay --dataset "$(DATASET)" --environment "$(ENV)" $(if $(RATE),--rate "$(RATE)") $(call options,$(FILE_OPTIONS)) -- "$$CSV"

# How a file is read.
FILE_OPTIONS := FORMAT CHARSET DATE_ORDER

.PHONY: suggest
suggest: ## Print a data set's file to start from, for a file of your own, or write it [NAME=data set]: CSV=file [FORMAT=csv] [CHARSET=windows-1252] [DATE_ORDER=dmy]
	@$(if $(CSV),,echo "error: name the file to describe: make suggest CSV=file" >&2; exit 1)
	@if [ -n "$(NAME)" ] && [ -e "$(SUGGESTED)" ]; then echo "error: $(SUGGESTED) exists; give another NAME=" >&2; exit 1; fi
	$(SETUP) --compile programs
	@target/debug/replay normalise --suggest $(call options,$(FILE_OPTIONS)) $(if $(NAME),--name "$(NAME)") -- "$$CSV" $(if $(NAME),>target/suggested.toml)
	@$(if $(NAME),mkdir -p "$(dir $(SUGGESTED))" && mv target/suggested.toml "$(SUGGESTED)" && echo "$(SUGGESTED) is written")

SUGGESTED = datasets/$(NAME)/dataset.toml

.PHONY: redrive
redrive: ## Send again what was refused or given up: FROM=rejects|failures [SINCE=2026-11-25|6h] [DRY_RUN=1] [AGAIN=1] [DATASET=name] [ENV=dev] [LOCAL=1] [PORT=n]
	@$(if $(FROM),,echo "error: name where to send from: make redrive FROM=rejects, or FROM=failures" >&2; exit 1)
	$(LOCAL_TOOLS) --compile programs
	@$(PY) -m tools.local.where $(PLACE) -- target/debug/replay redrive --dataset "$(DATASET)" --from "$(FROM)" --environment "$(ENV)" $(if $(SINCE),--since "$(SINCE)") $(if $(call says,DRY_RUN),--dry-run) $(if $(call says,AGAIN),--again)

.PHONY: query
query: ## Ask Athena: SQL="select …" or FILE=datasets/x/queries/y.sql [DATASET=name] [ENV=dev] [LOCAL=1] [PORT=n]
	@$(if $(SQL)$(FILE),,echo 'error: name a query: make query SQL="select …", or FILE=datasets/x/queries/y.sql' >&2; exit 1)
	$(LOCAL_TOOLS)
	@$(PY) -m tools.local.query $(PLACE) $(if $(FILE),--file "$$FILE",--sql "$$SQL")

.PHONY: bench
bench: ## Measure every function, and a rehearsal, with floors and baselines [README=yes] [INSTRUCTIONS=yes] [OBJECT_MB=n OBJECT_SECONDS=n] [REHEARSAL_ROWS=n]
	$(DEPLOY_TOOLS)
	@$(PY) -m tools.bench.bench $(if $(call says,README),--readme) $(if $(call says,INSTRUCTIONS),--instructions) \
	  $(if $(OBJECT_MB),--object-mb "$(OBJECT_MB)") $(if $(OBJECT_SECONDS),--object-seconds "$(OBJECT_SECONDS)") \
	  $(if $(REHEARSAL_ROWS),--rehearsal-rows "$(REHEARSAL_ROWS)")

.PHONY: plan
plan: ## What a rate of events needs and costs: EPS=events/s [SEVERE=share] [MODE=provisioned] [PACK=yes] …
	@$(if $(EPS),,echo "error: give the events a second: make plan EPS=10000" >&2; exit 1)
	$(LOCAL_TOOLS)
	@$(PY) -m tools.plan.plan --eps "$(EPS)" $(call options,$(PLAN_OPTIONS))

# Variables as the options of a program: --batch-size for BATCH_SIZE.
options = $(foreach name,$(1),$(if $($(name)),--$(subst _,-,$(shell echo $(name) | tr A-Z a-z)) "$($(name))"))

# The options of tools/plan/plan.py, as variables.
PLAN_OPTIONS := SEVERE ALERTED MODE PACK ARCHITECTURE MEMORY_MB BATCH METRICS_BATCH NOTIFY_BATCH WINDOW_SECONDS \
  METRICS_WINDOW_SECONDS NOTIFY_WINDOW_SECONDS LOG_IDS ALERTS_PER_SECOND INGEST_ROWS CALL_MS RETENTION_HOURS BUFFER_SECONDS SERIES ATHENA_TB

.PHONY: rehearse
rehearse: ## What files of the past would have caused: CSV=files [AREA=county] [SET="DigestAbove=5"] [AGAINST=env or parameters], or WHO=events [DATASET=name] [ENV=dev] …
	@$(if $(CSV)$(WHO),,echo 'error: name files of the past: make rehearse CSV=year.csv; or events to ask about: make rehearse WHO=event.json' >&2; exit 1)
	$(LOCAL_TOOLS)
	@$(PY) -m tools.rehearse.rehearse --env "$(ENV)" --dataset "$(DATASET)" $(if $(CSV),--csv "$$CSV") $(if $(WHO),--who "$$WHO") \
	  $(call options,$(REHEARSE_OPTIONS))

# The options of tools/rehearse/rehearse.py, as variables.
REHEARSE_OPTIONS := SET AGAINST AREA THRESHOLDS DEPARTMENTS TIME $(FILE_OPTIONS)

.PHONY: deploy
deploy: STACK = $(subst _,-,$(DATASET))-$(ENV)
deploy: ## Check, build and deploy to AWS [ENV=dev|test|prod] [DATASET=name]
	$(DEPLOY_TOOLS)
	@$(PY) -m tools.local.checks "$(ENV)" --dataset "$(DATASET)"
	@$(PY) -m tools.local.functions "$(ENV)" --dataset "$(DATASET)"
	sam deploy --config-env "$(ENV)" --stack-name $(STACK) --s3-prefix $(STACK)

# Both say what they would do, and ask for the stack's name unless CONFIRM gives it.
REMOVAL = $(PLACE) $(if $(CONFIRM),--confirm "$(CONFIRM)")

.PHONY: remove
remove: ## Take a stack down, all but the buckets; EVENTS=delete deletes them too [ENV=dev] [DATASET=name] [CONFIRM=stack] [LOCAL=1] [PORT=n]
	$(LOCAL_TOOLS)
	@$(PY) -m tools.local.removal remove $(REMOVAL) $(if $(EVENTS),--events "$(EVENTS)")

.PHONY: restore
restore: ## Make a stack again with the buckets that it left [ENV=dev] [DATASET=name] [CONFIRM=stack] [LOCAL=1] [PORT=n]
	$(LOCAL_TOOLS)
	@$(PY) -m tools.local.removal restore $(REMOVAL)

.PHONY: render
render: ## Rewrite what is generated: tables, queries, pages, alarms, dashboards, rules, departments [CHECK=1 only compares]
	$(SETUP) --compile renderer
	@target/debug/render $(if $(call says,CHECK),--check)

.PHONY: rules
rules: ## Print the alert rules of Grafana for a deployed stack [ENV=dev] [DATASET=name] [LOCAL=1] [PORT=n]
	$(LOCAL_TOOLS)
	@$(PY) -m tools.local.grafana_rules $(PLACE)

.PHONY: clean
clean: ## Stop every local cloud and remove all that was made
	@if [ -e $(VENV)/.complete-local ]; then $(PY) -m tools.local.cloud down --all; fi
	rm -rf target .aws-sam $(VENV) $(CHECK_VENV)

$(MUTANTS):
	@echo "tools: installing cargo-mutants $(MUTANTS_VERSION) into target/tools, which takes some minutes"
	@cargo install --quiet --locked --debug --root target/tools/mutants-$(MUTANTS_VERSION) --version $(MUTANTS_VERSION) cargo-mutants || { \
	  echo "error: cargo-mutants $(MUTANTS_VERSION) was not installed: it comes from crates.io" >&2; exit 1; }
	@touch $@

# A misspelled variable is not ignored: `make deploy EVN=prod` would deploy dev. A target takes the variables in its line
# of help; all of them take those of other programs.
OTHERS := PYTHON AWS_% CARGO% RUST% PY% UV_% PIP_% SSL_% %_PROXY %_proxy PATH HOME SHELL TMPDIR TERM COLUMNS NO_COLOR \
  SCENARIOS MAPPING_SCENARIOS PROPTEST_%
GOALS := $(if $(GIVEN),$(filter $(shell sed -nE 's/^([a-z]+):.*\#\# .*/\1/p' Makefile),$(MAKECMDGOALS)))
taken = $(shell sed -nE 's/^$(1):.*\#\# //p' Makefile | grep -oE '[A-Z_]+=' | tr -d =) \
  $(if $(filter plan,$(1)),$(PLAN_OPTIONS)) $(if $(filter rehearse,$(1)),$(REHEARSE_OPTIONS))
ifneq ($(and $(GIVEN),$(GOALS)),)
  TAKEN := $(sort $(foreach goal,$(GOALS),$(call taken,$(goal))))
  UNKNOWN := $(filter-out $(OTHERS) $(TAKEN),$(GIVEN))
  ifneq ($(UNKNOWN),)
    $(error $(GOALS) takes no $(UNKNOWN); $(if $(TAKEN),expected $(TAKEN),it has no variables)$(if $(filter rehearse,$(GOALS)),; parameters of the template go into SET="…"))
  endif
endif
