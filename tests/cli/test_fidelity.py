"""`cdeep3m fidelity`, with the embedded engine's own tool as the Caffe to compare with, sound and broken."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
from google.protobuf import text_format

from cdeep3m.cli import fidelity
from cdeep3m.cli.main import main as cdeep3m
from cdeep3m.proto import prototxt
from cdeep3m.proto.caffe_pb2 import NetParameter
from cdeep3m.proto.caffemodel import array_to_blob, write_model
from octave_cases import png_folder, synth

NET = """
input: "data" input_shape { dim: 1 dim: 1 dim: 96 dim: 80 dim: 1 }
layer {
  name: "score" type: "Convolution" bottom: "data" top: "score"
  convolution_param { num_output: 2 kernel_size: 1 kernel_size: 1 kernel_size: 1 }
}
layer {
  name: "flat" type: "Reshape" bottom: "score" top: "flat"
  reshape_param { shape { dim: 0 dim: 0 dim: 0 dim: 0 } }
}
layer { name: "prob" type: "Softmax" bottom: "flat" top: "prob" }
"""
WEIGHTS = ([0, 0.02], (2, 1, 1, 1, 1)), ([0, -2], (2,))
"""A net whose foreground grows with the voxel's own value."""

OURS = f'#!/bin/sh\nexec "{sys.executable}" -m cdeep3m.cli.predict_seg_new "$@"'
TOOLS = {
    "sound": OURS,
    "other values": f"{OURS} --mean_value=1",
    "lazy": "#!/bin/sh\nexit 0",
    "crashing": "#!/bin/sh\necho 'Check failed: error == cudaSuccess (2 vs. 0)  out of memory'\nexit 134",
}


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model" / "1fm"
    (folder / "trainedmodel").mkdir(parents=True)
    message = text_format.Parse(NET, NetParameter())
    prototxt.write(folder / "deploy.prototxt", message)
    blobs = [array_to_blob(np.float32(values).reshape(shape)) for values, shape in WEIGHTS]
    message.layer[0].blobs.extend(blobs)
    write_model(folder / "trainedmodel" / "1fm_classifer_iter_1.caffemodel", message)
    return tmp_path / "model"


@pytest.fixture
def images(tmp_path):
    return png_folder(tmp_path / "images", synth(2, 40, 60, 1))


@pytest.fixture
def caffe(tmp_path, request):
    tools = tmp_path / "caffe" / ".build_release" / "tools"
    tools.mkdir(parents=True)
    (tools / "predict_seg_new.bin").write_text(f"{TOOLS[request.param]}\n")
    (tools / "predict_seg_new.bin").chmod(0o755)
    return tmp_path / "caffe"


def words(caffe, model, images, *options):
    return ["--gpu", "-1", "--planes", "1", *options, "--caffe", str(caffe), str(model), str(images)]


@pytest.mark.slow
@pytest.mark.parametrize("caffe", ["sound"], indirect=True)
def test_a_caffe_that_gives_the_same_agrees(caffe, model, images, capsys, caplog):
    assert cdeep3m(["fidelity", *words(caffe, model, images)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[1] == f"Caffe: {caffe}/.build_release/tools, CPU"
    assert shown[4].split() == ["1fm", "1", "0.0e+00", "0.0e+00", "100.0000", "%", "agrees"]
    assert shown[-1] == "The engines agree."
    assert "this project's own" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("caffe", ["other values"], indirect=True)
def test_a_caffe_that_gives_other_values_is_caught(caffe, model, images, capsys):
    assert fidelity.main(words(caffe, model, images)) == 1
    shown = capsys.readouterr().out.splitlines()
    assert "DIFFERS, by up to" in shown[4]
    assert shown[-1] == "The engines DO NOT agree."


@pytest.mark.parametrize(
    ("caffe", "message"),
    [("lazy", "caffe ended without an error but wrote no test.h5_shift_0.h5"), ("crashing", "status 134.*memory")],
    indirect=["caffe"],
)
def test_a_caffe_that_does_not_predict_is_an_error(caffe, message, model, images, capsys):
    assert fidelity.main(words(caffe, model, images)) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("ERROR, ")
    assert re.search(message, error)


def test_tools_on_path_are_no_caffe_in_a_folder(tmp_path, model, images, capsys, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "predict_seg_new.bin").write_text(OURS)
    (tmp_path / "bin" / "predict_seg_new.bin").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert fidelity.main(words(tmp_path / "model", model, images)) == 1
    assert f"no Caffe in {tmp_path / 'model'}: expected predict_seg_new.bin" in capsys.readouterr().err


def test_an_image_needs_the_docker_engine(model, images, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'none.sock'}")
    assert fidelity.main(words("example/caffe:1", model, images)) == 1
    assert "no folder example/caffe:1, and no image of that name can run: no Docker daemon" in capsys.readouterr().err


@pytest.mark.parametrize("caffe", ["sound"], indirect=True)
@pytest.mark.parametrize(
    ("options", "message"),
    [(["--models", "3fm"], "no trained 3fm"), (["--planes", "3"], "3 planes to compare"), (["--gpu", "x"], "no GPU")],
)
def test_wrong_requests_are_told(caffe, options, message, model, images, capsys):
    wrong = ["--gpu", "-1", *options, "--caffe", str(caffe), str(model), str(images)]
    assert fidelity.main(wrong) == 1
    assert message in capsys.readouterr().err


def test_one_file_and_an_empty_folder_are_models_too(model, tmp_path):
    (weights,) = model.glob("*/trainedmodel/*.caffemodel")
    assert fidelity.models_of(weights, None) == fidelity.models_of(model, None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(LookupError, match="no trained net in .*empty"):
        fidelity.models_of(tmp_path / "empty", None)
