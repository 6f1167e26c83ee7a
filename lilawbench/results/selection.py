"""Which epoch's figures a run reports. Every rule has a name, and the one that looks at the test set says oracle."""

from collections.abc import Callable, Sequence

Row = dict[str, float | None]  # None: not finite


def last(epochs: Sequence[Row]) -> Row:
    """The last epoch."""
    return _figures(epochs[-1])


def last5(epochs: Sequence[Row]) -> Row:
    """The mean of the last five epochs (of all, if fewer); None for what some of them have not measured."""
    tail = [_figures(row) for row in epochs[-5:]]
    columns = {key: [row.get(key) for row in tail] for key in tail[-1] if key != "epoch"}
    return {key: None if None in values else sum(values) / len(values) for key, values in columns.items()}


def best_val(epochs: Sequence[Row]) -> Row:
    """The first epoch of the highest validation accuracy, on validation labels as the method sees them."""
    return _best(epochs, "val_accuracy")


def oracle_best(epochs: Sequence[Row]) -> Row:
    """The first epoch of the highest test accuracy: an upper bound that nobody can select in earnest."""
    return _best(epochs, "test_accuracy")


RULES: dict[str, Callable[[Sequence[Row]], Row]] = {
    "last": last,
    "last5": last5,
    "best_val": best_val,
    "oracle_best": oracle_best,
}


def select(epochs: Sequence[Row]) -> Row:
    """The figures under every rule, flat ("best_val.test_accuracy" ...). A rule without its measure is left out."""
    chosen = {}
    for name, rule in RULES.items():
        if name == "best_val" and "val_accuracy" not in epochs[-1]:
            continue
        chosen.update({f"{name}.{key}": value for key, value in rule(epochs).items()})
    return chosen


def _best(epochs: Sequence[Row], key: str) -> Row:
    return _figures(max(epochs, key=lambda row: row[key]))


def _figures(row: Row) -> Row:
    """The epoch and its validation and test measures."""
    return {key: value for key, value in row.items() if key == "epoch" or key.startswith(("val_", "test_"))}
