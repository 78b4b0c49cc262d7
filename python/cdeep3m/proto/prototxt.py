"""Read and write .prototxt files: nets, solvers and label mappings as protobuf text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from cdeep3m.errors import FormatError, MissingFileError
from cdeep3m.files import write_text
from cdeep3m.proto.caffe_pb2 import LabelProbMappingParameter, NetParameter, SolverParameter
from cdeep3m.proto.foreign import TEXT, looks_like

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

M = TypeVar("M", bound=Message)

OLD_INPUT_AXES = 4
"""Numbers that `input_dim` gives for each input."""


def read_net(path: str | os.PathLike[str]) -> NetParameter:
    """Read a net (deploy.prototxt, train_val.prototxt).

    Parameters
    ----------
    path : path
        Protobuf text of a NetParameter; comments are fine.

    Returns
    -------
    NetParameter

    Raises
    ------
    MissingFileError
        `path` is not there.
    FormatError
        It is no net, names an unknown field (the message gives file and line), or is in Caffe's format before 2014.
    """
    net = _read(path, NetParameter())
    if net.layers:
        raise FormatError(
            f"{path}: this net is in Caffe's old format (`layers`), the one of 2014 (`layer`) was expected. "
            "Convert it with Caffe's upgrade_net_proto_text."
        )
    if not net.layer:
        raise FormatError(f"{path}: a net was expected, but the file holds no `layer`.")
    return net


def read_solver(path: str | os.PathLike[str]) -> SolverParameter:
    """Read a solver.prototxt.

    Raises
    ------
    MissingFileError
        `path` is not there.
    FormatError
        It is no solver; file and line are in the message.
    """
    return _read(path, SolverParameter())


def read_label_mapping(path: str | os.PathLike[str]) -> LabelProbMappingParameter:
    """Read a label_class_selection.prototxt: how often patches around each class are drawn.

    Raises
    ------
    MissingFileError
        `path` is not there.
    FormatError
        It is no label mapping; file and line are in the message.
    """
    return _read(path, LabelProbMappingParameter())


def write(path: str | os.PathLike[str], message: Message) -> None:
    """Write `message` as protobuf text to `path`, whole or not at all."""
    write_text(path, text_format.MessageToString(message))


def input_shapes(net: NetParameter) -> dict[str, tuple[int, ...]]:
    """Return the blobs that a net is fed with, and their shapes.

    Parameters
    ----------
    net : NetParameter
        A net whose inputs are declared by `input` with `input_shape` or `input_dim`, or by layers of type Input.

    Returns
    -------
    dict of str to tuple of int
        Shape of each input blob, axes (n, c, x, y[, z]), in the order declared; empty when the net reads files itself.

    Raises
    ------
    FormatError
        An input without a shape.

    Examples
    --------
    >>> input_shapes(NetParameter(input=["data"], input_dim=[1, 1, 32, 48]))
    {'data': (1, 1, 32, 48)}
    """
    shapes = dict(zip(net.input, _declared_shapes(net), strict=False))
    for layer in net.layer:
        if layer.type == "Input":
            shapes.update(zip(layer.top, _shapes_of_input_layer(layer), strict=False))
    wanted = [*net.input, *(top for layer in net.layer if layer.type == "Input" for top in layer.top)]
    missing = [name for name in wanted if name not in shapes]
    if missing:
        raise FormatError(f"input `{missing[0]}` of the net has no shape: give it an `input_shape` (or 4 `input_dim`).")
    return shapes


def _read(path: str | os.PathLike[str], message: M) -> M:
    text = _text(Path(path))
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise FormatError(_parse_error(path, error, type(message).__name__)) from error
    if not message.ListFields():
        raise FormatError(f"{path}: a {type(message).__name__} was expected, but the file is empty.")
    return message


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise MissingFileError(f"{path} is not there; a .prototxt file was expected.") from None
    except IsADirectoryError:
        raise MissingFileError(f"{path} is a folder; a .prototxt file was expected.") from None
    kind = looks_like(content) if content else TEXT
    if kind != TEXT:
        raise FormatError(f"{path}: a .prototxt (text) was expected, but this is {kind}.")
    return content.decode("utf-8-sig", errors="replace")


def _parse_error(path: str | os.PathLike[str], error: text_format.ParseError, kind: str) -> str:
    line = error.GetLine()
    what = str(error).removeprefix(f"{line}:{error.GetColumn()} : ")
    where = f"{path}, line {line}" if line is not None else str(path)
    return f"{where}: {' '.join(what.split()).rstrip('.')}. Protobuf text of a {kind} was expected."


def _declared_shapes(net: NetParameter) -> Iterator[tuple[int, ...]]:
    if net.input_shape:
        return (tuple(shape.dim) for shape in net.input_shape)
    dims = list(net.input_dim)
    return (tuple(dims[i : i + OLD_INPUT_AXES]) for i in range(0, len(dims) - OLD_INPUT_AXES + 1, OLD_INPUT_AXES))


def _shapes_of_input_layer(layer: Message) -> list[tuple[int, ...]]:
    """Return the shapes of an Input layer; one shape serves all tops, as in BVLC Caffe's input_layer.cpp."""
    if "input_param" not in layer.DESCRIPTOR.fields_by_name:
        return []
    shapes = [tuple(shape.dim) for shape in layer.input_param.shape]  # type: ignore[attr-defined]
    return shapes * len(layer.top) if len(shapes) == 1 else shapes  # type: ignore[attr-defined]
