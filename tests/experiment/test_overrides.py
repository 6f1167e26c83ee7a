"""What is wrong with a command's overrides is told in words, before Hydra composes."""

import pytest

from lilawbench.experiment.composer import composer
from lilawbench.experiment.overrides import check_choices, explained, line, parsed_all
from lilawbench.support.errors import ConfigError

SAID = [
    ("noise=null", "noise=null: every run has a noise; noise=none is the one that does nothing"),
    ("method=null", "method=null: every run has a method: method=NAME"),
    ("~seed", "~seed: seed cannot be left out; set it with seed=VALUE"),
    ("~train.lr", "~train.lr: train.lr cannot be left out"),
    ("noise.rate", "noise.rate: KEY=VALUE is expected"),
    ("=3", "=3: there is no key before ="),
    ("dataset.path=~/x", "the shell leaves ~ as it is after =; write dataset.path=$HOME/x"),
    ("dataset.path=my file (1).csv", "wants two kinds of quotes: 'dataset.path=\"my file (1).csv\"'"),
    ("dataset.path=größe;1", "wants two kinds of quotes: 'dataset.path=\"größe;1\"'"),
    ("noise.pairs={Birnen:Äpfel}", "wants quotes, and a key has none: 'noise.pairs={Birnen:\"Äpfel\"}'"),
    ("noise.pairs={'Birnen':Äpfel}", "wants quotes, and a key has none: 'noise.pairs={Birnen:\"Äpfel\"}'"),
    ("noise.pairs={Äpfel:1}", "the key Äpfel has more than a-z, A-Z, 0-9, _ and -, which a command line cannot say"),
    ("table.metrics=[ä,[b,'c d']]", '\'table.metrics=["ä",[b,"c d"]]\''),
    ("noise.pairs={1:2", "its brackets do not match"),
    ("table.metrics=['a]", "its quotes do not match"),
    ("table.metrics=[a,,b]", "Hydra's grammar has [VALUE,VALUE] and {KEY:VALUE,KEY:VALUE}"),
    ("seed=glob(*)", "seed=glob(*): glob(...) is for the choices of a group"),
    ("method=glob(zz*)", "method=glob(zz*): no choice has such a name; there are a_rrm, at, "),
    ("hydra.run.dir=x", "hydra.run.dir"),
    ("hydra.launcher._target_=subprocess.Popen", "runs no other part of Hydra's"),
    ("dataset=[digits,mnist]", "dataset=[digits,mnist]: the name of a choice is expected, dataset=NAME"),
    ("noise={rate: 0.1}", "noise={rate: 0.1}: the name of a choice is expected"),
    ("noise.rat=0.1", "noise.rat is not an option of symmetric; did you mean rate?"),
    ("train.epoch=3", "train.epoch is not an option; did you mean epochs?"),
    ("split.val_fractio=0.1", "split.val_fractio is not an option; did you mean val_fraction"),
    ("epochs=3", "epochs is not an option (valid: dataset, noise"),
    ("noise.rate.x=1", "noise.rate.x: noise.rate is 0.4, which has no options"),
    (
        "loss.q=1",
        "loss.q is not an option of loss=ce; it is one of loss=gce",
    ),
    ("train=3", "train is 3; it is a block of options: train.KEY=VALUE"),
    ("train.deterministic=no", "train.deterministic is no (text); it must be true or false"),
    ("train.epochs=3.0", "train.epochs is 3.0; it must be a whole number: train.epochs=3"),
    ("table.metrics=x", "table.metrics is x (text); it must be a list of texts: table.metrics=[x]"),
    ("experiment_name=${nope}", "experiment_name: Interpolation key 'nope' not found"),
]


@pytest.mark.every(3)
@pytest.mark.parametrize("override, said", SAID, ids=[override for override, _ in SAID])
def test_what_is_wrong_is_said(override, said):
    with composer() as compose, pytest.raises(ConfigError) as refused, explained():
        overrides = parsed_all([override])
        check_choices(overrides)
        compose.plain(list(map(line, overrides)))
    assert said in str(refused.value)
    assert len(refused.value.problems) == 1


def test_all_of_a_command_come_at_once():
    with pytest.raises(ConfigError) as refused:
        parsed_all(["~seed", "noise=null", "noise.rate"])
    assert len(refused.value.problems) == 3
    with composer() as compose, pytest.raises(ConfigError) as refused:
        compose.plain(["noise.rat=1", "train.epoch=1", "train.lr=true"])
    assert len(refused.value.problems) == 3


def test_what_is_right_stays():
    given = ["experiment=null", "method=glob(dy*)", "noise.rate=.1", "experiment_name=2024"]
    assert [line(o) for o in parsed_all(given)] == [
        "method=dynamic_loss,dynamic_loss_lt", "noise.rate=.1", "experiment_name=2024"]  # fmt: skip
    with composer() as compose:
        assert compose.plain(["experiment_name=2024"]).experiment_name == "2024"
