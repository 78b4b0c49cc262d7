"""Where the originals' names and orders break their own rules. Published weights are matched by these names."""

from __future__ import annotations

import re

RESHAPE = "reshape"
"""Name of both Reshape layers of a training net, the one of the data and the one of the label."""

_RELU_AFTER_SUM = ("conv4_sum", "conv5_sum")
_BATCH_NORM_OF = {"ira_A_concat_top_conv_1x1": "ra_A_concat_top_conv_1x1"}
_FREEING = (
    *("conv1_2", "conv2_1b_3x3", "conv2_1x1", "conv2_1x7", "conv2_7x1", "conv2_3x3"),
    *("conv_deconv5_16x", "conv_deconv4_8x", "conv_deconv3_4x", "conv_deconv2_2x", "deconv_all_sum"),
)


def batch_norm_name(blob: str) -> str:
    """Return what follows `bn_` and `scale_` in the names of the layers that normalise `blob`."""
    return _BATCH_NORM_OF.get(blob, blob)


def relu_name(blob: str) -> str:
    """Return the name of the ReLU of `blob`.

    Examples
    --------
    >>> [relu_name(blob) for blob in ("conv3_1b", "conv3_sum", "conv4_sum", "ira_A_1_conv1x1")]
    ['relu3_1b', 'relu3_sum', 'relu_conv4_sum', 'relu_ira_A_1_conv1x1']
    """
    numbered = re.match(r"conv\d", blob) and blob not in _RELU_AFTER_SUM
    return f"relu{blob.removeprefix('conv')}" if numbered else f"relu_{blob}"


def branch_order(factor: int) -> tuple[str, ...]:
    """Return the order in which the branches of an atrous head stand in the file."""
    return ("c0", "d1", "c1", "c2", "c3") if factor == 4 else ("d1", "c0", "c1", "c2", "c3")


def freeing_layers(net: str) -> tuple[str, ...]:
    """Return the layers of deploy.prototxt that carry `phase: PREDICT`."""
    return _FREEING if net == "1fm" else ("conv1_1", *_FREEING)
