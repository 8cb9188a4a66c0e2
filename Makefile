# make demo    the main job on real data, from nothing
# make test    the tests
# make check   lint, types, direction of imports, rules of code and English
# make bench   speed: against Lava, float libraries and the machine; BENCH="--quick --only LIF" passes options
PYTHON ?= python3
PIP = -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
DEV = .venv-dev/bin/

.PHONY: demo test test-slow check docs bench clean

demo: .venv/ready
	.venv/bin/nmdeploy demo -o build/demo

test: .venv-dev/ready
	$(DEV)python -m pytest -n 2 --dist loadfile -m "not slow"

test-slow: .venv-dev/ready
	$(DEV)python -m pytest -n 2 --dist loadfile -m slow

check: .venv-dev/ready
	$(DEV)ruff check .
	$(DEV)ruff format --check .
	$(DEV)mypy
	$(DEV)python -m pytest -q tests/test_imports.py tests/test_house.py tests/test_english.py

docs: .venv-dev/ready
	$(DEV)mkdocs build --strict --site-dir build/site

bench: .venv-bench/ready
	.venv-bench/bin/python -m benchmarks.run $(BENCH)

clean:
	rm -rf build .venv .venv-dev .venv-bench

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python $(PIP) --editable .
	touch $@

.venv-dev/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-dev
	$(DEV)python $(PIP) --editable ".[train,importers,docs,dev]"
	touch $@

.venv-bench/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python $(PIP) --editable ".[bench]"
	touch $@
