"""cdeep3m-job: a run whose state is in a bucket, on machines that are taken away."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image

from cdeep3m.nets.prototxts import deploy
from cloud.scripts import CLOUD, load, serve
from random_nets import random_net, write_model

if TYPE_CHECKING:
    from collections.abc import Iterator

BUCKET = "lab-data"
PLANES = 20

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def s3_address() -> Iterator[str]:
    """Address of an emulated S3."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def s3(s3_address, monkeypatch):
    """Client of that S3, which has one empty bucket."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3", endpoint_url=s3_address)
    client.create_bucket(Bucket=BUCKET)
    yield client
    for name in objects(client):
        client.delete_object(Bucket=BUCKET, Key=name)
    client.delete_bucket(Bucket=BUCKET)


def objects(s3, prefix: str = "") -> dict[str, bytes]:
    """Return the content of every object."""
    found = s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", ())
    return {one["Key"]: s3.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read() for one in found}


@pytest.fixture
def machine(tmp_path, s3_address):
    """Function that makes the environment of a new machine, with a folder for work of its own."""

    def make(name: str, **settings: object) -> dict[str, str]:
        folder = tmp_path / name
        (folder / "work").mkdir(parents=True)
        facts = {"bucket": BUCKET, "endpoint": s3_address, "spot": False, **settings}
        (folder / "job.json").write_text(json.dumps(facts))
        return {
            **os.environ, "CDEEP3M_JOB_SETTINGS": str(folder / "job.json"), "CDEEP3M_WORK": str(folder / "work"),
            "CDEEP3M_JOB_SECONDS": "0.3", "OMP_NUM_THREADS": "1",
        }  # fmt: skip

    return make


def job(environment: dict[str, str], *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, CLOUD / "job.py", *words], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def finish(process: subprocess.Popen[str], status: int = 0) -> str:
    said, _ = process.communicate(timeout=120)
    assert process.returncode == status, said
    return said


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_what_is_in_the_bucket_is_brought_and_what_was_made_is_put_back(s3, machine):
    s3.put_object(Bucket=BUCKET, Key="mito/images/plane.txt", Body=b"plane")
    s3.put_object(Bucket=BUCKET, Key="mitosis/other.txt", Body=b"other")
    environment = machine("one")
    finish(
        job(environment, "mito", "sh", "-c", "mkdir maps; tr a-z A-Z <images/plane.txt >maps/plane.txt; echo >.lock")
    )
    assert objects(s3, "mito/") == {
        "mito/.lock": b"\n",
        "mito/images/plane.txt": b"plane",
        "mito/maps/plane.txt": b"PLANE",
    }
    assert not os.path.exists(f"{environment['CDEEP3M_WORK']}/mitosis")


def test_status_is_the_command_s_and_its_files_are_put_back_all_the_same(s3, machine):
    finish(job(machine("one"), "mito", "sh", "-c", "echo why >ERROR; exit 99"), status=99)
    assert objects(s3) == {"mito/ERROR": b"why\n"}


def test_state_is_put_back_while_the_command_works_and_half_written_files_are_not(s3, machine):
    process = job(machine("one"), "mito", "sh", "-c", "echo 1 >plane; echo half >.map.partial-7.png; exec sleep 60")
    wait_for(lambda: objects(s3) == {"mito/plane": b"1\n"})
    process.send_signal(signal.SIGTERM)
    finish(process, status=143)


def test_command_that_is_ended_has_time_to_end_and_what_it_wrote_then_is_put_back(s3, machine):
    script = "trap 'echo state >snapshot; exit 143' TERM; echo >begun; while :; do sleep 0.05; done"
    process = job(machine("one"), "mito", "sh", "-c", script)
    wait_for(lambda: "mito/begun" in objects(s3))
    process.send_signal(signal.SIGTERM)
    assert "ending sh: SIGTERM" in finish(process, status=143)
    assert objects(s3)["mito/snapshot"] == b"state\n"


def test_notice_that_a_spot_machine_is_taken_ends_the_command_in_time(s3, machine):
    with serve() as provider:
        environment = machine("one", spot=True) | {"AWS_EC2_METADATA_SERVICE_ENDPOINT": provider.address}
        script = "trap 'echo state >snapshot; exit 143' TERM; echo >begun; while :; do sleep 0.05; done"
        process = job(environment, "mito", "sh", "-c", script)
        wait_for(lambda: "mito/begun" in objects(s3))
        provider.notice = '{"action": "terminate", "time": "2026-01-01T00:00:00Z"}'
        said = finish(process, status=143)
    assert "this spot machine is taken away" in said
    assert objects(s3)["mito/snapshot"] == b"state\n"


def test_file_that_the_command_removed_goes_from_the_bucket_and_others_stay(s3, machine):
    environment = machine("one")
    finish(job(environment, "mito", "sh", "-c", "echo 1 >ERROR; echo 2 >kept"))
    s3.put_object(Bucket=BUCKET, Key="mito/images/new.txt", Body=b"uploaded meanwhile")
    finish(job(environment, "mito", "rm", "ERROR"))
    assert {*objects(s3)} == {"mito/kept", "mito/images/new.txt"}


def test_object_that_somebody_changed_is_brought_again_and_a_file_changed_here_stays(s3, machine):
    environment = machine("one")
    finish(job(environment, "mito", "sh", "-c", "echo 1 >theirs; echo 1 >ours"))
    s3.put_object(Bucket=BUCKET, Key="mito/theirs", Body=b"changed\n")
    finish(job(environment, "mito", "sh", "-c", "cat theirs >seen; echo 2 >ours"))
    assert objects(s3) == {"mito/ours": b"2\n", "mito/seen": b"changed\n", "mito/theirs": b"changed\n"}


def test_folder_that_is_a_link_is_whole_in_the_bucket_and_a_link_on_the_next_machine(s3, machine):
    made = "mkdir 1fm; echo 1 >1fm/plane; ln -s 1fm ensembled; ln -s . circle; ln -s /etc outside"
    finish(job(machine("one"), "mito", "sh", "-c", made))
    assert objects(s3) == {"mito/1fm/plane": b"1\n", "mito/ensembled/": b"", "mito/ensembled/plane": b"1\n"}
    two = machine("two")
    said = finish(job(two, "mito", "sh", "-c", "readlink ensembled; cat ensembled/plane; rm ensembled"))
    assert "1fm\n1\n" in said
    assert "put 0 files" in said
    assert {*objects(s3)} == {"mito/1fm/plane"}


def test_times_of_files_are_those_of_the_first_machine(s3, machine):
    finish(job(machine("one"), "mito", "touch", "-d", "2020-02-03T04:05:06.789", "plane"))
    two = machine("two")
    finish(job(two, "mito"))
    assert os.stat(f"{two['CDEEP3M_WORK']}/mito/plane").st_mtime_ns % 10**9 == 789 * 10**6


def test_files_are_put_oldest_first_so_that_markers_come_last(tmp_path, s3):
    put: list[str] = []

    class Client:
        def upload_file(self, path: str, bucket: str, key: str, **_: object) -> None:
            put.append(key)

        def head_object(self, **_: object) -> dict[str, str]:
            return {"ETag": "1"}

    folder = tmp_path / "mito"
    folder.mkdir()
    for age, name in enumerate(("DONE", "b.png", "a.png")):
        (folder / name).touch()
        os.utime(folder / name, (1000 - age, 1000 - age))
    load("job").Mirror(folder=folder, bucket=BUCKET, client=Client(), ledger=tmp_path / "ledger").put()
    assert put == ["mito/a.png", "mito/b.png", "mito/DONE"]


def test_object_that_leads_out_of_its_folder_is_refused(s3, machine):
    s3.put_object(Bucket=BUCKET, Key="mito/../../evil", Body=b"evil")
    environment = machine("one")
    said = finish(job(environment, "mito", "true"), status=1)
    assert said.startswith("ERROR, ")
    assert "leads out of its folder" in said


def test_bucket_that_is_not_there_is_one_line(s3, machine):
    said = finish(job(machine("one", bucket="no-such-bucket"), "mito", "true"), status=1)
    assert said.startswith("ERROR, s3://no-such-bucket/mito/: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["../x", "true"], ["a/b", "true"], [".hidden", "true"], ["--detach", "mito"]])
def test_wrong_usage_is_one_line(machine, words):
    said = finish(job(machine("one"), *words), status=1)
    assert said.startswith("ERROR, usage: ")
    assert said.count("\n") == 1


def test_second_job_in_a_folder_is_refused(s3, machine):
    environment = machine("one")
    first = job(environment, "mito", "sh", "-c", "echo >begun; exec sleep 60")
    wait_for(lambda: "mito/begun" in objects(s3))
    assert "another job runs in mito" in finish(job(environment, "mito", "true"), status=1)
    first.send_signal(signal.SIGTERM)
    finish(first, status=143)


def test_without_a_bucket_the_folder_is_on_the_disk_alone(machine):
    environment = machine("one", bucket="")
    finish(job(environment, "mito", "touch", "plane"))
    assert os.path.exists(f"{environment['CDEEP3M_WORK']}/mito/plane")


def test_command_that_does_not_exist_is_one_line(s3, machine):
    assert finish(job(machine("one"), "mito", "no-such-command"), status=1).endswith(
        "ERROR, no command no-such-command\n"
    )


@pytest.mark.heavy
def test_prediction_that_a_spot_machine_lost_goes_on_on_a_new_one(s3, machine, tmp_path):
    """The bytes are those of a prediction that nothing interrupted."""
    lab = tmp_path / "lab"
    (lab / "trained" / "1fm" / "trainedmodel").mkdir(parents=True)
    model = write_model(random_net(deploy("1fm", width=16)), lab / "trained" / "1fm", "1fm")
    model.weights.replace(model.deploy.parent / "trainedmodel" / model.weights.name)
    (lab / "images").mkdir()
    for z, plane in enumerate(np.random.default_rng(0).integers(0, 255, (PLANES, 96, 80), dtype=np.uint8)):
        Image.fromarray(plane).save(lab / "images" / f"plane_{z:02d}.png")
    for path in (path for path in lab.rglob("*") if path.is_file()):
        s3.upload_file(str(path), BUCKET, f"mito/{path.relative_to(lab)}")
    predict = [
        sys.executable,
        "-m",
        "cdeep3m.cli.runprediction",
        "--models",
        "1fm",
        "--augspeed",
        "10",
        "--fit",
        "--gpu",
        "-1",
    ]
    environment = machine("one")
    first = job(environment, "mito", *predict, "trained", "images", "predicted")
    planes = Path(environment["CDEEP3M_WORK"], "mito", "predicted", "1fm")
    wait_for(lambda: any(planes.glob("Segmented_*.png")))
    first.send_signal(signal.SIGTERM)
    finish(first, status=143)
    assert "mito/predicted/DONE" not in objects(s3)
    kept = objects(s3, "mito/predicted/1fm/")
    assert 0 < len(kept) < PLANES
    shutil.rmtree(environment["CDEEP3M_WORK"])  # a new machine has the same folder, and nothing in it
    finish(job(environment, "mito", *predict, "trained", "images", "predicted"))
    assert objects(s3)["mito/predicted/DONE"] == b"success\n0\n"
    subprocess.run([*predict, "trained", "images", "whole"], cwd=lab, check=True, capture_output=True)
    for path in sorted((lab / "whole" / "ensembled").glob("*.png")):
        assert objects(s3)[f"mito/predicted/ensembled/{path.name}"] == path.read_bytes()
