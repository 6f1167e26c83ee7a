"""Values judged as a class, above a threshold or not."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from lilawbench.probes.threshold import Threshold
from lilawbench.support.errors import ConfigError
from lilawbench.train import run


def seen(above, predicted, target, groups=None, val=None):
    """What an epoch says of test rows, and of validation rows with these values whose predictions are 0, 1, 2 ..."""
    val_logits = None if val is None else torch.arange(float(len(val)))[:, None]
    probe = Threshold(above)
    probe.setup(
        SimpleNamespace(
            task=SimpleNamespace(name="regression"),
            source=SimpleNamespace(test_groups={"who": np.array(groups)} if groups else {}),
            test_target=torch.tensor(target),
            val_target=None if val is None else torch.tensor(val),
        )
    )
    return probe.see(None, None, SimpleNamespace(test=torch.tensor(predicted)[:, None], val=val_logits))


def test_by_hand():
    """Above 1 are the rows of 2 and 3: of their four pairs with 0 and 1, which is not above itself, three are right."""
    found = seen(1.0, [0.0, 0.6, 0.5, 9.0], [0.0, 1.0, 2.0, 3.0], val=[0.0, 5.0])
    assert found["test_auroc"] == 0.75 and found["test_average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["val_auroc"] == found["val_average_precision"] == 1.0


def test_groups_and_sides_that_have_no_row():
    found = seen(0.0, [1.0, 2.0, 4.0, 3.0], [0.0, 7.0, 0.0, 0.0], groups=list("aabb"), val=[1.0, 2.0])
    assert found["test_auroc.who=a"] == 1.0 and found["test_average_precision.who=a"] == 1.0
    assert not any(key.startswith("val_") or key.endswith("=b") for key in found)


def test_as_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(200, generator=generator)
    predicted = (target + torch.randn(200, generator=generator)).round(decimals=1)  # with ties
    found, above = seen(0.3, predicted.tolist(), target.tolist()), target > 0.3
    assert found["test_auroc"] == pytest.approx(roc_auc_score(above, predicted), abs=1e-12)
    assert found["test_average_precision"] == pytest.approx(average_precision_score(above, predicted), abs=1e-12)


def test_whole_runs_on_pain_have_the_columns_of_the_papers_table(tmp_path, composed):
    """LiLAW's Table 16: the AUROC on all test rows and on each group, at the epoch of every rule."""
    generator, folder = np.random.default_rng(0), tmp_path / "pain"
    folder.mkdir()
    for name in ("uofr", "unbc", "synpain", "test"):
        features = generator.normal(size=(60, 4))
        target = np.clip(8 * features[:, 0], 0, 16)
        np.savez(folder / f"{name}.npz", features=features, target=target, group=np.tile(["Dementia", "Healthy"], 30))
    record = run(
        composed("dataset=pain", f"paths.data_dir={tmp_path}", "noise=none", "train.epochs=8", "train.lr=0.01")
    )
    keys = [
        f"{rule}.test_auroc{of}" for rule in ("best_val", "last") for of in ("", ".group=Dementia", ".group=Healthy")
    ]
    assert all(0.9 < record.result[key] <= 1 for key in keys), {key: record.result[key] for key in keys}


def test_classes_are_refused_before_training(tiny):
    with pytest.raises(ConfigError, match=r"probe=threshold is for values \(regression\); these data are multiclass"):
        run(tiny("probe=threshold", "probe.threshold.above=1"))
