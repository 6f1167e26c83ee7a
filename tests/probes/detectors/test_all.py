"""What holds for every detector of logits: resumed to the bit, rows never seen, two rows, two classes."""

import re
from pathlib import Path

import pytest
import torch

import lilawbench
from lilawbench.probes.detectors import DETECTORS

README = Path(lilawbench.__file__).parent / "probes" / "detectors" / "README.md"
OF_LOGITS = [name for name, kind in DETECTORS.items() if not (kind.needs_features or kind.needs_folds)]
ALL = pytest.mark.parametrize("name", OF_LOGITS)


@pytest.fixture(scope="module")
def four(looks, drawn):
    """Four epochs of 40 rows; in each some did not train, and the last row in none."""
    logits, labels = drawn(40, 3, 4)
    seen = torch.rand(4, 40, generator=torch.Generator().manual_seed(1)) < 0.8
    seen[0, :39] = True
    seen[:, 39] = False
    return looks(logits, labels, seen)


@ALL
def test_resumed_to_the_bit(name, four, scored):
    whole = scored(DETECTORS[name](), four)
    first, then = DETECTORS[name](), DETECTORS[name]()
    scored(first, four[:2])
    then.setup(40, 3)
    then.load_state_dict(first.state_dict())
    for look in four[2:]:
        then.see(look)
    assert torch.equal(then.scores().nan_to_num(nan=-7), whole.nan_to_num(nan=-7))
    middle = first.scores()  # loading copies: what `then` saw since is not in `first`
    assert not torch.equal(middle.nan_to_num(nan=-7), whole.nan_to_num(nan=-7))


@ALL
def test_a_row_that_never_trained_has_no_score(name, four, scored):
    detector = DETECTORS[name]()
    found = scored(detector, four)
    assert found.shape == (40,) and found.isnan().tolist() == [False] * 39 + [True]
    assert torch.equal(detector.paper_scores().isnan(), found.isnan())


@ALL
def test_what_rows_that_do_not_train_hold_is_not_read(name, four, scored):
    """Their logits may be anything, nan too."""
    other = [
        type(look)(look.number, look.logits.where(look.seen[:, None], torch.nan), look.observed, look.seen)
        for look in four
    ]
    torch.testing.assert_close(
        scored(DETECTORS[name](), other), scored(DETECTORS[name](), four), rtol=0, atol=0, equal_nan=True
    )


@ALL
def test_a_wrong_row_beside_a_right_one(name, looks, scored):
    """Two rows, two classes, learnt for three epochs: the wrong one is never fitted. Shapes of two are shapes too."""
    step = torch.tensor([[2.0, 0.0], [1.0, 0.0]])
    found = scored(DETECTORS[name](), looks([(t * step).tolist() for t in (1, 2, 3)], [0, 1]))
    assert found.shape == (2,) and found.isfinite().all()
    ambiguous = ("data_iq_aleatoric", "data_maps")  # not monotone: high is unsure, or unmoved
    assert found[1] > found[0] or name in ambiguous


@ALL
def test_the_docstring_says_which_rows_score_high(name):
    doc = DETECTORS[name].__doc__
    assert "High: " in doc and "Source: " in doc


def test_scores_of_lilaws_table_15_as_it_took_them(four, scored):
    """W_beta and its kin larger = wrong, as they are; the others larger = right."""
    as_they_are = {name for name, kind in DETECTORS.items() if kind.paper_sign == 1}
    assert as_they_are >= {"cnlcu_s", "el2n", "w_beta", "w_delta", "w"}
    assert not as_they_are & {"data_iq", "data_maps", "aum", "w_alpha"}
    detector = DETECTORS["w_alpha"]()
    turned = scored(detector, four)
    torch.testing.assert_close(detector.paper_scores(), -turned, equal_nan=True)


def test_the_readmes_detector(looks, scored):
    """Its largest other probability: p = (1/4, 1/2, 1/4), the label 0."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.M | re.S)
    names = {}
    exec(code, names)
    found = scored(names["Sharpness"](), looks(torch.tensor([[[1, 2, 1]]]).double().log(), [0]))
    assert found.item() == pytest.approx(1 / 2)


def test_the_readme_names_every_detector():
    first = re.findall(r"^\| (`.+?) \|", README.read_text(encoding="utf-8"), re.M)
    named = re.findall(r"`(\w+)`", " ".join(first))
    assert set(named) == {*DETECTORS, "method_NAME"}
