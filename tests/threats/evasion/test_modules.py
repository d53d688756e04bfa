"""Using a module leaves no trace in it, and where its numbers are is known before bounds are asked for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modelward.threats.evasion.modules import as_evaluated, elsewhere


class Shifted(nn.Module):
    """A module of a buffer alone."""

    def __init__(self, device):
        super().__init__()
        self.register_buffer("shift", torch.zeros(2, device=device))


def test_numbers_on_the_cpu_are_nowhere_else():
    assert elsewhere(nn.Linear(2, 2)) is None
    assert elsewhere(nn.ReLU()) is None
    assert elsewhere(Shifted("cpu")) is None


@pytest.mark.parametrize(
    "module",
    [nn.Linear(2, 2, device="meta"), Shifted("meta"), nn.Sequential(nn.Linear(2, 2), Shifted("meta"))],
)
def test_a_parameter_or_a_buffer_elsewhere_is_seen(module):
    assert elsewhere(module) == "meta"


def test_every_part_gets_its_own_mode_back_even_after_an_error():
    net = nn.Sequential(nn.Dropout(), nn.Sequential(nn.BatchNorm1d(2), nn.ReLU()))
    net[1].eval()
    net[1][1].train()
    before = [part.training for part in net.modules()]
    assert len(set(before)) == 2

    def fail():
        with as_evaluated(net):
            assert not any(part.training for part in net.modules())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [part.training for part in net.modules()] == before
