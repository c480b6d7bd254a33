# The two commands are `make up` and `make test`. `make help` names the rest.
PYTHON ?= python3
BIN := .venv/bin
# A file's tests share what is dear to start, such as a stack or a batch of orders. The files come in tests/conftest's order.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder
# Django as in production, for what only looks at the code: a random key and no database.
PRODUCTION := DJANGO_DEBUG=0 DATABASE_URL=postgresql:///none?host=/nowhere \
	DJANGO_SECRET_KEY=$$($(BIN)/python -c "import secrets; print(secrets.token_urlsafe(50))")

.DEFAULT_GOAL := help
.PHONY: help up test check chaos fuzz bench lock screenshots clean install

help: ## say what can be made
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 14

up: install ## start the whole desk: database, Temporal, workers, web
	@exec $(BIN)/python -m devstack.up

test: install ## run every test against real servers and a real browser
	@$(PYTEST)

check: install ## what CI runs: linters, types, Django's own checks, then the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/bandit --quiet --configfile pyproject.toml --severity-level medium --recursive \
		orders orders_site temporal_workers devstack gunicorn.conf.py manage.py
	$(PRODUCTION) $(BIN)/mypy .
	git ls-files -z '*.html' | xargs -0 $(BIN)/djade --check --target-version 5.2
	$(PRODUCTION) $(BIN)/python -W ignore manage.py makemigrations --check
	$(PRODUCTION) $(BIN)/python manage.py check --deploy --fail-level WARNING
	$(PYTEST)

chaos: install ## strike the whole desk for ten minutes and judge what is left: make chaos ARGS="--seeds 3"
	@$(BIN)/python -m tests.chaos $(ARGS)

bench: install ## measure the desk beside what it is made of: make bench ARGS="lifecycle --orders 100"
	@$(BIN)/python -m tests.bench $(ARGS)

fuzz: install ## ask the API what its description allows, and what not, for five minutes: make fuzz ARGS="--seed 7"
	@$(BIN)/python -W ignore -m tests.fuzz $(ARGS)

lock: install ## pin requirements*.in again, at the newest versions
	@$(PYTHON) devstack/bootstrap.py lock

screenshots: install ## take the pictures of the README
	@$(BIN)/python -m tests.screenshots

clean: ## remove the packages and all data of `make up`
	rm -rf .venv .data staticfiles

install:
	@command -v $(PYTHON) >/dev/null || { \
		echo "There is no $(PYTHON): name a Python 3.11 or newer, as in \`make up PYTHON=/path/to/python3.11\`." >&2; exit 1; }
	@$(PYTHON) devstack/bootstrap.py
