"""The names that a user's program imports: lilawbench.compose, run, load and load_model."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import lilawbench
from lilawbench.support.errors import ConfigError, DataError, RunFailed


def test_importing_the_package_imports_nothing_else():
    code = "import sys; before = set(sys.modules); import lilawbench; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = ast.literal_eval(done.stdout)
    assert "lilawbench" in names and [name for name in names if name.split(".")[0] not in sys.stdlib_module_names] == [
        "lilawbench"
    ]


def test_the_names_are_there_with_their_documents():
    assert set(lilawbench.__all__) <= set(dir(lilawbench)) and lilawbench.__all__ == [
        "compose",
        "load",
        "load_model",
        "run",
    ]
    for name in lilawbench.__all__:
        public = getattr(lilawbench, name)
        assert "Raises:" in inspect.getdoc(public) and inspect.signature(public).parameters
    absent = "fit"
    with pytest.raises(AttributeError, match="no attribute 'fit'"):
        getattr(lilawbench, absent)


def test_type_checkers_see_what_is_imported_later():
    """The imports under TYPE_CHECKING and the table of __getattr__ name the same things."""
    tree = ast.parse(Path(lilawbench.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == lilawbench._PLACES and sorted(seen) == lilawbench.__all__


def test_from_a_config_to_a_row(tmp_path):
    overrides = ["debug=fast", "train.epochs=1", "train.threads=1", f"paths.output_dir={tmp_path}/outputs"]
    cfg = lilawbench.compose("method=lilaw", "seed=3", *overrides)
    assert lilawbench.run(cfg).status == "done" and lilawbench.run(cfg).status == "skipped"
    (row,) = lilawbench.load(tmp_path / "outputs").to_dict("records")
    assert (row["config.method.name"], row["config.seed"], row["epochs"]) == ("lilaw", 3, 1)


def test_errors_are_those_that_are_documented(tmp_path):
    with pytest.raises(ConfigError, match="there is no folder"):
        lilawbench.compose(config_dir=tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="noise.rate|rate is 2"):
        lilawbench.run(lilawbench.compose("noise.rate=2", f"paths.output_dir={tmp_path}"))
    with pytest.raises(RunFailed, match="the loss is"):
        lilawbench.run(lilawbench.compose("debug=fast", "train.lr=1e30", "train.optimizer=sgd",
                                          f"paths.output_dir={tmp_path}"))  # fmt: skip
    with pytest.raises(DataError, match="there is no folder"):
        lilawbench.load(tmp_path / "nowhere")
