"""The source of a run's parts outside the package: it belongs to the run's identity, so edited code is another run.

It is read without importing it. Installed packages are not read: the record has their versions.
"""

import ast
import functools
import hashlib
import importlib.util
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import NamedTuple

from lilawbench.schema import Config
from lilawbench.support import searchpath
from lilawbench.support.plain import Tree

TYPED = {item.name for item in fields(Config) if is_dataclass(item.type)}  # blocks of settings, without parts
INSTALLED = {"site-packages", "dist-packages"}
ITSELF = __name__.partition(".")[0]


def code(cfg: Mapping[str, Tree]) -> dict[str, str]:
    """Digests of the source of outside parts, by the group that names them; most configs have none.

    A digest is of a part's file, and of the modules that it imports from its own folder or another folder of the
    command; data files are left to data.py.
    """
    digests = {group: _digest(tuple(targets(node))) for group, node in cfg.items() if group not in TYPED}
    return {group: digest for group, digest in digests.items() if digest is not None}


def targets(node: Tree) -> Iterator[str]:
    """Dotted paths of all parts outside the package that a node names, at any depth."""
    if isinstance(node, dict):
        target = node.get("_target_")
        if isinstance(target, str) and target.startswith("hydra.utils.get_"):  # get_method, get_class, get_object
            target = node.get("path")
        if isinstance(target, str) and not target.startswith(f"{ITSELF}."):
            yield target
        for value in node.values():
            yield from targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from targets(value)


def _digest(dotted: tuple[str, ...]) -> str | None:
    files: dict[str, Path] = {}
    for part in dotted:
        _gather(part, files)
    if not files:
        return None
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):  # by module name: a folder that has moved is the same code
        text = _source(name, path)
        digest.update(f"{name} {len(text)}\n".encode() + text)
    return digest.hexdigest()[:12]


def _gather(dotted: str, files: dict[str, Path]) -> None:
    """Adds the files of the modules along a dotted path, and of the modules that they import, by module name."""
    top, *rest = dotted.split(".")
    place, names = _outside(top), [top]
    folders = {place.parent, *searchpath.in_use()} if place else set()
    while place is not None:
        is_folder = place.is_dir()
        file = place / "__init__.py" if is_folder else place
        name = ".".join(names)
        if file.is_file() and name not in files:
            files[name] = file
            for imported in _imports(_source(name, file), name if is_folder else name.rpartition(".")[0]):
                if _is_in(folders, imported.partition(".")[0]):
                    _gather(imported, files)
        if not (is_folder and rest):
            return
        names.append(rest.pop(0))
        inner = place / names[-1]
        place = inner if inner.is_dir() else inner.with_suffix(".py")


def _is_in(folders: Collection[Path], top: str) -> bool:
    """Whether a top-level module is one of these folders'; asked of the folders first, which is quick."""
    if not any((folder / f"{top}.py").exists() or (folder / top).is_dir() for folder in folders):
        return False
    place = _outside(top)
    return place is not None and place.parent in folders


def _outside(top: str) -> Path | None:
    """The file or folder of a top-level module; None: it is this package, Python's own or installed."""
    if top == ITSELF or top in sys.stdlib_module_names:
        return None
    if (known := _places.get(top)) is not None and known.exists():
        return known if INSTALLED.isdisjoint(known.parts) else None
    try:
        spec = importlib.util.find_spec(top)
        places = list(spec.submodule_search_locations or [spec.origin or ""]) if spec else []
    except (ImportError, ValueError):  # ValueError: a script's __main__ has no spec
        places = [getattr(sys.modules.get(top), "__file__", None) or ""]
    if not any(places):
        return None
    _places[top] = Path(places[0])
    return _outside(top) if _places[top].exists() else None


_places: dict[str, Path] = {}  # of top-level modules found so far


@functools.lru_cache(maxsize=1000)
def _imports(text: bytes, package: str) -> tuple[str, ...]:
    """Dotted paths that a file imports, anywhere in it; its relative imports start from `package`."""
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError):  # importing it will say so
        return ()
    found = []
    for node in nodes:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            path = ".".join([*filter(None, base), *filter(None, [node.module])])
            found += [f"{path}.{alias.name}" if path else alias.name for alias in node.names]
    return tuple(dict.fromkeys(found))


class _Kept(NamedTuple):
    text: bytes
    spec: ModuleSpec | None  # of the module, once it is imported
    stamp: tuple[int, int]


_kept: dict[Path, _Kept] = {}


def _source(name: str, path: Path) -> bytes:
    """A file's content; for a module that this process has imported, as it was then, since that is what runs."""
    spec, kept = getattr(sys.modules.get(name), "__spec__", None), _kept.get(path)
    if kept and spec is not None and kept.spec in (None, spec):  # a reload makes another spec
        _kept[path] = kept._replace(spec=spec)
        return kept.text
    stat = path.stat()
    stamp = (stat.st_mtime_ns, stat.st_size)
    if not kept or kept.stamp != stamp or kept.spec is not spec:
        _kept[path] = _Kept(path.read_bytes(), spec, stamp)
    return _kept[path].text
