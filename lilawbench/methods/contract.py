"""Where a method's code and its contract (base.py) differ: one line that says what to change, and not a traceback.

Asked once a run or once an epoch, of shapes and types alone.
"""

from collections.abc import Mapping, Sequence, Sized

import torch
from torch import Tensor, nn

from lilawbench.augment.views import view_names
from lilawbench.loading.batch import Batch
from lilawbench.methods.base import Method, StepOutput
from lilawbench.methods.context import Context
from lilawbench.support.errors import PartError


def sound(part: object) -> Method:
    """A method as it was built. Raises: PartError, its class is not what the loop can use."""
    name = type(part).__name__
    if not isinstance(part, Method):
        raise PartError(f"{name} is not a method: derive it from lilawbench.methods.base.Method")
    if "_modules" not in vars(part) or not hasattr(part, "per_sample"):
        raise PartError(f"{name}.__init__ must begin with super().__init__(loss)")
    if not isinstance(part.networks, int) or part.networks < 1:
        raise PartError(f"{name}.networks is {part.networks!r}; it must be a whole number >= 1")
    if isinstance(part.views, str):
        raise PartError(f'{name}.views is the text {part.views!r}; write ("{part.views}",)')
    try:
        view_names(part.views)
    except ValueError as error:
        raise PartError(f"{name}.{error}") from error
    return part


def check_state(method: Method, networks: Sequence[nn.Module]) -> None:
    """Raises: PartError, the method holds a network, which would be in the checkpoint twice."""
    theirs = {id(p) for network in networks for p in network.parameters()}
    held = next((name for name, p in method.named_parameters() if id(p) in theirs), None)
    if held is not None:
        raise _broken(method, f"it holds a network's weights ({held}); use ctx.forward and ctx.networks instead")


def check_batches(method: Method, batches: object) -> None:
    """Raises: PartError, the epoch's batches are not as `Method.batches` says."""
    if not isinstance(batches, Sized):
        rule = "return ctx.training_batches(...), or loading.batches.Batches(STEPS, BATCHES)"
        raise _broken(method, f"batches() gave a {type(batches).__name__}, which has no length: {rule}")


def check_any(method: Method, steps: int, epoch: int) -> None:
    """Raises: PartError, an epoch had no batch."""
    if not steps:
        raise _broken(method, f"batches() gave no batch in epoch {epoch}: some rows must train")


def check_output(ctx: Context, method: Method, batch: Batch, out: object) -> None:
    """Raises: PartError, the output of a batch, or of a part of one, is not as `StepOutput` says."""
    if not isinstance(out, StepOutput):
        raise _broken(method, f"loss() returned a {type(out).__name__}; it must be StepOutput(loss, logits)")
    rows = len(batch.index)
    if not isinstance(out.loss, Tensor) or out.loss.ndim:
        raise _broken(method, f"StepOutput.loss is {_said(out.loss)}; it must be one number: take a mean")
    if not out.loss.requires_grad:
        raise _broken(method, "StepOutput.loss has no gradient: make it from what ctx.forward gives, not detached")
    _check_rows(method, "StepOutput.logits", out.logits, (rows, ctx.num_classes))
    if out.weight is not None:
        _check_rows(method, "StepOutput.weight", out.weight, (rows,))


def _check_rows(method: Method, name: str, value: object, shape: tuple[int, ...]) -> None:
    if not isinstance(value, Tensor) or value.shape != shape:
        raise _broken(method, f"{name} is {_said(value)}; for this batch it must be {list(shape)}")
    if value.requires_grad:
        raise _broken(method, f"{name} keeps the graph of its step in memory: detach it")


def check_predicted(ctx: Context, method: Method, batch: Batch, logits: object) -> None:
    """Raises: PartError, predictions are not as `Method.predict` says."""
    shape = (len(batch.index), ctx.num_classes)
    if not isinstance(logits, Tensor) or logits.shape != shape:
        raise _broken(method, f"predict() gave {_said(logits)}; for this batch it must be {list(shape)}")


def check_left(ctx: Context, method: Method, logs: object, sample_values: object) -> None:
    """Raises: PartError, what a method says after an epoch is not as `logs` and `sample_values` say."""
    for name, value in _named(method, "logs()", logs).items():
        if not isinstance(value, int | float | Tensor | list | None):
            raise _broken(method, f"logs() has {name}, {_said(value)}; it must be a number or a tensor")
    for name, value in _named(method, "sample_values()", sample_values).items():
        if not isinstance(value, Tensor) or value.shape[:1] != (ctx.num_train,):
            rule = f"it must be a tensor with a value for each of the {ctx.num_train} training rows"
            raise _broken(method, f"sample_values() has {name}, {_said(value)}; {rule}")
        if value.dtype == torch.bool and value.ndim > 1:
            raise _broken(method, f"sample_values() has {name}, {_said(value)}; a choice is [{ctx.num_train}]")


def check_trace(method: Method, names: Sequence[str], values: Tensor) -> None:
    """Raises: PartError, a trace has more names than values, or fewer."""
    if values.shape != (len(names),):
        raise _broken(method, f"trace() has {len(names)} name(s), {', '.join(names)}, for {_said(values)}")


def _named(method: Method, where: str, given: object) -> Mapping[str, object]:
    if not isinstance(given, Mapping):
        raise _broken(method, f"{where} gave a {type(given).__name__}; it must be a dict, which may be empty")
    return given


def _said(value: object) -> str:
    return f"a tensor {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _broken(method: Method, what: str) -> PartError:
    return PartError(f"method {type(method).__name__}: {what}")
