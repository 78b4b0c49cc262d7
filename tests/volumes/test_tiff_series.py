"""TIFF files of ImageJ and OME: channels, times and images are chosen, voxel sizes are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

from cdeep3m.errors import InputError, MissingFileError
from cdeep3m.geometry import Placement, Roi
from cdeep3m.rules import ORIGINAL
from cdeep3m.volumes import open_volume
from cdeep3m.volumes.axes import Selection

if TYPE_CHECKING:
    from pathlib import Path

SIDES = {"T": 2, "Z": 4, "C": 3, "Y": 5, "X": 6}
ADDRESSES = np.arange(720, dtype=np.uint16).reshape(tuple(SIDES.values()))
"""Axes t, z, c, y, x, as ImageJ orders them."""


def read(path: Path | str, **selection: Any) -> np.ndarray:
    volume = open_volume(path, selection=Selection(**selection))
    return volume.read(Roi((0, 0, 0), volume.shape))


def imagej(path: Path, values: np.ndarray, axes: str, **metadata: Any) -> Path:
    options = {"resolution": metadata.pop("resolution")} if "resolution" in metadata else {}
    tifffile.imwrite(path, values, imagej=True, metadata={"axes": axes, **metadata}, **options)
    return path


def ome(path: Path, values: np.ndarray, axes: str, **metadata: Any) -> Path:
    tifffile.imwrite(path, values, ome=True, metadata={"axes": axes, **metadata})
    return path


@pytest.mark.parametrize("write", [imagej, ome])
def test_the_channel_and_time_that_are_asked_for_are_read(write: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "v.tif", ADDRESSES, "TZCYX")
    np.testing.assert_array_equal(read(path, time=1, channel=2), ADDRESSES[1, :, 2])
    for selection, what in (({"time": 0}, "holds 3 channels"), ({"channel": 0}, "holds 2 times"), ({}, "holds")):
        with pytest.raises(InputError, match=what):
            read(path, **selection)


@pytest.mark.parametrize("axes", ["ZCYX", "CZYX", "TCZYX", "ZTYX", "CYX"])
def test_any_order_of_an_ome_tiff_reads_the_same(axes: str, tmp_path: Path) -> None:
    full = ADDRESSES[tuple(slice(None) if axis in axes else 0 for axis in "TZCYX")]
    path = ome(
        tmp_path / "v.tif", full.transpose(["".join(a for a in "TZCYX" if a in axes).index(a) for a in axes]), axes
    )
    chosen = {name: 1 for name, axis in (("time", "T"), ("channel", "C")) if axis in axes}
    expected = ADDRESSES[int("T" in axes), :, int("C" in axes)]
    np.testing.assert_array_equal(read(path, **chosen), expected if "Z" in axes else expected[:1])


def test_frames_of_imagej_without_slices_are_planes_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = imagej(tmp_path / "v.tif", ADDRESSES[0, :, 0], "TYX")
    np.testing.assert_array_equal(read(path), ADDRESSES[0, :, 0])
    assert "v.tif says that its planes are times; they are read as planes along z" in caplog.text
    np.testing.assert_array_equal(read(path, axes="zyx"), ADDRESSES[0, :, 0])
    np.testing.assert_array_equal(read(path, time=3), ADDRESSES[0, 3:, 0])


def test_frames_of_an_ome_tiff_are_planes_where_the_user_says_so(tmp_path: Path) -> None:
    path = ome(tmp_path / "v.tif", ADDRESSES[0, :, 0], "TYX")
    with pytest.raises(InputError, match=r"holds 4 times; .* or --axes zyx where they are planes"):
        read(path)
    np.testing.assert_array_equal(read(path, axes="zyx"), ADDRESSES[0, :, 0])


def test_plain_pages_are_planes(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "v.tif", ADDRESSES[0, :, 0], metadata=None, photometric="minisblack")
    np.testing.assert_array_equal(read(tmp_path / "v.tif"), ADDRESSES[0, :, 0])
    np.testing.assert_array_equal(read(tmp_path / "v.tif", axes="tyx", time=2), ADDRESSES[0, 2:3, 0])
    with pytest.raises(InputError, match="expected axes that end with yx"):
        read(tmp_path / "v.tif", axes="xyz")
    with pytest.raises(MissingFileError, match="leave out ::1"):
        read(f"{tmp_path / 'v.tif'}::1")


def test_more_axes_of_which_nothing_is_said_are_asked_for(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "v.tif", ADDRESSES[0], photometric="minisblack")
    with pytest.raises(InputError, match=r"shape \(4, 3, 5, 6\) and does not say .* --axes"):
        read(tmp_path / "v.tif")
    np.testing.assert_array_equal(read(tmp_path / "v.tif", axes="zcyx", channel=1), ADDRESSES[0, :, 1])


def test_exact_mode_knows_of_no_channels(tmp_path: Path) -> None:
    path = imagej(tmp_path / "v.tif", ADDRESSES[0], "ZCYX")
    with pytest.raises(InputError, match="leave out --exact, or --roi, --channel"):
        open_volume(path, rules=ORIGINAL, selection=Selection(channel=1))


def test_imagej_s_voxel_size_is_read(tmp_path: Path) -> None:
    path = imagej(tmp_path / "v.tif", ADDRESSES[0, :, 0], "ZYX", spacing=0.03, unit="um", resolution=(125.0, 100.0))
    assert open_volume(path).placement == Placement((0.03, 0.01, 0.008), "micrometer")
    assert open_volume(imagej(tmp_path / "w.tif", ADDRESSES[0, :, 0], "ZYX")).placement == Placement()


def test_ome_s_voxel_size_is_read(tmp_path: Path) -> None:
    sizes = {"PhysicalSizeX": 8, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 9, "PhysicalSizeYUnit": "nm"}
    path = ome(tmp_path / "v.tif", ADDRESSES[0, :, 0], "ZYX", PhysicalSizeZ=30, PhysicalSizeZUnit="nm", **sizes)
    assert open_volume(path).placement == Placement((30, 9, 8), "nanometer")


def test_one_of_several_images_is_named(tmp_path: Path) -> None:
    path = tmp_path / "v.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        for number in range(2):
            file.write(ADDRESSES[number, :, 0], metadata={"axes": "ZYX"}, photometric="minisblack")
    np.testing.assert_array_equal(read(f"{path}::1"), ADDRESSES[1, :, 0])
    with pytest.raises(InputError, match=r"holds 2 images; expected one to be named: .*v.ome.tif::0 to"):
        read(path)
    with pytest.raises(MissingFileError, match="found the image '2'; expected 0 to 1"):
        read(f"{path}::2")


def test_images_of_an_ome_tiff_may_differ_in_size_and_depth(tmp_path: Path) -> None:
    path = tmp_path / "v.ome.tif"
    images = [ADDRESSES[0, :, 0], ADDRESSES[0, :2, 1, :3], ADDRESSES[1, 0]]
    with tifffile.TiffWriter(path, ome=True) as file:
        for values, axes in zip(images, ("ZYX", "ZYX", "CYX"), strict=True):
            file.write(values, metadata={"axes": axes}, photometric="minisblack")
    for number in range(2):
        np.testing.assert_array_equal(read(f"{path}::{number}"), images[number])
    np.testing.assert_array_equal(read(f"{path}::2", channel=1), images[2][1:2])


def test_the_samples_of_a_colour_are_no_planes_of_an_ome_tiff(tmp_path: Path) -> None:
    gray = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)
    path = tmp_path / "v.ome.tif"
    tifffile.imwrite(path, np.stack([gray] * 3, -1), ome=True, photometric="rgb", metadata={"axes": "ZYXS"})
    np.testing.assert_array_equal(read(path), gray)


def test_hyperstacks_of_bio_formats_that_do_not_say_their_order_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, first in (("v.tif", "ImageJ="), ("w.tif", "ImageJ=1.54f")):
        said = f"{first}\nhyperstack=true\nimages=24\nchannels=3\nslices=4\nframes=2"
        pages = ADDRESSES.reshape(24, 5, 6)
        tifffile.imwrite(tmp_path / name, pages, description=said, metadata=None, photometric="minisblack")
        caplog.clear()
        np.testing.assert_array_equal(read(tmp_path / name, time=1, channel=2), ADDRESSES[1, :, 2])
        assert ("does not note the order" in caplog.text) == (name == "v.tif")


def test_big_tiff_files_have_suffixes_of_their_own(tmp_path: Path) -> None:
    for suffix in (".ome.btf", ".tf8"):
        path = tmp_path / f"v{suffix}"
        ome(path, ADDRESSES[0, :, 0], "ZYX")
        np.testing.assert_array_equal(read(path), ADDRESSES[0, :, 0])
        with pytest.raises(InputError, match="the original cannot read"):
            open_volume(path, rules=ORIGINAL)


def test_one_of_the_files_of_an_image_is_refused(tmp_path: Path) -> None:
    planes = "".join(
        f'<TiffData FirstT="{t}" IFD="0"><UUID FileName="t{t}.ome.tif">urn:uuid:1{t}</UUID></TiffData>' for t in (0, 1)
    )
    said = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" '
        'DimensionOrder="XYZCT" Type="uint16" SizeX="6" SizeY="5" SizeZ="1" SizeC="1" SizeT="2">'
        f"{planes}</Pixels></Image></OME>"
    )
    tifffile.imwrite(tmp_path / "t0.ome.tif", ADDRESSES[0, 0, 0], description=said, metadata=None)
    with pytest.raises(InputError, match="is one of 2 files of an OME-TIFF"):
        read(tmp_path / "t0.ome.tif")


def test_one_of_several_stacks_that_tifffile_wrote_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stacks = [ADDRESSES[0, :, 0], ADDRESSES[1, :, 0]]
    with tifffile.TiffWriter(tmp_path / "v.tif") as file:
        for values in stacks:
            file.write(values, photometric="minisblack")
    for number, values in enumerate(stacks):
        np.testing.assert_array_equal(read(f"{tmp_path / 'v.tif'}::{number}"), values)
    assert not caplog.text
    np.testing.assert_array_equal(read(tmp_path / "v.tif"), np.concatenate(stacks))
    assert "read as one volume; name the one that is meant" in caplog.text
    with pytest.raises(MissingFileError, match="found the image '2'; expected 0 to 1"):
        read(f"{tmp_path / 'v.tif'}::2")


def test_levels_of_an_ome_tiff_are_read(tmp_path: Path) -> None:
    path = tmp_path / "v.ome.tif"
    values = np.arange(2 * 64 * 64, dtype=np.uint16).reshape(2, 64, 64)
    sizes = {"PhysicalSizeX": 8, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 8, "PhysicalSizeYUnit": "nm"}
    with tifffile.TiffWriter(path, ome=True) as file:
        options = {"photometric": "minisblack", "tile": (16, 16)}
        file.write(values, subifds=1, metadata={"axes": "ZYX", **sizes}, **options)
        file.write(values[:, ::2, ::2], subfiletype=1, **options)
    np.testing.assert_array_equal(read(path), values)
    np.testing.assert_array_equal(read(path, level=1), values[:, ::2, ::2])
    assert open_volume(path, selection=Selection(level=1)).placement.voxel_size == (8, 16, 16)
    with pytest.raises(InputError, match="has levels 0 to 1; found --level 2"):
        read(path, level=2)


def test_a_contiguous_file_of_imagej_is_read(tmp_path: Path) -> None:
    path = imagej(tmp_path / "v.tif", ADDRESSES[0], "ZCYX")
    data = path.read_bytes()
    with tifffile.TiffFile(path) as file:
        second = file.pages.first.offset, file.pages[1].offset
        assert file.series[0].dataoffset is not None
    cut = data.replace(second[1].to_bytes(4, data[:2] == b"MM" and "big" or "little"), b"\0" * 4, 1)
    path.write_bytes(cut)
    with tifffile.TiffFile(path) as file:
        assert len(file.pages) == 1
    np.testing.assert_array_equal(read(path, channel=2), ADDRESSES[0, :, 2])


MORE_OF_IMAGEJ = [
    ({}, {}, (1.0, 0.01, 0.008)),
    ({"spacing": -0.03}, {}, (0.03, 0.01, 0.008)),
    ({"spacing": 30, "zunit": "nm"}, {}, (0.03, 0.01, 0.008)),
    ({"yunit": "nm", "spacing": 0.03}, {}, (0.03, 0.00001, 0.008)),
    ({"spacing": 0.03}, {"resolutionunit": "CENTIMETER"}, (0.03, 100.0, 80.0)),
]
"""Said, written otherwise, and what ImageJ makes of it: voxel sizes along (z, y, x) in micrometers."""


@pytest.mark.parametrize(("said", "written", "sizes"), MORE_OF_IMAGEJ)
def test_what_imagej_leaves_out_or_says_of_one_axis_counts(
    said: dict, written: dict, sizes: tuple[float, ...], tmp_path: Path
) -> None:
    path = tmp_path / "v.tif"
    metadata = {"axes": "ZYX", "unit": "um", **said}
    tifffile.imwrite(path, ADDRESSES[0, :, 0], imagej=True, metadata=metadata, resolution=(125.0, 100.0), **written)
    assert open_volume(path).placement.voxel_size == pytest.approx(sizes)


def test_ome_s_voxel_sizes_have_a_unit_each(tmp_path: Path) -> None:
    sizes = {"PhysicalSizeX": 8, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.009, "PhysicalSizeZ": 0.03}
    path = ome(tmp_path / "v.tif", ADDRESSES[0, :, 0], "ZYX", **sizes)
    assert open_volume(path).placement == Placement((30, 9, 8), "nanometer")


def test_a_voxel_size_that_ome_does_not_say_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sizes = {"PhysicalSizeX": 8, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 8, "PhysicalSizeYUnit": "nm"}
    path = ome(tmp_path / "v.tif", ADDRESSES[0, :1, 0], "ZYX", **sizes)
    assert open_volume(path).placement.voxel_size == (8, 8, 8)
    assert not caplog.text
    assert open_volume(ome(path, ADDRESSES[0, :, 0], "ZYX", **sizes)).placement.voxel_size == (8, 8, 8)
    assert "does not say how long its voxels are along z: as long as along x is taken for it" in caplog.text


def test_several_series_in_one_file_are_said(tmp_path: Path, caplog: Any) -> None:
    path = tmp_path / "v.tif"
    planes = ADDRESSES[:, :, 0].reshape(8, 5, 6)
    tifffile.imwrite(path, planes[:5], photometric="minisblack")
    tifffile.imwrite(path, planes[5:], photometric="minisblack", append=True)
    np.testing.assert_array_equal(read(path), planes)
    assert "holds 2 series (of 5, 3 planes), read as one volume" in caplog.text


def test_planes_that_were_written_one_by_one_are_no_series(tmp_path: Path, caplog: Any) -> None:
    with tifffile.TiffWriter(tmp_path / "v.tif") as file:
        for plane in ADDRESSES[0, :, 0]:
            file.write(plane, photometric="minisblack")
    np.testing.assert_array_equal(read(tmp_path / "v.tif"), ADDRESSES[0, :, 0])
    assert not caplog.text
