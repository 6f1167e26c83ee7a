"""Runs on the user's own data: without clean labels what needs them is left out, and says so."""

import json

import numpy as np
import pytest
from PIL import Image

from lilawbench.datasets.own_images import IMAGENET_MEAN, IMAGENET_STD
from lilawbench.report.report import report
from lilawbench.support.errors import ConfigError, DataError
from lilawbench.train import run

NEED_CLEAN = ("memorised", "recovered", "train_clean", "noise.", "prune_", "weight_c", "close_calls", "corrected")


@pytest.fixture
def own(composed, tmp_path):
    """own("method=rrm", ...) -> config of a short run on a table of 120 rows; every tenth label is not the true one."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=120)
    truth = (x + 0.1 * draw.normal(size=120) > 0).astype(int)
    given = np.where(np.arange(120) % 10 == 0, 1 - truth, truth)
    lines = [f"{a:.4f},{'rg'[i % 2]},{y},{t}" for i, (a, y, t) in enumerate(zip(x, given, truth, strict=True))]
    (tmp_path / "my.csv").write_text("x,colour,y,truth\n" + "\n".join(lines) + "\n")

    def make(*overrides: str):
        data = [f"dataset.path={tmp_path}/my.csv", "dataset.label=y", "dataset.ignore=[truth]"]
        return composed("dataset=table", *data, "train.epochs=2", "train.batch_size=16", "model.hidden=[8]", *overrides)

    return make


@pytest.mark.every(2)
@pytest.mark.parametrize("method", ["ce", "lilaw", "rrm", "dynamic_loss"])
def test_without_clean_labels(own, acting, caplog, method):
    caplog.set_level("INFO")
    record = run(own(*acting(method)))
    assert record.result["labels.clean_known"] is False
    rows = [json.loads(line) for line in (record.folder / "metrics.jsonl").read_text().splitlines()]
    named = [key for row in (record.result, *rows) for key in row if any(part in key for part in NEED_CLEAN)]
    assert [key for key in named if not key.startswith("config.")] == []
    assert record.result["last.test_accuracy"] > 0.4
    assert "the clean labels are unknown: measures that need clean labels are left out" in caplog.text
    with np.load(record.folder / "labels.npz") as labels:
        assert {"observed", "train", "val", "ids", "test_ids"} < set(labels) and "clean" not in labels
        assert labels["ids"][0].startswith("line ")


@pytest.mark.slow
def test_the_report_says_so(own, tmp_path):
    folders = [run(own(*options)).folder for options in ([], ["noise=symmetric", "noise.rate=0.2"])]
    text = report(folders, tmp_path / "report")
    assert "- 1 run(s) whose clean labels are unknown: measures that need clean labels are left out" in text
    assert "clean labels" not in report(folders[1:], tmp_path / "report")


def test_noise_on_top_takes_the_given_labels_as_clean(own):
    record = run(own("noise=symmetric", "noise.rate=0.25"))
    assert record.result["noise.realised_rate"] == 24 / 96
    assert '"memorised"' in (record.folder / "metrics.jsonl").read_text()


def test_a_clean_column_is_what_labels_are_measured_by(own):
    record = run(own("dataset.clean_label=truth", "dataset.ignore=[]"))
    with np.load(record.folder / "labels.npz") as labels:
        wrong = (labels["observed"] != labels["clean"]).mean()
    assert record.result["noise.realised_rate"] == wrong
    assert 0.04 < wrong < 0.13 and record.result["noise.requested_rate"] == 0


@pytest.mark.parametrize(
    "overrides, message",
    [
        ("split.val_labels=clean", "split.val_labels=clean: the clean labels of dataset=table are not known"),
        ("model.num_classes=1", "model.num_classes is 1; dataset=table has 2 classes"),
        ("noise=kernel noise.rate=0.2", "the kernel is 10 x 10; the data set has 2 classes"),
        ("dataset.imbalance=1000", "leaves class 1 without a row"),
    ],
)
def test_what_only_the_file_can_tell(own, overrides, message):
    with pytest.raises(ConfigError) as refused:
        run(own(*overrides.split()))
    assert message in str(refused.value)


@pytest.fixture
def images(tmp_path):
    """A tree of 80 noisy 8 x 8 images, dark and bright."""
    draw = np.random.default_rng(0)
    for i in range(80):
        folder = tmp_path / "mine" / ["dark", "light"][i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 128, (8, 8, 3)) + 128 * (i % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    return tmp_path / "mine"


@pytest.mark.every(2)
@pytest.mark.parametrize(
    "method", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("lilaw", "rrm")), "dynamic_loss"]
)
def test_streamed_images_train_as_resident_ones(composed, acting, images, method):
    """Every step's loss alike, to the bit; ImageNet's mean and std in both, since few images have their own."""
    losses = []
    for gigabytes in (1, 0):
        cfg = composed("dataset=folder", f"dataset.path={images}", "dataset.size=8", "model=mlp", "model.hidden=[8]",
                       "train.epochs=3", "train.batch_size=16", "train.log_every_steps=1", *acting(method),
                       f"dataset.resident_gb={gigabytes}")  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lilawbench.datasets.own_images.channel_statistics", lambda _: (IMAGENET_MEAN, IMAGENET_STD))
            record = run(cfg)
        rows = [json.loads(line) for line in (record.folder / "metrics.jsonl").read_text().splitlines()]
        losses.append([(row["train_loss"], row.get("test_loss")) for row in rows if "train_loss" in row])
    assert len(losses[0]) > 9 and losses[0] == losses[1]


@pytest.mark.slow
def test_a_probe_of_images_in_files_reads_them_once(composed, images, tmp_path, caplog):
    """Same numbers as without the table of features, which a picture that has changed makes anew."""
    caplog.set_level("INFO")
    options = ["dataset=folder", f"dataset.path={images}", "dataset.size=8", "dataset.resident_gb=0", "model=mlp",
               "model.hidden=[24,16,12]", "train.finetune=linear_probe", "train.epochs=3", "train.batch_size=16",
               "train.augment.flip=false"]  # fmt: skip
    cached, plain = (run(composed(*options, f"train.cache_features={c}")).result for c in ("true", "false"))
    for key in ("last.test_loss", "last.val_loss"):
        assert cached[key] == pytest.approx(plain[key], abs=1e-5)
    Image.new("RGB", (8, 8)).save(images / "dark" / "0.png")
    run(composed(*options, "train.lr=0.01"))
    assert len(list((tmp_path / "outputs" / "features").glob("*.npy"))) == 2
    run(composed(*options, "method=lilaw"))
    assert caplog.text.count("frozen features computed") == 2 and caplog.text.count("are read from") == 1


def test_an_image_that_breaks_a_streamed_run_is_named_and_nothing_is_left(composed, images, tmp_path):
    (images / "light" / "79.png").write_bytes(b"no image")
    cfg = composed("dataset=folder", f"dataset.path={images}", "dataset.size=8", "dataset.resident_gb=0", "model=mlp",
                   "train.epochs=1")  # fmt: skip
    with pytest.raises(DataError, match=r"cannot be read: .*light/79\.png.*; replace or remove them"):
        run(cfg)
    assert [path for path in tmp_path.glob("outputs/**/*") if path.is_file()] == []
    (images / "light" / "79.png").unlink()
    assert run(cfg).status == "done"


@pytest.mark.parametrize("method", ["ce", "lilaw"])
def test_clothing1m_trains_on_balanced_epochs_and_validates_on_clean_rows(composed, tmp_path, method):
    root, keys = tmp_path / "clothing1m", [f"images/{i % 10}/{i}.jpg" for i in range(84)]
    for i, key in enumerate(keys):
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (10, 9), (3 * i, 9 * (i % 14), 0)).save(root / key)
    for name, part in {"noisy_train": keys[:56], "clean_val": keys[56:70], "clean_test": keys[70:]}.items():
        (root / f"{name}_key_list.txt").write_text("\n".join(part))
    for name in ("noisy", "clean"):
        lines = [f"{key} {i % 14 if i % 5 or name == 'clean' else 0}" for i, key in enumerate(keys)]
        (root / f"{name}_label_kv.txt").write_text("\n".join(lines))
    cfg = composed("dataset=clothing1m", f"dataset.path={root}", "dataset.size=6", "dataset.resize=8", "model=mlp",
                   "model.hidden=[8]", "train.augment.crop_px=1", "train.epochs=2", "train.milestones_epochs=[1]",
                   "train.batch_size=8", "train.balanced_samples=28", f"method={method}")  # fmt: skip
    result = run(cfg).result
    assert (result["num_train"], result["num_val"], result["num_test"]) == (56, 14, 14)
    assert result["steps"] == 2 * 4  # at most two of each class
    assert result["labels.clean_known"] is False and "best_val.test_accuracy" in result
