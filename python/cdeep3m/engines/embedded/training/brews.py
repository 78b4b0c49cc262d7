"""What Caffe's tool does beside training: test a net, time it, and describe the GPUs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from cdeep3m.engines.embedded.net.executor import Net
from cdeep3m.engines.embedded.training.batches import loss_weights, total_loss
from cdeep3m.engines.embedded.training.glog import number
from cdeep3m.errors import EngineError, InputError
from cdeep3m.proto import caffe_pb2
from cdeep3m.proto.caffemodel import read_model
from cdeep3m.proto.prototxt import read_net

if TYPE_CHECKING:
    from pathlib import Path

    from cdeep3m.engines.embedded.training.glog import GLog

MILLISECONDS = 1000.0


def score_net(
    model: Path, weights: Path, *, iterations: int, device: torch.device, log: GLog
) -> dict[str, list[float]]:
    """Run the net's TEST phase on some batches and log what it scores, as `caffe test` does.

    Parameters
    ----------
    model : Path
        The net, with layers that read data; paths in it are relative to the current folder.
    weights : Path
        Its .caffemodel.
    iterations : int
        Batches.
    device : torch.device
        What runs it.
    log : GLog
        Gets the scores of every batch, and their means.

    Returns
    -------
    dict of str to list of float
        Mean of every value of every output, by the outputs' names in ascending order.

    Raises
    ------
    InputError
        Fewer iterations than 1.
    NetError
        The net cannot be built, or its weights do not fit.
    """
    _demand_iterations(iterations)
    net = _net(model, caffe_pb2.TEST, device)
    net.load_weights(read_model(weights))
    log.info("caffe.cpp:252", f"Running for {iterations} iterations.")
    sums: dict[str, torch.Tensor] = {}
    loss = 0.0
    with torch.no_grad():
        for batch in range(iterations):
            result = net.forward(_zeros(net), keep=tuple(loss_weights(net)))
            loss += float(total_loss(net, result)) if loss_weights(net) else 0.0
            for name in sorted(net.outputs):
                values = result[name].detach().reshape(-1).double().cpu()
                sums[name] = sums.get(name, torch.zeros_like(values)) + values
                for value in values.tolist():
                    log.info("caffe.cpp:275", f"Batch {batch}, {name} = {number(value)}")
    log.info("caffe.cpp:280", f"Loss: {number(loss / iterations)}")
    means = {name: (total / iterations).tolist() for name, total in sums.items()}
    for name, outputs in means.items():
        weight = loss_weights(net).get(name, 0.0)
        for value in outputs:
            share = f" (* {number(weight)} = {number(weight * value)} loss)" if weight else ""
            log.info("caffe.cpp:292", f"{name} = {number(value)}{share}")
    return means


def time_net(model: Path, *, iterations: int, device: torch.device, log: GLog) -> None:
    """Log how long a net takes forwards, and backwards where it has a loss, as `caffe time` does.

    Parameters
    ----------
    model : Path
        The net, in its TRAIN phase; inputs without data are zeros.
    iterations : int
        Passes.
    device : torch.device
        What runs it.
    log : GLog
        Gets every pass, and the means.

    Raises
    ------
    InputError
        Fewer iterations than 1.
    NetError
        The net cannot be built.
    """
    _demand_iterations(iterations)
    net = _net(model, caffe_pb2.TRAIN, device)
    losses = tuple(loss_weights(net))
    _pass(net, losses, device)
    log.info("caffe.cpp:323", "*** Benchmark begins ***")
    log.info("caffe.cpp:324", f"Testing for {iterations} iterations.")
    forwards = backwards = 0.0
    for iteration in range(1, iterations + 1):
        forward, backward = _pass(net, losses, device)
        forwards, backwards = forwards + forward, backwards + backward
        both = number(forward + backward)
        log.info("caffe.cpp:352", f"Iteration: {iteration} forward-backward time: {both} ms.")
    log.info("caffe.cpp:366", f"Average Forward pass: {number(forwards / iterations)} ms.")
    if losses:
        log.info("caffe.cpp:368", f"Average Backward pass: {number(backwards / iterations)} ms.")
        log.info("caffe.cpp:370", f"Average Forward-Backward: {number((forwards + backwards) / iterations)} ms.")
    else:
        log.warning("caffe.cpp:368", "The net has no loss: nothing was run backwards.")
    log.info("caffe.cpp:372", f"Total Time: {number(forwards + backwards)} ms.")
    log.info("caffe.cpp:373", "*** Benchmark ends ***")


def describe_devices(gpus: list[int] | None, *, log: GLog) -> None:
    """Log what PyTorch knows of the CUDA devices, all or those of the numbers, as `caffe device_query` does.

    Raises
    ------
    EngineError
        There is no such device.
    """
    count = torch.cuda.device_count()
    wanted = list(range(count)) if gpus is None else gpus
    if not count or not set(wanted) <= set(range(count)):
        raise EngineError(f"PyTorch sees {count} CUDA devices here: expected {_listed(gpus)}; see `cdeep3m engines`")
    for gpu in wanted:
        found = torch.cuda.get_device_properties(gpu)
        log.info("common.cpp:186", f"Device id:                     {gpu}")
        log.info("common.cpp:187", f"Major revision number:         {found.major}")
        log.info("common.cpp:188", f"Minor revision number:         {found.minor}")
        log.info("common.cpp:189", f"Name:                          {found.name}")
        log.info("common.cpp:190", f"Total global memory:           {found.total_memory}")
        log.info("common.cpp:206", f"Number of multiprocessors:     {found.multi_processor_count}")


def _listed(gpus: list[int] | None) -> str:
    return "one at least" if gpus is None else f"number {', '.join(map(str, gpus))}"


def _demand_iterations(iterations: int) -> None:
    if iterations < 1:
        raise InputError(f"--iterations={iterations}: expected a number of at least 1")


def _net(model: Path, phase: int, device: torch.device) -> Net:
    return Net(read_net(model), phase=phase, device=device, generator=torch.Generator().manual_seed(0))


def _zeros(net: Net) -> dict[str, torch.Tensor]:
    return {name: torch.zeros(shape, device=net.context.device) for name, shape in net.input_shapes.items()}


def _pass(net: Net, losses: tuple[str, ...], device: torch.device) -> tuple[float, float]:
    """Run a net forwards, and backwards from its losses; return how many milliseconds each took."""
    begin = _now(device)
    with torch.set_grad_enabled(bool(losses)):
        result = net.forward(_zeros(net), keep=losses)
    middle = _now(device)
    if losses:
        total_loss(net, result).backward()
    return MILLISECONDS * (middle - begin), MILLISECONDS * (_now(device) - middle)


def _now(device: torch.device) -> float:
    """Return the time when all that was asked of `device` is done, seconds."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
