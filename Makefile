# `make` alone prints what there is. Each target sets up what it needs.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := true
export MLFLOW_DISABLE_TELEMETRY := true

.DEFAULT_GOAL := help
.PHONY: help setup repro test test-outputs lint format ui benchmarks clean

help:  ## Print this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## Build .venv from requirements.lock

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

repro: $(READY)  ## Run the whole pipeline, then predict on one exposure
	$(BIN)/dvc repro
	$(BIN)/blobwatch sync
	$(BIN)/blobwatch predict "$$(ls data/difference/*_diff.fits | tail -n 3 | head -n 1)" --plot predictions
	@echo
	@echo "The answer's picture: predictions/   the report: reports/evaluate/   the runs: make ui"

test: $(READY)  ## Run the tests
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

test-outputs: $(READY)  ## Run the tests of the built data and of the deployed model
	$(BIN)/python -m pytest -m pipeline

lint: $(READY)  ## Check style and form
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)  ## Mend style and form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

ui: $(READY)  ## Open the runs in MLflow at http://127.0.0.1:5000
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow ui --workers 1 --host 127.0.0.1 \
	    --backend-store-uri $${MLFLOW_TRACKING_URI:-sqlite:///$(CURDIR)/mlflow.db}

benchmarks: $(READY)  ## Measure the figures of docs/performance.md
	$(BIN)/python benchmarks/measure.py

clean:  ## Remove what can be made again: .venv, caches, outputs of the pipeline
	rm -rf $(VENV) .pytest_cache .ruff_cache predictions data/difference data/subframes data/raw/simulated \
	    models/candidate models/baseline reports/evaluate/figures reports/register/decision.json
