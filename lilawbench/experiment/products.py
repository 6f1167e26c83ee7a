"""Expands rows and columns that stand for several: KEY=VALUE,VALUE as in Hydra's sweeps, and {KEY} in the name.

    "{dataset}, {noise.rate:%}": ["dataset=mnist_m,cifar10_m", "noise.rate=0.2,0.4"]

is four columns, the last key varying fastest: "mnist_m, 20 %", "mnist_m, 40 %", "cifar10_m, 20 %", "cifar10_m, 40 %".
"""

import difflib
import functools
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import filter as matching

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from lilawbench.config import Plain
from lilawbench.support.errors import ConfigError

PLACE = re.compile(r"\{([\w./@]+)(:%)?\}")  # {noise.rate}: 0.2; {noise.rate:%}: 20 %


def expanded(table: Plain) -> Plain:
    """The table with every row and column spelt out, and patterns such as "CIFAR-10, *" replaced by names.

    A baseline given by a pattern is for the rows without one of their own; no row becomes its own baseline.

    Raises:
        ConfigError: two rows or columns would have the same name, or `only` names one that is not there.
    """
    listed = [*table.baselines, *(table.only or []), *itertools.chain(*table.averages.values())]
    if not any("{" in name for name in (*table.rows, *table.columns)) and not any("*" in name for name in listed):
        _kept(table.only, (*table.rows, *table.columns))
        return table
    rows, columns = _each("row", table.rows), _each("column", table.columns)
    own = {row: baseline for row, baseline in table.baselines.items() if "*" not in row}
    baselines = {row: by for row, by in _matched(table.baselines, rows).items() if row != by} | own
    only = _kept(table.only, (*rows, *columns))
    averages = {name: [c for part in parts for c in _names(part, columns)] for name, parts in table.averages.items()}
    return Plain(table | {"rows": rows, "columns": columns, "only": only, "baselines": baselines, "averages": averages})


def training(overrides: Iterable[str]) -> list[str]:
    """Those of a row or column that change its runs, not only which value of a run is shown."""
    return [override for override in overrides if not override.startswith("table.")]


def _kept(only: Sequence[str] | None, names: Sequence[str]) -> list[str] | None:
    """The rows and columns that `only` names. Raises: ConfigError, there is no such one, so that all would be kept."""
    if only is None or not names:
        return None if only is None else list(only)
    found = {part: [name for name in _names(part, names) if name in names] for part in only}
    if lost := [part for part, kept in found.items() if not kept]:
        near = difflib.get_close_matches(lost[0], names, n=3, cutoff=0.4) or names[:6]
        raise ConfigError([f"table.only: no row or column is called {lost[0]!r}; near it: {'; '.join(near)}"])
    return [*itertools.chain(*found.values())]


def _each(kind: str, parts: Mapping[str, Sequence[str]]) -> Plain:
    found = Plain()
    for name, overrides in parts.items():
        if not PLACE.search(name):
            found[name] = list(overrides)
            continue
        texts = {override: _texts(override) for override in overrides}
        products = [dict(zip(texts, chosen, strict=True)) for chosen in itertools.product(*texts.values())]
        names = [_filled(kind, name, product.values()) for product in products]
        if twice := {one for one in names if names.count(one) > 1}:
            raise ConfigError([f"table: {kind} {name} becomes several called {min(twice)}: put {{KEY}} into the name"])
        found.update(zip(names, (list(product.values()) for product in products), strict=True))
    return found


@functools.cache
def _texts(override: str) -> list[str]:
    """The overrides that one stands for; itself if it has one value."""
    parsed: Override = OverridesParser.create().parse_overrides([override])[0]
    if not parsed.is_sweep_override():
        return [override]
    return [f"{parsed.get_key_element()}={text}" for text in parsed.sweep_string_iterator()]


def _filled(kind: str, name: str, overrides: Iterable[str]) -> str:
    values = dict(override.split("=", 1) for override in overrides)

    def value(place: re.Match[str]) -> str:
        key, percent = place.groups()
        if key not in values:
            raise ConfigError([f"table: {kind} {name} does not set {key} (it sets {', '.join(values)})"])
        try:
            return f"{100 * float(values[key]):g} %" if percent else values[key]
        except ValueError:
            raise ConfigError([f"table: {kind} {name}: {values[key]} is not a rate"]) from None

    return PLACE.sub(value, name)


def _matched(given: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    return {name: value for pattern, value in given.items() for name in _names(pattern, names)}


def _names(pattern: str, names: Iterable[str]) -> list[str]:
    return matching(names, pattern) if "*" in pattern else [pattern]
