"""WANN on rows along a line, worked by hand, and beside scikit-learn's nearest neighbours."""

import math

import pytest
import torch
from torch import nn

from lilawbench.loading.resident import Resident
from lilawbench.methods.wann import WANN, neighbourhoods, neighbours


def ready(context, rows, labels, classes=2, **options):
    ctx = context(nn.Linear(rows.shape[1], classes), rows=Resident(rows, labels), num_classes=classes)
    method = WANN(**{"distance": "euclidean", "k_min": 1, "k_max": 5} | options)
    method.setup(ctx)
    ctx.epoch, ctx.batch_size = 1, len(rows)
    return ctx, method


LINE = torch.tensor([0.0, 1.0, 2.1, 3.3, 10.0, 11.1, 12.3])[:, None]
GIVEN = torch.tensor([0, 0, 1, 0, 1, 1, 1])  # the third is the odd one


def test_seven_rows_by_hand(context):
    """Nearest other rows of each, by number: 0: 1 2 3 4 5, 1: 0 2 3 4 5, 2: 1 3 0 4 5, 3: 2 1 0 4 5, 4: 5 6 3 2 1,
    5: 4 6 3 2 1, 6: 5 4 3 2 1. Votes of the first one, three and five: rows 0 and 1 have their label, 0, at k = 1. Row
    2 (given 1) has 0, then 0 0 0, then 0 0 0 1 1: never 1, so k = 5. Row 3 (given 0) has 1, then 1 0 0: k = 3. The
    others have theirs at once.
    At x = 2.6 the nearest row is 2, so five vote: rows 2 3 1 0 4 with weights 1/5 1/3 1 1 1, which is 7/3 for class 0
    and 6/5 for class 1: 35/53 and 18/53. At 10.4 row 4 alone votes. Nearest to row 3 is row 2 too: rows 2 1 0 4 5 vote,
    2 for class 0 and 11/5 for class 1."""
    ctx, method = ready(context, LINE, GIVEN)
    assert method.sizes.tolist() == [1, 1, 5, 3, 1, 1, 1]
    probs = method.predict(ctx, torch.tensor([[2.6], [10.4]])).exp()
    torch.testing.assert_close(probs[0], torch.tensor([35 / 53, 18 / 53]))
    torch.testing.assert_close(probs[1], torch.tensor([1e-4, 1]) / 1.0001)
    values = method.sample_values()
    assert values["reliability"].tolist() == pytest.approx([1, 1, 1 / 5, 1 / 3, 1, 1, 1])
    assert values["voted_label"].tolist() == [0, 0, 0, 1, 1, 1, 1]


def test_the_other_weightings(context):
    """At 2.6 with three neighbours (rows 2, 3, 1 at .5, .7, 1.6): one vote in three for class 1, or by distance
    1 / (1 + exp(-.2) + exp(-1.1))."""
    query = torch.tensor([[2.6]])
    ctx, method = ready(context, LINE, GIVEN, weighting="none", k=3)
    assert method.predict(ctx, query).exp()[0, 1].item() == pytest.approx(1 / 3)
    ctx, method = ready(context, LINE, GIVEN, weighting="distance", temperature=1.0, k=3)
    expected = 1 / (1 + math.exp(-0.2) + math.exp(-1.1))
    assert method.predict(ctx, query).exp()[0, 1].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow  # it takes seconds to import
def test_plain_neighbours_are_those_of_scikit_learn(context):
    from sklearn.neighbors import KNeighborsClassifier

    generator = torch.Generator().manual_seed(0)
    rows, query = torch.randn(80, 4, generator=generator), torch.randn(40, 4, generator=generator)
    labels = torch.randint(0, 4, (80,), generator=generator)
    for distance in ("cosine", "euclidean"):
        ctx, method = ready(context, rows, labels, 4, weighting="none", k=7, distance=distance)
        fitted = KNeighborsClassifier(7, metric=distance).fit(rows.numpy(), labels.numpy())
        expected = torch.from_numpy(fitted.predict_proba(query.numpy())).float()
        torch.testing.assert_close(method.predict(ctx, query).exp(), expected, atol=4e-4, rtol=0)


def test_parts_make_the_whole(monkeypatch):
    rows, labels = torch.randn(50, 3), torch.randint(0, 3, (50,))
    near, numbers = neighbours(rows, rows, 9, others=True)
    sizes = neighbourhoods(labels, labels[numbers], 3, 3, 9)
    assert not (numbers == torch.arange(50)[:, None]).any() and set(sizes.tolist()) <= {3, 5, 7, 9}
    monkeypatch.setattr("lilawbench.methods.wann.NUMBERS", 130)
    again, others = neighbours(rows, rows, 9, others=True)
    torch.testing.assert_close(again, near)
    assert torch.equal(others, numbers) and torch.equal(neighbourhoods(labels, labels[numbers], 3, 3, 9), sizes)


def test_training_rows_do_not_vote_for_themselves_and_the_network_stays(context):
    """A row of its own label among others; its loss is that of the vote, and no weight moves."""
    ctx, method = ready(context, LINE, GIVEN)
    out = method.loss(ctx, ctx.fetch(torch.arange(7)))
    assert out.logits[2].exp().tolist() == pytest.approx([1 / 1.0001, 1e-4 / 1.0001])  # row 1, of size 1
    out.loss.backward()
    assert all(not p.grad.any() for p in ctx.model.parameters())
    assert out.loss.item() == pytest.approx(nn.functional.cross_entropy(out.logits, GIVEN).item())


@pytest.mark.parametrize(
    "option, said",
    [
        ({"k_min": 9, "k_max": 7}, "k_min is 9 and k_max 7; they must be whole numbers, 1 <= k_min <= k_max"),
        ({"k": 0}, "k is 0; it must be null or a whole number >= 1"),
        ({"weighting": "eta"}, "weighting is 'eta'; it must be one of"),
        ({"distance": "l1"}, "distance is 'l1'; it must be one of"),
        ({"temperature": 0}, "temperature is 0; it must be > 0"),
    ],
)
def test_values_out_of_range(option, said):
    with pytest.raises(ValueError, match=said):
        WANN(**option)
