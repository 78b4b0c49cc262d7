"""HDF5Data: batches that lie in HDF5 files, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from cdeep3m.engines.embedded.net.layers.base import Layer, Shape
from cdeep3m.engines.embedded.net.prefetch import Prefetch, sent, staged
from cdeep3m.engines.job_files import read_list
from cdeep3m.nets.shapes import shape_text
from cdeep3m.volumes.hdf5 import numeric_dataset, opened, read_dataset

if TYPE_CHECKING:
    from pathlib import Path

SEEDS = 2**62


class HDF5Data(Layer):
    """Tops: the datasets of their names; the first axis of a dataset counts the items, `batch_size` make a batch.

    The files of the list are read one after the other, from the first again after the last; a batch may lie in two
    files. With `shuffle`, files and the items in each take another order in every pass.
    """

    def setup(self, shapes: tuple[Shape, ...]) -> None:
        """Read the list and the datasets' shapes."""
        del shapes
        message = self.message.hdf5_data_param
        if not message.batch_size or not message.source:
            raise self.error("hdf5_data_param needs a source (a list of files) and a batch_size")
        self.seed = int(torch.randint(SEEDS, (), generator=self.context.generator))
        self.files = read_list(self.context.folder / message.source, self.context.folder)
        found = [self._dataset_shapes(file) for file in self.files]
        self.item_shapes = [shape[1:] for shape in found[0]]
        self.counts = [self._count(file, shapes) for file, shapes in zip(self.files, found, strict=True)]
        if not sum(self.counts):
            raise self.error(f"the files that {message.source} lists hold no items")
        self.current: tuple[int, list[np.ndarray]] | None = None
        self.batches = Prefetch(self._batch)

    def top_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the datasets' shapes, with the batch size in front."""
        del shapes
        return tuple((self.message.hdf5_data_param.batch_size, *shape) for shape in self.item_shapes)

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the next batch."""
        del bottoms
        return sent(self.batches.next(), self.context.device)

    def seek(self, position: int) -> None:
        """Go on with batch number `position`, counted from the first item of the first file."""
        self.batches.seek(position)

    def close(self) -> None:
        """Stop reading ahead."""
        self.batches.close()

    def _batch(self, number: int) -> tuple[torch.Tensor, ...]:
        size = self.message.hdf5_data_param.batch_size
        items = [self._item(number * size + i) for i in range(size)]
        arrays = [np.stack(values).astype(np.float32) for values in zip(*items, strict=True)]
        return staged(arrays, self.context.device)

    def _item(self, index: int) -> list[np.ndarray]:
        lap, index = divmod(index, sum(self.counts))
        for file in self._order([lap], len(self.files)):
            if index < self.counts[file]:
                row = self._order([lap, file], self.counts[file])[index]
                return [array[row] for array in self._arrays(file)]
            index -= self.counts[file]
        raise AssertionError("an item beyond the last file")

    def _order(self, key: list[int], count: int) -> list[int]:
        if not self.message.hdf5_data_param.shuffle:
            return list(range(count))
        return np.random.default_rng([self.seed, *key]).permutation(count).tolist()

    def _arrays(self, file: int) -> list[np.ndarray]:
        if self.current is None or self.current[0] != file:
            self.current = file, [read_dataset(self.files[file], top) for top in self.tops]
        return self.current[1]

    def _dataset_shapes(self, path: Path) -> list[Shape]:
        with opened(path) as file:
            shapes = [tuple(numeric_dataset(file, path, top).shape) for top in self.tops]
        if not all(shapes):
            raise self.error(f"{path}: expected a dataset with one axis at least, found a single number")
        return shapes

    def _count(self, path: Path, shapes: list[Shape]) -> int:
        items, counts = [shape[1:] for shape in shapes], {shape[0] for shape in shapes}
        if items != self.item_shapes or len(counts) != 1:
            raise self.error(
                f"{path}: expected the same number of items in each dataset, of "
                f"{', '.join(map(shape_text, self.item_shapes))} as in {self.files[0]}; found "
                f"{', '.join(map(shape_text, shapes))}"
            )
        return counts.pop()
