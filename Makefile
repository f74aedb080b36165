# make demo: install, then the whole chain on the simulated microscope.
# make test: install, then every check.
# make realistic: the realistic set, trained and benchmarked, in realistic/.
# make docs: the documentation site, in build/docs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HERE := $(CURDIR)/$(BIN)
SITE := build/site
DEMO_SEEDS := 1 2 3 4 5 6 7 8 9 10 11 12
REALISTIC_SEEDS = $(shell seq 2026 2185)

WORKERS = $(shell $(BIN)/python -c "from fgaf.base.workers.cores import usable_cores; print(usable_cores() + 1)")

# A screen that nobody looks at, for the tests of the napari window, and h5dump; Debian's names.
# Other systems may have no package chromium: a browser is taken where there is one.
TOOLS := hdf5-tools xvfb xauth libegl1 libgl1 libdbus-1-3 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 \
	libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 \
	libxcb-xinerama0 libxcb-xkb1
ON_SCREEN = $(if $(shell command -v xvfb-run),xvfb-run -a,)
SUDO := $(if $(shell command -v sudo),sudo,)

.PHONY: install system site demo realistic test test-slow lint docs benchmarks reports clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

system:
	@if command -v dpkg > /dev/null && ! dpkg -s $(TOOLS) > /dev/null 2>&1; then \
		$(SUDO) apt-get -o DPkg::Lock::Timeout=300 update -q && \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 \
			install -y -q --no-install-recommends $(TOOLS); \
	fi
	@if command -v dpkg > /dev/null && ! command -v chromedriver > /dev/null; then \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 \
			install -y -q --no-install-recommends chromium chromium-driver \
			|| echo "no chromium: pages are not tested in a browser"; \
	fi

demo: install
	rm -rf demo
	mkdir demo
	for seed in $(DEMO_SEEDS); do \
		(cd demo && $(HERE)/acq stack --step 0.5 --range 4 --seed $$seed --sample sample$$seed) \
			|| exit 1; \
	done
	cd demo && $(HERE)/fgaf-curate auto raw
	cd demo && $(HERE)/fgaf-data validate dataset.h5
	cd demo && $(HERE)/fgaf-train dataset.h5
	cd demo && $(HERE)/fgaf-bench dataset.h5 --trained dataset-run

realistic: install
	rm -rf realistic
	mkdir realistic
	for seed in $(REALISTIC_SEEDS); do \
		(cd realistic && $(HERE)/acq stack --rig ../benchmarks/realistic.toml --seed $$seed \
			--sample field$$seed --step 0.5 --range 6) || exit 1; \
	done
	cd realistic && $(HERE)/fgaf-curate auto raw --out realistic.h5
	cd realistic && $(HERE)/fgaf-data validate realistic.h5
	cd realistic && $(HERE)/fgaf-train realistic.h5
	cd realistic && $(HERE)/fgaf-bench realistic.h5 --trained realistic-run

# The package as others install it: what mypy checks and the reference is made of.
site: install
	rm -rf build
	$(BIN)/python -m pip install --quiet --no-deps --target $(SITE) .

# A worker more than there are processors, since some tests wait for devices, and one thread in each.
# Bytecode is written, so that the commands that tests start are not compiled each time.
test: install system lint
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(ON_SCREEN) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test-slow: install system
	$(ON_SCREEN) $(BIN)/python -m pytest -m slow

lint: install site
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd $(SITE) && $(HERE)/lint-imports $(CURDIR)/pyproject.toml
	printf 'linux\nwin32\n' | MYPYPATH=$(SITE) xargs -P 2 -I {} \
		$(BIN)/mypy -p fgaf --platform {} --cache-dir .mypy_cache/{}

docs: site
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	$(BIN)/mkdocs build --strict

benchmarks: install
	for script in $(filter-out $(addprefix benchmarks/,calibration.py few_cells.py other_microscope.py reports.py),$(wildcard benchmarks/*.py)); do $(ON_SCREEN) $(BIN)/python $$script || exit 1; done

reports: install
	$(BIN)/python benchmarks/reports.py

clean:
	rm -rf build demo realistic
