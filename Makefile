# make run    sets up .venv once, then compares CE, focal loss and LiLAW on noisy digits over five seeds
# make test   sets up .venv once, then runs the tests (PYTEST="-m 'slow or not slow'" adds the slow ones)
# make bench  measures speed; make lint  runs ruff and mypy; make lock  writes scripts/requirements.lock from .venv
# make PYTHON=/path/to/python3.12 run   uses this interpreter

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
PYTEST :=
NEW_ENOUGH := -c "import sys; sys.exit(sys.version_info < (3, 11))"

.PHONY: help run test bench lint lock clean
help:
	@sed -n 's/^# make/make/p' Makefile

run: $(READY)
	$(BIN)/python -m lilawbench.train experiment=digits

# With cached bytecode the tests start in two thirds of the time.
test: export PYTHONDONTWRITEBYTECODE =
test: $(READY)
	$(BIN)/python -m pytest -n 2 $(PYTEST)

bench: $(READY)
	$(BIN)/python scripts/bench.py

lint: $(READY)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

# Installs once, and again when the lock file or pyproject.toml changes.
$(READY): scripts/requirements.lock pyproject.toml
	@set -e; \
	python="$(PYTHON)"; \
	if [ -z "$$python" ]; then \
	  for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	    if command -v $$name >/dev/null 2>&1 && $$name $(NEW_ENOUGH) 2>/dev/null; then python=$$name; break; fi; \
	  done; \
	fi; \
	if [ -z "$$python" ] || ! "$$python" $(NEW_ENOUGH) 2>/dev/null; then \
	  echo "lilawbench needs Python 3.11 or newer; found: $$($${python:-python3} --version 2>&1 || true)." >&2; \
	  echo "Install one, or name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$("$$python" --version): about 6 GB with CUDA, a few minutes, once"; \
	"$$python" -m venv $(VENV) || { echo "python -m venv failed; on Debian: apt-get install python3-venv" >&2; exit 1; }; \
	$(BIN)/python scripts/install.py --requirement scripts/requirements.lock; \
	$(BIN)/python scripts/install.py --no-deps --no-build-isolation --editable .; \
	touch $(READY)

lock:
	$(BIN)/python -m pip freeze --exclude-editable --exclude lilawbench \
	  | sed -E 's/^((nvidia|cuda|triton)[^=]*==.*)$$/\1 ; sys_platform == "linux"/' > scripts/requirements.lock

clean:
	rm -rf $(VENV) build dist *.egg-info
