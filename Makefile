# `make demo` and `make test` work on a fresh clone with nothing but Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# NautilusTrader wants pandas 2, which our other environment does not have.
NAUTILUS := .venv-nautilus

.PHONY: demo test slow cluster nautilus gpu lint docs docs-build examples instruction-sets peers bench trial clean
.DEFAULT_GOAL := demo

# Installed once, and again only when what is to be installed has changed.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "regimeshift needs Python >= 3.11; name one with: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python's venv module is missing (on Debian: apt-get install python3-venv)"; exit 1; }
	@echo "Installing into $(VENV) (once; a few minutes) ..."
	@$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(STAMP)
	$(BIN)/regimeshift demo $(ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

# What needs a GPU. constraints.txt has torch's CPU build: first install a CUDA build of it into the environment.
gpu: $(STAMP)
	$(BIN)/python -m pytest -m gpu -rs $(ARGS)

# The notebooks of examples/, executed anew.
examples: $(STAMP)
	$(BIN)/python -m pytest -m slow tests/test_examples.py $(ARGS)

# What takes too long for `make test` and must not break: whole demos, servers, and a team's server with PostgreSQL.
slow: $(STAMP)
	$(BIN)/python -m pytest -n 2 -m slow tests/regimeshift tests/backtests/watch tests/backtests/test_carried.py \
	  tests/backtests/test_deployment.py tests/backtests/test_server.py tests/test_whole_way.py tests/test_team.py tests/test_docs.py $(ARGS)

# The fast part of the suite as other processors would run it.
instruction-sets: $(STAMP)
	.ci/instruction_sets $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation as a site, on http://127.0.0.1:8000, rebuilt when a page or a docstring changes.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve --watch markets --watch strategies --watch metalearner --watch backtests $(ARGS)

# Into build/site; any warning is an error.
docs-build: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(ARGS)

# The tools that ours is compared with, beside it. empyrical-reloaded pins a peewee, which it does not need, that others refuse.
$(VENV)/.peers: $(STAMP)
	@$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,peers]'
	@$(BIN)/pip install --quiet --no-deps empyrical-reloaded==0.7.1
	@touch $@

# Conformance with other tools, and other tools' learners on our environments.
peers: $(VENV)/.peers
	$(BIN)/python -m pytest -n 2 -m peers $(ARGS)

# One walk-forward on a Dask and on a Ray cluster of this machine.
$(VENV)/.cluster: $(STAMP)
	@$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,cluster]'
	@touch $@

cluster: $(VENV)/.cluster
	$(BIN)/python -m pytest -m cluster $(ARGS)

# A registered model on NautilusTrader's engine: examples/nautilus.py.
$(NAUTILUS)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -m venv $(NAUTILUS)
	@grep -vE '^(pandas|fsspec)==' constraints.txt > $(NAUTILUS)/constraints.txt
	@$(NAUTILUS)/bin/pip install --quiet --constraint $(NAUTILUS)/constraints.txt --editable '.[nautilus]' pytest pytest-timeout hypothesis
	@touch $@

nautilus: $(NAUTILUS)/.installed
	$(NAUTILUS)/bin/python -m pytest -m nautilus tests/test_nautilus.py $(ARGS)

# FinRL's own requirements bring brokers and clusters; the benchmark reads one file of it. econirl brings JAX.
bench: $(VENV)/.peers
	-@$(BIN)/pip install --quiet --no-deps finrl==0.3.7
	-@$(BIN)/pip install --quiet --constraint constraints.txt econirl==0.1.1
	for name in ceilings walkforward simulator backtests features splits significance regimes headroom alarms serving inverse teachers adversarial hierarchy transfer adaptation published planted training_speed; do $(BIN)/python -W ignore -m benchmarks.$$name || exit 1; done

# The fair trial on real prices. It opens the test spans of the committed protocol, and records that in benchmarks/results/looks.csv.
trial: $(STAMP)
	$(BIN)/regimeshift data fetch all
	$(BIN)/python -W ignore -m benchmarks.real_market --jobs 2 $(ARGS)

clean:
	rm -rf $(VENV) $(NAUTILUS) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
