"""What a table measures: the metric, the selection rule, the unit, and how numbers are formatted."""

import math
import re
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from lilawbench.experiment.published import PublishedResult
from lilawbench.support.errors import UserError

if TYPE_CHECKING:
    from pandas import DataFrame

# How each selection rule picks the epoch that a table shows. Only the oracle, which is called so, uses the test set.
SELECTIONS = {
    "best_val": "the epoch of best validation accuracy, on the validation labels the method sees",
    "last": "the last epoch",
    "last5": "the mean of the last five epochs",
    "oracle_best": "the epoch of best test accuracy, an oracle",
}


# Which way is better, by a word of a metric's name. Of others, such as a gap between groups, no value is called best.
LESS = {"loss", "rmse", "mae", "ece", "nll", "brier", "fpr", "fnr", "error", "memorised"}
MORE = {"accuracy", "map", "auroc", "auprc", "f1", "precision", "recall", "specificity", "r2", "recovered", "lift"}


class Measured(NamedTuple):
    """A metric of a table. Cells hold values times `factor`, tables print them in `unit`."""

    metric: str  # "test_accuracy"
    rule: str  # "last"; "" where the key says it all (`Table.result_keys`)
    unit: str  # "%", "1", "rows" ...
    factor: float = 1.0  # from the value in result.json to that in a cell and the CSV
    written: str = ""  # as in the YAML: "last.test_accuracy"
    classes: tuple[str, ...] = ()  # names, where all runs have the same

    @property
    def key(self) -> str:
        """The key in result.json."""
        return ".".join(filter(None, (self.rule, self.metric)))

    @property
    def at(self) -> str:
        """ " at last"; "" where no rule chooses the epoch."""
        return f" at {self.rule}" if self.rule else ""

    @property
    def title(self) -> str:
        unit = "" if self.unit == "1" else f" [{self.unit}]"
        words = re.sub(r"\b(ece|nll)\b", lambda found: found[0].upper(), self.metric.replace("_", " "))
        return re.sub(r"\bclass(\d+)", self._class, words) + unit

    def _class(self, found: re.Match[str]) -> str:
        number = int(found[1])
        return f"({self.classes[number]})" if number < len(self.classes) else found[0]

    @property
    def better(self) -> int:
        """1 where more is better, -1 where less is, 0 where neither is known."""
        words = set(re.split(r"[_.]", self.metric.partition("=")[0].lower()))
        return -1 if words & LESS else 1 if words & MORE else 0

    @property
    def printed(self) -> float:
        """From a value in a cell to the one that is printed."""
        return (100.0 if self.unit == "%" else 1.0) / self.factor

    def spread(self, mean: float | None, std: float | None) -> str:
        """ "74.00 ± 3.00"."""
        if mean is None or math.isnan(mean):
            return "-"
        return self._number(mean) + ("" if std is None else f" ± {self._number(std)}")

    def signed(self, difference: float | None) -> str:
        """ "+2.00"."""
        return "-" if difference is None else self._number(round(difference, 10) + 0.0, "+")

    def interval(self, bounds: tuple[float, float] | None) -> str:
        """ "[-0.10, +4.10]"."""
        return "-" if bounds is None else f"[{', '.join(map(self.signed, bounds))}]"

    def with_interval(self, difference: float | None, bounds: tuple[float, float] | None) -> str:
        """ "+2.00 [-0.10, +4.10]"."""
        return self.signed(difference) + f" {self.interval(bounds)}" * (bounds is not None)

    def number(self, value: float | None) -> str:
        """ "1.20"."""
        return self.signed(value).removeprefix("+")

    def size(self, value: float) -> str:
        """ "1.20 points"; "1.2000" in another unit than percent."""
        return self.number(value) + " points" * (self.unit == "%")

    def _number(self, value: float, sign: str = "") -> str:
        digits = {"%": 2, "rows": 0}.get(self.unit, 4)
        return f"{self.printed * value:{sign}.{digits}f}"


def known_rule(rule: str) -> str:
    """Raises: UserError, if there is no such rule."""
    if rule not in SELECTIONS:
        raise UserError(f"unknown selection rule {rule!r}; valid: {', '.join(SELECTIONS)}")
    return rule


def of_runs(metric: str, rule: str) -> Measured:
    """A metric without a paper: accuracies are printed in percent and stored as fractions."""
    return Measured(metric, known_rule(rule), "%" if _is_share(metric) else "1")


def whole_run(metric: str) -> Measured:
    """A value of result.json that no rule chooses the epoch of."""
    return Measured(metric, "", "1")


def of_table(
    metrics: Iterable[str],
    select: str,
    published: Sequence[PublishedResult],
    always: str | None,
    keys: Collection[str] = (),
) -> list[Measured]:
    """The metrics of a paper's table, in the paper's unit; without one, accuracies are in percent.

    Args:
        metrics: "last.test_accuracy" has its rule, others follow `select`; `always` overrides both.
        keys: metrics without a rule.
    Raises:
        UserError: there is no such rule.
    """
    found = []
    for written in metrics:
        head, _, tail = written.partition(".")
        own, metric = (head, tail) if head in SELECTIONS else (None, written)
        units = [one.unit for one in published if one.metric == written]
        unit = "%" if "%" in units or (not units and _is_share(metric)) else next(iter(units), "1")
        factor = 100.0 if unit == "%" else 1.0
        rule = "" if written in keys else known_rule(always or own or select)
        found.append(Measured(metric, rule, unit, factor, written))
    return found


def _is_share(metric: str) -> bool:
    return metric.removesuffix("_calibrated").endswith("accuracy")


def shown_p(p: float | None) -> str:
    return "-" if p is None else "<0.0001" if p < 0.00005 else f"{p:.4f}"


def spanned(values: Iterable[float], spec: str) -> str:
    """ "0.4", or "0.38 to 0.41" where they differ when printed."""
    shown = [format(value, spec) for value in sorted(values)]
    return shown[0] if shown[0] == shown[-1] else f"{shown[0]} to {shown[-1]}"


def values(runs: "DataFrame", measured: Measured) -> list[float]:
    """The value of every run, NaN where it has none. "fairness.DP.sex=Female" is in the rows of "best_val.fairness"."""
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


def class_names(runs: "DataFrame") -> tuple[str, ...]:
    """The names of the classes, where all runs have the same; older runs have none."""
    found = {tuple(names) for names in column(runs, "class_names") if isinstance(names, list)}
    return found.pop() if len(found) == 1 else ()


def column(runs: "DataFrame", name: str) -> list:
    """A column of `collect`; None where a run has no such value."""
    found = runs[name].tolist() if name in runs else [None] * len(runs)
    return [None if isinstance(value, float) and value != value else value for value in found]
