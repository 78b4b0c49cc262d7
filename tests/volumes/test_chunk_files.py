"""What a chunked array declares is compared with the chunks that are there; what lies in their places is looked at."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest

from cdeep3m.errors import CDeep3MError, FormatError, InputError
from cdeep3m.volumes import open_volume, read_all
from cdeep3m.volumes.axes import Selection
from cdeep3m.volumes.chunk_files import chunk_keys

ts = pytest.importorskip("tensorstore")

VALUES = np.arange(1, 10 * 12 * 14 + 1, dtype=np.uint16).reshape(10, 12, 14)
CHUNKS = [5, 6, 7]
SPECS = {
    "zarr": {"metadata": {"chunks": CHUNKS}},
    "zarr slashes": {"metadata": {"chunks": CHUNKS, "dimension_separator": "/"}},
    "zarr3": {"metadata": {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": CHUNKS}}}},
    "zarr3 dots": {
        "metadata": {
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": CHUNKS}},
            "chunk_key_encoding": {"name": "v2", "configuration": {"separator": "."}},
        }
    },
    "n5": {"metadata": {"blockSize": CHUNKS}},
    "neuroglancer_precomputed": {
        "multiscale_metadata": {"type": "image", "num_channels": 1},
        "scale_metadata": {
            "encoding": "raw",
            "chunk_size": CHUNKS,
            "resolution": [1, 1, 1],
            "voxel_offset": [3, -4, 7],
        },
    },
}
SUFFIXES = {"n5": ".n5", "neuroglancer_precomputed": ""}
META = {"zarr": ".zarray", "zarr3": "zarr.json", "n5": "attributes.json", "neuroglancer_precomputed": "info"}


@pytest.fixture(params=SPECS)
def array(request, tmp_path):
    """An array of 8 chunks: its driver, its folder, what the chunks are called, and its address."""
    driver = request.param.split()[0]
    folder = tmp_path / f"v{SUFFIXES.get(driver, '.zarr')}"
    spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{folder}/"}, **SPECS[request.param]}
    shape = None if driver.endswith("precomputed") else VALUES.shape
    if shape is None:
        spec["scale_metadata"] = {**spec["scale_metadata"], "size": list(VALUES.shape)}
    made = ts.open(spec, create=True, dtype=VALUES.dtype, shape=shape).result()
    made[...] = VALUES if shape else VALUES[..., np.newaxis]
    address = f"precomputed://{folder}" if driver.endswith("precomputed") else str(folder)
    return driver, folder, list(chunk_keys(made.spec().to_json())), address


def opened(address):
    return open_volume(address, selection=Selection(axes="zyx" if address.endswith(".zarr") else None))


def test_chunks_are_known_by_their_names(array):
    driver, folder, keys, _ = array
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert set(keys) == there - {META[driver]}
    assert len(keys) == 8


def test_a_missing_chunk_is_named(array, caplog):
    _, folder, keys, address = array
    (folder / keys[3]).unlink()
    read_all(opened(address))
    assert f"lacks 1 of 8 chunks, such as {keys[3]}" in caplog.text


@pytest.mark.parametrize("suffix", [".gz", ".br"])
def test_chunks_that_are_packed_as_files_are_not_taken_for_missing(array, suffix):
    _, folder, keys, address = array
    for key in keys:
        (folder / key).rename(folder / f"{key}{suffix}")
    with pytest.raises(InputError, match=rf"has its chunks in {suffix} files .* expected chunks as they are"):
        opened(address)


def test_chunks_of_other_names_are_not_taken_for_missing(array):
    _, folder, keys, address = array
    for key in keys:
        (folder / key).rename(folder / f"{key.rpartition('/')[0] or '.'}/chunk_{key.rpartition('/')[2]}")
    with pytest.raises(InputError, match=f"has none of the chunks that its description names, such as {keys[0]}"):
        opened(address)


def test_a_separator_that_the_description_does_not_name_is_not_taken_for_missing_chunks(tmp_path):
    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": f"{tmp_path}/v.zarr/"}, **SPECS["zarr slashes"]}
    ts.open(spec, create=True, dtype=VALUES.dtype, shape=VALUES.shape).result()[...] = VALUES
    meta = tmp_path / "v.zarr" / ".zarray"
    said = json.loads(meta.read_text())
    del said["dimension_separator"]
    meta.write_text(json.dumps(said))
    with pytest.raises(InputError, match=r"has none of the chunks .*, such as 0\.0\.0; found [01] in "):
        opened(f"{tmp_path}/v.zarr")


def test_an_array_of_which_only_the_end_is_stored_is_read(array):
    driver, folder, keys, address = array
    for key in keys[:-1]:
        (folder / key).unlink()
    volume = read_all(opened(address))
    assert volume.any()
    assert not volume.all()


def test_an_array_of_which_nothing_is_stored_is_read(array, caplog):
    _, folder, keys, address = array
    for key in keys:
        (folder / key).unlink()
    assert not read_all(opened(address)).any()
    assert "lacks 8 of 8 chunks" in caplog.text


def test_chunks_beyond_those_that_are_looked_at_may_be_the_first_that_are_there(array, monkeypatch):
    _, folder, keys, address = array
    monkeypatch.setattr("cdeep3m.volumes.chunk_files.MOST_LOOKED_AT", 3)
    for key in keys[:3]:
        (folder / key).unlink()
    assert read_all(opened(address)).any()


def test_a_whole_array_is_read_without_a_word(array, caplog):
    volume = read_all(opened(array[-1]))
    assert sorted(volume.ravel()) == sorted(VALUES.ravel())
    assert "chunk" not in caplog.text


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)], ids="pdz")
def test_what_is_no_file_in_a_chunks_place_is_refused(array, make):
    _, folder, keys, address = array
    (folder / keys[2]).unlink()
    make(folder / keys[2])
    with pytest.raises(InputError, match="expected a chunk"):
        opened(address)


def test_a_link_to_nowhere_in_a_chunks_place_is_refused(array):
    _, folder, keys, address = array
    (folder / keys[2]).unlink()
    (folder / keys[2]).symlink_to("unmounted")
    with pytest.raises(InputError, match="link to what is not there"):
        opened(address)


def test_a_link_to_itself_in_a_chunks_place_is_an_error(array):
    _, folder, keys, address = array
    (folder / keys[2]).unlink()
    (folder / keys[2]).symlink_to(os.path.basename(keys[2]))
    with pytest.raises((CDeep3MError, OSError)):
        opened(address)


def test_a_chunk_that_was_cut_off_is_an_error(array):
    _, folder, keys, address = array
    content = (folder / keys[1]).read_bytes()
    (folder / keys[1]).write_bytes(content[: len(content) // 2])
    with pytest.raises(FormatError):
        read_all(opened(address))


def _declare(driver, folder, *, shape=None, chunks=None):
    path = folder / META[driver]
    meta = json.loads(path.read_text())
    scale = meta["scales"][0] if "scales" in meta else meta
    if shape:
        scale[{"n5": "dimensions", "neuroglancer_precomputed": "size"}.get(driver, "shape")] = shape
    if chunks:
        if driver == "zarr3":
            meta["chunk_grid"]["configuration"]["chunk_shape"] = chunks
        elif "scales" in meta:
            scale["chunk_sizes"] = [chunks]
        else:
            scale[{"n5": "blockSize"}.get(driver, "chunks")] = chunks
    path.write_text(json.dumps(meta))


@pytest.mark.parametrize("shape", [[10**5] * 3, [10**9] * 3])
def test_sizes_that_next_to_nothing_is_there_of_are_said_at_once(array, shape, caplog):
    driver, folder, _, address = array
    _declare(driver, folder, shape=shape)
    opened(address)
    assert re.search(r"lacks \d+ of \d+ chunks", caplog.text)


def test_chunks_that_no_memory_holds_are_refused(array):
    driver, folder, _, address = array
    _declare(driver, folder, shape=[10**5] * 3, chunks=[10**5] * 3)
    with pytest.raises(CDeep3MError, match="chunk|cannot be read"):
        opened(address)


def test_a_description_that_is_nested_too_deeply_is_an_error_that_names_it(array):
    driver, folder, _, address = array
    (folder / META[driver]).write_text('{"a":' * 100_000 + ('"scales"' if driver.endswith("precomputed") else ""))
    with pytest.raises(FormatError, match=rf"{META[driver]}\b.*(nested|no JSON|Invalid JSON)"):
        opened(address)


def test_a_pipe_in_place_of_the_description_is_not_waited_for(array):
    driver, folder, _, address = array
    (folder / META[driver]).unlink()
    os.mkfifo(folder / META[driver])
    with pytest.raises((CDeep3MError, OSError)):
        opened(address)
