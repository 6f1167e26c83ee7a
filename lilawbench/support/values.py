"""Whether an option's value is of the kind that its annotation says, and in which words a user is told what is."""

import collections.abc
import math
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from lilawbench.support.plain import Tree

Kind = Any  # an annotation, as typing.get_type_hints gives it
LARGEST_FLOAT = 3.4028234e38  # of float32
LARGEST_INT = 2**63 - 1
LISTS = (list, tuple, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
WORDS_FOR_TRUTH = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def misfit(name: str, value: Tree, kind: Kind, infinite: bool = False) -> str | None:
    """What is wrong with a value, in one line; None: it fits.

    Args:
        name: dotted, as on the command line. kind: its annotation; what a config cannot hold (a tensor) is not asked.
        infinite: numbers that are not finite are allowed.
    """
    if fits(value, kind, infinite):
        return None
    named = next(filter(is_typeddict, _alternatives(kind)), None)
    if isinstance(value, dict) and named is not None:
        hints = get_type_hints(named)
        if unknown := [key for key in value if key not in hints]:
            return f"{name}.{unknown[0]} is not an option (valid: {', '.join(hints)})"
        return next(filter(None, (misfit(f"{name}.{key}", one, hints[key], infinite) for key, one in value.items())))
    return f"{name} is {spelled(value)}{_sort(value, kind)}; it must be {said(kind)}{_advice(name, value, kind)}"


def fits(value: Tree, kind: Kind, infinite: bool = False) -> bool:
    """Whether a value is of a kind. A truth value is no number, a number is no text, and 3.0 is no whole number."""
    origin, parts = _origin(kind), get_args(kind)
    if isinstance(value, dict) and "_target_" in value:  # an object that is still to be built
        return True
    if kind in (Any, object):
        return infinite or not _holds_infinity(value)
    if origin in (Union, UnionType):
        return any(fits(value, part, infinite) for part in parts if asked(part)) or not asked(kind)
    if origin is Annotated:
        return fits(value, parts[0], infinite)
    if origin is Literal:
        return any(value == part and type(value) is type(part) for part in parts)
    if kind in (None, NoneType):
        return value is None
    if kind is int:
        return type(value) is int and abs(value) <= LARGEST_INT
    if kind is float:
        return type(value) in (int, float) and (infinite or abs(value) <= LARGEST_FLOAT)  # of nan this is false too
    if kind in (bool, str):
        return type(value) is kind
    if is_typeddict(kind):
        hints = get_type_hints(kind)
        return isinstance(value, dict) and all(
            key in hints and fits(v, hints[key], infinite) for key, v in value.items()
        )
    if (origin or kind) in MAPPINGS:
        of_key, of_value = parts or (Any, Any)
        return isinstance(value, dict) and all(
            fits(key, of_key) and fits(one, of_value, infinite) for key, one in value.items()
        )
    if (origin or kind) in LISTS:
        return isinstance(value, list) and _each_fits(value, origin, parts, infinite)
    return not asked(kind)


def asked(kind: Kind) -> bool:
    """Whether a value of a config can be of this kind at all; anything else is left to the part itself."""
    origin, parts = _origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(asked(part) for part in parts if part is not NoneType)
    plain = (*LISTS, *MAPPINGS, Annotated, Literal)
    return kind in (bool, int, float, str, None, NoneType) or (origin or kind) in plain or is_typeddict(kind)


def said(kind: Kind) -> str:
    """A kind in words: "a list of whole numbers or null"."""
    origin, parts = _origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(said(part) for part in parts if asked(part)))
    if origin is Annotated:
        return said(parts[0])
    if origin is Literal:
        return " or ".join(map(spelled, parts))
    if (origin or kind) in MAPPINGS or is_typeddict(kind):
        return f"a mapping {{KEY: {said(parts[1]) if len(parts) == 2 and asked(parts[1]) else 'VALUE'}}}"
    if (origin or kind) in LISTS:
        of = [part for part in parts if part is not ...]
        return f"a list of {_several(of[0])}" if of and asked(of[0]) else "a list"
    return {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}.get(
        kind, "finite" if kind in (Any, object) else "null"
    )


def spelled(value: Tree) -> str:
    """A value as a user would write it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(spelled, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{spelled(key)}: {spelled(one)}" for key, one in value.items()) + "}"
    return str(value) if value != "" else "''"


def _several(kind: Kind) -> str:
    words = said(kind)
    plural = {"a whole number": "whole numbers", "a finite number": "finite numbers", "text": "texts"}
    return plural.get(words) or (f"lists{words.removeprefix('a list')}" if words.startswith("a list") else words)


def _origin(kind: Kind) -> Kind:
    """As typing.get_origin, whose own type says less than it gives."""
    return get_origin(kind)


def _alternatives(kind: Kind) -> tuple[Kind, ...]:
    """What a union allows; of anything else itself."""
    return get_args(kind) if _origin(kind) in (Union, UnionType) else (kind,)


def _sort(value: Tree, kind: Kind) -> str:
    """Said of a value that looks like what it is not."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf:
        kinds = _alternatives(kind)
        if float in kinds and abs(value) > LARGEST_FLOAT:
            return ", which float32 cannot hold"
        return ", which 64 bits cannot hold" if int in kinds and isinstance(value, int) else ""
    return " (text)" if isinstance(value, str) and value else ""


def _advice(name: str, value: Tree, kind: Kind) -> str:
    kinds = _alternatives(kind)
    lists = [one for one in kinds if (_origin(one) or one) in LISTS]
    if isinstance(value, str) and bool in kinds and value.lower() in WORDS_FOR_TRUTH:
        return f": {name}={WORDS_FOR_TRUTH[value.lower()]}"
    if isinstance(value, float) and int in kinds and float not in kinds and value.is_integer():
        return f": {name}={int(value)}" if abs(value) <= LARGEST_INT else ""
    if not isinstance(value, list) and value not in (None, "") and any(fits([value], one) for one in lists):
        return f": {name}=[{spelled(value)}]"
    if isinstance(value, bool | int | float) and str in kinds:
        return f", which on a command line needs two kinds of quotes: '{name}=\"{spelled(value)}\"'"
    return ""


def _each_fits(values: list[Tree], origin: Kind, parts: tuple[Kind, ...], infinite: bool) -> bool:
    if origin is tuple and ... not in parts:
        return len(values) == len(parts) and all(fits(one, kind, infinite) for one, kind in zip(values, parts))
    return all(fits(one, parts[0] if parts else Any, infinite) for one in values)


def _holds_infinity(value: Tree) -> bool:
    """Whether a number anywhere in a value is not finite."""
    if isinstance(value, dict | list):
        return any(map(_holds_infinity, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and not math.isfinite(value)
