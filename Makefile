# make demo    the main job on real data, from nothing
# make test    the tests
# make test-slow, make test-long   the tests that take minutes, and those that take hours
# make check   lint, types, direction of imports
# make docs    the documentation, into build/site; needs no torch
# make bench   speed: against Lava, float libraries and the machine; BENCH="--quick --only LIF" passes options
PYTHON ?= python3
PIP = -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
DEV = .venv-dev/bin/

# Two workers whose libraries each use both cores take twice as long.
test test-slow test-long: export OMP_NUM_THREADS = 1

.PHONY: demo test test-slow test-long check docs bench clean

demo: .venv/ready
	.venv/bin/nmdeploy demo -o build/demo

test: .venv-dev/ready
	$(DEV)python -m pytest -n 2 --dist loadfile -m "not slow and not long"

test-slow: .venv-dev/ready
	$(DEV)python -m pytest -n 2 --dist loadfile -m slow

test-long: .venv-dev/ready
	$(DEV)python -m pytest -n 2 --dist loadscope -m long

check: .venv-dev/ready
	$(DEV)ruff check .
	$(DEV)ruff format --check .
	$(DEV)mypy
	$(DEV)python -m pytest -q tests/test_imports.py tests/test_house.py tests/test_english.py

docs: .venv-docs/ready
	.venv-docs/bin/mkdocs build --strict --site-dir build/site

bench: .venv-bench/ready
	.venv-bench/bin/python -m benchmarks.run $(BENCH)

clean:
	rm -rf build .venv .venv-dev .venv-docs .venv-bench

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python $(PIP) --editable .
	touch $@

.venv-dev/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-dev
	$(DEV)python $(PIP) --editable ".[train,importers,docs,dev]"
	touch $@

.venv-docs/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python $(PIP) --editable ".[docs]"
	touch $@

.venv-bench/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python $(PIP) --editable ".[bench]"
	touch $@
