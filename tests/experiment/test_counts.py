"""How many runs each experiment has: a column or a seed that is lost shows here, and runs that fall together."""

import pytest

from lilawbench.config import CONF
from lilawbench.experiment.plan import plan

RUNS = {
    "breastmnist": 50, "digits": 15, "dynamic_loss_fashion_lt": 60, "head_to_head": 1890, "head_to_head_smoke": 42,
    "league": 675, "league_smoke": 54,
    "lilaw_review": 250, "lilaw_review_cifar": 480, "lilaw_review_pretrain": 1, "lilaw_review_smoke": 40,
    "multilabel": 80, "regression": 20, "suspects": 20,
    "dynamic_loss_table1": 525, "dynamic_loss_table1_smoke": 18, "dynamic_loss_table2": 225,
    "dynamic_loss_table2_smoke": 16, "dynamic_loss_table3": 225, "dynamic_loss_table3_smoke": 24,
    "dynamic_loss_table4": 350, "dynamic_loss_table4_smoke": 28, "dynamic_loss_table5": 60,
    "dynamic_loss_table5_smoke": 4, "dynamic_loss_table6": 40, "dynamic_loss_table6_smoke": 16,
    "dynamic_loss_table8": 250, "dynamic_loss_table8_smoke": 12, "dynamic_loss_table9": 250,
    "dynamic_loss_table9_smoke": 12, "dynamic_loss_table10": 200, "dynamic_loss_table10_smoke": 12,
    "dynamic_loss_table11": 200, "dynamic_loss_table11_smoke": 16, "dynamic_loss_table12": 350,
    "dynamic_loss_table12_smoke": 28, "dynamic_loss_table13": 60, "dynamic_loss_table13_smoke": 4,
    "lilaw_table1": 30, "lilaw_table1_smoke": 12, "lilaw_table2": 600, "lilaw_table2_smoke": 8, "lilaw_table3": 35,
    "lilaw_table3_smoke": 12, "lilaw_table5": 150, "lilaw_table5_fashion": 75, "lilaw_table5_smoke": 12,
    "lilaw_table6": 90, "lilaw_table6_smoke": 36, "lilaw_table7": 30, "lilaw_table7_smoke": 12, "lilaw_table8": 75,
    "lilaw_table8_smoke": 30, "lilaw_table9": 30, "lilaw_table9_smoke": 12, "lilaw_table10": 60,
    "lilaw_table10_smoke": 24, "lilaw_table11": 90, "lilaw_table11_smoke": 12, "lilaw_table12": 60,
    "lilaw_table12_smoke": 24, "lilaw_table13": 120, "lilaw_table13_smoke": 12, "lilaw_table14": 600,
    "lilaw_table14_smoke": 8, "lilaw_table15": 5, "lilaw_table15_fashion": 10, "lilaw_table15_smoke": 2,
    "lilaw_table16": 45, "lilaw_table16_smoke": 4, "lilaw_table17": 20, "lilaw_table17_smoke": 4, "lilaw_table18": 40,
    "lilaw_table18_smoke": 16, "lilaw_table19": 50, "lilaw_table19_smoke": 20, "lilaw_table20": 50,
    "lilaw_table20_smoke": 20, "lilaw_table21": 50, "lilaw_table21_smoke": 20, "lilaw_table22": 50,
    "lilaw_table22_smoke": 20,
    "rrm_table1": 80, "rrm_table1_smoke": 4, "rrm_table2": 20, "rrm_table2_smoke": 4, "rrm_table3": 10,
    "rrm_table3_smoke": 4, "rrm_table4": 90, "rrm_table4_smoke": 8, "rrm_table5": 50, "rrm_table5_small": 12,
    "rrm_table5_smoke": 8, "rrm_table7": 30, "rrm_table7_smoke": 4, "rrm_table8": 120, "rrm_table8_smoke": 32,
    "rrm_table10": 50, "rrm_table10_smoke": 8, "rrm_table11": 60, "rrm_table11_smoke": 8, "rrm_table12": 40,
    "rrm_table12_smoke": 8, "text_rivals": 495, "lilaw_probe_cifar": 4370, "lilaw_probe_cifar_smoke": 76,
}  # fmt: skip


def test_every_experiment_is_counted():
    assert {path.stem for path in (CONF / "experiment").glob("*.yaml")} == set(RUNS)


@pytest.mark.every(60)
@pytest.mark.parametrize("name", RUNS)
def test_an_experiment_has_its_runs(name):
    assert len(plan([f"experiment={name}"]).runs) == RUNS[name]
