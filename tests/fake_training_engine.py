"""An engine that trains nothing, but writes the snapshots that a training would."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cdeep3m.engines.base import CPU, Progress
from cdeep3m.errors import EngineError
from cdeep3m.proto import caffemodel, prototxt
from cdeep3m.proto.caffe_pb2 import LayerParameter, NetParameter, SolverState
from cdeep3m.runs.trained import iteration_of


@dataclass
class FakeTrainingEngine:
    """Takes one snapshot every `snapshot` iterations up to `stops_at`, where it fails; remembers its jobs."""

    stops_at: int | None = None
    jobs: list = field(default_factory=list)
    name: str = "fake"

    def check(self):
        return []

    def gpus(self):
        return []

    def device(self, gpu):
        return "nothing at all" if gpu == CPU else f"GPU {gpu}"

    def predict(self, job, *, report=None):
        raise NotImplementedError

    def train(self, job, *, report=None):
        self.jobs.append(job)
        solver = prototxt.read_solver(job.solver)
        begin = iteration_of(job.snapshot) if job.snapshot else 0
        for iteration in range(begin + 1, solver.max_iter + 1):
            if self.stops_at == iteration:
                raise EngineError(f"stopped at iteration {iteration}")
            if iteration % solver.snapshot == 0 or iteration == solver.max_iter:
                write_snapshot(solver.snapshot_prefix, iteration)
                weights = Path(f"{solver.snapshot_prefix}_iter_{iteration}.caffemodel")
                if job.after_snapshot and job.after_snapshot(weights):
                    return
            if report:
                report(Progress(iteration, solver.max_iter, 1 / iteration))


class InProcess(FakeTrainingEngine):
    """The same, as an engine in this process."""

    def load(self, model, *, gpu=CPU, precision="float32"):
        raise NotImplementedError


def write_snapshot(prefix, iteration):
    """Write a model and a state that can be read."""
    name = f"{prefix}_iter_{iteration}"
    caffemodel.write_model(f"{name}.caffemodel", NetParameter(layer=[LayerParameter(name=str(iteration))]))
    caffemodel.write_state(f"{name}.solverstate", SolverState(iter=iteration, learned_net=f"{name}.caffemodel"))
