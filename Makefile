.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
# dvc runs stages with the first `python` on PATH.
export PYTHONUNBUFFERED := 1
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help env repro rivals run ablation test lint docs bench notebooks lock clean

help: ## show this help
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

env: .venv/installed ## create .venv and install the pinned packages

.venv/installed: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vitol needs Python 3.11 or newer, this is " + sys.version)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

repro: env ## rebuild Tables 1-4 with DVC and compare them with the committed results
	dvc repro
	python -m experiments.compare
	@echo "The report: $(CURDIR)/results/report.html"

rivals: env ## the same with the rivals of Tables 1 and 2 trained and measured as well: make rivals [SEEDS="0 1 2"]
	python -m experiments.select mini small --rivals all --seeds $(or $(SEEDS),0)
	dvc repro
	python -m experiments.compare
	@echo "The report: $(CURDIR)/results/report.html"

run: env ## rebuild them on a registered data set: make run DATASET=cub BACKBONE=deit_base [SEEDS="0 1 2"] [PROCESSES=8]
	python -m experiments.select $(DATASET) $(BACKBONE) --seeds $(or $(SEEDS),0) --processes $(or $(PROCESSES),1)
	dvc repro
	python -m experiments.compare
	@echo "The report: $(CURDIR)/results/report.html"

ablation: env ## run the ablations of p-ADL, each as a DVC experiment: make ablation [DATASET=mini BACKBONE=small]
	python -m experiments.ablate $(or $(DATASET),mini) $(or $(BACKBONE),small)

test: env ## run all tests, on as many cores as there are (JOBS=1 for one): make test [JOBS=2]
	pytest -n $(or $(JOBS),auto) --dist loadfile --no-loadscope-reorder

lint: env ## check style and types
	ruff check .
	ruff format --check .
	mypy

docs: env ## build the documentation's site to results/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet
	@echo results/site/index.html

bench: env ## run the benchmarks, one after another (the scorer's needs `make repro` first)
	python -m experiments.benchmarks.training_step
	python -m experiments.benchmarks.loader
	python -m experiments.benchmarks.maps
	python -m experiments.benchmarks.scorer
	python -m experiments.benchmarks.shards

notebooks: env ## execute the notebooks again, to results/notebooks as .ipynb and HTML (needs `make repro` first)
	python -m experiments.notebooks

lock: ## compile requirements.txt anew from pyproject.toml (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-annotate --no-header \
	  --no-emit-index-url pyproject.toml -o requirements.txt
	{ echo "# Exact versions for every platform, made by \`make lock\`; torch and torchvision go together."; \
	  cat requirements.txt; } > requirements.new
	mv requirements.new requirements.txt

clean: ## remove results and the environment
	rm -rf results .venv
