# make demo   set up, run GD Figure 2, say where the figure is
# make test   set up, run the fast tests (ten minutes on two cores; six where programs are kept)
# make thorough   tests that take long to compile
# make examples   README, every study, the scripts of examples/ for one machine
# make check  every statement of the papers on fresh problems (three minutes on two cores)
# make wheel  the fast tests (or TESTS=…) on the built wheel, outside the repository
# make engines   Slurm with accounting and Open MPI for the tests that run them (Debian, as root)
# make soak   the gate of a release: all of the longer checks, one after another, and a summary of them
#             (STAGES="mutants wheel": these only; tests/soak.py names them)
# make bench  every benchmark, on a machine that does nothing else; writes docs/benchmarks.md (ONLY="flow door")
# make scoreboard   every row of docs/scoreboard.md measured here; LONG=--long: those that take long too
# Another Python (make test PYTHON=python3.13) has an environment of its own.
PYTHON ?= python3
VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'))
BIN := $(VENV)/bin
# The wheel has an environment of its own, of another Python if told.
WHEEL_PYTHON ?= $(PYTHON)
WHEEL := $(CURDIR)/.venv-wheel
# One target a notebook, so that `make -j` runs them side by side.
NOTEBOOKS := $(patsubst %.py,%.executed,$(wildcard notebooks/*.py))
# What is compiled once is kept, for all targets together; the tests say why (tests/conftest.py).
export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.jax_cache
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0
export JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES ?= -1

# Programs as users have them, for records of what is computed (tests/conftest.py compiles sooner, to other roundings).
tables fuzz mutants scoreboard wheel-tests: export XLA_FLAGS ?=

.PHONY: demo test thorough tables fuzz engines faults mutants scoreboard examples wheel wheel-env wheel-tests soak lint types notebooks check theory bench bench-gpu figures clean $(NOTEBOOKS)

$(VENV)/base: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 …" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/all: $(VENV)/base
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,notebooks,dev]'
	@touch $@

demo: $(VENV)/base
	$(BIN)/assocmem run gd_fig2

test: $(VENV)/all
	$(BIN)/pytest -n 2 --dist worksteal

thorough: $(VENV)/all
	$(BIN)/pytest -n 2 --dist worksteal -m 'thorough and not soak'

examples: $(VENV)/all
	$(BIN)/pytest -n 2 -m 'examples and not soak'

# What pip gives a user: the wheel is made from the sdist, which holds the tests too; they run beside it.
wheel: wheel-env
	$(MAKE) wheel-tests

wheel-env:
	rm -rf $(WHEEL) && mkdir -p $(WHEEL)
	$(WHEEL_PYTHON) -m venv $(WHEEL)/env
	$(WHEEL)/env/bin/python -m pip install --quiet --disable-pip-version-check build
	$(WHEEL)/env/bin/python -m build --outdir $(WHEEL)/dist . > $(WHEEL)/build.log
	$(WHEEL)/env/bin/python -m pip install --quiet --disable-pip-version-check "$$(ls $(WHEEL)/dist/*.whl)[test]"
	tar -xzf $(WHEEL)/dist/*.tar.gz -C $(WHEEL)
	rm -r $(WHEEL)/assocmem_jax-*/assocmem_jax

wheel-tests:
	cd $(WHEEL)/assocmem_jax-*/ && $(WHEEL)/env/bin/pytest -n 2 --dist worksteal $(TESTS)

# Tables of many cases, kills, clusters.
tables: $(VENV)/mutants engines
	$(BIN)/pytest -n 2 -m soak --ignore=tests/engine/test_fuzz.py

# Configs with letters changed.
fuzz: $(VENV)/all
	$(BIN)/pytest -n 2 -m soak tests/engine/test_fuzz.py

# Slurm, its accounting and Open MPI, for the tests that run them (tests/engines.py): Debian, as root; without
# them these tests are skipped. Docker or a machine of its own is the place: a package may start its services.
ENGINES := slurm-wlm munge slurmdbd slurm-wlm-mysql-plugin mariadb-server-core mariadb-client-core openmpi-bin libopenmpi3
engines: $(VENV)/all
	@dpkg -s $(ENGINES) >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq $(ENGINES); } || \
	  echo "make engines: not installed; tests of what is missing are skipped" >&2
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[mpi]'

# Faults planted by hand, then by chance: the tests must catch them. SEED: of the mutants, else the date
# (what was stopped yesterday goes on with its own).
faults: $(VENV)/all
	$(BIN)/python tests/faults.py

mutants: $(VENV)/mutants
	$(BIN)/python tests/mutants.py $(if $(SEED),--seed $(SEED))

$(VENV)/mutants: $(VENV)/all
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[mutants]'
	@touch $@

soak: $(VENV)/all
	$(BIN)/python tests/soak.py $(STAGES)

scoreboard: $(VENV)/all $(if $(LONG),$(VENV)/mutants)
	$(BIN)/python tests/scoreboard.py $(LONG)

# F821, a name that nothing defines, is off where shapes are strings of jaxtyping: tests have none.
lint: $(VENV)/all
	$(BIN)/ruff check .
	$(BIN)/ruff check --isolated --select F821 tests
	$(BIN)/ruff format --check .

types: $(VENV)/all
	$(BIN)/pyright

notebooks: $(NOTEBOOKS)

$(NOTEBOOKS): %.executed: %.py $(VENV)/all
	$(BIN)/jupytext --to notebook --execute --output $(VENV)/$(*F).ipynb $<

check: $(VENV)/base
	$(BIN)/assocmem check

# docs/theory.md and its figures, from the registry and the studies
theory: $(VENV)/base
	for study in theory_refuted bifurcation schedule gd_curricula; do \
	  $(BIN)/assocmem run $$study --out results/theory/$$study || exit 1; \
	  cp results/theory/$$study/figure.png docs/figures/$$study.png; done
	$(BIN)/python -m assocmem_jax.statements.page > docs/theory.md

figures: $(VENV)/base
	for config in gd_fig1 gd_fig2 gd_fig3 gd_fig4 gd_fig5 gd_fig6 gd_fig7; do $(BIN)/assocmem run $$config || exit 1; done

# Every benchmark, or ONLY="flow door", into docs/benchmarks.json, and docs/benchmarks.md from it.
bench: $(VENV)/all
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python benchmarks/page.py $(ONLY)

# Where JAX sees a card: its own limits, tiles, the sweep of 10⁸, Birth (ten minutes at most).
bench-gpu:
	$(BIN)/python benchmarks/gpu.py

clean:
	rm -rf .venv .venv-* .jax_cache results
