# `make demo` runs the main job, `make webrtc` shows it in a browser, `make test` passes the tests.
# A CUDA user runs:  make setup TORCH="torch==2.13.0 --index-url <the CUDA wheel index of your driver>"
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: setup demo webrtc test lint bench clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml Makefile
	@$(PYTHON) -c 'import ensurepip' || { echo 'Python lacks its venv: apt install python3-venv'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check $(TORCH)
	$(BIN)/pip install -q --disable-pip-version-check -e '.[window,sample,train,bench,cluster,parquet,web,test]'
	$(BIN)/python -m lrae.codec.warm
	touch $@

demo: setup
	$(BIN)/lrae-demo --output demo.mp4

webrtc: setup
	$(BIN)/lrae-webrtc

test: setup lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest  # tensors are small here: more threads would wait for each other

lint: setup
	$(BIN)/ruff check .

bench: setup
	$(BIN)/lrae-bench rd --clips sample
	$(BIN)/lrae-bench speed

clean:
	rm -rf build dist *.egg-info .pytest_cache .hypothesis .ruff_cache
