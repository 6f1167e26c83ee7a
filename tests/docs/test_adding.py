"""Every kind of thing is added in two files, as the READMEs' examples show it, in a folder outside the package."""

import json
import sys
from pathlib import Path

import pytest

from lilawbench.config import CONF

KINDS = ("method", "loss", "noise", "model", "dataset", "probe", "experiment")
SMALL = ["split.train_samples=128", "train.epochs=1", "train.batch_size=32", "train.threads=1"]
CUT = {"experiment": ["seed=0", "dataset=digits", "noise.rate=0.4"]}


def choice(examples: dict[str, str], kind: str) -> str:
    """The one example of a kind."""
    (path,) = [Path(name) for name in examples if name.startswith(f"{kind}/")]
    return path.stem


def test_each_kind_has_an_example_of_two_files(examples):
    """Their number is the table's in lilawbench/README.md; an experiment is its YAML alone, and so is a preset."""
    table = (CONF.parent / "lilawbench" / "README.md").read_text(encoding="utf-8")
    for kind in KINDS:
        name = choice(examples, kind)
        assert (f"{name}.py" in examples) == (kind != "experiment")
        assert f"conf/{kind}/NAME.yaml" in table
    assert len(examples) == 2 * len(KINDS)


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=[] if kind in ("dataset", "probe") else pytest.mark.slow) for kind in KINDS],
)
def test_what_was_added_runs(mine, examples, command_line, kind):
    name = choice(examples, kind)
    command_line("--config-dir", "mine", f"{kind}={name}", *SMALL, *CUT.get(kind, []))
    results = [json.loads(file.read_text()) for file in (mine.parent / "outputs").rglob("result.json")]
    assert len(results) == (3 if kind == "experiment" else 1)
    assert all(0 < result["last.test_accuracy"] <= 1 for result in results)
    if kind == "probe":
        (rows,) = (mine.parent / "outputs").rglob("metrics.jsonl")
        assert any(0 <= json.loads(row).get("test_doubt", -1) <= 1 for row in rows.read_text().splitlines())
    elif kind != "experiment":
        assert results[0][f"config.{kind}._target_"].startswith(f"{name}.")


@pytest.mark.slow
def test_the_preset_of_an_added_method_counts(mine, command_line):
    command_line("--config-dir", "mine", "method=small_loss", "+preset=digits", *SMALL)
    (file,) = (mine.parent / "outputs").rglob("result.json")
    result = json.loads(file.read_text())
    assert (result["config.method.keep"], result["config.train.lr"], result["config.model.name"]) == (0.8, 0.05, "cnn")
    assert result["config.train.epochs"] == 1


@pytest.mark.slow
def test_after_an_edit_it_is_another_run_that_says_so(mine, command_line):
    command = ["--config-dir", "mine", "loss=hinge", *SMALL]
    command_line(*command)
    code = (mine / "hinge.py").read_text()
    (mine / "hinge.py").write_text(code.replace("return ", "return 2 * "))
    sys.modules.pop("hinge")  # the next command is a process of its own
    (first,) = (mine.parent / "outputs" / "default").iterdir()
    said = command_line(*command)
    assert f"hinge.hinge has changed since run {first.name}: this is another run" in said
    assert "skipped, finished before" in command_line(*command)
