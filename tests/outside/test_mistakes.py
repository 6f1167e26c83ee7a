"""What a stranger gets wrong is said, with the file or the name that it is about."""

import pytest

from lilawbench.check import check
from lilawbench.config import Plain, compose, plain
from lilawbench.support.errors import ConfigError

FAST = ["split.train_samples=64", "train.epochs=2", "train.batch_size=32", "train.threads=1"]


# file -> its content: what a stranger gets wrong
WRONG = {
    "loss/no_target.yaml": "name: no_target\n",
    "loss/no_name.yaml": "_target_: own_loss.own\nclean: 1\n",
    "loss/no_module.yaml": "name: no_module\n_target_: not_there.own\n",
    "loss/no_function.yaml": "name: no_function\n_target_: broken_off.own\n",
    "loss/no_package.yaml": "name: no_package\n_target_: wants_more.own\n",
    "loss/no_python.yaml": "name: no_python\n_target_: no_python.own\n",
    "loss/away.yaml": "name: ../away\n_target_: own_loss.own\nclean: 1\n",
    "loss/no_yaml.yaml": "name: [\n_target_: x.y\n",
    "broken_off.py": "",
    "wants_more.py": "import a_package_that_nobody_has\n",
    "no_python.py": "def own(:\n",
}


@pytest.mark.parametrize("sweep", [(), pytest.param(("-m",), marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "choice, message",
    [
        ("loss=no_target", "loss=no_target has no _target_: its YAML names a function or class"),
        ("loss=no_name", "loss has no name: its YAML needs a line such as name: my_loss"),
        ("loss=no_module", "not_there.own: there is no module not_there: looked for {folder}/not_there.py"),
        ("loss=no_function", "broken_off.own: not found in {folder}/broken_off.py"),
        pytest.param(
            "loss=no_package",
            "wants_more.own: importing it failed: ModuleNotFoundError: No module named 'a_package_that",
            marks=pytest.mark.slow,
        ),
        ("loss=no_python", "no_python.own: importing it failed: SyntaxError: invalid syntax (no_python.py, line 1)"),
        ("loss=no_yaml", "{folder}/loss/no_yaml.yaml cannot be read: while parsing a flow sequence"),
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


def test_a_name_that_the_package_has_says_which_one_counts(own, add, caplog):
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


def test_only_what_the_program_gives_is_refused_as_an_option(own, parts):
    """Functions are called with more than what objects are built with; any other name is an option's."""
    choices = [f"{group}={name}" for group, name in parts.items()]
    cfg = plain(compose(*choices, config_dir=own))
    check(cfg)  # with options called target, index, clean, logits, generator and loss
    for option in GIVEN:
        group = option.split(".")[0]
        name = option.split(".")[1]
        with pytest.raises(ConfigError) as refused:
            check(Plain(cfg | {group: Plain(cfg[group] | {name: 1})}))
        assert f"{option} is not an option of own_{group} (valid: " in str(refused.value)
