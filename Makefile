# `make` prints the targets. Each target installs its requirements first.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO_VENV := .venv-demo
DEMO_READY := $(DEMO_VENV)/.ready
DOCS_VENV := .venv-docs
DOCS_READY := $(DOCS_VENV)/.ready

# The lock names every package, so pip resolves nothing; modules are compiled when they are first imported.
PIP_OPTIONS := --quiet --disable-pip-version-check --no-deps --no-compile

export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := true
export MLFLOW_DISABLE_TELEMETRY := true

.DEFAULT_GOAL := help
.PHONY: help demo setup repro test test-outputs check lint format ui benchmarks docs clean

help:  ## Print this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Without torch, MLflow and DVC.
$(DEMO_READY): requirements.lock pyproject.toml
	@echo "Installing the core of blobwatch into $(DEMO_VENV) ..."
	@$(PYTHON) -m venv $(DEMO_VENV)
	@$(DEMO_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
	    --constraint requirements.lock --editable '.[plot]'
	@touch $@

demo: $(DEMO_READY)  ## Install only the core and find the blobs in examples/; about a minute
	$(DEMO_VENV)/bin/blobwatch predict examples/three_blobs_flt.fits.fz --stack examples/three_blobs_stack.fits.fz --plot predictions
	$(DEMO_VENV)/bin/blobwatch predict examples/one_blob_diff.fits.fz examples/no_blob_diff.fits.fz --plot predictions
	@echo
	@echo "Pictures: predictions/   true positions: examples/README.md"
	@echo "Next: $(DEMO_VENV)/bin/blobwatch predict YOUR_FILE --plot predictions"
	@echo "      $(DEMO_VENV)/bin/blobwatch inspect YOUR_FILE   # if the file is not accepted"
	@echo "      make repro                                # train the model yourself"

setup: $(READY)  ## Build .venv from requirements.lock

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(PIP_OPTIONS) -r requirements.lock
	$(BIN)/python -m pip install $(PIP_OPTIONS) --editable .
	touch $@

repro: $(READY)  ## Run the whole pipeline, then predict on one exposure
	$(BIN)/dvc repro
	$(BIN)/blobwatch sync
	$(BIN)/blobwatch predict "$$(ls data/difference/*_diff.fits | tail -n 3 | head -n 1)" --plot predictions
	@echo
	@echo "Picture of the prediction: predictions/   report: reports/evaluate/   runs: make ui"

test: $(READY)  ## Run the tests
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

test-outputs: $(READY)  ## Test the built data and the deployed model
	$(BIN)/python -m pytest -m pipeline

# The packages that change most often; two minutes at most.
QUICK := tests/images tests/instrument tests/dataset tests/detector tests/cli tests/test_pipeline.py tests/test_predict.py

check: lint  ## Check lint, types and the tests of what changes most often
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -q -n 2 -m "not slow" $(QUICK)

lint: $(READY)  ## Check lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## Fix lint and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

ui: $(READY)  ## Show the runs in MLflow at http://127.0.0.1:5000
	@echo "Open http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning"
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow ui --workers 1 --host 127.0.0.1 \
	    --backend-store-uri $${MLFLOW_TRACKING_URI:-sqlite:///$(CURDIR)/mlflow.db}

benchmarks: $(READY)  ## Measure the numbers in docs/performance.md
	$(BIN)/python benchmarks/measure.py

$(DOCS_READY): pyproject.toml
	$(PYTHON) -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $@

docs: $(DOCS_READY)  ## Build the documentation into docs/_build/html
	rm -rf docs/reference/generated
	$(DOCS_VENV)/bin/sphinx-build -q -W --keep-going -j 2 -b html docs docs/_build/html

clean:  ## Remove everything that can be rebuilt: environments, caches, pipeline outputs
	rm -rf $(VENV) $(DEMO_VENV) $(DOCS_VENV) docs/_build docs/reference/generated .pytest_cache .ruff_cache predictions data/difference data/subframes data/raw/simulated \
	    models/candidate models/baseline reports/evaluate/figures reports/register/decision.json
