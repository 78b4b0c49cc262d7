"""A folder of maps belongs to its images, its model and its options."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from cdeep3m.engines.identity import IdentityEngine
from cdeep3m.errors import FullDiskError, InputError, RunError
from cdeep3m.prediction.run import PredictRequest, predict
from cdeep3m.system import files
from cdeep3m.volumes.address import Address
from octave_cases import png_folder

PLANES = np.arange(3 * 20 * 22, dtype=np.uint8).reshape(3, 20, 22)


@pytest.fixture
def job(tmp_path):
    for net in ("1fm", "3fm"):
        (tmp_path / "trained" / net / "trainedmodel").mkdir(parents=True)
        (tmp_path / "trained" / net / "deploy.prototxt").write_text("layer {}")
        (tmp_path / "trained" / net / "trainedmodel" / f"{net}_iter_1.caffemodel").write_text(net)
    png_folder(tmp_path / "images", PLANES)

    def run(**changes):
        words = {"trained": tmp_path / "trained", "images": tmp_path / "images", "out": tmp_path / "out"}
        request = PredictRequest(**{**words, "nets": ("1fm",), "fit": True, "aug_speed": 10, **changes})
        return predict(request, IdentityEngine(), gpu=-1)

    return run


def test_a_finished_run_that_is_asked_again_does_nothing(job):
    assert job()
    assert not job()


@pytest.mark.parametrize("changes", [{"aug_speed": 4}, {"fit": False}, {"nets": ("1fm", "3fm")}])
def test_other_options_are_refused_unless_the_folder_is_to_be_overwritten(job, changes):
    job()
    with pytest.raises(RunError, match="holds planes made with .*--overwrite"):
        job(**changes)
    assert job(**changes, overwrite=True)


def test_images_that_were_replaced_are_refused(job, tmp_path):
    job()
    (tmp_path / "out" / "DONE").unlink()
    before = (tmp_path / "out" / "1fm" / "Segmented_0001.png").read_bytes()
    png_folder(tmp_path / "images", 255 - PLANES)
    for path in (tmp_path / "images").iterdir():
        os.utime(path, ns=(1, 1))
    with pytest.raises(RunError, match="of other images"):
        job()
    assert (tmp_path / "out" / "1fm" / "Segmented_0001.png").read_bytes() == before


def test_another_model_of_the_same_name_and_size_is_refused(job, tmp_path):
    job()
    (tmp_path / "trained" / "1fm" / "trainedmodel" / "1fm_iter_1.caffemodel").write_text("fm1")
    with pytest.raises(RunError, match=r"made with model\.1fm"):
        job()


def test_a_plane_that_the_disk_lost_is_predicted_again(job, tmp_path):
    job()
    plane, done = tmp_path / "out" / "1fm" / "Segmented_0002.png", tmp_path / "out" / "DONE"
    whole = plane.read_bytes()
    for lost in (b"", whole[:-9], whole[:40] + b"\0" * (len(whole) - 40)):
        plane.write_bytes(lost)
        done.unlink()
        assert job()
        assert plane.read_bytes() == whole


@pytest.mark.parametrize("out", ["images", "trained", "trained/1fm"])
def test_nothing_is_written_into_what_is_read(job, tmp_path, out):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RunError, match="is what is read"):
        job(out=tmp_path / out)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("net", ["../x", "/x", "logs", "ensembled", "augimages", ".x", ""])
def test_a_net_is_a_plain_name_of_its_own(job, net):
    with pytest.raises(InputError):
        job(nets=(net,))


def test_a_full_disk_is_a_pause_with_status_10(job, tmp_path, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(files, "flush", full)
    with pytest.raises(FullDiskError, match="the disk is full") as paused:
        job()
    assert paused.value.exit_code == 10
    assert not (tmp_path / "out" / "ERROR").exists()
    monkeypatch.undo()
    assert job()


def test_a_model_that_is_not_there_is_said(job, tmp_path):
    with pytest.raises(LookupError, match=r"modell is not there"):
        job(trained=tmp_path / "modell")


def test_models_are_those_with_the_newest_weights_and_others_are_named(job, tmp_path, caplog):
    home = tmp_path / "trained" / "1fm" / "trainedmodel"
    (home / "1fm_iter_9 (1).caffemodel").write_text("x")
    job()
    assert "1fm_iter_9 (1).caffemodel is left out" in caplog.text


def test_maps_do_not_go_into_a_training_nor_models_into_a_prediction(job, tmp_path):
    from cdeep3m.training.folder import create_run

    (tmp_path / "other" / "1fm" / "trainedmodel").mkdir(parents=True)
    with pytest.raises(RunError, match="holds a training"):
        job(out=tmp_path / "other")
    job()
    with pytest.raises(RunError, match="holds a prediction"):
        create_run(tmp_path / "out")


@pytest.mark.parametrize("nets", [("1fm",), ("1fm", "3fm")])
@pytest.mark.parametrize("harm", ["gone", "cut", "empty"])
def test_a_finished_run_makes_the_maps_again_that_were_lost_since(nets, harm, job, tmp_path, caplog):
    job(nets=nets)
    lost = tmp_path / "out" / "ensembled" / "Segmented_0002.png"
    content = lost.read_bytes()
    lost.unlink() if harm == "gone" else lost.write_bytes(content[: len(content) // 2] if harm == "cut" else b"")
    assert job(nets=nets)
    assert "ensembled lacks 1 of its maps, such as Segmented_0002.png: they are made again" in caplog.text
    assert lost.read_bytes() == content
    assert not job(nets=nets)


@pytest.mark.parametrize("format_name", ["tif", "h5"])
def test_a_finished_run_makes_its_only_file_again(format_name, job, tmp_path):
    job(format=format_name)
    made = tmp_path / "out" / "ensembled" / f"Segmented.{format_name}"
    content = made.read_bytes()
    made.unlink()
    assert job(format=format_name)
    assert made.read_bytes() == content


def test_nets_that_were_removed_to_make_room_are_not_missed(job, tmp_path):
    job(nets=("1fm", "3fm"))
    shutil.rmtree(tmp_path / "out" / "3fm")
    assert not job(nets=("1fm", "3fm"))


@pytest.mark.parametrize("read", ["images", "trained"])
def test_maps_elsewhere_do_not_lie_in_what_is_read(read, job, tmp_path):
    pytest.importorskip("tensorstore")
    with pytest.raises(InputError, match=rf"lies in .*{read}, which is read"):
        job(format="ome-zarr", maps=Address.of(tmp_path / read / "m.zarr"))
    assert not (tmp_path / read / "m.zarr").exists()
