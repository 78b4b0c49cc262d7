"""Fetching: a folder that is whole, or none."""

from __future__ import annotations

import hashlib
import json
import tarfile

import pytest

from cdeep3m.engines import select
from cdeep3m.errors import (
    DownloadError,
    EngineError,
    FormatError,
    InputError,
    MissingFileError,
    NetError,
    RunError,
)
from cdeep3m.models import fetch as fetching
from cdeep3m.models.fetch import FetchRequest, default_folder, fetch
from cdeep3m.models.published import PublishedModel
from cdeep3m.models.verify import verify
from http_files import Site, served
from published import archive_of


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(scope="module")
def archive(published, tmp_path_factory):
    return archive_of(published, tmp_path_factory.mktemp("archive") / "sbem.tar.gz")


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


def request_of(source, place, **options):
    return FetchRequest(source=str(source), out=place / "model", **{"pause": 0, "attempts": 2, **options})


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_local_archive_becomes_a_folder_and_stays(archive, published, place):
    reports = fetch(request_of(archive, place))
    assert [(each.net, each.iteration, each.problems) for each in reports] == [("1fm", 30000, ()), ("3fm", 30000, ())]
    assert all(each.weights.is_file() for each in reports)
    found = content(place / "model")
    source = json.loads(found.pop("source.json"))
    assert found == content(published)
    assert source["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert source["source"] == str(archive)
    assert names(place) == ["model"]
    assert archive.is_file()


def test_what_was_fetched_can_be_checked_again(archive, place):
    fetch(request_of(archive, place))
    assert [each.problems for each in verify(place / "model")] == [(), ()]


def test_an_archive_without_a_top_folder_will_do(published, place, tmp_path):
    with tarfile.open(tmp_path / "flat.tar", "w") as tar:
        for net in ("1fm", "3fm"):
            tar.add(published / net, arcname=f"./{net}")
    fetch(request_of(tmp_path / "flat.tar", place))
    assert {"1fm", "3fm"} <= set(names(place / "model"))


@pytest.mark.parametrize("cuts", [[], [50_000, 100_000]])
def test_an_archive_is_downloaded_and_not_kept(archive, published, place, cuts):
    site, seen = Site({"/sbem.tar.gz": archive.read_bytes()}, cuts=list(cuts)), []
    with served(site) as address:
        request = request_of(f"{address}/sbem.tar.gz", place)
        fetch(request, report=lambda what, progress: seen.append((what, progress.total)))
    assert set(content(place / "model")) == {*content(published), "source.json"}
    assert names(place) == ["model"]
    assert len(site.requests) == 1 + len(cuts)
    assert set(seen) == {("model: download", -(-archive.stat().st_size // 1_000_000))}


def test_an_interrupted_fetch_goes_on_when_it_is_called_again(archive, place):
    site = Site({"/a.tar": archive.read_bytes()}, cuts=[60_000, 0, 0])
    with served(site) as address:
        with pytest.raises(DownloadError, match="60000 bytes have come and are kept"):
            fetch(request_of(f"{address}/a.tar", place))
        assert not (place / "model").exists()
        fetch(request_of(f"{address}/a.tar", place))
    assert site.requests[-1][1] == "bytes=60000-"
    assert names(place) == ["model"]


@pytest.mark.parametrize("source", ["mitochondria", "50681"])
def test_a_published_model_comes_from_the_address_that_is_given(archive, place, source):
    site = Site({"/50681/mitochondria.tar": archive.read_bytes()})
    with served(site) as address:
        fetch(request_of(source, place, address=address + "/{accession}/{name}.tar"))
    note = json.loads((place / "model" / "source.json").read_text())
    assert note["model"]["doi"] == "10.7295/W9CDEEP3M50681"


@pytest.fixture
def doi_site(archive, monkeypatch):
    """A server in the place of doi.org, whose address leads to an archive, or to a page."""
    site = Site(
        {"/files/50681.tar.gz": archive.read_bytes(), "/page": b"\n<!doctype HTML><title>Models</title>"},
        moved={"/10.7295/W9CDEEP3M50681": "/step", "/step": "/files/50681.tar.gz", "/10.7295/W9CDEEP3M50682": "/page"},
    )
    with served(site) as address:
        monkeypatch.setattr("cdeep3m.models.published.DOI_RESOLVER", f"{address}/")
        yield site


def test_a_published_model_without_an_address_comes_from_where_its_doi_leads(doi_site, published, place):
    fetch(request_of("mitochondria", place))
    assert {"1fm", "3fm"} <= set(names(place / "model"))
    assert [path for path, *_ in doi_site.requests] == ["/10.7295/W9CDEEP3M50681", "/step", "/files/50681.tar.gz"]


def test_a_doi_that_leads_to_a_page_is_told_with_its_address(doi_site, place):
    with pytest.raises(DownloadError, match=rf"leads to a page, {doi_site.address}/page, and .* --address"):
        fetch(request_of("vesicles", place))
    assert names(place) == []


def test_a_doi_that_leads_nowhere_is_told_with_what_to_do(doi_site, place):
    with pytest.raises(DownloadError, match=r"W9CDEEP3M50685: the server answers 404 .* --address"):
        fetch(request_of("synapses", place))
    assert names(place) == []


def test_the_size_and_hash_of_the_list_are_demanded(archive, place, monkeypatch):
    site = Site({"/a.tar": archive.read_bytes()})
    with served(site) as address:
        for known, complaint in (({"size": 7}, "expected 7"), ({"sha256": "0" * 64}, "expected 0000")):
            model = PublishedModel(name="m", accession="1", doi="d", target="t", address=f"{address}/a.tar", **known)
            monkeypatch.setattr(fetching, "find", lambda name, model=model: model)
            with pytest.raises(FormatError, match=complaint):
                fetch(request_of("m", place))
            assert names(place) == []


def test_the_hash_that_is_asked_for_is_demanded(archive, place):
    right = hashlib.sha256(archive.read_bytes()).hexdigest()
    wrong = ("0" if right[0] == "1" else "1") + right[1:]
    with pytest.raises(FormatError, match=rf"the SHA-256 {right}, expected {wrong}"):
        fetch(request_of(archive, place, sha256=wrong))
    fetch(request_of(archive, place, sha256=right.upper()))


@pytest.mark.parametrize("sha256", ["", "12", "g" * 64])
def test_a_hash_that_is_none_is_refused(place, sha256):
    with pytest.raises(InputError, match="64 hexadecimal digits"):
        request_of("x", place, sha256=sha256)


def test_a_net_that_is_not_whole_makes_no_folder(folder, place, tmp_path):
    (folder / "3fm" / "deploy.prototxt").write_text('layer { name: "a" type: "Odd" top: "a" }')
    path = archive_of(folder, tmp_path / "a.tar")
    with pytest.raises(NetError, match=r"the archive's 3fm is not whole: .*layer a: unknown type 'Odd'") as error:
        fetch(request_of(path, place))
    assert ".unpacking" not in str(error.value)
    assert names(place) == []


@pytest.mark.parametrize("make", ["link", "empty", "twice"])
def test_an_archive_that_is_no_model_makes_no_folder(published, place, tmp_path, make):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        if make == "link":
            tar.add(published, arcname="model")
            link = tarfile.TarInfo("model/5fm")
            link.type, link.linkname = tarfile.SYMTYPE, "3fm"
            tar.addfile(link)
        elif make == "twice":
            for top in ("one", "other"):
                tar.add(published, arcname=top)
    expected = {"link": "a symbolic link", "empty": "holds no trained model", "twice": "more than one training"}
    with pytest.raises(FormatError, match=expected[make]):
        fetch(request_of(path, place))
    assert names(place) == []


def test_a_bad_download_is_not_kept(place):
    page = Site({"/a.tar": b"<!DOCTYPE html><p>Please log in"})
    with served(page) as address, pytest.raises(FormatError, match=r"^http://\S+/a\.tar: .* a web page"):
        fetch(request_of(f"{address}/a.tar", place))
    assert names(place) == []


def test_a_whole_download_is_kept_when_the_machine_is_to_blame(archive, place, monkeypatch):
    site = Site({"/a.tar": archive.read_bytes()})
    with served(site) as address:
        with monkeypatch.context() as patch:
            patch.setattr(fetching, "unpack", lambda archive, folder: (_ for _ in ()).throw(OSError(28, "full")))
            with pytest.raises(OSError, match="full"):
                fetch(request_of(f"{address}/a.tar", place))
        fetch(request_of(f"{address}/a.tar", place))
    assert len(site.requests) == 1
    assert names(place) == ["model"]


def test_without_the_engine_that_checks_nothing_is_downloaded(archive, place, monkeypatch):
    monkeypatch.setattr(select.importlib.util, "find_spec", lambda name: None)
    with served(Site({"/a.tar": archive.read_bytes()})) as address, pytest.raises(EngineError, match="needs PyTorch"):
        fetch(request_of(f"{address}/a.tar", place))
    assert names(place) == []


def test_a_folder_that_is_there_is_left_alone(archive, place):
    (place / "model").mkdir()
    with pytest.raises(RunError, match=r"is there already: .*cdeep3m models verify"):
        fetch(request_of(archive, place))
    assert names(place / "model") == []


def test_what_a_killed_fetch_left_is_cleared_away(archive, place):
    (place / ".model.partial-1" / "old").mkdir(parents=True)
    fetch(request_of(archive, place))
    assert names(place) == ["model"]


@pytest.mark.parametrize(
    ("source", "complaint"), [("nonsense", "the name of a published model .*synapses"), (".", "is a folder")]
)
def test_what_is_no_source_is_refused(place, source, complaint):
    with pytest.raises((MissingFileError, InputError), match=complaint):
        fetch(request_of(source, place))


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("synapses", "synapses"),
        ("50692", "membranes-denoised-resized"),
        ("/a/b.c.tar", "b"),
        ("https://x/", "trainedmodel"),
    ],
)
def test_a_folder_gets_the_name_of_its_source(source, name):
    assert str(default_folder(source)) == name
