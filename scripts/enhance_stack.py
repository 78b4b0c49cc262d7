#!/bin/sh
''':'; self=$(readlink -f "$0") && exec "${self%/*}/cdeep3m-python" -m cdeep3m.cli.enhance_stack "$@" #'''
__import__("runpy").run_module("cdeep3m.cli.enhance_stack", run_name="__main__", alter_sys=True)
