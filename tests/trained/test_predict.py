"""New rows are predicted as the run predicted its own; what does not fit is said, and nothing is written then."""

import csv
import json
import shutil

import numpy as np
import pandas
import pytest
import torch

import lilawbench
from lilawbench.config import build
from lilawbench.models.image import timm_model
from lilawbench.predict import main
from lilawbench.probes.chosen import Chosen
from lilawbench.support.errors import ConfigError, DataError
from lilawbench.train import run
from lilawbench.trained.predicting import Predicted, predict


def recorded(record):
    with np.load(record.folder / "predictions.npz", allow_pickle=False) as kept:
        return dict(kept)


def lines_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.mark.parametrize("rule", ["best_val", "last"])
def test_its_own_test_rows_come_out_as_it_recorded_them(table_run, rule):
    root, record = table_run
    found, kept = predict(record.folder, root / "test.csv", rule, device="cpu"), recorded(record)
    assert found.logits.numpy().tobytes() == kept[f"{rule}.test"].tobytes()
    assert found.ids.tolist() == kept["test_ids"].tolist() and found.ids[3] == "test3"
    assert found.given.tolist() == kept["class_names"][kept["test_target"]].tolist()
    accuracy = (found.logits.argmax(1).numpy() == kept["test_target"]).mean()
    assert accuracy == pytest.approx(record.result[f"{rule}.test_accuracy"])


def test_images_in_a_folder_too(folder_run):
    root, record = folder_run
    found, kept = predict(record.folder, root / "test", device="cpu"), recorded(record)
    np.testing.assert_allclose(found.logits.numpy(), kept["best_val.test"], rtol=1e-6, atol=1e-6)
    assert [f"test/{name}" for name in found.ids] == kept["test_ids"].tolist()
    assert found.given.tolist() == ["cat"] * 4 + ["dog"] * 4
    alone = predict(record.folder, root / "test" / "dog" / "2.png", device="cpu")
    torch.testing.assert_close(alone.logits[0], found.logits[6], rtol=1e-6, atol=1e-6)
    assert alone.ids.tolist() == ["2.png"] and alone.given is None


def test_a_network_and_its_preprocessing_for_ones_own_code(table_run, folder_run):
    root, record = table_run
    network, preprocess = lilawbench.load_model(record.folder, "last")
    frame = pandas.read_csv(root / "test.csv")
    for rows in (root / "test.csv", frame, frame.drop(columns=["diagnosis", "pid"]), frame.to_dict("records")):
        torch.testing.assert_close(network(preprocess(rows)).detach().numpy(), recorded(record)["last.test"])
    assert preprocess.class_names == ("healthy", "ill") and not network.training

    root, record = folder_run
    network, preprocess = lilawbench.load_model(str(record.folder))
    files = sorted((root / "test" / "cat").iterdir())
    assert preprocess(files).shape == (4, 3, 5, 5)
    torch.testing.assert_close(network(preprocess(files)).detach().numpy(), recorded(record)["best_val.test"][:4])
    pixels = np.full((2, 6, 6, 3), 60, np.uint8)
    torch.testing.assert_close(preprocess(pixels), preprocess(torch.from_numpy(pixels).permute(0, 3, 1, 2)))


def test_a_command_writes_a_line_a_row(table_run, tmp_path, capsys):
    root, record = table_run
    assert main([str(record.folder), "--data", str(root / "test.csv"), "--out", str(tmp_path / "p.csv")]) == 0
    first = lines_of(tmp_path / "p.csv")[0]
    shares = torch.from_numpy(recorded(record)["best_val.test"][:1]).softmax(1)[0].tolist()
    assert list(first) == ["row", "predicted", "given", "p(healthy)", "p(ill)"] and first["row"] == "test0"
    assert [float(first["p(healthy)"]), float(first["p(ill)"])] == pytest.approx(shares, abs=1e-5)
    assert first["predicted"] == ["healthy", "ill"][int(shares[1] > shares[0])]
    assert "30 rows; " in capsys.readouterr().out


def test_calibrated_probabilities_have_the_temperature(table_run):
    root, record = table_run
    plain, calibrated = (predict(record.folder, root / "test.csv", calibrated=wanted) for wanted in (False, True))
    divided = plain.logits / record.result["best_val.temperature"]
    torch.testing.assert_close(calibrated.probability, divided.softmax(1))


@pytest.mark.parametrize(
    "change, said",
    [
        (("age,", "Age,"), r"has no column 'age' .* did you mean 'Age'\?"),
        ((",A,", ",A;"), "5 values, but 6 column names"),
        (("test3,", "test3,old"), r"line 5: 'old.*' in column 'age' is not a finite number \(1 such rows\)"),
        (("healthy", "well"), "the label 'well' is none of the run's 2 classes 'healthy', 'ill'"),
    ],
)
def test_a_table_that_does_not_fit(table_run, tmp_path, capsys, change, said):
    root, record = table_run
    (tmp_path / "new.csv").write_text((root / "test.csv").read_text().replace(*change))
    with pytest.raises(DataError, match=said):
        predict(record.folder, tmp_path / "new.csv")
    assert main([str(record.folder), "--data", str(tmp_path / "new.csv"), "--out", str(tmp_path / "p.csv")]) == 2
    assert "lilawbench: " in capsys.readouterr().err and not (tmp_path / "p.csv").exists()


def test_what_is_new_in_a_table_is_said(table_run, tmp_path, caplog):
    """A category nobody has seen is no category, as in training; a number that no training row lacked is the median."""
    root, record = table_run
    frame = pandas.read_csv(root / "test.csv", dtype=str).assign(weight="80")
    frame.loc[0, "site"], frame.loc[1, "age"] = "Z", None
    frame.drop(columns="diagnosis").to_csv(tmp_path / "new.csv", index=False)
    found = predict(record.folder, tmp_path / "new.csv")
    assert found.given is None and len(found.logits) == 30
    assert "'site': 1 of 30 rows have categories that no training row has, such as 'Z'" in caplog.text
    assert "'age': 1 of 30 rows have no number" in caplog.text and "ignored: 'weight'" in caplog.text
    rows = json.loads((record.folder / "preprocess.json").read_text())["rows"]
    before = len(rows["numeric"]) + len(rows["flagged"]) + len(rows["categories"]["sex"])
    input = lilawbench.load_model(record.folder)[1](tmp_path / "new.csv")
    assert not input[0, before:].any() and input[2, before:].sum() == 1
    number = rows["numeric"]["age"]
    assert input[1, 0].item() == pytest.approx((number["median"] - number["mean"]) / number["std"])


@pytest.mark.parametrize(
    "options, said",
    [
        (["--device", "cuda:99"], "device=cuda:99 is not there"),
        (["--device", "gpu"], "device is gpu; it must be auto, cpu, cuda or cuda:N"),
        (["--export", "network.txt"], "--export network.txt must end in .onnx"),
    ],
)
def test_wrong_options(table_run, tmp_path, monkeypatch, capsys, options, said):
    root, record = table_run
    monkeypatch.chdir(tmp_path)
    assert main([str(record.folder), "--data", str(root / "test.csv"), *options]) == 2
    assert said in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_neither_the_data_nor_the_files_of_the_run_are_written_over(table_run, tmp_path, capsys):
    root, record = table_run
    data = tmp_path / "new.csv"
    data.write_text((root / "test.csv").read_text())
    for out in (data, record.folder / "predictions.csv"):
        before = out.read_text()
        assert main([str(record.folder), "--data", str(data), "--out", str(out)]) == 1
        assert "it is there, with other content" in capsys.readouterr().err and out.read_text() == before


def test_labels_can_be_left_alone(table_run, tmp_path):
    root, record = table_run
    (tmp_path / "new.csv").write_text((root / "test.csv").read_text().replace("healthy", "well"))
    assert predict(record.folder, tmp_path / "new.csv", labels=False).given is None


@pytest.mark.parametrize(
    "write, said",
    [
        (lambda path: path.mkdir(), "has no image; this run reads a folder of images"),
        (lambda path: np.savez(path, images=np.zeros((2, 7, 6, 3), np.uint8)), "6x6 pixels: scale or convert them"),
        (lambda path: np.savez(path, images=np.zeros((2, 6, 6), np.uint8)), r"have 3 channel\(s\) of 6x6 pixels"),
        (lambda path: np.savez(path, images=np.zeros((0, 6, 6, 3), np.uint8)), "has no rows"),
        (lambda path: np.savez(path, features=np.zeros((2, 3))), "this run reads images or test_images"),
        (lambda path: path.write_text("a,b\n1,2\n"), "cannot be read|no image|not an image"),
    ],
)
def test_images_that_do_not_fit(folder_run, tmp_path, write, said):
    path = tmp_path / ("new.npz" if "savez" in write.__code__.co_names else "new")
    write(path)
    with pytest.raises(DataError, match=said):
        predict(folder_run[1].folder, path)


def test_class_folders_of_another_list(folder_run, tmp_path):
    root, record = folder_run
    shutil.copytree(root / "test", tmp_path / "new")
    (tmp_path / "new" / "dog").rename(tmp_path / "new" / "wolf")
    with pytest.raises(DataError, match="'wolf' is none of the run's 2 classes"):
        predict(record.folder, tmp_path / "new")
    (tmp_path / "new" / "cat").rename(tmp_path / "new" / "lynx")  # neither is one of the run's: these are no classes
    assert predict(record.folder, tmp_path / "new").given is None


def test_runs_that_cannot_predict(table_run, tmp_path):
    root, record = table_run
    with pytest.raises(DataError, match="there is no folder"):
        predict(tmp_path / "nowhere", root / "test.csv")
    with pytest.raises(DataError, match=f"is no folder of a run; runs in it: {record.folder.name}"):
        predict(record.folder.parent, root / "test.csv")
    with pytest.raises(DataError, match="nofile.csv does not exist; this run reads a table"):
        predict(record.folder, root / "nofile.csv")
    with pytest.raises(DataError, match="is a folder; this run reads a table"):
        predict(record.folder, root)
    with pytest.raises(ConfigError, match="rule is first; it must be best_val or last"):
        lilawbench.load_model(record.folder, "first")
    copy = shutil.copytree(record.folder, tmp_path / "run")
    (copy / "best.safetensors").write_bytes((copy / "best.safetensors").read_bytes()[:300])
    with pytest.raises(DataError, match=r"best.safetensors cannot be read .*sweep.redo=true"):
        lilawbench.load_model(copy)
    (copy / "last.safetensors").unlink()
    with pytest.raises(DataError, match=r"has no last.safetensors: it is of an older version, or the file was removed"):
        lilawbench.load_model(copy, "last")
    (copy / "result.json").unlink()
    with pytest.raises(DataError, match="the run is not finished"):
        lilawbench.load_model(copy)


def test_other_tasks_in_a_line():
    """Logits 2 and -1 of two labels: the first is predicted. A value is itself."""
    several = Predicted("multilabel", ("a", "b"), np.array(["x"]), torch.tensor([[2.0, -1.0]]))
    assert several.csv() == "row,predicted,p(a),p(b)\nx,a,0.880797,0.268941\n"
    value = Predicted(
        "regression", ("days",), np.array(["x", "y"]), torch.tensor([[2.5], [4.0]]), np.array([2.5, np.nan])
    )
    assert value.csv() == "row,predicted,given\nx,2.5,2.5\ny,4.0,\n" and value.told() == "2 rows; RMSE 0 of 1 values"


def test_files_of_a_run_for_people(table_run):
    record = table_run[1]
    kept = recorded(record)
    lines = lines_of(record.folder / "predictions.csv")
    assert [line["split"] for line in lines] == ["val"] * len(kept["val_ids"]) + ["test"] * 30
    names, tested = kept["class_names"], lines[-30:]
    assert [line["last"] for line in tested] == names[kept["last.test"].argmax(1)].tolist()
    assert [line["label"] for line in tested] == names[kept["test_target"]].tolist()
    counts = np.array(record.result["last.confusion"])
    truth, predicted = kept["test_target"], kept["last.test"].argmax(1)
    assert counts.tolist() == [[int(((truth == i) & (predicted == j)).sum()) for j in (0, 1)] for i in (0, 1)]
    table = [list(row.values()) for row in lines_of(record.folder / "confusion.csv")]
    assert [row for row in table if row[0] == "last"] == [
        ["last", name, *map(str, row)] for name, row in zip(names, counts.tolist())
    ]
    (ill,) = [
        row for row in lines_of(record.folder / "per_class.csv") if (row["rule"], row["class"]) == ("last", "ill")
    ]
    assert int(ill["n"]) == counts[1].sum() and float(ill["recall"]) == record.result["last.test_recall.ill"]
    assert record.result["positive_class"] == "ill" and Chosen().keep


def test_labels_lead_back_to_every_row(table_run):
    record = table_run[1]
    with np.load(record.folder / "labels.npz", allow_pickle=False) as kept:
        assert kept["split"][kept["train"]].tolist() == ["train"] * len(kept["train"])
        assert sorted(np.flatnonzero(kept["split"] == "val")) == sorted(kept["val"])
        assert len(kept["ids"]) == len(kept["split"]) == len(kept["given"]) == len(kept["observed"]) == 90
        assert kept["class_names"].tolist() == ["healthy", "ill"] and len(kept["test_ids"]) == len(kept["test_target"])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ce", "co_teaching"])
def test_a_linear_probe_on_cached_features_is_kept_whole(composed, tmp_path, method):
    record = run(composed(f"method={method}", "train.finetune=linear_probe", "train.epochs=4", "train.lr=0.01"))
    assert (tmp_path / "outputs" / "features").is_dir()
    images = build(composed("dataset=digits").dataset).load(None).test_input
    np.savez(tmp_path / "new.npz", images=images[:, 0].numpy())
    for rule in ("best_val", "last"):
        found = predict(record.folder, tmp_path / "new.npz", rule).logits
        np.testing.assert_allclose(found, recorded(record)[f"{rule}.test"], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("options", [["train.precision=bf16"], ["model=cnn", "train.channels_last=true"]])
def test_precision_and_layout_are_those_of_the_run(composed, tmp_path, options):
    record = run(composed(*options, "train.epochs=1", "split.train_samples=128"))
    images = build(composed("dataset=digits").dataset).load(None).test_input
    np.savez(tmp_path / "new.npz", images=images[:, 0].numpy())
    found = predict(record.folder, tmp_path / "new.npz", "last", device="cpu").logits
    assert found.numpy().tobytes() == recorded(record)["last.test"].tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("options", [["train.finetune=head"], ["attack.eps=[0.1]", "attack.space=unit"]])
def test_new_images_enter_as_the_weights_want_them(composed, tmp_path, caplog, options):
    """Grey digits in three channels with ImageNet's mean and std, bicubic; a probe of features, and an attack."""
    small = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}
    torch.save(timm_model(5, (3, 32, 32), "resnet18", options=small).state_dict(), tmp_path / "first.pth")
    given = ["model=resnet18", f"model.checkpoint={tmp_path}/first.pth", "train.resize_px=16", "train.epochs=2"]
    given.append("+model.options={layers:[1,1,1,1],channels:[8,8,8,8]}")
    with caplog.at_level("INFO", "lilawbench"):
        record = run(composed(*given, *options, "split.train_samples=200"))
    assert "scaled to 16 px, bicubic, grey as 3 channels: as the weights want them (timm, resnet18)" in caplog.text
    kept = json.loads((record.folder / "preprocess.json").read_text())
    assert (kept["mean"], kept["resize_px"], kept["interpolation"]) == ([0.485, 0.456, 0.406], 16, "bicubic")
    images = build(composed("dataset=digits").dataset).load(None).test_input
    np.savez(tmp_path / "new.npz", images=images[:, 0].numpy())
    found = predict(record.folder, tmp_path / "new.npz", "last", device="cpu").logits
    np.testing.assert_allclose(found, recorded(record)["last.test"], rtol=1e-4, atol=1e-5)
    network, preprocess = lilawbench.load_model(record.folder, "last")
    torch.testing.assert_close(network(preprocess(images[:3])), found[:3], rtol=1e-4, atol=1e-5)
