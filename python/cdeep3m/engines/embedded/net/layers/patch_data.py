"""PatchData: random patches of labelled volumes.

Sources: `volumes`, a sequence of LabelledVolume that replaces the files of `data_source`; `augmentation`, how patches
are changed; `sampling`, where they are drawn, and in how many threads; `ignored`, a label that is never drawn around.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from cdeep3m.engines.embedded.net.h5_files import open_training_file
from cdeep3m.engines.embedded.net.layers.base import Layer, Shape
from cdeep3m.engines.embedded.net.prefetch import Prefetch, sent, staged
from cdeep3m.engines.job_files import read_list
from cdeep3m.engines.learning import Sampling
from cdeep3m.engines.patches import LabelSelection, PatchSampler
from cdeep3m.errors import InputError
from cdeep3m.proto.prototxt import read_label_mapping

if TYPE_CHECKING:
    from pathlib import Path

    from cdeep3m.engines.base import LabelledVolume

SEEDS = 2**62


class PatchData(Layer):
    """Tops: data (n, c, x, y, z) and label (n, 1, x, y, z).

    Batch k is drawn by a generator of its own, from the net's seed and k: `seek` goes on at any batch.
    """

    def setup(self, shapes: tuple[Shape, ...]) -> None:
        """Open the volumes, or take those in memory, and begin to cut patches."""
        del shapes
        self.seed = int(torch.randint(SEEDS, (), generator=self.context.generator))
        message = self.message.patch_sampler_param
        self.batch_size = message.batch_size
        if not self.batch_size:
            raise self.error("patch_sampler_param has no batch_size")
        sampling = self.context.sources.get("sampling") or Sampling()
        try:
            self.sampler = PatchSampler(
                self._volumes(),
                data_shape=tuple(message.data_patch_shape.dim),
                label_shape=tuple(message.label_patch_shape.dim),
                selection=self._selection(),
                augmentation=self.context.sources.get("augmentation"),
                rare=sampling.rare,
                ignored=self.context.sources.get("ignored"),
            )
        except InputError as error:
            raise type(error)(f"layer {self.name} ({self.type}): {error}") from error
        self.batches = Prefetch(self._batch, workers=sampling.workers)

    def top_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the shapes of data and label."""
        del shapes
        sampler = self.sampler
        return (
            (self.batch_size, sampler.channels, *sampler.data_shape),
            (self.batch_size, 1, *sampler.label_shape),
        )[: len(self.tops)]

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the next batch."""
        del bottoms
        return sent(self.batches.next(), self.context.device)[: len(self.tops)]

    def seek(self, position: int) -> None:
        """Go on with batch number `position`."""
        self.batches.seek(position)

    def close(self) -> None:
        """Stop reading ahead."""
        self.batches.close()

    def _batch(self, number: int) -> tuple[torch.Tensor, ...]:
        batch = self.sampler.batch(self.batch_size, np.random.default_rng([self.seed, number]))
        return staged(batch, self.context.device)

    def _volumes(self) -> list[LabelledVolume]:
        if given := self.context.sources.get("volumes"):
            return list(given)
        provider = self.message.data_provider_param
        files = self._files(provider.data_source)
        labels = self._files(provider.label_source) if provider.label_source else [None] * len(files)
        if len(labels) != len(files):
            raise InputError(
                f"found {len(files)} files in {provider.data_source} and {len(labels)} in {provider.label_source}; "
                "expected as many labels as data. Add what is missing to the lists"
            )
        pairs = list(zip(files, labels, strict=True))
        return [open_training_file(*pairs[i]) for i in self._chosen(len(pairs))]

    def _chosen(self, count: int) -> list[int]:
        """Return which files are read: as many as data_provider_param's batch_size says."""
        provider = self.message.data_provider_param
        limit = provider.batch_size or count
        if not provider.hdf5_file_shuffle or limit >= count:
            return list(range(min(limit, count)))
        return sorted(np.random.default_rng([self.seed, SEEDS]).permutation(count)[:limit].tolist())

    def _files(self, source: str) -> list[Path]:
        if not source:
            raise self.error("data_provider_param has no data_source, and no volumes in memory were given")
        return read_list(self.context.folder / source, self.context.folder)

    def _selection(self) -> LabelSelection:
        settings = self.message.label_select_param
        if not settings.class_prob_mapping_file:
            return LabelSelection()
        return LabelSelection.from_message(read_label_mapping(self.context.folder / settings.class_prob_mapping_file))
