# make demo: the whole path on drawn patients, in minutes. make test: the tests. Both set up what they need.
VENV := .venv
BIN := $(VENV)/bin
PYTHON := $(shell for p in python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done)

.PHONY: demo test unit-tests test-long bench mutants lint clean

demo: $(VENV)/installed
	rm -rf demo
	$(BIN)/fedmammo data phantom demo/tree --patients 160 --seed 1 --difficulty 0
	$(BIN)/fedmammo data prepare demo/tree demo/cohort
	$(BIN)/fedmammo sites show configs/quickstart.yaml
	$(BIN)/fedmammo run configs/quickstart.yaml --out demo/run

# Side by side: mypy alone would leave a processor idle for half a minute.
test: $(VENV)/installed
	$(MAKE) --jobs 2 --output-sync=line lint unit-tests

# Three processes on two processors: tests wait for others that start, or are to end.
unit-tests: $(VENV)/installed
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

test-long: $(VENV)/installed
	$(BIN)/python -m pytest -m long

# The quick ones; docs/performance.md has all. FEDMAMMO_COHORT and FEDMAMMO_WEIGHTS name real patients and a network.
bench: $(VENV)/installed
	for name in commands prepare deployment hospitals phantom_pretraining; do $(BIN)/python benchmarks/$$name.py || exit; done

mutants: $(VENV)/installed
	$(BIN)/python tests/mutants/run.py

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or 3.12 is needed and was not found" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) demo build *.egg-info
