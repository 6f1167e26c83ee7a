"""The function or class that a dotted path names."""

import sys
from collections.abc import Callable

from lilawbench.support import hydra_private, searchpath


def locate(dotted: str) -> Callable[..., object]:
    """The function or class of a dotted path.

    Raises:
        ImportError: there is none: where it was looked for, or what went wrong in its file.
    """
    try:
        return hydra_private.locate(dotted)
    except Exception as error:
        raise ImportError(_unlocated(dotted, error.__cause__ or error)) from error


def _unlocated(dotted: str, cause: BaseException) -> str:
    top = dotted.partition(".")[0]
    if isinstance(cause, ModuleNotFoundError) and cause.name == top:
        places = [f"{folder}/{top}.py" for folder in searchpath.in_use()]
        looked = f"looked for {', '.join(places)} and " if places else "looked for "
        advice = "" if places else "; --config-dir=FOLDER makes the modules in a folder importable"
        return f"{dotted}: there is no module {top}: {looked}an installed {top}{advice}"
    file = getattr(sys.modules.get(top), "__file__", None)
    if isinstance(cause, AttributeError | ModuleNotFoundError) and file:
        return f"{dotted}: not found in {file} ({cause})"
    return f"{dotted}: importing it failed: {type(cause).__name__}: {cause}"
