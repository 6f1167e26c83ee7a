"""Rows and columns that stand for several, and patterns of their names."""

import re
from pathlib import Path

import pytest

from lilawbench.config import CONF, Plain
from lilawbench.experiment.composer import composer
from lilawbench.experiment.plan import plan
from lilawbench.experiment.products import expanded
from lilawbench.support.errors import ConfigError

README = (CONF / "experiment" / "README.md").read_text(encoding="utf-8")
EXPERIMENT = re.search(r"^```yaml\n(# @package _global_\n# mine/.*?)^```", README, re.MULTILINE | re.DOTALL)[1]


def table(**parts):
    empty = {"rows": {}, "columns": {}, "only": None, "baselines": {}, "averages": {}, "paper": None}
    return Plain(empty | parts)


def test_a_product_has_its_last_key_fastest_and_names_by_its_values():
    columns = {"{dataset}, {noise.rate:%}": ["dataset=a,b", "noise.rate=0.0,0.07", "noise.pairs={9:1,2:0}"]}
    assert list(expanded(table(columns=columns)).columns.items()) == [
        ("a, 0 %", ["dataset=a", "noise.rate=0.0", "noise.pairs={9:1,2:0}"]),
        ("a, 7 %", ["dataset=a", "noise.rate=0.07", "noise.pairs={9:1,2:0}"]),
        ("b, 0 %", ["dataset=b", "noise.rate=0.0", "noise.pairs={9:1,2:0}"]),
        ("b, 7 %", ["dataset=b", "noise.rate=0.07", "noise.pairs={9:1,2:0}"]),
    ]


def test_a_later_entry_replaces_one_of_a_product_in_its_place():
    """As a small size does with a column of its table."""
    columns = {"{noise.rate:%}": ["noise.rate=0.2,0.4"], "20 %": ["noise.rate=0.1"]}
    assert expanded(table(columns=columns)).columns == {"20 %": ["noise.rate=0.1"], "40 %": ["noise.rate=0.4"]}


def test_patterns_stand_for_what_matches():
    rows, columns = ({name: [] for name in names} for names in (("A", "A + x", "A + y", "B"), ("a, 1", "a, 2", "b")))
    baselines = {"*": "B", "A + *": "A", "B": "A"}
    made = expanded(table(rows=rows, columns=columns, only=["a, *", "B"], baselines=baselines, averages={"all": ["*"]}))
    assert made.only == ["a, 1", "a, 2", "B"] and made.averages == {"all": ["a, 1", "a, 2", "b"]}
    assert made.baselines == {"A": "B", "A + x": "A", "A + y": "A", "B": "A"}


def test_a_table_without_products_is_left_as_it_is():
    plain = table(rows={"CE": ["method=ce"]}, only=["CE"])
    assert expanded(plain) is plain


@pytest.mark.parametrize("columns", [{"a, 20 %": []}, {"a, {noise.rate:%}": ["noise.rate=0.2,0.4"]}])
@pytest.mark.parametrize("only", ["a, 20%", "b, *"])
def test_a_name_of_nothing_keeps_nothing_silently(columns, only):
    """All rows and columns would be kept, and run."""
    with pytest.raises(ConfigError, match=rf"no row or column is called '{re.escape(only)}'; near it: .*a, 20 %"):
        expanded(table(rows={"CE": []}, columns=columns, only=["CE", only]))


@pytest.mark.parametrize(
    "column, says",
    [
        (
            {"{noise.rat}": ["noise.rate=0.1,0.2"]},
            r"column \{noise.rat\} does not set noise.rat \(it sets noise.rate\)",
        ),
        ({"{dataset:%}": ["dataset=mnist"]}, r"column \{dataset:%\}: mnist is not a rate"),
        ({"{noise.rate}": ["noise.rate=0.1,0.2", "seed=0,1"]}, r"\{noise.rate\} becomes several called 0.1"),
    ],
)
def test_names_that_do_not_tell_parts_apart(column, says):
    with pytest.raises(ConfigError, match=says):
        expanded(table(columns=column))


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "experiment").mkdir()

    def make(text=EXPERIMENT):
        (tmp_path / "experiment" / "mine.yaml").write_text(text)
        return str(tmp_path)

    return make


@pytest.mark.slow
def test_the_table_of_the_readme(mine):
    planned = plan(["experiment=mine"], mine())
    rows, columns = ["CE", "LiLAW, step 0.005", "LiLAW, step 0.05"], ["digits, 20 %", "digits, 40 %", "adult, 15 %"]
    assert list(planned.table.rows) == rows and list(planned.table.columns)[:3] == columns
    assert planned.table.baselines == {rows[1]: "CE", rows[2]: "CE"}
    assert planned.table.averages == {"both rates": columns[:2]}
    assert len(planned.runs) == 3 * 4 * 5
    run = next(run for run in planned.runs if (run.row, run.column, run.seed) == (rows[2], columns[1], 3))
    assert (run.cfg.method.lr, run.cfg.dataset.name, run.cfg.noise.rate) == (0.05, "digits", 0.4)
    kept = plan(["experiment=mine", "noise.rate=0.4", "table.only=['LiLAW, *']"], mine())
    assert {(run.row, run.column) for run in kept.runs} == {(row, columns[1]) for row in rows[1:]}
    with composer([Path(mine())]) as composed:  # what Hydra has to compose is expanded too
        assert composed.plain(["experiment=mine", "+model.extra=1"]).table == planned.table


def test_several_values_need_a_name(mine):
    with pytest.raises(ConfigError, match=r"CE: method.lr=1,2 has several values; put \{KEY\} into the name"):
        plan(["experiment=mine"], mine(EXPERIMENT.replace("[method=ce]", '[method=lilaw, "method.lr=1,2"]')))
