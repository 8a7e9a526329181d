# The whole interface. Everything runs in .venv, which the first target that needs it makes.
PYTHON  ?= python3
PROFILE ?= ci
BIN     := .venv/bin

# Under 60 s of processor time together; what is slower belongs to `check`.
QUICK := infcop_lite tests/test_layering.py tests/test_stopping.py tests/test_config.py tests/test_masks.py \
         $(addprefix tests/test_loop.py::test_,a_rule_of_ones_own_decides a_run_yields_its_rows_as_it_goes \
         a_mask_never_gives_a_weight_back a_level_of_known_length_has_its_whole_schedule_in_it)

# Two processes of one thread each test side by side; of two threads each, they wait for one another.
test quick check soak: export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help book ground slides assignments grade zip test check quick mutants soak results gather verify bench address renumber colab-check dist clean lint quiz exam times classroom

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

book: ground  ## execute the notebooks (PROFILE=ci|laptop|paper) and build book/_build/html/index.html
	$(BIN)/python tools/build.py --profile $(PROFILE)

slides: book  ## a deck for each part, one file each that needs no network: book/_build/slides/*.html
	PYTHONPATH=book/_ext:experiments $(BIN)/python tools/slides.py

quiz: .venv/.installed  ## five questions a chapter, for Moodle (GIFT) and Canvas (QTI): book/_build/quiz/
	$(BIN)/python tools/quiz.py

exam: .venv/.installed  ## thirty questions and, apart, their answers (SEED=2027 draws other numbers): book/_build/exam/
	PYTHONPATH=book/_ext:experiments $(BIN)/python tools/exam.py --seed $(or $(SEED),1)

classroom: slides quiz dist  ## one zip for a room without a network: wheel, notebooks, tables, book, decks as PDF
	$(BIN)/python tools/classroom.py

times: .venv/.installed  ## record what the executed chapters took, in benchmarks/times.csv (REMARK="otherwise idle")
	PYTHONPATH=book/_ext $(BIN)/python tools/times.py $(REMARK)

zip: book  ## the book as one file to read anywhere, without a network: book/_build/infcop-lite-book.zip
	rm -f book/_build/infcop-lite-book.zip
	cd book/_build && ../../$(BIN)/python -m zipfile -c infcop-lite-book.zip html

assignments: .venv/.installed  ## to hand out, to look up, to grade (SEED="2027 7" other numbers; FROM=folder of your own masters)
	$(BIN)/python tools/assignments.py $(if $(FROM),--from "$(FROM)") $(if $(SEED),--seed $(SEED))

grade: .venv/.installed  ## grade a folder of submissions into FROM/grades.csv (FROM=folder; WITH=pytest|otter|both)
	$(BIN)/python tools/grade.py "$(FROM)" --with $(or $(WITH),pytest)

ground: .venv/.installed  ## see that a build can end well here: environment, library, data, disk, a kernel that starts
	$(BIN)/python tools/ground.py

test: ground lint  ## every check there is: style, types, tests, notebooks, the book
	$(BIN)/python -m pytest --numprocesses 2

quick: .venv/.installed lint  ## the plan of the house, rules, masks, the loop on toys, every example: a minute of processor
	$(BIN)/python -m pytest -q $(QUICK)

check: .venv/.installed lint  ## style, types and all fast tests: before you push
	$(BIN)/python -m pytest -m "not slow" --numprocesses 2

mutants: .venv/.installed  ## write sixty wrong lines into scratch copies, one at a time: each must fail its test
	$(BIN)/python tools/mutants.py

soak: .venv/.installed  ## weekly: two hundred kills, the mutants, the book from nothing and compared; tests/soak.md says when it last passed
	$(BIN)/python tools/soak.py

lint: .venv/.installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

results: .venv/.installed  ## make the runs missing under experiments/results (hours; ONLY="mlp convnet" some), redraw the overview
	$(BIN)/python experiments/tables.py $(ONLY)
	$(if $(ONLY),,$(BIN)/python experiments/neighbours.py mlp convnet)
	$(if $(ONLY),,$(BIN)/python experiments/own_models.py)
	$(BIN)/python experiments/gather.py
	$(if $(ONLY),,$(BIN)/python experiments/overview.py)

gather: .venv/.installed  ## write the finished runs of runs/tables into experiments/results; no row there is lost
	$(BIN)/python experiments/gather.py

verify: .venv/.installed  ## make rules of a committed run again elsewhere, and compare (TABLE=mlp-replay RUN=fixed-0 RULES="k = 0,k = 0.5")
	$(BIN)/python experiments/verify.py "$(TABLE)" "$(RUN)" "$(RULES)"

bench: .venv/.installed  ## measure ratios of speed on this machine, into benchmarks/results.md (quiet machine, minutes)
	$(BIN)/python benchmarks/bench.py

address: .venv/.installed  ## write repository.url of _config.yml into badges, install cells, README and metadata
	$(BIN)/python tools/address.py

renumber: .venv/.installed  ## after moving a chapter in book/_toc.yml: names of files, links and redirects follow
	$(BIN)/python tools/renumber.py

colab-check: .venv/.installed  ## every notebook alone, oldest and newest torch (12 GB, hours; ONLY="oldest 03" some)
	$(BIN)/python tools/colab.py $(ONLY)

dist: .venv/.installed  ## wheel and sdist of the library, in dist/
	rm -rf dist build *.egg-info
	$(BIN)/python -m build --no-isolation

clean:  ## remove what was built and cached (.venv stays; delete it to start from nothing)
	rm -rf book/_build build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find infcop_lite book benchmarks experiments tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment knows where it was made and with which Python. In a clone that was copied or moved, or
# when that Python is gone, it would run another clone's library, or nothing: it is made anew.
ifeq ($(BIN),.venv/bin)
OURS := $(shell $(BIN)/python -I -c 'import os, sys; from importlib.util import find_spec; \
  os.path.samefile(find_spec("infcop_lite").origin, "infcop_lite/__init__.py") and print("ours")' 2>/dev/null)
ifeq ($(OURS),)
.PHONY: .elsewhere
.venv/.installed: .elsewhere
endif
endif

# The stamp is removed before pip starts: an environment interrupted half-way is made anew.
.venv/.installed: requirements.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "infcop_lite needs Python 3.11 or newer as $(PYTHON); try: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@if [ -e $@ ] && [ "$(OURS)" ]; then rm $@; else $(PYTHON) -m venv --clear .venv; fi
	@echo "installing the pinned environment into .venv (some minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@
