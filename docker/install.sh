#!/bin/sh
# One step of making an image, in a folder with the sources; docker/Dockerfile and docker/cdeep3m.def call it.
#
#   install.sh tools                   what installs: pip and setuptools, in ./tools
#   install.sh dependencies cpu|cuda   /opt/cdeep3m, a virtual environment with PyTorch for the device, HDF5, ...
#   install.sh package [FOLDER]        cdeep3m itself, in FOLDER/opt/cdeep3m
#
# Wheels in docker/wheels serve before those of an index. Bytecode is made here, and without dates: a container's user
# cannot write it.
set -eu

home=/opt/cdeep3m
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_ROOT_USER_ACTION=ignore
compile() { python3 -m compileall -qq -j 0 --invalidation-mode unchecked-hash "$@"; }
pip() { tools/bin/pip "$@"; }

case $1 in
tools)
    python3 -m venv tools
    pip install --find-links docker/wheels --constraint constraints.txt setuptools
    ;;
dependencies)
    python3 docker/requirements.py "$2" >requirements.txt
    python3 -m venv --without-pip $home
    pip --python $home install --find-links docker/wheels --constraint constraints.txt --requirement requirements.txt
    $home/bin/python3 docker/check_device.py "$2"
    # No command needs PyTorch's headers and test programs (but for the one that it starts itself), nor anybody's tests.
    site=$(echo $home/lib/python3*/site-packages)
    rm -rf "$site/torch/include" "$site/torch/test"
    find "$site/torch/bin" -type f ! -name torch_shm_manager -delete
    find "$site" -type d -name tests -prune -exec rm -rf {} +
    find "$site/torch" "$site/numpy" -name '*.pyi' -delete # types, for those who write programs
    compile $home/lib || true # PyTorch has modules for newer Pythons alone, which this one cannot compile
    find "$site/sympy" "$site/networkx" -name __pycache__ -prune -exec rm -rf {} + # PyTorch's compiler alone loads these
    ;;
package)
    root=${2:-/}
    pip wheel --no-deps --no-build-isolation --wheel-dir dist .
    [ -d $home ] || python3 -m venv --without-pip $home
    pip --python $home install --no-deps --no-index --root "$root" dist/*.whl
    compile -s "$root" "$root"$home/lib/python*/site-packages/cdeep3m
    ;;
*)
    echo "ERROR, install.sh $1: expected tools, dependencies or package" >&2
    exit 1
    ;;
esac
