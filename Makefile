# Everything a person types here; `make help` says what there is.
# PYTHON chooses the interpreter that .venv is made from: make up PYTHON=python3.12
PYTHON ?= python3
HOURS ?= 1
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help up down test check docs bench prove soak tour clean install tools

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

up: install ## install, start the URL shortener in the background, print its addresses
	@$(BIN)/tenfold up
	@echo "Stop it with: make down"

down: ## stop all of it
	@if [ -x $(BIN)/tenfold ]; then $(BIN)/tenfold down; else echo "Nothing is installed here, so nothing runs."; fi

test: tools ## install, run all the tests (minutes)
	@$(BIN)/python -m pytest -m "not long" -n 3 --dist loadfile --no-loadscope-reorder -rs

check: tools ## ruff, mypy --strict, the import law, the style law (under a minute)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m pytest -p no:cacheprovider tests/style

docs: tools ## make a site of the pages in build/site, and look at every link of it
	@$(BIN)/python -m pip install -q --no-input --editable ".[docs]"
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@$(BIN)/python scripts/check_site.py build/site
	@echo "The site is build/site/index.html"

bench: tools ## install the peers, and measure them in the same run
	@$(BIN)/python -m pip install -q --no-input --editable ".[bench]"
	@$(BIN)/python -m bench

prove: tools ## the long proofs: processes killed 100 times, on steps 1 and 3, moves, a full disk (two hours)
	@$(BIN)/python -m pytest -m long -rs tests

soak: tools ## the same proof over and over: make soak HOURS=8
	@TENFOLD_SOAK_HOURS=$(HOURS) $(BIN)/python -m pytest -m long -rs tests/cluster

tour: install ## watch a service grow step by step under load, on a copy of its own (minutes; as root with small machines)
	@$(BIN)/tenfold tour $(if $(YES),--yes)

clean: down ## stop everything, remove .venv and what tools left behind (data in .tenfold stays)
	@rm -rf .venv .venv.lock .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

install: EXTRA = services
tools: EXTRA = dev
install tools:
	@command -v "$(PYTHON)" >/dev/null || { printf '%s\n' \
	  "There is no $(PYTHON) here. Tenfold needs python3 >= 3.11 with venv, and make. On Debian or Ubuntu:" "" \
	  "    apt-get install python3 python3-venv make" >&2; exit 1; }
	@"$(PYTHON)" scripts/install.py $(EXTRA)
