"""Folds: parts of the rows, what trains on which, files that outlive a kill, and runs that train as without them."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from lilawbench.engine import folds
from lilawbench.engine.folds import File, Learner, divided, out_of_sample
from lilawbench.loading.resident import Resident
from lilawbench.methods.supervised import Supervised
from lilawbench.record.identity import run_folder
from lilawbench.schema import Train
from lilawbench.support.distributed import World
from lilawbench.support.errors import ConfigError, PartError, RunFailed
from lilawbench.train import run

NAMES = ("cat", "dog", "owl")


def test_parts_are_stratified_and_seeded():
    """30 rows: 12, 9 and 9 of the classes; in three parts 4, 3 and 3 of each."""
    observed = np.repeat([0, 1, 2], [12, 9, 9])
    parts = divided(np.arange(30), observed, NAMES, 3, seed=0)
    assert sorted(np.concatenate(parts).tolist()) == list(range(30))
    assert [np.bincount(observed[part]).tolist() for part in parts] == [[4, 3, 3]] * 3
    again, other = (divided(np.arange(30), observed, NAMES, 3, seed=seed) for seed in (0, 1))
    assert all(map(np.array_equal, parts, again)) and not all(map(np.array_equal, parts, other))


def test_copies_of_a_row_are_in_its_part():
    rows = np.concatenate([np.arange(10, 22), [10, 13, 21]])
    observed = np.concatenate([np.arange(12) % 2, [0, 1, 1]])
    parts = divided(rows, observed, NAMES[:2], 3, seed=0)
    of_row = {place: number for number, part in enumerate(parts) for place in part.tolist()}
    assert of_row[0] == of_row[12] and of_row[3] == of_row[13] and of_row[11] == of_row[14] and len(of_row) == 15


def test_a_class_of_fewer_rows_than_parts_is_refused():
    said = "detect.folds=5 needs 5 training rows of each class that is given at all; 'dog' has 4: take fewer folds"
    with pytest.raises(ConfigError, match=said):
        divided(np.arange(24), np.repeat([0, 1], [20, 4]), NAMES, 5, seed=0)


@pytest.fixture
def foretold(context, tmp_path):
    """foretold() -> probabilities of twelve rows, numbered 0 to 11, in three parts; and which rows trained for each."""
    rows = Resident(torch.arange(12.0)[:, None], torch.arange(12) % 3)
    parts = divided(np.arange(12), rows.target.numpy(), NAMES, 3, seed=0)

    def go(saved=lambda: None, lr=0.01):
        trained = {}

        def learner(number, part):
            torch.manual_seed(number)
            trained[number] = part.input[:, 0].int().tolist()
            ctx = context(nn.Linear(1, 3), rows=part)
            return Learner(ctx, Supervised(), lambda epoch: epoch.number == 2, None)

        options = Train(epochs=5, lr=lr)
        return out_of_sample(tmp_path, rows, parts, learner, options, saved, World()), trained

    go.parts, go.folder = parts, tmp_path / folds.FOLDER
    return go


def test_no_network_predicts_what_it_trained_on(foretold):
    probs, trained = foretold()
    torch.testing.assert_close(probs.sum(1), torch.ones(12))
    for rows, part in zip(trained.values(), foretold.parts, strict=True):
        assert sorted([*rows, *part.tolist()]) == list(range(12)) and len(rows) == 8


def test_finished_parts_are_kept_and_damaged_ones_done_again(foretold, caplog):
    caplog.set_level("INFO")

    class Killed(BaseException):
        pass

    def kill():
        if (foretold.folder / "fold1.npz").exists():
            raise Killed

    with pytest.raises(Killed):
        foretold(kill)
    assert sorted(path.name for path in foretold.folder.iterdir()) == ["fold0.npz", "fold1.npz"]
    whole, trained = foretold()
    assert list(trained) == [2] and "1 further training(s) of 5 epochs come first (2 done before)" in caplog.text
    path = foretold.folder / "fold0.npz"
    content = bytearray(path.read_bytes())
    content[-400] ^= 0x40
    path.write_bytes(content)
    again, trained = foretold()
    assert list(trained) == [0] and torch.equal(again, whole)
    assert f"{path} is damaged, or of other rows: this fold is trained again" in caplog.text
    assert list(foretold()[1]) == []


def test_a_file_is_of_its_rows_and_labels(tmp_path):
    rows, probs = np.arange(4), np.full((4, 2), 0.5, np.float32)
    File(tmp_path / "folds" / "fold0.npz", rows, rows % 2).write(probs)
    for labels, found in ((rows % 2, probs.tolist()), (rows % 3, None)):
        kept = File(tmp_path / "folds" / "fold0.npz", rows, labels).read()
        assert (None if kept is None else kept.tolist()) == found


def test_training_that_fails_says_in_which_fold(foretold):
    with pytest.raises(RunFailed, match="detect.folds, fold 1 of 3: the loss is"):
        foretold(lr=3e38)


FOLDED = ["probe=suspects", "detect.folds=2", "detect.scores=[confident_learning]", "noise.rate=0.2"]


def content(folder, *less):
    """An epoch's measures and the result, without times and what `less` begins with."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    left_out = ("config.", "command", "run", "cell", "seconds", "peak", "epoch_seconds", "commit", *less)
    lines.append(json.loads((folder / "result.json").read_text()))
    return [{k: v for k, v in line.items() if not k.startswith(left_out)} for line in lines]


def test_the_run_itself_trains_as_without_folds(tiny, caplog):
    caplog.set_level("INFO")
    folded = run(tiny(*FOLDED, "train.epochs=1")).folder
    plain = run(tiny(*FOLDED[3:], "train.epochs=1")).folder
    assert content(folded, "suspects") == content(plain)
    assert "detect.folds=2: 2 further training(s) of 1 epochs come first" in caplog.text
    found = json.loads((folded / "result.json").read_text())
    assert found["suspects_estimated_by"] == "confident learning" and "suspects_auroc_confident_learning" in found


def test_what_is_refused_in_time_leaves_nothing_and_finished_folds_stay(tiny, monkeypatch):
    with pytest.raises(ConfigError, match="detect.folds=40 needs 40 training rows of each class"):
        run(cfg := tiny(*FOLDED, "detect.folds=40", "train.epochs=1"))
    assert not run_folder(cfg).exists()

    def see(*_):
        raise PartError("a probe of one's own")

    monkeypatch.setattr("lilawbench.probes.suspects.Suspects.see", see)
    with pytest.raises(PartError):
        run(cfg := tiny(*FOLDED, "train.epochs=1"))
    assert len(list((run_folder(cfg) / folds.FOLDER).iterdir())) == 2


@pytest.mark.slow
def test_a_method_learns_folds_and_goes_on_after_a_break(tiny, acting, tmp_path, method_of_each_state, monkeypatch):
    """Broken after its first fold; the second is trained from its start, and the record is that of a whole run."""
    options = [*acting(method_of_each_state), *FOLDED, "train.epochs=2"]
    whole = run(tiny(*options, f"paths.output_dir={tmp_path}/whole")).folder
    write = File.write
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):

        def broken(file, probs):
            write(file, probs)
            raise KeyboardInterrupt

        patch.setattr(File, "write", broken)
        run(tiny(*options))
    again = run(tiny(*options)).folder
    assert content(again) == content(whole)
    assert (again / "suspects.csv").read_text() == (whole / "suspects.csv").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ["train.finetune=linear_probe", "model.hidden=[16,12,8]"],
        ["method=co_teaching", "train.finetune=linear_probe", "model.hidden=[16,12,8]", "train.epochs=3"],
        ["train.early_stop_epochs=1", "train.lr=0.1", "train.epochs=9"],
        ["train.balanced_samples=60"],
        ["method=lilaw", "loss=elr"],
        ["dataset=ecg5000_a", "split.train_samples=100"],
        ["dataset=medmnist", "split.train_samples=100"],
        ["dataset=adult", "split.train_samples=200"],
    ],
    ids=lambda options: options[0],
)
def test_other_rows_and_options(request, composed, options):
    """Cached features, an early end, copies of rows, images, an official validation set."""
    if options[0].startswith("dataset"):
        options = [*options, f"paths.data_dir={request.getfixturevalue('data_dir')}"]
    base = [
        "train.epochs=2",
        "train.batch_size=32",
        *FOLDED,
        "detect.scores=[confident_learning,grand,simifeat,tracin]",
    ]
    found = run(composed(*base, *options)).result
    assert found["suspects_rows"] > 60
    assert found["suspects_auroc_confident_learning"] > 0.3
