"""Every row of docs/contract.md, run: exit status, files, markers, and what Caffe's tools are given."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import h5py
import numpy as np
import pytest

from cdeep3m.nets.prototxts import NetMake
from cdeep3m.training.folder import create_run
from cdeep3m.volumes.hdf5 import write_datasets
from cdeep3m.volumes.png import write_picture
from contract_page import rows
from engines.conformance import addresses, make_model, make_stack
from octave_cases import png_folder, synth
from stub_caffe import StubCaffe, executable, stub_gpus

ROOT = Path(__file__).parents[2]
MODULES = dict(
    re.findall(r"^\| `([^`]+)` \| `([a-z0-9_]+)` \|$", (ROOT / "scripts" / "README.md").read_text(), re.MULTILINE)
)
CONFIG = "trainedmodeldir={trained}\nimagedir={images}\nmodels=1fm\naugspeed={speed}\n"
WORKERS = ("preprocessworker.sh", "predictworker.sh", "postprocessworker.sh")
FULL = "echo 'E1122 17:47:32.295583  5892 io.cpp:1] No space left on device'; exit 1"
DIE = "kill -FPE $$; sleep 5"


class World:
    """A folder to work in, whose Caffe is a stub; folders have the names that the page gives them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.caffe = StubCaffe(folder.parent / "caffe")
        self.bin = folder.parent / "bin"
        self.bin.mkdir()
        monkeypatch.chdir(folder)
        monkeypatch.setenv("CAFFE_PATH", str(self.caffe.root))
        monkeypatch.setenv("PATH", f"{self.bin}{os.pathsep}{os.environ['PATH']}")
        for name in ("CDEEP3M_ENGINE", "CDEEP3M_EXACT", "GLOG_log_dir", "CUDA_VISIBLE_DEVICES"):
            monkeypatch.delenv(name, raising=False)

    def run(self, command: str, *words: object) -> int:
        """Run a command with the stub as its engine; return its exit status."""
        main = import_module(f"cdeep3m.cli.{MODULES[command]}").main
        try:
            return main([str(word) for word in words])
        except SystemExit as end:
            return int(end.code or 0)

    def no_caffe(self) -> None:
        self.monkeypatch.setenv("CAFFE_PATH", str(self.folder / "nowhere"))
        self.monkeypatch.setenv("PATH", str(self.bin))

    def gpus(self, count: int) -> None:
        stub_gpus(self.bin, count)

    # training

    def stacks(self, *, planes: int = 3, count: int = 16) -> Path:
        """The AUG folder of a training."""
        folder = self.folder / "AUG"
        folder.mkdir()
        for variant in range(1, count + 1):
            volume = np.zeros((4, 3, planes), np.float32)
            write_datasets(folder / f"training_full_stacks_v{variant}.h5", {"data": volume, "label": volume})
        return folder

    def training(self, *, planes: int = 3) -> Path:
        """TRAINOUT as CreateTrainJob makes it."""
        volumes = sorted(map(str, self.stacks(planes=planes).iterdir()))
        lists = {"train_file.txt": volumes, "valid_file.txt": volumes}
        create_run(self.folder / "TRAINOUT", make=NetMake(width=32), lists=lists)
        return self.folder / "TRAINOUT"

    def train(self, command: str, *words: object) -> int:
        return self.run(command, "--numiterations", 9, *words)

    # prediction

    def model(self) -> Path:
        """A trained 1fm for the stub."""
        models = self.folder / "TRAINOUT" / "1fm" / "trainedmodel"
        models.mkdir(parents=True)
        (models.parent / "deploy.prototxt").touch()
        (models / "1fm_classifer_iter_9.caffemodel").touch()
        return models

    def images(self) -> Path:
        return png_folder(self.folder / "IMAGES", synth(3, 20, 24, 1))

    def package(self, variants: int = 4) -> Path:
        """An AUGDIR of a few variants."""
        folder = self.folder / "AUGDIR"
        folder.mkdir()
        for variant in range(1, variants + 1):
            (folder / f"image_stacks_v{variant}.h5").touch()
        return folder

    def caffepredict(self, *words: object) -> int:
        return self.run("caffepredict.sh", *words, "TRAINOUT/1fm/trainedmodel", "AUGDIR", "OUT")

    def runprediction(self, *words: object) -> int:
        trained, images = self.folder / "TRAINOUT", self.folder / "IMAGES"
        return self.run("runprediction.sh", "--models", "1fm", "--augspeed", 10, *words, trained, images, "PREDICTOUT")

    def run_folder(self, *, packages: str = "OUT", heading: bool = True, speed: str = "10") -> Path:
        """OUT as the workers find it, with its package files in the folder `packages`, if any."""
        self.model()
        images = self.images()
        out = self.folder / "OUT"
        out.mkdir()
        config = CONFIG.format(trained=self.folder / "TRAINOUT", images=images, speed=speed)
        (out / "predict.config").write_text("[default]\n" * heading + config)
        if packages:
            assert self.run("DefDataPackages.m", images, packages) == 0
        return out

    def work(self, command: str, *words: object) -> int:
        return self.run(command, "--waitinterval", 0.01, *words, "OUT")

    def prepared(self) -> Path:
        """OUT after preprocessworker.sh."""
        out = self.run_folder()
        assert self.work("preprocessworker.sh") == 0
        return out

    def predicted(self) -> Path:
        """OUT after predictworker.sh."""
        out = self.prepared()
        assert self.work("predictworker.sh") == 0
        return out


Scenario = Callable[[World], int]
SCENARIOS: dict[tuple[str, str], Scenario] = {}


def when(command: str, situation: str) -> Callable[[Scenario], Scenario]:
    """Say which row of the page a function brings about; it returns the exit status."""

    def note(scenario: Scenario) -> Scenario:
        assert (command, situation) not in SCENARIOS
        SCENARIOS[command, situation] = scenario
        return scenario

    return note


# runtraining.sh


@when("runtraining.sh", "AUG holds 15 stacks")
def _(world):
    return world.train("runtraining.sh", world.stacks(count=15), "TRAINOUT")


@when("runtraining.sh", "`--retrain` of no folder")
def _(world):
    return world.train("runtraining.sh", "--retrain", "nowhere", world.stacks(), "TRAINOUT")


@when("runtraining.sh", "Caffe fails")
def _(world):
    world.caffe.behaves("exit 1")
    return world.train("runtraining.sh", world.stacks(), "TRAINOUT")


@when("runtraining.sh", "all is well")
def _(world):
    return world.train("runtraining.sh", world.stacks(), "TRAINOUT")


@when("runtraining.sh", "a single plane")
def _(world):
    return world.train("runtraining.sh", world.stacks(planes=1), "TRAINOUT")


@when("runtraining.sh", "a single plane and `--models 3fm`")
def _(world):
    return world.train("runtraining.sh", "--models", "3fm", world.stacks(planes=1), "TRAINOUT")


# trainworker.sh


@when("trainworker.sh", "a net has no folder")
def _(world):
    world.training()
    return world.train("trainworker.sh", "--models", "1fm,7fm", "TRAINOUT")


@when("trainworker.sh", "no Caffe here")
def _(world):
    world.training()
    world.no_caffe()
    return world.train("trainworker.sh", "TRAINOUT")


@when("trainworker.sh", "1fm fails")
def _(world):
    world.training()
    world.caffe.behaves("case $solver in */1fm/*) exit 1 ;; esac")
    return world.train("trainworker.sh", "--gpu", 0, "TRAINOUT")


@when("trainworker.sh", "Caffe finds the disk full")
def _(world):
    world.training()
    world.caffe.behaves(FULL)
    return world.train("trainworker.sh", "--gpu", 0, "TRAINOUT")


@when("trainworker.sh", "two GPUs")
def _(world):
    world.training()
    world.gpus(2)
    return world.train("trainworker.sh", "TRAINOUT")


@when("trainworker.sh", "a single plane")
def _(world):
    world.training(planes=1)
    return world.train("trainworker.sh", "TRAINOUT")


# caffetrain.sh


@when("caffetrain.sh", "no `solver.prototxt`")
def _(world):
    (world.folder / "TRAINOUT").mkdir()
    return world.train("caffetrain.sh", "1fm", "TRAINOUT")


@when("caffetrain.sh", "`log` is a file")
def _(world):
    (world.training() / "1fm" / "log").touch()
    return world.train("caffetrain.sh", "1fm", "TRAINOUT")


@when("caffetrain.sh", "`trainedmodel` is a file")
def _(world):
    models = world.training() / "1fm" / "trainedmodel"
    models.rmdir()
    models.touch()
    return world.train("caffetrain.sh", "1fm", "TRAINOUT")


@when("caffetrain.sh", "Caffe ends with 17")
def _(world):
    world.training()
    world.caffe.behaves("echo 'E1122 17:47:32.295583  5892 net.cpp:1] no such layer'; exit 17")
    return world.train("caffetrain.sh", "1fm", "TRAINOUT")


@when("caffetrain.sh", "Caffe dies of SIGFPE at every start")
def _(world):
    world.training()
    world.caffe.behaves(DIE)
    return world.train("caffetrain.sh", "--gpu", 0, "1fm", "TRAINOUT")


@when("caffetrain.sh", "Caffe dies of SIGFPE at its first start")
def _(world):
    world.training()
    world.caffe.behaves(f'[ -e "$here/died" ] || {{ touch "$here/died"; {DIE}; }}')
    return world.train("caffetrain.sh", "--gpu", 0, "1fm", "TRAINOUT")


@when("caffetrain.sh", "Caffe dies after an iteration")
def _(world):
    world.training()
    world.caffe.behaves(f"echo 'I1122 17:47:32.295583  5892 solver.cpp:237] Iteration 3, loss = 0.7'; {DIE}")
    return world.train("caffetrain.sh", "--gpu", 0, "1fm", "TRAINOUT")


@when("caffetrain.sh", "`--gpu all` on two GPUs")
def _(world):
    world.training()
    world.gpus(2)
    return world.train("caffetrain.sh", "--gpu", "all", "1fm", "TRAINOUT")


@when("caffetrain.sh", "`--gpu 1` on two GPUs")
def _(world):
    world.training()
    world.gpus(2)
    return world.train("caffetrain.sh", "--gpu", 1, "1fm", "TRAINOUT")


@when("caffetrain.sh", "all is well")
def _(world):
    world.training()
    return world.train("caffetrain.sh", "1fm", "TRAINOUT")


@when("caffetrain.sh", "a solver with comments")
def _(world):
    solver = world.training() / "1fm" / "solver.prototxt"
    text = solver.read_text().replace("base_lr: 0.01\n", "base_lr: 0.01  # high\n")
    solver.write_text(f"# ours {{\n{text}# the end\n")
    status = world.train("caffetrain.sh", "--base_learn", "2e-3", "--seed", 5, "1fm", "TRAINOUT")
    lines = solver.read_text().splitlines()
    assert {"# ours {", "base_lr: 0.002  # high", "# the end", "max_iter: 9", "random_seed: 5"} <= set(lines)
    return status


# runvalidation.sh, PlotValidation.py


@pytest.fixture(scope="module")
def log_text():
    lines = ["solver.cpp:288] Solving net"]
    for k in (0, 3):
        lines += [
            f"solver.cpp:341] Iteration {k}, Testing net (#0)",
            "solver.cpp:409]     Test net output #0: loss = 0.6",
        ]
        lines += [f"solver.cpp:237] Iteration {k}, loss = 0.7", "solver.cpp:253]     Train net output #0: loss = 0.67"]
        lines += [f"sgd_solver.cpp:106] Iteration {k}, lr = 0.01"]
    return "".join(f"I1122 17:47:32.295583  5892 {line}\n" for line in lines)


def log_in(world) -> Path:
    path = world.folder / "TRAINOUT" / "1fm" / "log" / "out.log"
    path.parent.mkdir(parents=True)
    path.write_text(world.log_text)
    return path


@when("runvalidation.sh", "no such log")
def _(world):
    return world.run("runvalidation.sh", "nowhere/out.log", "OUT")


@when("runvalidation.sh", "all is well")
def _(world):
    return world.run("runvalidation.sh", log_in(world), "OUT")


@when("PlotValidation.py", "LOGDIR holds `out.log` alone")
def _(world):
    return world.run("PlotValidation.py", log_in(world).parent)


# runprediction.sh


@when("runprediction.sh", "`--augspeed 3`")
def _(world):
    return world.runprediction("--augspeed", 3)


@when("runprediction.sh", "`--augspeed haha`")
def _(world):
    return world.runprediction("--augspeed", "haha")


@when("runprediction.sh", "PREDICTOUT is a file")
def _(world):
    (world.folder / "PREDICTOUT").touch()
    return world.runprediction()


@when("runprediction.sh", "no images")
def _(world):
    world.model()
    return world.runprediction()


@when("runprediction.sh", "no trained model")
def _(world):
    world.images()
    return world.runprediction()


@when("runprediction.sh", "Caffe fails")
def _(world):
    world.model(), world.images()
    world.caffe.behaves("exit 1")
    return world.runprediction()


@when("runprediction.sh", "Caffe finds the disk full")
def _(world):
    world.model(), world.images()
    world.caffe.behaves(FULL)
    return world.runprediction()


def predictout(world) -> Path:
    world.model(), world.images()
    out = world.folder / "PREDICTOUT"
    out.mkdir()
    return out


@when("runprediction.sh", "KILL.REQUEST is there")
def _(world):
    (predictout(world) / "KILL.REQUEST").touch()
    return world.runprediction()


@when("runprediction.sh", "averaging fails")
def _(world):
    (predictout(world) / "ensembled").mkdir()
    (world.folder / "PREDICTOUT" / "ensembled" / "kept").touch()
    return world.runprediction()


@when("runprediction.sh", "ERROR of an earlier run")
def _(world):
    (predictout(world) / "ERROR").write_text("ERROR, the GPU fell off the bus\n10\n")
    return world.runprediction()


@when("runprediction.sh", "all is well")
def _(world):
    world.model(), world.images()
    return world.runprediction()


@when("runprediction.sh", "DONE is there")
def _(world):
    (predictout(world) / "DONE").touch()
    return world.runprediction()


# caffepredict.sh


@when("caffepredict.sh", "no `.caffemodel`")
def _(world):
    world.package()
    return world.caffepredict()


@when("caffepredict.sh", "`OUT/log` is a file")
def _(world):
    world.model(), world.package()
    (world.folder / "OUT").mkdir()
    (world.folder / "OUT" / "log").touch()
    return world.caffepredict()


@when("caffepredict.sh", "no Caffe here")
def _(world):
    world.model(), world.package()
    world.no_caffe()
    return world.caffepredict()


@when("caffepredict.sh", "`OUT/v1` is a file")
def _(world):
    world.model(), world.package()
    (world.folder / "OUT").mkdir()
    (world.folder / "OUT" / "v1").touch()
    return world.caffepredict()


@when("caffepredict.sh", "AUGDIR is empty")
def _(world):
    world.model()
    return world.caffepredict()


@when("caffepredict.sh", "Caffe fails")
def _(world):
    world.model(), world.package()
    world.caffe.behaves("exit 1")
    return world.caffepredict()


@when("caffepredict.sh", "Caffe finds the disk full")
def _(world):
    world.model(), world.package()
    world.caffe.behaves(FULL)
    return world.caffepredict()


@when("caffepredict.sh", "all is well")
def _(world):
    world.model(), world.package()
    return world.caffepredict()


@when("caffepredict.sh", "all is well after a failure")
def _(world):
    world.model(), world.package()
    world.caffe.behaves("exit 1")
    assert world.caffepredict() == 6
    world.caffe.behaves("")
    return world.caffepredict()


@when("caffepredict.sh", "`--gpu all` on two GPUs")
def _(world):
    world.model(), world.package()
    world.gpus(2)
    return world.caffepredict("--gpu", "all")


@when("caffepredict.sh", "`--gpu 1` on two GPUs")
def _(world):
    world.model(), world.package()
    world.gpus(2)
    return world.caffepredict("--gpu", 1)


@when("caffepredict.sh", "one of two GPUs fails")
def _(world):
    world.model(), world.package()
    world.gpus(2)
    world.caffe.behaves("case $data in *_v2.h5) exit 1 ;; esac")
    return world.caffepredict("--gpu", "all")


# workers


def in_every_worker(situation: str) -> Callable[[Callable[[World, str], int]], None]:
    """Say what happens to each of the three workers."""

    def note(scenario: Callable[[World, str], int]) -> None:
        for command in WORKERS:
            when(command, situation)(lambda world, command=command: scenario(world, command))

    return note


@in_every_worker("no `predict.config`")
def _(world, command):
    (world.folder / "OUT").mkdir()
    return world.work(command)


@in_every_worker("no package files")
def _(world, command):
    world.run_folder(packages="")
    return world.work(command)


@in_every_worker("KILL.REQUEST is there")
def _(world, command):
    (world.run_folder() / "KILL.REQUEST").touch()
    return world.work(command)


@in_every_worker("another stage failed")
def _(world, command):
    error = world.run_folder() / "ERROR"
    error.write_text("ERROR, the disk is damaged\n8\n")
    status = world.work(command)
    assert error.read_text() == "ERROR, the disk is damaged\n8\n"
    return status


@when("preprocessworker.sh", "augspeed=haha in `predict.config`")
def _(world):
    world.run_folder(speed="haha")
    return world.work("preprocessworker.sh")


@when("preprocessworker.sh", "no images")
def _(world):
    world.run_folder()
    shutil.rmtree(world.folder / "IMAGES")
    return world.work("preprocessworker.sh")


@when("preprocessworker.sh", "package files in OUT")
def _(world):
    world.run_folder()
    return world.work("preprocessworker.sh")


@when("preprocessworker.sh", "package files in OUT/augimages")
def _(world):
    out = world.run_folder(packages="OUT/augimages")
    assert not (out / "package_processing_info.txt").exists()
    return world.work("preprocessworker.sh")


@when("preprocessworker.sh", "`predict.config` without `[default]`")
def _(world):
    world.run_folder(packages="OUT/augimages", heading=False)
    return world.work("preprocessworker.sh")


@when("preprocessworker.sh", "other package files in OUT than in OUT/augimages")
def _(world):
    world.run_folder(packages="OUT/augimages")
    other = png_folder(world.folder / "OTHER", synth(4, 20, 24, 1))
    assert world.run("DefDataPackages.m", other, "OUT") == 0
    return world.work("preprocessworker.sh")


@when("predictworker.sh", "Caffe fails")
def _(world):
    world.prepared()
    world.caffe.behaves("exit 1")
    return world.work("predictworker.sh")


@when("predictworker.sh", "no Caffe here")
def _(world):
    world.prepared()
    world.no_caffe()
    return world.work("predictworker.sh")


@when("predictworker.sh", "all is well")
def _(world):
    world.prepared()
    return world.work("predictworker.sh")


@when("predictworker.sh", "KILL.REQUEST comes with the first variant")
def _(world):
    out = world.run_folder(speed="4")
    assert world.work("preprocessworker.sh") == 0
    world.caffe.behaves(f"touch {out / 'KILL.REQUEST'}")
    return world.work("predictworker.sh")


SITE = """#!/bin/sh
[ $# = 5 ] && [ "$1 $2" = "--gpu -1" ] && [ -e "$3"/*.caffemodel ] && [ -e "$4/image_stacks_v1.h5" ] || exit 9
touch site-was-called
"""


@when("predictworker.sh", "a `caffepredict.sh` of the site before ours")
def _(world):
    world.prepared()
    executable(world.bin / "caffepredict.sh", SITE)
    status = world.work("predictworker.sh")
    assert not world.caffe.calls()
    return status


@when("predictworker.sh", "the site's `caffepredict.sh` fails")
def _(world):
    world.prepared()
    executable(world.bin / "caffepredict.sh", "#!/bin/sh\nexit 6\n")
    return world.work("predictworker.sh")


@when("postprocessworker.sh", "a prediction is damaged")
def _(world):
    plane = world.predicted() / "1fm" / "Pkg001_Z01" / "v1" / "test.h5_shift_3.h5"
    plane.unlink()
    plane.write_bytes(b"cut off")
    return world.work("postprocessworker.sh")


@when("postprocessworker.sh", "a package lacks a plane")
def _(world):
    world.caffe.predicts(planes=6)
    world.predicted()
    return world.work("postprocessworker.sh")


@when("postprocessworker.sh", "all is well")
def _(world):
    world.predicted()
    return world.work("postprocessworker.sh")


# exact mode


@when("EnsemblePredictions.m", "the second folder has fewer planes")
def _(world):
    for name, planes in (("A", 3), ("B", 2)):
        png_folder(world.folder / name, synth(planes, 5, 6, 1))
    return world.run("EnsemblePredictions.m", "--exact", "A", "B", "OUT")


@when("EnsemblePredictions.m", "the first folder has fewer planes")
def _(world):
    for name, planes in (("A", 2), ("B", 3)):
        png_folder(world.folder / name, synth(planes, 5, 6, 1))
    return world.run("EnsemblePredictions.m", "--exact", "A", "B", "OUT")


@when("EnsemblePredictions.m", "images in colour")
def _(world):
    for name in ("A", "B"):
        (world.folder / name).mkdir()
        write_picture(world.folder / name / "img_0001.png", synth(15, 6, 3, 1))
    return world.run("EnsemblePredictions.m", "--exact", "A", "B", "OUT")


# Caffe's own tools


def predict_seg_new(flags: str) -> None:
    @when("predict_seg_new.bin", f"`{flags}`" if flags else "`--shift_axis=2` alone")
    def _(world):
        model = make_model(world.folder / "trained")
        stack = make_stack(world.folder / "stack.h5", addresses(4))
        files = (f"--model={model.deploy}", f"--weights={model.weights}", f"--data={stack}", "--predict=OUT")
        return world.run("predict_seg_new.bin", *files, "--gpu=-1", "--shift_axis=2", *flags.split())


for flags in (
    "",
    "--start_slice=1 --shift_num=3",
    "--start_slice=2 --shift_num=6",
    "--start_slice=-2 --shift_num=-1",
    "--shift_stride=2 --shift_num=3",
    "--start_slice=3 --shift_num=2",
):
    predict_seg_new(flags)


@when("caffe", "no such brew")
def _(world):
    return world.run("caffe", "brew")


# the page


@pytest.fixture
def world(tmp_path, monkeypatch, log_text):
    (tmp_path / "work").mkdir()
    made = World(tmp_path / "work", monkeypatch)
    made.log_text = log_text
    return made


def test_every_row_has_a_scenario_and_every_scenario_a_row():
    keys = [(row.command, row.situation) for row in rows()]
    assert len(keys) == len(set(keys))
    assert set(keys) == set(SCENARIOS)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_the_command_does_what_the_page_says(row, world, capsys):
    temporary = world.folder.parent / "temporary"
    temporary.mkdir()
    world.monkeypatch.setenv("TMPDIR", str(temporary))
    world.monkeypatch.setattr("tempfile.tempdir", str(temporary))
    status = SCENARIOS[row.command, row.situation](world)
    said = capsys.readouterr().err
    assert status == row.status, said
    missing = [path for path in row.there if not (world.folder / path).exists()]
    assert not missing, f"{missing} not there; {said}"
    left = [path for path in row.absent if (world.folder / path).exists()]
    assert not left, f"{left} there; {said}"
    for flag in {word.partition("=")[0] for word in row.given}:
        expected = sorted(word.partition("=")[2] for word in row.given if word.startswith(f"{flag}="))
        assert world.caffe.passed(flag) == expected
    for path in (world.folder / path for path in row.there if path.endswith("/ERROR")):
        message, number = path.read_text().splitlines()
        assert message.startswith("ERROR, ")
        assert number == str(row.status)
    if status not in (0, 1):
        assert len([line for line in said.splitlines() if line.startswith("ERROR, ")]) == 1
    assert "Traceback" not in said
    assert not list(temporary.iterdir()), "something is left in the system's temporary folder"


def test_the_last_words_of_caffe_are_errors_and_a_second_start_is_told(world, capsys, caplog):
    world.training()
    world.caffe.behaves("echo 'E1122 17:47:32.295583  5892 net.cpp:1] no such layer'\necho 'layer {'\nexit 17")
    assert world.train("caffetrain.sh", "1fm", "TRAINOUT") == 17
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ERROR, ")]
    assert "its last words: E1122 17:47:32.295583  5892 net.cpp:1] no such layer (all in " in line
    assert "it made no iteration and is started once more" in caplog.text


def test_progress_is_what_caffe_said_and_no_more(world, capsys):
    world.training()
    assert world.train("caffetrain.sh", "1fm", "TRAINOUT") == 0
    said = capsys.readouterr().err
    assert "1fm: iteration 0 of 9" in said
    assert "9 of 9" not in said


def test_a_training_that_somebody_stopped_has_not_completed(world, capsys):
    world.training()
    world.caffe.behaves("echo 'I1122 17:47:32.295583  5892 solver.cpp:306] Optimization stopped early.'; exit 0")
    assert world.train("caffetrain.sh", "1fm", "TRAINOUT") == 1
    assert "was stopped at iteration 0 of 9" in capsys.readouterr().err


def test_the_stub_is_given_the_files_that_the_original_gave(world):
    world.model(), world.package(1)
    assert world.caffepredict() == 0
    (call,) = world.caffe.calls()
    models = world.folder / "TRAINOUT" / "1fm"
    assert call[0] == "predict_seg_new.bin"
    assert {
        f"--model={models / 'deploy.prototxt'}",
        f"--weights={models / 'trainedmodel' / '1fm_classifer_iter_9.caffemodel'}",
        f"--data={world.folder / 'AUGDIR' / 'image_stacks_v1.h5'}",
        "--shift_axis=2",
        f"GLOG_log_dir={world.folder / 'OUT' / 'log'}",
    } <= set(call)
    with h5py.File(world.folder / "OUT" / "v1" / "test.h5_shift_0.h5") as file:
        assert file["data"].shape == (1, 2, 1024, 1024)
