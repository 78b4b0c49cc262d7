"""Archives of models, and what nobody should find in one."""

from __future__ import annotations

import io
import os
import tarfile
from types import SimpleNamespace

import pytest

from cdeep3m.errors import FormatError, RunError
from cdeep3m.models import archive as archives
from cdeep3m.models.archive import unpack

FILES = {"model/1fm/deploy.prototxt": b"a net", "model/1fm/trainedmodel/x.caffemodel": bytes(range(256)) * 9}


def entry(name: str, **changes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    for key, value in changes.items():
        setattr(member, key, value)
    return member


def tar_of(path, members, mode="w"):
    """Write pairs of an entry and its content."""
    with tarfile.open(path, mode) as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def usual():
    folders = [(entry(name, type=tarfile.DIRTYPE), b"") for name in ("model", "./model/1fm/")]
    return folders + [(entry(name, mode=0o6777, uid=1, mtime=1), content) for name, content in FILES.items()]


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "deep" / "place"
    place.mkdir(parents=True)
    return place


def everything(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz"])
def test_files_are_unpacked_whatever_the_compression(tmp_path, folder, compression):
    unpack(tar_of(tmp_path / "a.tar", usual(), f"w:{compression}"), folder)
    assert everything(folder) == FILES


def test_owners_dates_and_permissions_are_not_taken_over(tmp_path, folder):
    unpack(tar_of(tmp_path / "a.tar", usual()), folder)
    (tmp_path / "plain").touch()
    status, plain = ((path).stat() for path in (folder / "model/1fm/deploy.prototxt", tmp_path / "plain"))
    assert (status.st_mode, status.st_uid) == (plain.st_mode, plain.st_uid)
    assert status.st_mtime > 1e9


@pytest.mark.parametrize(
    "name",
    ["/etc/x", "../x", "model/../../x", "model/..", "..", "//x", "..\\x", "model\\..\\..\\x", "C:\\x"],
)
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE])
def test_names_that_lead_elsewhere_are_refused(tmp_path, folder, name, kind):
    path = tar_of(tmp_path / "a.tar", [*usual(), (entry(name, type=kind), b"")])
    with pytest.raises(FormatError, match="leads out of its folder"):
        unpack(path, folder)
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "deep"]
    assert os.listdir(folder.parent) == ["place"]


@pytest.mark.parametrize(
    ("kind", "called"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a pipe"),
    ],
)
@pytest.mark.parametrize("aim", ["1fm/deploy.prototxt", "/etc/passwd", "../../x"])
def test_links_and_special_files_are_refused(tmp_path, folder, kind, called, aim):
    path = tar_of(tmp_path / "a.tar", [*usual(), (entry("model/3fm", type=kind, linkname=aim), b"")])
    with pytest.raises(FormatError, match=f"'model/3fm' in it is {called}; expected files and folders alone"):
        unpack(path, folder)
    assert not any(path.is_symlink() for path in folder.rglob("*"))


def test_a_file_with_holes_is_refused(tmp_path, folder):
    member = entry(
        "model/x", pax_headers={"GNU.sparse.map": "0,1", "GNU.sparse.size": "9999999", "GNU.sparse.name": "x"}
    )
    path = tar_of(tmp_path / "a.tar", [(member, b"1")])
    with pytest.raises(FormatError, match="a file with holes"):
        unpack(path, folder)


@pytest.mark.parametrize(
    "names", [["model/x", "model/x"], ["model/x", "./model/x"], ["model/x", "model/x/y"], ["model/x/y", "model/x"]]
)
def test_no_name_may_occur_twice(tmp_path, folder, names):
    path = tar_of(tmp_path / "a.tar", [(entry(name), b"1") for name in names])
    with pytest.raises(FormatError, match="'[xy]' occurs in it twice"):
        unpack(path, folder)


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz"])
@pytest.mark.parametrize("part", [0.3, 0.6])
def test_an_archive_that_is_cut_off_is_refused(tmp_path, folder, compression, part):
    noise = os.urandom(40_000)
    whole = tar_of(tmp_path / "a.tar", [*usual(), (entry("model/noise"), noise)], f"w:{compression}").read_bytes()
    (tmp_path / "b.tar").write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(FormatError, match=r"b\.tar: the archive is cut off or damaged"):
        unpack(tmp_path / "b.tar", folder)


@pytest.mark.parametrize(
    ("content", "called"),
    [
        (b"<!DOCTYPE html><html>...", "a web page: the download did not give the file itself"),
        (b"PK\x03\x04" + bytes(600), "a zip archive"),
        (b"", "an empty file"),
        (b"plain words", "text"),
        (bytes(range(256)) * 8, "binary data"),
    ],
)
def test_what_is_no_archive_is_called_what_it_is(tmp_path, folder, content, called):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(FormatError, match=rf"a\.tar: expected a tar archive, but this is {called}"):
        unpack(tmp_path / "a.tar", folder)


def test_files_that_find_no_room_are_not_begun(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda path: SimpleNamespace(free=9))
    with pytest.raises(RunError, match=r"model/1fm/trainedmodel/x\.caffemodel needs 2304 bytes, .* has 9 left"):
        unpack(tar_of(tmp_path / "a.tar", usual()), folder)
    assert everything(folder) == {"model/1fm/deploy.prototxt": b"a net"}
