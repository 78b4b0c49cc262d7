#!/bin/sh
self=$(readlink -f "$0") && exec "${self%/*}/cdeep3m-python" -m cdeep3m.cli.apply_3d_watershed "$@"
