"""Loss correction by the transition matrix T[i, j] = P(observed = j | clean = i), given or estimated."""

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lilawbench.losses.base import Predict, StatefulLoss
from lilawbench.support import host

Matrix = Sequence[Sequence[float]] | Tensor  # [K, K]


def estimate_matrix(logits: Tensor, quantile: float = 0.97) -> Tensor:
    """Transition matrix as a network trained on noisy labels implies it: T[i] = s(x_i), x_i the anchor of class i.

    The anchor is the sample with the ceil(quantile N)-th smallest probability of class i: 1 takes the largest (the
    paper's eq. 12); less leaves out outliers, but must leave the class more than a share of 1 - quantile.

    Args:
        logits: [N, K] of the training table. quantile: in (0, 1].
    Returns:
        [K, K] float64, rows sum to 1, no entry below 1e-12: none makes an observed label impossible.
    Source: Patrini et al. 2017, eq. 12-13; their code's percentile is this rank to within one.
    """
    s = logits.double().softmax(dim=1)
    rank = max(math.ceil(quantile * len(s) - 1e-9), 1) - 1
    anchors = torch.stack([column.argsort(stable=True)[rank] for column in s.unbind(1)])
    matrix = s[anchors].clamp(min=1e-12)
    return matrix / matrix.sum(dim=1, keepdim=True)


class Correction(StatefulLoss):
    """What the two corrections share: where T comes from, and its checks.

    Args:
        matrix: T, [K, K] with rows that sum to 1, used from the first step; or "estimated": plain cross-entropy for
            `warmup_epochs`, then `estimate_matrix` of the training table, once.
        warmup_epochs: of an estimated T, >= 1.
        quantile: of an estimated T, in (0, 1]: which sample is a class's anchor.
    Raises:
        ValueError: an option out of range; T is not square, has an entry outside [0, 1], a row that does not sum
            to 1 (named with its sum), a label that no class leads to or another size than the data's number of classes.
    """

    matrix: Tensor
    table: Tensor | None
    steps_differ = None

    def __init__(self, matrix: str | Matrix = "estimated", warmup_epochs: int = 5, quantile: float = 0.97):
        super().__init__()
        if not isinstance(warmup_epochs, int) or warmup_epochs < 1:
            raise ValueError(f"warmup_epochs is {warmup_epochs}; it must be a whole number >= 1")
        if not 0 < quantile <= 1:
            raise ValueError(f"quantile is {quantile}; it must lie in (0, 1]")
        self.estimates, self.quantile = isinstance(matrix, str), quantile
        self.warmup_epochs = warmup_epochs if self.estimates else 0
        if self.estimates and matrix != "estimated":
            raise ValueError(f"matrix is {matrix!r}; it must be estimated or a K x K table of numbers")
        self.register_buffer("matrix", None)
        self.register_buffer("table", None)  # what forward looks up, by observed label
        if not isinstance(matrix, str):
            self._use(_checked(matrix))

    def told(self) -> list[str]:
        return [] if self.estimates else ["loss.matrix, a given one"]

    def setup(self, num_train: int, num_classes: int, device: torch.device) -> None:
        if self.estimates:  # the identity is no correction
            self._use(torch.eye(num_classes, dtype=torch.float64))
        self._check_size(num_classes)
        self.to(device)

    def start_epoch(self, epoch: int, predict: Predict) -> None:
        if self.estimates and epoch == self.warmup_epochs + 1:
            logits = predict()[0]
            # on the host, where the look-up table can be inverted without further waits
            matrix = host.bring(estimate_matrix(logits, self.quantile), "estimated matrix")
            table = self._lookup(matrix)
            self.matrix, self.table = host.send(matrix, logits.device), host.send(table, logits.device)

    def forward(self, logits: Tensor, target: Tensor, index: Tensor | None = None) -> Tensor:
        if self.table is None:  # to be estimated and not set up yet: the config is being checked
            return F.cross_entropy(logits, target, reduction="none")
        self._check_size(logits.shape[1])
        return self._corrected(logits.log_softmax(dim=1), self.table[target].to(logits.dtype))

    def _use(self, matrix: Tensor) -> None:
        self.matrix, self.table = matrix, self._lookup(matrix)

    def _check_size(self, num_classes: int) -> None:
        size = len(self.matrix)
        if size != num_classes:
            raise ValueError(
                f"the matrix is {size} x {size}; the data set has {num_classes} classes: {num_classes} x {num_classes}"
            )

    @abstractmethod
    def _lookup(self, matrix: Tensor) -> Tensor:
        """The table [K, K] whose row y corrects a sample with the observed label y."""

    @abstractmethod
    def _corrected(self, log_s: Tensor, row: Tensor) -> Tensor:
        """Losses [B] from log-probabilities [B, K] and each sample's row of the table, [B, K]."""


class ForwardCorrection(Correction):
    """Cross-entropy of the noisy label under the model's clean belief, -log sum_i T[i, y] s_i.

    Its minimiser on noisy data is that of cross-entropy on clean data. Arguments: see `Correction`.

    Source: Patrini et al. 2017, theorem 2.
    """

    def _lookup(self, matrix: Tensor) -> Tensor:
        return matrix.T.log()

    def _corrected(self, log_s: Tensor, row: Tensor) -> Tensor:
        return -(log_s + row).logsumexp(dim=1)


class BackwardCorrection(Correction):
    """Cross-entropy that is unbiased under the noise, sum_j inv(T)[y, j] (-log s_j): its mean over T is the clean one.

    It may be negative, without a lower bound. Arguments: see `Correction`; a T without inverse is a ValueError, too.

    Source: Patrini et al. 2017, theorem 1.
    """

    def _lookup(self, matrix: Tensor) -> Tensor:
        if torch.linalg.matrix_rank(matrix) < len(matrix):
            raise ValueError("the matrix is singular: backward correction needs its inverse; use forward_correction")
        return torch.linalg.inv(matrix)

    def _corrected(self, log_s: Tensor, row: Tensor) -> Tensor:
        return -(row * log_s).sum(dim=1)


def _checked(matrix: Matrix) -> Tensor:
    """T as [K, K] float64."""
    try:
        matrix = torch.as_tensor(matrix, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):  # rows of different lengths, or no numbers
        raise ValueError("the matrix is not a K x K table of numbers") from None
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) == 0:
        size = " x ".join(str(n) for n in matrix.shape) or "one number"
        raise ValueError(f"the matrix is {size}; it must be K x K")
    if not ((matrix >= 0) & (matrix <= 1)).all():
        raise ValueError("the matrix has entries outside [0, 1]")
    sums = matrix.sum(dim=1)
    if wrong := [i for i, total in enumerate(sums.tolist()) if abs(total - 1) > 1e-6]:
        raise ValueError("rows must sum to 1: " + ", ".join(f"row {i} sums to {sums[i]:.6g}" for i in wrong))
    if never := (matrix.sum(dim=0) == 0).nonzero().flatten().tolist():
        raise ValueError(f"columns {never} are zero: these labels could never be observed")
    return matrix / sums[:, None]
