"""Options of a part: whether its target has them, and whether their values are of the kinds that its signature says."""

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple, get_type_hints

from lilawbench.config import LABELS_ONLY, Plain
from lilawbench.support.errors import unknown_option
from lilawbench.support.locate import locate, nested_targets
from lilawbench.support.values import Kind, fits, misfit

# Arguments that the program itself gives a part: when it builds it; and when it calls it, if it is a function (the
# number of arguments by position, then names). No option may have such a name.
BUILT_WITH = {"model": ("input_shape", "vocabulary"), "method": ("loss",)}
CALLED_WITH = {"noise": (2, ("generator", "inputs", "fetch")), "loss": (2, ())}


class Option(NamedTuple):
    """An argument that a target takes."""

    kind: Kind  # its annotation; Any: it has none, or one that is not so
    required: bool
    infinite: bool  # its default is not finite, so its values need not be


def wrong_options(group: str, node: Plain) -> list[str]:
    """What is wrong with a part's node, a line each: its target, keys, and values of another kind."""
    if not isinstance(node, Plain):
        return [f"{group} is no probe: a probe's YAML has its name first, NAME: {{_target_: MODULE.CLASS}}"]
    if "_target_" not in node:
        named = f"{group}={node.get('name')}"
        return [f"{named} has no _target_: its YAML names a function or class, _target_: MODULE.NAME"]
    try:
        target = locate(node["_target_"])
        for inner in nested_targets({key: value for key, value in node.items() if key != "_target_"}):
            locate(inner)
        taken, any_other = _options_of(group, target)
    except (ImportError, ValueError) as error:  # ValueError: something without a signature
        return [f"{group}._target_: {error}"]
    given = {key: value for key, value in node.items() if key not in (*LABELS_ONLY, "_target_")}
    unknown = [key for key in given if key not in taken and not (any_other and key not in _given(group, target))]
    problems = [unknown_option(f"{group}.{key}", str(node.get("name", group)), taken) for key in unknown]
    problems += [
        f"{group}.{key} has no value, and {node.get('name', group)} needs one: {group}.{key}=..."
        for key, option in taken.items()
        if option.required and key not in given
    ]
    wrong = (misfit(f"{group}.{key}", given[key], one.kind, one.infinite) for key, one in taken.items() if key in given)
    return problems + [line for line in wrong if line]


@functools.cache
def _options_of(group: str, target: Callable[..., object]) -> tuple[dict[str, Option], bool]:
    """What a user may give, by name, and whether any other name may be given too (**options)."""
    named, any_other = _parameters_of(target)
    taken = {name: option for name, option in named.items() if name not in _given(group, target)}
    if group == "model" and "num_classes" in taken:  # null: the program gives the data set's
        taken["num_classes"] = Option(int | None, False, False)
    return taken, any_other


def _parameters_of(target: Callable[..., object]) -> tuple[dict[str, Option], bool]:
    """As `_options_of`, with what the program gives; `**options` of a class are those of its base."""
    parameters = inspect.signature(target).parameters.values()
    hints = _hints(target.__init__ if inspect.isclass(target) else target)
    named = {
        each.name: _option(each, hints)
        for each in parameters
        if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    }
    any_other = any(each.kind is each.VAR_KEYWORD for each in parameters)
    if any_other and inspect.isclass(target) and (base := target.__mro__[1]) is not object:
        more, any_other = _parameters_of(base)
        named = more | named
    return named, any_other


def _option(parameter: inspect.Parameter, hints: dict[str, Kind]) -> Option:
    default = parameter.default
    required = default is parameter.empty
    infinite = isinstance(default, float) and not math.isfinite(default)
    kind = hints.get(parameter.name, bool if isinstance(default, bool) else Any)
    plain = list(default) if isinstance(default, tuple) else default
    if not required and not fits(plain, kind, infinite) and isinstance(plain, int | float | str | list | dict | None):
        kind = Any  # the annotation is not true of the default
    return Option(kind, required, infinite)


def _hints(target: Callable[..., object]) -> dict[str, Kind]:
    try:
        return get_type_hints(target)
    except Exception:  # a stranger's annotation may name anything
        return {}


@functools.cache
def _given(group: str, target: Callable[..., object]) -> set[str]:
    """Names of the arguments that the program gives."""
    if group in CALLED_WITH and not inspect.isclass(target):
        count, names = CALLED_WITH[group]
        return {*list(inspect.signature(target).parameters)[:count], *names}
    return set(BUILT_WITH.get(group, ()))
