"""HDF5Data reads items in order, file after file, round and round."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch

from cdeep3m.engines.embedded.net.layers.base import Context
from cdeep3m.engines.embedded.net.layers.hdf5_data import HDF5Data
from cdeep3m.errors import FormatError, NetError
from cdeep3m.proto.caffe_pb2 import HDF5DataParameter, LayerParameter


def write(folder, counts, *, dtype="uint8", item=(1, 2, 3)):
    first, names = 0, []
    for i, count in enumerate(counts):
        values = np.arange(first, first + count).reshape(-1, *[1] * len(item)) * np.ones(item)
        with h5py.File(folder / f"{i}.h5", "w") as file:
            file["data"], file["label"] = values.astype(dtype), (values + 100).astype(dtype)
        names.append(f"{i}.h5")
        first += count
    (folder / "list.txt").write_text("\n".join(names) + "\n")


def layer(folder, *, batch_size=2, seed=0, tops=("data", "label"), **settings) -> HDF5Data:
    message = LayerParameter(
        name="data",
        type="HDF5Data",
        top=tops,
        hdf5_data_param=HDF5DataParameter(source="list.txt", batch_size=batch_size, **settings),
    )
    return HDF5Data(message, [], Context(folder=folder, generator=torch.Generator().manual_seed(seed)))


def items(made: HDF5Data, batches: int) -> list[list[int]]:
    read = [made.forward() for _ in range(batches)]
    made.close()
    assert all((label == data + 100).all() for data, label in read)
    return [data[:, 0, 0, 0].int().tolist() for data, _ in read]


def test_batches_cross_files_and_start_again_after_the_last(tmp_path):
    write(tmp_path, [3, 1, 1])
    assert items(layer(tmp_path), 5) == [[0, 1], [2, 3], [4, 0], [1, 2], [3, 4]]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64", "int64"])
def test_values_of_any_type_become_float32(tmp_path, dtype):
    write(tmp_path, [2], dtype=dtype)
    made = layer(tmp_path)
    assert made.top_shapes() == ((2, 1, 2, 3), (2, 1, 2, 3))
    assert {top.dtype for top in made.forward()} == {torch.float32}
    made.close()


def test_seeking_goes_on_in_the_middle_of_a_lap(tmp_path):
    write(tmp_path, [3, 2])
    made = layer(tmp_path)
    made.seek(4)
    assert items(made, 2) == [[3, 4], [0, 1]]


def test_shuffling_keeps_every_item_once_a_lap_and_repeats_with_the_seed(tmp_path):
    write(tmp_path, [4, 4])
    first, again, other = (items(layer(tmp_path, shuffle=True, seed=seed), 8) for seed in (1, 1, 2))
    assert first == again != other
    laps = np.array(first).reshape(2, 8)
    assert (np.sort(laps) == np.arange(8)).all()
    assert (laps[0] != laps[1]).any()
    assert {frozenset(laps[0, :4] // 4), frozenset(laps[0, 4:] // 4)} == {frozenset([0]), frozenset([1])}


def test_items_of_another_shape_are_refused(tmp_path):
    write(tmp_path, [2, 2])
    with h5py.File(tmp_path / "1.h5", "w") as file:
        file["data"], file["label"] = np.zeros((2, 1, 2, 4)), np.zeros((2, 1, 2, 3))
    with pytest.raises(NetError, match=r"1\.h5: expected .* of 1x2x3, 1x2x3 as in .*0\.h5; found 2x1x2x4, 2x1x2x3"):
        layer(tmp_path)


def test_datasets_are_named_by_the_tops(tmp_path):
    write(tmp_path, [2])
    with pytest.raises(FormatError, match="no dataset 'weight'; found data, label"):
        layer(tmp_path, tops=("data", "weight"))


def test_a_layer_without_source_or_batch_size_is_refused(tmp_path):
    with pytest.raises(NetError, match="batch_size"):
        layer(tmp_path, batch_size=0)
