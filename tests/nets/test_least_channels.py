"""Compact nets that keep some channels everywhere."""

from __future__ import annotations

import pytest

from cdeep3m.errors import InputError
from cdeep3m.nets.prototxts import DEPLOY, NETS, TRAIN_VAL, NetMake, deploy, messages


def channels(net):
    return [each.convolution_param.num_output for each in net.layer if each.HasField("convolution_param")]


@pytest.mark.parametrize("net", NETS)
def test_every_layer_keeps_so_many_channels_as_are_asked_for_where_it_has_them(net):
    full, made = channels(deploy(net)), messages(net, make=NetMake(width=8, least_channels=16))
    expected = [min(wide, max(16, wide // 8)) if wide > 2 else wide for wide in full]
    assert channels(made[DEPLOY]) == expected
    assert channels(made[TRAIN_VAL]) == expected
    assert min(expected) == 2
    assert max(expected) == max(full) // 8


def test_without_it_nets_are_those_of_before():
    assert deploy("1fm", width=8) == deploy("1fm", width=8, least=2)


def test_fewer_channels_than_classes_are_refused():
    with pytest.raises(InputError, match="--least_channels 1: expected at least 2"):
        NetMake(least_channels=1)
