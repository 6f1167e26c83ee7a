"""Which values an annotation allows, and in which words the others are refused."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

import numpy as np
import pytest

from lilawbench.support.values import fits, misfit

Matrix = Sequence[Sequence[float]] | np.ndarray | str


class Step(TypedDict, total=False):
    eps: float
    clip: Sequence[float] | None


@pytest.mark.parametrize(
    "value, kind",
    [
        (True, bool),
        (3, int),
        (3, float),
        (1e-3, float | None),
        (None, int | None),
        ("a", Literal["a", "b"]),
        ([], Sequence[str]),
        (["sex"], Sequence[str]),
        ([[0.9, 0.1], [0, 1]], Matrix),
        ("matrix.csv", Matrix),
        (3, np.ndarray),  # what a config cannot hold is left to the part
        ({1: 2}, Mapping[int, int] | None),
        ({"eps": 1, "clip": [0, 1]}, Step | None),
        ([1, "a"], tuple[int, str]),
        ({"_target_": "mine.made"}, float),
        ("anything", object),
    ],
)
def test_what_fits(value, kind):
    assert fits(value, kind)


@pytest.mark.parametrize(
    "value, kind, said",
    [
        ("no", bool, "x.y is no (text); it must be true or false: x.y=false"),
        ("perhaps", bool, "x.y is perhaps (text); it must be true or false"),
        (0, bool, "x.y is 0; it must be true or false"),
        (True, int, "x.y is true; it must be a whole number"),
        (3.0, int, "x.y is 3.0; it must be a whole number: x.y=3"),
        (2**70, int, f"x.y is {2**70}, which 64 bits cannot hold; it must be a whole number"),
        (False, float | None, "x.y is false; it must be a finite number or null"),
        (float("inf"), float, "x.y is inf; it must be a finite number"),
        (float("nan"), Sequence[float] | float, "x.y is nan; it must be a list of finite numbers or a finite number"),
        (1e300, float, "x.y is 1e+300, which float32 cannot hold; it must be a finite number"),
        (5, str, "x.y is 5; it must be text, which on a command line needs two kinds of quotes: 'x.y=\"5\"'"),
        ("sex", Sequence[str], "x.y is sex (text); it must be a list of texts: x.y=[sex]"),
        ([1], list[str], "x.y is [1]; it must be a list of texts"),
        ([1, 2, 3], tuple[int, int], "x.y is [1,2,3]; it must be a list of whole numbers"),
        ("c", Literal["a", "b"], "x.y is c (text); it must be a or b"),
        ([[1, "a"]], Matrix, "x.y is [[1,a]]; it must be a list of lists of finite numbers or text"),
        ({"a": 1}, Mapping[str, str], "x.y is {a: 1}; it must be a mapping {KEY: text}"),
        ({"eps": "a"}, Step | None, "x.y.eps is a (text); it must be a finite number"),
        ({"esp": 1}, Step, "x.y.esp is not an option (valid: eps, clip)"),
        ([float("inf")], object, "x.y is [inf]; it must be finite"),
    ],
)
def test_what_does_not_fit_is_said(value, kind, said):
    assert misfit("x.y", value, kind) == said


def test_infinity_is_for_options_that_say_so():
    assert misfit("x", float("inf"), float, infinite=True) is None
