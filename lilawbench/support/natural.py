"""The order of names that people expect: 2 before 10, and img2 before img10."""

import re

NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
DIGITS = re.compile(r"([0-9]+)")

Key = tuple[bool, float, tuple[str | tuple[int, str], ...], str]


def natural(name: str) -> Key:
    """Key to sort class names by: numbers first, by value; then text, each run of digits in it by value.

    Different names have different keys, so that the order never depends on that of the input.
    """
    if NUMBER.fullmatch(name):
        return (False, float(name), (), name)
    parts = DIGITS.split(name)
    return (True, 0.0, tuple(_value(part) if i % 2 else part for i, part in enumerate(parts)), name)


def _value(digits: str) -> tuple[int, str]:
    """Sorts as the number does; int() refuses more than 4,300 digits."""
    digits = digits.lstrip("0")
    return len(digits), digits
