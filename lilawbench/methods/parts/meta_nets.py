"""The two small nets of Dynamic Loss. Neither has an input: each produces a table of learned numbers."""

import torch
from torch import Tensor, nn

from lilawbench.losses.balanced import log_counts
from lilawbench.methods.parts.learned import OwnOptimizer

WIDTH = 64
TRUST, MARGIN = 3.98, 1.0  # sigmoid(3.98) = .982


class MetaMLP(nn.Module):
    """A table [rows, columns]: an embedding of 64 per row, two hidden layers of 64, a linear layer.

    Args:
        rows, columns: its shape. bias: of the last layer; the table starts within about .2 of it.
        generator: of the initial weights; the global random stream does not move.
    """

    def __init__(self, rows: int, columns: int, bias: float, generator: torch.Generator):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            last = nn.Linear(WIDTH, columns)
            layers = [nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), last]
            self.embedding, self.layers = nn.Embedding(rows, WIDTH), nn.Sequential(*layers)
        nn.init.normal_(self.embedding.weight, generator=generator)
        for p in self.layers.parameters():
            nn.init.uniform_(p, -(WIDTH**-0.5), WIDTH**-0.5, generator=generator)  # torch's own for linear layers
        nn.init.constant_(last.bias, bias)

    def forward(self) -> Tensor:
        return self.layers(self.embedding.weight)


class MetaVector(nn.Module):
    """The ablation: the numbers of the table are learned directly. Arguments: see `MetaMLP`."""

    def __init__(self, rows: int, columns: int, bias: float, generator: torch.Generator):
        super().__init__()
        self.values = nn.Parameter(torch.full((rows, columns), bias))

    def forward(self) -> Tensor:
        return self.values


KINDS: dict[str, type[MetaMLP] | type[MetaVector]] = {"mlp": MetaMLP, "vector": MetaVector}


class MetaNets(OwnOptimizer):
    """g(r | y) [R, K], the trust in an observed label (Eq. 3), and q [K], the class margins (Eq. 5), with their Adam.

    Trust starts near .98 and stays in (0, 1); margins start near 1.

    Args:
        counts: training samples of each observed class, [K] int64. bins: R.
        corrector: False fixes g = 1. class_wise: False gives all classes one g(r).
        margin: True, learned; "balanced_softmax" fixes q = log counts; False fixes q = 0.
        kind: "mlp" | "vector". lr: of Adam. generator: of the initial weights, on the CPU.
    """

    fixed_margin: Tensor  # [K], where none is learned

    def __init__(
        self,
        counts: Tensor,
        bins: int,
        corrector: bool = True,
        class_wise: bool = True,
        margin: bool | str = True,
        kind: str = "mlp",
        lr: float = 3e-3,
        *,
        generator: torch.Generator,
    ):
        super().__init__()
        net, classes = KINDS[kind], len(counts)
        self.shape = (bins, classes)
        self.corrector = net(bins, classes if class_wise else 1, TRUST, generator) if corrector else None
        self.margin = net(1, classes, MARGIN, generator) if margin is True else None
        fixed = log_counts(counts) if margin == "balanced_softmax" else torch.zeros(classes)
        self.register_buffer("fixed_margin", fixed.to(torch.get_default_dtype()), persistent=False)
        self.to(counts.device)
        learned = list(self.parameters())
        fused = counts.device.type in ("cpu", "cuda")
        self.optimizer = torch.optim.Adam(learned, lr=lr, fused=fused) if learned else None

    @property
    def learned(self) -> bool:
        """Whether there is anything to learn."""
        return self.optimizer is not None

    def forward(self) -> tuple[Tensor, Tensor]:
        """g [R, K] and q [K]; those that are learned have a graph."""
        g = self.fixed_margin.new_ones(self.shape) if self.corrector is None else self.corrector().sigmoid()
        q = self.fixed_margin if self.margin is None else self.margin()[0]
        return g.expand(self.shape), q

    def descend(self, tables: list[Tensor], gradients: list[Tensor]) -> None:
        """One step of Adam, from gradients at those tables of `forward` that are learned."""
        torch.autograd.backward(tables, gradients)
        self.step()
