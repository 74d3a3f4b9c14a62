# Every target works on a fresh machine with Python 3.11, git and make: each sets up .venv/ by itself.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3,$(shell command -v $(p))))
VENV := .venv
BIN := $(VENV)/bin
PIP = $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
WORKDIR ?= runs/demo
BENCHDIR ?= runs/bench

.PHONY: install demo test test-browser lint bench parity clean help

help:
	@echo "make install sets up $(VENV)/ and runs nothing"
	@echo "make demo   train, evaluate and report SERUGCL on the embedded corpus, into $(WORKDIR)"
	@echo "make test   lint, types and tests"
	@echo "make test-browser   the page of sercl_jax.serve in a headless Chromium, which must be installed with its driver"
	@echo "make lint   lint and types only"
	@echo "make bench  throughput against PyTorch, PyTorch Geometric, transformers and openSMILE, of the input and of builds, into $(BENCHDIR)"
	@echo "make parity speech encoders against transformers' torch models, layer by layer"

install: $(VENV)/.base

demo: $(VENV)/.base
	$(BIN)/python -m sercl_jax.main --config=configs/serugcl.py --workdir=$(WORKDIR)

test: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadfile -q

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/mypy

# CHROME and CHROMEDRIVER name programs that are not found by their usual names.
test-browser: $(VENV)/.test
	$(BIN)/python -m pytest tests/browser -q

bench: $(VENV)/.bench
	mkdir -p $(BENCHDIR)
	$(BIN)/python -m benchmarks.serugcl --peer torch --json $(BENCHDIR)/serugcl.json --profile $(BENCHDIR)/profile/serugcl
	$(BIN)/python -m benchmarks.cpc --peer torch --json $(BENCHDIR)/cpc.json --profile $(BENCHDIR)/profile/cpc
	$(BIN)/python -m benchmarks.supcon --peer torch --json $(BENCHDIR)/supcon.json --profile $(BENCHDIR)/profile/supcon
	$(BIN)/python -m benchmarks.input --json $(BENCHDIR)/input.json --profile $(BENCHDIR)/profile/input
	$(BIN)/python -m benchmarks.memory --json $(BENCHDIR)/memory.json
	$(BIN)/python -m benchmarks.dispatch --json $(BENCHDIR)/dispatch.json
	$(BIN)/python -m benchmarks.scaling --json $(BENCHDIR)/scaling.json
	$(BIN)/python -m benchmarks.features --json $(BENCHDIR)/features.json
	$(BIN)/python -m benchmarks.build --json $(BENCHDIR)/build.json
	$(BIN)/python -m benchmarks.summary $(BENCHDIR) --markdown $(BENCHDIR)/summary.md --plot $(BENCHDIR)/roofline.png

parity: $(VENV)/.parity
	$(BIN)/python tests/parity.py

# One stamp per set of packages; a change of the pins or of pyproject.toml installs again.
$(VENV)/.created:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3.11"; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	touch $@

$(VENV)/.base: $(VENV)/.created pyproject.toml constraints.txt
	$(PIP) -e .
	touch $@

$(VENV)/.test: $(VENV)/.created pyproject.toml constraints.txt
	$(PIP) -e '.[test,opensmile,build,embed,serve,browser]'
	touch $@

$(VENV)/.bench: $(VENV)/.created pyproject.toml constraints.txt
	$(PIP) -e '.[peer,opensmile]'
	touch $@

$(VENV)/.parity: $(VENV)/.created pyproject.toml constraints.txt
	$(PIP) -e '.[parity]'
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
