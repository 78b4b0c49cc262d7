"""Downloads, from a server whose connections fail."""

from __future__ import annotations

import fcntl
import json
import socket

import pytest

from cdeep3m.errors import DownloadError, InputError, RunError
from cdeep3m.models import download as downloads
from cdeep3m.models.download import download
from http_files import Site, served

CONTENT = bytes(range(256)) * 5000
SIZE = len(CONTENT)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def site():
    site = Site({"/model.tar": CONTENT})
    with served(site):
        yield site


@pytest.fixture
def target(tmp_path):
    return tmp_path / "model.tar"


def get(site, target, **options):
    return download(f"{site.address}/model.tar", target, **{"pause": 0, **options})


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_comes_whole_and_nothing_stays_beside_it(site, target):
    seen = []
    get(site, target, report=seen.append)
    assert target.read_bytes() == CONTENT
    assert left_in(target.parent) == ["model.tar"]
    assert [progress.total for progress in seen] == [2] * len(seen)
    assert (seen[0].done, seen[-1].done) == (1, 2)
    assert site.requests == [("/model.tar", None, None)]


@pytest.mark.parametrize(("etag", "date"), [('"one"', None), (None, "Tue, 24 Nov 2026 10:00:00 GMT")])
def test_a_cut_connection_is_gone_on_from_where_it_was_cut(site, target, etag, date):
    site.etag, site.date, site.cuts = etag, date, [300_000, 500_000]
    get(site, target)
    assert target.read_bytes() == CONTENT
    assert site.requests == [
        ("/model.tar", None, None),
        ("/model.tar", "bytes=300000-", etag or date),
        ("/model.tar", "bytes=800000-", etag or date),
    ]


def test_a_server_without_ranges_begins_anew(site, target):
    site.ranges, site.cuts = False, [300_000]
    get(site, target)
    assert target.read_bytes() == CONTENT
    assert len(site.requests) == 2


def test_a_part_of_which_nobody_knows_where_it_belongs_is_not_taken(site, target):
    site.says_which_part, site.cuts = False, [300_000]
    get(site, target)
    assert target.read_bytes() == CONTENT
    assert [wanted for _, wanted, _ in site.requests] == [None, "bytes=300000-", None]


def test_a_server_that_refuses_every_range_is_not_asked_for_ever(site, target):
    site.failures = [416]
    with pytest.raises(DownloadError, match="answers 416"):
        get(site, target)


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_sure_sign_that_the_file_is_the_same_it_begins_anew(site, target, etag):
    site.etag, site.cuts = etag, [300_000]
    get(site, target)
    assert target.read_bytes() == CONTENT
    assert [wanted for _, wanted, _ in site.requests] == [None, None]


@pytest.mark.parametrize("if_range", [True, False], ids=["If-Range heeded", "If-Range ignored"])
def test_a_file_that_changed_in_between_begins_anew(site, target, if_range):
    site.if_range, site.cuts = if_range, [300_000]
    with pytest.raises(DownloadError):
        get(site, target, attempts=0)
    site.files["/model.tar"], site.etag = CONTENT[::-1], '"two"'
    get(site, target)
    assert target.read_bytes() == CONTENT[::-1]


def test_another_call_goes_on_with_what_an_interrupted_one_left(site, target, monkeypatch):
    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(site, target, report=interrupt)
    assert left_in(target.parent) == [".model.tar.part", ".model.tar.part.json"]
    begun = (target.parent / ".model.tar.part").stat().st_size
    assert 0 < begun < SIZE
    get(site, target)
    assert site.requests[1] == ("/model.tar", f"bytes={begun}-", '"one"')
    assert target.read_bytes() == CONTENT


def test_a_part_of_another_address_is_not_gone_on_from(site, target):
    site.files["/other.tar"], site.cuts = CONTENT[::-1], [1000]
    with pytest.raises(DownloadError):
        get(site, target, attempts=0)
    download(f"{site.address}/other.tar", target, pause=0)
    assert target.read_bytes() == CONTENT[::-1]
    assert site.requests[1] == ("/other.tar", None, None)


def test_a_whole_part_needs_no_connection(site, target):
    (target.parent / ".model.tar.part").write_bytes(CONTENT)
    note = {"url": f"{site.address}/model.tar", "validator": '"one"', "total": SIZE}
    (target.parent / ".model.tar.part.json").write_text(json.dumps(note))
    get(site, target)
    assert target.read_bytes() == CONTENT
    assert site.requests == []


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"url": 3}', '{"url": "x", "more": 1}'])
def test_a_damaged_note_is_as_good_as_none(site, target, note):
    (target.parent / ".model.tar.part").write_bytes(b"something else")
    (target.parent / ".model.tar.part.json").write_text(note)
    get(site, target)
    assert target.read_bytes() == CONTENT


def test_a_part_that_is_longer_than_the_file_begins_anew(site, target):
    site.if_range = False
    (target.parent / ".model.tar.part").write_bytes(CONTENT * 2)
    note = {"url": f"{site.address}/model.tar", "validator": '"one"', "total": None}
    (target.parent / ".model.tar.part.json").write_text(json.dumps(note))
    get(site, target)
    assert target.read_bytes() == CONTENT


def test_a_length_that_is_not_said_is_not_known(site, target):
    site.lengths, seen = False, []
    get(site, target, report=seen.append)
    assert target.read_bytes() == CONTENT
    assert {progress.total for progress in seen} == {0}


def test_a_server_that_is_busy_is_asked_again(site, target):
    site.failures = [503, 429, 500]
    get(site, target)
    assert target.read_bytes() == CONTENT


def test_it_is_given_up_when_nothing_comes_and_the_part_stays(site, target):
    site.cuts = [300_000, 0, 0, 0]
    with pytest.raises(DownloadError, match=r"after 300000 of 1280000 bytes\. 300000 bytes .* are kept: .* goes on"):
        get(site, target, attempts=3)
    assert (target.parent / ".model.tar.part").read_bytes() == CONTENT[:300_000]
    assert not target.exists()


def test_each_connection_that_gets_further_counts_as_success(site, target):
    site.cuts = [100_000] * 12
    get(site, target, attempts=1)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("status", [404, 403, 401])
def test_a_refusal_is_final(site, target, status):
    site.failures = [status]
    with pytest.raises(DownloadError, match=rf"127\.0\.0\.1:\d+/model\.tar: the server answers {status}"):
        get(site, target)
    assert len(site.requests) == 1


def test_of_a_refused_download_nothing_is_left(site, target):
    site.failures = [404]
    with pytest.raises(DownloadError, match="Check the address"):
        get(site, target)
    assert left_in(target.parent) == []


def test_other_addresses_are_followed(site, target):
    site.moved["/model.tar"] = f"{site.address}/elsewhere.tar"
    site.files = {"/elsewhere.tar": CONTENT}
    site.cuts = [700_000]
    get(site, target)
    assert target.read_bytes() == CONTENT
    assert site.requests[-1] == ("/elsewhere.tar", "bytes=700000-", '"one"')


def test_a_machine_that_does_not_answer_is_named(target):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DownloadError, match=rf"127\.0\.0\.1:{port}/x: no connection \(Connection refused\)\. Check"):
        download(f"http://127.0.0.1:{port}/x", target, attempts=2, pause=0)
    assert left_in(target.parent) == []


@pytest.mark.parametrize("url", ["ftp://somewhere/x.tar", "file:///etc/passwd", "x.tar", "http:///x.tar"])
def test_other_kinds_of_address_are_refused(target, url):
    with pytest.raises(InputError, match="https:// or http://"):
        download(url, target)
    assert left_in(target.parent) == []


def test_a_protected_address_must_not_lead_to_an_open_one(site, target, monkeypatch):
    class Answer:
        status, url, headers = 200, "http://elsewhere/model.tar", {}

        def close(self):
            pass

    monkeypatch.setattr(downloads, "urlopen", lambda request, timeout: Answer())
    with pytest.raises(DownloadError, match="leads to http://elsewhere/model.tar, which is not protected"):
        download("https://somewhere/model.tar", target)


def test_a_doi_may_lead_from_a_protected_address_to_an_open_one(site, target, monkeypatch):
    opened = downloads.urlopen
    monkeypatch.setattr(downloads, "urlopen", lambda request, timeout: opened(f"{site.address}/model.tar"))
    found = download("https://doi.example/10.1/x", target, anywhere=True)
    assert target.read_bytes() == site.files["/model.tar"]
    assert found == f"{site.address}/model.tar"


def test_two_downloads_to_one_place_do_not_mix(site, target):
    with open(target.parent / ".model.tar.part", "ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="another process is downloading model.tar"):
            get(site, target)


def test_a_full_disk_is_no_cut_connection(site, target, monkeypatch):
    def full(response, file, total, report):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(downloads, "_copy", full)
    with pytest.raises(OSError, match="No space left"):
        get(site, target)
    assert len(site.requests) == 1
