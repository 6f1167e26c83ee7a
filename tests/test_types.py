"""What the type checker does not ask: no `Any` in a public signature, and a reason beside each ignore."""

import ast
import re
import tomllib
from pathlib import Path

import lilawbench

PACKAGE = Path(lilawbench.__file__).parent
ROOT = PACKAGE.parent


def modules() -> dict[str, Path]:
    """The files of the package by module name."""
    return {
        ".".join(["lilawbench", *path.relative_to(PACKAGE).with_suffix("").parts]): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def public_annotations(body: list[ast.stmt]) -> list[ast.expr]:
    """Of the functions, methods and class attributes whose names have no leading underscore (`__init__` and kin do)."""
    found: list[ast.expr | None] = []
    for node in body:
        if isinstance(node, ast.ClassDef):
            found += [] if node.name.startswith("_") else public_annotations(node.body)
        elif isinstance(node, ast.AnnAssign):
            found += [] if ast.unparse(node.target).startswith("_") else [node.annotation]
        elif isinstance(node, ast.FunctionDef) and not re.match("_(?!_)", node.name):
            args = node.args
            every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
            found += [arg.annotation for arg in every if arg is not None] + [node.returns]
    return [annotation for annotation in found if annotation is not None]


def test_no_public_signature_says_any():
    saying = [
        f"{name}, line {annotation.lineno}"
        for name, path in modules().items()
        if "Any" in (code := path.read_text(encoding="utf-8"))
        for annotation in public_annotations(ast.parse(code).body)
        if re.search(r"\bAny\b", ast.unparse(annotation))
    ]
    assert not saying


def test_any_is_seen():
    """A control: arguments, results and attributes are looked at, private ones are not."""
    code = "class A:\n x: Any\n _y: Any\n def __init__(self, *a: Any): ...\n def _b(self, c: Any): ...\n"
    code += "def f() -> 'Any': ..."
    assert [ast.unparse(found) for found in public_annotations(ast.parse(code).body)] == ["Any", "Any", "'Any'"]


def test_every_ignore_has_a_reason():
    for name, path in modules().items():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if "# type: ignore" in line:
                assert re.search(r"# type: ignore\[[a-z-]+\]  # \w", line), f"{name}, line {number}"


def test_no_file_is_left_out():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
    assert settings["packages"] == ["lilawbench"] and "exclude" not in settings
    assert not any(block.get("ignore_errors") for block in [settings, *settings["overrides"]])
