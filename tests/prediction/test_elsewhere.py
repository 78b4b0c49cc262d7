"""Predictions done by several processes, clusters and shares: the same bytes as by one."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING
from unittest.mock import Mock

import numpy as np
import pytest

from box_engines import Deadly, FilesOnly
from cdeep3m.cli.predict import main
from cdeep3m.engines.base import TrainedModel
from cdeep3m.engines.identity import IdentityEngine
from cdeep3m.errors import CDeep3MError, InputError, RunError, StoppedError
from cdeep3m.geometry import Roi
from cdeep3m.maps.open import place_of
from cdeep3m.prediction.elsewhere import Outputs, UnitWork, fill_elsewhere
from cdeep3m.prediction.run import PredictRequest, predict
from cdeep3m.rules import ORIGINAL
from cdeep3m.runners.base import InThisProcess
from cdeep3m.runners.dask import OnDask
from cdeep3m.runners.processes import Processes
from cdeep3m.runs.prediction import PredictionRun
from cdeep3m.tiling.grid import Tiling
from cdeep3m.volumes import open_volume, read_all
from dask_cluster import IGNORING, local_cluster
from octave_cases import png_folder
from random_nets import publish_random

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from cdeep3m.runners.base import Work

pytestmark = IGNORING
PLANES = 9


@pytest.fixture
def images(tmp_path: Path) -> Path:
    z, y, x = np.indices((PLANES, 20, 30))
    return png_folder(tmp_path / "images", ((z * 89 + y * 7 + x * 3 + x * y // 11) % 251).astype(np.uint8))


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    for net in ("1fm", "3fm"):
        models = tmp_path / "trained" / net / "trainedmodel"
        models.mkdir(parents=True)
        (models / f"{net}_classifer_iter_2.caffemodel").write_bytes(b"weights")
        (models.parent / "deploy.prototxt").touch()
    return tmp_path / "trained"


@pytest.fixture
def request_(tmp_path: Path, images: Path, trained: Path) -> PredictRequest:
    return PredictRequest(trained=trained, images=images, out=tmp_path / "out", nets=("1fm", "3fm"), aug_speed=10)


def other(request: PredictRequest, **changes: object) -> PredictRequest:
    return PredictRequest(**{**vars(request), **changes})


def planes_in(folder: Path) -> dict[str, bytes]:
    """Content of all planes, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


@pytest.fixture
def expected(request_: PredictRequest, tmp_path: Path) -> dict[str, bytes]:
    """What one process makes."""
    predict(other(request_, out=tmp_path / "one"), IdentityEngine(), gpu=-1)
    planes = planes_in(tmp_path / "one")
    assert len(planes) == 3 * PLANES
    return planes


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with local_cluster() as address:
        yield address


def test_processes_make_the_same_files(request_, expected):
    assert predict(request_, IdentityEngine(), gpu=-1, runner=Processes([{}, {}]))
    assert planes_in(request_.out) == expected
    assert (request_.out / "DONE").read_text() == "success\n0\n"
    assert (request_.out / "3fm" / "DONE").exists()
    assert not predict(request_, IdentityEngine(), gpu=-1, runner=Processes([{}, {}]))


def test_a_cluster_makes_the_same_files(request_, expected, cluster):
    told = []
    predict(
        request_, IdentityEngine(), gpu=-1, runner=OnDask(cluster), report=lambda name, at: told.append((name, at.done))
    )
    assert planes_in(request_.out) == expected
    assert told == [("1fm,3fm", done) for done in range(1, PLANES + 1)]


def test_exact_mode_is_the_same_everywhere(request_, tmp_path):
    exact = other(request_, rules=ORIGINAL)
    predict(other(exact, out=tmp_path / "one"), IdentityEngine(), gpu=-1)
    predict(exact, IdentityEngine(), gpu=-1, runner=Processes([{}, {}]))
    assert planes_in(exact.out) == planes_in(tmp_path / "one")


def test_one_net_s_average_is_a_link_here_too(request_):
    request = other(request_, nets=("3fm",))
    predict(request, IdentityEngine(), gpu=-1, runner=InThisProcess())
    assert (request.out / "ensembled").is_symlink()
    assert (request.out / "ensembled" / "Segmented_0009.png").exists()


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_shares_in_any_order_make_the_same_files(request_, expected, order):
    for number in order:
        assert not PredictionRun(request_.out).is_done()
        assert predict(request_, IdentityEngine(), gpu=-1, share=(number, 3))
    assert PredictionRun(request_.out).is_done()
    assert planes_in(request_.out) == expected


def test_shares_at_the_same_time_make_the_same_files(request_, expected):
    threads = [
        threading.Thread(target=predict, args=(request_, IdentityEngine()), kwargs={"gpu": -1, "share": (number, 4)})
        for number in (1, 2, 3, 4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    predict(request_, IdentityEngine(), gpu=-1, share=(1, 4))
    assert PredictionRun(request_.out).is_done()
    assert planes_in(request_.out) == expected


def test_another_number_of_shares_takes_up_the_rest(request_, expected):
    predict(request_, IdentityEngine(), gpu=-1, share=(2, 2))
    for number in (1, 2, 3, 4, 5):
        predict(request_, IdentityEngine(), gpu=-1, share=(number, 5))
    assert planes_in(request_.out) == expected


def test_nets_are_done_only_when_their_maps_are_whole(request_, monkeypatch):
    monkeypatch.setattr(Outputs, "finish", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        predict(request_, IdentityEngine(), gpu=-1, runner=InThisProcess())
    assert not list(request_.out.glob("**/DONE"))


def test_a_share_runs_once_at_a_time(request_):
    run = PredictionRun.create(request_.out)
    with run.locked("share 1 of 2"):
        with pytest.raises(RunError, match="another share 1 of 2 is running"):
            predict(request_, IdentityEngine(), gpu=-1, share=(1, 2))
        assert predict(request_, IdentityEngine(), gpu=-1, share=(2, 2))
        with pytest.raises(RunError, match="another prediction is running"):
            predict(request_, IdentityEngine(), gpu=-1)


class Losing(InThisProcess):
    """Loses a plane and says that it is done."""

    def run(self, work: Work, boxes: Iterable[int]) -> Iterator[int]:
        return super().run(work, [box for box in boxes if box != 5])


def test_a_plane_that_nobody_predicted_is_named(request_, expected):
    with pytest.raises(RunError, match=r"1 of 9 are not finished: plane 5\. Run the same command again"):
        predict(request_, IdentityEngine(), gpu=-1, runner=Losing())
    assert "plane 5" in (request_.out / "ERROR").read_text()
    assert not PredictionRun(request_.out).is_done()
    for name in ("ERROR", "KILL.REQUEST"):
        (request_.out / name).unlink()
    predict(request_, IdentityEngine(), gpu=-1)
    assert planes_in(request_.out) == expected


def test_what_is_there_is_not_predicted_again(request_, expected):
    predict(request_, IdentityEngine(), gpu=-1, share=(1, 2))
    first = request_.out / "1fm" / "Segmented_0001.png"
    before = first.stat().st_ino
    (request_.out / "3fm" / "Segmented_0002.png").unlink()
    (request_.out / "ensembled" / "Segmented_0003.png").unlink()
    predict(request_, IdentityEngine(), gpu=-1, runner=Processes([{}, {}]))
    assert first.stat().st_ino == before
    assert planes_in(request_.out) == expected


def test_a_process_that_is_killed_is_replaced(request_, expected, tmp_path):
    predict(request_, Deadly(tmp_path / "mark", os.getpid()), gpu=-1, runner=Processes([{}, {}]))
    assert (tmp_path / "mark").exists()
    assert planes_in(request_.out) == expected


def test_a_worker_of_a_cluster_that_is_killed_is_replaced(request_, expected, tmp_path, cluster):
    predict(request_, Deadly(tmp_path / "mark", os.getpid()), gpu=-1, runner=OnDask(cluster))
    assert (tmp_path / "mark").exists()
    assert planes_in(request_.out) == expected


def test_a_request_to_stop_reaches_other_processes(request_, tmp_path):
    volume, tiling = open_volume(request_.images), Tiling.of((PLANES, 20, 30))
    models = [TrainedModel(net=net, deploy=tmp_path / "none", weights=tmp_path / "none") for net in request_.nets]
    run = PredictionRun.create(request_.out)
    work = UnitWork(
        images=request_.images,
        models=tuple(models),
        engine=IdentityEngine(),
        gpu=-1,
        precision="float32",
        aug_speed=10,
        tiling=tiling,
        out=run.folder,
        averages=True,
    )
    (run.folder / "KILL.REQUEST").touch()
    outputs = work.open_outputs(volume)
    with pytest.raises(StoppedError, match=r"KILL\.REQUEST"):
        fill_elsewhere(work, outputs, Processes([{}, {}]), report=lambda *_: None)
    assert outputs.missing([Roi((0, 0, 0), (1, 20, 30))])


def test_an_error_elsewhere_is_told_as_one_here(request_):
    (request_.trained / "3fm" / "deploy.prototxt").unlink()
    with pytest.raises(CDeep3MError, match=r"deploy\.prototxt"):
        predict(request_, IdentityEngine(), gpu=-1, runner=Processes([{}, {}]))


def test_engines_over_files_are_refused(request_):
    with pytest.raises(InputError, match="--workers, --dask, --slurm and --share out"):
        predict(request_, FilesOnly(), gpu=-1, share=(1, 2))


@pytest.mark.parametrize("options", [["--workers", "2"], ["--share", "1/1"]])
def test_the_command_predicts_the_same_in_processes_with_fewer_threads(tmp_path, options, monkeypatch):
    publish_random(tmp_path / "model")
    noise = np.random.default_rng(0).integers(0, 256, (3, 40, 56), dtype=np.uint8)
    images = png_folder(tmp_path / "images", noise)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    for name, more in (("one", []), ("more", options)):
        words = ["--augspeed", "10", "--gpu", "-1", "--fit", *more]
        assert main([*words, str(tmp_path / "model"), str(images), str(tmp_path / name)]) == 0
    assert planes_in(tmp_path / "more") == planes_in(tmp_path / "one")
    assert len(set(planes_in(tmp_path / "one").values())) == 3


def test_a_share_says_that_others_are_not_finished(images, tmp_path, capsys):
    publish_random(tmp_path / "model")
    words = ["--augspeed", "10", "--gpu", "-1", "--fit", str(tmp_path / "model"), str(images), str(tmp_path / "out")]
    assert main(["--share", "2/2", *words]) == 0
    assert capsys.readouterr().out.startswith("Share 2 of 2 is finished. Others are not yet")
    assert main(["--share", "1/2", *words]) == 0
    assert capsys.readouterr().out.startswith("Prediction has completed")


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2"])
def test_a_share_that_is_none_is_refused(text, capsys):
    with pytest.raises(SystemExit):
        main([f"--share={text}", "model", "images", "out"])
    assert "expected K/N" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["tif", "h5", "ome-zarr"])
def test_maps_of_other_formats_are_the_same_in_processes(request_, tmp_path, name):
    if name == "ome-zarr":
        pytest.importorskip("tensorstore")
    volumes = []
    for out, runner in (("one", None), ("more", Processes([{}, {}]))):
        request = other(request_, out=tmp_path / out, format=name)
        predict(request, IdentityEngine(), gpu=-1, runner=runner)
        assert PredictionRun(request.out).is_done()
        place = place_of(request.out / "ensembled", name)
        volumes.append(read_all(open_volume(place)))
    np.testing.assert_array_equal(*volumes)
    assert np.ptp(volumes[0]) > 100


def test_shares_write_chunks(request_, tmp_path):
    pytest.importorskip("tensorstore")
    request = other(request_, format="ome-zarr")
    for number in (2, 1):
        predict(request, IdentityEngine(), gpu=-1, share=(number, 2))
    assert PredictionRun(request.out).is_done()
    predict(other(request_, out=tmp_path / "png"), IdentityEngine(), gpu=-1)
    np.testing.assert_array_equal(
        read_all(open_volume(place_of(request.out / "ensembled", "ome-zarr"))),
        read_all(open_volume(tmp_path / "png" / "ensembled")),
    )


def test_shares_of_one_file_are_refused(request_):
    with pytest.raises(InputError, match="--format tif with --dask, --slurm or --share: several machines"):
        predict(other(request_, format="tif"), IdentityEngine(), gpu=-1, share=(1, 2))
