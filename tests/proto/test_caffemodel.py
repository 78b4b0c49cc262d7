from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from cdeep3m.errors import FormatError, MissingFileError
from cdeep3m.proto import caffemodel
from cdeep3m.proto.caffe_pb2 import BlobProto, BlobShape, LayerParameter, NetParameter, SolverState
from cdeep3m.proto.caffemodel import _varint

ADDRESSES = np.arange(24, dtype=np.float32).reshape(2, 3, 4)

RUNS = ("training_steps/1fm", "training_steps/3fm", "training_steps/5fm")
PREDICTIONS = ("prediction/1fm", "prediction/3fm", "prediction/5fm")


def a_model() -> NetParameter:
    blobs = [caffemodel.array_to_blob(ADDRESSES)]
    return NetParameter(name="net", layer=[LayerParameter(name="conv", type="Convolution", blobs=blobs)])


def a_state() -> SolverState:
    history = [caffemodel.array_to_blob(ADDRESSES)]
    return SolverState(iter=300, learned_net="1fm_iter_300.caffemodel", history=history)


@pytest.mark.parametrize("folder", [*RUNS, *PREDICTIONS])
def test_models_that_caffe_wrote_are_written_back_byte_by_byte(reference, tmp_path, folder):
    for path in sorted((reference / "caffe" / folder).glob("*.caffemodel")):
        caffemodel.write_model(tmp_path / path.name, caffemodel.read_model(path))
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    assert list(tmp_path.iterdir())


@pytest.mark.parametrize("folder", RUNS)
def test_states_that_caffe_wrote_are_written_back_byte_by_byte(reference, tmp_path, folder):
    for path in sorted((reference / "caffe" / folder).glob("*.solverstate")):
        caffemodel.write_state(tmp_path / path.name, caffemodel.read_state(path))
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    assert list(tmp_path.iterdir())


@pytest.mark.parametrize("folder", RUNS)
def test_arrays_of_caffe_s_blobs_make_the_same_blobs_again(reference, folder):
    (path, *_) = sorted((reference / "caffe" / folder).glob("*.caffemodel"))
    blobs = [blob for layer in caffemodel.read_model(path).layer for blob in layer.blobs]
    assert len(blobs) > 200
    for blob in blobs:
        assert caffemodel.array_to_blob(caffemodel.blob_to_array(blob)) == blob


@pytest.mark.parametrize(
    "blob",
    [
        BlobProto(shape=BlobShape(dim=[2, 3, 4]), data=range(24)),
        BlobProto(shape=BlobShape(dim=[2, 3, 4]), double_data=range(24)),
        BlobProto(num=1, channels=2, height=3, width=4, data=range(24)),
    ],
    ids=["shape", "double_data", "num-channels-height-width"],
)
def test_every_layout_of_a_blob_gives_its_values(blob):
    array = caffemodel.blob_to_array(blob)
    assert array.dtype == np.float32
    assert_array_equal(array.reshape(ADDRESSES.shape), ADDRESSES)
    assert array.shape == caffemodel.blob_shape(blob)


def test_values_that_are_not_packed_are_read():
    """Old files tag every number on its own (wire type 5)."""
    wire = b"".join(b"\x2d" + np.float32(value).tobytes() for value in (1.5, -2, 3))
    assert_array_equal(caffemodel.blob_to_array(BlobProto.FromString(wire)), np.float32([1.5, -2, 3]))


def test_a_scalar_and_an_empty_blob_keep_their_shape():
    assert caffemodel.blob_to_array(caffemodel.array_to_blob(np.float32(7))).shape == ()
    assert caffemodel.blob_to_array(caffemodel.array_to_blob(np.zeros((0, 3)))).shape == (0, 3)


def test_views_are_stored_in_the_order_they_show():
    blob = caffemodel.array_to_blob(ADDRESSES.T)
    assert_array_equal(caffemodel.blob_to_array(blob), ADDRESSES.T)
    assert list(blob.data[:3]) == [0, 12, 4]


def test_a_blob_whose_values_do_not_fill_its_shape_is_refused():
    with pytest.raises(FormatError, match=r"shape \(2, 3\) holds 5 values"):
        caffemodel.blob_to_array(BlobProto(shape=BlobShape(dim=[2, 3]), data=range(5)))


def test_models_and_states_are_the_same_after_writing_and_reading(tmp_path):
    caffemodel.write_model(tmp_path / "m.caffemodel", a_model())
    caffemodel.write_state(tmp_path / "m.solverstate", a_state())
    assert caffemodel.read_model(tmp_path / "m.caffemodel") == a_model()
    assert caffemodel.read_state(tmp_path / "m.solverstate") == a_state()


def test_fields_that_are_not_known_here_survive(tmp_path):
    unknown = b"\xfa\x3f\x05hello"
    content = a_model().SerializeToString() + unknown
    (tmp_path / "new.caffemodel").write_bytes(content)
    caffemodel.write_model(tmp_path / "copy.caffemodel", caffemodel.read_model(tmp_path / "new.caffemodel"))
    assert (tmp_path / "copy.caffemodel").read_bytes() == content


FIELDS_OF_NO_MESSAGE = range(5000, 5040)


@st.composite
def unknown_content(draw) -> bytes:
    """Some fields of every wire type, with numbers that no message of ours has."""
    content = b""
    for number in draw(st.lists(st.sampled_from(FIELDS_OF_NO_MESSAGE), min_size=1, max_size=3)):
        kind = draw(st.sampled_from([0, 1, 2, 5]))
        payload = draw(st.binary(min_size={1: 8, 5: 4}.get(kind, 0), max_size={1: 8, 5: 4}.get(kind, 20)))
        value = {0: _varint(len(payload)), 2: _varint(len(payload)) + payload}.get(kind, payload)
        content += _varint(number << 3 | kind) + value
    return content


@settings(deadline=None, max_examples=50)
@given(st.lists(unknown_content(), min_size=5, max_size=5))
def test_fields_that_are_not_known_here_survive_in_every_message(extras):
    """In the net, its layers, their parameters, those that nobody reads here, and in the shapes of blobs."""
    net = a_model()
    layer = net.layer[0]
    layer.convolution_param.num_output = 2
    layer.tile_param.SetInParent()
    places = [net, layer, layer.convolution_param, layer.tile_param, layer.blobs[0].shape]
    for message, extra in zip(places, extras, strict=True):
        message.MergeFromString(extra)
    with TemporaryDirectory() as folder:
        new, copy = Path(folder, "new.caffemodel"), Path(folder, "copy.caffemodel")
        new.write_bytes(net.SerializeToString())
        assert all(extra in new.read_bytes() for extra in extras)
        caffemodel.write_model(copy, caffemodel.read_model(new))
        assert copy.read_bytes() == new.read_bytes()


def test_unknown_fields_of_a_solver_state_survive(tmp_path):
    state = a_state()
    state.history[0].MergeFromString(b"\xfa\x3f\x05hello")
    content = state.SerializeToString() + b"\xfa\x3f\x05world"
    (tmp_path / "new.solverstate").write_bytes(content)
    caffemodel.write_state(tmp_path / "copy.solverstate", caffemodel.read_state(tmp_path / "new.solverstate"))
    assert (tmp_path / "copy.solverstate").read_bytes() == content
    assert b"hello" in content


def test_a_model_of_more_than_64_mb_is_read(tmp_path):
    large = np.arange(2**24 + 2**10, dtype=np.float32)
    net = NetParameter(layer=[LayerParameter(name="fc", blobs=[caffemodel.array_to_blob(large)])])
    caffemodel.write_model(tmp_path / "large.caffemodel", net)
    assert (tmp_path / "large.caffemodel").stat().st_size > 64 * 2**20
    (layer,) = caffemodel.read_model(tmp_path / "large.caffemodel").layer
    assert np.array_equal(caffemodel.blob_to_array(layer.blobs[0]), large)


MODEL, STATE = a_model().SerializeToString(), a_state().SerializeToString()
FOREIGN = {
    "an empty file": b"",
    "a PNG image": b"\x89PNG\r\n\x1a\n" + bytes(range(64)),
    "an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(64),
    "a gzip archive": b"\x1f\x8b" + bytes(64),
    "a web page": b"<!DOCTYPE html><html></html>",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
    "this is text": b'name: "net"\nlayer { name: "conv" }\n',
    "binary data": bytes(64),
}


@pytest.mark.parametrize(
    ("read", "content", "complaint"),
    [
        *((caffemodel.read_model, content, name) for name, content in FOREIGN.items()),
        *((caffemodel.read_state, content, name) for name, content in FOREIGN.items()),
        (caffemodel.read_model, MODEL[:-9], "cut off or damaged"),
        (caffemodel.read_state, STATE[:-9], "cut off or damaged"),
        (caffemodel.read_model, STATE, r"this is a solver state"),
        (caffemodel.read_state, MODEL, r"this is trained weights"),
        (caffemodel.read_model, b"\x12\x02\x0a\x00", r"Caffe's format of 2013 .*upgrade_net_proto_binary"),
        (caffemodel.read_model, b"\x0a\x01n\x12\x02\x22", "cut off or damaged"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(tmp_path, read, content, complaint):
    path = tmp_path / "file.bin"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=complaint) as error:
        read(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("read", [caffemodel.read_model, caffemodel.read_state])
def test_a_missing_file_and_a_folder_are_named(tmp_path, read):
    with pytest.raises(MissingFileError, match="nothing is not there"):
        read(tmp_path / "nothing")
    with pytest.raises(MissingFileError, match="is a folder"):
        read(tmp_path)
