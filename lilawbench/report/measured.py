"""What a table measures: the metric, the rule that picks the epoch, the unit, and how such a number is written."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from lilawbench.experiment.published import Figure
from lilawbench.support.errors import UserError

if TYPE_CHECKING:
    from pandas import DataFrame

# How each selection rule picks the epoch that a table shows. The test set never picks one but by the name of oracle.
SELECTIONS = {
    "best_val": "the epoch of best validation accuracy, on the validation labels the method sees",
    "last": "the last epoch",
    "last5": "the mean of the last five epochs",
    "oracle_best": "the epoch of best test accuracy, an oracle",
}


class Measured(NamedTuple):
    """A metric of a table. Cells hold values times `factor`, tables print them in `unit`."""

    metric: str  # "test_accuracy"
    rule: str  # "last"
    unit: str  # "%", "1", "rows" ...
    factor: float = 1.0  # from what result.json has to what a cell and the CSV have
    written: str = ""  # as its YAML writes it: "last.test_accuracy"

    @property
    def key(self) -> str:
        """In result.json."""
        return f"{self.rule}.{self.metric}"

    @property
    def title(self) -> str:
        unit = "" if self.unit == "1" else f" [{self.unit}]"
        return f"{self.metric.replace('_', ' ')}{unit}"

    def spread(self, mean: float | None, std: float | None) -> str:
        """ "74.00 ± 3.00"."""
        if mean is None or math.isnan(mean):
            return "-"
        return self._number(mean) + ("" if std is None else f" ± {self._number(std)}")

    def signed(self, difference: float | None) -> str:
        """ "+2.00"."""
        return "-" if difference is None else self._number(round(difference, 10) + 0.0, "+")

    def _number(self, value: float, sign: str = "") -> str:
        digits = {"%": 2, "rows": 0}.get(self.unit, 4)
        shown = (100.0 if self.unit == "%" else 1.0) / self.factor
        return f"{shown * value:{sign}.{digits}f}"


def known_rule(rule: str) -> str:
    """Raises: UserError, a rule that does not exist."""
    if rule not in SELECTIONS:
        raise UserError(f"unknown selection {rule!r}; valid: {', '.join(SELECTIONS)}")
    return rule


def of_runs(metric: str, rule: str) -> Measured:
    """A metric of runs by themselves: accuracies are printed in percent and kept as fractions."""
    return Measured(metric, known_rule(rule), "%" if metric.endswith("accuracy") else "1")


def of_table(metrics: Iterable[str], select: str, figures: Sequence[Figure], always: str | None) -> list[Measured]:
    """The metrics of a paper's table, kept in the paper's unit; where it prints none, accuracies are in percent.

    Args:
        metrics: "last.test_accuracy" has its rule, others follow `select`; `always` overrules both.
    Raises:
        UserError: a rule that does not exist.
    """
    found = []
    for written in metrics:
        head, _, tail = written.partition(".")
        own, metric = (head, tail) if head in SELECTIONS else (None, written)
        units = [figure.unit for figure in figures if figure.metric == written]
        unit = "%" if "%" in units or (not units and metric.endswith("accuracy")) else next(iter(units), "1")
        factor = 100.0 if unit == "%" else 1.0
        found.append(Measured(metric, known_rule(always or own or select), unit, factor, written))
    return found


def shown_p(p: float | None) -> str:
    return "-" if p is None else "<0.0001" if p < 0.00005 else f"{p:.4f}"


def spanned(values: Iterable[float], spec: str) -> str:
    """ "0.4", or "0.38 to 0.41" where they differ when printed."""
    shown = [format(value, spec) for value in sorted(values)]
    return shown[0] if shown[0] == shown[-1] else f"{shown[0]} to {shown[-1]}"


def values(runs: "DataFrame", measured: Measured) -> list[float]:
    """Of every run, NaN where it has none. "fairness.DP.sex=Female" is in the rows of "best_val.fairness"."""
    found = column(runs, measured.key)
    kind, _, rest = measured.metric.partition(".")
    if kind == "fairness" and rest:
        name, _, of = rest.partition(".")
        place = tuple(of.split("=", 1))
        found = [
            next((row.get(name) for row in rows or () if (row["attribute"], row["group"]) == place), None)
            for rows in column(runs, f"{measured.rule}.fairness")
        ]
    return [math.nan if value is None else measured.factor * value for value in found]


def column(runs: "DataFrame", name: str) -> list:
    """A column of `collect`; None where a run has no such value."""
    found = runs[name].tolist() if name in runs else [None] * len(runs)
    return [None if isinstance(value, float) and value != value else value for value in found]
