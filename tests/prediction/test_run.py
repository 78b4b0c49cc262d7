"""The streaming prediction, with a net whose probability is the voxel's own value."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from address_volumes import ArrayVolume, addresses, maps_of, predict_planes, read_folder
from cdeep3m.engines.base import TrainedModel
from cdeep3m.engines.identity import IdentityEngine, IdentityNet
from cdeep3m.errors import InputError, MissingModelError, RunError, StoppedError
from cdeep3m.geometry import from_caffe_axes
from cdeep3m.prediction.over_files.prepare import define_packages, preprocess_package
from cdeep3m.prediction.run import PredictRequest, predict
from cdeep3m.rules import ORIGINAL
from cdeep3m.tiling.grid import Tiling
from cdeep3m.tiling.variants import VARIANTS, variants_for
from cdeep3m.volumes import open_volume
from cdeep3m.volumes.hdf5 import read_dataset
from cdeep3m.volumes.png import write_plane
from fake_training_engine import FakeTrainingEngine
from octave_cases import png_folder, tiff_stack


@pytest.mark.parametrize("frames", [1, 3, 5])
@pytest.mark.parametrize("shape", [(7, 20, 30), (1, 14, 1024), (2, 1013, 40), (3, 1030, 15)])
def test_streaming_an_identity_returns_the_input(shape, frames):
    volume = addresses(shape)
    planes = predict_planes(
        ArrayVolume(volume), Tiling.of(shape), IdentityNet(frames), VARIANTS[3:12:8], range(shape[0])
    )
    for z, plane in planes:
        assert_array_equal(plane, maps_of(volume[z]))


@pytest.mark.parametrize("shape", [(3, 20, 90), (2, 15, 1030)])
def test_a_fitting_canvas_returns_the_input_too(shape):
    volume = addresses(shape)
    tiling = Tiling.of(shape, fit=True)
    planes = predict_planes(ArrayVolume(volume), tiling, IdentityNet(3), VARIANTS[:8], range(shape[0]))
    for z, plane in planes:
        assert_array_equal(plane, maps_of(volume[z]))


def test_all_variants_are_undone():
    volume = addresses((3, 16, 18))
    planes = predict_planes(ArrayVolume(volume), Tiling.of(volume.shape), IdentityNet(3), VARIANTS, [1])
    assert_array_equal(next(planes)[1], maps_of(volume[1]))


def test_windows_are_canvases_of_the_net_s_size():
    class CanvasNet(IdentityNet):
        def foreground(self, windows):
            for window in windows:
                assert window.shape == (3, 1024, 1024)
                yield from super().foreground([window])

    volume = addresses((2, 16, 1030))
    for _ in predict_planes(ArrayVolume(volume), Tiling.of(volume.shape), CanvasNet(3), VARIANTS[:2], range(2)):
        pass


def test_only_what_is_asked_for_is_predicted():
    net = IdentityNet(1)
    volume = ArrayVolume(addresses((5, 16, 18)))
    variants = variants_for("1fm", 2)
    planes = [z for z, _ in predict_planes(volume, Tiling.of(volume.shape), net, variants, [1, 4])]
    assert planes == [1, 4]
    assert net.windows == 2 * len(variants)


def test_a_plane_is_read_once():
    volume = ArrayVolume(addresses((6, 16, 18)))
    for _ in predict_planes(volume, Tiling.of(volume.shape), IdentityNet(5), VARIANTS[:1], range(6)):
        pass
    assert len(volume.reads) == 6


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for z, plane in enumerate(addresses((4, 20, 24))):
        write_plane(folder / f"image{z:02d}.png", plane)
    return folder


@pytest.fixture
def trained(tmp_path):
    for net in ("1fm", "3fm"):
        models = tmp_path / "trained" / net / "trainedmodel"
        models.mkdir(parents=True)
        (models / f"{net}_classifer_iter_2.caffemodel").write_bytes(b"weights")
        (models.parent / "deploy.prototxt").touch()
    return tmp_path / "trained"


@pytest.fixture
def request_(tmp_path, images, trained):
    return PredictRequest(trained=trained, images=images, out=tmp_path / "out", nets=("1fm", "3fm"), aug_speed=10)


def test_a_run_leaves_the_original_s_files(request_):
    assert predict(request_, IdentityEngine(), gpu=-1)
    names = sorted(
        str(path.relative_to(request_.out)) for path in request_.out.rglob("*") if not path.name.startswith(".")
    )
    planes = [f"Segmented_{z:04d}.png" for z in (1, 2, 3, 4)]
    assert names == sorted(
        ["1fm", "3fm", "ensembled", "logs", "DONE", "1fm/DONE", "3fm/DONE"]
        + [f"{folder}/{plane}" for folder in ("1fm", "3fm", "ensembled") for plane in planes]
        + ["predict.config", "readme.txt", "de_augmentation_info.mat", "package_processing_info.txt"]
        + [f"logs/{stage}.log" for stage in ("preprocess", "prediction", "postprocess")]
        + ["logs/events.jsonl"]
    )
    assert (request_.out / "DONE").read_text() == "success\n0\n"
    assert_array_equal(read_folder(request_.out / "ensembled"), maps_of(addresses((4, 20, 24))))


def test_one_net_s_ensemble_is_a_link(request_):
    request = PredictRequest(**{**vars(request_), "nets": ("1fm",)})
    predict(request, IdentityEngine(), gpu=-1)
    assert (request.out / "ensembled").is_symlink()
    assert (request.out / "ensembled" / "Segmented_0004.png").exists()


def test_a_finished_run_is_left_alone(request_):
    predict(request_, IdentityEngine(), gpu=-1)
    engine = IdentityEngine()
    assert not predict(request_, engine, gpu=-1)
    assert not engine.nets


def test_a_lost_plane_is_made_again_and_nothing_else(request_):
    predict(request_, IdentityEngine(), gpu=-1)
    before = {path: path.read_bytes() for path in request_.out.rglob("Segmented_*.png")}
    for name in ("DONE", "1fm/DONE", "1fm/Segmented_0002.png"):
        (request_.out / name).unlink()
    engine = IdentityEngine()
    assert predict(request_, engine, gpu=-1)
    assert {net: loaded.windows for net, loaded in engine.nets.items()} == {"1fm": 1}
    assert {path: path.read_bytes() for path in request_.out.rglob("Segmented_*.png")} == before


def test_a_request_to_stop_ends_within_a_plane_and_the_run_goes_on_later(request_):
    kill = request_.out / "KILL.REQUEST"
    with pytest.raises(StoppedError) as caught:
        predict(request_, IdentityEngine(), gpu=-1, report=lambda net, progress: kill.touch())
    assert caught.value.exit_code == 11
    assert not (request_.out / "DONE").exists()
    assert not (request_.out / "ERROR").exists()
    kill.unlink()
    assert predict(request_, IdentityEngine(), gpu=-1)
    assert_array_equal(read_folder(request_.out / "1fm"), maps_of(addresses((4, 20, 24))))


def test_a_failing_engine_is_told_in_error_and_stops_the_next_run(request_):
    class BrokenEngine(IdentityEngine):
        def load(self, model, *, gpu=-1, precision="float32"):
            raise InputError("the net does not fit")

    with pytest.raises(InputError) as caught:
        predict(request_, BrokenEngine(), gpu=-1)
    assert caught.value.exit_code == 10
    assert (request_.out / "ERROR").read_text() == "ERROR, the net does not fit\n10\n"
    with pytest.raises(RunError) as caught:
        predict(request_, IdentityEngine(), gpu=-1)
    assert caught.value.exit_code == 99


def test_a_missing_net_names_what_is_there(request_):
    request = PredictRequest(**{**vars(request_), "nets": ("5fm",)})
    with pytest.raises(MissingModelError, match="found 1fm, 3fm"):
        predict(request, IdentityEngine(), gpu=-1)


def test_unreadable_images_are_status_4_and_told_to_other_stages(request_, tmp_path):
    request = PredictRequest(**{**vars(request_), "images": tmp_path / "nowhere"})
    with pytest.raises(Exception, match="nowhere") as caught:
        predict(request, IdentityEngine(), gpu=-1)
    assert caught.value.exit_code == 4
    message, status = (request_.out / "ERROR").read_text().splitlines()
    assert message.startswith("ERROR, ")
    assert status == "4"
    assert (request_.out / "KILL.REQUEST").exists()


def test_a_wrong_speed_is_status_2(request_):
    with pytest.raises(InputError, match="1, 2, 4, 10") as caught:
        PredictRequest(**{**vars(request_), "aug_speed": 3})
    assert caught.value.exit_code == 2


def test_an_engine_over_files_predicts_whole_canvases_only(request_):
    with pytest.raises(InputError, match="leave --fit out"):
        predict(PredictRequest(**{**vars(request_), "fit": True}), FakeTrainingEngine(), gpu=-1)
    assert not request_.out.exists()


def test_planes_of_another_canvas_do_not_mix_with_those_that_are_there(request_):
    predict(request_, IdentityEngine(), gpu=-1)
    (request_.out / "DONE").unlink()
    with pytest.raises(RunError, match="fit = false"):
        predict(PredictRequest(**{**vars(request_), "fit": True}), IdentityEngine(), gpu=-1)


def test_fast_numbers_are_compared_with_exact_ones_on_one_plane(request_):
    class HastyNet(IdentityNet):
        def foreground(self, windows):
            return (plane + np.float32(0.02) for plane in super().foreground(windows))

    class HastyEngine(IdentityEngine):
        def load(self, model, *, gpu=-1, precision="float32"):
            return HastyNet(1) if precision == "fast" else IdentityNet(1)

    request = PredictRequest(**{**vars(request_), "nets": ("1fm",), "precision": "fast"})
    assert predict(request, HastyEngine(), gpu=-1)
    log = (request.out / "logs" / "prediction.log").read_text()
    assert (
        "1fm: fast numbers change 100.0% of the 8-bit values of plane 3, by 5 of 255 at most; probabilities by 0.02"
        in log
    )
    assert "precision=fast" in (request.out / "predict.config").read_text()


def test_fast_numbers_are_not_the_original_s(request_):
    with pytest.raises(InputError, match="--exact or --precision fast"):
        PredictRequest(**{**vars(request_), "rules": ORIGINAL, "precision": "fast"})


def test_the_model_used_is_the_one_of_the_highest_iteration(trained):
    from cdeep3m.runs.trained import TrainedRun

    later = trained / "1fm" / "trainedmodel" / "1fm_classifer_iter_10.caffemodel"
    later.touch()
    assert TrainedRun(trained).model("1fm") == TrainedModel(
        net="1fm", deploy=(trained / "1fm" / "deploy.prototxt").absolute(), weights=later
    )


@pytest.mark.correction(8, "corrected")
def test_images_that_look_like_labels_are_a_warning(request_, caplog):
    for z, path in enumerate(sorted(request_.images.iterdir())):
        write_plane(path, np.uint8(255) * (addresses((4, 20, 24))[z] > 100))
    assert predict(request_, IdentityEngine(), gpu=-1)
    assert "images, first, middle and last plane: only the values 0, 255; are they labels?" in caplog.text


@pytest.mark.correction(8, "same")
def test_other_images_are_no_warning(request_, caplog):
    write_plane(request_.images / "image00.png", np.zeros((20, 24), np.uint8))
    assert predict(request_, IdentityEngine(), gpu=-1)
    assert not caplog.records


class RecordingNet(IdentityNet):
    """Keeps what it is shown."""

    def __init__(self, frames: int) -> None:
        super().__init__(frames)
        self.seen: list[np.ndarray] = []

    def foreground(self, windows):
        def kept():
            for window in windows:
                self.seen.append(window)
                yield window

        return super().foreground(kept())


def with_plane(z: int, value: int, shape: tuple[int, int, int] = (4, 20, 24)) -> np.ndarray:
    volume = addresses(shape)
    volume[z] = value
    return volume


@pytest.mark.correction(6, "exact")
@pytest.mark.parametrize(
    ("kind", "volume"),
    [
        ("folder", with_plane(0, 0)),
        ("stack", with_plane(0, 255)),
        ("folder", with_plane(2, 255)),
        ("folder", with_plane(101, 0, (106, 15, 20))),
        ("stack", with_plane(0, 0, (3, 1024, 1024))),
        ("folder", with_plane(1, 255, (3, 20, 1030))),
    ],
    ids=["first black", "first white", "later white", "second z-block black", "full", "two tiles"],
)
def test_exact_mode_streams_what_it_writes_to_files(kind, volume, tmp_path):
    images = tmp_path / "images"
    images = png_folder(images, volume) if kind == "folder" else tiff_stack(images / "stack.tif", volume)
    define_packages(images, tmp_path / "aug", rules=ORIGINAL)
    tiling = Tiling.of(volume.shape, rules=ORIGINAL, folder_input=kind == "folder")
    packages, net = tiling.packages_at(volume.shape[0] - 1), RecordingNet(3)
    planes = sorted({packages[0].planes[0], packages[0].planes[-1]})
    for _ in predict_planes(open_volume(images, rules=ORIGINAL), tiling, net, VARIANTS[:1], planes, rules=ORIGINAL):
        pass
    for i, package in enumerate(packages):
        folder = preprocess_package(images, tmp_path / "aug", package.tile, package.z_block, "3fm", 10, rules=ORIGINAL)
        stack = from_caffe_axes(read_dataset(folder / "image_stacks_v1.h5"))
        for z, window in zip(planes, net.seen[i :: len(packages)], strict=True):
            k = z - package.planes[0] + 2
            assert_array_equal(window, stack[k - 1 : k + 2])
