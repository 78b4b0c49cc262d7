"""What the docker engine asks of a daemon, and how every bad end of a container is told; the daemon is a fake."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from docker.errors import DockerException

from cdeep3m.engines.base import ALL_GPUS, CPU, PredictJob, TrainJob
from cdeep3m.engines.docker import contents, daemon
from cdeep3m.engines.docker.containers import OWNER, gpu_request, mounts_of, options_of, owner, user_options
from cdeep3m.engines.docker.contents import Content
from cdeep3m.engines.docker.daemon import Daemon, describe, why_unreachable
from cdeep3m.engines.docker.engine import DockerCaffe
from cdeep3m.engines.images import Image, Lock, find_image
from cdeep3m.engines.nvidia import Gpu
from cdeep3m.engines.select import select_engine
from cdeep3m.engines.tools import ToolCall, predict_call, train_call
from cdeep3m.errors import EngineError, InputError
from engines.conformance import addresses, make_model, make_stack
from fake_docker import FakeDocker, FakeImage, digest, refusal
from tiny_training import make_training

V100 = Gpu(index=1, name="Tesla V100", memory=32510, driver="535.183.01", capability=(7, 0))
H100 = Gpu(index=0, name="NVIDIA H100", memory=81559, driver="550.54.15", capability=(9, 0))
GPU_DAEMON = {"Runtimes": {"runc": {}, "nvidia": {}}}


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("DOCKER_HOST", raising=False)


@pytest.fixture
def client():
    return FakeDocker(FakeImage(id=digest("a"), tags=["cdeep3m:latest"]))


def engine_of(client, name="cdeep3m", **options) -> DockerCaffe:
    return DockerCaffe(find_image(name), connect=lambda: client, **options)


def running(client, *script: str) -> DockerCaffe:
    """An engine whose image's tools are a shell script."""
    client.images.here[0].programs = dict.fromkeys(("caffe.bin", "predict_seg_new.bin"), ["/bin/sh", "-c", *script])
    return engine_of(client)


@pytest.fixture
def job(tmp_path):
    stack = make_stack(tmp_path / "image_stacks_v1.h5", addresses(1))
    return PredictJob(model=make_model(tmp_path / "trained"), stacks=[(stack, tmp_path / "v1")])


def failure(engine, job) -> str:
    """The one line with which a job ends; no container is left of it."""
    with pytest.raises(EngineError) as caught:
        engine.predict(job)
    assert "\n" not in str(caught.value)
    assert not engine._client.containers.by_name
    return str(caught.value)


def test_container_is_closed_off_and_labelled_as_ours(client, job):
    running(client, "true").predict(job)
    options = client.containers.made[0].options
    assert options["network_mode"] == "none"
    assert options["user"] == f"{os.getuid()}:{os.getgid()}"
    assert options["security_opt"] == ["no-new-privileges"]
    assert options["labels"][OWNER] == owner()
    assert options["device_requests"] == []
    assert client.containers.made[0].image.id == digest("a")
    assert "mem_limit" not in options


def test_inputs_are_mounted_read_only_and_the_output_folder_to_write(client, job):
    running(client, "true").predict(job)
    mounts = {mount["Target"]: mount["ReadOnly"] for mount in client.containers.made[0].options["mounts"]}
    stack, folder = job.stacks[0]
    assert mounts == {str(job.model.deploy): True, str(job.model.weights): True, str(stack): True, str(folder): False}


PODMAN = Daemon(version="Podman 4.3.1", podman=(4, 3))


def test_paths_with_commas_are_mounted_otherwise_by_podman(tmp_path):
    folder = tmp_path / "one, two"
    call = ToolCall(tool="true", arguments=(), folder=tmp_path, reads=(), writes=(folder, tmp_path / "three"), gpu=CPU)
    content = Content(image=find_image("cdeep3m"), id=digest("a"), digest=digest("a"), environment={})
    docker, podman = (options_of(call, content, daemon, memory=None) for daemon in (Daemon(version=""), PODMAN))
    assert "volumes" not in docker
    assert {mount["Target"] for mount in docker["mounts"]} == {str(folder), str(tmp_path / "three")}
    assert podman["volumes"] == [f"{folder}:{folder}:rw"]
    assert [mount["Target"] for mount in podman["mounts"]] == [str(tmp_path / "three")]
    both = replace(call, writes=(tmp_path / "1:2, 3",))
    with pytest.raises(EngineError, match=r"1:2, 3: Podman 4\.3\.1 .* a comma and a colon; rename it"):
        options_of(both, content, PODMAN, memory=None)


def test_all_gpus_are_given_where_all_are_asked_for():
    docker, podman = (gpu_request(ALL_GPUS, daemon) for daemon in (Daemon(version="Docker 28"), PODMAN))
    assert (docker["Count"], docker["Capabilities"]) == (-1, [["gpu"]])
    assert (podman["Driver"], podman["DeviceIDs"]) == ("cdi", ["nvidia.com/gpu=all"])


def test_files_are_mounted_under_the_names_that_solver_and_lists_use(tmp_path):
    solver = make_training(tmp_path / "run" / "1fm")
    (tmp_path / "disk").mkdir()
    (solver.parent / "train.h5").rename(tmp_path / "disk" / "far.h5")
    (tmp_path / "link").symlink_to(tmp_path / "disk", target_is_directory=True)
    (solver.parent / "train_file.txt").write_text(f"{tmp_path / 'link' / 'far.h5'}\n../../disk/far.h5\n")
    mounts = {mount["Target"]: mount for mount in mounts_of(train_call(TrainJob(solver=solver, folder=solver.parent)))}
    for name in (tmp_path / "link" / "far.h5", tmp_path / "disk" / "far.h5"):
        assert mounts[str(name)]["Source"] == str(tmp_path / "disk" / "far.h5")
        assert mounts[str(name)]["ReadOnly"]
    assert {Path(name).name for name, mount in mounts.items() if not mount["ReadOnly"]} == {"snap"}
    assert {"solver.prototxt", "train_val.prototxt", "train_file.txt", "valid.h5"} <= {
        Path(name).name for name in mounts
    }


def test_memory_limit_is_one_of_swap_too(client, job):
    running(client, "true")
    engine_of(client, memory="16g").predict(job)
    options = client.containers.made[0].options
    assert (options["mem_limit"], options["memswap_limit"]) == ("16g", "16g")


@pytest.mark.parametrize("memory", ["much", "16gb", "-1", "0", "1.5g"])
def test_what_is_no_amount_of_memory_is_refused(memory):
    with pytest.raises(InputError, match="--memory"):
        DockerCaffe(find_image(), memory=memory)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"rootless": True}, {"user": "0:0"}),
        ({"remapped": True}, {"user": f"{os.getuid()}:{os.getgid()}", "userns_mode": "host"}),
    ],
)
def test_what_is_written_is_the_caller_s_with_every_kind_of_daemon(options, expected):
    found = user_options(Daemon(version="Docker", **options))
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("info", "about", "expected"),
    [
        ({}, {"Version": "28.2.2"}, Daemon(version="Docker 28.2.2")),
        ({"SecurityOptions": ["name=rootless"]}, {"Version": "28"}, Daemon(version="Docker 28", rootless=True)),
        ({"SecurityOptions": ["name=userns"]}, {"Version": "28"}, Daemon(version="Docker 28", remapped=True)),
        ({"SecurityOptions": ["name=selinux"]}, {"Version": "28"}, Daemon(version="Docker 28", selinux=True)),
        (GPU_DAEMON, {"Version": "28"}, Daemon(version="Docker 28", nvidia=True)),
        (
            {"DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=0"}]},
            {"Version": "28.3"},
            Daemon(version="Docker 28.3", nvidia=True),
        ),
        (
            {"SecurityOptions": ["name=rootless"]},
            {"Version": "5.4.0", "Components": [{"Name": "Podman Engine", "Version": "5.4.0"}]},
            Daemon(version="Podman 5.4.0", rootless=True, podman=(5, 4), nvidia=True),
        ),
        (
            {"SecurityOptions": ["name=seccomp,profile=default"], "Rootless": True},
            {"Version": "4.3.1", "Components": [{"Name": "Podman Engine", "Version": "4.3.1"}]},
            Daemon(version="Podman 4.3.1", rootless=True, podman=(4, 3), nvidia=True),
        ),
    ],
)
def test_daemon_is_known_by_what_it_says_of_itself(info, about, expected, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert describe(FakeDocker(info=info or {"Runtimes": {}}, version=about)) == expected


def test_gpu_is_requested_in_the_daemon_s_own_way():
    docker = gpu_request(3, Daemon(version="Docker 28", nvidia=True))
    podman = gpu_request(3, Daemon(version="Podman 5.4.0", podman=(5, 4)))
    assert (docker["DeviceIDs"], docker["Capabilities"]) == (["3"], [["gpu"]])
    assert (podman["Driver"], podman["DeviceIDs"]) == ("cdi", ["nvidia.com/gpu=3"])


@pytest.fixture
def gpus(monkeypatch):
    monkeypatch.setattr("cdeep3m.engines.docker.engine.list_gpus", lambda: [H100, V100])
    monkeypatch.setattr("shutil.which", lambda name: None)
    client = FakeDocker(FakeImage(id=digest("a"), tags=["cdeep3m:latest"]), info=GPU_DAEMON)
    client.images.here.append(FakeImage(id=digest("b"), tags=["ncmir/cdeep3m:latest"], env=["CAFFE_PATH=/opt/caffe"]))
    return client


def test_the_one_gpu_of_a_container_is_its_number_0(gpus, job):
    running(gpus, "true").predict(replace(job, gpu=1))
    options = gpus.containers.made[0].options
    assert options["device_requests"][0]["DeviceIDs"] == ["1"]
    assert options["command"][-1] == "--gpu=0"


def test_gpu_that_is_too_new_for_the_image_is_refused_before_anything_runs(gpus, job):
    said = failure(engine_of(gpus, "ncmir/cdeep3m"), replace(job, gpu=0))
    assert "GPU 0 (NVIDIA H100" in said
    assert "too new for ncmir/cdeep3m" in said
    assert not gpus.containers.made


def test_tools_lie_where_the_image_s_own_environment_says(gpus, job):
    gpus.images.here[1].programs = {"/opt/caffe/.build_release/tools/predict_seg_new.bin": ["/bin/true"]}
    engine_of(gpus, "ncmir/cdeep3m").predict(replace(job, gpu=1))
    gpus.images.here[1].env = []
    assert "sets no CAFFE_PATH" in failure(engine_of(gpus, "ncmir/cdeep3m"), job)


def test_gpu_that_is_not_there_is_refused(gpus, job):
    assert "--gpu 7: nvidia-smi lists 0, 1" in failure(engine_of(gpus), replace(job, gpu=7))


def test_daemon_without_nvidia_s_runtime_runs_on_the_cpu_and_says_why(gpus, caplog):
    gpus._info = {"Runtimes": {}}
    assert engine_of(gpus).gpus() == ()
    assert "has no NVIDIA runtime" in caplog.text
    assert "running on the CPU" in caplog.text


def test_run_says_image_content_and_device(gpus):
    assert engine_of(gpus).device(1) == f"image cdeep3m ({digest('a')}), {V100}"
    assert engine_of(gpus).device(CPU) == f"image cdeep3m ({digest('a')}), CPU"


def published(*contents: str) -> list[FakeImage]:
    """What a registry has had under the authors' name; the first one is what the tag means now."""
    return [
        FakeImage(
            id=digest("0123456789"[place]),
            tags=["ncmir/cdeep3m:latest"] if place == 0 else [],
            digests=[f"ncmir/cdeep3m@{digest(content)}"],
            env=["CAFFE_PATH=/opt/caffe"],
        )
        for place, content in enumerate(contents)
    ]


def test_absent_image_is_pulled_and_pinned_and_the_pull_s_progress_told(caplog, monkeypatch):
    monkeypatch.setattr(contents, "SECONDS_BETWEEN_LINES", 0)
    caplog.set_level(logging.INFO)
    client = FakeDocker(registry=published("b"))
    content = engine_of(client, "ncmir/cdeep3m").content()
    assert content.digest == f"ncmir/cdeep3m@{digest('b')}"
    assert client.api.pulled == [("ncmir/cdeep3m", "latest")]
    assert Lock().pins() == {"ncmir/cdeep3m:latest": f"ncmir/cdeep3m@{digest('b')}"}
    assert "pulling ncmir/cdeep3m: 40 of 40 MB" in caplog.text


def test_moved_tag_does_not_change_what_runs():
    engine_of(FakeDocker(registry=published("b")), "ncmir/cdeep3m").content()
    moved = FakeDocker(*published("c")[:1], registry=published("c", "b"))
    assert engine_of(moved, "ncmir/cdeep3m").content().digest == f"ncmir/cdeep3m@{digest('b')}"
    assert moved.api.pulled == [("ncmir/cdeep3m", digest("b"))]


def test_pinned_content_that_no_registry_has_any_longer_is_one_line():
    engine_of(FakeDocker(registry=published("b")), "ncmir/cdeep3m").content()
    with pytest.raises(EngineError, match="cannot be pulled: manifest for .* not found"):
        engine_of(FakeDocker(*published("c"), registry=published("c")), "ncmir/cdeep3m").content()


def test_rebuilt_image_of_our_own_is_refused_until_it_is_pinned_anew(client):
    engine_of(client).content()
    rebuilt = FakeDocker(FakeImage(id=digest("d"), tags=["cdeep3m:latest"]))
    with pytest.raises(EngineError, match=f"cdeep3m is {digest('d')} here, but {digest('a')} was pinned") as caught:
        engine_of(rebuilt).content()
    assert "`cdeep3m engines pin cdeep3m` accepts it" in str(caught.value)
    Lock().pin(find_image(), digest("d"))
    assert engine_of(rebuilt).content().digest == digest("d")


def test_image_that_has_to_be_built_is_never_pulled_from_strangers():
    client = FakeDocker(registry=[FakeImage(id=digest("e"), tags=["cdeep3m:latest"])])
    with pytest.raises(EngineError, match="build it with `docker build"):
        engine_of(client).content()
    assert not client.api.pulled


def test_two_images_are_pinned_apart(gpus):
    engine_of(gpus).content()
    engine_of(gpus, "ncmir/cdeep3m").content()
    assert set(Lock().pins()) == {"cdeep3m:latest", "ncmir/cdeep3m:latest"}


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "echo F1 Check failed: error == cudaSuccess '(2 vs. 0)  out of memory'; exit 134",
            "GPU's memory is too small",
        ),
        ("echo 'No space left on device' >&2; exit 1", "status 1 (the disk is full: make room"),
        ("kill -9 $$", "was killed (by somebody, or because this machine ran out of memory)"),
        ("exit 127", "no such program: see `tools` of cdeep3m in images.toml"),
        ("exit 126", "no such program"),
        ("echo one; echo two; exit 3", "ended with status 3; its last words: one / two"),
        ("exit 5", "status 5; its last words: none"),
    ],
)
def test_end_of_a_tool_is_told_with_its_reason(client, job, script, said):
    assert said in failure(running(client, script), job)


def test_container_that_was_killed_for_its_memory_says_so(client, job):
    engine = running(client, "kill -9 $$")
    client.on_create = lambda container: setattr(container, "oom", True)
    assert "(it ran out of this machine's memory)" in failure(engine, job)
    engine = engine_of(client, memory="1g")
    assert "(it ran out of its memory limit of 1g: give --memory more)" in failure(engine, job)


def test_image_without_the_tools_is_told(client, job):
    client.images.here[0].programs = {"sh": ["/bin/sh"]}
    said = failure(engine_of(client), job)
    assert "the image has no such program: see `tools` in images.toml" in said


@pytest.mark.parametrize(
    ("explanation", "said"),
    [
        ('could not select device driver "" with capabilities: [[gpu]]', "no GPU for containers: install NVIDIA's"),
        ("invalid mount config: bind source path does not exist: /x", "the daemon does not see this machine's files"),
        ("Minimum memory limit allowed is 6MB", "use another --memory"),
        ("something\nnew", "Docker refused: something new"),
    ],
)
def test_refusal_of_the_daemon_is_told_with_its_remedy(client, job, explanation, said):
    client.create_error = refusal(500, explanation)
    assert said in failure(running(client, "true"), job)
    client.create_error, client.start_error = None, refusal(500, explanation)
    assert said in failure(running(client, "true"), job)


def test_daemon_that_dies_while_a_container_runs_is_one_line(client, job):
    engine = running(client, "echo begun; sleep 0.1; echo more; sleep 0.1; echo more")
    client.on_output = lambda container: setattr(client, "dead", True)
    with pytest.raises(EngineError, match="the Docker daemon at .* went away while a container ran") as caught:
        engine.predict(job)
    assert "\n" not in str(caught.value)
    client.dead = False
    for container in client.containers.made:
        container.process.wait()
    client.containers.made[0].options["labels"][OWNER] = f"{socket.gethostname()} 999999 1"
    client.on_output = lambda container: None
    running(client, "true").predict(job)
    assert not client.containers.by_name


def test_containers_of_killed_runs_are_removed_and_those_of_others_are_not(client, job):
    for name, label in {
        "killed": f"{socket.gethostname()} 999999 1",
        "older process of our number": f"{socket.gethostname()} {os.getpid()} 1",
        "ours": owner(),
        "another machine's": "elsewhere 999999 1",
        "odd": "what",
    }.items():
        client.containers.create(digest("a"), name=name, labels={OWNER: label})
    assert not engine_of(client).check()
    assert set(client.containers.by_name) == {"ours", "another machine's", "odd"}


def test_interrupt_while_a_container_is_made_waits_until_it_is_and_leaves_none(client, job):
    client.on_create = lambda container: os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        running(client, "true").predict(job)
    (made,) = client.containers.made
    assert made.process is None
    assert not client.containers.by_name


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_stops_a_running_container_in_caffe_s_way_first(client, tmp_path, number):
    solver = make_training(tmp_path / "run")
    engine = running(client, "trap 'echo snapshot; exit 0' INT; while :; do echo waiting; sleep 0.05; done")
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    client.on_output = lambda container: container.stopped_with or os.kill(os.getpid(), number)
    try:
        with pytest.raises(KeyboardInterrupt):
            engine.train(TrainJob(solver=solver, folder=solver.parent))
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert client.containers.made[0].stopped_with == ["SIGINT"]
    assert not client.containers.by_name


def test_second_interrupt_does_not_keep_a_container_from_being_removed(client, job):
    engine = running(client, "while :; do echo waiting; sleep 0.05; done")
    client.on_output = lambda container: os.kill(os.getpid(), signal.SIGINT)
    remove = client.containers.get

    def get(name):
        os.kill(os.getpid(), signal.SIGINT)
        return remove(name)

    client.containers.get = get
    with pytest.raises(KeyboardInterrupt):
        engine.predict(job)
    assert not client.containers.by_name


def test_stop_ends_running_jobs_of_other_threads_and_starts_no_more(client, tmp_path):
    solver = make_training(tmp_path / "run")
    engine = running(client, "trap 'exit 130' INT; while :; do echo waiting; sleep 0.05; done")
    begun, errors = threading.Event(), []
    client.on_output = lambda container: begun.set()

    def train():
        try:
            engine.train(TrainJob(solver=solver, folder=solver.parent))
        except EngineError as error:
            errors.append(str(error))

    thread = threading.Thread(target=train)
    thread.start()
    assert begun.wait(20)
    engine.stop()
    thread.join(20)
    train()
    assert "somebody asked to stop" in errors[0]
    assert "was not started" in errors[1]
    assert not client.containers.by_name


def test_half_written_files_of_a_failed_job_are_removed(client, job):
    (job.stacks[0][1]).mkdir()
    (job.stacks[0][1] / ".old.partial-7.h5").touch()
    said = failure(running(client, "touch .test.h5_shift_0.partial-1.h5; exit 1"), job)
    assert "status 1" in said
    assert [path.name for path in job.stacks[0][1].iterdir()] == [".old.partial-7.h5"]


def test_output_in_any_pieces_comes_as_lines(client, job, tmp_path):
    running(client, "printf 'one\\ntwo \\303\\244\\r\\nthree'").predict(replace(job, log=tmp_path / "log"))
    assert (tmp_path / "log").read_text() == "one\ntwo \u00e4\nthree\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            "Error while fetching server API version: ('Connection aborted.', FileNotFoundError(2, 'No such file or "
            "directory'))",
            "no Docker daemon: there is no unix:///x; start Docker",
        ),
        ("('Connection aborted.', PermissionError(13, 'Permission denied'))", "no permission to use the Docker daemon"),
        ("('Connection aborted.', ConnectionRefusedError(111, 'Connection refused'))", "does not answer: start it"),
        ("Read timed out. (read timeout=120)", "does not answer in time"),
        ("client version 1.21 is too old\n", "cannot be used: client version 1.21 is too old"),
    ],
)
def test_daemon_that_cannot_be_used_is_told_exactly(error, said):
    found = why_unreachable("unix:///x", DockerException(error))
    assert said in found
    assert "\n" not in found


def test_socket_is_where_docker_host_says_or_where_docker_and_podman_put_it(tmp_path, monkeypatch):
    monkeypatch.setattr(daemon, "DEFAULT_SOCKET", str(tmp_path / "docker.sock"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "user"))
    assert daemon.address() == f"unix://{tmp_path / 'docker.sock'}"
    (tmp_path / "user" / "podman").mkdir(parents=True)
    for path in ("user/podman/podman.sock", "user/docker.sock", "docker.sock"):
        (tmp_path / path).touch()
        assert daemon.address() == f"unix://{tmp_path / path}"
    monkeypatch.setenv("DOCKER_HOST", "unix:///elsewhere.sock")
    assert daemon.address() == "unix:///elsewhere.sock"


def test_engine_is_chosen_by_its_name_or_its_image(monkeypatch, client):
    monkeypatch.setattr(daemon, "connect", lambda: client)
    monkeypatch.setattr("cdeep3m.engines.docker.engine.list_gpus", lambda: [])
    for options in ({"name": "docker"}, {"image": "cdeep3m", "memory": "4g"}):
        engine, gpus = select_engine(**options)
        assert (engine.name, engine.image.name, gpus) == ("docker", "cdeep3m", [CPU])
    with pytest.raises(EngineError, match="--image is for --engine docker"):
        select_engine("embedded", image="cdeep3m")
    with pytest.raises(EngineError, match="--memory is for --engine docker"):
        select_engine("embedded", memory="4g")


def test_no_daemon_stops_the_engine_with_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'none.sock'}")
    with pytest.raises(EngineError, match="no Docker daemon: there is no unix://"):
        select_engine("docker")


def test_image_s_digest_is_of_its_own_repository():
    image = FakeImage(id=digest("a"), tags=[], digests=[f"a/mirror@{digest('b')}", f"ncmir/cdeep3m@{digest('c')}"])
    assert contents.digest_of(image, "ncmir/cdeep3m:latest") == f"ncmir/cdeep3m@{digest('c')}"


def test_calls_name_files_without_symbolic_links(tmp_path, job):
    (tmp_path / "link").symlink_to(job.model.weights)
    call = predict_call(replace(job, model=replace(job.model, weights=tmp_path / "link")), *job.stacks[0])
    assert f"--weights={job.model.weights.resolve()}" in call.arguments
    assert isinstance(call, ToolCall)


def test_a_site_s_image_needs_no_description(client, job):
    client.images.here.append(FakeImage(id=digest("f"), tags=["lab/caffe:8"]))
    assert engine_of(client, "lab/caffe:8").image == Image(name="lab/caffe:8", reference="lab/caffe:8")
    assert "image lab/caffe:8" in engine_of(client, "lab/caffe:8").device(CPU)
