"""What a CUDA device alone can show. `pytest -m cuda`; skipped where there is none."""

import pytest
import torch

from lilawbench.config import CONF
from lilawbench.engine.runtime import choose_device
from lilawbench.support.errors import ConfigError
from lilawbench.train import run

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]
# without a rank, a threshold or a mixture that a rounding error may turn
STEADY = ["ce", "focal", "lilaw", "rrm", "a_rrm", "at", "dynamic_loss", "dynamic_loss_lt", "mixup", "gjs", "sop",
          "sop_plus", "elr_plus", "tau_norm"]  # fmt: skip
OTHERS = sorted({path.stem for path in (CONF / "method").glob("*.yaml")} - set(STEADY))


@pytest.fixture
def full_float32():
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    kept = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    yield
    matmul.allow_tf32, cudnn.allow_tf32 = kept


def on(device, composed, tmp_path, *options):
    fixed = ["split.train_samples=256", "train.epochs=3", "train.batch_size=32", f"train.device={device}"]
    return run(composed(*fixed, *options, f"paths.output_dir={tmp_path}/{device}"))


@pytest.mark.parametrize("method", STEADY)
def test_a_run_is_that_of_the_cpu(composed, acting, tmp_path, full_float32, method):
    """Rounding alone differs: three epochs of SGD, in which nothing amplifies it."""
    options = [*acting(method), "train.optimizer=sgd", "train.lr=0.01"]
    options += ["method.pseudo_label=softmax"] if "dynamic" in method else []
    options += ["method.fgsm.eps=0.001"] if method in ("at", "a_rrm") else []
    there, here = (on(device, composed, tmp_path, *options).result for device in ("cuda", "cpu"))
    assert there["device"] != here["device"]
    assert there["last.test_loss"] == pytest.approx(here["last.test_loss"], rel=1e-3)
    assert there["last.test_accuracy"] == pytest.approx(here["last.test_accuracy"], abs=0.01)


@pytest.mark.parametrize("method", OTHERS)
def test_a_run_that_chooses_rows_is_nearly_that_of_the_cpu(composed, acting, tmp_path, full_float32, method):
    there, here = (on(device, composed, tmp_path, *acting(method)).result for device in ("cuda", "cpu"))
    assert there["device"] != here["device"]
    assert there["last.test_loss"] == pytest.approx(here["last.test_loss"], rel=0.2)


@pytest.mark.parametrize("method", ["ce", "lilaw", "dynamic_loss", "mw_net"])
def test_a_run_on_texts_is_nearly_that_of_the_cpu(composed, acting, tmp_path, full_float32, method):
    """What is looked up in a table of words is added up in an order of the device's own."""
    words = [" ".join(["film", "plot", "the"][: 1 + row % 3] + [("bad", "good")[row % 2]]) for row in range(400)]
    rows = [f"{text},{row % 2}" for row, text in enumerate(words)]
    (tmp_path / "my.csv").write_text("\n".join(["text,label", *rows, ""]), encoding="utf-8")
    options = [
        "dataset=text",
        f"dataset.path={tmp_path}/my.csv",
        "model.embedding=8",
        "model.filters=8",
        "train.lr=0.01",
    ]
    there, here = (on(device, composed, tmp_path, *options, *acting(method)).result for device in ("cuda", "cpu"))
    assert there["device"] != here["device"]
    assert there["last.test_loss"] == pytest.approx(here["last.test_loss"], rel=0.02)


@pytest.mark.parametrize("cache", ["true", "false"])
def test_a_probe_of_the_head_alone_is_that_of_the_cpu(composed, tmp_path, full_float32, cache):
    options = ["model=efficientnet_lite0", "train.finetune=head", "train.resize_px=32", "split.train_samples=64"]
    options += [f"train.cache_features={cache}", "train.optimizer=sgd", "train.lr=0.01"]
    there, here = (on(device, composed, tmp_path, *options).result for device in ("cuda", "cpu"))
    assert there["device"] != here["device"]
    assert there["last.test_loss"] == pytest.approx(here["last.test_loss"], rel=1e-3)


def test_two_runs_are_the_same_to_the_bit(composed, tmp_path):
    options = ["method=lilaw", "model=cnn", "train.deterministic=true"]
    folders = [on("cuda", composed, tmp_path / name, *options).folder for name in ("one", "other")]
    models = [torch.load(folder / "checkpoint.pt", weights_only=True)["model"] for folder in folders]
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[1])


@pytest.mark.parametrize("method, loss", [("ce", "ce"), ("lilaw", "ce"), ("rrm", "ce"), ("a_rrm", "ce"), ("ce", "elr")])
def test_graphs_are_the_steps_that_they_stand_for(composed, acting, tmp_path, method, loss):
    options = [*acting(method), f"loss={loss}", "train.schedule=cosine"]
    plain = on("cuda", composed, tmp_path / "plain", *options).result
    graphed = on("cuda", composed, tmp_path / "graphed", *options, "train.cuda_graphs=true").result
    assert graphed["last.test_loss"] == pytest.approx(plain["last.test_loss"], rel=1e-4)
    if method == "lilaw":
        assert graphed["last.val_loss"] == pytest.approx(plain["last.val_loss"], rel=1e-4)


def test_a_meta_step_on_a_side_stream_leaves_every_bit(composed, tmp_path):
    options = ["method=lilaw", "method.lr=0.5", "model=cnn", "train.deterministic=true"]
    beside, after = (
        on("cuda", composed, tmp_path / value, *options, f"train.side_stream={value}").result
        for value in ("true", "false")
    )
    assert beside["last.test_loss"] == after["last.test_loss"]


def test_fgsm_goes_through_an_lstm_in_eval_mode(composed, tmp_path):
    """cudnn has no backward there."""
    result = on("cuda", composed, tmp_path, "model=lstm", "model.hidden=8", "method=at", "attack.eps=[0.1]").result
    assert 0 <= result["last.test_attacked_0.1_accuracy"] <= 1


def test_processes_without_a_device_each_are_refused(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(torch.cuda.device_count() + 1))
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(ConfigError, match="each needs its own"):
        choose_device("cuda")
