"""Maps of any format and type, by the identity engine: predicted in boxes of chunks, averaged before rounded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_array_equal

from address_volumes import ArrayVolume, addresses, maps_of
from cdeep3m.engines.identity import IdentityEngine, IdentityNet
from cdeep3m.errors import InputError, RunError
from cdeep3m.evaluation.scoring import maps_in
from cdeep3m.maps import chunked
from cdeep3m.prediction import reading
from cdeep3m.prediction import run as prediction
from cdeep3m.prediction.core import NetInUse, predict_boxes
from cdeep3m.prediction.run import PredictRequest, predict
from cdeep3m.rules import ORIGINAL
from cdeep3m.tiling import grid
from cdeep3m.tiling.grid import Tiling
from cdeep3m.tiling.variants import VARIANTS
from cdeep3m.volumes import open_volume, png, read_all
from cdeep3m.volumes.address import Address
from cdeep3m.volumes.axes import Selection, parse_roi
from example_runs import write_planes

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("tensorstore")
pytest.importorskip("mrcfile")

SHAPE = (5, 150, 140)
PLACES = {
    "tif": "Segmented.tif",
    "h5": "Segmented.h5",
    "mrc": "Segmented.mrc",
    "ome-zarr": "Segmented.zarr",
    "ome-zarr-0.4": "Segmented.zarr",
    "ome-zarr-sharded": "Segmented.zarr",
    "n5": "Segmented.n5",
    "precomputed": "Segmented.precomputed",
}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    tifffile.imwrite(
        tmp_path / "images.tif",
        addresses(SHAPE),
        imagej=True,
        metadata={"axes": "ZYX", "spacing": 0.03, "unit": "um"},
        resolution=(125, 125),
    )
    return tmp_path / "images.tif"


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    for net in ("1fm", "3fm"):
        folder = tmp_path / "trained" / net / "trainedmodel"
        folder.mkdir(parents=True)
        (folder.parent / "deploy.prototxt").touch()
        (folder / f"{net}_classifer_iter_9.caffemodel").touch()
    return tmp_path / "trained"


def run(tmp_path: Path, trained: Path, images: Path | Address, **options) -> Path:
    request = PredictRequest(
        trained=trained, images=images, out=tmp_path / "out", nets=("1fm", "3fm"), aug_speed=10, fit=True, **options
    )
    predict(request, IdentityEngine(), gpu=-1)
    return tmp_path / "out"


@pytest.mark.parametrize("name", PLACES)
def test_maps_of_every_format_hold_what_png_images_hold(name: str, tmp_path: Path, trained: Path, images: Path) -> None:
    out = run(tmp_path, trained, images, format=name)
    for folder in ("1fm", "3fm", "ensembled"):
        found = open_volume(out / folder / PLACES[name], role="values")
        assert_array_equal(read_all(found), maps_of(addresses(SHAPE)))
        assert found.placement.voxel_size is not None
        assert_array_equal(read_all(open_volume(out / folder, role="values")), read_all(found))
    assert (out / "DONE").exists()
    assert not list(out.rglob("*ledger*"))
    assert not list(out.rglob("Segmented_*.png"))


@pytest.mark.parametrize(("dtype", "most"), [("uint16", 65535), ("float32", 1)])
def test_maps_of_more_bits_are_not_rounded_to_8(
    dtype: str, most: int, tmp_path: Path, trained: Path, images: Path
) -> None:
    out = run(tmp_path, trained, images, format="ome-zarr", dtype=dtype)
    found = read_all(open_volume(out / "ensembled" / "Segmented.zarr", role="values"))
    assert found.dtype == np.dtype(dtype)
    expected = addresses(SHAPE) / 255 * most
    np.testing.assert_allclose(found, expected, atol=0.51 if most > 1 else 1e-6)


def test_nets_are_averaged_before_they_are_rounded() -> None:
    from cdeep3m.prediction.core import average_unrounded, to_map_type

    probabilities = [np.float32([0.4 / 65535]), np.float32([0.8 / 65535])]
    assert to_map_type(average_unrounded(probabilities), "uint16").tolist() == [1]
    assert [to_map_type(one, "uint16").tolist() for one in probabilities] == [[0], [1]]
    assert to_map_type(np.float32([np.nan, -1, 2]), "uint8").tolist() == [0, 0, 255]


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("name", ["ome-zarr", "h5"])
def test_a_run_that_was_stopped_goes_on_and_ends_alike(
    name: str, dtype: str, tmp_path: Path, trained: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = Address(str(images), selection=Selection(roi=parse_roi("0:5,0:16,0:18")))
    written = []

    class Stopped(Exception):
        pass

    from cdeep3m.prediction import streaming

    keep = streaming._write

    def write(maps, box, values, unrounded):
        if len(written) >= 3:
            raise Stopped
        written.append(box)
        keep(maps, box, values, unrounded)

    monkeypatch.setattr(chunked, "CHUNK", 2)
    monkeypatch.setattr(streaming, "_write", write)
    with pytest.raises(Stopped):
        run(tmp_path, trained, part, format=name, dtype=dtype)
    monkeypatch.setattr(streaming, "_write", keep)
    with pytest.raises(RunError):
        run(tmp_path, trained, part, format="n5", dtype=dtype)
    for marker in ("ERROR", "KILL.REQUEST"):
        (tmp_path / "out" / marker).unlink(missing_ok=True)
    out = run(tmp_path, trained, part, format=name, dtype=dtype)
    stopped = read_all(open_volume(out / "ensembled" / PLACES[name], role="values"))
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    whole = run(fresh, trained, part, format=name, dtype=dtype)
    assert_array_equal(stopped, read_all(open_volume(whole / "ensembled" / PLACES[name], role="values")))


def test_a_part_of_the_images_is_predicted_and_lies_where_it_belongs(
    tmp_path: Path, trained: Path, images: Path
) -> None:
    part = Address(str(images), selection=Selection(roi=parse_roi("1:4,20:120,10:110")))
    out = run(tmp_path, trained, part, format="ome-zarr")
    found = open_volume(out / "ensembled" / "Segmented.zarr")
    assert_array_equal(read_all(found), maps_of(addresses(SHAPE)[1:4, 20:120, 10:110]))
    assert found.placement.offset == pytest.approx((0.03, 0.16, 0.08))


def test_another_part_is_another_run(tmp_path: Path, trained: Path, images: Path) -> None:
    for at, roi in enumerate(("0:2,0:50,0:50", "0:2,0:50,1:51")):
        part = Address(str(images), selection=Selection(roi=parse_roi(roi)))
        if at == 0:
            run(tmp_path, trained, part)
        else:
            with pytest.raises(RunError, match="selection"):
                run(tmp_path, trained, part)


def test_what_the_original_lacks_is_refused_in_exact_mode(tmp_path: Path, trained: Path, images: Path) -> None:
    for options in ({"format": "h5"}, {"format": "h5", "dtype": "uint16"}):
        with pytest.raises(InputError, match="use either --exact or --format and --dtype"):
            PredictRequest(trained=trained, images=images, out=tmp_path / "o", rules=ORIGINAL, **options)
    with pytest.raises(InputError, match="use either --exact or --fill"):
        PredictRequest(trained=trained, images=images, out=tmp_path / "o", rules=ORIGINAL, fill="reflect")
    with pytest.raises(InputError, match="use either --exact or --blend"):
        PredictRequest(trained=trained, images=images, out=tmp_path / "o", rules=ORIGINAL, blend=True)
    with pytest.raises(InputError, match="found --dtype uint16 for PNG images; expected uint8"):
        PredictRequest(trained=trained, images=images, out=tmp_path / "o", dtype="uint16")


@pytest.mark.parametrize("shape", [(3, 1030, 40), (70, 40, 2100), (2, 1014, 3000), (65, 1025, 1025)])
def test_boxes_of_chunks_cover_a_volume_once(shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "LARGEST_PLANE", 2**14)
    chunks = chunked.chunks_for(shape)
    tiling = Tiling.of(shape, chunks=chunks)
    covered = np.zeros(shape, np.uint8)
    for box in tiling.boxes(chunks=chunks, largest_plane=2**14):
        chunked._demand_aligned(box, shape, chunks)
        covered[box.slices] += 1
        for z in (box.begin[0], box.end[0] - 1):
            assert len(tiling.packages_meeting(box, z)) == 1
    assert covered.min() == covered.max() == 1


def test_tiles_that_meet_where_chunks_do_give_the_input_back(
    tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = (2, 40, 2100)
    tifffile.imwrite(tmp_path / "wide.tif", addresses(shape), metadata=None, photometric="minisblack")
    monkeypatch.setattr(grid, "LARGEST_PLANE", 2**14)
    out = run(tmp_path, trained, tmp_path / "wide.tif", format="ome-zarr")
    assert_array_equal(read_all(open_volume(out / "ensembled" / "Segmented.zarr")), maps_of(addresses(shape)))
    assert prediction.chunks_of("ome-zarr", shape) == (2, 40, 192)


@pytest.mark.parametrize("name", ["png", "ome-zarr"])
def test_large_planes_that_are_decoded_whole_are_decoded_once_for_their_tiles(
    name: str, tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = (3, 40, 2100)
    folder = write_planes(tmp_path / "wide", addresses(shape))
    monkeypatch.setattr(grid, "LARGEST_PLANE", 2**14)
    monkeypatch.setattr(reading, "WHOLE_PLANES", 2**14)
    decoded = []
    read_plane = png.read_plane
    monkeypatch.setattr(png, "read_plane", lambda path: decoded.append(path.name) or read_plane(path))
    monkeypatch.setattr("cdeep3m.prediction.run.sample_of", lambda _: iter([addresses(shape)[0]]))
    monkeypatch.setattr("cdeep3m.prediction.run.facts_of_images", lambda *_, **__: {})
    out = run(tmp_path, trained, folder, format=name)
    assert sorted(decoded) == sorted(path.name for path in folder.iterdir())
    assert_array_equal(read_all(open_volume(out / "ensembled" / PLACES.get(name, ""))), maps_of(addresses(shape)))
    assert not [path for path in out.iterdir() if path.name.startswith("tmp")]


def test_mirrored_edges_are_another_run(tmp_path: Path, trained: Path, images: Path) -> None:
    out = run(tmp_path, trained, images, fill="reflect")
    assert "fill=reflect" in (out / "predict.config").read_text()
    assert_array_equal(read_all(open_volume(out / "ensembled")), maps_of(addresses(SHAPE)))


@pytest.mark.parametrize("before", [False, True])
def test_blended_tiles_are_another_run(before: bool, tmp_path: Path, trained: Path, images: Path) -> None:
    run(tmp_path, trained, images, blend=before)
    with pytest.raises(RunError, match=f"blend = {str(before).lower()}"):
        run(tmp_path, trained, images, blend=not before)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_blended_tiles_of_a_large_plane_give_the_input_back(dtype: str, tmp_path: Path, trained: Path) -> None:
    shape = (2, 40, 1100)
    tifffile.imwrite(tmp_path / "wide.tif", addresses(shape), metadata=None, photometric="minisblack")
    name = "png" if dtype == "uint8" else "ome-zarr"
    out = run(tmp_path, trained, tmp_path / "wide.tif", blend=True, format=name, dtype=dtype)
    found = read_all(open_volume(out / "ensembled", role="values"))
    if dtype == "uint8":
        assert_array_equal(found, maps_of(addresses(shape)))
    else:
        assert_array_equal(found, np.round(addresses(shape) / 255 * 65535))
    config = (out / "predict.config").read_text()
    assert "blend=true" in config
    assert "reach=0" in config


def test_a_blended_run_goes_on_with_the_reach_that_it_began_with(
    tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(tmp_path / "wide.tif", addresses((3, 40, 1100)), metadata=None, photometric="minisblack")
    monkeypatch.setattr(IdentityEngine, "reach", lambda self, model, gpu: 50)
    out = run(tmp_path, trained, tmp_path / "wide.tif", blend=True)
    (out / "DONE").unlink()
    (out / "ensembled" / "Segmented_0002.png").unlink()
    monkeypatch.setattr(IdentityEngine, "reach", lambda self, model, gpu: 5)
    run(tmp_path, trained, tmp_path / "wide.tif", blend=True)
    assert "reach=50" in (out / "predict.config").read_text()
    assert_array_equal(read_all(open_volume(out / "ensembled")), maps_of(addresses((3, 40, 1100))))


@pytest.mark.parametrize("nets", [("1fm",), ("1fm", "3fm")])
@pytest.mark.parametrize("name", ["ome-zarr", "n5", "precomputed"])
def test_maps_go_to_another_place_and_the_run_s_folder_means_them(
    name: str, nets: tuple[str, ...], tmp_path: Path, trained: Path, images: Path
) -> None:
    place = Address(str(tmp_path / "elsewhere" / "run"))
    options = {"trained": trained, "images": images, "out": tmp_path / "out", "nets": nets, "aug_speed": 10}
    request = PredictRequest(**options, fit=True, format=name, maps=place)
    assert predict(request, IdentityEngine(), gpu=-1)
    out = tmp_path / "out"
    assert not list(out.rglob(PLACES[name]))
    for net in nets:
        found = read_all(open_volume(tmp_path / "elsewhere" / "run" / net / PLACES[name], role="values"))
        assert_array_equal(found, maps_of(addresses(SHAPE)))
    assert_array_equal(read_all(open_volume(out / "ensembled", role="values")), maps_of(addresses(SHAPE)))
    assert maps_in(out) == out / "ensembled"
    assert not predict(request, IdentityEngine(), gpu=-1)
    with pytest.raises(RunError, match="maps = "):
        predict(replace(request, maps=Address(str(tmp_path / "third"))), IdentityEngine(), gpu=-1)
    assert predict(replace(request, overwrite=True, dtype="uint16"), IdentityEngine(), gpu=-1)
    found = open_volume(out / "ensembled", role="values")
    assert found.dtype == np.uint16


def test_maps_elsewhere_need_chunks(tmp_path: Path, trained: Path, images: Path) -> None:
    for name in ("png", "tif", "h5", "mrc"):
        with pytest.raises(InputError, match=f"found --maps with --format {name}; expected a format of chunks"):
            run(tmp_path, trained, images, format=name, maps=Address("s3://bucket/run"))


def test_an_option_that_is_left_out_does_not_go_on_with_what_was_made_with_it(
    tmp_path: Path, trained: Path, images: Path
) -> None:
    run(tmp_path, trained, images, fill="reflect")
    with pytest.raises(RunError, match="fill = reflect; this run says zeros"):
        run(tmp_path, trained, images)


@pytest.mark.parametrize("frames", [1, 3])
def test_chunks_are_read_once_not_once_for_each_plane(frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shape, chunks = (16, 128, 2100), (4, 16, 16)
    volume = ArrayVolume(addresses(shape))
    volume.chunks = chunks
    monkeypatch.setattr(grid, "LARGEST_PLANE", 2**14)
    monkeypatch.setattr(reading, "WHOLE_PLANES", 2**14)
    tiling = Tiling.of(shape, chunks=(4, 64, 64))
    plan = [(box, ("net",)) for box in tiling.boxes(chunks=(4, 64, 64))]
    assert len(plan) == 4 * 3
    nets = {"net": NetInUse(IdentityNet(frames), VARIANTS[:1])}
    found = np.zeros(shape, np.uint8)
    for box, maps in predict_boxes(volume, plan, nets, tiling=tiling):
        found[box.slices] = maps["net"]
    assert_array_equal(found, maps_of(addresses(shape)))
    assert sum(np.prod(roi.shape) for roi in volume.reads) < 1.1 * np.prod(shape)


def test_whole_planes_of_deep_chunks_are_read_tile_by_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (8, 60, 1500)
    volume = ArrayVolume(addresses(shape))
    volume.chunks = (4, 16, 16)
    monkeypatch.setattr(reading, "SLAB_BYTES", 4 * 60 * 1100)
    tiling = Tiling.of(shape, chunks=(4, 60, 64))
    plan = [(box, ("net",)) for box in tiling.boxes(chunks=(4, 60, 64))]
    assert len(plan) == 2
    nets = {"net": NetInUse(IdentityNet(1), VARIANTS[:1])}
    found = np.concatenate([maps["net"] for _, maps in predict_boxes(volume, plan, nets, tiling=tiling)])
    assert_array_equal(found, maps_of(addresses(shape)))
    assert sum(np.prod(roi.shape) for roi in volume.reads) < 1.1 * np.prod(shape)
