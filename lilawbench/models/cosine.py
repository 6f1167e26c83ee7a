"""A head whose logits are scaled cosines, in place of a network's own: for losses with margins between cosines."""

from torch import Tensor, nn
from torch.nn import functional as F

from lilawbench.models.finetune import layers


class CosineHead(nn.Module):
    """Logits s cos(w_k, h): features [B, D] and weights [K, D] normalised, without a bias.

    Args:
        dense: the head that it replaces; its first weights are kept. scale: s, > 0.
    Source: Wang et al. 2018 (NormFace), section 3; Cao et al. 2019 (LDAM), section 4.
    """

    def __init__(self, dense: nn.Linear, scale: float):
        super().__init__()
        self.weight, self.scale = dense.weight, scale

    def forward(self, features: Tensor) -> Tensor:
        return self.scale * F.linear(F.normalize(features, dim=-1), F.normalize(self.weight, dim=-1))

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}, scale={self.scale}"


def last_layer(model: nn.Module) -> nn.Module:
    """The last parameterised layer of a network, which gives its logits; the network itself, where it is one layer."""
    found = list(layers(model))
    return found[-1].module if found else model


def fit_head(model: nn.Module, loss: object) -> nn.Module:
    """The network with the head that a loss says it needs: with a `cosine_scale`, a `CosineHead` of that scale.

    Returns:
        The model, changed in place; where it is a dense layer and nothing else, the head.
    Raises:
        ValueError: the loss needs one, and the network's last layer is not dense.
    """
    scale = getattr(loss, "cosine_scale", None)
    if scale is None:
        return model
    last = last_layer(model)
    if not isinstance(last, nn.Linear):
        raise ValueError(
            f"its last layer is a {type(last).__name__}; a loss of margins between cosines needs a dense layer "
            "(nn.Linear) there, whose two sides it normalises"
        )
    if last is model:
        return CosineHead(last, scale)
    parent, name = next(
        (parent, name) for parent in model.modules() for name, child in parent.named_children() if child is last
    )
    setattr(parent, name, CosineHead(last, scale))
    return model
