"""How differently a classifier of two classes treats groups of people: five gaps to a reference group.

    gap of g = measure(g) - measure(reference),     largest gap G = max over g of |gap of g|

with the measures DP = P(predicted 1), TPR and FPR = P(predicted 1 | label 1, 0), PPV = P(label 1 | predicted 1) and
ACC = P(predicted = label), each within a group. Near 0 is fair.
"""

from collections.abc import Mapping

import numpy as np

MEASURES = ("DP", "TPR", "FPR", "PPV", "ACC")
RESAMPLES = 2000
LEVEL = 0.95
LARGEST = "largest gap"

Row = dict[str, str | bool | int | float | None]


def fairness(
    predicted: np.ndarray,
    label: np.ndarray,
    groups: Mapping[str, np.ndarray],
    references: Mapping[str, str],
    generator: np.random.Generator,
) -> list[Row]:
    """Sizes, gaps and bootstrap intervals of every group of every attribute.

    Args:
        predicted, label: [M], 0 or 1. groups: attribute -> [M] names.
        references: attribute -> name; where it is missing or empty, the largest group.
        generator: of the bootstrap, which resamples whole rows.
    Returns:
        Rows {"attribute", "group", "reference" (whether it is the reference), "n", and for each of MEASURES its gap,
        "<measure>_low", "<measure>_high" (95 %)}: the reference first, with None; then the groups by size; then
        LARGEST, with the n of all, G and its interval. A gap that does not exist (no positive in a group) is None, and
        no part of G.
    Source: LiLAW, A.24, Tables 20-22 and Eq. 38. Deviations: the intervals, which the paper does not have.
    """
    rows: list[Row] = []
    for attribute, group in groups.items():
        names, sizes = np.unique(group, return_counts=True)
        by_size = names[np.argsort(-sizes, kind="stable")].tolist()
        reference = references[attribute] if references.get(attribute) in by_size else by_size[0]
        order = [reference, *(name for name in by_size if name != reference)]
        gaps = _gaps(_measured(predicted, label, group, order))
        drawn = _gaps(_resampled(predicted, label, group, order, generator))  # [resamples, groups, measures]
        size = dict(zip(names.tolist(), sizes.tolist(), strict=True))
        for number, name in enumerate(order):
            row: Row = {"attribute": attribute, "group": name, "reference": name == reference, "n": size[name]}
            rows.append(row | _figures(gaps[number] if number else np.full(len(MEASURES), np.nan), drawn[:, number]))
        if len(order) > 1:
            largest = [_largest(values[..., 1:, :]) for values in (gaps, drawn)]
            row = {"attribute": attribute, "group": LARGEST, "reference": False, "n": len(label)}
            rows.append(row | _figures(*largest))
    return rows


def _measured(predicted: np.ndarray, label: np.ndarray, group: np.ndarray, order: list[str]) -> np.ndarray:
    """The five measures of each group, [groups, measures]; NaN where one does not exist."""
    from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate
    from sklearn.metrics import accuracy_score, precision_score

    functions = {
        "DP": selection_rate,
        "TPR": lambda y, p: true_positive_rate(y, p, pos_label=1) if (y == 1).any() else np.nan,
        "FPR": lambda y, p: false_positive_rate(y, p, pos_label=1) if (y == 0).any() else np.nan,
        "PPV": lambda y, p: precision_score(y, p) if (p == 1).any() else np.nan,
        "ACC": accuracy_score,
    }
    frame = MetricFrame(metrics=functions, y_true=label, y_pred=predicted, sensitive_features=group)
    return frame.by_group.loc[order, list(MEASURES)].to_numpy(dtype=np.float64)


def _resampled(
    predicted: np.ndarray, label: np.ndarray, group: np.ndarray, order: list[str], generator: np.random.Generator
) -> np.ndarray:
    """The measures of each group in bootstrap samples, [resamples, groups, measures].

    Resampled rows fall into the cells (group, label, prediction) as one multinomial draw, and the measures need only
    the cells' counts.
    """
    cells = np.array(
        [[((group == name) & (label == y) & (predicted == p)).sum() for y in (0, 1) for p in (0, 1)] for name in order]
    )
    drawn = generator.multinomial(len(label), cells.ravel() / cells.sum(), size=RESAMPLES)
    true_negative, false_positive, false_negative, true_positive = np.moveaxis(
        drawn.reshape(RESAMPLES, len(order), 4).astype(np.float64), -1, 0
    )
    negative, positive = true_negative + false_positive, false_negative + true_positive
    chosen, everyone = false_positive + true_positive, negative + positive
    right = true_negative + true_positive
    shares = ((chosen, everyone), (true_positive, positive), (false_positive, negative), (true_positive, chosen),
              (right, everyone))  # fmt: skip
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: not there in this sample
        return np.stack([part / whole for part, whole in shares], axis=-1)


def _gaps(measured: np.ndarray) -> np.ndarray:
    return measured - measured[..., :1, :]


def _largest(gaps: np.ndarray) -> np.ndarray:
    """G of each measure; a gap that does not exist does not count, without any it is NaN."""
    size = np.where(np.isnan(gaps), -1.0, np.abs(gaps)).max(axis=-2)
    return np.where(size < 0, np.nan, size)


def _figures(values: np.ndarray, drawn: np.ndarray) -> Row:
    """Values and intervals under their names; an interval only where the value is."""
    out: Row = {}
    for number, name in enumerate(MEASURES):
        there = drawn[:, number][~np.isnan(drawn[:, number])]
        tails = np.quantile(there, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if len(there) else (np.nan, np.nan)
        for key, value in zip((name, f"{name}_low", f"{name}_high"), (values[number], *tails), strict=True):
            out[key] = None if np.isnan(values[number]) or np.isnan(value) else float(value)
    return out
