"""How well a score tells wrong labels from right ones."""

import torch
from torch import Tensor

from lilawbench.metrics.ranking import auroc, average_precision


def detection(score: Tensor, wrong: Tensor) -> dict[str, float]:
    """Measures of a ranking of rows, larger = more likely to be wrong.

    Rows of one score count as in random order: in auroc a tied pair is half right, in auprc a tie is one threshold, and
    the first k rows have the hits that are to be expected.

    Args:
        score: [N]; nan is below every number. wrong: [N] bool.
    Returns:
        auroc: area under the ROC curve; .5 for no order at all.
        auprc: average precision; the share of wrong labels for no order at all.
        precision_at_count: share of wrong labels among as many first rows as there are wrong labels.
        fnr_at_rate: share of wrong labels that are not found if as many rows are looked at as the noise rate says,
        which is 1 - precision_at_count, since the rate is the true one.
        lift_at_1pct: share of wrong labels in the first hundredth (one row at least) over that in all rows.
        Empty, where all labels are right or all wrong.
    """
    total, count = len(wrong), int(wrong.sum())
    if not 0 < count < total:
        return {}
    score = _ordered(score)
    found = _hits(score, wrong, count) / count
    first = max(1, round(total / 100))
    return {
        "auroc": float(auroc(score[:, None], wrong[:, None])),
        "auprc": float(average_precision(score[:, None], wrong[:, None])),
        "precision_at_count": found,
        "fnr_at_rate": 1 - found,
        "lift_at_1pct": _hits(score, wrong, first) / first * total / count,
    }


def paper_auprc(raw: Tensor, wrong: Tensor) -> float:
    """The average precision of LiLAW's Table 15: right labels are positive, and no score is turned round.

    A score that is high for wrong labels ranks the right ones last: where half are wrong, the best one possible gets
    1 - ln 2 = .307, as those of the paper between .30 and .32 do.

    Args:
        raw: [N], `Detector.paper_scores`; nan is below every number. wrong: [N] bool.
    Returns:
        In [0, 1]; nan where all labels are wrong.
    Source: LiLAW, A.20; the reading follows from its figures (AUROC .9768 beside .3085 allows no other).
    """
    return float(average_precision(_ordered(raw)[:, None], ~wrong[:, None]))


def _ordered(score: Tensor) -> Tensor:
    return score.double().nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)


def _hits(score: Tensor, wrong: Tensor, first: int) -> float:
    """Wrong labels to be expected among the first rows."""
    least = score.topk(first).values[-1]
    above, tied = score > least, score == least
    share = (first - int(above.sum())) / int(tied.sum())
    return int(wrong[above].sum()) + share * int(wrong[tied].sum())
