"""The function or class that a dotted path of a config names: only of packages and folders that a config may run."""

import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from lilawbench.support import hydra_private, searchpath
from lilawbench.support.plain import Tree
from lilawbench.support.values import spelled

PACKAGES = ("lilawbench", "torch", "torchvision", "timm")
# What loads or runs code that a file brings.
LOADERS = (
    *("torch.load", "torch.serialization", "torch.hub", "torch.jit", "torch.package", "torch.export", "torch.utils"),
    *("torch.ops", "torch.classes", "torch.distributed", "torch.multiprocessing"),
)


def locate(dotted: Tree) -> Callable[..., object]:
    """The function or class of a dotted path.

    Raises:
        ImportError: there is none: where it was looked for, what went wrong in its file, or that a config may not run
            it. Then nothing was imported.
    """
    if not isinstance(dotted, str) or not all(part.isidentifier() for part in dotted.split(".")):
        raise ImportError(f"{spelled(dotted)} is no dotted path, such as my_module.my_function")
    if reason := refused(dotted):
        raise ImportError(f"{dotted}: {reason}")
    try:
        found = hydra_private.locate(dotted)
    except Exception as error:
        raise ImportError(_unlocated(dotted, error.__cause__ or error)) from error
    if not callable(found):
        raise ImportError(f"{dotted}: this is no function or class, but a {type(found).__name__}")
    home = getattr(found, "__module__", None) or dotted
    if (inspect.isroutine(found) or inspect.isclass(found)) and _leads_out(dotted.split(".")[0], home):
        raise ImportError(f"{dotted}: this is {home}.{found.__name__}, and {_rule()}")
    return found


def _leads_out(top: str, home: str) -> bool:
    """Whether a path leaves the package that it begins in, as torch.os.system does; the user's code may pass on."""
    if top in PACKAGES:
        return home.split(".")[0] not in PACKAGES or _among(home, LOADERS)
    return home.split(".")[0] in sys.stdlib_module_names


def refused(dotted: str) -> str | None:
    """Why a config may not run what a dotted path names, told without importing it; None: it may, or it is not there.

    A config runs what is of lilawbench, torch, torchvision, timm, or of a folder that the command names.
    """
    top = dotted.split(".")[0]
    if top in PACKAGES:
        return _rule() if _among(dotted, LOADERS) else None
    if top == "__main__" or top in sys.stdlib_module_names:
        return _rule()
    folders, places = searchpath.in_use(), list(_places(top))
    if not places and top not in sys.modules:
        return None
    resolved = [folder.resolve() for folder in folders]
    within = any(
        place.parent.resolve() == folder or folder.is_relative_to(place.resolve())
        for place in places
        for folder in resolved
    )
    return None if within else _rule()


def nested_targets(tree: Tree) -> Iterator[Tree]:
    """Every `_target_` in a tree, at any depth."""
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in inside:
        if key == "_target_":
            yield value
        else:
            yield from nested_targets(value)


def _places(top: str) -> Iterator[Path]:
    """Where a top-level module lies: its file or its folder; none: it is not there."""
    module = sys.modules.get(top)
    try:
        spec = getattr(module, "__spec__", None) or importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    found = [*(spec.submodule_search_locations or [spec.origin]), *getattr(module, "__path__", ())] if spec else []
    yield from (Path(place).absolute() for place in found if place)


def _rule() -> str:
    names = f"{', '.join(PACKAGES[:-1])} or {PACKAGES[-1]}"
    return f"a config runs only what is of {names}, or of a folder that --config-dir or {searchpath.KEY} names"


def _among(dotted: str, names: tuple[str, ...]) -> bool:
    return any(dotted == name or dotted.startswith(f"{name}.") for name in names)


def _unlocated(dotted: str, cause: BaseException) -> str:
    top = dotted.partition(".")[0]
    if isinstance(cause, ModuleNotFoundError) and cause.name == top:
        places = [f"{folder}/{top}.py" for folder in searchpath.in_use()]
        looked = f"looked for {', '.join(places)}" if places else "no folder was named"
        advice = "" if places else ": --config-dir=FOLDER makes the modules in a folder importable"
        return f"{dotted}: there is no module {top}: {looked}{advice}"
    file = getattr(sys.modules.get(top), "__file__", None)
    if isinstance(cause, AttributeError | ModuleNotFoundError) and file:
        return f"{dotted}: not found in {file} ({cause})"
    return f"{dotted}: importing it failed: {type(cause).__name__}: {cause}"
