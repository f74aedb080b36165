# make demo: install, then the whole chain on the simulated microscope.
# make test: install, then every check.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SITE := build/site
DEMO ?= demo
RUN_ON_SCREEN := $(if $(shell command -v xvfb-run),xvfb-run -a,)

.PHONY: install system demo test test-slow lint benchmarks clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

demo: install
	PATH="$(CURDIR)/$(BIN):$$PATH" sh docs/demo.sh $(DEMO)

test: install lint
	$(BIN)/python -m pytest

test-slow: install
	$(BIN)/python -m pytest -m slow

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	rm -rf build
	$(BIN)/python -m pip install --quiet --no-deps --target $(SITE) .
	MYPYPATH=$(SITE) $(BIN)/mypy -p fgaf.dataset -p fgaf.acquire -p fgaf.curate -p fgaf.model

benchmarks: install
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf build $(DEMO)
