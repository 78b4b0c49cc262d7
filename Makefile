# make demo   train a compact net on a synthetic volume, predict another one, score the result
# make test   the whole test suite, but for what needs a Docker engine, a browser or Slurm: make test-docker test-browser test-slurm
#
# Each makes its own virtual environment in .venv first. Without a GPU, the CPU build of PyTorch saves some 2 GB of
# download: set PIP_EXTRA_INDEX_URL to the package index that PyTorch's installation page names for the CPU.

VENV := .venv
BIN := $(VENV)/bin
PYTHON := $(abspath $(BIN)/python3)
PIP := $(PYTHON) -m pip --disable-pip-version-check
TESTS ?=
NOT_IN_TEST := 'not docker and not browser and not slurm and not system and not heavy'
LOWEST ?= zarr mrc objects watershed report
BENCH ?=
SOAK ?=
CHECK ?=
BASE ?= main
ADDRESS ?=

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-heavy test-browser test-docker test-slurm test-system test-lowest docs docs-pictures release release-check cloud lint format nets proto \
    scripts picture bench gpu-check bench-compare fidelity soak soak-table clean

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make venv     the virtual environment alone
venv: $(VENV)/.installed

# The first Python >= 3.10 that can make virtual environments, the user's default one before others.
$(BIN)/python3:
	@bare=; for python in python3 python3.13 python3.12 python3.11 python3.10; do \
	    $$python -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || continue; \
	    $$python -c 'import ensurepip, venv' 2>/dev/null || { bare=$${bare:-$$python}; continue; }; \
	    echo "$$($$python --version) makes $(VENV)"; \
	    exec $$python -m venv $(VENV); \
	done; \
	if [ "$$bare" ]; then \
	    echo "ERROR, $$bare cannot make virtual environments: its modules venv and ensurepip are missing. On Debian and Ubuntu: apt install python3-venv" >&2; \
	else \
	    echo "ERROR, no Python >= 3.10: tried python3 and python3.10 to python3.13 on PATH. On Debian and Ubuntu: apt install python3 python3-venv" >&2; \
	fi; exit 1

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python3
	$(PIP) install --quiet --constraint constraints.txt --editable '.[embedded,report,watershed,objects,dask,slurm,zarr,mrc,test,cloud-test]'
	@touch $@

$(VENV)/.linters: pyproject.toml constraints.txt $(VENV)/.installed
	$(PIP) install --quiet --constraint constraints.txt --editable '.[lint]'
	@touch $@

# The reference's own harness writes images with OpenCV.
$(VENV)/.fidelity: pyproject.toml constraints.txt $(VENV)/.installed
	$(PIP) install --quiet --constraint constraints.txt --editable '.[fidelity]'
	@touch $@

$(VENV)/.browser: pyproject.toml constraints.txt $(VENV)/.installed
	$(PIP) install --quiet --constraint constraints.txt --editable '.[browser]'
	@touch $@

$(VENV)/.docs: pyproject.toml constraints.txt $(VENV)/.installed
	$(PIP) install --quiet --constraint constraints.txt --editable '.[docs]'
	@touch $@

## make demo     train, predict and score on a synthetic volume (5 minutes on 2 cores)
demo: $(VENV)/.installed
	$(BIN)/cdeep3m demo

## make test     all tests (some of them: make test TESTS=tests/cli)
test: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -m $(NOT_IN_TEST) -n auto --maxprocesses 8 --dist worksteal --durations 15 $(TESTS)

## make test-heavy   whole predictions, benchmarks at their smallest and the like (some minutes)
test-heavy: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -m heavy -n auto --maxprocesses 8 --dist worksteal --durations 15 $(TESTS)

## make test-browser   the tests that need a browser (Debian: chromium)
test-browser: $(VENV)/.browser
	$(PYTHON) -m pytest -m browser $(TESTS)

## make docs     docs/ as a site, in build/site; links and the API's pages are checked
docs: $(VENV)/.docs
	$(BIN)/mkdocs build --strict --site-dir build/site

## make docs-pictures   the pictures of the tutorial, anew by its own commands (some 10 minutes on 2 cores)
docs-pictures: $(VENV)/.browser
	PYTHONPATH=tests $(PYTHON) -m tutorial_pictures docs/pictures

## make test-docker   the tests that need a Docker engine; root starts one of the tests' own (Debian: docker.io, debootstrap, podman)
test-docker: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -m docker --durations 15 $(TESTS)

# The newest Python that has wheels of all lowest versions is 3.11.
$(VENV)-lowest/.installed: pyproject.toml tests/lowest_versions.py $(VENV)/.installed
	@for python in $(PYTHON) python3.11 python3.10; do \
	    $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info >= (3, 12))' 2>/dev/null && exec $$python -m venv $(VENV)-lowest; \
	done; echo "ERROR, no Python 3.10 or 3.11, for which there are wheels of the lowest versions" >&2; exit 1
	$(PYTHON) tests/lowest_versions.py $(LOWEST) > $(VENV)-lowest/versions.txt
	$(VENV)-lowest/bin/python3 -m pip --disable-pip-version-check install --quiet --requirement $(VENV)-lowest/versions.txt --editable '.[test]'
	@touch $@

## make test-lowest   formats, nets and messages with the lowest versions that pyproject.toml allows (LOWEST="embedded": with PyTorch's, too)
test-lowest: $(VENV)-lowest/.installed
	OMP_NUM_THREADS=1 $(VENV)-lowest/bin/python3 -m pytest -W ignore::pyparsing.warnings.PyparsingDeprecationWarning -m $(NOT_IN_TEST) -n auto --maxprocesses 8 --dist worksteal --durations 15 \
	    $(or $(TESTS),tests/proto tests/nets tests/volumes tests/maps tests/evaluation tests/report $(if $(findstring embedded,$(LOWEST)),tests/engines/embedded/net))

## make test-slurm    the tests that need Slurm; root starts one of the tests' own (Debian: slurm-wlm, munge)
test-slurm: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -m slurm --durations 15 $(TESTS)

$(VENV)-system/.installed: pyproject.toml constraints.txt tests/system/constraints.txt | $(BIN)/python3
	$(PYTHON) -m venv $(VENV)-system
	$(VENV)-system/bin/python3 -m pip --disable-pip-version-check install --quiet --constraint constraints.txt \
	    --constraint tests/system/constraints.txt --editable '.[zarr,mrc,test,second]'
	@touch $@

## make test-system   formats against other libraries, and against a real S3 server (2 minutes on 2 cores)
test-system: $(VENV)-system/.installed
	OMP_NUM_THREADS=1 $(VENV)-system/bin/python3 -m pytest -m system --durations 15 $(or $(TESTS),tests/system/test_s3.py tests/system/test_second_implementations.py)

$(VENV)/.release: pyproject.toml constraints.txt $(VENV)/.installed
	$(PIP) install --quiet --constraint constraints.txt --editable '.[release]'
	@touch $@

## make release-check   build wheel and archive, check them, install both on every Python here, run commands there
release-check: $(VENV)/.release
	$(PYTHON) .ci/release.py check

## make release ADDRESS=https://...   the same, and all files of a release in dist/, to be found below that address
release: $(VENV)/.release
	$(PYTHON) .ci/release.py files $(ADDRESS)

## make lint     ruff, mypy and the shell's own syntax check
lint: $(VENV)/.linters
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/typed && mkdir -p build/typed/cdeep3m
	ln -s $(CURDIR)/python/cdeep3m/* $(CURDIR)/matlab_ports $(CURDIR)/caffe_models build/typed/cdeep3m/
	$(BIN)/mypy
	sed '/^exit 1/q' scripts/launch | sh -n
	bash -n .ci/run
	sh -n docker/install.sh

## make format   rewrite the sources as `make lint` wants them
format: $(VENV)/.linters
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

## make nets     write caffe_models/ anew from python/cdeep3m/nets
nets: $(VENV)/.installed
	$(PYTHON) -m cdeep3m.nets caffe_models

## make proto    compile caffe.proto anew
proto: $(VENV)/.linters
	cd python/cdeep3m/proto && $(PYTHON) -m grpc_tools.protoc --proto_path=. --descriptor_set_out=caffe.set --pyi_out=. caffe.proto
	cd python/cdeep3m/proto && $(PYTHON) -c "from google.protobuf.descriptor_pb2 import FileDescriptorSet as Set; from pathlib import Path; \
	    Path('caffe.binpb').write_bytes(Set.FromString(Path('caffe.set').read_bytes()).file[0].SerializeToString()); Path('caffe.set').unlink()"

## make cloud    docker/cloud/boot.py into cloud-init.yaml, and that into the template
cloud:
	python3 docker/cloud/assemble.py

## make scripts  the links in scripts/ and pip's entry points, anew from python/cdeep3m/cli/table.py
scripts: $(VENV)/.installed
	PYTHONPATH=tests $(PYTHON) -m command_files

## make picture  docs/layers.svg, anew from tests/rooms.py
picture: $(VENV)/.installed
	PYTHONPATH=tests $(PYTHON) -m rooms docs/layers.svg

## make bench    all speeds in one run, beside the machine's best (20 GB of temporary files; BENCH="--help" tells more)
bench: $(VENV)/.installed
	PYTHONPATH=tests $(PYTHON) -m benchmarks $(BENCH)

## make gpu-check    conformance, speed and memory on the first CUDA GPU (8 minutes; CHECK="--help" tells more)
gpu-check: $(VENV)/.installed
	PYTHONPATH=tests $(PYTHON) -m gpu_check $(CHECK)

## make bench-compare BASE=rev    speeds of another revision and of this one, in turns
bench-compare: $(VENV)/.installed
	PYTHONPATH=tests $(PYTHON) -m benchmarks --base $(BASE) $(BENCH)

## make fidelity  docs/fidelity.md, anew from the reference data (10 minutes on 2 cores)
fidelity: $(VENV)/.fidelity
	PYTHONPATH=tests:tests/matlab_ports OMP_NUM_THREADS=1 $(PYTHON) -m fidelity docs/fidelity.md

## make soak     kills, full disks, damaged files and hostile situations for hours (SOAK="--minutes 60"; counts in soak.json)
soak: $(VENV)/.installed
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(PYTHON) -m soak $(SOAK)

## make soak-table  every command against each kind of trouble, as a table (some 20 minutes; SOAK="convert" for some commands)
soak-table: $(VENV)/.installed
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(PYTHON) -m soak.everywhere $(SOAK)

## make clean    remove what was built, .venv included
clean:
	rm -rf $(VENV) $(VENV)-system $(VENV)-lowest build dist demo-output rundemo-output rundemo2-output .pytest_cache .hypothesis .mypy_cache .ruff_cache python/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
