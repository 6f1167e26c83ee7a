"""What a method says of each row, as scores."""

import torch
from torch import Tensor

from lilawbench.methods.base import Method
from lilawbench.probes.detectors.base import Detector, Look


def of_method(method: Method) -> dict[str, Detector]:
    """A detector for each value per row of which the method, or a part of it, says the direction; "method_NAME"."""
    directions: dict[str, int] = {}
    for part in reversed([*method.modules()]):  # the method itself comes last
        directions |= getattr(part, "suspicion", {})
    return {f"method_{name}": MethodValue(name, sign) for name, sign in directions.items()}


class MethodValue(Detector):
    """A method's value of each row after the last epoch that had one, by its sign (`Method.suspicion`).

    Of a number it is the value itself, of a choice 0 or 1, and of labels 1 where they differ from the given one.

    High: rows that the method trusts less, gave less weight, corrected or left out. Other rows that never trained are
    nan, and all are while the method has no such value yet, in its warm-up.
    """

    def __init__(self, name: str, sign: int):
        self.name, self.sign = name, sign

    def setup(self, num_train: int, num_classes: int) -> None:
        self.ever = torch.zeros(num_train, dtype=torch.bool)
        self.value_now = torch.full((num_train,), torch.nan, dtype=torch.float64)
        self.chosen = torch.zeros(num_train, dtype=torch.bool)

    def see(self, look: Look) -> None:
        self.ever = self.ever | look.seen
        if (value := look.values.get(self.name)) is None:
            return
        label = not value.is_floating_point() and value.dtype != torch.bool
        self.chosen = value.bool() if value.dtype == torch.bool and self.sign > 0 else torch.zeros_like(self.chosen)
        self.value_now = (value != look.observed if label else value).double()

    def scores(self) -> Tensor:
        return (self.sign * self.value_now).where(self.ever | self.chosen, torch.nan)

    def left_out(self) -> Tensor:
        """Rows that the method chose as wrong and that never trained, [N] bool."""
        return self.chosen & ~self.ever
