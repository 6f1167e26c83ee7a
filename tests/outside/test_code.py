"""The source of parts outside the package is part of what a run is."""

import json
import subprocess
import sys

import pytest

from lilawbench import train
from lilawbench.check import check
from lilawbench.config import compose
from lilawbench.record.identity import changed, run_name

LOSS = """
        from edited_shared import scaled
        from torch.nn import functional as F

        def own(logits, target, clean):
            return scaled(F.cross_entropy(logits, target, reduction="none"), clean)
        """


def test_edited_code_is_another_run_and_says_why(tmp_path, add, monkeypatch, caplog):
    """Also where it is a module that the part imports; that a folder lies elsewhere is nothing."""
    options = ["loss=edited", "debug=fast", "train.epochs=1", "train.threads=1", f"paths.output_dir={tmp_path}/out"]
    folder = tmp_path / "mine"
    add(folder, "loss", "edited", "clean: 1", LOSS)
    (folder / "edited_shared.py").write_text("def scaled(losses, by):\n    return by * losses\n")
    caplog.set_level("INFO")
    first = train.run(compose(*options, config_dir=folder)).folder
    assert "has changed" not in caplog.text
    (folder / "edited_shared.py").write_text("def scaled(losses, by):\n    return 2 * by * losses\n")
    forget(monkeypatch, "edited", "edited_shared")
    second = train.run(compose(*options, config_dir=folder)).folder
    assert second != first and f"edited.own has changed since run {first.name}: this is another run" in caplog.text
    forget(monkeypatch, "edited", "edited_shared")
    assert train.run(compose(*options, config_dir=folder.rename(tmp_path / "elsewhere"))).status == "skipped"
    codes = [json.loads((folder / "code.json").read_text()) for folder in (first, second)]
    assert [list(code) for code in codes] == [["loss"], ["loss"]] and codes[0] != codes[1]


def forget(monkeypatch, *modules: str) -> None:
    """As in a process that has not imported them yet."""
    for module in modules:
        monkeypatch.delitem(sys.modules, module, raising=False)


@pytest.mark.slow
def test_a_name_is_told_without_importing_the_part(own):
    code = "import sys; from lilawbench.config import compose; from lilawbench.record.identity import run_name\n"
    code += "name = run_name(compose('loss=own_loss', config_dir=sys.argv[1]))\n"
    code += "print(name, {'torch', 'own_loss', 'own_shared'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, str(own)], capture_output=True, text=True, check=True)
    assert done.stdout == f"{run_name(compose('loss=own_loss', config_dir=own))} set()\n"


def test_what_this_process_has_imported_is_what_runs(own, add, monkeypatch):
    """A file that is edited in the middle of a sweep does not rename the runs that still use the old code."""
    add(own, "loss", "held", "", "\n        def own(logits, target):\n            return logits[:, 0]\n")
    cfg = compose("loss=held", config_dir=own)
    name = run_name(cfg)
    (own / "held.py").write_text("def own(logits, target):\n    return logits[:, 1]\n")
    edited = run_name(cfg)
    assert edited != name
    check(cfg)  # which imports it
    (own / "held.py").write_text("def own(logits, target):\n    return logits[:, 2]\n")
    assert run_name(cfg) == edited
    monkeypatch.delitem(sys.modules, "held")
    assert run_name(cfg) not in (name, edited)


def test_package_parts_keep_their_names():
    """Written down in version 0.6: a run is found again by its name."""
    names = {
        "digits-symmetric0.4-mlp-ce-s0-ca982b0f": "logger=wandb launcher=joblib",
        "digits-symmetric0.4-mlp-lilaw+focal-s3-1281dbb0": "method=lilaw loss=focal seed=3",
        "emotions-label_flip0.2-mlp-rrm+gce-s1-8184215a": "dataset=emotions method=rrm loss=gce seed=1",
        "cifar10n-human-resnet32-dynamic_loss-s0-ff1d1ee0": "dataset=cifar10n method=dynamic_loss",
    }
    for name, overrides in names.items():
        assert run_name(compose(*overrides.split())) == name
    assert changed(compose("method=lilaw")) is None
