"""The page in a real browser: what a person, a keyboard, a phone and a screen reader get of it."""

import json
import time

import numpy as np
import pytest
from PIL import Image

from lilawbench.report.report import report

pytestmark = pytest.mark.slow
LOADS_S = 3.0
MOST_BYTES = 10_000_000
SERIOUS = "axe.run().then((found) => found.violations.filter((one) => ['serious', 'critical'].includes(one.impact)))"


@pytest.fixture(scope="module")
def page(run_writer, tmp_path_factory):
    """The page of twelve runs with everything that is drawn and listed, and a failed one."""
    root = tmp_path_factory.mktemp("page")
    write_run = run_writer(root)
    generator = np.random.default_rng(0)
    for rate in (0.2, 0.4):
        for seed in range(3):
            for number, method in enumerate(("ce", "lilaw")):
                changes = {"config.noise.rate": rate, "best_val.confusion": [[8, 1], [2, 9]], "class_names": ["a", "b"]}
                changes |= {"command": "python -m lilawbench.train", "git.commit": "0123456789", "seconds_total": 60.0}
                changes |= {"suspects_rows": 60, "suspects_estimated": 7, "suspects_estimated_by": "GMM on losses"}
                folder = write_run(
                    method,
                    seed,
                    0.9 - rate / 2 + 0.01 * seed * number,
                    changes=changes,
                    epochs=[{"memorised": 0.1, "recovered": 0.8, "alpha": 9.0, "beta": 2.0, "delta": 6.0}] * 2,
                    parameters=[(10, 2, 6), (9, 3, 6)] if method == "lilaw" else (),
                    clean=np.arange(60) % 2,
                )
                lines = [f'{rank},"row {rank}",a,b,0.9,0.05,1,{60 - rank}' for rank in range(1, 61)]
                head = "rank,row,given,suggested,suggested_prob,given_prob,probably_wrong,score"
                (folder / "suspects.csv").write_text("\n".join([head, *lines]))
                Image.new("RGB", (80, 60), "white").save(folder / "suspects.png")
                share = generator.random((3, 60)).astype("float32")
                weighed = {"s_y": share[0] * share[1], "s_max": share[1], "weight": share[2], "epoch": 2}
                np.savez(folder / "weighing.npz", corrupted=share[0] < 0.3, row=np.arange(60), **weighed)
    failed = write_run("ce", 9, name="broken")
    (failed / "result.json").unlink()
    (failed / "failed.json").write_text(json.dumps({"error": "the loss is NaN"}))
    report(root / "outputs", root / "report", whole=True)
    return root / "report" / "report.html"


@pytest.mark.parametrize("width, dark", [(1280, False), (390, True)])
def test_it_opens_without_a_word(page, opened, width, dark):
    """No error or warning, nothing loaded from outside, every picture there, no wider than the screen."""
    shown = opened(page, width=width, dark=dark)
    assert shown.run("document.images.length") == 8
    assert shown.run("[...document.images].every((one) => one.complete && one.naturalWidth > 0 && one.alt)")
    assert shown.run("document.documentElement.scrollWidth <= innerWidth")
    ground = shown.run("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(20, 24, 29)" if dark else "rgb(255, 255, 255)")
    shown.picture(page.with_name("screen.png"))
    assert shown.errors() == [] and shown.addresses() == {"data"}
    assert [len(set(picture)) > 1 for picture in Image.open(page.with_name("screen.png")).getextrema()]


def test_axe_finds_no_serious_fault(page, opened, axe):
    for width, dark in ((1280, False), (1280, True), (390, False)):
        shown = opened(page, width=width, dark=dark)
        shown.run(f"{axe}; 0")
        assert shown.run(SERIOUS) == [], (width, dark)
        assert shown.run("axe.run().then((found) => found.passes.length)") > 20  # it looked


COLUMN = """
(() => {
  const table = [...document.querySelectorAll("table")].find((one) => one.caption.textContent.startsWith("Every"));
  const at = [...table.tHead.rows[0].cells].findIndex((one) => one.textContent.includes("NAME"));
  const head = table.tHead.rows[0].cells[at];
  DO;
  return [head.getAttribute("aria-sort"), [...table.tBodies[0].rows].map((row) => row.cells[at].textContent)];
})()
"""


def column(shown, name, do=""):
    return shown.run(COLUMN.replace("NAME", name).replace("DO", do))


def test_tables_sort_by_click_and_by_key(page, opened):
    """Numbers begin with the largest, words with A; a second press turns the order round."""
    shown = opened(page)
    before = column(shown, "best_val")
    assert before[0] is None
    click = 'head.querySelector("button").click()'
    values = sorted(map(float, before[1]), reverse=True)
    assert column(shown, "best_val", click) == ["descending", [f"{value:.2f}" for value in values]]
    assert column(shown, "best_val", click) == ["ascending", [f"{value:.2f}" for value in values[::-1]]]
    column(shown, "method", 'head.querySelector("button").focus()')
    shown.press("Enter")
    assert column(shown, "method") == ["ascending", ["ce"] * 6 + ["lilaw"] * 6]
    shown.press("Enter")
    assert column(shown, "method") == ["descending", ["lilaw"] * 6 + ["ce"] * 6]
    assert column(shown, "best_val")[0] is None
    shown.press("Tab")
    assert shown.run('document.activeElement.closest("th").textContent') == "setting"


def test_pictures_and_svg_are_saved(page, opened, browser, tmp_path):
    shown = opened(page)
    browser.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    shown.run("document.querySelector('[data-picture=\"accuracy.png\"]').click()")
    shown.run("document.querySelector('[data-name=\"accuracy.svg\"]').click()")
    for name in ("accuracy.png", "accuracy.svg"):
        end = time.monotonic() + 20
        while not (tmp_path / name).exists() and time.monotonic() < end:
            shown.run("new Promise((done) => setTimeout(done, 50))")
        assert (tmp_path / name).read_bytes() == (page.parent / name).read_bytes()


def test_it_says_what_there_is(page, opened):
    text = opened(page).run("document.body.innerText")
    for said in (
        "12 finished runs of 2 methods in 2 settings, 3 seeds; 1 failed.",
        "about 7 of 60 labels are probably wrong, estimated by GMM on losses",
        "row 50",
        "the loss is NaN",
        "python -m lilawbench.train",
        "0.2 (6), 0.4 (6)",
        "01234567",
    ):
        assert said in text, said
    assert "row 51" not in text


def test_a_thousand_runs(write_run, tmp_path, opened):
    """Ten methods, ten settings, ten seeds: at most 10 MB, there in less than 3 s."""
    losses = ("ce", "focal", "gce", "mae", "sce")
    for loss in losses:
        for method in (loss, "lilaw"):
            for rate in range(10):
                for seed in range(10):
                    write_run(
                        method if method == "lilaw" else "ce",
                        seed,
                        0.9 - rate / 20 + seed / 500,
                        loss=loss,
                        curve=[0.5 + epoch / 100 for epoch in range(30)],
                        parameters=[(10 - step / 99, 2, 6) for step in range(100)] if method == "lilaw" else (),
                        epochs=[{"memorised": epoch / 99, "recovered": 0.8} for epoch in range(30)],
                        changes={
                            "config.noise.rate": rate / 20,
                            "config.method.name": method,
                            "best_val.confusion": [[5, 1], [2, 8]],
                            "command": f"python -m lilawbench.train seed={seed}",
                        },
                    )
    start = time.monotonic()
    report(tmp_path / "outputs", tmp_path / "report", whole=True)
    took = time.monotonic() - start
    page = tmp_path / "report" / "report.html"
    shown = opened(page)
    print(f"{page.stat().st_size / 1e6:.1f} MB, made in {took:.0f} s, there in {shown.seconds:.2f} s")
    assert page.stat().st_size <= MOST_BYTES
    assert shown.errors() == [] and shown.run("document.querySelectorAll('tbody tr').length") > 1000
    assert shown.seconds < 3 * LOADS_S  # on a machine with other things to do
