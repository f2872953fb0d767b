# make demo    set up nbopt in .venv and open the quickstart in JupyterLab (PORT=, LAB_ARGS=)
# make lab     the same, where all is set up already
# make test    everything continuous integration checks (PYTEST_ARGS=, PROCESSES=)
# make lint    style and types only
# make bench   measure speed, against other libraries too (BENCH_ARGS=)
# make field   train public codes, of other libraries too, by their own loops and by runs (PYTEST_ARGS=)
# make gpu     tests and speed on a GPU, with a python3 that has torch for it, and without Jupyter
# make clean   remove what these made
#
# Python 3.11 or newer is all it takes. Nothing is installed or set in the home folder: the environment,
# node and the settings of the demo live in .venv, the packages of the extension in labextension/.

PORT ?= 8888
LAB_ARGS ?=
PYTEST_ARGS ?=
PROCESSES ?= 2
BENCH_ARGS ?=
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done)

VENV := .venv
FIELD := $(VENV)/field
STAMPS := $(VENV)/stamps
PY := $(VENV)/bin/python
# Absolute, whether VENV is or not.
VENV_PATH := $(if $(filter /%,$(VENV)),,$(CURDIR)/)$(VENV)
COMPILE := --compile
PIP_INSTALL := $(PY) -m pip --disable-pip-version-check install $(COMPILE) --constraint constraints.txt
EXTENSION := nbopt/labextension/package.json
EXTENSION_SOURCES := $(wildcard labextension/src/* labextension/style/*) \
	$(addprefix labextension/,install.json package.json tsconfig.json)
NODE_MODULES := labextension/node_modules/.yarn-state.yml

export PATH := $(VENV_PATH)/bin:$(PATH)
export IPYTHONDIR := $(VENV_PATH)/jupyter/ipython
export JUPYTER_CONFIG_DIR := $(VENV_PATH)/jupyter/config
export JUPYTER_DATA_DIR := $(VENV_PATH)/jupyter/data
export JUPYTER_RUNTIME_DIR := $(VENV_PATH)/jupyter/runtime
export npm_config_cache := $(VENV_PATH)/npm
# Kernels and other processes by the dozen import the package: it is compiled once, not by each of them.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo set-up lab test run-tests lint lint-python lint-scripts test-scripts bench field gpu browser clean
.DELETE_ON_ERROR:

NO_SCREEN := $(if $(filter Linux,$(shell uname)),$(if $(DISPLAY)$(WAYLAND_DISPLAY),,--no-browser))
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

NO_NEWS := {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}

# What pip and JupyterLab print goes to a log, which is named where something failed.
SET_UP_LOG := $(VENV)/set-up.log
LAB_LOG := $(VENV)/lab.log

demo:
	@mkdir -p $(VENV)
	@test -e $(STAMPS)/demo || echo 'Setting up nbopt in $(VENV), which takes a minute or two the first time ...'
	@$(MAKE) --no-print-directory --jobs=2 set-up >$(SET_UP_LOG) 2>&1 || { tail -n 15 $(SET_UP_LOG) >&2; \
		echo 'Setting up failed. All of what was printed is in $(SET_UP_LOG).' >&2; exit 1; }
	@$(MAKE) --no-print-directory lab

set-up: $(STAMPS)/demo

# Runs until Ctrl-C. The address is printed once the server listens.
lab:
	@mkdir -p "$(JUPYTER_CONFIG_DIR)/labconfig"
	@echo '$(NO_NEWS)' > "$(JUPYTER_CONFIG_DIR)/labconfig/default_setting_overrides.json"
	@: >$(LAB_LOG)
	@$(PY) -m jupyterlab --ServerApp.root_dir=examples --LabApp.default_url=/lab/tree/quickstart.ipynb \
		--port=$(PORT) $(NO_SCREEN) $(AS_ROOT) $(LAB_ARGS) >$(LAB_LOG) 2>&1 & lab=$$!; \
	trap 'kill $$lab 2>/dev/null; wait $$lab; exit 0' INT TERM; \
	until url=$$(awk '/ is running at:$$/ {getline; print $$NF; exit}' $(LAB_LOG)) && test -n "$$url"; do \
		kill -0 $$lab 2>/dev/null || { tail -n 15 $(LAB_LOG) >&2; \
			echo 'JupyterLab did not start. All of what it printed is in $(LAB_LOG).' >&2; exit 1; }; \
		sleep 0.1; \
	done; \
	echo "Open $$url"; \
	wait $$lab

# Python's packages take one core, all of the pages' scripts the other, which is done sooner. Compiling all of the packages
# would take as long as installing them: the tests import a third. Style and types of Python are checked where tests wait.
test:
	@$(MAKE) --no-print-directory --jobs=2 COMPILE=--no-compile browser $(STAMPS)/test test-scripts
	@$(MAKE) --no-print-directory --jobs=2 run-tests lint-python

run-tests: $(STAMPS)/test browser
	$(PY) -m pytest --numprocesses=$(PROCESSES) --dist=loadfile $(PYTEST_ARGS) tests

lint: lint-python lint-scripts

lint-python: $(STAMPS)/test
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy

lint-scripts: $(NODE_MODULES)
	cd labextension && jlpm lint

test-scripts: lint-scripts
	cd labextension && jlpm test

bench: $(STAMPS)/bench browser
	$(PY) -m tests.benchmarks $(BENCH_ARGS)

field: $(FIELD)/stamp
	$(FIELD)/bin/python -m pytest $(PYTEST_ARGS) tests/field
	$(FIELD)/bin/python -m tests.field

gpu:
	@PYTHONPATH="$(CURDIR)" python3 -m tests.gpu

# The stamp's name is the extra: everything it needs is installed, while the extension is made where make has two jobs.
$(addprefix $(STAMPS)/,demo test bench): $(STAMPS)/%: $(STAMPS)/needs-% $(EXTENSION)
	SKIP_JUPYTER_BUILDER=1 $(PIP_INSTALL) --no-build-isolation --no-deps --editable .
	touch $@

NEEDS = import sys, tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	listed = lambda extra: [each for need in project["optional-dependencies"][extra] for each in (\
		sum(map(listed, need[6:-1].split(",")), []) if need.startswith("nbopt[") else [need])]; \
	print(*project["dependencies"], *listed(sys.argv[1]))

$(addprefix $(STAMPS)/needs-,demo test bench): $(STAMPS)/needs-%: $(STAMPS)/build
	$(PIP_INSTALL) $$($(PY) -c '$(NEEDS)' $*)
	touch $@

# An environment of its own: other libraries fail where torchvision was built for another torch, as it may be.
$(FIELD)/stamp: pyproject.toml constraints.txt | $(STAMPS)
	test -x $(FIELD)/bin/pip || $(PYTHON) -m venv $(FIELD)
	$(FIELD)/bin/python -m pip --disable-pip-version-check install --constraint constraints.txt \
		$$($(FIELD)/bin/python -c '$(NEEDS)' field)
	touch $@

# The extension is built for production and type-checked; node and jlpm come with the build requirements.
$(EXTENSION): $(NODE_MODULES) $(EXTENSION_SOURCES)
	rm -rf $(@D)
	cd labextension && jlpm build:prod

$(NODE_MODULES): $(STAMPS)/build $(addprefix labextension/,.yarnrc.yml package.json yarn.lock)
	cd labextension && jlpm install --immutable
	touch $@

BUILD_REQUIRES = import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"])

$(STAMPS)/build: pyproject.toml constraints.txt | $(STAMPS)
	$(PIP_INSTALL) $$($(PY) -c '$(BUILD_REQUIRES)')
	touch $@

$(STAMPS):
	@test -n '$(PYTHON)' || { echo 'nbopt needs Python 3.11 or newer: make PYTHON=/path/to/python3' >&2; exit 1; }
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("nbopt needs Python 3.11 or newer")'
	test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
	mkdir -p $@

browser:
	@for name in chromium chromium-browser google-chrome; do \
		if command -v $$name >/dev/null; then exit 0; fi; done; \
	sudo=; test "$$(id -u)" = 0 || sudo='sudo -n'; \
	if command -v apt-get >/dev/null && $$sudo true 2>/dev/null; then \
		$$sudo apt-get update -q && $$sudo env DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core; \
	else \
		echo 'The browser tests need Chromium or Chrome: install it, so that the command "chromium",' \
			'"chromium-browser" or "google-chrome" is found.' >&2; exit 1; \
	fi

clean:
	rm -rf $(VENV) nbopt/labextension labextension/lib labextension/node_modules labextension/.yarn
