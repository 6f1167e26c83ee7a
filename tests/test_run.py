"""`train.run` from end to end: what a record holds, on the embedded data and on the real files at hand."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from lilawbench.datasets.base import Source
from lilawbench.methods.lilaw import LiLAW
from lilawbench.pipeline import initialise_network
from lilawbench.record.identity import run_name
from lilawbench.support.errors import ConfigError, RunFailed
from lilawbench.train import run


def epochs_of(record):
    lines = [json.loads(line) for line in (record.folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "epoch"]


def test_the_record_holds_what_others_rely_on(tiny):
    cfg = tiny("method=lilaw", "loss=focal", "train.epochs=6", "seed=4")
    record = run(cfg)
    result = json.loads((record.folder / "result.json").read_text())
    assert record.status == "done" and record.result == result
    leaves = [f"config.{key}" for key in ("seed", "noise.rate", "method.alpha", "train.augment.crop_px", "loss.gamma")]
    assert [result[key] for key in leaves] == [4, 0.4, 10.0, 0, 2.0]
    rows = [json.loads(line) for line in (record.folder / "metrics.jsonl").read_text().splitlines()]
    epochs = [row for row in rows if row["kind"] == "epoch"]
    steps = [row for row in rows if row["kind"] == "step"]
    assert [row["epoch"] for row in epochs] == [1, 2, 3, 4, 5, 6] and [row["step"] for row in steps] == list(
        range(1, 25)
    )
    assert {"alpha", "beta", "delta", "train_loss"} <= set(steps[0])
    assert result["last.test_accuracy"] == epochs[-1]["test_accuracy"]
    assert result["last5.test_accuracy"] == pytest.approx(np.mean([row["test_accuracy"] for row in epochs[1:]]))
    best = max(epochs, key=lambda row: row["val_accuracy"])
    assert (result["best_val.epoch"], result["best_val.test_accuracy"]) == (best["epoch"], best["test_accuracy"])
    assert result["oracle_best.test_accuracy"] == max(row["test_accuracy"] for row in epochs)
    assert {"seconds_per_step", "peak_memory_bytes", "labels.sha256", "versions.torch", "cell"} <= set(result)
    assert OmegaConf.load(record.folder / "config.yaml") == OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))


def test_labels_are_kept_with_their_rates(composed):
    record = run(composed("noise=symmetric_inclusive", "noise.rate=0.5", "train.epochs=1"))
    with np.load(record.folder / "labels.npz", allow_pickle=False) as kept:
        observed, clean, train, val = (kept[name] for name in ("observed", "clean", "train", "val"))
    assert len(observed) == len(clean) == 1438 and len(train) == 1222 and len(val) == 216
    assert not set(train) & set(val)
    assert record.result["noise.requested_rate"] == 0.5
    assert record.result["noise.realised_rate"] == (observed != clean).mean() == pytest.approx(0.45, abs=0.03)
    assert "own class included" in record.result["config.noise.convention"]


@pytest.mark.parametrize("noise, requested", [("none", 0.0), ("transition", 0.3)])
def test_the_requested_rate_is_what_was_asked_for_not_what_came_out(tiny, noise, requested):
    """A matrix with .7 on its diagonal asks for 30 % of any labels; by itself each label gives another share."""
    matrix = [[0.7 if i == j else 0.3 * (j == (i + 1) % 10) for j in range(10)] for i in range(10)]
    options = [f"noise.matrix={matrix}", "noise.exact=false"] if noise == "transition" else []
    result = run(tiny(f"noise={noise}", "train.epochs=1", *options)).result
    assert result["noise.requested_rate"] == pytest.approx(requested)
    assert result["noise.realised_rate"] == pytest.approx(requested, abs=0.04)
    assert (result["noise.realised_rate"] == requested) == (noise == "none")


def test_clean_validation_labels_are_clean_and_training_ones_are_not(tiny):
    record = run(tiny("split.val_labels=clean", "train.epochs=1"))
    with np.load(record.folder / "labels.npz", allow_pickle=False) as kept:
        wrong = kept["observed"] != kept["clean"]
        assert not wrong[kept["val"]].any() and 0.3 < wrong[kept["train"]].mean() < 0.5


def test_without_validation_rows_nothing_is_selected_on_them(tiny):
    result = run(tiny("split.val_fraction=0", "train.epochs=1")).result
    assert "best_val.test_accuracy" not in result and "last.test_accuracy" in result and result["num_val"] == 0


@pytest.mark.slow
def test_training_learns_and_memorises(composed):
    """CE on 40 % noise first learns the digits (over 85 % on clean test labels), then repeats wrong labels."""
    record = run(composed("train.epochs=30"))
    rows = [json.loads(line) for line in (record.folder / "metrics.jsonl").read_text().splitlines()]
    memorised = [row["memorised"] for row in rows if row["kind"] == "epoch"]
    assert record.result["oracle_best.test_accuracy"] > 0.85
    assert memorised[4] < 0.1 and memorised[-1] > 2 * memorised[4]


@pytest.mark.slow
def test_resnet18_on_real_images(composed, data_dir):
    record = run(
        composed(
            f"paths.data_dir={data_dir}",
            "dataset=fashion_mnist",
            "model=resnet18",
            "method=lilaw",
            "loss=focal",
            "seed=3",
            "noise.rate=0.5",
            "split.train_samples=256",
            "train.epochs=1",
            "train.batch_size=64",
        )
    )
    assert record.result["run"].startswith("fashion_mnist-symmetric0.5-resnet18-lilaw+focal-s3-")
    assert record.result["num_parameters"] > 11_000_000


def test_a_run_that_is_all_warm_up_says_so(tiny, caplog):
    record = run(tiny("method=lilaw", "method.warmup_epochs=3", "loss=forward_correction"))
    reasons = [
        "never re-weighted: method.warmup_epochs is 3, of 3 epochs",
        "loss never past its warm-up: loss.warmup_epochs is 5, of 3 epochs",
    ]
    said = [record.message for record in caplog.records if "never" in record.message]
    assert said == [f"method=lilaw loss=forward_correction: {reason}" for reason in reasons]
    assert record.result["never_acts"] == "; ".join(reasons)


def test_a_run_that_ends_its_warm_up_does_not(tiny, caplog):
    record = run(tiny("method=lilaw", "loss=forward_correction", "loss.warmup_epochs=2"))
    assert "warm-up" not in caplog.text and "never_acts" not in record.result
    assert record.result["idle_epochs"] == 2
    assert record.result["idle_reason"] == "loss never past its warm-up: loss.warmup_epochs is 2"


def test_a_method_that_acts_from_the_first_epoch_has_no_idle_ones(tiny):
    assert not {"idle_epochs", "idle_reason"} & run(tiny("method=lilaw", "method.warmup_epochs=0")).result.keys()


def test_negative_weights_stop_a_run_and_name_the_row(tiny, monkeypatch):
    """Whatever method they are from; a rounding below 0 is none."""
    real = LiLAW.loss

    def turned(lowest):
        def loss(self, forward, batch):
            out = real(self, forward, batch)
            return out._replace(weight=torch.where(batch.index == 7, lowest, 1.0))

        return loss

    monkeypatch.setattr(LiLAW, "loss", turned(-0.25))
    with pytest.raises(RunFailed, match=r"gave training row 7 the weight -0.25 in epoch 1; weights must be >= 0"):
        run(tiny("method=lilaw"))
    monkeypatch.setattr(LiLAW, "loss", turned(-1e-7))
    assert run(tiny("method=lilaw", "seed=1")).status == "done"


@pytest.mark.slow
def test_learned_factors_end_as_well_as_none(tiny):
    """The five parameters of LiLAW: free factors fell until the weights were negative and the loss rose."""
    long = ["train.epochs=30", "method.warmup_epochs=0", "method.lr=0.05", "method=lilaw"]
    plain, scaled = (epochs_of(run(tiny(*long, f"method.scales={scales}"))) for scales in (False, True))
    assert scaled[-1]["test_accuracy"] > plain[-1]["test_accuracy"] - 0.1 > 0.3
    for row in scaled:
        assert row["alpha_scale"] + row["beta_scale"] + row["delta_scale"] == pytest.approx(3)


def test_a_class_balanced_epoch_does_not_prune_what_it_saw(tiny):
    """RRM on the losses of the epoch's batches: the rows left out had loss 0 and became the smallest."""
    options = ["method=rrm", "method.reweight_losses=training", "method.reweight_every_epochs=1", "method.gamma=1"]
    pruned = [row["pruned"] for row in epochs_of(run(tiny(*options, "train.balanced_samples=60", "train.epochs=2")))]
    assert len(pruned) == 2 and all(0 < share < 0.3 for share in pruned)  # 60 of 128 rows are seen, .47


@pytest.mark.parametrize("val_fraction", [0, 0.15])
def test_attacks_are_measured_where_last_and_best_val_look(tiny, val_fraction):
    record = run(tiny("attack.eps=[0,0.1]", f"split.val_fraction={val_fraction}", "train.epochs=6", "train.lr=0.1"))
    lines = [json.loads(line) for line in (record.folder / "metrics.jsonl").read_text().splitlines()]
    rows = [row for row in lines if row["kind"] == "epoch"]
    best = [row["val_accuracy"] for row in rows] if val_fraction else [0] * 6
    wanted = [n == 5 or (val_fraction > 0 and value > max(best[:n], default=-1)) for n, value in enumerate(best)]
    assert ["test_attacked_0.1_accuracy" in row for row in rows] == wanted and not all(wanted)
    for row, attacked in zip(rows, wanted, strict=True):
        assert not attacked or row["test_attacked_0_accuracy"] == row["test_accuracy"]
    assert record.result["last.test_attacked_0.1_accuracy"] == rows[-1]["test_attacked_0.1_accuracy"]
    assert ("best_val.test_attacked_0.1_accuracy" in record.result) == (val_fraction > 0)


def test_scaled_and_auto_augmented_images_train(composed):
    """Digits of 8 px at 10: the network, and every batch it sees, is for 10 px."""
    options = ["train.resize_px=10", "train.augment.policy=svhn", "train.augment.crop_px=1", "split.val_augment=true"]
    short = ["split.train_samples=64", "train.batch_size=32", "train.epochs=2"]
    record = run(composed("model=cnn", "method=lilaw", *options, *short))
    assert record.status == "done" and 0 <= record.result["last.test_accuracy"] <= 1


@pytest.mark.parametrize("option", ["train.resize_px=32", "train.augment.policy=cifar10"])
def test_rows_of_numbers_have_no_views(composed, tmp_path, option):
    (tmp_path / "rows.csv").write_text("x,y\n" + "".join(f"{i / 2},{i % 2}\n" for i in range(40)))
    table = ["dataset=table", f"dataset.path={tmp_path}/rows.csv", "dataset.label=y"]
    with pytest.raises(ConfigError, match="need images; dataset=table has none"):
        run(composed(*table, option))


def test_a_vit_is_built_for_the_scaled_images(composed):
    """cifar100_m at 224 px: 14 x 14 patches and the class token, on the meta device."""
    cfg = composed("dataset=cifar100_m", "model=vit_b16", "train.resize_px=224")
    source = Source(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), np.zeros(2, np.int64), torch.zeros(0), np.zeros(0),
                    tuple(map(str, range(100))), (0.5,) * 3, (0.2,) * 3)  # fmt: skip
    with torch.device("meta"):
        model = initialise_network(cfg, replace(source, resize_px=224))
    assert model.pos_embed.shape == (1, 1 + 14 * 14, 768) and model.head.out_features == 100


def test_a_model_of_another_architecture_is_called_by_it(composing):
    asked = ["dataset=fashion_mnist", "model=resnet18"]
    assert "-resnet18-" in run_name(composing(*asked, "model.architecture=resnet18"))
    assert "-resnet26d-" in run_name(composing(*asked, "model.architecture=resnet26d"))
