# Every target sets up what it needs; `make` alone lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OLD := .venv-old
DOCS := .venv-docs
RAY := .venv-ray
PEERS := .venv-peers
PEER_PYTHON = $(PYTHON)
SCORES := .venv-scores
OPTIMUM := .venv-optimum
OLD_PYTHON ?= python3.11
DOCKER_PYTHON ?= python3.13
C_PACKAGES := gcc g++ cmake pkg-config
ARM_PACKAGES := qemu-user-static gcc-aarch64-linux-gnu libc6-dev-arm64-cross libstdc++6-arm64-cross \
	gcc-arm-linux-gnueabihf libc6-dev-armhf-cross
ARM_BUNDLES ?= demo/captioner-onnx-w8 demo/captioner-tflite-w8
SWIFT_ROOT ?= build/swift-root
FUZZ_SECONDS ?= 600
# command:package
ANDROID_TOOLS := javac:default-jdk-headless aapt:aapt apksigner:apksigner zipalign:zipalign clang:clang ld.lld:lld \
	llvm-readelf:llvm npm:npm
CHECKER_PACKAGES := clang llvm libclang-rt-dev valgrind
JS := build/js
WEB_BUNDLES ?= demo/captioner-onnx-w8 demo/captioner-tflite-w8
WEB_PORT ?= 8000
MATRIX_BUNDLES ?= demo/captioner-onnx-w8 demo/captioner-tflite-w8
FONT_PACKAGES := fonts-noto-color-emoji fonts-noto-cjk
FIND_FONT := find /usr/share/fonts /usr/local/share/fonts $(HOME)/.fonts \
	$(HOME)/.local/share/fonts -name
TEST_JOBS ?= 2
export OMP_NUM_THREADS ?= 1

# All that `make help` lists.
.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*\#\# .*/\1/p' $(firstword $(MAKEFILE_LIST)))

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

arm-tools: ## Install the cross compilers and the emulator of check-arm (Debian, as root); elsewhere say what is missing.
	@if command -v qemu-aarch64-static >/dev/null && command -v aarch64-linux-gnu-gcc >/dev/null \
		&& command -v arm-linux-gnueabihf-gcc >/dev/null; then \
		true; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends $(ARM_PACKAGES); \
	else \
		echo "For emulated boards, as root: apt-get install $(ARM_PACKAGES)" >&2; exit 2; \
	fi

check-arm: $(STAMP) compilers arm-tools $(ARM_BUNDLES:%=%/manifest.json) ## Caption on emulated ARM boards and compare with Python.
	$(BIN)/python tests/embed/check_arm.py $(ARM_BUNDLES)

# Only what is missing, as for node.
android-tools: ## Install what builds the Android library and an APK (Debian, as root); elsewhere say what is missing.
	@missing=$$(for tool in $(ANDROID_TOOLS); do \
		command -v "$${tool%%:*}" >/dev/null || printf ' %s' "$${tool#*:}"; done); \
	if [ -z "$$missing" ]; then \
		true; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing; \
	else \
		echo "For the Android library, as root: apt-get install$$missing" >&2; exit 2; \
	fi

check-android: $(STAMP) compilers arm-tools android-tools ## Run the Kotlin library on the desktop's JVM and build an APK.
	$(BIN)/python -m pytest -q -m 'full or not full' tests/embed/test_android.py tests/embed/test_apk.py

# A compiler for other systems, and a Debian with Swift: each is large, so no other target needs them.
check-portable: $(STAMP) arm-tools build/zig/.installed ## Compile the C core for macOS, Windows, musl, RISC-V and WASI.
	$(BIN)/python tests/embed/check_portable.py "$(CURDIR)/build/zig/bin/python -m ziglang"

build/zig/.installed:
	$(PYTHON) -m venv build/zig
	build/zig/bin/python -m pip install --quiet --disable-pip-version-check ziglang==0.17.1
	touch $@

check-swift: $(STAMP) compilers $(SWIFT_ROOT)/edgecap/.installed ## Run the Swift package's tests (as root; fetches 3.3 GB of Debian with Swift).
	$(BIN)/python tests/embed/check_swift.py $(SWIFT_ROOT)

$(SWIFT_ROOT)/edgecap/.installed:
	tests/embed/swift_root.sh $(SWIFT_ROOT)
	mkdir -p $(@D) && touch $@

checkers: ## Install clang with its fuzzer, and valgrind (Debian, as root); elsewhere say what is missing.
	@if command -v clang >/dev/null && command -v valgrind >/dev/null && [ -n "$$(ls \
		"$$(clang -print-resource-dir 2>/dev/null)"/lib/linux/libclang_rt.fuzzer-* 2>/dev/null)" ]; then \
		true; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends $(CHECKER_PACKAGES); \
	else \
		echo "To check the C core, as root: apt-get install $(CHECKER_PACKAGES)" >&2; exit 2; \
	fi

fuzz: $(STAMP) checkers ## Fuzz what the C core reads, FUZZ_SECONDS for each target (clang).
	$(BIN)/python tests/embed/fuzz/run.py --seconds $(FUZZ_SECONDS)

sshd: ## Install the ssh server that full tests start (Debian, as root); elsewhere say what is missing.
	@if command -v sshd >/dev/null || test -x /usr/sbin/sshd; then \
		true; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends openssh-server openssh-client; \
	else \
		echo "sshd is missing. As root: apt-get install openssh-server openssh-client" >&2; exit 2; \
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

runtime-wheel: $(STAMP) ## Build dist/edgecap_runtime-*.whl: what runs a bundle, without weights and torch.
	$(BIN)/python packaging/runtime/build.py -o dist

demo: $(STAMP) ## Export to int8 TFLite and CoreML, caption a sample image, bench; say where the report lies.
	PATH="$(CURDIR)/$(BIN):$$PATH" examples/demo.sh

images: $(STAMP) fonts ## Make the images of the documents anew.
	PATH="$(CURDIR)/$(BIN):$$PATH" examples/images.sh

tour: $(STAMP) fonts ## Run every command once and make examples/tour.md of what they print.
	PATH="$(CURDIR)/$(BIN):$$PATH" examples/tour.sh

# By file: fixtures that export a model are made once. In order of names: else files with few tests are last, and
# these are the long ones.
test: $(STAMP) fonts compilers js ## Run the tests.
	$(BIN)/python -m pytest -q -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder

lint: $(STAMP) ## Look for mistakes and formatting with ruff.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP) ## Let ruff put the formatting right.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What reads sources cannot follow an editable install: links laid out as the package is installed.
.PHONY: links
links:
	@rm -rf build/types && mkdir -p build/types/edgecap
	@ln -s $(CURDIR)/edgecap/* $(CURDIR)/exporters $(CURDIR)/benchmarks build/types/edgecap/

types: $(STAMP) links ## Check the types with mypy.
	cd build/types && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml -p edgecap

check: lint types test ## Everything to run before a commit.

check-full: lint types fonts js sshd checkers arm-tools android-tools fuzz $(OLD)/.installed ## The same with coverage, more random text, and int8 on an old board's runtime.
	$(BIN)/coverage run -m pytest -q -m 'full or not full'
	$(BIN)/coverage report --skip-covered --sort=cover
	EDGECAP_ID_LISTS=100000 $(BIN)/python -m pytest -q tests/runtime/text
	EDGECAP_OLD_PYTHON=$(CURDIR)/$(OLD)/bin/python $(BIN)/python -m pytest -q tests/old_runtime

check-docker: $(STAMP) $(MATRIX_BUNDLES:%=%/manifest.json) ## Run the Dockerfile's steps without Docker, with DOCKER_PYTHON, and caption.
	$(BIN)/python tests/check_docker.py $(MATRIX_BUNDLES) --python $(DOCKER_PYTHON)

check-ray: $(RAY)/.installed fonts ## Captions and indexes on a local Ray cluster, one worker of which is killed.
	$(RAY)/bin/python -m pytest -q tests/on_ray

$(RAY)/.installed: pyproject.toml
	$(PYTHON) -m venv $(RAY)
	$(RAY)/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[onnx,search,ray]' onnx pytest hypothesis
	touch $@

matrix: $(STAMP) $(MATRIX_BUNDLES:%=%/manifest.json) ## The runtime on other Pythons and package versions; writes docs/matrix.md.
	$(BIN)/python -m edgecap.benchmarks.matrix $(MATRIX_BUNDLES) -o docs/matrix.md

check-scores: $(STAMP) $(SCORES)/.installed ## Compare the metrics of captions with pycocoevalcap; needs Java.
	EDGECAP_SCORES_PYTHON=$(CURDIR)/$(SCORES)/bin/python $(BIN)/python -m pytest -q tests/caption_scores

# 100 MB of Java archives, for the numbers alone.
$(SCORES)/.installed:
	$(PYTHON) -m venv $(SCORES)
	$(SCORES)/bin/python -m pip install --quiet --disable-pip-version-check pycocoevalcap==1.2
	touch $@

check-optimum: $(STAMP) $(OPTIMUM)/.installed ## Open exports of ViT-GPT2, TrOCR and CLIP with Optimum's ORT classes.
	EDGECAP_OPTIMUM_PYTHON=$(CURDIR)/$(OPTIMUM)/bin/python $(BIN)/python -m pytest -q tests/optimum

# It pins transformers below 4.58.
$(OPTIMUM)/.installed:
	$(PYTHON) -m venv $(OPTIMUM)
	$(OPTIMUM)/bin/python -m pip install --quiet --disable-pip-version-check \
		'optimum-onnx[onnxruntime]==0.1.0' torch==2.13.0
	touch $@

# The last tflite-runtime, of 2023, has no wheel for Python 3.12 and none for numpy 2.
$(OLD)/.installed: pyproject.toml
	$(OLD_PYTHON) -m venv $(OLD)
	$(OLD)/bin/python -m pip install --quiet --disable-pip-version-check \
		--editable . tflite-runtime==2.14.0 'numpy<2'
	touch $@

# An environment of its own: the site is built from the sources, without torch and converters.
docs: $(DOCS)/.installed links ## Build the documentation as a site in site/; a dead link is an error.
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --quiet

$(DOCS)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[docs]'
	touch $@

bench: $(STAMP) ## Measure every bundle in the working directory beside PyTorch.
	$(BIN)/edgecap bench --overwrite

# Engines that bench --peers measures; each pins what the others cannot live with.
peers: $(PEERS)/openvino/.installed $(PEERS)/executorch/.installed $(PEERS)/tflite-runtime/.installed ## Build the environments of edgecap bench --peers.

$(PEERS)/openvino/.installed: PACKAGES := openvino==2026.4.1
$(PEERS)/executorch/.installed: PACKAGES := executorch==1.5.1 torch==2.13.0 safetensors
$(PEERS)/tflite-runtime/.installed: PACKAGES := tflite-runtime==2.14.0 'numpy<2'
$(PEERS)/tflite-runtime/.installed: PEER_PYTHON := $(OLD_PYTHON)
$(PEERS)/%/.installed: pyproject.toml
	$(PEER_PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --editable . $(PACKAGES)
	touch $@

train: $(STAMP) fonts ## Train a reference captioner from nothing; hours on two cores.
	$(BIN)/edgecap train

clean: ## Remove everything that can be made again.
	rm -rf .venv .venv-* build dist demo site .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf edgecap.egg-info
