"""PatchData reads files or volumes in memory, and can go on at any batch."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from cdeep3m.engines.base import LabelledVolume
from cdeep3m.engines.embedded.net.layers.base import Context
from cdeep3m.engines.embedded.net.layers.patch_data import PatchData
from cdeep3m.errors import InputError, MissingFileError, NetError
from cdeep3m.proto.caffe_pb2 import LayerParameter

VOLUME = np.arange(8 * 7 * 5, dtype=np.uint16).reshape(8, 7, 5)
LABEL = VOLUME % 2


def layer(folder, *, seed=0, files=16, selection="", shuffle=True, **sources) -> PatchData:
    message = LayerParameter(name="data", type="PatchData", top=["data", "label"])
    message.patch_sampler_param.batch_size = 3
    message.patch_sampler_param.data_patch_shape.dim.extend([4, 4, 3])
    message.patch_sampler_param.label_patch_shape.dim.extend([4, 4, 1])
    message.data_provider_param.data_source = "train_file.txt"
    message.data_provider_param.batch_size = files
    message.data_provider_param.hdf5_file_shuffle = shuffle
    message.label_select_param.class_prob_mapping_file = selection
    context = Context(folder=folder, generator=torch.Generator().manual_seed(seed), sources=sources)
    return PatchData(message, [], context)


def write(folder, count):
    for i in range(count):
        with h5py.File(folder / f"v{i}.h5", "w") as file:
            file["data"], file["label"] = VOLUME + 1000 * i, LABEL
    (folder / "train_file.txt").write_text("".join(f"v{i}.h5\n" for i in range(count)))


def batches(made: PatchData, count: int) -> list[torch.Tensor]:
    read = [made.forward() for _ in range(count)]
    made.close()
    return [torch.cat([data.flatten(), label.flatten()]) for data, label in read]


def test_files_and_volumes_in_memory_give_the_same_batches(tmp_path):
    write(tmp_path, 2)
    volumes = [LabelledVolume(VOLUME + 1000 * i, LABEL) for i in range(2)]
    made = layer(tmp_path)
    assert made.top_shapes() == ((3, 1, 4, 4, 3), (3, 1, 4, 4, 1))
    from_files, from_memory = batches(made, 3), batches(layer(tmp_path / "no", volumes=volumes), 3)
    assert_close(from_files, from_memory, rtol=0, atol=0)


def test_batches_depend_on_seed_and_number_alone(tmp_path):
    write(tmp_path, 1)
    first = batches(layer(tmp_path), 4)
    later = layer(tmp_path)
    later.seek(2)
    assert_close(batches(later, 2), first[2:], rtol=0, atol=0)
    assert not torch.equal(batches(layer(tmp_path, seed=1), 1)[0], first[0])
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("files", [1, 2, 5])
def test_as_many_files_are_read_as_the_provider_takes(tmp_path, files):
    write(tmp_path, 3)
    drawn = torch.cat([batch[:144] for batch in batches(layer(tmp_path, files=files), 40)])
    assert len(torch.unique(drawn[drawn > 0] // 1000)) == min(files, 3)


@pytest.mark.parametrize("seed", range(4))
def test_without_shuffling_the_first_files_are_read(tmp_path, seed):
    write(tmp_path, 4)
    drawn = torch.cat([batch[:144] for batch in batches(layer(tmp_path, files=2, shuffle=False, seed=seed), 20)])
    assert set((torch.unique(drawn[drawn > 0]) // 1000).tolist()) == {0, 1}


def test_the_label_selection_is_read_from_the_working_folder(tmp_path):
    write(tmp_path, 1)
    (tmp_path / "select.prototxt").write_text("label_prob_mapping_info { label: 1 prob: 0.3 map2label: 1 }")
    made = layer(tmp_path, selection="select.prototxt")
    centres = torch.cat([made.forward()[1][:, 0, 2, 2, 0] for _ in range(10)])
    made.close()
    assert (centres == 1).all()


def test_a_small_volume_names_the_layer_and_what_is_needed():
    with pytest.raises(InputError, match=r"layer data \(PatchData\): .* need at least 5 x 5 x 1"):
        layer(None, volumes=[LabelledVolume(VOLUME[:4], LABEL[:4])])


def test_a_missing_list_is_told(tmp_path):
    with pytest.raises(MissingFileError, match=r"train_file\.txt is not there"):
        layer(tmp_path)


def test_a_layer_without_source_is_refused():
    with pytest.raises(NetError, match="batch_size"):
        PatchData(LayerParameter(name="data", type="PatchData", top=["data"]), [], Context())
