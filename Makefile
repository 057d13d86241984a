# Everything runs in .venv, which is made on demand. Needs only Python >= 3.11, pip and make.
#   make quickstart ARGS="--out runs/mine"       make test-fast PYTEST_ARGS="-k gae"
#   make PYTHON=/opt/python3.12/bin/python3 test

SHELL := /bin/bash
VENV ?= .venv
LEROBOT_VENV ?= .venv-lerobot
BIN := $(VENV)/bin
PYTHON ?=
ARGS ?=
PYTEST_ARGS ?=
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help venv venv-dev gl quickstart quickstart-flow test-fast test test-lerobot check format \
    docs wheel bench clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*  ## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do \
	    printf '  make %-15s %s\n' "$$name" "$$text"; done

venv: $(VENV)/.installed  ## set up .venv with pushcut and what it needs

venv-dev: $(VENV)/.installed-dev  ## the same with the tools for tests and checks

# The stamps are newer than pyproject.toml once everything that it names is installed.
$(VENV)/.installed: pyproject.toml scripts/setup_venv.sh
	@scripts/setup_venv.sh $(VENV) .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@scripts/setup_venv.sh $(VENV) '.[dev]'
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	@scripts/setup_venv.sh $(VENV) '.[docs]'
	@touch $@

gl: $(VENV)/.installed  ## make sure that off-screen OpenGL works, installing it if allowed
	@scripts/ensure_gl.sh $(BIN)/python

quickstart: gl  ## demonstrations -> SFT -> GRPO -> report, about 10 minutes on a laptop
	$(BIN)/pushcut quickstart $(ARGS)

quickstart-flow: gl  ## the same with a flow policy, Flow-SDE and PPO, about 15 minutes
	$(BIN)/pushcut quickstart metaworld-flow-ppo --out runs/quickstart-flow $(ARGS)

# Files stay in the order of tests/conftest.py, the long ones first.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-fast: venv-dev  ## while you work, some minutes: units, the point mass, one tiny run
	$(PYTEST) -m "not heavy and not sim and not slow and not gpu and not lerobot" $(PYTEST_ARGS)

test: venv-dev gl  ## all that take no GPU and no patience, about half an hour on two cores
	$(PYTEST) -m "not slow and not gpu and not lerobot" $(PYTEST_ARGS)

test-lerobot: venv-dev  ## against LeRobot itself, which gets a Python 3.12 environment of its own
	@scripts/setup_lerobot.sh $(LEROBOT_VENV)
	LEROBOT_VENV=$(LEROBOT_VENV) $(BIN)/python -m pytest -rs tests/lerobot_really $(PYTEST_ARGS)

check: venv-dev docs  ## format, lint, types, and links of the docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: venv-dev  ## rewrite the sources as ruff wants them
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Material for MkDocs tells of its successor in every build.
docs: $(VENV)/.installed-docs  ## the docs as a site in site/; broken links and anchors fail
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

wheel: venv-dev  ## dist/pushcut-*.whl
	$(BIN)/python -m pip wheel -q --no-deps --no-build-isolation --wheel-dir dist .

# In short forms. The others need extras, a fine-tuned policy or a GPU: each file says how to run it.
# Campaigns, ablations and learning curves are in studies/.
BENCH ?= "rollout.py --seconds 5" "workers.py --seconds 5" policy_in_the_loop.py "flow_update.py --rounds 5" "token_shapes.py --rounds 5"

bench: gl  ## short forms of the benchmarks; each ends with one JSON object
	@for command in $(BENCH); do \
	    echo "== $$command"; $(BIN)/python benchmarks/$$command || exit 1; done

clean:  ## remove .venv, caches, site/ and dist/; runs/ and data/ stay
	rm -rf $(VENV) $(LEROBOT_VENV) .pytest_cache .ruff_cache .cache site dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
