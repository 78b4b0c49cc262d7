"""BatchNorm: normalise each channel; learn running means and variances without a gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from cdeep3m.engines.embedded.net.layers.base import SameShape, Shape

if TYPE_CHECKING:
    from cdeep3m.proto import caffe_pb2


class BatchNorm(SameShape):
    """Caffe's BatchNorm.

    Its blobs are the running sum of means, of variances, and the factor that both are divided by. They have no
    gradient, yet a solver treats them as learnable: decay and momentum reach them.
    """

    def setup(self, shapes: tuple[Shape, ...]) -> None:
        """Make the three blobs, zero at first."""
        param: caffe_pb2.BatchNormParameter = self.message.batch_norm_param
        self.eps, self.fraction = param.eps, param.moving_average_fraction
        self.batch_statistics = (
            not param.use_global_stats if param.HasField("use_global_stats") else self.context.training
        )
        self.channels = shapes[0][1] if len(shapes[0]) > 1 else 1
        for shape in ((self.channels,), (self.channels,), (1,)):
            self.add_blob(shape, gradient=False)

    def top_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the bottom's shape; it must have the channels that the blobs were made for."""
        if len(shapes[0]) > 1 and shapes[0][1] != self.channels:
            raise self.error(f"expected {self.channels} channels, found {self.describe(shapes)}")
        return (shapes[0],)

    def statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and variance of each channel from the running sums (zeros while the factor is 0).

        Returns
        -------
        two torch.Tensor, shape (channels,)
        """
        mean, variance, factor = self.blobs
        scale = torch.where(factor == 0, torch.zeros_like(factor), 1 / factor)
        return mean * scale, variance * scale

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Normalise by the batch's statistics in TRAIN (and add them to the running sums), by the sums otherwise."""
        return (self.normalise(bottoms[0]),)

    def normalise(
        self, bottom: torch.Tensor, factor: torch.Tensor | None = None, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the top, times `factor` and plus `bias` of each channel where they are given.

        Parameters
        ----------
        bottom : torch.Tensor, shape (n, channels, spatial...)
        factor, bias : torch.Tensor, shape (channels,), optional

        Returns
        -------
        torch.Tensor, that of `bottom`
        """
        blob = bottom if bottom.dim() > 1 else bottom[:, None]
        if blob.is_cuda and blob.dim() == 4:  # with the channels outermost, each has one multiprocessor alone
            blob = blob.contiguous(memory_format=torch.channels_last)
        if not self.batch_statistics:
            mean, variance = self.statistics()
            top = functional.batch_norm(blob, mean, variance, factor, bias, training=False, eps=self.eps)
            return top.reshape(bottom.shape)
        mean, variance = torch.zeros_like(self.blobs[0]), torch.zeros_like(self.blobs[1])
        top = torch.native_batch_norm(blob, factor, bias, mean, variance, True, 1.0, self.eps)[0]
        self.accumulate(mean, variance, voxels=blob.numel() // self.channels)
        return top if bottom.dim() > 1 else top[:, 0]  # no view of the whole: in-place layers would copy its gradient

    def accumulate(self, mean: torch.Tensor, variance: torch.Tensor, *, voxels: int) -> None:
        """Add a batch's mean and unbiased variance (0 when it has only one voxel) to the running sums.

        Parameters
        ----------
        mean, variance : torch.Tensor, shape (channels,)
        voxels : int
        """
        with torch.no_grad():
            torch._foreach_mul_(self.blobs, self.fraction)
            torch._foreach_add_(self.blobs[:2], [mean, variance if voxels > 1 else torch.zeros_like(variance)])
            self.blobs[2].add_(1)
