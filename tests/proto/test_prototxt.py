from __future__ import annotations

import pytest

from cdeep3m.errors import FormatError, MissingFileError
from cdeep3m.proto import prototxt
from cdeep3m.proto.caffe_pb2 import BlobShape, LayerParameter, NetParameter, SolverParameter


@pytest.fixture
def text(tmp_path):
    def write(content: str | bytes):
        path = tmp_path / "net.prototxt"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def test_comments_and_a_byte_order_mark_are_fine(text):
    net = prototxt.read_net(text('\ufeff# a net\nname: "n" # its name\nlayer { name: "relu" type: "ReLU" }\n'))
    assert net == NetParameter(name="n", layer=[LayerParameter(name="relu", type="ReLU")])


def test_what_is_written_is_read_back(tmp_path):
    solver = SolverParameter(net="train_val.prototxt", base_lr=0.01, test_iter=[20])
    prototxt.write(tmp_path / "solver.prototxt", solver)
    assert prototxt.read_solver(tmp_path / "solver.prototxt") == solver
    assert [path.name for path in tmp_path.iterdir()] == ["solver.prototxt"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (
            'name: "a"\nlayer { convolution_param {\nkernal_size: 3 } typo: 1 }',
            r'line 3: a ConvolutionParameter has no field named "kernal_size", but kernel_size\. Mend',
        ),
        ('layer { botom: "data" }', r'line 1: a LayerParameter has no field named "botom", but bottom'),
        ('layer { name: "x" typo: 3 ', r'no field named "typo"'),
        ('layer {\n name: "x"\n phase: PREDIT }', r"line 3: .*no value named PREDIT"),
        ('layer { name: "x" ', r'line 1: Expected "}"'),
        ('layers { name: "x" }', r"layer x has no type that Caffe's old format"),
        ('layers { layer { name: "x" } }', r"Caffe's format of 2013 .*upgrade_net_proto_text"),
        ('layers { type: RELU } layer { type: "ReLU" }', r"both `layers` .* and `layer`"),
        ('input: "data"', r"holds no `layer`"),
        ("", r"file is empty"),
        ("# nothing but a comment\n", r"file is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0", r"this is a PNG image"),
        (b"\x89HDF\r\n\x1a\n\0\0", r"this is an HDF5 file"),
        (bytes(100), r"binary data"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", r"git lfs pull"),
    ],
)
def test_an_error_names_the_file_and_what_is_wrong_in_one_line(text, content, complaint):
    path = text(content)
    with pytest.raises(FormatError, match=complaint) as error:
        prototxt.read_net(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("read", [prototxt.read_net, prototxt.read_solver, prototxt.read_label_mapping])
def test_a_missing_file_and_a_folder_are_named(tmp_path, read):
    with pytest.raises(MissingFileError, match="none.prototxt is not there"):
        read(tmp_path / "none.prototxt")
    with pytest.raises(MissingFileError, match="is a folder"):
        read(tmp_path)


def test_input_shapes_of_both_spellings():
    shapes = {"data": (1, 1, 32, 48, 3), "other": (1, 2, 8, 8)}
    new = NetParameter(input=shapes, input_shape=[BlobShape(dim=shape) for shape in shapes.values()])
    old = NetParameter(input=["a", "b"], input_dim=[1, 2, 3, 4, 5, 6, 7, 8])
    old_3d = NetParameter(input=["a", "b"], input_dim=range(10))
    assert prototxt.input_shapes(new) == shapes
    assert prototxt.input_shapes(old) == {"a": (1, 2, 3, 4), "b": (5, 6, 7, 8)}
    assert prototxt.input_shapes(old_3d) == {"a": (0, 1, 2, 3, 4), "b": (5, 6, 7, 8, 9)}
    assert prototxt.input_shapes(NetParameter(layer=[LayerParameter(type="PatchData", top=["data"])])) == {}


SOLVER = """\
# net: "other.prototxt"
net: "a.prototxt"   # the net
base_lr: 0.1 lr_policy: 'step' # "lr_policy"
test_state { stage: "base_lr: 7" }
snapshot_prefix: "a # b"
gamma: 0.5 # half
"""


def test_changes_of_a_solver_leave_the_rest_of_its_text(text):
    path = text(SOLVER)
    solver = prototxt.read_solver(path)
    prototxt.write_changes(path, solver)
    assert path.read_text() == SOLVER
    solver.base_lr, solver.lr_policy, solver.max_iter, solver.solver_mode = 0.02, "poly", 30, SolverParameter.CPU
    solver.ClearField("gamma")
    prototxt.write_changes(path, solver)
    assert path.read_text() == SOLVER.replace(
        "base_lr: 0.1 lr_policy: 'step'", 'base_lr: 0.02 lr_policy: "poly"'
    ).replace("gamma: 0.5 # half\n", " # half\nmax_iter: 30\nsolver_mode: CPU\n")
    assert prototxt.read_solver(path) == solver


def test_a_field_that_comes_and_goes_leaves_no_trace(text):
    path = text(SOLVER)
    for _ in range(2):
        solver = prototxt.read_solver(path)
        solver.random_seed = 7
        prototxt.write_changes(path, solver)
        solver.ClearField("random_seed")
        prototxt.write_changes(path, solver)
    assert path.read_text() == SOLVER


def test_changes_that_text_cannot_take_in_place_write_the_solver_anew(text):
    path = text(SOLVER)
    solver = prototxt.read_solver(path)
    solver.test_iter.append(3)
    prototxt.write_changes(path, solver)
    assert "#" not in path.read_text().replace("a # b", "")
    assert prototxt.read_solver(path) == solver


def test_an_input_without_a_shape_is_refused():
    with pytest.raises(FormatError, match="input `b` of the net has no shape"):
        prototxt.input_shapes(NetParameter(input=["a", "b"], input_dim=[1, 2, 3, 4]))


def test_label_mapping_is_read(text):
    mapping = prototxt.read_label_mapping(text("label_prob_mapping_info { label: 1 prob: 0.25 }"))
    assert [(info.label, info.prob) for info in mapping.label_prob_mapping_info] == [(1, 0.25)]
