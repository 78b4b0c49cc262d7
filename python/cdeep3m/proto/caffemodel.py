"""Read and write trained weights (.caffemodel) and solver states (.solverstate), and turn their blobs into arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message

from cdeep3m.errors import FormatError, MissingFileError
from cdeep3m.proto.caffe_pb2 import BlobProto, BlobShape, NetParameter, SolverState
from cdeep3m.proto.foreign import MODEL, STATE, looks_like
from cdeep3m.proto.upgrade import upgraded
from cdeep3m.system.files import demand_file, whole_file

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

M = TypeVar("M", bound=Message)

LENGTH_DELIMITED = 2
"""Protobuf's wire type of a packed array."""


MOST_BYTES = 2**31
"""Of weights or a state: Protocol Buffers hold no more."""


def read_model(path: str | os.PathLike[str]) -> NetParameter:
    """Read a .caffemodel.

    Parameters
    ----------
    path : path
        Binary NetParameter with one `layer` per layer, of any size; `layers` of Caffe before 2014 are upgraded.

    Returns
    -------
    NetParameter
        Layers with their `blobs`; fields that this project does not know are kept for `write_model`.

    Raises
    ------
    MissingFileError
        `path` is not there.
    FormatError
        It is empty, cut off, of another format, or older than Caffe's format of 2013.
    """
    net = _read(path, NetParameter())
    try:
        net = upgraded(net)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None
    if not net.layer:
        raise _unreadable(path, Path(path).read_bytes(), net)
    return net


def write_model(path: str | os.PathLike[str], net: NetParameter) -> None:
    """Write `net` with its blobs as a .caffemodel, whole or not at all."""
    _write(path, net)


def read_state(path: str | os.PathLike[str]) -> SolverState:
    """Read a .solverstate.

    Returns
    -------
    SolverState
        The iteration, the name of the model that belongs to it, and the history of each learnable blob.

    Raises
    ------
    MissingFileError
        `path` is not there.
    FormatError
        It is empty, cut off or of another format.
    """
    state = _read(path, SolverState())
    if not state.HasField("iter"):
        raise _unreadable(path, Path(path).read_bytes(), state)
    return state


def write_state(path: str | os.PathLike[str], state: SolverState) -> None:
    """Write `state` as a .solverstate, whole or not at all."""
    _write(path, state)


def blob_shape(blob: BlobProto) -> tuple[int, ...]:
    """Return the shape of `blob`: its `shape`, or (num, channels, height, width) where an old file gives those."""
    if blob.HasField("shape"):
        return tuple(blob.shape.dim)
    if any(map(blob.HasField, ("num", "channels", "height", "width"))):
        return blob.num, blob.channels, blob.height, blob.width
    return (len(blob.data) or len(blob.double_data),)


def blob_to_array(blob: BlobProto) -> np.ndarray:
    """Return the values of `blob`.

    Parameters
    ----------
    blob : BlobProto
        With `shape` or the older num, channels, height and width; with `data` or `double_data`.

    Returns
    -------
    ndarray of float32
        A copy, in the blob's own shape and axis order.

    Raises
    ------
    FormatError
        The number of values does not fit the shape.

    Examples
    --------
    >>> blob_to_array(BlobProto(num=1, channels=1, height=1, width=2, data=[1, 2]))
    array([[[[1., 2.]]]], dtype=float32)
    """
    values = np.array(blob.double_data or blob.data, dtype=np.float32)
    shape = blob_shape(blob)
    if values.size != int(np.prod(shape)):
        raise FormatError(f"a blob of shape {shape} holds {values.size} values: the file is damaged")
    return values.reshape(shape)


def array_to_blob(array: ArrayLike, shape: Sequence[int] | None = None) -> BlobProto:
    """Return `array` as a blob with `shape` and packed float32 `data`.

    Parameters
    ----------
    array : array_like of numbers
        The values, in C order.
    shape : sequence of int, optional
        Shape to record; default: the array's own.

    Returns
    -------
    BlobProto

    Examples
    --------
    >>> array_to_blob([[1.5], [2]]).shape.dim
    [2, 1]
    """
    values = np.ascontiguousarray(array, dtype="<f4")
    blob = BlobProto.FromString(_packed(BlobProto.DATA_FIELD_NUMBER, values))
    blob.shape.CopyFrom(BlobShape(dim=np.shape(array) if shape is None else shape))
    return blob


def _packed(field_number: int, values: np.ndarray) -> bytes:
    """Return the wire format of a message whose only field is the packed array `values`.

    Filling the field element by element would take 10 s for a model of 100 MB.
    """
    return bytes([field_number << 3 | LENGTH_DELIMITED]) + _varint(values.nbytes) + values.tobytes()


def _varint(number: int) -> bytes:
    """Return `number` as protobuf writes it.

    Examples
    --------
    >>> _varint(300).hex()
    'ac02'
    """
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def _read(path: str | os.PathLike[str], message: M) -> M:
    try:
        if Path(path).exists() and not Path(path).is_dir():
            demand_file(path, most=MOST_BYTES)
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise MissingFileError(f"{path} is not there; expected {_kind(message)}") from None
    except IsADirectoryError:
        raise MissingFileError(f"{path} is a folder; expected {_kind(message)}") from None
    try:
        message.ParseFromString(content)
    except DecodeError:
        raise _unreadable(path, content, message) from None
    if not content:
        raise _unreadable(path, content, message)
    return message


def _write(path: str | os.PathLike[str], message: Message) -> None:
    with whole_file(path) as partial:
        partial.write_bytes(message.SerializeToString())


def _kind(message: Message) -> str:
    return MODEL if isinstance(message, NetParameter) else STATE


def _unreadable(path: str | os.PathLike[str], content: bytes, message: Message) -> FormatError:
    found, expected = looks_like(content), _kind(message)
    if found == expected:
        return FormatError(
            f"{path}: the file is cut off or damaged after {len(content)} bytes of {found}; copy it again"
        )
    return FormatError(f"{path}: {expected} expected, but this is {found}")
