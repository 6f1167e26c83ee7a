"""head_to_head, league and lilaw_review: cells are what their names say, and runs are shared where they are alike."""

import pytest

from lilawbench.check import check
from lilawbench.config import bind, build
from lilawbench.record.identity import run_folder, run_name


@pytest.fixture
def cell(composed, table_of):
    """cell("head_to_head", "RRM", "digits, 40 %") -> the config of its seed 0."""

    def make(experiment: str, row: str, column: str):
        table = table_of(experiment)
        return composed(f"experiment={experiment}", *table.columns[column], *table.rows[row])

    return make


@pytest.mark.every(2)
@pytest.mark.parametrize(
    "row, method", [("CE", "ce"), ("GCE", "gce"), ("LiLAW", "lilaw"), ("Dynamic Loss", "dynamic_loss")]
)
def test_head_to_head_has_the_runs_of_breastmnist(cell, composed, row, method):
    choices = ["method=ce", "loss=gce"] if method == "gce" else [f"method={method}"]
    theirs = composed("experiment=breastmnist", "noise.rate=0.4", *choices)
    assert run_folder(cell("head_to_head", row, "BreastMNIST, 40 %")) == run_folder(theirs)


@pytest.mark.every(3)
@pytest.mark.parametrize("row, method", [("CE", "ce"), ("focal", "focal"), ("LiLAW", "lilaw")])
def test_head_to_head_has_the_runs_of_fashion_mnist(cell, composed, row, method):
    ours = cell("head_to_head", row, "FashionMNIST-M, 40 %")
    theirs = composed("experiment=lilaw_table5_fashion", "noise.rate=0.4", f"method={method}")
    assert run_folder(ours) == run_folder(theirs)


@pytest.mark.slow
def test_head_to_head_compares_the_rows_of_the_league_and_focal_with_ce(cell, table_of):
    """The three papers' methods with their defaults: its runs of old are among its runs."""
    table, league = table_of("head_to_head"), table_of("league")
    assert set(table.rows) == set(league.rows) - {"CE, twice the epochs"} | {"focal"}
    assert set(table.baselines) == set(table.rows) - {"CE"} and set(table.baselines.values()) == {"CE"}
    of_rrm, of_dynamic = (cell("head_to_head", row, "digits, 40 %").method for row in ("RRM", "Dynamic Loss"))
    assert (of_rrm.reweight_every_epochs, of_dynamic.warmup_epochs, of_dynamic.num_bins) == (3, 5, 100)


@pytest.mark.slow
def test_the_cells_of_head_to_head_can_run(cell, table_of):
    """Each column with the methods that ask most of it, and each row; nine data sets, six of which need no download."""
    table = table_of("head_to_head")
    cells = [cell("head_to_head", row, column) for row in ("Dynamic Loss", "ProMix") for column in table.columns]
    for cfg in [*cells, *(cell("head_to_head", row, "CIFAR-10 subset, worst") for row in table.rows)]:
        check(cfg)
    assert len({(cfg.dataset.name.split("_m")[0].rstrip("n"), cfg.dataset.get("flag")) for cfg in cells}) == 9
    assert len({run_name(cfg) for cfg in cells}) == 2 * 14


def test_what_is_counted_in_epochs_is_a_share_of_them(cell):
    """Of 15 and of 40 epochs: a fifth, a tenth (1.5 is rounded up) and a half."""
    short, long = (cell("head_to_head", "PES", name) for name in ("FashionMNIST-M, 40 %", "BreastMNIST, 40 %"))
    assert [(one.train.epochs, one.method.warmup_epochs, one.method.late_epoch) for one in (short, long)] == [
        (15, 3, 8), (40, 8, 20)]  # fmt: skip
    short, long = (cell("head_to_head", "DivideMix + RRM", name) for name in ("FashionMNIST-M, 40 %", "digits, 40 %"))
    assert [one.method.rrm.reweight_every_epochs for one in (short, long)] == [2, 3]  # 30 * 0.1 is no more than 3


@pytest.mark.slow
def test_methods_of_the_league_act_and_one_is_told_the_noise(cell, table_of):
    """No warm-up is as long as the run, one option is RRM's estimate; all but two train as long, by one optimiser."""
    said, epochs = {}, {}
    for row in table_of("league").rows:
        cfg = cell("league", row, "digits, 40 %")
        method = build(cfg.method, loss=bind(cfg.loss))
        said[row] = method.told() + method.never_acts(cfg.train.epochs, 31)
        epochs[row] = cfg.train.epochs
        assert (cfg.train.optimizer, cfg.train.lr, cfg.train.batch_size) == ("adam", 3e-3, 32)
    assert {row: words for row, words in said.items() if words} == {"DivideMix + RRM": ["method.rrm.contamination=0.5"]}
    assert {row: count for row, count in epochs.items() if count != 15} == {"CE, twice the epochs": 30, "WANN": 1}


@pytest.mark.slow
def test_the_cells_of_the_league_can_run(cell, table_of):
    """Each column with a method of two networks."""
    cells = [cell("league", "DivideMix", column) for column in table_of("league").columns]
    for cfg in cells:
        check(cfg)
    assert len({run_name(cfg) for cfg in cells}) == 5


@pytest.mark.parametrize("name", ["lilaw_review", "lilaw_review_cifar"])
@pytest.mark.parametrize("mode, finetune", [("full", "full"), ("probe", "linear_probe")])
@pytest.mark.parametrize("row, learned", [("1 parameter", 1), ("2 parameters", 2), ("LiLAW", 3), ("5 parameters", 5)])
def test_the_review_counts_the_parameters(cell, name, mode, finetune, row, learned):
    """The entries of what LiLAW learns that a meta step moves, with logits that favour a wrong class; of the three
    factors two are free, for their sum is fixed."""
    import torch

    cfg = cell(name, f"{mode}, {row}", "40 %" if name == "lilaw_review" else "CIFAR-10, 40 %")
    assert (cfg.train.finetune, cfg.noise.rate) == (finetune, 0.4)
    method = build(cfg.method, loss=bind(cfg.loss))
    before = method.trace()[1].clone()
    method.meta_update(torch.tensor([[0.2, 0.5, 0.0]]), torch.tensor([0]))
    moved = (method.trace()[1] != before).tolist()
    assert sum(moved[:3]) + max(0, sum(moved[3:]) - 1) == learned


def test_columns_beside_lilaws_figures_have_its_noise(table_of):
    """Symmetric with the own class included, wherever LiLAW has a table of the data set."""
    columns = table_of("head_to_head").columns
    exclusive = [name for name in columns if not any(choice.startswith("noise=") for choice in columns[name])]
    assert [name for name in exclusive if not name.startswith("CIFAR-10 subset")] == ["digits, 40 %"]
    assert "noise=symmetric" not in {choice for choices in columns.values() for choice in choices}


@pytest.mark.parametrize("name", ["lilaw_review", "lilaw_review_cifar"])
def test_the_review_tests_each_row_against_ce_of_its_own_mode(table_of, name):
    table = table_of(name)
    own = {row: f"{row.split(',')[0]}, CE" for row in table.rows if row != "full, CE"}
    assert table.baselines == own | {"probe, CE": "full, CE"}


@pytest.mark.slow
def test_the_cells_of_the_review_at_hand_can_run(cell, table_of):
    """Every row, with the paper's two layers or all that train, in 32 bits but where a GPU is needed anyway."""
    for row in table_of("lilaw_review_cifar").rows:
        cfg = cell("lilaw_review_cifar", row, "CIFAR-10N, worst")
        check(cfg)
        assert (cfg.train.epochs, cfg.train.batch_size, cfg.train.lr, cfg.noise.name) == (10, 16, 2e-4, "none")
        assert cfg.train.precision == ("bf16" if cfg.train.finetune == "full" else "fp32")


@pytest.mark.slow
def test_the_review_in_miniature_starts_from_the_pretrained_run(cell, composed):
    pretrained = run_folder(composed("experiment=lilaw_review_pretrain"))
    for row in ("full, CE", "probe, 5 parameters"):
        assert cell("lilaw_review_smoke", row, "40 %").model.checkpoint == f"{pretrained}/checkpoint.pt"


@pytest.mark.slow
def test_rows_of_the_probe_act_but_for_the_frozen_ones(cell, table_of):
    """All train as long, by one optimiser, and are judged against CE."""
    table, quiet = table_of("lilaw_probe_cifar"), []
    for row in table.rows:
        cfg = cell("lilaw_probe_cifar", row, "CIFAR-10, 40 %")
        method = build(cfg.method, loss=bind(cfg.loss))
        assert (cfg.train.epochs, cfg.train.optimizer, cfg.train.lr, cfg.train.schedule) == (10, "adam", 2e-4, "linear")
        assert not method.told() + method.never_acts(cfg.train.epochs, 429)
        quiet += [row] if not getattr(method, "learned", True) else []
    assert quiet == ["LiLAW, frozen", "LiLAW, frozen, detached"]
    assert set(table.baselines) == set(table.rows) - {"CE"} and set(table.baselines.values()) == {"CE"}


@pytest.mark.slow
def test_the_cells_of_the_probe_can_run(cell, table_of):
    """Each column with a method of two networks: CIFAR's images with five rates, clean validation, human labels."""
    columns = table_of("lilaw_probe_cifar").columns
    cells = [cell("lilaw_probe_cifar", "Co-teaching", column) for column in columns]
    for cfg in cells:
        check(cfg)
        assert (cfg.model.name, cfg.model.pretrained, cfg.train.augment.crop_px) == ("efficientnet_lite0", True, 0)
    assert len({run_name(cfg) for cfg in cells}) == len(columns) == 23
    assert [cfg.dataset.get("labels") for cfg in cells[:12]] == ["clean"] * 9 + ["labels", "aggre", "random1"]
    assert [cfg.split.val_labels == "clean" for cfg in cells] == [False] * 5 + [True] * 4 + [False] * 14
