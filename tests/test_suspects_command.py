"""`python -m lilawbench.suspects`: several lists as one, what cannot be put together, and find, fix, train again."""

import csv
import json

import numpy as np
import pytest
from scipy import stats

from lilawbench.record.identity import RunRecord
from lilawbench.report.conclude import conclude
from lilawbench.suspects import main
from lilawbench.train import run

NAMES = ("cat", "dog", "eel")
GIVEN = {"p": "cat", "q": "cat", "r": "dog", "s": "eel", "t": "dog"}


def write(folder, rows, wrong, *, given=GIVEN, names=NAMES, listed=True, observed=None, believed=0.05):
    """A finished run's folder with a list.

    Args:
        rows: of each, the most suspicious first: name, suggested label, its probability, loss. wrong: how many of the
            first are above the threshold. believed: probability of every given label.
    """
    folder.mkdir(parents=True)
    record = {"schema_version": 1, "status": "done", "config.seed": 0, "config.method.name": "ce"}
    record |= {"config.dataset.name": "own", "class_names": list(names), "suspects_estimated_by": "GMM on losses"}
    (folder / "result.json").write_text(json.dumps(record))
    np.savez(folder / "labels.npz", observed=[names.index(name) for name in given.values()], ids=list(given))
    if listed:
        with (folder / "suspects.csv").open("w", newline="") as file:
            lines = csv.writer(file)
            probs = ["suggested_prob", "given_prob"]
            lines.writerow(["rank", "row", "given", "suggested", *probs, "probably_wrong", "score", "loss"])
            for rank, (row, suggested, prob, loss) in enumerate(rows, start=1):
                lines.writerow([rank, row, given[row], suggested, prob, believed, int(rank <= wrong), -rank, loss])
    return str(folder)


FIRST = [("p", "dog", 0.9, 3.0), ("r", "cat", 0.8, 4.0), ("q", "eel", 0.2, 0.1), ("s", "cat", 0.1, 0.2)]
SECOND = [("p", "eel", 0.6, 3.0), ("t", "cat", 0.7, 1.0), ("r", "cat", 0.4, 2.0), ("q", "eel", 0.3, 0.1)]
THIRD = [("r", "eel", 0.3, 1.0), ("p", "dog", 0.8, 0.5), ("s", "cat", 0.2, 0.4), ("t", "cat", 0.1, 0.3)]


@pytest.fixture
def runs(tmp_path):
    """Three runs on four of five rows each."""
    lists = zip((FIRST, SECOND, THIRD), (2, 2, 1))
    return [write(tmp_path / "out" / f"run{i}", rows, wrong) for i, (rows, wrong) in enumerate(lists)]


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_by_hand(runs, tmp_path, capsys):
    """Ranks: p 1 1 2, r 2 3 1, t - 2 4, q 3 4 -, s 4 - 3; above the threshold p twice, r twice, t once of its two runs.
    p is suggested dog by two of three, with mean probability .85; r cat, .6."""
    assert main([*runs, "--out", str(tmp_path / "all.csv")]) == 0
    found = [tuple(row.values()) for row in table(tmp_path / "all.csv")]
    assert list(table(tmp_path / "all.csv")[0]) == (
        ["rank", "row", "given", "suggested", "suggested_prob", "given_prob"]
        + ["mean_rank", "runs", "agree", "probably_wrong"]
    )
    assert found == [
        ("1", "p", "cat", "dog", "0.85", "0.05", "1.33333", "3", "2", "1"),
        ("2", "r", "dog", "cat", "0.6", "0.05", "2", "3", "2", "1"),
        ("3", "t", "dog", "cat", "0.4", "0.05", "3", "2", "1", "0"),
        ("4", "q", "cat", "eel", "0.25", "0.05", "3.5", "2", "0", "0"),
        ("5", "s", "eel", "cat", "0.15", "0.05", "3.5", "2", "0", "0"),
    ]
    low, high = stats.t.interval(0.95, 2, loc=5 / 3, scale=np.std([2, 2, 1], ddof=1) / 3**0.5)
    said = capsys.readouterr().out
    assert "about 2 of 4 labels are probably wrong (GMM on losses; 95% interval over 3 runs: " in said
    assert f"{low:.0f} to {high:.0f}); first: p, given cat, rather dog" in said
    assert [line.split()[:2] for line in said.splitlines()[3:8]] == [list(row[:2]) for row in found]


def test_a_folder_of_runs_is_its_runs(runs, tmp_path, capsys):
    assert main([str(tmp_path / "out"), "--top", "1"]) == 0
    assert "over 3 runs" in (said := capsys.readouterr().out) and len(said.splitlines()) == 4


def test_another_score_ranks_by_its_own_order_up_to_the_same_number(runs, tmp_path):
    """Of the first run alone: losses 4, 3, .2, .1 of r, p, s, q."""
    assert main([runs[0], "--score", "loss", "--out", str(tmp_path / "all.csv")]) == 0
    assert [(row["row"], row["probably_wrong"]) for row in table(tmp_path / "all.csv")] == [
        ("r", "1"), ("p", "1"), ("s", "0"), ("q", "0"),
    ]  # fmt: skip


@pytest.mark.parametrize("agree, expected", [([], "pr"), (["--agree", "1"], "prt"), (["--agree", "3"], "")])
def test_labels_to_train_on(runs, tmp_path, capsys, agree, expected):
    assert main([*runs, "--labels", str(tmp_path / "corrected.csv"), *agree]) == 0
    labels = {row["id"]: row["corrected"] for row in table(tmp_path / "corrected.csv")}
    suggested = {"p": "dog", "r": "cat", "t": "cat"}
    assert labels == {**GIVEN, **{row: suggested[row] for row in expected}}
    said = capsys.readouterr().out
    assert f"{len(expected)} of 5 labels replaced: {tmp_path}/corrected.csv" in said
    assert f"noise=file noise.path={tmp_path}/corrected.csv" in said


def test_rows_that_no_run_trained_on_are_counted(runs, tmp_path, capsys):
    assert main([runs[0], "--labels", str(tmp_path / "corrected.csv")]) == 0
    assert "2 of 5 labels replaced (left as they were: no run trained on the row: 1): " in capsys.readouterr().out


def test_a_given_label_that_is_the_likeliest_stays(tmp_path, capsys):
    """p and r are above the line; of these dog has .9 against .85, and cat .8."""
    folder = write(tmp_path / "run", FIRST, 2, believed=0.85)
    assert main([folder, "--labels", str(tmp_path / "corrected.csv")]) == 0
    labels = {row["id"]: row["corrected"] for row in table(tmp_path / "corrected.csv")}
    assert labels == {**GIVEN, "p": "dog"}
    said = capsys.readouterr().out
    assert (
        "1 of 5 labels replaced (left as they were: above the line, yet the given label is the likeliest: 1; no "
        in said
    )


OTHER = {**GIVEN, "r": "eel"}
WRONG = {
    "labels": (
        lambda to: write(to, SECOND, 1, given=OTHER),
        "different labels: row r is given dog and eel (1 such row",
    ),
    "classes": (
        lambda to: write(to, SECOND, 1, names=(*NAMES, "fox")),
        "different classes: cat, dog, eel | cat, dog, ",
    ),
    "rows": (lambda to: write(to, SECOND, 1, given={**GIVEN, "u": "cat"}), "different rows (5 and 6 rows with labels)"),
    "list": (lambda to: write(to, SECOND, 1, listed=False), "no suspects.csv; of classes, a run with probe="),
    "names": (lambda to: write(to, [*SECOND, SECOND[0]], 1), "1 names are shared by several rows, such as p"),
    "broken": (lambda to: (write(to, SECOND, 1), (to / "labels.npz").write_text("")), "are damaged"),
    "none": (lambda to: to.mkdir(), "there is no finished run in or below"),
    "nowhere": (lambda to: None, "there is no folder"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_put_together(runs, tmp_path, capsys, what):
    """One message, and nothing is written."""
    make, message = WRONG[what]
    make(tmp_path / "other")
    asked = [str(tmp_path / "other")] if what == "none" else [runs[0], str(tmp_path / "other")]
    before = sorted(tmp_path.iterdir())
    assert main([*asked, "--out", str(tmp_path / "all.csv"), "--labels", str(tmp_path / "corrected.csv")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("lilawbench: ") and message in error and len(error.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "options, message",
    [
        (["--score", "los"], "has no score los; did you mean loss?"),
        (["--agree", "4"], "--agree 4: there are 3 runs"),
        (["--labels", "new.txt"], "--labels new.txt must end in .csv"),
        (["--labels", "new.csv", "--out", "new.csv"], "--out and --labels are both new.csv"),
    ],
)
def test_wrong_options(runs, tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    assert main([*runs, *options]) == 2
    assert message in capsys.readouterr().err and not list(tmp_path.glob("new*"))


def test_data_are_not_written_over(runs, tmp_path, capsys):
    (tmp_path / "mine.csv").write_text("patient,diagnosis\n")
    for option in ("--labels", "--out"):
        assert main([*runs, option, str(tmp_path / "mine.csv")]) == 1
        found = capsys.readouterr()
        assert "it is there, with other content" in found.err and not found.out
    assert (tmp_path / "mine.csv").read_text() == "patient,diagnosis\n"


def test_what_was_written_is_written_again(runs, tmp_path):
    out = ["--labels", str(tmp_path / "labels.csv"), "--out", str(tmp_path / "list.csv")]
    assert [main([*runs, *out]) for _ in range(2)] == [0, 0]


def test_a_number_that_is_none(runs, capsys):
    with pytest.raises(SystemExit):
        main([*runs, "--top", "0"])
    assert "0 is no whole number >= 1" in capsys.readouterr().err


@pytest.fixture(scope="session")
def flowers():
    """scikit-learn's iris as a table of 150 rows, with 15 labels moved to the next kind: lines, and the true kinds."""
    from sklearn.datasets import load_iris

    iris = load_iris()
    kinds = np.array(["setosa", "versicolor", "virginica"])
    wrong = np.random.default_rng(0).choice(150, 15, replace=False)
    given = iris.target.copy()
    given[wrong] = (given[wrong] + 1) % 3
    lines = [
        f"f{i},{','.join(map(str, x))},{kinds[y]},{kinds[t]}"
        for i, (x, y, t) in enumerate(zip(iris.data, given, iris.target))
    ]
    return "name,a,b,c,d,kind,truth\n" + "\n".join(lines) + "\n"


@pytest.mark.slow
def test_find_fix_train_again(composed, flowers, tmp_path, capsys, caplog):
    """Three seeds find most of the planted labels; of the corrected ones at most half as many are wrong."""
    caplog.set_level("INFO")
    (tmp_path / "iris.csv").write_text(flowers)
    own = ["dataset=table", f"dataset.path={tmp_path}/iris.csv", "dataset.label=kind", "dataset.ignore=[truth]"]
    own += ["dataset.id=name", "train.epochs=40", "train.batch_size=16", "train.lr=0.003"]
    folders = [str(run(composed(*own, f"seed={seed}")).folder) for seed in range(3)]
    assert main([*folders, "--labels", str(tmp_path / "corrected.csv")]) == 0

    truth = {row["name"]: row["truth"] for row in table(tmp_path / "iris.csv")}
    given = {row["name"]: row["kind"] for row in table(tmp_path / "iris.csv")}
    corrected = {row["id"]: row["corrected"] for row in table(tmp_path / "corrected.csv")}
    before = sum(given[name] != truth[name] for name in corrected)
    after = sum(corrected[name] != truth[name] for name in corrected)
    assert len(corrected) == 120 and after <= before / 2

    again = run(composed(*own, "noise=file", f"noise.path={tmp_path}/corrected.csv"))
    assert again.result["labels.clean_known"] is False
    assert f"labels are those of {tmp_path}/corrected.csv" in caplog.text
    with np.load(again.folder / "labels.npz") as labels:
        names = np.array(again.result["class_names"])[labels["observed"]]
        assert dict(zip(labels["ids"].tolist(), names.tolist())) == corrected
        assert "clean" not in labels


def test_a_sweep_with_one_set_of_labels_says_how_to_put_its_lists_together(tmp_path, capsys):
    def said(*labels):
        results = [{"suspects_score": "aum", "labels.sha256": label} for label in labels]
        conclude([RunRecord(tmp_path / f"run{i}", "submitted", result) for i, result in enumerate(results)])
        return f"python -m lilawbench.suspects {tmp_path}\n" in capsys.readouterr().out

    assert [said("a", "a"), said("a", "b"), said("a")] == [True, False, False]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "result.json").touch()  # of other labels, perhaps
    assert not said("a", "a")
    conclude(
        [RunRecord(tmp_path / name, "submitted", {"suspects_score": "aum", "labels.sha256": "a"}) for name in "xy"]
    )
    assert f"python -m lilawbench.suspects {tmp_path}/x {tmp_path}/y\n" in capsys.readouterr().out
