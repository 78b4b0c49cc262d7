"""The networks of DeepEM3D (Zeng, Wu, Ji 2017): an Inception-ResNet stem and body, and atrous deconvolution heads.

Layer names are the keys by which Caffe matches published weights to a net, so they are the originals', irregular as
they are; `irregular` holds the exceptions. Blobs have axes (n, c, x, y[, z]).

::

    data -- stem ------ A ------ reduction A -- B ------ reduction B -- C
              |         |                       |                       |
             2x        4x                      8x                      16x     deconvolution heads
              '---------'-----------+-----------'-----------------------'
                              sum of the heads -- softmax, or loss
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdeep3m.nets import irregular
from cdeep3m.nets.spec import (
    BILINEAR,
    WEIGHT_AND_BIAS,
    XAVIER,
    Blob,
    KernelSpec,
    batch_norm,
    concat,
    convolution,
    drop_last_axis,
    gaussian,
    max_pool,
    relu,
    scale,
    total,
)
from cdeep3m.proto.caffe_pb2 import ParamSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdeep3m.proto.caffe_pb2 import FillerParameter

CLASSES = 2
"""Background and foreground."""

POINT = KernelSpec((1,))
POINT_SPELLED_OUT = KernelSpec((1,), pad=(0,), stride=(1,))
SQUARE = KernelSpec((3,), pad=(1,))
SQUARE_SPELLED_OUT = KernelSpec((3,), pad=(1,), stride=(1,))
HALVING = KernelSpec((3,), pad=(1,), stride=(2,))

RESIDUAL = (1.0, 0.1)
"""Weights of the sums: a block corrects what it was given by a tenth of its answer."""

DILATIONS = (5, 11, 17, 23)
"""Of the four atrous deconvolutions (c0 to c3) of each head."""


def class_scores(planes: Blob) -> Blob:
    """Append all that follows `stem_3d`; return one score per class and pixel, at the input's size."""
    return heads(*body(stem_2d(planes)))


def stem_3d(data: Blob, frames: int) -> Blob:
    """Append the two convolutions over all frames, and drop the z axis that they leave at 1."""
    first, second = FRAME_KERNELS[frames]
    blob = conv_bn_relu(data, "conv1_1", 32, first, weights=gaussian(0.01))
    blob = conv_bn_relu(blob, "conv1_2", 64, second, weights=gaussian(0.01))
    return drop_last_axis(blob, irregular.RESHAPE)


def stem_2d(planes: Blob) -> Blob:
    """Append the stem's two paths and their concatenation."""
    short = conv_bn_relu(planes, "conv2_1b", 64, POINT_SPELLED_OUT)
    short = conv_bn(short, "conv2_1b_3x3", 96, SQUARE_SPELLED_OUT)
    long = conv_bn_relu(planes, "conv2_1x1", 64, POINT_SPELLED_OUT)
    long = conv_bn_relu(long, "conv2_1x7", 64, KernelSpec((7, 1), pad=(3, 0), stride=(1,)))
    long = conv_bn_relu(long, "conv2_7x1", 64, KernelSpec((1, 7), pad=(0, 3), stride=(1,)))
    long = conv_bn_relu(long, "conv2_3x3", 96, SQUARE_SPELLED_OUT)
    return concat([short, long], "concat_stem_1")


FRAME_KERNELS = {
    1: (KernelSpec((3, 3, 1), pad=(1, 1, 0), stride=(2, 2, 1)), KernelSpec((3, 3, 1), pad=(1, 1, 0), stride=(1,))),
    3: (KernelSpec((3, 3, 3), pad=(1, 1, 1), stride=(2,)), KernelSpec((3, 3, 2), pad=(1, 1, 0), stride=(1,))),
    5: (KernelSpec((3, 3, 3), pad=(1, 1, 1), stride=(2,)), KernelSpec((3, 3, 3), pad=(1, 1, 0), stride=(1,))),
}
"""The two convolutions over (x, y, z): together they halve x and y, and bring 1, 3 or 5 planes to one."""


def body(stem_1: Blob) -> tuple[Blob, Blob, Blob, Blob]:
    """Append the three inception blocks; return the blobs at 1/2, 1/4, 1/8 and 1/16 of the input's size."""
    reduced = conv_bn_relu(stem_1, "stem_concat_conv_3x3", 192, HALVING)
    pooled = max_pool(stem_1, "pool_stem_concat", kernel_size=3, stride=2)
    conv3 = inception_a(concat([pooled, reduced], "concat_stem_2"))
    conv4 = inception_b(reduction_a(conv3))
    conv5 = inception_c(reduction_b(conv4))
    return stem_1, conv3, conv4, conv5


def inception_a(bottom: Blob) -> Blob:
    """Append block A: three paths of 3x3 convolutions around a residual sum."""
    given = conv_bn_relu(bottom, "conv3_1b", 384, POINT_SPELLED_OUT)
    one = conv_bn_relu(given, "ira_A_1_conv1x1", 32, POINT)
    two = conv_bn_relu(given, "ira_A_2_conv1x1", 32, POINT)
    two = conv_bn_relu(two, "ira_A_2_conv3x3", 32, SQUARE)
    three = conv_bn_relu(given, "ira_A_3_conv1x1", 32, POINT)
    three = conv_bn_relu(three, "ira_A_3_conv3x3_1", 48, SQUARE)
    three = conv_bn_relu(three, "ira_A_3_conv3x3_2", 64, SQUARE)
    answer = conv_bn(concat([one, two, three], "ira_A_concat"), "ira_A_concat_top_conv_1x1", 384, POINT)
    return residual_sum(given, answer, "conv3_sum")


def reduction_a(bottom: Blob) -> Blob:
    """Append the halving after block A."""
    block = "ira_v4_reduction_A"
    a = max_pool(bottom, f"{block}/pool", kernel_size=3, stride=2)
    b = conv_bn_relu(bottom, f"{block}/conv3x3_reduction_b", 384, HALVING)
    c = conv_bn_relu(bottom, f"{block}/conv1x1_c", 256, POINT)
    c = conv_bn_relu(c, f"{block}/conv3x3_c", 256, SQUARE)
    c = conv_bn_relu(c, f"{block}/conv3x3_reduction_c", 384, HALVING)
    return concat([a, b, c], f"{block}/concat")


def inception_b(bottom: Blob) -> Blob:
    """Append block B, with a 7x7 kernel taken apart."""
    given = conv_bn_relu(bottom, "conv4_1b", 1154, POINT_SPELLED_OUT)
    return factorised_block(
        given, "ira_Inception_B_block_1", "conv4_sum", side=7, channels=(192, 128, 160, 192), out=1154
    )


def reduction_b(bottom: Blob) -> Blob:
    """Append the halving after block B."""
    block = "ira_Reduction_B_block_1"
    a = max_pool(bottom, f"{block}/a_pool", kernel_size=3, stride=2)
    b = conv_bn_relu(bottom, f"{block}/b_conv1x1_1", 256, POINT_SPELLED_OUT)
    b = conv_bn_relu(b, f"{block}/b_conv3x3_1", 384, HALVING)
    c = conv_bn_relu(bottom, f"{block}/c_conv1x1_1", 256, POINT_SPELLED_OUT)
    c = conv_bn_relu(c, f"{block}/c_conv3x3_1", 288, HALVING)
    d = conv_bn_relu(bottom, f"{block}/d_conv1x1_1", 256, POINT_SPELLED_OUT)
    d = conv_bn_relu(d, f"{block}/d_conv3x3_1", 288, SQUARE_SPELLED_OUT)
    d = conv_bn_relu(d, f"{block}/d_conv3x3_2", 320, HALVING)
    return concat([a, b, c, d], f"{block}/concat")


def inception_c(bottom: Blob) -> Blob:
    """Append block C, with a 3x3 kernel taken apart (its layers are named 1x7 and 7x1 all the same)."""
    given = conv_bn_relu(bottom, "conv5_1b", 2048, POINT_SPELLED_OUT)
    return factorised_block(
        given, "ira_Inception_C_block_1", "conv5_sum", side=3, channels=(192, 192, 224, 256), out=2048
    )


def factorised_block(given: Blob, block: str, top: str, *, side: int, channels: Sequence[int], out: int) -> Blob:
    """Append a residual block whose second path is a 1 x `side` and a `side` x 1 convolution."""
    a_1x1, b_1x1, b_1x7, b_7x1 = channels
    a = conv_bn_relu(given, f"{block}/a_conv1x1_1", a_1x1, POINT)
    b = conv_bn_relu(given, f"{block}/b_conv1x1_1", b_1x1, POINT)
    b = conv_bn_relu(b, f"{block}/b_conv1x7_1", b_1x7, KernelSpec((1, side), pad=(0, side // 2)))
    b = conv_bn_relu(b, f"{block}/b_conv7x1_1", b_7x1, KernelSpec((side, 1), pad=(side // 2, 0)))
    answer = conv_bn(concat([a, b], f"{block}/concat"), f"{block}/top_conv_1x1", out, POINT)
    return residual_sum(given, answer, top)


def residual_sum(given: Blob, answer: Blob, name: str) -> Blob:
    """Append `given` + 0.1 `answer`, and a ReLU."""
    blob = total([given, answer], name, coeff=RESIDUAL)
    return relu(blob, irregular.relu_name(name))


def heads(half: Blob, quarter: Blob, eighth: Blob, sixteenth: Blob) -> Blob:
    """Append the four heads that bring each blob back to the input's size, and their sum: one score per class.

    Layers of a kind stand together for all heads, in the order that the originals have.
    """
    by_16 = bilinear_deconvolution(sixteenth, "deconv5_16x", 16)
    by_2 = atrous_head(half, "deconv2", 2)
    by_4 = atrous_head(quarter, "deconv3", 4)
    by_8 = atrous_head(eighth, "deconv4", 8)
    fine = [bn_relu(head) for head in (by_16, by_8, by_4, by_2)]
    scores = [
        convolution(head, f"conv_{head.name}", CLASSES, SQUARE_SPELLED_OUT, weights=gaussian(0.001)) for head in fine
    ]
    scores = [bn_relu(score) for score in scores]
    return total(scores[::-1], "deconv_all_sum", coeff=[1.0] * len(scores))


def atrous_head(bottom: Blob, stage: str, factor: int) -> Blob:
    """Append a bilinear and four dilated deconvolutions that enlarge `bottom` by `factor`, and their sum."""
    branches = {
        name: bilinear_deconvolution(bottom, f"{stage}_{factor}x_d1", factor)
        if name == "d1"
        else atrous_deconvolution(bottom, stage, factor, name)
        for name in irregular.branch_order(factor)
    }
    return total(
        [branches[name] for name in sorted(branches, key=BRANCHES.index)], f"fc1_{factor}x", top=f"{stage}_{factor}x"
    )


BRANCHES = ("d1", "c0", "c1", "c2", "c3")
"""Of an atrous head, in the order of its sum."""


def bilinear_deconvolution(bottom: Blob, name: str, factor: int) -> Blob:
    """Append a deconvolution that starts as bilinear interpolation, and is trained from there."""
    kernel = KernelSpec((2 * factor,), pad=(factor // 2,), stride=(factor,))
    return convolution(bottom, name, CLASSES, kernel, weights=BILINEAR, bias=None, kind="Deconvolution")


def atrous_deconvolution(bottom: Blob, stage: str, factor: int, branch: str) -> Blob:
    """Append one dilated deconvolution; its padding keeps the size at exactly `factor` times that of `bottom`."""
    name = f"fc1_{factor}x_{branch}"
    side, dilation = 2 * factor, DILATIONS[int(branch[1:])]
    pad = (dilation * (side - 1) + 1 - factor) // 2
    return convolution(
        bottom,
        name,
        CLASSES,
        KernelSpec((side,), pad=(pad,), stride=(factor,), dilation=(dilation,)),
        weights=gaussian(0.01),
        top=f"{stage}_{factor}x_{branch}",
        param=_named_without_bias_decay(name),
        kind="Deconvolution",
    )


def conv_bn(bottom: Blob, name: str, num_output: int, kernel: KernelSpec, *, weights: FillerParameter = XAVIER) -> Blob:
    """Append a convolution, its BatchNorm and its Scale."""
    return bn_scale(convolution(bottom, name, num_output, kernel, weights=weights))


def conv_bn_relu(
    bottom: Blob, name: str, num_output: int, kernel: KernelSpec, *, weights: FillerParameter = XAVIER
) -> Blob:
    """Append a convolution, its BatchNorm, its Scale and its ReLU."""
    return bn_relu(convolution(bottom, name, num_output, kernel, weights=weights))


def bn_scale(blob: Blob) -> Blob:
    """Append BatchNorm and Scale in place."""
    name = irregular.batch_norm_name(blob.name)
    return scale(batch_norm(blob, f"bn_{name}"), f"scale_{name}")


def bn_relu(blob: Blob) -> Blob:
    """Append BatchNorm, Scale and ReLU in place."""
    return relu(bn_scale(blob), irregular.relu_name(blob.name))


def _named_without_bias_decay(name: str) -> tuple[ParamSpec, ParamSpec]:
    weight, bias = WEIGHT_AND_BIAS
    return (
        ParamSpec(name=f"{name}_w", lr_mult=weight.lr_mult, decay_mult=1),
        ParamSpec(name=f"{name}_b", lr_mult=bias.lr_mult, decay_mult=0),
    )
