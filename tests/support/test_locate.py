"""A config runs what is of a few packages and of the command's own folders, and imports nothing else."""

import sys

import pytest

from lilawbench.support import searchpath
from lilawbench.support.locate import locate, nested_targets


@pytest.mark.parametrize("dotted", ["lilawbench.losses.ce", "torch.nn.Linear", "torch.nn.functional.relu"])
def test_parts_of_the_packages_are_found(dotted):
    assert locate(dotted).__name__ == dotted.rpartition(".")[2]


@pytest.mark.parametrize(
    "dotted",
    ["subprocess.Popen", "builtins.eval", "torch.os.system", "lilawbench.train.sys.exit", "torch.load",
     "torch.hub.load", "torch.nn.modules.module.torch.load", "numpy.zeros", "__main__.os.system"],
)  # fmt: skip
def test_whatever_leads_out_of_them_is_refused(dotted):
    with pytest.raises(ImportError, match="a config runs only what is of lilawbench, torch, torchvision or timm"):
        locate(dotted)


@pytest.mark.parametrize("dotted", [3, None, "", "a..b", ["a"], "a b.c", "nothing"])
def test_what_is_no_path_is_said(dotted):
    with pytest.raises(ImportError, match="is no dotted path|there is no module"):
        locate(dotted)


def test_nothing_is_imported_of_a_module_that_no_folder_brings(tmp_path, monkeypatch):
    (tmp_path / "x").mkdir()
    for name in ("theirs", "ours"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}_part.py").write_text("import os\n\ndef part():\n    return 1\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "theirs")])
    monkeypatch.setattr(searchpath, "_used", [])
    searchpath.use([tmp_path / "x" / ".." / "ours"])
    assert locate("ours_part.part")() == 1
    with pytest.raises(ImportError, match="theirs_part.part: a config runs only"):
        locate("theirs_part.part")
    assert "theirs_part" not in sys.modules
    with pytest.raises(ImportError, match="ours_part.os.system: this is posix.system, and a config runs only"):
        locate("ours_part.os.system")


def test_targets_are_found_at_any_depth():
    tree = {"a": [{"_target_": "x.y", "b": {"_target_": 3}}], "_target_": "z"}
    assert list(nested_targets(tree)) == ["x.y", 3, "z"]
