"""PNG planes: written fast, whole or not at all; read with every byte checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from cdeep3m.errors import FormatError
from cdeep3m.volumes import png
from cdeep3m.volumes.png import read_plane, write_plane
from octave_cases import synth

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_written_plane_is_a_gray_png_of_its_depth(dtype: str, tmp_path: Path) -> None:
    plane = synth(1, 20, 31, dtype=dtype)[0]
    write_plane(tmp_path / "p.png", plane.T)
    np.testing.assert_array_equal(read_plane(tmp_path / "p.png").values, plane.T)
    assert (tmp_path / "p.png").read_bytes()[24:26] == bytes([8 * plane.itemsize, png.GRAY])
    with Image.open(tmp_path / "p.png") as image:
        np.testing.assert_array_equal(np.asarray(image), plane.T)


def test_other_types_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="a plane of float32; expected uint8 or uint16"):
        write_plane(tmp_path / "p.png", np.zeros((2, 2), np.float32))


def test_planes_beyond_pillows_bomb_limit_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_plane(tmp_path / "p.png", synth(1, 20, 31)[0])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert read_plane(tmp_path / "p.png").size == (20, 31)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_plane_is_an_error_wherever_it_ends(share: float, tmp_path: Path) -> None:
    write_plane(tmp_path / "p.png", synth(1, 200, 310)[0])
    data = (tmp_path / "p.png").read_bytes()
    (tmp_path / "p.png").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(
        FormatError, match=r"p.png is no readable PNG file \(it is truncated\). Copy or export it again"
    ):
        read_plane(tmp_path / "p.png")


def test_one_flipped_bit_is_an_error(tmp_path: Path) -> None:
    write_plane(tmp_path / "p.png", synth(1, 200, 310)[0])
    data = bytearray((tmp_path / "p.png").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "p.png").write_bytes(bytes(data))
    with pytest.raises(FormatError, match="wrong checksum in IDAT"):
        read_plane(tmp_path / "p.png")


def test_a_full_disk_leaves_the_old_plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_plane(tmp_path / "p.png", np.uint8([[7]]))

    def save(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(OSError, match=r"No space left on device: .*p.png"):
        write_plane(tmp_path / "p.png", np.uint8([[8]]))
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]
    assert read_plane(tmp_path / "p.png").values.tolist() == [[7]]
