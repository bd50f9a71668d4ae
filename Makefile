# Every target sets up what it needs; `make` alone lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OLD := .venv-old
DOCS := .venv-docs
RAY := .venv-ray
OLD_PYTHON ?= python3.11
C_PACKAGES := gcc g++ cmake pkg-config
JS := build/js
WEB_BUNDLES ?= demo/captioner-onnx-w8 demo/captioner-tflite-w8
WEB_PORT ?= 8000
MATRIX_BUNDLES ?= demo/captioner-onnx-w8 demo/captioner-tflite-w8
FONT_PACKAGES := fonts-noto-color-emoji fonts-noto-cjk
FIND_FONT := find /usr/share/fonts /usr/local/share/fonts $(HOME)/.fonts \
	$(HOME)/.local/share/fonts -name
TEST_JOBS ?= 2
export OMP_NUM_THREADS ?= 1

.PHONY: help install fonts compilers node js web demo images tour test lint format types check check-full check-ray matrix docs bench train clean

help: ## List the targets.
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

install: $(STAMP) ## Make .venv with every package, in one resolver run; instant when it is there.

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[all,dev]' torch==2.13.0
	touch $@

fonts: ## Install the fonts that drawn scenes need (Debian, as root); elsewhere say what is missing.
	@if $(FIND_FONT) NotoColorEmoji.ttf 2>/dev/null | grep -q .; then \
		true; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends $(FONT_PACKAGES); \
	else \
		echo "The Noto Color Emoji font is missing and scenes cannot be drawn without it." \
			"As root: apt-get install $(FONT_PACKAGES)" >&2; exit 2; \
	fi

compilers: ## Install what the C core's tests build with (Debian, as root); elsewhere say what is missing.
	@if command -v gcc >/dev/null && command -v g++ >/dev/null && command -v cmake >/dev/null \
		&& command -v pkg-config >/dev/null; then \
		true; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends $(C_PACKAGES); \
	else \
		echo "gcc, g++, cmake or pkg-config is missing. As root: apt-get install $(C_PACKAGES)" >&2; \
		exit 2; \
	fi

# Only what is missing: Debian's npm does not go beside a node from elsewhere.
node: ## Install what the JavaScript runtime's tests run with (Debian, as root); elsewhere say what is missing.
	@missing=""; \
	command -v node >/dev/null || missing="nodejs"; \
	command -v npm >/dev/null || missing="$$missing npm"; \
	command -v chromium >/dev/null || command -v google-chrome >/dev/null || missing="$$missing chromium"; \
	if [ -z "$$missing" ]; then \
		true; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing; \
	else \
		echo "For the JavaScript runtime, missing: $$missing (node 20 or later)." \
			"As root: apt-get install $$missing" >&2; \
		exit 2; \
	fi

js: node $(JS)/.installed ## Fetch the engines and the browser's driver of the JavaScript runtime's tests and page.

# Without scripts: onnxruntime-node's would fetch CUDA.
$(JS)/.installed: tests/embed_js/package.json
	mkdir -p $(JS)
	cp tests/embed_js/package.json $(JS)/
	cd $(JS) && npm install --ignore-scripts --no-audit --no-fund --no-package-lock --loglevel=error
	touch $@

demo/captioner-%-w8/manifest.json: | $(STAMP)
	$(BIN)/edgecap export --format $* --int8 -o $(@D) --overwrite

web: js $(STAMP) $(WEB_BUNDLES:%=%/manifest.json) ## Serve the page that captions in the browser, at http://127.0.0.1:8000/.
	$(BIN)/python examples/web/build.py -o build/web --modules $(JS)/node_modules $(WEB_BUNDLES)
	$(BIN)/python examples/web/serve.py build/web --port $(WEB_PORT)

demo: $(STAMP) ## Export to int8 TFLite and CoreML, caption a sample image, bench; say where the report lies.
	PATH="$(CURDIR)/$(BIN):$$PATH" examples/demo.sh

images: $(STAMP) fonts ## Make the images of the documents anew.
	PATH="$(CURDIR)/$(BIN):$$PATH" examples/images.sh

tour: $(STAMP) fonts ## Run every command once and make examples/tour.md of what they print.
	PATH="$(CURDIR)/$(BIN):$$PATH" examples/tour.sh

test: $(STAMP) fonts compilers js ## Run the tests.
	$(BIN)/python -m pytest -q -n $(TEST_JOBS)

lint: $(STAMP) ## Look for mistakes and formatting with ruff.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP) ## Let ruff put the formatting right.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# mypy cannot follow an editable install, so it reads links laid out as the package is installed.
types: $(STAMP) ## Check the types with mypy.
	@rm -rf build/types && mkdir -p build/types/edgecap
	@ln -s $(CURDIR)/edgecap/* $(CURDIR)/exporters $(CURDIR)/benchmarks build/types/edgecap/
	cd build/types && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml -p edgecap

check: lint types test ## Everything to run before a commit.

check-full: lint types fonts js $(OLD)/.installed ## The same with coverage, more random text, and int8 on an old board's runtime.
	$(BIN)/coverage run -m pytest -q -m 'full or not full'
	$(BIN)/coverage report --skip-covered --sort=cover
	EDGECAP_ID_LISTS=100000 $(BIN)/python -m pytest -q tests/runtime/text
	EDGECAP_OLD_PYTHON=$(CURDIR)/$(OLD)/bin/python $(BIN)/python -m pytest -q tests/old_runtime

check-ray: $(RAY)/.installed fonts ## Captions and indexes on a local Ray cluster, one worker of which is killed.
	$(RAY)/bin/python -m pytest -q tests/on_ray

$(RAY)/.installed: pyproject.toml
	$(PYTHON) -m venv $(RAY)
	$(RAY)/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[onnx,search,ray]' onnx pytest hypothesis
	touch $@

matrix: $(STAMP) $(MATRIX_BUNDLES:%=%/manifest.json) ## The runtime on other Pythons and package versions; writes docs/matrix.md.
	$(BIN)/python -m edgecap.benchmarks.matrix $(MATRIX_BUNDLES) -o docs/matrix.md

# The last tflite-runtime, of 2023, has no wheel for Python 3.12 and none for numpy 2.
$(OLD)/.installed: pyproject.toml
	$(OLD_PYTHON) -m venv $(OLD)
	$(OLD)/bin/python -m pip install --quiet --disable-pip-version-check \
		--editable . tflite-runtime==2.14.0 'numpy<2'
	touch $@

# An environment of its own: the site is built from the sources, without torch and converters.
docs: $(DOCS)/.installed ## Build the documentation as a site in site/; a dead link is an error.
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --quiet

$(DOCS)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[docs]'
	touch $@

bench: $(STAMP) ## Measure every bundle in the working directory beside PyTorch.
	$(BIN)/edgecap bench --overwrite

train: $(STAMP) fonts ## Train a reference captioner from nothing; hours on two cores.
	$(BIN)/edgecap train

clean: ## Remove everything that can be made again.
	rm -rf $(VENV) $(OLD) $(DOCS) $(RAY) .venv-matrix build dist demo site .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf edgecap.egg-info
