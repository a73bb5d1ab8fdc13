# Thin names for the real commands. `make` alone lists them.
PYTHON ?= python3.11
CORES ?= 2
# Another build of PyTorch, one without CUDA say, has other hashes: TORCH=torch==2.13.0 takes
# whichever pip finds first.
TORCH ?= --require-hashes -r locks/torch.txt
VENV := .venv
BIN := $(VENV)/bin
# Python keeps what it has compiled, whatever the shell says (containers often forbid it): the
# book and its tests start some 200 processes, and compiling is two thirds of a start.
export PYTHONDONTWRITEBYTECODE :=
# Two pages run at once, so each keeps to one thread.
RUN := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 PATH="$(CURDIR)/$(BIN):$$PATH"
pipeline = $(RUN) $(BIN)/python -m snakemake $(1) --snakefile workflow/Snakefile --cores $(CORES) \
  --quiet rules progress

.DEFAULT_GOAL := help
PLAN ?= book/courses/two_weeks.yml
SLIDES ?= c02 c07 b02 b06 a01 a03 n02 n06

.PHONY: help env book pdf pages course grading slides test lint pairs serve bench lock clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 10

# Python compiles what is imported when it is; of these packages that is a small part.
env: $(VENV)/.done  ## the environment, from the lock

$(VENV)/.done: locks/core.txt locks/torch.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --require-hashes -r locks/core.txt
	$(BIN)/python -m pip install --quiet --no-compile $(TORCH)
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

book: env  ## every page run, and the book built from them
	@$(call pipeline,book)
	@echo "The book: $(CURDIR)/_build/html/index.html"

pages: env  ## every page run
	@$(call pipeline,pages)

pdf: book  ## the whole book on paper: _build/book.pdf (needs Chromium)
	$(BIN)/python workflow/print_book.py
	@echo "The book: $(CURDIR)/_build/book.pdf"

course: env  ## notebooks for students and teachers, and to grade: make course PLAN=book/courses/six_weeks.yml
	$(BIN)/python -m stlcore student --course $(PLAN) -o _build/course

# Apart from `env`, for only a teacher needs it.
grading: $(VENV)/.grading  ## JupyterLab and nbgrader into the environment, to open and grade a course

$(VENV)/.grading: locks/course.txt $(VENV)/.done
	$(BIN)/python -m pip install --quiet --no-compile --no-deps --require-hashes -r locks/course.txt
	@touch $@

slides: pages  ## decks for reveal.js, without a network: make slides SLIDES="c02 b06"
	$(BIN)/python -m stlcore slides $(SLIDES) -o _build/slides

test: lint book  ## everything: unit tests, pages, the built book in a browser
	@$(BIN)/python workflow/chromium.py
	$(RUN) $(BIN)/python -m pytest -n $(CORES) --dist worksteal

lint: env  ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

pairs: env  ## every page in normal form, with its .ipynb twin beside it
	$(BIN)/python -m stlcore pair

serve: env  ## the book at http://localhost:8000
	$(BIN)/python -m http.server --directory _build/html 8000

bench: env  ## the speed claims, with their peers in the same run
	@for file in benchmarks/bench_*.py; do echo "== $$file"; $(RUN) $(BIN)/python $$file || exit 1; done

# Without `env` before it: a lock that cannot be installed is mended here.
LOCK = $(or $(wildcard $(BIN)/uv),uv) pip compile --universal --generate-hashes \
  --python-version 3.11 --no-header --quiet

lock:  ## the lock files again, from locks/*.in
	$(LOCK) locks/core.in -o locks/core.txt
	$(LOCK) locks/torch.in --constraints locks/core.txt -o locks/torch.txt
	$(LOCK) locks/course.in --constraints locks/core.txt -o locks/course.txt

clean:  ## everything that was made, but not the environment
	rm -rf _build book/notebooks book/claims.md book/claims.json book/front.svg runs .snakemake
