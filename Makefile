# The two commands of a newcomer are `make demo` and `make test`. Each sets up .venv first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRAS := $(VENV)/.extras
BROWSER := $(VENV)/.browser
# Tests run two processes; one thread each is faster than two fighting for the cores.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: demo experiments test test-slow test-cluster test-trackers test-browser test-long lint format benchmark docs wheel clean help

help:
	@echo "make demo       install, train a network on real digits, measure its Hessian"
	@echo "make experiments  every figure of the paper in miniature (minutes each)"
	@echo "make test       install, run the whole test suite"
	@echo "make test-slow  what is too slow for every day"
	@echo "make test-cluster  executors on a real Ray and a real Slurm, started on this machine"
	@echo "make test-trackers  MLflow and TensorBoard"
	@echo "make test-browser  the report page in a real Chromium (Debian: apt-get install chromium)"
	@echo "make test-long  every composition of the registry, the page of the whole quickstart (an hour)"
	@echo "make lint       ruff, mypy, import-linter"
	@echo "make benchmark  start-up, training and metrics against the named alternatives"
	@echo "make docs       regenerate the reference pages"

$(STAMP): pyproject.toml .ci/constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "llt needs Python 3.11 or newer"'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint .ci/constraints.txt --editable '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/llt run --task digits --metric hessian_trace --metric hessian_top_eigenvalue \
		--metric train_loss --metric test_accuracy

# Stand-in data is built where ../shared/tools is; name the files of some: make experiments FILES=...
experiments: $(STAMP)
	LLT=$(BIN)/llt experiments/run_minis.sh $(FILES)

test: $(STAMP)
	$(ONE_THREAD) $(BIN)/python -m pytest -q

test-slow: $(STAMP)
	$(ONE_THREAD) $(BIN)/python -m pytest -q -m slow

# Ray and the trackers bring hundreds of megabytes, which the other tests do without.
$(EXTRAS): $(STAMP)
	$(BIN)/pip install --quiet --constraint .ci/constraints.txt --editable '.[dev,ray,mlflow,tensorboard]'
	touch $@

# One process: each suite starts a cluster of its own.
test-cluster: $(EXTRAS)
	$(ONE_THREAD) $(BIN)/python -m pytest -q -n 0 -m cluster

test-trackers: $(EXTRAS)
	$(ONE_THREAD) $(BIN)/python -m pytest -q -m 'slow or not slow' tests/llt_plugins/trackers

# Only the driver comes from PyPI; the browser is the system's, and without it the tests skip.
$(BROWSER): $(STAMP)
	$(BIN)/pip install --quiet --constraint .ci/constraints.txt --editable '.[dev,browser]'
	touch $@

# One process: a browser has processes enough of its own.
test-browser: $(BROWSER)
	$(ONE_THREAD) $(BIN)/python -m pytest -q -n 0 -m 'browser and not long'

test-long: $(BROWSER)
	$(ONE_THREAD) $(BIN)/python -m pytest -q -m long

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: $(STAMP)
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/hessian_products.py
	$(BIN)/python benchmarks/metrics.py
	$(BIN)/python benchmarks/similarity.py
	$(BIN)/python benchmarks/curve_training.py
	$(BIN)/python benchmarks/sweep.py

docs: $(STAMP)
	$(BIN)/python docs/generate_reference.py

wheel: $(STAMP)
	$(BIN)/python -m build --wheel --outdir dist

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
