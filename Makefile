# `make` lists the targets. Each brings what it needs: nothing has to be installed by hand but Python 3.11 or newer.

VENV := .venv
BIN := $(VENV)/bin
# A worker that crashes is not replaced: with groups, pytest-xdist then waits for ever instead of saying which test it was.
PYTEST := $(BIN)/python -m pytest --numprocesses logical --maxprocesses 8 --dist loadgroup --max-worker-restart 0
RUNS := $(VENV)/.installed
TESTS := $(VENV)/.installed-test

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install pretrain test slow check format wheel clean

help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(RUNS) ## put plmtrain and what it needs into .venv

pretrain: $(RUNS) ## pretrain a tiny RoBERTa on the documentation in this Python (ARGS="trainer.steps=50" adds settings)
	$(BIN)/plmtrain pretrain model=roberta objective=dynamic_mlm size=tiny data=sample $(ARGS)

test: $(TESTS) ## run the tests but the slow ones (ARGS="-k optimizer" chooses some)
	$(PYTEST) -m "not slow" $(ARGS)

slow: $(TESTS) ## run the slow tests
	$(PYTEST) -m slow $(ARGS)

check: $(TESTS) ## check format, style and types
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy plmtrain

format: $(TESTS) ## put the code into shape
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format --quiet .

wheel: $(TESTS) ## build the wheel into dist/
	$(BIN)/python -m hatchling build -t wheel

clean: ## remove what tools left behind, but neither .venv nor runs/ nor prepared/
	rm -rf dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find plmtrain tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +

PIP := $(BIN)/python -m pip install --no-input --disable-pip-version-check -c constraints.txt

# A stamp is written last, so that an install that failed or was broken off is done again.
$(RUNS): EXTRAS :=
$(TESTS): EXTRAS := [test]
$(TESTS): | $(RUNS)
$(RUNS) $(TESTS): pyproject.toml constraints.txt
	@rm -f $@
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	    for python in python3 python3.11 python3.12 python3.13; do \
	        if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	            echo "making $(VENV) with $$($$python --version)"; exec $$python -m venv --clear $(VENV); \
	        fi; \
	    done; \
	    echo "plmtrain needs Python 3.11 or newer: none of python3, python3.11, python3.12 and python3.13 is one" >&2; exit 1; }
	@echo "installing plmtrain$(EXTRAS) into $(VENV) (the first time takes some minutes)"
	@$(PIP) -qq -e '.$(EXTRAS)' || { echo "nothing was installed; to see why: $(PIP) -e '.$(EXTRAS)'" >&2; exit 1; }
	@touch $@
