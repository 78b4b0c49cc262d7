"""Iterations that fit into the time that a training is given."""

from __future__ import annotations

import pytest

from cdeep3m.errors import InputError
from cdeep3m.training.estimate import CALIBRATION, NetCost
from cdeep3m.training.planning import Snapshots, divide


def cost(net, iteration, **others):
    values = {"start": 2.0, "test": 0.0, "score": 0.0, "iterations": 0, "tests": 0} | others
    return NetCost(net=net, iteration=iteration, **values)


def seconds(one, planned, snapshots):
    """How long a net will take."""
    return one.start + (planned[one.net] - 1) * one.iteration + snapshots.seconds(one)


@pytest.mark.parametrize("shares", [{"1fm": 1, "3fm": 1}, {"1fm": 1, "3fm": 3}])
def test_every_net_takes_its_share_of_the_time_and_no_more(shares):
    costs = [cost("1fm", 0.25, test=1.0, score=2.0), cost("3fm", 0.5, test=2.0, score=3.0)]
    snapshots = Snapshots(count=4, scored=True, calibrated=True)
    planned = divide(costs, left=400, seconds=400, shares=shares, snapshots=snapshots)
    for one in costs:
        mine = 400 * shares[one.net] / sum(shares.values())
        assert mine - one.iteration < seconds(one, planned, snapshots) <= mine


def test_scores_and_the_calibration_are_counted_where_they_are_made():
    one = cost("1fm", 1.0, test=1.0, score=2.0)
    assert Snapshots(count=4).seconds(one) == 4
    assert Snapshots(count=4, scored=True).seconds(one) == 12
    assert Snapshots(count=4, scored=True, calibrated=True).seconds(one) == 12 + 2 * CALIBRATION


def test_too_little_time_is_refused_with_what_is_needed():
    with pytest.raises(InputError, match="--time 30s: 15 s are left for 5fm, which needs 29 s for 10 iterations"):
        divide(
            [cost("1fm", 0.1), cost("5fm", 3.0)],
            left=30,
            seconds=30,
            shares={"1fm": 1, "5fm": 1},
            snapshots=Snapshots(count=1),
        )
