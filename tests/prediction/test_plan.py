"""What a prediction will take is said beforehand, and is what it then takes: for 1 GB, and for 1 TB."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from cdeep3m.cli.main import main
from cdeep3m.engines.identity import IdentityEngine
from cdeep3m.errors import InputError
from cdeep3m.nets.prototxts import deploy
from cdeep3m.prediction.plan import plan_prediction
from cdeep3m.prediction.run import PredictRequest, predict
from cdeep3m.prediction.streaming import Lane
from cdeep3m.proto import caffemodel, prototxt
from cdeep3m.runs.trained import TrainedRun
from cdeep3m.system.ledger import ENTRY
from cdeep3m.tiling import grid
from cdeep3m.volumes import open_volume
from example_runs import write_planes
from random_nets import random_net

if TYPE_CHECKING:
    from cdeep3m.prediction.plan import PredictionPlan


NETS = ("1fm", "3fm")


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    for net in NETS:
        folder = tmp_path / "trained" / net / "trainedmodel"
        folder.mkdir(parents=True)
        (folder.parent / "deploy.prototxt").touch()
        (folder / f"{net}_classifer_iter_9.caffemodel").touch()
    return tmp_path / "trained"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_planes(tmp_path / "images", np.arange(3 * 40 * 50, dtype=np.uint8).reshape(3, 40, 50))


def planned(trained: Path, images: Path, out: Path, **options) -> tuple[PredictRequest, PredictionPlan]:
    nets = options.pop("nets", NETS)
    request = PredictRequest(trained=trained, images=images, out=out, nets=nets, **options)
    models = {net: TrainedRun(trained).model(net) for net in nets}
    return request, plan_prediction(request, IdentityEngine(), models, open_volume(images), gpu=-1)


@pytest.mark.parametrize("name", ["png", "ome-zarr"])
def test_boxes_and_disk_are_those_of_the_run(name: str, trained: Path, images: Path, tmp_path: Path) -> None:
    request, plan = planned(trained, images, tmp_path / "out", aug_speed=10, format=name, fit=True)
    assert not (tmp_path / "out").exists()
    seen = []
    predict(request, IdentityEngine(), gpu=-1, report=lambda net, progress: seen.append(progress))
    assert plan.boxes == seen[-1].total == (3 if name == "png" else 1)
    assert plan.box == ((1, 40, 50) if name == "png" else (3, 40, 50))
    assert plan.disk == 3 * 3 * 40 * 50
    assert plan.passes == 2 * 3


def test_passes_count_tiles_planes_nets_and_their_variants(trained: Path, tmp_path: Path) -> None:
    wide = write_planes(tmp_path / "wide", np.zeros((2, 20, 1100), np.uint8) + np.arange(1100).astype(np.uint8))
    _, plan = planned(trained, wide, tmp_path / "out")
    assert (plan.tiles, plan.boxes) == (2, 2)
    assert plan.passes == 2 * 2 * (8 + 16)


def test_more_nets_and_types_take_more_memory(trained: Path, images: Path, tmp_path: Path) -> None:
    options = {"trained": trained, "images": images, "out": tmp_path / "out"}
    one, two = (planned(**options, nets=nets)[1].memory["maps"] for nets in (("1fm",), ("1fm", "3fm")))
    fine = planned(**options, format="n5", dtype="float32")[1].memory["maps"]
    assert one < two < fine


def test_a_plan_prints_and_writes_nothing(
    trained: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdeep3m.engines.select.select_engine", lambda *_, **__: (IdentityEngine(), [-1]))
    assert main(["predict", "--plan", "--models", "1fm", str(trained), str(images), str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == ["volume", "boxes", "memory", "disk", "time"]
    assert said[1] == "boxes    3 of 1 x 40 x 50 at most; 1 tiles a plane, 24 passes of the nets"
    assert not (tmp_path / "out").exists()


def nameless_bytes(folder: Path) -> int:
    """The bytes of files below a folder that have no name any more and are mapped into memory by this process."""
    lines = [line.split(maxsplit=5) for line in Path("/proc/self/maps").read_text().splitlines()]
    spans = [line[0].split("-") for line in lines if len(line) == 6 and line[5].startswith(f"{folder}/")]
    return sum(int(end, 16) - int(begin, 16) for begin, end in spans)


@pytest.mark.heavy
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no list of what is mapped")
@pytest.mark.parametrize("name", ["png", "ome-zarr"])
def test_nameless_files_take_as_much_of_the_disk_as_planned(
    name: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(grid, "LARGEST_PLANE", 2**14)
    monkeypatch.setattr("cdeep3m.prediction.reading.WHOLE_PLANES", 2**14)
    for place in ("volumes.mapped", "prediction.plan"):
        monkeypatch.setattr(f"cdeep3m.{place}.IN_MEMORY", 2**14)
    monkeypatch.setattr("cdeep3m.engines.select.select_engine", lambda *_, **__: (IdentityEngine(), [-1]))
    wide = write_planes(tmp_path / "wide", np.zeros((70, 64, 2112), np.uint8) + np.arange(2112).astype(np.uint8))
    out = tmp_path / "out"
    request, plan = planned(trained, wide, out, format=name, aug_speed=10)
    frames = max(IdentityEngine().rehearse(TrainedRun(trained).model(net), (64, 1024), gpu=-1).frames for net in NETS)
    plane = 64 * 2112
    assert plan.disk_meanwhile == plane * ((frames + 3) if name == "png" else min(70, 64 + frames - 1))
    words = ["--augspeed", "10", "--models", "1fm,3fm", "--format", name, str(trained), str(wide), str(out)]
    assert main(["predict", "--plan", *words]) == 0
    assert f"; {plan.disk_meanwhile / 1e9:.3g} GB more while it runs" in capsys.readouterr().out
    most = 0
    write = Lane.write

    def write_and_look(lane: Lane, *values: object) -> None:
        nonlocal most
        write(lane, *values)
        most = max(most, nameless_bytes(out))

    monkeypatch.setattr(Lane, "write", write_and_look)
    predict(request, IdentityEngine(), gpu=-1)
    assert most == pytest.approx(plan.disk_meanwhile, rel=0.25 if name == "png" else 0)
    assert most <= plan.disk_meanwhile


def test_an_engine_over_files_has_no_plan(trained: Path, images: Path, tmp_path: Path) -> None:
    class Files:
        name = "caffe"

    request = PredictRequest(trained=trained, images=images, out=tmp_path / "out", nets=("1fm",))
    with pytest.raises(InputError, match="leave --plan out"):
        plan_prediction(request, Files(), {}, open_volume(images), gpu=-1)


RUN = """
import json, sys, time
from pathlib import Path
from cdeep3m.engines.identity import IdentityEngine
from cdeep3m.prediction.plan import plan_prediction
from cdeep3m.prediction.run import PredictRequest, predict
from cdeep3m.prediction.streaming import Lane
from cdeep3m.runs.trained import TrainedRun
from cdeep3m.volumes import open_volume
from cdeep3m.volumes.address import Address
from cdeep3m.volumes.axes import Selection

images, trained, boxes, format_name, dtype = sys.argv[1:]
folder = Path(images).parent
images = Address(images, selection=Selection(axes="zyx"))
request = PredictRequest(
    trained=Path(trained), images=images, out=folder / "out", nets=("1fm",), aug_speed=10,
    format=format_name, dtype=dtype,
)
engine, models = IdentityEngine(), {"1fm": TrainedRun(Path(trained)).model("1fm")}
plan = plan_prediction(request, engine, models, open_volume(images), gpu=-1)

write = Lane.write

def write_slowly(lane, box, values, unrounded):
    write(lane, box, values, unrounded)
    time.sleep(2 if values.size > 2**24 else 0)  # the next box is whole meanwhile, however slow the machine is

Lane.write = write_slowly

class Enough(Exception):
    pass

def report(net, progress):
    if progress.done == int(boxes):
        raise Enough

try:
    predict(request, engine, gpu=-1, report=report)
except Enough:
    pass
# Not ru_maxrss, which begins with what the process that started this one had.
used = 1024 * int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
print(json.dumps({"boxes": plan.boxes, "planned": plan.bytes_at_most, "used": used, "parts": plan.memory}))
"""


def run(images: Path, trained: Path, *, boxes: int, format_name: str, dtype: str) -> dict:
    """Predict the first boxes of a volume, in a process of its own, and compare with the plan."""
    words = [str(images), str(trained), str(boxes), format_name, dtype]
    done = subprocess.run([sys.executable, "-c", RUN, *words], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def without_chunks(path: Path, shape: tuple[int, int, int], chunk: tuple[int, int, int]) -> Path:
    """A volume of which no chunk is stored: it may be as large as one likes."""
    ts = pytest.importorskip("tensorstore")
    grid = {"name": "regular", "configuration": {"chunk_shape": chunk}}
    store = {"driver": "file", "path": f"{path}/"}
    meta = {"shape": shape, "data_type": "uint8", "chunk_grid": grid, "fill_value": 7}
    ts.open({"driver": "zarr3", "kvstore": store, "metadata": meta}, create=True).result()
    return path


@pytest.mark.heavy
@pytest.mark.parametrize(("format_name", "dtype"), [("ome-zarr", "uint8"), ("n5", "uint16"), ("png", "uint8")])
def test_memory_is_what_the_plan_said_for_a_gigabyte_and_for_a_terabyte(
    format_name: str, dtype: str, trained: Path, tmp_path: Path
) -> None:
    boxes = 110 if format_name == "png" else 4  # of the larger volume's planes, 100 tiles are gathered
    for side in (1000, 10_000):
        (tmp_path / str(side)).mkdir()
        images = without_chunks(tmp_path / str(side) / "v.zarr", (side,) * 3, (64, 64, 64))
        found = run(images, trained, boxes=boxes, format_name=format_name, dtype=dtype)
        assert found["boxes"] >= (side // 1000) ** 2
        assert found["used"] == pytest.approx(found["planned"], rel=0.15), found


LARGE_PLANES = [
    ("zarr", 9000, "png", 81),
    ("zarr", 17_000, "png", 289),
    ("zarr", 9000, "ome-zarr", 1),
    ("zarr", 12_000, "ome-zarr", 169),
    ("tif", 9000, "png", 81),
]
"""How a plane is stored, its side, the format of its maps, and their boxes; beyond 16,384 a PNG is gathered on disk."""


@pytest.mark.heavy
@pytest.mark.parametrize(("stored", "side", "format_name", "boxes"), LARGE_PLANES)
def test_memory_is_what_the_plan_said_for_one_large_plane(
    stored: str, side: int, format_name: str, boxes: int, trained: Path, tmp_path: Path
) -> None:
    images = tmp_path / f"v.{stored}"
    if stored == "zarr":
        without_chunks(images, (1, side, side), (1, 512, 512))
    else:
        plane = np.tile(np.arange(251, dtype=np.uint8), (side, side // 251 + 1))[:, :side]
        tifffile.imwrite(images, plane, photometric="minisblack", metadata=None)
    found = run(images, trained, boxes=10**6, format_name=format_name, dtype="uint8")
    assert found["boxes"] == boxes
    assert found["used"] == pytest.approx(found["planned"], rel=0.15), found


def test_tiles_of_large_planes_are_planned(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "LARGEST_PLANE", 2**14)
    wide = write_planes(tmp_path / "wide", np.zeros((2, 40, 2100), np.uint8) + np.arange(2100).astype(np.uint8))
    _, plan = planned(trained, wide, tmp_path / "out", format="ome-zarr", nets=("1fm",))
    assert (plan.boxes, plan.box) == (3, (2, 40, 960))


FIRST_BOX = """
import os, sys, time
from pathlib import Path
from cdeep3m.cli.main import main
from cdeep3m.prediction.streaming import Lane

write = Lane.write

def write_and_end(lane, *values):
    write(lane, *values)
    print(time.process_time(), flush=True)
    os._exit(0)

Lane.write = write_and_end
main(sys.argv[1:])
"""


@pytest.mark.heavy
def test_the_first_box_of_a_terabyte_is_on_the_disk_within_a_minute(tmp_path: Path) -> None:
    """A compact net, one variant, one thread; of the processor's time, as other work may keep it busy."""
    model = tmp_path / "trained" / "1fm" / "trainedmodel"
    model.mkdir(parents=True)
    net = random_net(deploy("1fm", width=8))
    prototxt.write(model.parent / "deploy.prototxt", net.message)
    caffemodel.write_model(model / "1fm_classifer_iter_9.caffemodel", net.to_message())
    images = without_chunks(tmp_path / "v.zarr", (10_000,) * 3, (64, 64, 64))
    words = [
        "--models",
        "1fm",
        "--augspeed",
        "10",
        "--format",
        "ome-zarr",
        "--axes",
        "zyx",
        "--gpu",
        "-1",
        "--no-report",
    ]
    places = [str(tmp_path / "trained"), str(images), str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", FIRST_BOX, "predict", *words, *places],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    map_ = tmp_path / "out" / "1fm" / "Segmented.zarr"
    chunks = [path for path in (map_ / "0" / "c").rglob("*") if path.is_file()]
    assert len(chunks) == 15 * 15
    (marks,) = (map_.parent / "Segmented.zarr.ledger").glob("*.boxes")
    assert marks.stat().st_size == ENTRY.itemsize
    print(f"the first box took {done.stdout.split()[-1]} s of the processor")
    assert float(done.stdout.split()[-1]) < 60
