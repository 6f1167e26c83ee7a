"""Parts in a stranger's folder: one YAML and one .py each, found by every way that a command has."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lilawbench import train
from lilawbench.check import check
from lilawbench.config import CONF, compose, plain
from lilawbench.experiment.composer import composer
from lilawbench.experiment.plan import plan
from lilawbench.record.identity import changed_code, run_name
from lilawbench.support import searchpath
from lilawbench.support.errors import ConfigError

FAST = ["split.train_samples=64", "train.epochs=2", "train.batch_size=32", "train.threads=1"]
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
}  # fmt: skip


def add(folder: Path, group: str, name: str, options: str, code: str) -> None:
    (folder / group).mkdir(parents=True, exist_ok=True)
    target = "Own" if "class Own" in code else "own"
    yaml = f"name: {name}\n_target_: {name}.{target}\n{options}\n"
    (folder / group / f"{name}.yaml").write_text(yaml)
    (folder / f"{name}.py").write_text("\n".join(line[8:] for line in code.splitlines()) + "\n")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder of five parts and of a table that compares them. Its name wants quotes on a command line."""
    folder = tmp_path_factory.mktemp("own") / "a stranger's, folder"
    for group, (name, options, code) in PARTS.items():
        add(folder, group, name, options, code)
    (folder / "own_shared.py").write_text("def scaled(losses, by):\n    return by * losses\n")
    (folder / "experiment").mkdir()
    (folder / "experiment" / "own_table.yaml").write_text(
        "# @package _global_\n# Mine against plain training.\nexperiment_name: own_table\nmodel:\n  hidden: [8]\n"
        "table:\n  rows: {CE: [method=ce], own: [method=own_method]}\n  columns: {a: [loss=own_loss], b: [loss=ce]}\n"
        "hydra:\n  mode: MULTIRUN\n  sweeper: {params: {seed: '0,1'}}\n"
    )
    return folder


@pytest.fixture(autouse=True)
def nothing_in_use(monkeypatch):
    """What a command has added is gone after it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(searchpath, "_used", [])


@pytest.fixture
def main(tmp_path, monkeypatch, capsys):
    """The command line, in this process."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["lilawbench", *arguments])
        monkeypatch.setattr(train, "_outcomes", [])
        with pytest.raises(SystemExit) as ended:
            train.main()
        return ended.value.code or 0, *capsys.readouterr()

    return call


def as_searchpath(folder: Path) -> str:
    return searchpath.override_of([folder])[0]


def results(folder: Path) -> dict[str, dict]:
    return {path.parent.name: json.loads(path.read_text()) for path in folder.rglob("result.json")}


@pytest.mark.parametrize("way", ["--config-dir", "hydra.searchpath", "relative"])
def test_a_run_of_own_parts_alone(own, main, tmp_path, way):
    choices = [f"{group}={name}" for group, (name, _, _) in PARTS.items()]
    ways = {
        "--config-dir": ["--config-dir", str(own)],
        "hydra.searchpath": [as_searchpath(own)],
        "relative": ["--config-dir", os.path.relpath(own, tmp_path)],
    }
    code, _, err = main(*ways[way], *choices, *FAST)
    assert code == 0, err
    ((name, result),) = results(tmp_path).items()
    assert name.startswith("own_dataset-own_noise0.25-own_model-own_method+own_loss-s0-")
    assert result["config.dataset._target_"] == "own_dataset.Own" and len(result["config.loss._code_"]) == 12
    assert main(*ways[way], *choices, *FAST)[1].startswith("skipped, finished before: ")


def test_every_way_to_ask_for_a_sweep(own, main, tmp_path):
    swept = ["loss=ce,own_loss", "method=own_method", "model.hidden=[8]", *FAST]
    code, out, err = main("-m", "--config-dir", str(own), *swept)
    assert code == 0 and "2 done, 0 skipped, 0 failed" in out, err
    code, out, _ = main("-m", as_searchpath(own), *swept)
    assert code == 0 and "0 done, 2 skipped, 0 failed" in out
    code, out, _ = main("--config-dir", str(own), "experiment=own_table", *FAST)
    assert code == 0 and "8 done, 0 skipped, 0 failed" in out and "| own" in out


@pytest.mark.slow
@pytest.mark.parametrize("way", ["--config-dir", "hydra.searchpath"])
def test_joblibs_processes_find_the_folder_from_another_one(own, tmp_path, way):
    given = ["--config-dir", str(own)] if way == "--config-dir" else [as_searchpath(own)]
    swept = ["-m", "loss=own_loss", "method=own_method", "noise=own_noise", "seed=0,1", "model.hidden=[8]"]
    command = [sys.executable, "-m", "lilawbench.train", *given, *swept, *FAST, "launcher=joblib"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "2 done" in done.stdout, done.stdout + done.stderr
    assert all(name.startswith("digits-own_noise0.25-mlp-own_method+own_loss") for name in results(tmp_path))


@pytest.mark.parametrize("group", PARTS)
def test_what_is_composed_quickly_is_what_hydra_composes(own, group, monkeypatch):
    from lilawbench.experiment import composer as module

    theirs = compose(f"{group}={PARTS[group][0]}", "seed=3", config_dir=own)
    monkeypatch.setattr(module, "compose", lambda *given, **how: pytest.fail(f"left to Hydra: {given}"))
    with composer([own]) as composed:
        ours = composed.plain([f"{group}={PARTS[group][0]}", "seed=3"])
    assert json.dumps(ours, sort_keys=True) == json.dumps(plain(theirs), sort_keys=True)
    assert run_name(ours) == run_name(theirs)


def test_a_package_may_hold_them(own, monkeypatch):
    """pkg://NAME in the search path is the folder of an importable package."""
    package = own.parent / "own_package"
    add(package, "loss", "own_packed", "", "\n        def own(logits, target):\n            return logits[:, 0]\n")
    (package / "__init__.py").touch()
    (package / "loss" / "own_packed.yaml").write_text("name: own_packed\n_target_: own_package.own_packed.own\n")
    monkeypatch.syspath_prepend(str(own.parent))
    (run,) = plan(["loss=own_packed", "hydra.searchpath=[pkg://own_package]"]).runs
    check(run.cfg)
    assert run.cfg == plain(compose("loss=own_packed", "hydra.searchpath=[pkg://own_package]"))
    assert run_name(run.cfg) != run_name(plain(compose("loss=ce"))) and "_code_" not in run.cfg.loss


def test_help_and_hydras_own_questions_see_it(own, main):
    assert "own_loss" in main("--config-dir", str(own), "--help", "loss=own_loss")[1]
    for way in (["--config-dir", str(own)], [as_searchpath(own)]):
        code, out, err = main("--cfg", "job", *way, "loss=own_loss")
        assert code == 0 and "_target_: own_loss.own" in out, err
        command = [sys.executable, "-m", "lilawbench.train", "--info", "config", *way, "loss=own_loss"]
        done = subprocess.run(command, capture_output=True, text=True)  # alone: it sets up Python's logging
        assert done.returncode == 0 and "_target_: own_loss.own" in done.stdout + done.stderr


def test_make_tables_takes_the_same_flags(own, main, tmp_path, monkeypatch):
    assert main("--config-dir", str(own), "experiment=own_table", "seed=0", *FAST)[0] == 0
    script = Path(train.__file__).parents[1] / "scripts" / "make_tables.py"
    for way in (["--config-dir", str(own)], [as_searchpath(own)]):
        command = [sys.executable, str(script), "own_table", *FAST, "seed=0", *way]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0 and "| own" in done.stdout, done.stderr
    done = subprocess.run([sys.executable, str(script), "--list", "own_table", "--config-dir", str(own)],
                          cwd=tmp_path, capture_output=True, text=True)  # fmt: skip
    assert "own_table: " in done.stdout and "Mine against plain training." in done.stdout, done.stderr


# file -> its content: what a stranger gets wrong
WRONG = {
    "loss/no_target.yaml": "name: no_target\n",
    "loss/no_name.yaml": "_target_: own_loss.own\nclean: 1\n",
    "loss/no_module.yaml": "name: no_module\n_target_: not_there.own\n",
    "loss/no_function.yaml": "name: no_function\n_target_: broken_off.own\n",
    "loss/no_package.yaml": "name: no_package\n_target_: wants_more.own\n",
    "loss/no_python.yaml": "name: no_python\n_target_: no_python.own\n",
    "loss/away.yaml": "name: ../away\n_target_: own_loss.own\nclean: 1\n",
    "broken_off.py": "",
    "wants_more.py": "import a_package_that_nobody_has\n",
    "no_python.py": "def own(:\n",
}


@pytest.mark.parametrize("sweep", [(), ("-m",)])
@pytest.mark.parametrize(
    "choice, message",
    [
        ("loss=no_target", "loss=no_target has no _target_: its YAML names a function or class"),
        ("loss=no_name", "loss has no name: its YAML wants a line such as name: my_loss"),
        ("loss=no_module", "not_there.own: there is no module not_there: looked for {folder}/not_there.py"),
        ("loss=no_function", "broken_off.own: not found in {folder}/broken_off.py"),
        (
            "loss=no_package",
            "wants_more.own: importing it failed: ModuleNotFoundError: No module named 'a_package_that",
        ),
        ("loss=no_python", "no_python.own: importing it failed: SyntaxError: invalid syntax (no_python.py, line 1)"),
        ("loss=away", "loss.name is '../away'; it names folders"),
        ("loss=own_los", "loss=own_los does not exist; did you mean own_loss"),
        ("hydra.searchpath=nowhere", "a list of folders is expected"),
        ("hydra.searchpath=[nowhere]", "there is no folder {cwd}/nowhere"),
        ("hydra.searchpath=[pkg://nowhere]", "pkg://nowhere: there is no such package"),
    ],
)
def test_what_is_wrong_is_said(own, main, tmp_path, choice, message, sweep):
    for name, text in WRONG.items():
        (own / name).write_text(text)
    way = [] if choice.startswith("hydra") else ["--config-dir", str(own)]
    try:
        code, out, err = main(*way, choice, *FAST, *sweep)
    finally:
        for name in WRONG:
            (own / name).unlink()
    assert code == 2 and message.format(folder=own, cwd=tmp_path) in out + err, out + err
    assert "Traceback" not in err and list(tmp_path.iterdir()) == []


def test_a_name_that_the_package_has_says_which_one_counts(own, caplog):
    try:
        add(own, "loss", "gce", "q: 7", "\n        def own(logits, target, q):\n            return q\n")
        cfg = compose("loss=gce", config_dir=own)
    finally:
        (own / "loss" / "gce.yaml").unlink()
        (own / "gce.py").unlink()
    assert cfg.loss["_target_"] == "lilawbench.losses.gce"
    said = f"{own}/loss/gce.yaml is not read: loss=gce is lilawbench's own, which comes first; rename yours"
    assert [record.message for record in caplog.records] == [said]


GIVEN = ["model.input_shape", "noise.labels", "noise.num_classes", "noise.generator", "loss.logits", "loss.target",
         "method.loss"]  # fmt: skip


def test_only_what_the_program_gives_is_refused_as_an_option(own):
    """Functions are called with more than what objects are built with; any other name is an option's."""
    choices = [f"{group}={name}" for group, (name, _, _) in PARTS.items()]
    cfg = compose(*choices, config_dir=own)
    check(cfg)  # with options called target, index, clean, logits, generator and loss
    for option in GIVEN:
        group = option.split(".")[0]
        with pytest.raises(ConfigError) as refused:
            check(compose(*choices, f"+{option}=1", config_dir=own))
        assert f"{option} is not an option of own_{group} (valid: " in str(refused.value)


CODE = """
import sys
from lilawbench.config import compose
from lilawbench.train import run
from lilawbench.record.identity import run_name
cfg = compose("loss=edited", "debug=fast", "train.epochs=1", "train.threads=1", config_dir=sys.argv[1])
print(run_name(cfg))
if len(sys.argv) > 2:
    import logging
    logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stdout)
    run(cfg)
"""


def test_edited_code_is_another_run_and_says_why(tmp_path):
    """Also where a module was edited that the part imports; a comment in the YAML or a folder elsewhere is nothing."""

    def call(*more: str) -> list[str]:
        command = [sys.executable, "-c", CODE, str(folder), *more]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    folder = tmp_path / "mine"
    add(folder, "loss", "edited", "clean: 1", PARTS["loss"][2].replace("from own_shared", "from edited_shared"))
    (folder / "edited_shared.py").write_text("def scaled(losses, by):\n    return by * losses\n")
    first, *said = call("run")
    assert not any("has changed" in line for line in said)
    assert call() == [first]
    (folder / "edited_shared.py").write_text("def scaled(losses, by):\n    return 2 * by * losses\n")
    second, *said = call("run")
    assert second != first and f"edited.own has changed since run {first}: this is another run" in said
    again = call("run")
    assert again[1].startswith("skipped, finished before: ") and again[0] == second
    folder = folder.rename(tmp_path / "elsewhere")
    assert call() == [second]
    codes = [json.loads((tmp_path / "outputs" / "debug" / name / "code.json").read_text()) for name in (first, second)]
    assert [list(code) for code in codes] == [["loss"], ["loss"]] and codes[0] != codes[1]


def test_what_this_process_has_imported_is_what_runs(own, monkeypatch):
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
    assert changed_code(compose("method=lilaw")) is None


def test_the_groups_are_those_of_the_package():
    assert all((CONF / group).is_dir() for group in PARTS)
