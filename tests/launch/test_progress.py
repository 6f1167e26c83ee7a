"""The line over a sweep, hand-worked."""

import json
import os
import re
import time

import pytest

from lilawbench.experiment.plan import plan
from lilawbench.launch.progress import Progress, duration

RESULT = {"schema_version": 1, "config.seed": 0, "config.method.name": "ce", "config.dataset.name": "digits"}


@pytest.fixture
def runs(tmp_path):
    return plan(["method=ce,lilaw", "seed=0,1,2,3", f"paths.output_dir={tmp_path}"]).runs


def end(run, seconds=None):
    run.folder.mkdir(parents=True)
    done = RESULT | {"seconds_total": seconds, "best_val.test_accuracy": 0.912}
    name, content = ("result.json", done) if seconds else ("failed.json", {"error": "boom"})
    (run.folder / name).write_text(json.dumps(content))


@pytest.mark.parametrize(
    "seconds, shown",
    [(0.4, "0 s"), (89, "89 s"), (91, "2 min"), (5000, "83 min"), (5460, "1 h 31 min"), (200_000, "2 d 7 h")],
)
def test_durations(seconds, shown):
    assert duration(seconds) == shown


def test_nobody_can_tell_before_the_first_run_has_ended(runs):
    progress = Progress(runs, 10)
    assert progress.line(30) == "30 s so far"


def test_the_time_left_is_the_work_left_over_the_speed(runs):
    """One CE run of 10 s ended after 20 s on the clock: speed 1/2. Left: three of CE, four of LiLAW."""
    progress = Progress(runs, 8)
    progress.started = time.monotonic()
    end(runs[0], 10)
    progress.look()
    assert progress.line(20) == "20 s so far, roughly 2 min left"  # 7 runs of 10 s at half speed: 140 s
    end(runs[1], 40)  # LiLAW takes 40: 50 s of work in 50 s, speed 1; left 3 x 10 + 3 x 40
    progress.look()
    assert progress.seconds_left(50) == (pytest.approx(150), True)
    assert progress.line(50) == "50 s so far, 2 min left"


def test_a_failure_counts_and_an_old_one_that_is_tried_again_does_not(runs):
    end(runs[1])
    old = time.time() - 3600
    os.utime(runs[1].folder / "failed.json", (old, old))
    progress = Progress(runs, 8)
    progress.started = time.monotonic()
    end(runs[0])
    progress.look()
    assert progress.line(5) == "1 failed, 5 s so far"


@pytest.mark.every(2)
def test_it_speaks_when_a_run_ends(runs, caplog):
    caplog.set_level("INFO", "lilawbench")
    with Progress(runs[:2], 2, {runs[0].folder: "method=ce seed=0"}):
        end(runs[0], 5)
        time.sleep(1.2)
        end(runs[1])
    first, second = caplog.messages
    assert re.fullmatch(
        r"\[1/2\] method=ce seed=0: test accuracy 91.20% \(best_val\), 5 s \(\d s so far, .* left\)", first
    )
    assert second.startswith(f"[2/2] {runs[1].folder.name}: failed: boom (1 failed, ")
