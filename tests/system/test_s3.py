"""A real S3 server (SeaweedFS, loopback only): volumes in and out, and all that goes wrong there."""

from __future__ import annotations

import functools
import json
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
import tifffile

from cdeep3m.cli.main import main
from cdeep3m.engines.identity import IdentityEngine
from cdeep3m.errors import CDeep3MError, DownloadError, InputError
from cdeep3m.geometry import Placement
from cdeep3m.maps.base import MapSpec
from cdeep3m.maps.chunked import ChunkedMaps
from cdeep3m.maps.open import open_maps
from cdeep3m.prediction.run import PredictRequest, predict
from cdeep3m.tiling.boxes import Grid
from cdeep3m.volumes import open_volume, read_all, stores
from cdeep3m.volumes.address import Address
from cdeep3m.volumes.axes import Selection
from http_ranges import Ranges

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdeep3m.geometry import Roi

pytestmark = [pytest.mark.system, pytest.mark.filterwarnings("ignore")]

SHAPE = (8, 300, 70)
ADDRESSES = (np.arange(8 * 300 * 70, dtype=np.uint32) % 65521).astype(np.uint16).reshape(SHAPE)
SPEC = MapSpec(shape=SHAPE, dtype="uint16", placement=Placement((30.0, 8.0, 8.0), "nanometer"), source="addresses")
KEY, SECRET = "labkey", "labsecret"
BUCKET = "cells-of-the-lab"


@pytest.fixture(autouse=True)
def short_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one shard along y and x, which end where boxes do."""
    monkeypatch.setattr("cdeep3m.maps.chunked.CHUNKS_OF_A_SHARD", (1, 2, 1))


def weed() -> str | None:
    beside = Path(sys.executable).parent / "weed"
    return str(beside) if beside.exists() else shutil.which("weed")


def free_port() -> int:
    """Return a port that is free; SeaweedFS takes the one 10000 above it, too."""
    while True:
        port = random.randrange(12000, 32000)
        with closing(socket.socket()) as one, closing(socket.socket()) as other, suppress(OSError):
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 10000))
            return port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = weed()
    if program is None:
        pytest.skip("no SeaweedFS: make test-system installs it")
    home = tmp_path_factory.mktemp("weed")
    allowed = {"credentials": [{"accessKey": KEY, "secretKey": SECRET}], "name": "lab"}
    config = {"identities": [{**allowed, "actions": ["Admin", "Read", "List", "Tagging", "Write"]}]}
    (home / "s3.json").write_text(json.dumps(config))
    ports = {name: free_port() for name in ("s3", "master", "volume", "filer")}
    command = [program, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={home}", "-volume.max=20"]
    command += ["-master.volumeSizeLimitMB=64", "-filer", "-s3", f"-s3.config={home / 's3.json'}"]
    command += [f"-s3.port={ports['s3']}", f"-master.port={ports['master']}", f"-volume.port={ports['volume']}"]
    command += [f"-filer.port={ports['filer']}"]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=home)
    url = f"http://127.0.0.1:{ports['s3']}"
    try:
        wait_for(url, process)
        make_bucket(url)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if process.poll() is not None:
            pytest.fail("SeaweedFS ended")
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.3)
        else:
            return
    pytest.fail("SeaweedFS does not answer")


def make_bucket(url: str) -> None:
    boto3 = pytest.importorskip("boto3")
    client = boto3.client(
        "s3", endpoint_url=url, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1"
    )
    for _ in range(40):
        try:
            client.create_bucket(Bucket=BUCKET)
        except Exception:  # noqa: BLE001 - it is still starting
            time.sleep(0.5)
        else:
            return
    pytest.fail("no bucket could be made")


@pytest.fixture
def keys(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    use(server, monkeypatch)
    yield server
    forget()


def use(url: str, monkeypatch: pytest.MonkeyPatch, *, key: str = KEY, secret: str = SECRET) -> None:
    for name in ("AWS_PROFILE", "AWS_NO_SIGN_REQUEST", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    forget()


def forget() -> None:
    stores.context.cache_clear()
    stores.writing_context.cache_clear()


def write(address: str, name: str, boxes: int | None = None) -> None:
    maps = open_maps(address, SPEC, format_name=name)
    for box in maps.missing(list(Grid(SHAPE, (8, 128, 64))))[:boxes]:
        maps.write(box, ADDRESSES[box.slices])
    if boxes is None:
        maps.finish()


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("ome-zarr", "zarr"),
        ("ome-zarr-0.4", "zarr"),
        ("ome-zarr-sharded", "zarr"),
        ("n5", "n5"),
        ("precomputed", "precomputed"),
    ],
)
def test_every_chunked_format_goes_to_s3_and_comes_back(name: str, suffix: str, keys: str) -> None:
    address = f"s3://{BUCKET}/{name}.{suffix}"
    write(address, name)
    volume = open_volume(address)
    np.testing.assert_array_equal(read_all(volume), ADDRESSES)
    assert volume.placement == SPEC.placement
    assert open_volume(address, selection=Selection(level=1)).shape == (8, 150, 35)
    assert not stores.Store.at(f"{address}.ledger").names()


def test_an_interrupted_map_on_s3_goes_on(keys: str) -> None:
    address = f"s3://{BUCKET}/half.zarr"
    write(address, "ome-zarr", boxes=3)
    with pytest.raises(InputError, match="is not whole yet"):
        open_volume(address)
    maps = open_maps(address, SPEC)
    left = maps.missing(list(Grid(SHAPE, (8, 128, 64))))
    assert len(left) == 3
    for box in left:
        maps.write(box, ADDRESSES[box.slices])
    maps.finish()
    np.testing.assert_array_equal(read_all(open_volume(address)), ADDRESSES)


def test_convert_reads_and_writes_s3(keys: str, tmp_path: Path) -> None:
    write(str(tmp_path / "v.zarr"), "ome-zarr")
    there = f"s3://{BUCKET}/copies/v.n5"
    assert main(["convert", str(tmp_path / "v.zarr"), there]) == 0
    assert main(["convert", there, str(tmp_path / "back.tif"), "--roi", "0:8,0:100,0:70"]) == 0
    np.testing.assert_array_equal(read_all(open_volume(tmp_path / "back.tif")), ADDRESSES[:, :100])
    assert main(["convert", str(tmp_path / "v.zarr"), there]) == 0  # finished already
    assert main(["convert", str(tmp_path / "v.zarr"), there, "--roi", "0:8,0:100,0:70"]) == 1
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["w"] = ADDRESSES[::-1]
    assert main(["convert", str(tmp_path / "w.h5"), there, "--axes", "zyx"]) == 1
    np.testing.assert_array_equal(read_all(open_volume(there)), ADDRESSES)


def test_an_address_without_a_suffix_is_looked_at(keys: str) -> None:
    write(f"zarr://s3://{BUCKET}/plain", "ome-zarr")
    np.testing.assert_array_equal(read_all(open_volume(f"s3://{BUCKET}/plain")), ADDRESSES)


@pytest.mark.parametrize(("key", "secret"), [(KEY, "wrong"), ("nobody", SECRET)])
def test_wrong_keys_are_one_line(key: str, secret: str, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use(server, monkeypatch, key=key, secret=secret)
    with pytest.raises(InputError, match="is not open to these credentials") as caught:
        open_volume(f"s3://{BUCKET}/ome-zarr.zarr")
    assert "\n" not in str(caught.value)
    with pytest.raises(CDeep3MError):
        write(f"s3://{BUCKET}/refused.zarr", "ome-zarr")
    forget()


def test_what_is_not_there_is_said(keys: str) -> None:
    with pytest.raises(CDeep3MError, match=r"nowhere.zarr") as caught:
        open_volume(f"s3://{BUCKET}/nowhere.zarr")
    assert "\n" not in str(caught.value)
    with pytest.raises(CDeep3MError):
        open_volume("s3://no-such-bucket-here/v.zarr")


class Proxy(ThreadingHTTPServer):
    """Passes requests on to S3, as `trouble` says: late, with a 503, or not at all."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.target = target
        self.trouble = ""
        self.requests = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def handle_one(self) -> None:
        self.server.requests += 1
        trouble = self.server.trouble
        if trouble == "cut":
            self.close_connection = True
            return
        if trouble == "503" or (trouble == "every other 503" and self.server.requests % 2):
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if trouble == "slow":
            time.sleep(0.2)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        host, port = self.server.target.removeprefix("http://").split(":")
        import http.client

        upstream = http.client.HTTPConnection(host, int(port), timeout=20)
        upstream.request(self.command, self.path, body=body, headers=dict(self.headers))
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_one  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def proxy(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    made = Proxy(server)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    use(made.url, monkeypatch)
    monkeypatch.setattr(stores, "RETRIES", {"max_retries": 4, "initial_delay": "20ms", "max_delay": "100ms"})
    yield made
    made.shutdown()
    made.server_close()
    forget()


@pytest.mark.parametrize("trouble", ["slow", "every other 503"])
def test_a_slow_or_busy_server_is_waited_for(trouble: str, proxy: Proxy) -> None:
    write(f"s3://{BUCKET}/ready-{len(trouble)}.zarr", "ome-zarr")
    proxy.trouble = trouble
    volume = open_volume(f"s3://{BUCKET}/ready-{len(trouble)}.zarr")
    np.testing.assert_array_equal(read_all(volume), ADDRESSES)


@pytest.mark.parametrize("trouble", ["503", "cut"])
def test_a_server_that_goes_away_in_the_middle_is_one_line_and_the_map_goes_on(trouble: str, proxy: Proxy) -> None:
    address = f"s3://{BUCKET}/gone-{trouble}.zarr"
    maps = open_maps(address, SPEC)
    boxes = list(Grid(SHAPE, (8, 128, 64)))
    maps.missing(boxes)
    maps.write(boxes[0], ADDRESSES[boxes[0].slices])
    proxy.trouble = trouble
    with pytest.raises((DownloadError, CDeep3MError)) as caught:
        maps.write(boxes[1], ADDRESSES[boxes[1].slices])
    assert "\n" not in str(caught.value)
    proxy.trouble = ""
    again = open_maps(address, SPEC)
    left = again.missing(boxes)
    assert boxes[0] not in left
    assert boxes[1] in left
    for box in left:
        again.write(box, ADDRESSES[box.slices])
    again.finish()
    np.testing.assert_array_equal(read_all(open_volume(address)), ADDRESSES)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    folder = tmp_path / "trained" / "1fm" / "trainedmodel"
    folder.mkdir(parents=True)
    (folder.parent / "deploy.prototxt").touch()
    (folder / "1fm_classifer_iter_9.caffemodel").touch()
    return tmp_path / "trained"


DEEP = (np.arange(200 * 20 * 30, dtype=np.uint32) % 251).astype(np.uint8).reshape(200, 20, 30)
"""Four boxes of 64 planes."""


def request_to(place: str, trained: Path, folder: Path, **options: object) -> PredictRequest:
    stack = folder / "deep.tif"
    if not stack.exists():
        tifffile.imwrite(stack, DEEP, metadata=None, photometric="minisblack")
    said = {"images": stack, "out": folder / "out", "nets": ("1fm",), "aug_speed": 10, "fit": True}
    return PredictRequest(trained=trained, **said, maps=Address(place), **{"format": "ome-zarr", **options})


def expected() -> np.ndarray:
    return np.clip(np.floor(np.rint(DEEP / 255 * 65535) * 255 / 65536 + 0.5), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", ["ome-zarr", "ome-zarr-0.4", "ome-zarr-sharded", "n5", "precomputed"])
def test_a_prediction_goes_straight_to_s3(name: str, keys: str, trained: Path, tmp_path: Path) -> None:
    place = f"s3://{BUCKET}/predicted-{name}"
    assert predict(request_to(place, trained, tmp_path, format=name), IdentityEngine(), gpu=-1)
    np.testing.assert_array_equal(read_all(open_volume(tmp_path / "out" / "ensembled")), expected())
    assert not [key for key in stores.Store.at(f"{place}/1fm").names() if "ledger" in key]


@pytest.mark.parametrize("trouble", ["503", "cut"])
def test_a_prediction_whose_store_vanishes_is_one_line_and_goes_on_box_by_box(
    trouble: str, proxy: Proxy, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_to(f"s3://{BUCKET}/vanished-{trouble}", trained, tmp_path)
    keep, written, troubles = ChunkedMaps.write, [], [trouble]

    def write_some(maps: ChunkedMaps, box: Roi, values: np.ndarray) -> None:
        if len(written) == 2 and troubles:
            proxy.trouble = troubles.pop()
        keep(maps, box, values)
        written.append(box)

    monkeypatch.setattr(ChunkedMaps, "write", write_some)
    with pytest.raises(DownloadError, match=r"Run the same command again$") as caught:
        predict(request, IdentityEngine(), gpu=-1)
    assert "\n" not in str(caught.value)
    assert len(written) == 2
    proxy.trouble = ""
    assert not (tmp_path / "out" / "ERROR").exists()
    assert predict(request, IdentityEngine(), gpu=-1)
    assert len(written) == 4
    np.testing.assert_array_equal(read_all(open_volume(tmp_path / "out" / "1fm")), expected())


def test_the_command_says_in_one_line_that_a_store_is_away(
    proxy: Proxy, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdeep3m.engines.select.select_engine", lambda *_, **__: (IdentityEngine(), [-1]))
    request = request_to(f"s3://{BUCKET}/away", trained, tmp_path)
    words = ["--format", "ome-zarr", "--maps", str(request.maps), "--augspeed", "10", "--fit", "--no-report"]
    proxy.trouble = "cut"
    images = [str(trained), str(tmp_path / "deep.tif"), str(tmp_path / "out")]
    assert main(["predict", *words, *images]) != 0
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if line.startswith("ERROR")] == said[-1:]
    assert "cannot be reached" in said[-1]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server that gives what lies in the test's folder."""
    made = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Ranges, directory=str(tmp_path)))
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_address[1]}"
    made.shutdown()
    made.server_close()


@pytest.mark.parametrize("name", ["ome-zarr", "ome-zarr-0.4", "ome-zarr-sharded", "n5", "precomputed"])
def test_a_volume_is_read_over_http(name: str, web: str, tmp_path: Path) -> None:
    scheme = "zarr" if "zarr" in name else name
    write(str(tmp_path / f"v.{scheme}"), name)
    below = "::s0" if name == "n5" else ""
    for address in (f"{web}/v.{scheme}{below}", f"{scheme}://{web}/v.{scheme}{below}"):
        volume = open_volume(address)
        np.testing.assert_array_equal(read_all(volume), ADDRESSES)
        assert volume.placement == SPEC.placement
    with pytest.raises(InputError, match="cannot|read|web|only"):
        open_maps(f"{web}/new.{scheme}", SPEC, format_name=name)


@pytest.mark.parametrize("kind", ["zarr", "zarr3", "sharded"])
def test_plain_arrays_are_read_from_s3_and_the_web(kind: str, keys: str, web: str, tmp_path: Path) -> None:
    import tensorstore

    inner = {"name": "sharding_indexed", "configuration": {"chunk_shape": [8, 64, 64]}}
    grid = {"name": "regular", "configuration": {"chunk_shape": [8, 128, 64]}}
    meta = {"metadata": {"codecs": [inner], "chunk_grid": grid}} if kind == "sharded" else {}
    for store in (
        {"driver": "file", "path": f"{tmp_path}/v.zarr/"},
        stores.Store.at(f"s3://{BUCKET}/{kind}").kvstore(),
    ):
        driver = "zarr" if kind == "zarr" else "zarr3"
        spec = {"driver": driver, "kvstore": store, **meta}
        made = tensorstore.open(spec, create=True, dtype="uint16", shape=SHAPE).result()
        made[...] = ADDRESSES
    for address in (f"{web}/v.zarr", f"zarr://s3://{BUCKET}/{kind}"):
        volume = open_volume(address, selection=Selection(axes="zyx"))
        np.testing.assert_array_equal(read_all(volume), ADDRESSES)
