"""Equal numbers are one run, however they are written; the names are those of the papers' tables."""

import pytest

from lilawbench.record.identity import FLOATS, run_name


@pytest.mark.parametrize(
    "choice, key, ways",
    [
        ("noise=symmetric", "noise.rate", ["0.0", "0", "0e0", "-0.0"]),
        ("noise=symmetric", "noise.rate", ["0.1", ".1", "1e-1", "0.10"]),
        pytest.param("noise=dirichlet", "noise.concentration", ["1.0", "1", "1e0"], marks=pytest.mark.slow),
        pytest.param("noise=target_gaussian", "noise.scale", ["2.0", "2"], marks=pytest.mark.slow),
        ("noise=label_flip", "noise.absent_rate", ["0", "0.0"]),
        ("method=lilaw", "method.alpha", ["10.0", "10", "1e1"]),
        pytest.param("method=lilaw", "method.lr", ["1", "1.0"], marks=pytest.mark.slow),
        pytest.param("method=at", "method.fgsm.eps", ["1.0", "1"], marks=pytest.mark.slow),
        pytest.param("method=dynamic_loss", "method.num_bins", ["50", "50.0"], marks=pytest.mark.slow),
        pytest.param("loss=focal", "loss.gamma", ["2.0", "2"], marks=pytest.mark.slow),
        pytest.param("model=mlp", "model.dropout", ["0.0", "0"], marks=pytest.mark.slow),
        ("model=mlp", "model.hidden", ["[16,8]", "[16.0,8]"]),
        pytest.param("dataset=cifar10", "dataset.imbalance", ["10", "10.0", "1e1"], marks=pytest.mark.slow),
        pytest.param("method=ce", "train.lr", ["1.0", "1"], marks=pytest.mark.slow),
        ("method=ce", "attack.eps", ["[0.0,1.0]", "[0,1]"]),
        pytest.param("method=ce", "attack.clip", ["[0.0,1.0]", "[0,1]"], marks=pytest.mark.slow),
        pytest.param("method=ce", "split.val_fraction", ["0.0", "0"], marks=pytest.mark.slow),
        ("probe=none", "+probe.mine.options", ["{a:1,b:[2.0]}", "{a:1.0,b:[2]}"]),
    ],
)
def test_one_run(composing, choice, key, ways):
    assert len({run_name(composing(choice, f"{key}={way}")) for way in ways}) == 1
    assert run_name(composing(choice, f"{key}={ways[0]}")).startswith("digits-symmetric0.0") == ("0e0" in ways)


def test_other_numbers_and_truth_values_are_others(composing):
    ways = ["noise.rate=0", "noise.rate=0.001", "noise.exact=false", "+noise.a=0", "+noise.a=false", "+noise.a=1"]
    ways += ["+noise.a=true", "+noise.a=null", "+noise.a='1'", "+noise.a=nan", "+noise.a=inf", "+noise.a=1e300"]
    assert len({run_name(composing(way)) for way in ways}) == len(ways)


def test_names_of_before_stay(composing):
    """Written down in version 0.7, in the spelling of the YAMLs."""
    names = {
        "digits-symmetric0.0-mlp-ce-s0-cb8d0be9": "noise.rate=0.0",
        "digits-symmetric0.4-mlp-lilaw-s0-16b3cd6c": "method=lilaw",
    }
    for name, overrides in names.items():
        assert run_name(composing(*overrides.split())) == name


def test_what_is_spelt_as_a_float_is_an_option(composing):
    groups = {name.partition(".")[0] for name in FLOATS}
    assert groups == {"noise", "model", "dataset", "loss", "method"}


def test_keys_of_two_kinds_have_a_name(composed):
    """As a YAML may write noise.pairs."""
    one, other = composed("noise=asymmetric"), composed("noise=asymmetric")
    one.noise.pairs, other.noise.pairs = {1: 2, "cat": 3}, {"cat": 3, 1: 2}
    assert run_name(one) == run_name(other) != run_name(composed("noise=asymmetric"))
