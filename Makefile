# Every command for developers. Anything longer than a line is a script under tests/.
# `make lint unit` may be combined; PYTHON3=python3.13 chooses another Python.
PYTHON3 ?= python3
RUN := $(PYTHON3) tests/env.py
PIN := --upgrade --quiet --universal --generate-hashes --custom-compile-command "make pins"

help: ## this list
	@awk -F ' *## *' '/^[a-z-]+:.*## / {sub(/:.*/, "", $$1); printf "  make %-12s %s\n", $$1, $$2}' Makefile

lint: ## style and mistakes: Ansible, YAML, Python, types, changelog
	$(RUN) tests/check.py lint

unit: ## plugins and templates, no host needed (seconds)
	$(RUN) tests/check.py unit

contract: ## what holds for the whole repository (seconds)
	$(RUN) tests/check.py contract

published: ## what is published: sanity tests, Galaxy's importer, the site (minutes at first)
	$(RUN) tests/check.py published

system: ## the demonstration and the installed package, as users have them (minutes)
	$(RUN) tests/check.py system

scenario: ## one role on fresh test hosts: S=nginx_proxy (step by step: DO=converge, see molecule/README.md)
	$(RUN) $(if $(DO),molecule -c .config/molecule/config.yml $(DO) --scenario-name,tests/check.py) $(or $(S),$(error Which scenario? For instance S=nginx_proxy))

endurance: ## a run killed in each of its tasks, 20 switches under load (an hour; not part of `test`)
	$(RUN) pytest -q -s tests/endurance

test: ## everything: all of the above but endurance, every scenario
	$(RUN) tests/check.py

demo: ## the demonstration application on a test host, up and running
	$(RUN) python3 tests/demo up

demo-stop: ## stop the demonstration
	$(RUN) python3 tests/demo down

host: ## start a test host, print its inventory: NAME=web1 DIST=13 DOMAIN=web1.test
	@$(PYTHON3) tests/hosts up $(or $(NAME),$(error Which host? For instance NAME=web1)) --dist $(or $(DIST),13) \
	  $(DOMAIN:%=--domain %)

hosts: ## list the test hosts
	@$(PYTHON3) tests/hosts list

host-stop: ## stop a test host: NAME=web1
	@$(PYTHON3) tests/hosts down $(or $(NAME),$(error Which host? See `make hosts`))

bench: ## compare our speed with that of other tools (half an hour on a quiet machine)
	$(RUN) python -m benchmarks

bench-quick: ## a part of it (five minutes)
	$(RUN) python -m benchmarks --quick

site: ## the documentation as a site, in .venv/site/html
	$(RUN) python -m tests.site

package: ## build the collection into dist/; the same commit gives the same file
	$(RUN) python tests/package.py dist

pins: ## choose the newest allowed versions of the tools, and of certbot, again
	$(RUN) uv pip compile roles/letsencrypt/files/certbot.in --output-file roles/letsencrypt/files/certbot.txt \
	  --python-version 3.11 $(PIN)
	$(RUN) uv pip compile tests/requirements.in --output-file tests/requirements.txt --python-version 3.11 $(PIN)
	$(RUN) uv pip compile tests/system/chat/requirements.in --output-file tests/system/chat/requirements.txt \
	  --python-version 3.11 $(PIN)
	$(RUN) uv pip compile tests/system/newest-ansible.in --output-file tests/system/newest-ansible.txt \
	  --python-version 3.13 $(PIN)
	$(RUN) uv pip compile benchmarks/peers/pyinfra/requirements.in \
	  --output-file benchmarks/peers/pyinfra/requirements.txt --python-version 3.11 $(PIN)
	for grader in tests/graders/*.in; do \
	  $(RUN) uv pip compile $$grader --output-file $${grader%.in}.txt --python-version 3.11 $(PIN) || exit; done

clean: ## remove the environment, caches and all test hosts
	-$(PYTHON3) tests/hosts down --all
	rm -rf .venv .ansible .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache

.PHONY: help lint unit contract published system scenario endurance test demo demo-stop host hosts host-stop bench \
  bench-quick site package pins clean
