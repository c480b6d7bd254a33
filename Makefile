# The two commands are `make up` and `make test`. `make help` names the rest.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadgroup

.DEFAULT_GOAL := help
.PHONY: help up test check lock screenshots clean install

help: ## say what can be made
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 14

up: install ## start the whole desk: database, Temporal, workers, web
	@exec $(BIN)/python -m devstack.up

test: install ## run every test against real servers and a real browser
	@$(PYTEST)

check: install ## what CI runs: linters, types, Django's own checks, then the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	git ls-files -z 'templates/*.html' | xargs -0 $(BIN)/djade --check --target-version 5.2
	$(PYTEST)

lock: install ## pin requirements*.in again, at the newest versions
	@$(PYTHON) devstack/bootstrap.py lock

screenshots: install ## take the pictures of the README
	@$(BIN)/python -m tests.screenshots

clean: ## remove the packages and all data of `make up`
	rm -rf .venv .data staticfiles

install:
	@$(PYTHON) devstack/bootstrap.py
