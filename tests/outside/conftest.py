"""A stranger's folder of parts, and the command line that is given it."""

import sys
from pathlib import Path

import pytest

from lilawbench import train
from lilawbench.support import searchpath

# group -> the name of its part, the options that its YAML sets, its file
PARTS = {
    "method": ("own_method", "target: 3\nindex: [1, 2]", """
        from lilawbench.methods.supervised import Supervised

        class Own(Supervised):
            def __init__(self, loss, target, index):
                super().__init__(loss)
                self.given = target, index
        """),
    "loss": ("own_loss", "clean: 0.1", """
        from torch.nn import functional as F
        from own_shared import scaled

        def own(logits, target, clean):
            return scaled(F.cross_entropy(logits, target, reduction="none"), clean)
        """),
    "model": ("own_model", "num_classes: null\nlogits: 16", """
        from torch import nn

        def own(num_classes, input_shape, logits):
            width = input_shape[0] * input_shape[1] * input_shape[2]
            return nn.Sequential(nn.Flatten(), nn.Linear(width, logits), nn.ReLU(), nn.Linear(logits, num_classes))
        """),
    "dataset": ("own_dataset", "generator: 1\nloss: 2", """
        from lilawbench.datasets.digits import Digits

        class Own(Digits):
            def __init__(self, generator, loss):
                super().__init__(classes=[0, 1, 2])
        """),
    "noise": ("own_noise", "rate: 0.25\nloss: 1", """
        def own(labels, num_classes, generator, rate, loss):
            moved = generator.random(len(labels)) < rate
            return (labels + moved) % num_classes
        """),
    "probe": ("own_probe", "index: 4", """
        from lilawbench.probes.base import Probe

        class Own(Probe):
            def __init__(self, index):
                self.index = index

            def see(self, ctx, epoch, predictions):
                return {"own_index": self.index}

            def result(self):
                return {"own_rows": len(self.scene.observed)}
        """),
}  # fmt: skip


def add_part(folder: Path, group: str, name: str, options: str, code: str) -> None:
    (folder / group).mkdir(parents=True, exist_ok=True)
    target = "Own" if "class Own" in code else "own"
    yaml = f"name: {name}\n_target_: {name}.{target}\n{options}\n"
    if group == "probe":  # several may be chosen, each under its name
        yaml = f"{name}:\n  _target_: {name}.{target}\n  {options}\n"
    (folder / group / f"{name}.yaml").write_text(yaml)
    (folder / f"{name}.py").write_text("\n".join(line[8:] for line in code.splitlines()) + "\n")


@pytest.fixture(scope="session")
def add():
    """add(FOLDER, "loss", NAME, OPTIONS, CODE) writes the two files of a part."""
    return add_part


@pytest.fixture(scope="session")
def parts():
    """group -> name of the part in `own`."""
    return {group: name for group, (name, _, _) in PARTS.items()}


@pytest.fixture(scope="session")
def own(tmp_path_factory):
    """A folder of five parts and of a table that compares them. Its name wants quotes on a command line."""
    folder = tmp_path_factory.mktemp("own") / "a stranger's, folder"
    for group, (name, options, code) in PARTS.items():
        add_part(folder, group, name, options, code)
    (folder / "own_shared.py").write_text("def scaled(losses, by):\n    return by * losses\n")
    (folder / "experiment").mkdir()
    (folder / "experiment" / "own_table.yaml").write_text(
        "# @package _global_\n# Mine against plain training.\nexperiment_name: own_table\nmodel:\n  hidden: [8]\n"
        "table:\n  rows: {CE: [method=ce], own: [method=own_method]}\n  columns: {a: [loss=own_loss]}\n"
        "hydra:\n  mode: MULTIRUN\n  sweeper: {params: {seed: 0}}\n"
    )
    return folder


@pytest.fixture(autouse=True)
def nothing_in_use(monkeypatch, no_layout):
    """What a command has added is gone after it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(searchpath, "_used", [])


@pytest.fixture
def main(tmp_path, monkeypatch, capsys):
    """The command line, in this process."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["lilawbench", *arguments])
        with pytest.raises(SystemExit) as ended:
            train.main()
        return ended.value.code or 0, *capsys.readouterr()

    return call
