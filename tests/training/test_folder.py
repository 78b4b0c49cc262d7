from __future__ import annotations

import os
import shutil

import pytest

from cdeep3m import __version__
from cdeep3m.errors import FormatError, InputError, MissingFileError, NetError, RunError
from cdeep3m.nets.prototxts import NETS, NetMake, deploy, train_val
from cdeep3m.proto import prototxt
from cdeep3m.training.folder import check_training_files, create_run, create_run_over_files, keep_training_files
from fake_training_engine import write_snapshot

FILES = ("deploy.prototxt", "label_class_selection.prototxt", "solver.prototxt", "train_val.prototxt")


@pytest.fixture
def augmented(tmp_path):
    folder = tmp_path / "aug mented 100%"
    folder.mkdir()
    for variant in range(1, 17):
        (folder / f"training_full_stacks_v{variant}.h5").touch()
    (folder / ".hidden.h5").touch()
    (folder / "notes.txt").touch()
    return folder


@pytest.fixture
def validation(tmp_path):
    folder = tmp_path / "validation"
    folder.mkdir()
    (folder / "validation_stack_v1.h5").touch()
    return folder


def test_stacks_are_listed_by_absolute_path_in_bytewise_order(augmented, validation, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    create_run_over_files(augmented.relative_to(tmp_path), tmp_path / "out", validation)
    order = [1, *range(10, 17), *range(2, 10)]
    expected = [f"{augmented}/training_full_stacks_v{variant}.h5" for variant in order]
    assert (tmp_path / "out" / "train_file.txt").read_text() == "".join(f"{path}\n" for path in expected)
    assert (tmp_path / "out" / "valid_file.txt").read_text() == f"{validation}/validation_stack_v1.h5\n"


def test_a_run_has_the_original_s_files_and_no_others(augmented, validation, tmp_path):
    out = tmp_path / "deep" / "er" / "out"
    create_run_over_files(augmented, out, validation)
    found = sorted(str(path.relative_to(out)) for path in out.rglob("*"))
    nets = [name for net in NETS for name in (net, *(f"{net}/{file}" for file in FILES), f"{net}/trainedmodel")]
    assert found == sorted([*nets, "VERSION", "readme.txt", "train_file.txt", "valid_file.txt"])
    assert (out / "VERSION").read_text() == f"{__version__}\n"
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("net", NETS)
def test_solver_and_train_val_point_into_the_run(augmented, tmp_path, monkeypatch, net):
    monkeypatch.chdir(tmp_path)
    create_run_over_files(augmented, tmp_path.relative_to(tmp_path) / "out")
    out = tmp_path / "out"
    solver = prototxt.read_solver(out / net / "solver.prototxt")
    layers = prototxt.read_net(out / net / "train_val.prototxt").layer
    sources = [layer.data_provider_param.data_source for layer in layers if layer.type == "PatchData"]
    assert solver.snapshot_prefix == f"{out}/{net}/trainedmodel/{net}_classifer"
    assert sources == [f"{out}/train_file.txt", f"{out}/valid_file.txt"]


def test_without_validation_the_training_stacks_are_tested_on(augmented, tmp_path):
    create_run_over_files(augmented, tmp_path / "out")
    assert (tmp_path / "out" / "valid_file.txt").read_text() == (tmp_path / "out" / "train_file.txt").read_text()


def test_width_makes_compact_nets(augmented, tmp_path):
    create_run_over_files(augmented, tmp_path / "out", make=NetMake(width=16))
    assert prototxt.read_net(tmp_path / "out" / "3fm" / "deploy.prototxt") == deploy("3fm", width=16)


def test_nets_of_another_run_are_taken_over_where_it_has_them(augmented, tmp_path):
    create_run(tmp_path / "old", make=NetMake(width=32))
    (tmp_path / "old" / "5fm" / "deploy.prototxt").unlink()
    create_run_over_files(augmented, tmp_path / "out", like=tmp_path / "old")
    assert prototxt.read_net(tmp_path / "out" / "1fm" / "deploy.prototxt") == deploy("1fm", width=32)
    assert prototxt.read_net(tmp_path / "out" / "5fm" / "deploy.prototxt") == deploy("5fm")
    taken_over = prototxt.read_net(tmp_path / "out" / "1fm" / "train_val.prototxt")
    assert taken_over.layer[0].data_provider_param.data_source == str(tmp_path / "out" / "train_file.txt")
    assert taken_over.layer[2:] == train_val("1fm", width=32).layer[2:]


def test_of_a_net_that_predicts_alone_the_training_net_is_made(augmented, tmp_path):
    create_run(tmp_path / "old", make=NetMake(width=32))
    (tmp_path / "old" / "5fm" / "train_val.prototxt").unlink()
    create_run_over_files(augmented, tmp_path / "out", like=tmp_path / "old")
    made = prototxt.read_net(tmp_path / "out" / "5fm" / "train_val.prototxt")
    expected = train_val("5fm", width=32)
    assert made.layer[0].data_provider_param.data_source == str(tmp_path / "out" / "train_file.txt")
    assert {layer.name: layer for layer in made.layer[2:]} == {layer.name: layer for layer in expected.layer[2:]}


def test_a_net_that_cannot_be_trained_is_named(augmented, tmp_path):
    (tmp_path / "old" / "3fm").mkdir(parents=True)
    flat = tmp_path / "old" / "3fm" / "deploy.prototxt"
    flat.write_text('input: "data" input_dim: [1, 1, 64, 64] layer { name: "a" type: "ReLU" bottom: "data" top: "a" }')
    with pytest.raises(NetError, match=r"3fm/deploy\.prototxt cannot be trained: expected one input of five axes"):
        create_run_over_files(augmented, tmp_path / "out", like=tmp_path / "old")
    assert not (tmp_path / "out").exists()


def test_a_run_in_memory_needs_no_files(tmp_path):
    create_run(tmp_path / "out", make=NetMake(width=8))
    assert not (tmp_path / "out" / "train_file.txt").exists()
    assert (tmp_path / "out" / "1fm" / "solver.prototxt").is_file()


def test_other_files_are_not_listed_beside_trained_models(augmented, tmp_path):
    out = tmp_path / "out"
    create_run_over_files(augmented, out)
    keep_training_files(out)
    write_snapshot(out / "1fm" / "trainedmodel" / "1fm_classifer", 4)
    create_run_over_files(augmented, out)
    before = (out / "train_file.txt").read_text()
    other = tmp_path / "other"
    shutil.copytree(augmented, other)
    next(other.iterdir()).write_bytes(b"something else")
    with pytest.raises(RunError, match="holds a training on other files"):
        create_run_over_files(other, out)
    assert (out / "train_file.txt").read_text() == before


def test_making_a_run_again_keeps_its_snapshots_and_its_readme(augmented, tmp_path):
    out = tmp_path / "out"
    create_run_over_files(augmented, out, make=NetMake(width=8))
    write_snapshot(out / "1fm" / "trainedmodel" / "1fm_classifer", 5)
    (out / "readme.txt").write_text("mine")
    create_run_over_files(augmented, out, make=NetMake(width=8))
    assert (out / "1fm" / "trainedmodel" / "1fm_classifer_iter_5.caffemodel").is_file()
    assert (out / "readme.txt").read_text() == "mine"


def test_other_nets_are_not_put_beside_trained_models(augmented, tmp_path):
    out = tmp_path / "out"
    create_run_over_files(augmented, out, make=NetMake(width=8))
    write_snapshot(out / "1fm" / "trainedmodel" / "1fm_classifer", 5)
    with pytest.raises(RunError, match=r"out/1fm holds models of a 1fm of other size .*--width"):
        create_run_over_files(augmented, out)
    assert prototxt.read_net(out / "3fm" / "deploy.prototxt") == deploy("3fm", width=8)


def test_wrong_input_is_named_and_nothing_is_made(augmented, validation, tmp_path):
    (augmented / "training_full_stacks_v7.h5").unlink()
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"holds 15 \.h5 files, expected 16 .*PreprocessTrainingData"):
        create_run_over_files(augmented, out, validation)
    with pytest.raises(MissingFileError, match="nowhere is not a directory"):
        create_run_over_files(tmp_path / "nowhere", out, validation)
    (augmented / "training_full_stacks_v7.h5").touch()
    (augmented / "training_full_stacks_v17.h5").touch()
    with pytest.raises(InputError, match=r"holds 17 \.h5 files, expected 16 "):
        create_run_over_files(augmented, out, validation)
    (augmented / "training_full_stacks_v17.h5").unlink()
    with pytest.raises(MissingFileError, match="nowhere is not a directory"):
        create_run_over_files(augmented, out, tmp_path / "nowhere")
    (validation / "validation_stack_v1.h5").unlink()
    with pytest.raises(InputError, match=r"validation holds no \.h5 file"):
        create_run_over_files(augmented, out, validation)
    with pytest.raises(InputError, match="--width 0"):
        create_run_over_files(augmented, out, make=NetMake(width=0))
    assert sorted(os.listdir(tmp_path)) == ["aug mented 100%", "validation"]


def test_a_write_that_fails_leaves_no_folder_behind(augmented, tmp_path, monkeypatch):
    def full_disk(path, message):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(prototxt, "write", full_disk)
    with pytest.raises(OSError, match="No space left"):
        create_run_over_files(augmented, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == [augmented.name]


def test_damaged_stacks_are_found_before_a_training_starts(augmented):
    with pytest.raises(FormatError, match=r"training_full_stacks_v1\.h5"):
        check_training_files(augmented)


@pytest.mark.parametrize(
    ("option", "value"),
    [("width", 0), ("patch_side", 100), ("patch_side", 0), ("bn_fraction", 1.0), ("bn_fraction", 0)],
)
def test_a_make_out_of_range_is_told(option, value):
    with pytest.raises(InputError, match=f"--{option} {value}"):
        NetMake(**{option: value})


def test_a_make_changes_what_trains_and_leaves_what_predicts(augmented, tmp_path):
    create_run_over_files(augmented, tmp_path / "out", make=NetMake(patch_side=96, bn_fraction=0.5))
    net = prototxt.read_net(tmp_path / "out" / "3fm" / "train_val.prototxt")
    assert {tuple(layer.patch_sampler_param.data_patch_shape.dim) for layer in net.layer[:2]} == {(96, 96, 3)}
    fractions = {layer.batch_norm_param.moving_average_fraction for layer in net.layer if layer.type == "BatchNorm"}
    assert fractions == {0.5}
    assert prototxt.read_net(tmp_path / "out" / "3fm" / "deploy.prototxt") == deploy("3fm")
