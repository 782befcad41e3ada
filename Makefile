# make book       build the site into _build/html, with its offline copy    make serve  look at it on localhost:8000
# make test       run every test and every notebook                         make lab    work in JupyterLab
# make test-site  build the site and test it in a browser                   make links  try every link that leaves the site
# Each target does all the set-up it needs; a second call skips what is already there.

# Many small matrices are slower, not faster, with several threads each on a busy machine.
export OPENBLAS_NUM_THREADS ?= 1

PYTHON ?= python3
# Exact versions of everything; `make CONSTRAINTS=` takes the newest that requirements.txt allows.
CONSTRAINTS ?= constraints.txt
BIN := .venv/bin
INSTALLED := .venv/.installed
CACHE := _build/.cache-valid

.PHONY: book test test-site links benchmark notebooks serve lab clean
.DEFAULT_GOAL := book

$(INSTALLED): requirements.txt constraints.txt pyproject.toml
	$(PYTHON) -c "import sys; sys.exit('Python 3.11 or newer is needed; this is ' + sys.version.split()[0] + '. Try: make PYTHON=python3.12' if sys.version_info < (3, 11) else 0)"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt $(addprefix -c ,$(CONSTRAINTS))
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# Executed notebooks are cached by their source; a change in the library or the data makes the cache stale.
$(CACHE): $(INSTALLED) $(wildcard notebooks/emergent_alignment/*.py notebooks/emergent_alignment/*/*.py notebooks/data/*)
	rm -rf _build/.jupyter_cache
	mkdir -p _build
	touch $@

book: $(CACHE)
	$(BIN)/jupyter-book build . --all -n -W --keep-going

test: $(INSTALLED)
	$(BIN)/python -m pytest --ignore=tests/site

test-site: book
	$(BIN)/python -m pytest tests/site -o addopts= -n 2 --dist worksteal -q

# Needs the internet, unlike everything else.
links: $(CACHE)
	$(BIN)/jupyter-book build . --all --builder linkcheck

benchmark: export OPENBLAS_NUM_THREADS = 2
benchmark: $(INSTALLED)
	$(BIN)/python -m pytest tests/benchmarks -p no:xdist -o addopts= --benchmark-sort=name --benchmark-columns=min,median,rounds

notebooks: $(INSTALLED)
	$(BIN)/python notebooks/refresh.py

serve: book
	@echo "The course is at http://localhost:8000 (Ctrl-C stops it)"
	$(BIN)/python -m http.server 8000 --bind 127.0.0.1 --directory _build/html

lab: $(INSTALLED)
	cd notebooks && ../$(BIN)/jupyter lab

clean:
	rm -rf _build .venv
