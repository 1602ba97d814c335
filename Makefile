# Everything happens in .venv; delete it (make clean) to start over.
PYTHON ?= python3
BIN := .venv/bin
INSTALL = $(BIN)/python -m pip install --quiet --constraint constraints.txt
LAMBDAS := 1e-4,1e-5,1e-6
# neighbours share fixtures, so they run in one process
PARALLEL := --numprocesses 2 --dist worksteal

.PHONY: help demo test isa soak audit check clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/'

demo: .venv/installed  ## train on digits, sweep lam over digits it never saw, compare (minutes)
	$(BIN)/python -m gan_inpaint.train +experiment=dcgan
	$(BIN)/python -m gan_inpaint.reconstruct -m lam=$(LAMBDAS) \
		limit=64 restarts=8 baselines=true

test: check  ## lint, type-check, run the tests; those of the numbers also as where bf16 is native
	$(BIN)/pytest $(PARALLEL)
	$(BIN)/pytest $(PARALLEL) --bf16 -m bf16 tests

soak: check isa  ## kills, faults and hostile input, ten times as often, and the slowest tests
	$(BIN)/pytest --soak --timeout 5000 -s tests/test_interruption.py tests/test_hostile.py \
		tests/test_faults.py tests/test_devices.py tests/test_app_page.py

isa: check  ## the tests as with native bf16, then as on three older processors, the last one with Intel's rounding
	$(BIN)/pytest $(PARALLEL) --bf16
	ATEN_CPU_CAPABILITY=avx512 ONEDNN_MAX_CPU_ISA=AVX512_CORE MKL_ENABLE_INSTRUCTIONS=AVX512 \
		$(BIN)/pytest $(PARALLEL)
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 \
		$(BIN)/pytest $(PARALLEL)
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2 \
		$(BIN)/pytest $(PARALLEL) --rounding

audit: .venv/developed  ## known vulnerabilities of the pinned versions (asks PyPI's database)
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip

check: .venv/developed  ## lint, type-check, and check who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

clean:  ## remove the environment and caches (not outputs/ and multirun/)
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) --editable .
	touch $@

.venv/developed: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) --editable '.[dev]'
	touch $@ .venv/installed
