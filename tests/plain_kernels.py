"""Convolution, deconvolution and pooling written out voxel by voxel, for any number of spatial axes."""

from __future__ import annotations

from itertools import product

import numpy as np


def convolve(bottom, weight, bias, *, stride, pad, dilation, groups=1):
    """Blobs (n, c, ...), weights (out, c / groups, ...); every other argument has one value for each spatial axis."""
    size, outputs = weight.shape[2:], len(weight)
    extent = [d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True)]
    padded = np.pad(bottom, [(0, 0), (0, 0), *((p, p) for p in pad)])
    sides = [(n - e) // s + 1 for n, e, s in zip(padded.shape[2:], extent, stride, strict=True)]
    top = np.zeros((len(bottom), outputs, *sides))
    for place in np.ndindex(*sides):
        seen = padded[
            (..., *(slice(s * i, s * i + e, d) for i, s, e, d in zip(place, stride, extent, dilation, strict=True)))
        ]
        for out in range(outputs):
            channels = groups_of(bottom.shape[1], groups, out * groups // outputs)
            top[(slice(None), out, *place)] = (seen[:, channels] * weight[out]).reshape(len(bottom), -1).sum(1)
    return top + np.reshape(bias, (-1, *[1] * len(sides)))


def deconvolve(bottom, weight, bias, *, stride, pad, dilation, groups=1):
    """Every voxel of the bottom adds its kernel to the top; weights (c, out / groups, ...)."""
    size, of_group = weight.shape[2:], weight.shape[1]
    extent = [d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True)]
    whole = [s * (n - 1) + e for n, e, s in zip(bottom.shape[2:], extent, stride, strict=True)]
    top = np.zeros((len(bottom), of_group * groups, *whole))
    for channel, place in product(range(bottom.shape[1]), np.ndindex(*bottom.shape[2:])):
        group = channel * groups // bottom.shape[1]
        seen = (slice(s * i, s * i + e, d) for i, s, e, d in zip(place, stride, extent, dilation, strict=True))
        value = bottom[(slice(None), channel, *place)].reshape(-1, 1, *[1] * len(size))
        top[(slice(None), groups_of(len(top[0]), groups, group), *seen)] += value * weight[channel]
    cut = (slice(p, n - p) for p, n in zip(pad, whole, strict=True))
    return top[(..., *cut)] + np.reshape(bias, (-1, *[1] * len(size)))


def pool(bottom, *, average, size, stride, pad):
    """Caffe's pooling_layer.cpp: sides round up; an average is divided by the kernel's area within the padded blob."""
    sides = [pooled(*each) for each in zip(bottom.shape[2:], size, stride, pad, strict=True)]
    top = np.zeros((*bottom.shape[:2], *sides))
    for place in np.ndindex(*sides):
        begin = [i * s - p for i, s, p in zip(place, stride, pad, strict=True)]
        end = [min(b + k, n + p) for b, k, n, p in zip(begin, size, bottom.shape[2:], pad, strict=True)]
        area = np.prod([e - b for b, e in zip(begin, end, strict=True)])
        seen = bottom[(..., *(slice(max(b, 0), e) for b, e in zip(begin, end, strict=True)))]
        seen = seen.reshape(*bottom.shape[:2], -1)
        top[(..., *place)] = seen.sum(-1) / area if average else seen.max(-1)
    return top


def pooled(side, kernel, stride, pad):
    count = int(np.ceil((side + 2 * pad - kernel) / stride)) + 1
    return count - 1 if pad and (count - 1) * stride >= side + pad else count


def groups_of(count, groups, group):
    return slice(group * count // groups, (group + 1) * count // groups)
