"""What a TIFF file promises is compared with what is there before work begins."""

from __future__ import annotations

import struct
from contextlib import suppress

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdeep3m.errors import CDeep3MError, FormatError, InputError
from cdeep3m.volumes import open_volume, read_all
from cdeep3m.volumes.png import write_plane

PLANES = np.arange(4 * 20 * 24, dtype=np.uint8).reshape(4, 20, 24)


def stack(path, planes=PLANES, **how):
    tifffile.imwrite(path, planes, **{"photometric": "minisblack", "metadata": None, **how})
    return path


@pytest.mark.parametrize("share", [0.2, 0.6, 0.9])
@pytest.mark.parametrize("how", [{}, {"bigtiff": True}, {"compression": "zlib"}, {"rowsperstrip": 3}], ids=str)
def test_a_stack_whose_copy_broke_off_is_refused(tmp_path, share, how):
    path = stack(tmp_path / "v.tif", **how)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(FormatError, match="truncated|incomplete|cut"):
        open_volume(path)


def test_directories_that_lead_in_a_circle_end(tmp_path):
    path = stack(tmp_path / "v.tif", PLANES[:1])
    content = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, first)
    struct.pack_into("<I", content, first + 2 + 12 * count, first)
    path.write_bytes(content)
    with pytest.raises(FormatError, match="circle"):
        open_volume(path)


@pytest.mark.parametrize(
    ("planes", "how", "words"),
    [
        (PLANES.reshape(2, 2, 20, 24), {"imagej": True, "photometric": None, "metadata": {"axes": "ZCYX"}}, "channels"),
        (np.stack([PLANES] * 2, -1), {"planarconfig": "contig"}, "samples|channels"),
        (PLANES, {"volumetric": True}, "ImageDepth|volume"),
        (PLANES[0], {"description": "ImageJ=1.54f\nimages=9\nslices=9\n"}, "promises 9 planes"),
    ],
    ids=["channels", "samples", "depth", "images"],
)
def test_what_is_no_plain_stack_of_planes_is_said(tmp_path, planes, how, words):
    with pytest.raises(InputError, match=words):
        open_volume(stack(tmp_path / "v.tif", planes, **how))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["png", "tif", "zlib"]),
    edits=st.lists(st.tuples(st.integers(0, 4000), st.binary(max_size=6), st.integers(0, 30)), min_size=1, max_size=3),
)
def test_damaged_images_are_read_right_or_refused_in_words(tmp_path, kind, edits):
    path = tmp_path / ("v.png" if kind == "png" else "v.tif")
    if kind == "png":
        write_plane(path, PLANES[0])
        opened = tmp_path
    else:
        opened = stack(path, compression="zlib" if kind == "zlib" else None)
    data = bytearray(path.read_bytes())
    for at, new, removed in edits:
        data[at % len(data) : at % len(data) + removed] = new
    path.write_bytes(bytes(data))
    with suppress(CDeep3MError):
        assert read_all(open_volume(opened)).dtype in (np.uint8, np.uint16)
    path.unlink()
