"""What probes say: names are taken once, and only what a record can hold is kept."""

from types import SimpleNamespace

import pytest
import torch

from lilawbench.config import compose
from lilawbench.probes.base import Probe
from lilawbench.probes.gather import measured, results
from lilawbench.probes.standard import probes_of
from lilawbench.support.errors import ConfigError, PartError


class Says(Probe):
    def __init__(self, seen=None, found=None):
        self.seen, self.found = seen, found

    def see(self, ctx, epoch, predictions):
        return self.seen

    def result(self):
        return self.found


@pytest.mark.parametrize(
    "seen, message",
    [
        (None, r"probe mine: see\(\) gave a NoneType"),
        ({"epoch": 3}, "probe mine measures epoch, a name that is taken"),
        ({"kind": [1]}, "probe mine measures kind, a name that is taken"),
        ({"first": 1}, "probe mine measures first, a name that is taken"),
        ({"text": "good"}, "probe mine: text is a str; it must be a number, a list or a tensor"),
    ],
)
def test_what_no_row_can_hold_is_refused(epoch, scene, seen, message):
    with pytest.raises(PartError, match=message):
        measured(None, epoch(), scene(), {"other": Says({"first": 0}), "mine": Says(seen)})


def test_a_result_that_cannot_be_kept_costs_no_training(caplog):
    found = {"status": "failed", "tensor": torch.ones(2), "tree": [{"a": None}], "mine": 1.0}
    kept = results({"none": Says(), "mine": Says(found=found), "again": Says(found={"mine": 2.0})}, {"status"})
    assert kept == {"tree": [{"a": None}], "mine": 1.0}
    assert [record.message for record in caplog.records] == [
        "probe mine: its result status is left out, since the name is taken",
        "probe mine: its result tensor is left out: a Tensor is no JSON",
        "probe again: its result mine is left out, since the name is taken",
    ]


def test_a_probe_replaces_none_of_the_standard_ones():
    cfg, source = compose(), SimpleNamespace(test_groups={})
    cfg.probe = {"evaluation": {"_target_": "lilawbench.probes.fit.Fit"}, "mine": {"_target_": "torch.nn.Identity"}}
    with pytest.raises(ConfigError) as refused:
        probes_of(cfg, source)
    assert refused.value.problems == [
        "probe.evaluation: every run has a probe of that name",
        "probe.mine: Identity is no Probe",
    ]
