"""Who may import whom (rooms.py says it, docs/layers.svg draws it)."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from rooms import INSIDE, LAYERS, levels, picture

ROOT = Path(__file__).parents[1]

ONLY_IN = {
    "torch": ("engines.embedded",),
    "triton": ("engines.embedded.net.one_pass", "engines.embedded.net.normalising"),
    "docker": ("engines.docker",),
    "matplotlib": ("report.plots",),
    "jinja2": ("report.page",),
    "markupsafe": ("report.page",),
    "skimage": ("matlab_ports.apply_3d_watershed", "objects.splitting", "edition2.secondary"),
    "distributed": ("runners.dask", "runners.slurm"),
    "dask": ("runners.dask", "runners.slurm"),
    "dask_jobqueue": ("runners.slurm",),
    "cc3d": ("objects.components",),
    "h5py": ("volumes", "maps"),
    "isal": ("volumes.png",),
    "tifffile": ("volumes", "maps"),
    "mrcfile": ("volumes", "maps"),
    "tensorstore": ("volumes.stores", "volumes.chunked", "maps.chunked"),
    "yaozarrs": ("volumes.ome_zarr",),
    "pydantic": ("volumes.ome_zarr",),
    "tomli": ("engines.images", "training.recipes"),
    "argparse": ("cli",),
    "tqdm": ("cli",),
}
ANYWHERE = {"numpy", "scipy", "PIL", "google", "cdeep3m", *sys.stdlib_module_names}
MAY_PRINT = ("cli", "nets.__main__")

LEVEL = levels(LAYERS)


@dataclass(frozen=True)
class Module:
    """A source file and its name within cdeep3m, `engines.base`."""

    name: str
    path: Path

    @property
    def top(self) -> str:
        return self.name.split(".")[0]

    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text(encoding="utf-8"))


def modules() -> list[Module]:
    places = (
        (ROOT / "python" / "cdeep3m", ""),
        (ROOT / "matlab_ports", "matlab_ports."),
        (ROOT / "caffe_models", "caffe_models."),
    )
    found = [
        Module(prefix + ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__"), path)
        for folder, prefix in places
        for path in sorted(folder.rglob("*.py"))
    ]
    return [module for module in found if module.name not in ("__init__", "proto.caffe_pb2")]


def imports(module: Module) -> set[str]:
    """Full names of what a module imports, `cdeep3m.errors.InputError` and the like; relative ones begin with a dot."""
    names = set()
    for node in ast.walk(module.tree()):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names}
    return names


def part_of(name: str, room: str) -> str:
    """The part of `room` that a module or a name imported from it belongs to; empty for what lies elsewhere."""
    return name.removeprefix(f"{room}.").split(".")[0] if name.startswith(f"{room}.") else ""


def resolved(name: str) -> str:
    """The module that an imported name is, or is of."""
    inner = name.removeprefix("cdeep3m.")
    return inner if inner in NAMES else inner.rpartition(".")[0]


def within(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


NAMES = {module.name for module in modules()}

every_module = pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)


@every_module
def test_module_has_a_layer(module):
    assert module.top in LEVEL, f"{module.name}: say in LAYERS where {module.top} belongs"


@every_module
def test_imports_of_ours_are_absolute_and_point_down(module):
    ours = {name.split(".")[1] for name in imports(module) if name.startswith("cdeep3m.")} - {"__version__", module.top}
    upward = {name for name in ours if LEVEL[name] <= LEVEL[module.top]}
    assert not upward, f"{module.name} imports {upward} from its own layer or one above"
    assert not {name for name in imports(module) if name.startswith(".")}


@pytest.mark.parametrize("room", INSIDE)
def test_every_part_of_a_room_has_a_layer(room):
    parts = {part_of(module.name, room) for module in modules() if module.name.startswith(f"{room}.")}
    assert parts == set(levels(INSIDE[room]))


@pytest.mark.parametrize("room", INSIDE)
def test_imports_inside_a_room_point_down(room):
    level = levels(INSIDE[room])
    for module in modules():
        if not module.name.startswith(f"{room}."):
            continue
        part = part_of(module.name, room)
        inside = {part_of(name.removeprefix("cdeep3m."), room) for name in imports(module)} - {"", part}
        upward = {other for other in inside if other in level and level[other] <= level[part]}
        assert not upward, f"{module.name} imports {upward} of {room} from its own layer or one above"


def test_modules_import_each_other_in_no_circle():
    known = {module.name for module in modules()}
    arrows = {module.name: {name for name in map(resolved, imports(module)) if name in known} for module in modules()}
    TopologicalSorter({name: targets - {name} for name, targets in arrows.items()}).prepare()


@every_module
def test_third_parties_are_imported_where_they_belong(module):
    for name in {name.split(".")[0] for name in imports(module)}:
        assert name in ANYWHERE | set(ONLY_IN), f"{module.name} imports {name}, which no rule allows"
        places = ONLY_IN.get(name)
        assert places is None or within(module.name, places), f"{module.name} imports {name}; only {places} may"


@every_module
def test_only_commands_print(module):
    calls = (node.func for node in ast.walk(module.tree()) if isinstance(node, ast.Call))
    prints = any(isinstance(call, ast.Name) and call.id == "print" for call in calls)
    assert not prints or within(module.name, MAY_PRINT)


@pytest.mark.parametrize("module", [m for m in modules() if m.top == "matlab_ports"], ids=lambda module: module.name)
def test_ports_know_nothing_of_the_package(module):
    allowed = {"numpy", "scipy", "skimage", *sys.stdlib_module_names}
    foreign = {name for name in imports(module) if name.split(".")[0] not in allowed}
    assert not {name for name in foreign if not name.startswith("cdeep3m.matlab_ports.")}


@pytest.mark.parametrize("name", ["cdeep3m", "cdeep3m.cli.main", "cdeep3m.cli.common"])
def test_import_loads_nothing_heavy(name):
    code = f"import sys, {name}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "docker", "matplotlib", "numpy", "h5py", "google.protobuf"} & set(loaded)


def test_a_command_parses_its_options_without_what_takes_long_to_load():
    code = "import sys; from cdeep3m.cli.launch import main\ntry: main(['runprediction.sh', '--help'])\n"
    code += "finally: print(*sys.modules)"
    helped = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = helped.stdout.splitlines()[-1].split()
    assert not {"dataclasses", "json", "csv", "numpy", "inspect"} & set(loaded)


def test_a_finished_run_is_looked_through_without_what_takes_long_to_load():
    code = "import sys, cdeep3m.evaluation.run_findings, cdeep3m.report.write; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"scipy", "matplotlib", "torch"} & set(loaded)


def test_a_rule_that_is_broken_is_noticed(tmp_path):
    path = tmp_path / "stitching.py"
    path.write_text("import torch\nfrom cdeep3m.prediction.run import predict\nprint(predict)\n")
    module = Module("tiling.stitching", path)
    with pytest.raises(AssertionError, match="prediction"):
        test_imports_of_ours_are_absolute_and_point_down(module)
    with pytest.raises(AssertionError, match="torch"):
        test_third_parties_are_imported_where_they_belong(module)
    with pytest.raises(AssertionError):
        test_only_commands_print(module)


def test_the_picture_draws_these_layers():
    assert (ROOT / "docs" / "layers.svg").read_text(encoding="utf-8") == picture(), "make picture"
