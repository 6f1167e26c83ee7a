"""Classes in options and files: by their number or by their name."""

from collections.abc import Sequence

import numpy as np

from lilawbench.support.errors import closest


def class_number(value: int | str, class_names: Sequence[str]) -> int:
    """A class by its number, or by its name. Raises: ValueError, no class has that name."""
    if isinstance(value, str) and value in class_names:
        return list(class_names).index(value)
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"{value} is no class; {closest(str(value), class_names)}") from None


def is_number(word: int | str) -> bool:
    """Whether it can be a class's number."""
    return not isinstance(word, str) or word.strip().isdecimal()


def named(values: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """Labels [N] as they stand in a text file, with names replaced by numbers; other words stay as they are.

    Raises:
        ValueError: the data set's names are numbers, and the labels can be read as either.
    """
    words = [str(value).strip() for value in values]
    names = {name: str(number) for number, name in enumerate(class_names)}
    if not any(is_number(name) for name in names):
        return np.array([names.get(word, word) for word in words]) if set(words) & names.keys() else values
    if all(name == number for name, number in names.items()) or not set(words) <= names.keys():
        return values
    if set(words) <= set(names.values()):
        raise ValueError(
            "its labels are names of classes and numbers of classes too (names: "
            f"{', '.join(class_names)}; numbers: 0..{len(names) - 1}): write the numbers into an .npy file"
        )
    return np.array([names[word] for word in words])
