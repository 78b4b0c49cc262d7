"""What a .prototxt, .caffemodel or .solverstate holds, in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cdeep3m.errors import FormatError, MissingFileError, MissingModelError, reading
from cdeep3m.models.verify import net_folders, parameters_in, shapes_of
from cdeep3m.nets.fits import Fit, fit_of_history, fit_of_layers
from cdeep3m.nets.shapes import Shape, blob_shapes
from cdeep3m.proto import prototxt
from cdeep3m.proto.caffe_pb2 import LabelProbMappingParameter, NetParameter, SolverParameter
from cdeep3m.proto.caffemodel import blob_shape, read_model, read_state
from cdeep3m.proto.foreign import MODEL, PROBED, STATE, TEXT, looks_like
from cdeep3m.runs.trained import MODEL_SUFFIX, iteration_of, predicting_weights, weights_in

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NET = "a net (.prototxt)"
SOLVER = "the settings of a training (.prototxt)"
MAPPING = "how patches of each class are drawn (.prototxt)"

Value = str | int | float


@dataclass(frozen=True)
class LayerInfo:
    """One layer of a file.

    Attributes
    ----------
    name, type : str
        As the file has them; the type is empty in a solver state, which has none.
    blobs : sequence of tuple of int, or None
        Shapes of its learnable blobs; None where they depend on more than the net's message says.
    """

    name: str
    type: str
    blobs: Sequence[Shape] | None


@dataclass(frozen=True, kw_only=True)
class FileInfo:
    """What a file holds.

    Attributes
    ----------
    kind : str
        What it is.
    facts : dict
        What else it says, by a name for it.
    layers : sequence of LayerInfo
        In order; empty for files without layers.
    fit : Fit or None
        Which of DeepEM3D's nets its weights fit, or come nearest to.
    """

    kind: str
    facts: dict[str, Value]
    layers: Sequence[LayerInfo] = ()
    fit: Fit | None = None

    @property
    def parameters(self) -> int:
        """How many numbers the known blobs hold."""
        return parameters_in({str(i): layer.blobs or () for i, layer in enumerate(self.layers)})

    @property
    def unknown(self) -> list[str]:
        """Names of the layers whose blobs are not known."""
        return [layer.name for layer in self.layers if layer.blobs is None]


def info(path: Path) -> FileInfo:
    """Tell what a file of weights, a solver state or a prototxt holds.

    Parameters
    ----------
    path : Path
        A .caffemodel, .solverstate or .prototxt, by its content and not by its name.

    Returns
    -------
    FileInfo

    Raises
    ------
    MissingFileError
        `path` is not there.
    FormatError
        It is none of these, or damaged.
    """
    if not path.is_file():
        raise MissingFileError(f"{path} is no file; expected a .caffemodel, .solverstate or .prototxt")
    with reading(path, "model or net"):
        return _info(path)


def _info(path: Path) -> FileInfo:
    with open(path, "rb") as file:
        kind = looks_like(file.read(PROBED))
    if kind == MODEL or (kind != STATE and path.suffix == ".caffemodel"):
        return _model_info(path)
    if kind == STATE or path.suffix == ".solverstate":
        return _state_info(path)
    if kind != TEXT:
        raise FormatError(f"{path} is {kind}; expected a .caffemodel, .solverstate or .prototxt")
    return _prototxt_info(path)


def _model_info(path: Path) -> FileInfo:
    model = read_model(path)
    layers = [LayerInfo(each.name, each.type, [blob_shape(blob) for blob in each.blobs]) for each in model.layer]
    iteration = iteration_of(path)
    facts: dict[str, Value] = {} if iteration is None else {"iteration": iteration}
    facts |= {"net": model.name or "(without a name)"}
    return FileInfo(kind=MODEL, facts=facts, layers=layers, fit=fit_of_layers(shapes_of(model)))


def _state_info(path: Path) -> FileInfo:
    """Describe a solver state; where its history is that of a known net, blobs get the names of that net's layers."""
    state = read_state(path)
    shapes = [blob_shape(blob) for blob in state.history]
    fit = fit_of_history(shapes)
    layers = [LayerInfo(f"history {i}", "", [shape]) for i, shape in enumerate(shapes)]
    if fit:
        layers = [LayerInfo(name, "", blobs) for name, blobs in fit.shapes.items()]
    facts: dict[str, Value] = {"iteration": state.iter, "weights": state.learned_net, "step": state.current_step}
    return FileInfo(kind=STATE, facts=facts, layers=layers, fit=fit)


def _prototxt_info(path: Path) -> FileInfo:
    readers = {NetParameter: _net_info, SolverParameter: _solver_info, LabelProbMappingParameter: _mapping_info}
    return readers[prototxt.likeliest_kind(path, tuple(readers))](path)


def _net_info(path: Path) -> FileInfo:
    net = prototxt.read_net(path)
    shapes = blob_shapes(net)
    layers = [LayerInfo(each.name, each.type, shapes[each.name]) for each in net.layer]
    facts: dict[str, Value] = {"net": net.name or "(without a name)"}
    facts |= {f"input {name}": _times(shape) for name, shape in prototxt.input_shapes(net).items()}
    known = {name: blobs for name, blobs in shapes.items() if blobs}
    return FileInfo(kind=NET, facts=facts, layers=layers, fit=fit_of_layers(known))


def _solver_info(path: Path) -> FileInfo:
    solver = prototxt.read_solver(path)
    facts: dict[str, Value] = {
        field.name: _said(field, value) for field, value in solver.ListFields() if field.message_type is None
    }
    return FileInfo(kind=SOLVER, facts=facts)


def _mapping_info(path: Path) -> FileInfo:
    mapping = prototxt.read_label_mapping(path)
    facts: dict[str, Value] = {
        f"label {each.label}": f"{each.label_name or '(without a name)'}, {each.prob:g}"
        for each in mapping.label_prob_mapping_info
    }
    return FileInfo(kind=MAPPING, facts=facts)


def _said(field: Any, value: Any) -> str:
    """Return the value of a field as a .prototxt has it, several with commas between them."""
    values = value if field.is_repeated else [value]
    if field.enum_type is not None:
        return ", ".join(field.enum_type.values_by_number[each].name for each in values)
    return ", ".join(f"{each:g}" if isinstance(each, float) else str(each) for each in values)


def _times(shape: Shape) -> str:
    return " x ".join(map(str, shape))


def net_infos(folder: Path) -> list[tuple[Path, FileInfo]]:
    """Describe the weights that predict of every trained net of a training folder, or of a net's own folder.

    Raises
    ------
    MissingModelError
        There is no trained net.
    FormatError
        Weights that are damaged.
    """
    nets = [net for net in (folder, *net_folders(folder)) if weights_in(net / "trainedmodel")]
    if not nets:
        raise MissingModelError(
            f"no trained model in {folder}: expected <net>/trainedmodel/*{MODEL_SUFFIX}, or a file to describe"
        )
    chosen = (predicting_weights(net / "trainedmodel") for net in nets)
    return [(path, info(path)) for path in chosen if path]
