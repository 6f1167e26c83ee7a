"""The shape of the code: imports point one way, names agree, the loop knows no method, files have one job."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import lilawbench
from lilawbench.methods.base import Method
from lilawbench.train import CONF

PACKAGE = Path(lilawbench.__file__).parent
# A room may import rooms of a lower number, and itself.
LAYERS = {
    "tasks": 0, "support": 0,
    "losses": 1, "augment": 1, "metrics": 1,
    "loading": 2,
    "datasets": 3, "noise": 3, "models": 3,
    "config": 4, "methods": 4,
    "check": 5, "engine": 5,
    "probes": 6,
    "record": 7,
    "experiment": 8,
    "launch": 9,
    "report": 10,
    "pipeline": 11,
    "train": 12,
}  # fmt: skip
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def room(module: str) -> str:
    return module.split(".")[1]


def imports(path: Path) -> set[str]:
    """lilawbench modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.startswith("lilawbench.")}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name in imports(path):
        other = room(name)
        if other not in LAYERS:  # lilawbench.__version__
            continue
        assert other == own or LAYERS[other] < LAYERS[own], f"{path.name} ({own}) imports {name}"


def test_every_room_has_a_layer():
    rooms = {p.relative_to(PACKAGE).parts[0].removesuffix(".py") for p in MODULES}
    assert rooms == set(LAYERS)


def test_the_engine_names_no_method():
    methods = {f"lilawbench.methods.{path.stem}" for path in (PACKAGE / "methods").glob("[a-z]*.py")} - {
        "lilawbench.methods.base"
    }
    assert methods  # a renamed folder would make this test empty
    for path in (PACKAGE / "engine").glob("*.py"):
        assert not imports(path) & methods, path.name


def test_methods_and_engine_never_see_clean_labels():
    for folder in ("methods", "engine"):
        for path in (PACKAGE / folder).glob("*.py"):
            names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
            names |= {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
            assert not names & {"clean", "train_clean", "test_clean"}, path.name


@pytest.mark.parametrize("group", ["dataset", "noise", "model", "loss", "method", "logger"])
def test_yaml_is_named_as_its_file_and_describes_itself(group):
    files = sorted((CONF / group).glob("*.yaml"))
    assert files
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert text.startswith("#"), f"{path} opens without a comment on what it is"
        tree = OmegaConf.to_container(OmegaConf.create(text))
        name = tree.get(group, tree)["name"]
        assert name in (path.stem, "${loss.name}"), path  # a Supervised method bears its loss's name


@pytest.mark.parametrize("group, package", [("noise", "noise"), ("loss", "losses")])
def test_every_function_of_a_group_has_a_yaml(group, package):
    """A class counts under its name in small letters: ForwardCorrection is forward_correction."""
    module = __import__(f"lilawbench.{package}", fromlist=["*"])
    public = getattr(module, "__all__", None) or [
        name for name, value in vars(module).items() if callable(value) and value.__module__ == module.__name__
    ]
    names = [re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower() for name in public]
    assert sorted(names) == sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def test_every_method_file_has_a_yaml_and_a_test():
    """A file with a Method in it is named as that method's YAML; the others hold what methods share."""
    targets = [yaml.read_text(encoding="utf-8") for yaml in (CONF / "method").glob("*.yaml")]
    for path in (PACKAGE / "methods").glob("[a-z]*.py"):
        defines = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
        module = __import__(f"lilawbench.methods.{path.stem}", fromlist=["*"])
        if any(issubclass(getattr(module, node.name), Method) for node in defines) and path.stem != "base":
            assert any(f"lilawbench.methods.{path.stem}." in text for text in targets), f"{path.name} has no YAML"
            assert (Path(__file__).parent / "methods" / f"test_{path.stem}.py").exists(), f"{path.name} has no test"


def test_files_stay_short():
    long = {path.name: n for path in MODULES if (n := len(path.read_text(encoding="utf-8").splitlines())) > 320}
    assert not long


def test_one_file_touches_private_modules_of_hydra():
    """hydra._internal and omegaconf._utils may change with any version: pyproject.toml caps it for this one file."""
    adapter = PACKAGE / "support" / "hydra_private.py"
    root = PACKAGE.parent
    sources = [path for folder in ("lilawbench", "scripts", "tests") for path in (root / folder).rglob("*.py")]
    private = re.compile(r"^\s*(from|import)\s+(hydra|omegaconf)[\w.]*(\._| import _)", re.MULTILINE)
    touching = {path for path in sources if private.search(path.read_text(encoding="utf-8"))}
    assert touching == {adapter} and len(sources) > 200
    dependencies = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    assert [name for name in dependencies if name.startswith("hydra-core")] == ["hydra-core>=1.3.2,<1.4"]
