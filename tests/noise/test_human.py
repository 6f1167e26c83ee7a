"""CIFAR-10N and CIFAR-100N: the real files, one in the official layout that the test writes, and what gets refused."""

import numpy as np
import pytest
import torch

from lilawbench.check import check
from lilawbench.config import build
from lilawbench.datasets.base import Source
from lilawbench.loading.download import fetch
from lilawbench.noise import Human
from lilawbench.noise.human import FILES
from lilawbench.pipeline import draw_labels
from lilawbench.support.errors import DataError

TEN = ["aggre", "random1", "random2", "random3", "worst"]


def found_in(folder):
    """fetch as a run hands it out: the hash is checked."""
    return lambda name, urls, md5: fetch(name, urls, md5, folder)


@pytest.fixture(scope="module")
def official(data_dir):
    """{classes: content of the real file}."""
    content = {}
    for file in FILES:
        path = fetch(file.name, [], file.md5, data_dir)
        content[file.num_classes] = torch.load(path, weights_only=False)
    return content


@pytest.mark.parametrize(
    "labels, num_classes, wrong",
    [
        ("aggre", 10, 0.0901), ("random1", 10, 0.1723), ("random2", 10, 0.1812), ("random3", 10, 0.1764),
        ("worst", 10, 0.4021), ("noisy", 100, 0.4020),
    ],
)  # fmt: skip
def test_published_rates(official, data_dir, labels, num_classes, wrong):
    """Wei et al. 2022, Table 1: 9.03, 17.23, 18.12, 17.64, 40.21 and 40.20 %; the released majority is at 9.01."""
    clean = official[num_classes]["clean_label"]
    clean.setflags(write=False)
    observed = Human(labels)(clean, num_classes, np.random.default_rng(0), found_in(data_dir))
    assert observed.dtype == np.int64 and observed.shape == (50_000,)
    assert (observed != clean).mean() == pytest.approx(wrong, abs=5e-5)
    again = Human(labels)(clean, num_classes, np.random.default_rng(1), found_in(data_dir))
    np.testing.assert_array_equal(observed, again)


def test_worst_is_wrong_wherever_any_of_the_three_is(official, data_dir):
    clean = official[10]["clean_label"]
    sets = {name: Human(name)(clean, 10, np.random.default_rng(0), found_in(data_dir)) for name in TEN}
    any_wrong = np.any([sets[f"random{i}"] != clean for i in (1, 2, 3)], axis=0)
    np.testing.assert_array_equal(sets["worst"] != clean, any_wrong)
    agreed = (sets["random1"] == sets["random2"]) & (sets["random2"] == sets["random3"])
    np.testing.assert_array_equal(sets["aggre"][agreed], sets["random1"][agreed])


@pytest.fixture
def small(tmp_path):
    """fetch of a file in the official layout with six labels."""
    clean = np.array([0, 1, 2, 3, 4, 9])
    content = {"clean_label": clean} | {key: (clean + i) % 10 for i, key in enumerate(FILES[0].keys.values())}
    path = tmp_path / "CIFAR-10_human.pt"
    torch.save(content, path)
    asked = []

    def find(*arguments):
        asked.append(arguments)
        return path

    return find, clean, asked


@pytest.mark.parametrize("labels, shift", list(zip(TEN, range(5))))
def test_each_option_reads_its_own_labels(small, labels, shift):
    find, clean, asked = small
    observed = Human(labels)(clean, 10, np.random.default_rng(0), find)
    np.testing.assert_array_equal(observed, (clean + shift) % 10)
    name, urls, md5 = asked[0]
    assert (name, md5) == ("cifar-n/CIFAR-10_human.pt", "96644db5574813cae939af5f7f2a0aec")
    assert urls[0].endswith("/data/CIFAR-10_human.pt")


def test_without_an_option_it_is_the_majority(small):
    find, clean, _ = small
    np.testing.assert_array_equal(Human()(clean, 10, np.random.default_rng(0), find), clean)  # shift 0 in this file


@pytest.mark.parametrize("clean", [[0, 1, 2, 3, 4], [1, 0, 2, 3, 4, 9]], ids=["fewer", "another order"])
def test_other_rows_are_refused(small, clean):
    with pytest.raises(ValueError, match=r"belong to the 6 training images of CIFAR-10 in their official order; the"):
        Human("worst")(np.array(clean), 10, np.random.default_rng(0), small[0])


def test_the_wrong_data_set_is_refused_before_a_file_is_looked_for():
    def find(*_):
        raise AssertionError

    with pytest.raises(ValueError, match=r"belong to CIFAR-10; the data set has 100 classes: use noise\.labels=noisy"):
        Human("aggre")(np.arange(100), 100, np.random.default_rng(0), find)
    with pytest.raises(ValueError, match=r"belong to CIFAR-100; .* 10 classes: use noise\.labels=aggre or random1"):
        Human("noisy")(np.arange(10), 10, np.random.default_rng(0), find)
    with pytest.raises(ValueError, match=r"2 classes: use dataset=cifar10n or dataset=cifar100n"):
        Human("noisy")(np.arange(2), 2, np.random.default_rng(0), find)


def test_no_such_labels():
    with pytest.raises(
        ValueError, match="labels is 'worse'; it must be one of aggre, random1, random2, random3, worst, n"
    ):
        Human("worse")


def of_cifar(num_classes, clean):
    """CIFAR's labels with an image of one pixel for each."""
    images = torch.zeros(len(clean), 3, 1, 1, dtype=torch.uint8)
    names = tuple(map(str, range(num_classes)))
    return Source(images, clean, images[:num_classes], np.arange(num_classes), names, (0.5,) * 3, (0.25,) * 3,
                  clean_known=True)  # fmt: skip


@pytest.mark.parametrize(
    "options, wrong",
    [("cifar10n", 0.0901), ("cifar10n noise.labels=worst", 0.4021), ("cifar100n", 0.4020), ("cifar10n noise=none", 0)],
)
@pytest.mark.parametrize("fraction, num_val", [(0, 0), (None, 7500)], ids=["full", "15 %"])
def test_the_presets_label_all_rows_and_validate_on_human_labels(
    official, composed, data_dir, options, wrong, fraction, num_val
):
    split = [] if fraction is None else [f"split.val_fraction={fraction}"]
    cfg = composed(f"paths.data_dir={data_dir}", *f"dataset={options}".split(), *split)
    check(cfg)
    num_classes = build(cfg.dataset).num_classes
    labels = draw_labels(cfg, of_cifar(num_classes, official[num_classes]["clean_label"]))
    train, val = labels.train, labels.val
    assert (len(train), len(val)) == (50_000 - num_val, num_val)
    corrupted = labels.observed != labels.clean
    assert corrupted.mean() == pytest.approx(wrong, abs=5e-5)
    if num_val:
        assert abs(corrupted[val].mean() - wrong) <= 4 * np.sqrt(wrong * (1 - wrong) / num_val)
        shares = [np.bincount(labels.observed[rows], minlength=num_classes) / len(rows) for rows in (train, val)]
        assert np.abs(shares[0] - shares[1]).max() < 2 / num_val  # stratified by what is seen


def test_a_file_with_another_hash_is_never_unpickled(tmp_path):
    """Unpickling this one would leave a file."""

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    (tmp_path / "cifar-n").mkdir()
    torch.save({"clean_label": Trap()}, tmp_path / "cifar-n" / "CIFAR-10_human.pt")
    with pytest.raises(DataError, match=r"CIFAR-10_human\.pt is damaged: its md5 is"):
        Human("aggre")(np.arange(10), 10, np.random.default_rng(0), found_in(tmp_path))
    assert not (tmp_path / "sprung").exists()
