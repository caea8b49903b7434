# `make help` lists the targets. Each sets up what it needs in .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JS := viz/components
# Browser tests wait as often as they work: one worker more than cores, and no more than memory.
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); echo $$((n < 5 ? n + 1 : 5)))
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
TOTAL := $(BIN)/coverage report --format=total

.DEFAULT_GOAL := help
.PHONY: help run test test-all check style types docs javascript lock lint coverage figures clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/app ## Open the app
	$(BIN)/streamlit run app.py

test: check ## Run every check, and every test but the slow ones
	$(PYTEST) -m "not slow"

# To watch every line takes as long again as the tests themselves, so it is done here alone.
test-all: check ## Run every check and every test, with the slow ones; print the coverage
	$(PYTEST) --cov --cov-report=
	@$(MAKE) --no-print-directory figures

check: $(VENV)/dev ## Check style, types, API reference and JavaScript
	@$(MAKE) --no-print-directory -j2 types style docs javascript

style: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev ## Check the types
	$(BIN)/mypy

docs: $(VENV)/dev ## Write the API reference into docs/api
	$(BIN)/python docs/build_api.py

javascript: ## Lint the JavaScript, where npm is installed
	@if command -v npm >/dev/null; then \
	  cd $(JS) && { [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --silent; } && \
	  npm run --silent lint; \
	else echo "There is no npm on this machine: the JavaScript is not linted."; fi

lock: ## Write requirements.lock anew, where uv is installed
	uv pip compile requirements.txt --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate -q -o requirements.lock

lint: $(VENV)/dev ## Sort imports, mend what can be mended, format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	@if [ -d $(JS)/node_modules ]; then npm --prefix $(JS) run --silent format; fi

coverage: ## List the lines that no test reached, after make test-all
	@$(BIN)/coverage report --show-missing --skip-covered

figures:
	@echo "Coverage: model/ $$($(TOTAL) --include='model/*') %," \
	  "viz/ without its pages $$($(TOTAL) --include='viz/*' --omit='viz/pages/*') %"

$(VENV)/app: requirements.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/dev: requirements-dev.txt $(VENV)/app
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements-dev.txt
	touch $@

clean: ## Remove what was set up or made
	rm -rf $(VENV) $(JS)/node_modules docs/api .coverage .mypy_cache .pytest_cache .ruff_cache
