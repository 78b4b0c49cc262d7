"""Read and write .prototxt files: nets, solvers and label mappings as protobuf text."""

from __future__ import annotations

import logging
from functools import lru_cache
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from google.protobuf import text_format
from google.protobuf.message import Message

from cdeep3m.errors import FormatError, MissingFileError
from cdeep3m.proto.caffe_pb2 import LabelProbMappingParameter, LayerParameter, NetParameter, SolverParameter
from cdeep3m.proto.edit import with_fields
from cdeep3m.proto.foreign import TEXT, looks_like
from cdeep3m.proto.unknown import unknown_fields
from cdeep3m.proto.upgrade import upgraded
from cdeep3m.system.files import MOST_TEXT, demand_file, write_text

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Sequence

    from google.protobuf.descriptor import Descriptor, FieldDescriptor

    from cdeep3m.proto.unknown import UnknownField

M = TypeVar("M", bound=Message)

OLD_INPUT_AXES = 4
"""Numbers that `input_dim` gives for each input in Caffe's own nets."""

ND_INPUT_AXES = 5
"""Numbers that people give for the inputs (n, c, x, y, z) of CDeep3M's nets."""

logger = logging.getLogger(__name__)


def read_net(path: str | os.PathLike[str]) -> NetParameter:
    """Read a net (deploy.prototxt, train_val.prototxt).

    Parameters
    ----------
    path : path
        Protobuf text of a NetParameter; comments are fine. A net in Caffe's format before 2014 is upgraded.

    Returns
    -------
    NetParameter
        Without the fields that are not known here, where the net computes the same without them: other forks and later
        editions annotate their nets. A warning names them.

    Raises
    ------
    MissingFileError
        `path` is not there.
    FormatError
        It is no net, or says how a layer computes in a field that is not known here; file and line are in the message.
    """
    net = _upgraded(path, _read(path, NetParameter()))
    if not net.layer:
        raise FormatError(f"{path}: expected a net, but the file holds no `layer`")
    return net


def read_solver(path: str | os.PathLike[str]) -> SolverParameter:
    """Read a solver.prototxt.

    Raises
    ------
    MissingFileError
        `path` is not there.
    FormatError
        It is no solver, or has a field that is not known here; file and line are in the message.
    """
    solver = _read(path, SolverParameter())
    for net in (solver.net_param, solver.train_net_param, *solver.test_net_param):
        if net.layers:
            net.CopyFrom(_upgraded(path, net))
    return solver


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


def write_changes(path: str | os.PathLike[str], message: Message) -> None:
    """Write what `message` changes of the one in `path`, whole or not at all; comments stay where they are.

    Without a change the file is left alone. Where lists or messages within it change it is written anew, without
    comments.

    Raises
    ------
    MissingFileError, FormatError
        `path` is not there, or holds no such message.
    """
    before = _read(path, type(message)())
    if before == message:
        return
    changed = [field for field, value in message.ListFields() if (field, value) not in before.ListFields()]
    values = {field.name: _value_text(message, field) for field in changed if not field.is_repeated}
    cleared = {field.name for field, _ in before.ListFields()} - {field.name for field, _ in message.ListFields()}
    text = with_fields(_text(Path(path)), values, without=cleared)
    write_text(path, text if _says(text, message) else text_format.MessageToString(message))


def _value_text(message: M, field: FieldDescriptor) -> str:
    one = type(message)()
    if field.message_type:
        getattr(one, field.name).CopyFrom(getattr(message, field.name))
    else:
        setattr(one, field.name, getattr(message, field.name))
    return text_format.MessageToString(one).partition(":")[2].strip()


def _says(text: str, message: M) -> bool:
    """Return whether protobuf text says just what `message` does."""
    try:
        return text_format.Parse(text, type(message)()) == message
    except text_format.ParseError:
        return False


def likeliest_kind(path: str | os.PathLike[str], kinds: Sequence[type[M]]) -> type[M]:
    """Return which of `kinds` the message in a .prototxt is: the one that knows most of its fields.

    Raises
    ------
    MissingFileError
        `path` is not there.
    FormatError
        It is no text.
    """
    text = _text(Path(path))
    return min(kinds, key=lambda kind: _strangers(text, kind))


def _strangers(text: str, kind: type[Message]) -> float:
    """Return how many fields of `text` a message of this kind does not have."""
    descriptor = cast("Descriptor", kind.DESCRIPTOR)
    try:
        return sum(field.message == descriptor.name for field in unknown_fields(text, descriptor))
    except text_format.ParseError:
        return inf


def input_shapes(net: NetParameter, layers: Iterable[LayerParameter] | None = None) -> dict[str, tuple[int, ...]]:
    """Return the blobs that a net is fed with, and their shapes.

    Parameters
    ----------
    net : NetParameter
        A net whose inputs are declared by `input` with `input_shape` or `input_dim`, or by layers of type Input.
    layers : iterable of LayerParameter, optional
        The layers that count, those of one phase for example; default: all.

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
    given = [layer for layer in (net.layer if layers is None else layers) if layer.type == "Input"]
    for layer in given:
        shapes.update(zip(layer.top, _shapes_of_input_layer(layer), strict=False))
    wanted = [*net.input, *(top for layer in given for top in layer.top)]
    missing = [name for name in wanted if name not in shapes]
    if missing:
        raise FormatError(f"input `{missing[0]}` of the net has no shape: give it an `input_shape` (or `input_dim`)")
    return shapes


def _read(path: str | os.PathLike[str], message: M) -> M:
    text = _text(Path(path))
    try:
        _parse(path, text, message)
    except RecursionError as error:
        raise FormatError(f"{path} is no readable .prototxt file (it is nested too deeply). Make it again") from error
    except text_format.ParseError as error:
        raise FormatError(_parse_error(path, error, type(message).__name__)) from error
    if not message.ListFields():
        raise FormatError(f"{path}: expected a {type(message).__name__}, but the file is empty")
    return message


def _parse(path: str | os.PathLike[str], text: str, message: Message) -> None:
    """Fill `message` from `text`; a field that is not known is left out where that is harmless, or else an error."""
    try:
        text_format.Parse(text, message)
    except text_format.ParseError:
        unknown = _unknown_fields(text, message)
        if not unknown:
            raise
        _refuse(path, [field for field in unknown if not field.harmless])
        message.Clear()
        text_format.Parse(text, message, allow_unknown_field=True)
        if isinstance(message, NetParameter) and not (message.layer or message.layers):
            raise
        _warn(f"{path}: fields that are not known here are left out: {_list(unknown)}")


def _unknown_fields(text: str, message: Message) -> list[UnknownField]:
    """Return the unknown fields of `text`, none where it is no protobuf text."""
    try:
        return list(unknown_fields(text, cast("Descriptor", message.DESCRIPTOR)))
    except text_format.ParseError:
        return []


def _refuse(path: str | os.PathLike[str], unknown: Sequence[UnknownField]) -> None:
    if unknown:
        field = unknown[0]
        meant = f", but {field.meant}" if field.meant else ""
        raise FormatError(
            f'{path}, line {field.line}: a {field.message} has no field named "{field.name}"{meant}. Mend its name, '
            "or delete it where the result is the same without it"
        )


@lru_cache(maxsize=256)
def _warn(message: str) -> None:
    """Log a warning, once in a process: a net is read more than once in a run."""
    logger.warning("%s", message)


def _list(unknown: Sequence[UnknownField]) -> str:
    """Return names and first lines of `unknown`."""
    lines: dict[str, int] = {}
    for field in unknown:
        lines.setdefault(field.name, field.line)
    return ", ".join(f"{name} (line {line})" for name, line in lines.items())


def _upgraded(path: str | os.PathLike[str], net: NetParameter) -> NetParameter:
    try:
        return upgraded(net)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None


def _text(path: Path) -> str:
    try:
        if path.exists() and not path.is_dir():
            demand_file(path, most=MOST_TEXT)
        content = path.read_bytes()
    except FileNotFoundError:
        raise MissingFileError(f"{path} is not there; expected a .prototxt file") from None
    except IsADirectoryError:
        raise MissingFileError(f"{path} is a folder; expected a .prototxt file") from None
    kind = looks_like(content) if content else TEXT
    if kind != TEXT:
        raise FormatError(f"{path}: expected a .prototxt (text), but this is {kind}")
    return content.decode("utf-8-sig", errors="replace")


def _parse_error(path: str | os.PathLike[str], error: text_format.ParseError, kind: str) -> str:
    line = error.GetLine()
    what = str(error).removeprefix(f"{line}:{error.GetColumn()} : ")
    where = f"{path}, line {line}" if line is not None else str(path)
    return f"{where}: {' '.join(what.split()).rstrip('.')}; expected protobuf text of a {kind}"


def _declared_shapes(net: NetParameter) -> Iterator[tuple[int, ...]]:
    if net.input_shape:
        return (tuple(shape.dim) for shape in net.input_shape)
    dims = list(net.input_dim)
    axes = ND_INPUT_AXES if len(dims) == ND_INPUT_AXES * len(net.input) else OLD_INPUT_AXES
    return (tuple(dims[i : i + axes]) for i in range(0, len(dims) - axes + 1, axes))


def _shapes_of_input_layer(layer: LayerParameter) -> list[tuple[int, ...]]:
    """Return the shapes of an Input layer; one shape serves all tops, as in BVLC Caffe's input_layer.cpp."""
    shapes = [tuple(shape.dim) for shape in layer.input_param.shape]
    return shapes * len(layer.top) if len(shapes) == 1 else shapes
