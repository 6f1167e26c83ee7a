"""The list of suspects: its order, names, suggestions and threshold, and what it says where there is none."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from lilawbench.config import probes_asked
from lilawbench.datasets.base import Source
from lilawbench.datasets.table import Table
from lilawbench.noise.labels import Labels
from lilawbench.probes import suspects, suspects_list
from lilawbench.probes.detectors import DETECTORS
from lilawbench.probes.detectors.base import Latest, MeanOverEpochs
from lilawbench.probes.suspects import Suspects
from lilawbench.probes.suspects_sheet import GAP, TEXT, TILE, write_sheet
from lilawbench.record.identity import run_name
from lilawbench.record.recorder import Recorder
from lilawbench.support.errors import ConfigError, PartError
from lilawbench.train import run

SURE = [0.8, 0.1, 0.1]


def logits(of_2, of_5):
    """Of the scene's six rows with labels 0 0 1 1 2 2: all but rows 2 and 5 have their labels with probability .8."""
    rows = [SURE, SURE, of_2, np.roll(SURE, 1), np.roll(SURE, 2), of_5]
    return torch.tensor(np.array(rows)).log().float()


EPOCHS = [logits([0.1, 0.2, 0.7], [0.5, 0.1, 0.4]), logits([0.1, 0.1, 0.8], [0.5, 0.1, 0.4])]


@pytest.fixture
def seen(scene, epoch):
    """seen(scores=..., ...) -> the probe after the two epochs of `EPOCHS`."""

    def make(of=None, looks=EPOCHS, **options):
        probe = Suspects(**{"scores": ["loss", "aum"], "score": "aum", **options})
        probe.setup(of or scene())
        for number, rows in enumerate(looks, start=1):
            probe.see(None, replace(epoch(), number=number, logits=rows), None)
        return probe

    return make


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_by_hand(seen, tmp_path, monkeypatch, caplog):
    """Row 2: aum (ln 3.5 + ln 8) / 2, loss -(ln .2 + ln .1) / 2, class 2 with probability .75; row 5: aum ln 1.25,
    loss -ln .4, class 0 with probability .5; the others: aum -ln 8, loss -ln .8."""
    caplog.set_level("INFO")
    monkeypatch.setattr(suspects, "estimated_wrong_gmm", lambda losses: int((losses > 0.5).sum()))
    probe = seen()
    assert probe.result() == {
        "suspects_score": "aum",
        "suspects_rows": 6,
        "suspects_estimated": 2,
        "suspects_estimated_by": "GMM on losses",
        "suspects_estimated_gmm": 2,
    }
    probe.files(tmp_path)
    assert (tmp_path / "suspects.csv").read_text().splitlines()[:4] == [
        '"rank","row","given","suggested","suggested_prob","probably_wrong","score","loss","aum"',
        '1,"2","b","c",0.75,1,1.6661,1.95601,1.6661',
        '2,"5","c","a",0.5,1,0.223144,0.916291,0.223144',
        '3,"0","a","b",0.1,0,-2.07944,0.223144,-2.07944',
    ]
    assert [row["row"] for row in table(tmp_path / "suspects.csv")] == ["2", "5", "0", "1", "3", "4"]
    assert list(tmp_path.iterdir()) == [tmp_path / "suspects.csv"]  # neither images nor a table
    line = "about 2 of 6 labels are probably wrong (GMM on losses); first: row 2, given b, rather c; the list: "
    assert line in caplog.text


def test_rows_above_the_line_whose_given_label_is_the_likeliest_are_counted(seen, monkeypatch, scene):
    """Of three rows above it the third has its label with .8; row 5 has .4, another .5; row 2 has .15 and .75."""
    monkeypatch.setattr(suspects, "estimated_wrong_gmm", lambda losses: 3)
    listed = seen().listed()
    assert listed.likeliest == 1
    assert "(GMM on losses; for 1 of the 3 the given label is the likeliest yet); first: " in listed.told(
        scene().source
    )


@pytest.mark.parametrize("kind", [Latest, MeanOverEpochs])
def test_a_detector_of_ones_own_that_gives_no_value_a_row(seen, kind):
    own = type("Mine", (kind,), {"value": lambda self, look: look.probs})
    with pytest.raises(PartError, match=r"detector Mine: value\(\) gave \[6, 3\]; it must be a tensor \[6\]"):
        seen(detectors={"mine": own()}, scores=["mine"])


def test_rows_that_did_not_train_in_an_epoch_count_where_they_did(scene, epoch):
    probe = Suspects(scores=["loss"])
    probe.setup(scene())
    some = torch.tensor([True, True, False, True, True, False])
    for rows, there in zip(EPOCHS, (some, ~some)):
        probe.see(None, replace(epoch(), logits=rows, seen=there), None)
    found = probe.listed()
    assert found.rows[0] == 2 and found.prob[0] == pytest.approx(0.8)
    assert found.scores["loss"][0] == pytest.approx(-np.log(0.1))


def test_of_very_many_probabilities_the_last_count(seen, monkeypatch):
    monkeypatch.setattr(suspects, "MOST_PROBABILITIES", 17)
    assert seen().listed().prob[0] == pytest.approx(0.8)


def test_a_broken_run_has_the_list_of_an_unbroken_one(seen, scene, epoch):
    whole, first, second = seen(), seen(looks=EPOCHS[:1]), seen(looks=[])
    second.load_state_dict(first.state_dict())
    second.see(None, replace(epoch(), number=2, logits=EPOCHS[1]), None)
    for name in ("rows", "suggested", "prob"):
        np.testing.assert_array_equal(getattr(second.listed(), name), getattr(whole.listed(), name))
    for name, values in whole.listed().scores.items():
        np.testing.assert_array_equal(second.listed().scores[name], values)


def test_copies_of_rows_are_not_listed(seen, scene):
    usual = scene()
    labels = replace(usual.labels, train=np.array([0, 1, 2, 3, 2, 3]), copied=np.array([2, 3]))
    assert sorted(seen(replace(usual, labels=labels)).listed().rows) == [0, 1, 2, 3]


def test_measures_where_the_clean_labels_are_known(seen, scene):
    clean = np.array([0, 0, 2, 1, 2, 2, 0, 1, 2])  # row 2 is wrong
    result = seen(scene(clean=clean), scores=["aum"], epochs=[1], orientation="paper").result()
    assert result["suspects_auroc_aum"] == result["epoch1.suspects_auroc_aum"] == 1
    assert result["suspects_paper_auprc_aum"] == 1


class Patient(Latest):
    """Says nothing before its third epoch."""

    epochs = 3

    def value(self, look):
        return look.losses * torch.nan


def test_a_score_that_needs_more_epochs_is_nan_and_a_line_says_why(scene, epoch, tmp_path, caplog):
    caplog.set_level("INFO")
    probe = Suspects(scores=["aum", "patient"], score="aum", detectors={"patient": Patient()})
    probe.setup(replace(scene(), epochs=2))
    for rows in EPOCHS:
        probe.see(None, replace(epoch(), logits=rows), None)
    probe.files(tmp_path)
    assert {row["patient"] for row in table(tmp_path / "suspects.csv")} == {"nan"}
    assert "scores that need more epochs than the run has are nan: patient (3)" in caplog.text


@pytest.mark.parametrize(
    "options, message",
    [
        ({"score": "amu"}, "detect.score has 'amu', which is no score; did you mean aum?"),
        ({"scores": ["loss", "los"]}, "detect.scores has 'los', which is no score; did you mean loss?"),
        ({"orientation": "up"}, "detect.orientation is 'up'; it must be mislabelled or paper"),
        ({"epochs": [0]}, "detect.epochs has 0; epochs count from 1"),
        ({"detectors": {"aum": Patient()}}, "detectors has 'aum', the name of a column that is there already"),
        ({"detectors": {"row": Patient()}}, "detectors has 'row', the name of a column that is there already"),
        ({"detectors": {"mine": "Patient"}}, "detectors: mine is no Detector: NAME: {_target_: MODULE.CLASS}"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError) as refused:
        Suspects(**options)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"score": "patient"}, "detect.score=patient needs 3 epochs, and train.epochs is 2: train longer"),
        ({"score": "method_u"}, "there is no score method_u for multiclass data and this method"),
    ],
)
def test_a_score_that_the_run_cannot_have(scene, options, message):
    with pytest.raises(ConfigError) as refused:
        Suspects(detectors={"patient": Patient()}, **options).setup(replace(scene(), epochs=2))
    assert message in str(refused.value)


def test_no_list_for_values(scene, epoch, tmp_path, caplog):
    caplog.set_level("INFO")
    usual = scene()
    values = replace(usual.source, train_clean=np.arange(9.0), test_clean=np.arange(3.0), class_names=("value",))
    probe = Suspects()
    probe.setup(replace(usual, source=values))
    assert probe.see(None, epoch(), None) == probe.result() == probe.state_dict() == {}
    probe.load_state_dict({})
    probe.files(tmp_path)
    assert not list(tmp_path.iterdir())
    assert "no list of suspects: no score is for regression data" in caplog.text


def test_six_significant_digits():
    values = np.array([1234567.8, -0.000123456789, 0.1, 0.0, np.nan, np.inf, 1e-300], dtype=np.float64)
    expected = [1234570.0, -0.000123457, 0.1, 0.0, np.nan, np.inf, 1e-300]
    np.testing.assert_allclose(suspects_list.shortened(values), expected, rtol=1e-15, atol=1e-299)


def test_who_has_the_probe(composing):
    own = composing("dataset=table", "dataset.path=a.csv", "dataset.label=y")
    assert list(probes_asked(own)) == ["suspects"]
    assert list(probes_asked(composing("dataset=table", "dataset.path=a.csv", "dataset.label=y", "probe=none"))) == []
    assert list(probes_asked(composing())) == []
    asked = probes_asked(composing("detect.epochs=[1,3]"))
    assert asked["suspects"]["epochs"] == [1, 3]


def test_what_names_a_run_on_own_data(composing, monkeypatch):
    """The probe and the folds, but not which scores there are."""
    options = ("dataset=table", "dataset.path=a.csv", "dataset.label=y")
    own = run_name(composing(*options))
    others = [run_name(composing(*options, option)) for option in ("probe=none", "detect.folds=5")]
    assert len({own, *others}) == 3
    monkeypatch.setitem(DETECTORS, "newer", Patient)
    assert run_name(composing(*options)) == own


def test_epochs_beyond_the_last(tiny):
    with pytest.raises(ConfigError) as refused:
        run(tiny("detect.epochs=[3,10]", "detect.score=amu"))
    problems = "\n".join(refused.value.problems)
    assert "detect.epochs has 10; the run ends with train.epochs=3" in problems
    assert "probe.suspects: detect.score has 'amu', which is no score; did you mean aum?" in problems


@pytest.fixture
def listed():
    """listed(rows) -> these rows, in this order, given a, rather b."""

    def make(rows):
        zeros = np.zeros(len(rows), dtype=np.int64)
        scores = {"aum": -np.arange(float(len(rows)))}
        return suspects_list.Suspected(np.array(rows), zeros, zeros + 1, zeros + 0.5, scores, "aum", {"gmm": 1})

    return make


def test_a_tables_rows_by_name_line_and_columns(tmp_path, listed):
    lines = [f"p{number},{number / 2},{'no' if number % 2 else 'yes'},{number}" for number in range(12)]
    (tmp_path / "a.csv").write_text("name,age,ill,rank\n" + "\n".join(lines) + "\n")
    source = Table(str(tmp_path / "a.csv"), "ill", id="name").load(None)
    asked = listed([3, 1])
    suspects_list.write_list(tmp_path / "suspects.csv", asked, source)
    suspects_list.write_rows(tmp_path / "rows.csv", asked, source)
    for place, row in zip((3, 1), table(tmp_path / "rows.csv")):
        number = int(source.train_ids[place][1:])
        assert (row["row"], row["line"]) == (f"p{number}", str(number + 2))
        assert (row["name"], row["age"], row["rank (data)"]) == (f"p{number}", f"{number / 2:g}", str(number))
    first, second = table(tmp_path / "suspects.csv")
    assert (first["given"], first["suggested"], first["probably_wrong"]) == ("no", "yes", "1")
    assert (second["line"], second["probably_wrong"]) == (str(source.train_lines[1]), "0")


def test_the_sheet_has_pictures_as_they_are_in_their_order(tmp_path, listed):
    draw = np.random.default_rng(0)
    pixels = torch.from_numpy(draw.integers(0, 256, (20, 3, 16, 16), dtype=np.uint8))
    labels = np.arange(20) % 2
    source = Source(pixels, labels, pixels[:2], labels[:2], ("a", "b"), (0.5,) * 3, (0.5,) * 3)
    rows = [7, 3, 19, 0, 4, 5, 6, 8, 9]
    write_sheet(tmp_path / "suspects.png", listed(rows), source)
    sheet = np.asarray(Image.open(tmp_path / "suspects.png"))
    assert sheet.shape == (2 * (TILE + TEXT + GAP) + GAP, 8 * (TILE + GAP) + GAP, 3)
    zoom = TILE // 16
    for place, row in enumerate(rows):
        x, y = GAP + place % 8 * (TILE + GAP), GAP + place // 8 * (TILE + TEXT + GAP)
        shown = sheet[y : y + TILE : zoom, x : x + TILE : zoom]
        np.testing.assert_array_equal(shown, pixels[row].permute(1, 2, 0))
    assert (sheet[TILE + GAP : TILE + GAP + TEXT, :TILE] != 255).any()  # the names


def test_the_sheet_of_sequences_has_their_curves(tmp_path, listed):
    rising = torch.linspace(0, 1, 50)[:, None].expand(2, 50, 1).contiguous()
    rising[1] = rising[1].flip(0)
    source = Source(rising, np.arange(2), rising, np.arange(2), ("a", "b"))
    write_sheet(tmp_path / "suspects.png", listed([1, 0]), source)
    sheet = np.asarray(Image.open(tmp_path / "suspects.png").convert("L")).astype(int)
    for place, up in enumerate((False, True)):
        tile = sheet[GAP : GAP + TILE, GAP + place * (TILE + GAP) :][:, :TILE]
        height = [column.argmin() for column in (tile[:, 10], tile[:, -10])]
        assert (height[1] < height[0]) == up


def test_a_run_on_own_data_has_a_list(composed, tmp_path, caplog):
    """All scores that cost no pass, with three labels wrong and far from the others of their class."""
    caplog.set_level("INFO")
    x = np.r_[np.linspace(-3, -1, 40), np.linspace(1, 3, 40)]
    label = np.repeat(["no", "yes"], 40)
    label[[3, 13, 23]] = "yes"
    rows = "\n".join(f"{a:.4f},{y}" for a, y in zip(x, label))
    (tmp_path / "my.csv").write_text(f"x,ill\n{rows}\n")
    cfg = composed("dataset=table", f"dataset.path={tmp_path}/my.csv", "dataset.label=ill", "train.epochs=3",
                   "train.batch_size=16", "model.hidden=[8]", "method=rrm", "method.reweight_every_epochs=1",
                   "train.lr=0.05")  # fmt: skip
    record = run(cfg)
    first = table(record.folder / "suspects.csv")[0]
    assert first["row"] in ("line 5", "line 15", "line 25")
    assert (first["given"], first["suggested"]) == ("yes", "no") and float(first["suggested_prob"]) > 0.5
    assert table(record.folder / "suspects_rows.csv")[0]["x"] == f"{x[int(first['line']) - 2]:.4f}"
    assert {"loss", "forgetting", "method_lowest_weight"} < first.keys()
    assert record.result["suspects_rows"] == len(table(record.folder / "suspects.csv"))
    assert f"first: {first['row']}, given yes, rather no" in caplog.text


def test_labels_of_a_split_are_what_rows_are_called_by(scene):
    source = replace(scene().source, train_ids=np.array(list("jklmnopqr")))
    labels = Labels(source.train_clean, None, np.array([8, 2, 5]), np.array([0]))
    assert suspects_list.row_names(source, labels.train) == ["r", "l", "o"]


@pytest.mark.slow
def test_a_run_that_broke_off_writes_the_same_files(tiny, monkeypatch):
    """With a method's own scores and scores of networks that did not train on the row."""
    options = ["noise=symmetric", "noise.rate=0.2", "method=lilaw", "train.epochs=4", "detect.epochs=[1,4]",
               "detect.folds=2", "detect.score=self_confidence_oos"]  # fmt: skip
    whole = run(tiny(*options, "experiment_name=whole"))
    checkpoint = Recorder.checkpoint

    def cut(self, ctx, *rest):
        if ctx.epoch == 3:
            raise KeyboardInterrupt
        return checkpoint(self, ctx, *rest)

    monkeypatch.setattr(Recorder, "checkpoint", cut)
    with pytest.raises(KeyboardInterrupt):
        run(tiny(*options))
    monkeypatch.undo()
    broken = run(tiny(*options))
    for name in ("suspects.csv", "suspects.png"):
        assert (broken.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    measures = {key: value for key, value in whole.result.items() if "suspects" in key and not key.startswith("config")}
    assert measures == {key: broken.result[key] for key in measures} and len(measures) > 100
    assert whole.result["suspects_estimated_by"] == "confident learning"
