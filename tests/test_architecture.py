"""The shape of the code: imports point one way, names agree, the loop knows no method, files have one job."""

import ast
import functools
import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

import lilawbench
from lilawbench import pipeline
from lilawbench.config import CONF
from lilawbench.methods.base import Method
from lilawbench.train import run

PACKAGE = Path(lilawbench.__file__).parent
# A room may import rooms of a lower number, and itself.
LAYERS = {
    "tasks": 0, "support": 0,
    "losses": 1, "augment": 1, "metrics": 1,
    "loading": 2,
    "datasets": 3, "models": 3,
    "schema": 3, "noise": 4, "config": 4, "methods": 4,
    "check": 5, "engine": 5,
    "probes": 6,
    "record": 7,
    "experiment": 8, "trained": 8,
    "launch": 9,
    "report": 10,
    "pipeline": 11,
    "train": 12, "status": 12, "suspects": 12, "predict": 12,
}  # fmt: skip
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


@functools.cache
def nodes_of(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def room(module: str) -> str:
    return module.split(".")[1]


def imports(path: Path) -> set[str]:
    """lilawbench modules that a file imports, wherever in it."""
    found = set()
    for node in nodes_of(path):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.startswith("lilawbench.")}


def test_imports_point_one_way():
    wrong = []
    for path in MODULES:
        own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for name in imports(path):
            other = room(name)
            if other in LAYERS and other != own and LAYERS[other] >= LAYERS[own]:  # not lilawbench.__version__
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert not wrong


def test_every_room_has_a_layer():
    rooms = {p.relative_to(PACKAGE).parts[0].removesuffix(".py") for p in MODULES}
    assert rooms == set(LAYERS)


def test_the_engine_names_no_method_and_no_probe():
    """It knows what all of them are (base), may do (context) and must keep to (contract)."""
    methods = {f"lilawbench.methods.{path.stem}" for path in (PACKAGE / "methods").glob("[a-z]*.py")}
    methods -= {"lilawbench.methods.base", "lilawbench.methods.context", "lilawbench.methods.contract"}
    probes = {f"lilawbench.probes.{path.stem}" for path in (PACKAGE / "probes").glob("[a-z]*.py")}
    of_all = {f"lilawbench.probes.{name}" for name in ("base", "standard", "gather")}
    assert methods and probes  # a renamed folder would make this test empty
    for path in (PACKAGE / "engine").glob("*.py"):
        assert not imports(path) & (methods | probes), path.name
    for path in [*(PACKAGE / "record").glob("*.py"), PACKAGE / "pipeline.py"]:
        assert not imports(path) & (methods | probes - of_all), path.name


CLEAN = {"clean", "train_clean", "val_clean", "test_clean", "labelled_clean"}
# A data set makes clean labels, noise and split take observed ones from them, probes measure against them.
MAY_SEE_CLEAN = {"datasets", "noise", "probes"}


def test_nothing_but_noise_split_and_probes_reaches_a_clean_label():
    """By attribute or by key; a probe hands them to functions of metrics/. The pipeline makes the test table, which it
    gives to probes alone."""
    reaching = {}
    for path in MODULES:
        place = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        subscripts = [node.slice for node in nodes_of(path) if isinstance(node, ast.Subscript)]
        reached = {node.value for node in subscripts if isinstance(node, ast.Constant)}
        reached |= {node.attr for node in nodes_of(path) if isinstance(node, ast.Attribute)}
        allowed = CLEAN if place in MAY_SEE_CLEAN else {"test_clean"} if place == "pipeline" else set()
        if found := reached & (CLEAN - allowed):
            reaching[str(path.relative_to(PACKAGE))] = found
    assert not reaching


@pytest.mark.every(3)
@pytest.mark.parametrize(
    "method",
    [
        pytest.param(path.stem, marks=[] if path.stem in ("lilaw", "rrm", "dynamic_loss") else pytest.mark.slow)
        for path in sorted((CONF / "method").glob("*.yaml"))
    ],
)
def test_other_clean_labels_train_the_same_networks(tiny, acting, method, monkeypatch):
    """What a run learns depends on the observed labels alone: to the bit, with the checkpoint of other true labels."""
    draw, states, measured = pipeline.draw_labels, [], []
    for shift in (0, 3):

        def shifted(*given, shift=shift):
            labels = draw(*given)
            return replace(labels, clean=(labels.clean + shift) % 10)

        monkeypatch.setattr(pipeline, "draw_labels", shifted)
        folder = run(tiny(*acting(method), "train.epochs=2", f"experiment_name=shift{shift}")).folder
        state = torch.load(folder / "checkpoint.pt", weights_only=True)
        states.append([state["model"], state["method"]])
        last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
        measured.append([last["train_clean_accuracy"], last["memorised"]])
    torch.testing.assert_close(*states, rtol=0, atol=0)
    assert measured[0] != measured[1]


# Those that write a part and rename it, or add whole lines to what is there.
WRITERS = {"support/atomic.py", "loading/download.py", "record/lock.py", "record/writer.py"}


def test_a_file_is_written_whole_or_not_at_all():
    """Who is killed while he writes leaves the old file: all but the writers go through support/atomic.py."""
    found = set()
    for path in MODULES:
        for node in nodes_of(path):
            if isinstance(node, ast.Call) and (name := getattr(node.func, "attr", getattr(node.func, "id", ""))):
                modes = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
                opens = name == "open" and any(re.fullmatch("[wax]b?[+]?", mode) for mode in modes)
                if opens or name in ("write_text", "write_bytes"):
                    found.add(path.relative_to(PACKAGE).as_posix())
    assert found == WRITERS


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
    """A class counts under its name in small letters: ForwardCorrection is forward_correction. A new one need not be
    named in the room's __init__: its YAML names its own file."""
    module = __import__(f"lilawbench.{package}", fromlist=["*"])
    public = getattr(module, "__all__", None) or [
        name for name, value in vars(module).items() if callable(value) and value.__module__ == module.__name__
    ]
    names = [re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower() for name in public]
    files = {path.stem: path.read_text(encoding="utf-8") for path in (CONF / group).glob("*.yaml")}
    assert len(names) > 5 and set(names) <= files.keys()
    for name in files.keys() - set(names):
        assert f"lilawbench.{package}." in files[name], f"conf/{group}/{name}.yaml has no function of this room"


def test_every_method_file_has_a_yaml_and_a_test():
    """A file with a Method in it is named as that method's YAML; the others hold what methods share."""
    targets = [yaml.read_text(encoding="utf-8") for yaml in (CONF / "method").glob("*.yaml")]
    for path in (PACKAGE / "methods").glob("[a-z]*.py"):
        defines = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
        module = __import__(f"lilawbench.methods.{path.stem}", fromlist=["*"])
        if any(issubclass(getattr(module, node.name), Method) for node in defines) and path.stem != "base":
            assert any(f"lilawbench.methods.{path.stem}." in text for text in targets), f"{path.name} has no YAML"
            tests = Path(__file__).parent / "methods"  # a file, or a folder of several
            named = [tests / f"test_{path.stem}.py", *(tests / path.stem).glob("test_*.py")]
            assert any(test.exists() for test in named), f"{path.name} has no test"


def test_files_stay_short():
    long = {path.name: n for path in MODULES if (n := len(path.read_text(encoding="utf-8").splitlines())) > 300}
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
