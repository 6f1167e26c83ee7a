"""GraNd, the length of a row's gradient."""

import torch
from torch import Tensor

from lilawbench.probes.detectors.base import Detector, Look, Plain


class GraNd(Detector):
    """|p - onehot(y)| sqrt(|h|^2 + 1), the norm of the gradient of the row's cross-entropy by the last layer's weights
    and bias (without a bias there is no 1); h is what enters that layer, [D].

    High: rows that would move the network most, wrong or merely hard.

    Exact for that layer: its gradient is the outer product of p - onehot(y) and (h, 1). In eval mode, un-augmented, of
    the epoch that is asked for. Networks without a dense last layer: nan.

    Source: Paul et al. 2021, definition 1, over all weights (`GraNdAll`), in early epochs, mean over ten networks.
        Deviations: the last layer; one network; of several that a method trains, the features of the first.
    """

    needs_features = True
    when_asked = True
    paper_sign = 1

    def setup(self, num_train: int, num_classes: int) -> None:
        self.value_now = torch.full((num_train,), torch.nan, dtype=torch.float64)

    def see(self, look: Look) -> None:
        self.value_now = last_layer_norms(look.plain, look.observed)

    def scores(self) -> Tensor:
        return self.value_now


class GraNdAll(GraNd):
    """The norm of the gradient of the row's cross-entropy by all weights that train, of all networks of the run.

    High: rows that would move the network most, wrong or merely hard. Takes some ten passes over the rows.

    Source: Paul et al. 2021, definition 1. Deviations: one network, in eval mode and un-augmented, where theirs is the
        mean over ten.
    """

    def see(self, look: Look) -> None:
        if look.gradient_norms is None:
            raise RuntimeError("this look has no gradients")
        self.value_now = look.gradient_norms().double()


def last_layer_norms(plain: Plain, observed: Tensor) -> Tensor:
    """Norms of the gradients of cross-entropy by the last layer, [N] float64; nan where it is not dense."""
    if plain.features is None:
        return torch.full((len(observed),), torch.nan, dtype=torch.float64)
    probs = plain.logits.double().softmax(1)
    error = probs.scatter_add(1, observed[:, None], torch.full_like(probs[:, :1], -1)).norm(dim=1)
    return error * (plain.features.double().square().sum(1) + plain.bias).sqrt()
