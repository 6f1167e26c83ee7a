"""A method that does not keep to the contract is told so in one line, where it happens."""

import pytest
import torch

from lilawbench.engine.evaluate import predict
from lilawbench.engine.loop import fit
from lilawbench.loading.resident import Resident
from lilawbench.methods.base import Method, StepOutput
from lilawbench.methods.contract import sound
from lilawbench.methods.supervised import Supervised
from lilawbench.support.errors import PartError


class Own(Supervised):
    """Plain training whose parts a test replaces."""

    def loss(self, ctx, batch):
        logits = ctx.forward(batch.input)
        return self.output(self.sample_losses(logits, batch), logits)

    def output(self, losses, logits):
        return StepOutput(losses.mean(), logits.detach())


def gives(value):
    return lambda *given: value


WRONG = {
    r"loss\(\) returned a Tensor; it must be StepOutput": {"output": lambda self, losses, logits: losses.mean()},
    r"StepOutput.loss is a tensor \[6\]; it must be one number": {
        "output": lambda self, losses, logits: StepOutput(losses, logits.detach())
    },
    "StepOutput.loss has no gradient": {
        "output": lambda self, losses, logits: StepOutput(losses.mean().detach(), logits.detach())
    },
    r"StepOutput.logits is a tensor \[6, 2\]; for this batch it must be \[6, 3\]": {
        "output": lambda self, losses, logits: StepOutput(losses.mean(), logits.detach()[:, :2])
    },
    "StepOutput.logits keeps the graph of its step in memory": {
        "output": lambda self, losses, logits: StepOutput(losses.mean(), logits)
    },
    r"StepOutput.weight is a tensor \[2\]; for this batch it must be \[6\]": {
        "output": lambda self, losses, logits: StepOutput(losses.mean(), logits.detach(), torch.ones(2))
    },
    r"batches\(\) gave a list_iterator, which has no length": {"batches": gives(iter([]))},
    r"batches\(\) gave no batch in epoch 1": {"batches": gives([])},
    r"training_batches\(rows\): rows is torch.int64 \[2\]; it must be a mask": {
        "batches": lambda self, ctx: ctx.training_batches(torch.arange(2))
    },
    "ctx.meta: there are no validation rows": {"after_step": lambda self, ctx, batch, out: ctx.meta(2)},
    r"sample_values\(\) has u, a tensor \[7\]; .* each of the 12 training rows": {
        "sample_values": gives({"u": torch.ones(7)})
    },
    r"sample_values\(\) has u, a list": {"sample_values": gives({"u": [0.0] * 12})},
    r"sample_values\(\) gave a NoneType": {"sample_values": gives(None)},
    r"logs\(\) has u, a str": {"logs": gives({"u": "much"})},
    r"trace\(\) has 2 name\(s\), a, b, for a tensor \[3\]": {"trace": gives((("a", "b"), torch.ones(3)))},
    r"it holds a network's weights \(net.weight\)": {
        "on_epoch_start": lambda self, ctx: setattr(self, "net", ctx.model)
    },
}


@pytest.mark.parametrize("message", WRONG)
def test_what_the_loop_cannot_use_is_said(context, message):
    method = type("Wrong", (Own,), WRONG[message])()
    ctx = context(torch.nn.Linear(1, 3), rows=Resident(torch.ones(12, 1), torch.arange(12) % 3))
    method.setup(ctx)
    with pytest.raises(PartError, match=message):
        next(fit(ctx, method, lambda epoch: 0.1, epochs=1))


def test_predictions_have_a_row_a_sample_and_a_column_a_class(context):
    method = type("Wrong", (Own,), {"predict": lambda self, ctx, input: ctx.forward(input)[:, :2]})()
    ctx = context(torch.nn.Linear(1, 3))
    with pytest.raises(PartError, match=r"method Wrong: predict\(\) gave a tensor \[12, 2\]; .* \[12, 3\]"):
        predict(ctx, method, ctx.table)


def test_a_class_that_is_no_method_is_refused_before_anything_runs():
    class Late(Method):
        def __init__(self):
            self.alpha = 1

        loss = None

    refused = {
        "object is not a method": object(),
        r"Late.__init__ must begin with super\(\).__init__\(loss\)": Late(),
        "Own.networks is 0; it must be a whole number >= 1": type("Own", (Own,), {"networks": 0})(),
        r'Own.views is the text \'strong\'; write \("strong",\)': type("Own", (Own,), {"views": "strong"})(),
        r"Own.views are \['stong'\]; a method wants": type("Own", (Own,), {"views": ("stong",)})(),
    }
    for message, part in refused.items():
        with pytest.raises(PartError, match=message):
            sound(part)
    assert isinstance(sound(Own()), Own)
