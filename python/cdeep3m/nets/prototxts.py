"""The four .prototxt files of each network: deploy, train_val, solver and label_class_selection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdeep3m.errors import InputError
from cdeep3m.matlab_ports.create_train_job import snapshot_name
from cdeep3m.nets import irregular
from cdeep3m.nets.binning import ENLARGE, binned, enlarged
from cdeep3m.nets.inception import CLASSES, class_scores, stem_3d
from cdeep3m.nets.spec import Blob, drop_last_axis, input_blob, layer
from cdeep3m.proto import prototxt
from cdeep3m.proto.caffe_pb2 import (
    PREDICT,
    TEST,
    TRAIN,
    AccuracyParameter,
    DataProviderParameter,
    FillerParameter,
    LabelProbMapping,
    LabelProbMappingParameter,
    LabelSelectParameter,
    NetParameter,
    NetStateRule,
    PatchSamplerParameter,
    PatchShape,
    SolverParameter,
    TransformationNDParameter,
)

if TYPE_CHECKING:
    from pathlib import Path

    from google.protobuf.message import Message

    from cdeep3m.proto.caffe_pb2 import Phase

FRAMES = {"1fm": 1, "3fm": 3, "5fm": 5}
"""Planes that each net sees at once."""

NETS = tuple(FRAMES)

PATCH_SIDE = 320
INPUT_SIDE = 1024
SIDE_STEP = 16
"""Sides of inputs and patches are multiples of it."""
BN_FRACTION = 0.999
"""Caffe's default moving_average_fraction."""

MOST_CLASSES = 255
"""Labels of training volumes are bytes, and 255 is the one that is left out."""
BATCH, TEST_BATCH = 5, 2
"""Patches in a batch, for training and for testing."""
INITIALISATIONS = ("original", "msra", "xavier")
BINNINGS = (1, 2)

DEPLOY = "deploy.prototxt"
TRAIN_VAL = "train_val.prototxt"
SOLVER = "solver.prototxt"
LABEL_CLASS_SELECTION = "label_class_selection.prototxt"

TRAIN_LIST = "train_file.txt"
VALID_LIST = "valid_file.txt"

LR_POLICIES = ("fixed", "step", "exp", "inv", "multistep", "poly", "sigmoid")
"""How Caffe's solvers let the learning rate fall."""


@dataclass(frozen=True, kw_only=True)
class NetMake:
    """How the nets of a training differ from DeepEM3D's; the defaults are those.

    Attributes
    ----------
    width : int
        Divisor of the numbers of channels, for compact nets of the same topology.
    least_channels : int
        Channels that `width` leaves at least, where there are so many.
    patch_side : int
        Side of the square training patches, a multiple of 16, of 32 where pixels are binned.
    bn_fraction : float
        How much of its running statistics BatchNorm keeps with every batch. The nets' own 0.999 averages over some
        thousand batches; a shorter training needs a shorter memory, or its nets predict with statistics of their start.
    classes : int
        How many there are, background among them.
    batch : int
        Patches in a batch of the training.
    initialisation : {"original", "msra", "xavier"}
        What convolutions are filled with before they learn: as DeepEM3D's are, or all alike by one of Caffe's fillers.
        Those that enlarge (bilinear) stay.
    binning : {1, 2}
        Pixels along a side of the squares that a net averages before it looks; its scores are enlarged again.

    Raises
    ------
    InputError
        A value out of range.
    """

    width: int = 1
    least_channels: int = CLASSES
    patch_side: int = PATCH_SIDE
    bn_fraction: float = BN_FRACTION
    classes: int = CLASSES
    batch: int = BATCH
    initialisation: str = INITIALISATIONS[0]
    binning: int = 1

    def __post_init__(self) -> None:
        if self.width < 1:
            raise InputError(f"--width {self.width} is no divisor; expected a whole number of at least 1")
        if self.least_channels < CLASSES:
            raise InputError(f"--least_channels {self.least_channels}: expected at least {CLASSES}, as in 16")
        if self.binning not in BINNINGS:
            raise InputError(f"--binning {self.binning}: expected one of {', '.join(map(str, BINNINGS))}")
        step = SIDE_STEP * self.binning
        if self.patch_side < step or self.patch_side % step:
            binned = f" with --binning {self.binning}" if self.binning > 1 else ""
            raise InputError(f"--patch_side {self.patch_side}{binned}: expected a multiple of {step}, as in 320")
        if not 0 < self.bn_fraction < 1:
            raise InputError(f"--bn_fraction {self.bn_fraction}: expected a number between 0 and 1, as in 0.999")
        if not CLASSES <= self.classes <= MOST_CLASSES:
            raise InputError(f"--classes {self.classes}: expected a number from {CLASSES} to {MOST_CLASSES}")
        if self.batch < 1:
            raise InputError(f"--batch {self.batch}: expected a number of at least 1, as in {BATCH}")
        if self.initialisation not in INITIALISATIONS:
            raise InputError(f"--initialisation {self.initialisation}: expected one of {', '.join(INITIALISATIONS)}")


def messages(net: str, *, make: NetMake | None = None) -> dict[str, Message]:
    """Return the content of the four files of `net`, by file name."""
    make = make or NetMake()
    training = train_val(
        net,
        width=make.width,
        least=make.least_channels,
        patch_side=make.patch_side,
        batches=(make.batch, TEST_BATCH),
        classes=make.classes,
        binning=make.binning,
    )
    predicting = deploy(net, width=make.width, least=make.least_channels, classes=make.classes, binning=make.binning)
    return {
        DEPLOY: predicting,
        TRAIN_VAL: made(training, make),
        SOLVER: solver(net),
        LABEL_CLASS_SELECTION: label_class_selection(make.classes),
    }


def write_all(folder: Path) -> list[Path]:
    """Write the files of all nets into their folders under `folder`, and return their paths."""
    written = []
    for net in NETS:
        home = folder / f"inception_residual_train_prediction_{net}"
        home.mkdir(parents=True, exist_ok=True)
        for name, message in messages(net).items():
            prototxt.write(home / name, message)
            written.append(home / name)
    return written


def deploy(
    net: str,
    *,
    width: int = 1,
    least: int = CLASSES,
    sides: tuple[int, int] = (INPUT_SIDE, INPUT_SIDE),
    classes: int = CLASSES,
    binning: int = 1,
) -> NetParameter:
    """Return the net that predicts.

    Parameters
    ----------
    net : {"1fm", "3fm", "5fm"}
        Which net.
    width : int, optional
        Divisor of the numbers of channels, for compact nets of the same topology.
    least : int, optional
        Channels that it leaves at least.
    sides : tuple of int, optional
        Input size along (x, y), multiples of 16, of 32 where pixels are binned.
    classes : int, optional
        How many there are, background among them.
    binning : int, optional
        Pixels along a side of the squares that the net averages before it looks.

    Returns
    -------
    NetParameter
        From `data` (1, 1, x, y, frames) to `prob` (1, classes, x, y).
    """
    spec = NetParameter(name="BIG_N_INCEPTION_FCN")
    frames = FRAMES[net]
    data = input_blob(spec, "data", (1, 1, *sides, frames))
    layer(
        "Softmax",
        "softmaxout",
        [_scores(stem_3d(binned(data, binning, predicts=True), frames), binning, predicts=True)],
        "prob",
    )
    _free_memory_early(spec, net)
    return _scoring(spec, classes, width=width, least=least)


def train_val(
    net: str,
    *,
    width: int = 1,
    least: int = CLASSES,
    patch_side: int = PATCH_SIDE,
    batches: tuple[int, int] = (BATCH, TEST_BATCH),
    classes: int = CLASSES,
    binning: int = 1,
) -> NetParameter:
    """Return the net that trains and tests.

    Parameters
    ----------
    net : {"1fm", "3fm", "5fm"}
        Which net.
    width : int, optional
        Divisor of the numbers of channels.
    least : int, optional
        Channels that it leaves at least.
    patch_side : int, optional
        Side of the square training patches, a multiple of 16.
    batches : tuple of int, optional
        Patches in a batch, for training and for testing.
    classes : int, optional
        How many there are, background among them.
    binning : int, optional
        Pixels along a side of the squares that the net averages before it looks.

    Returns
    -------
    NetParameter
        From patches of `data` (n, 1, side, side, frames) and `label` (n, 1, side, side, 1) to loss and accuracy.
    """
    spec = NetParameter()
    frames = FRAMES[net]
    for phase, batch in zip((TRAIN, TEST), batches, strict=True):
        append_patches(spec, phase, (patch_side, patch_side, frames), batch, classes=classes)
    data, label = Blob(spec, "data"), Blob(spec, "label")
    planes = stem_3d(binned(data, binning), frames)
    drop_last_axis(label, irregular.RESHAPE)
    append_score(_scores(planes, binning), label, classes=classes)
    return _scoring(spec, classes, width=width, least=least)


def solver(net: str) -> SolverParameter:
    """Return the original's training settings for `net`."""
    return SolverParameter(
        net=TRAIN_VAL,
        test_iter=[20],
        test_interval=20 if net == "1fm" else 10,
        base_lr=1e-2,
        lr_policy="poly",
        power=0.8,
        momentum=0.9,
        weight_decay=5e-4,
        iter_size=8,
        max_iter=30000,
        display=3,
        average_loss=16,
        snapshot=2000,
        snapshot_prefix=f"trainedmodel/{snapshot_name(net)}",
        solver_mode=SolverParameter.GPU,
        test_initialization=False,
    )


def label_class_selection(classes: int = CLASSES) -> LabelProbMappingParameter:
    """Return how the classes are balanced when patches are drawn.

    The fork takes these numbers as how common a class is: it always accepts patches around the rarest classes, and one
    in four (1 / 0.3, rounded up) around background.
    """
    names = ["foreground"] if classes == CLASSES else [f"class_{label}" for label in range(1, classes)]
    info = [
        LabelProbMapping(label_name=name, label=label, prob=0.3 if label else 1.0, map2label=label)
        for label, name in enumerate(["background", *names])
    ]
    return LabelProbMappingParameter(ignore_rest_of_label=True, label_prob_mapping_info=info)


def made(net: NetParameter, make: NetMake) -> NetParameter:
    """Return a net that trains with the memory of BatchNorm and the initialisation of `make`."""
    return with_initialisation(with_bn_fraction(net, make.bn_fraction), make.initialisation)


def with_initialisation(net: NetParameter, initialisation: str) -> NetParameter:
    """Return `net` with its convolutions filled in one way, but for those that enlarge or never learn."""
    changed = NetParameter()
    changed.CopyFrom(net)
    for each in changed.layer:
        filler = each.convolution_param.weight_filler
        learns = not each.param or any(spec.lr_mult for spec in each.param)
        drawn = each.type == "Convolution" and filler.type != "bilinear" and learns
        if drawn and initialisation != INITIALISATIONS[0]:
            filler.CopyFrom(FillerParameter(type=initialisation))
    return changed


def with_bn_fraction(net: NetParameter, fraction: float) -> NetParameter:
    """Return `net` with BatchNorm layers that keep `fraction` of their running statistics; Caffe's own goes unsaid."""
    changed = NetParameter()
    changed.CopyFrom(net)
    for each in changed.layer:
        if each.type == "BatchNorm" and fraction != BN_FRACTION:
            each.batch_norm_param.moving_average_fraction = fraction
    return changed


def narrowed(net: NetParameter, width: int, *, least: int = CLASSES) -> NetParameter:
    """Return `net` with every number of channels above 2 divided by `width`, but no further than to `least`."""
    narrow = NetParameter()
    narrow.CopyFrom(net)
    for each in narrow.layer:
        if each.convolution_param.num_output > CLASSES:
            wide = each.convolution_param.num_output
            each.convolution_param.num_output = min(wide, max(least, wide // width))
    return narrow


def _scores(planes: Blob, binning: int, *, predicts: bool = False) -> Blob:
    """Append all that follows `stem_3d`; return one score per class and pixel of the images."""
    return enlarged(class_scores(planes), binning, classes=CLASSES, predicts=predicts)


def _scoring(net: NetParameter, classes: int, *, width: int, least: int) -> NetParameter:
    """Return a net of two classes narrowed, with the layers that had an output for each class scoring `classes`."""
    scoring = {each.name for each in net.layer if each.convolution_param.num_output == CLASSES}
    made = narrowed(net, width, least=least)
    for each in made.layer:
        if each.name in scoring:
            each.convolution_param.num_output = classes
        if each.name.startswith(ENLARGE) and each.type == "Deconvolution":
            each.convolution_param.group = classes
    return made


def append_patches(
    spec: NetParameter,
    phase: Phase,
    shape: tuple[int, int, int],
    batch: int,
    *,
    data: str = "data",
    classes: int = CLASSES,
) -> None:
    """Append the layer that draws training or test patches into `data` and "label".

    `patches_per_data_batch` is how often it may draw.
    """
    training = phase == TRAIN
    spec.layer.add(
        name="data",
        type="PatchData",
        top=[data, "label"],
        include=[NetStateRule(phase=phase)],
        patch_sampler_param=PatchSamplerParameter(
            batch_size=batch,
            data_patch_shape=PatchShape(dim=shape),
            label_patch_shape=PatchShape(dim=(*shape[:2], 1)),
            patches_per_data_batch=7999999 if training else 6899999,
        ),
        transform_nd_param=TransformationNDParameter(
            mirror=training, padding=True, pad_method=TransformationNDParameter.ZERO
        ),
        data_provider_param=DataProviderParameter(
            data_source=TRAIN_LIST if training else VALID_LIST,
            hdf5_file_shuffle=True,
            batch_size=16 if training else 1,
            backend=DataProviderParameter.HDF5,
        ),
        label_select_param=_label_selection(classes),
    )


def _label_selection(classes: int) -> LabelSelectParameter:
    return LabelSelectParameter(
        balance=True,
        num_labels=classes,
        num_top_label_balance=classes,
        reorder_label=False,
        class_prob_mapping_file=LABEL_CLASS_SELECTION,
    )


def append_score(scores: Blob, label: Blob, *, classes: int = CLASSES) -> None:
    """Append the class-balanced loss, and the accuracies of the test phase."""
    balanced = _label_selection(classes)
    balanced.auto_balance = True
    layer("SoftmaxWithLoss", "loss_deconv_all", [scores, label], label_select_param=balanced)
    scores.net.layer.add(
        name="accuracy_conv",
        type="Accuracy",
        bottom=[scores.name, label.name],
        top=["accuracy_conv", "class_Acc"],
        include=[NetStateRule(phase=TEST)],
        accuracy_param=AccuracyParameter(ignore_label=classes),
    )


def _free_memory_early(spec: NetParameter, net: str) -> None:
    """Mark the layers after which the fork frees what nobody reads any more (`phase: PREDICT`)."""
    for each in spec.layer:
        if each.name in irregular.freeing_layers(net):
            each.phase = PREDICT
