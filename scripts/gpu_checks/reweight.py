"""RRM's re-weighting of a million losses."""

import torch
from benchmarks.rrm import CONTAMINATION, GAMMA
from benchmarks.timing import interleaved, milliseconds

from gpu_checks.checks import Checks
from lilawbench.methods.rrm import reweight

GOAL_MS = 5


def check(c: Checks) -> None:
    size = 10_000 if c.tiny else 1_000_000
    losses = torch.empty(size).exponential_(generator=torch.Generator().manual_seed(0)).to(c.device)
    ways = {
        f"gamma {GAMMA}": lambda: reweight(losses, gamma=GAMMA),
        f"contamination {CONTAMINATION}": lambda: reweight(losses, contamination=CONTAMINATION),
    }
    for way, seconds in interleaved(ways, 2 if c.tiny else 15, 3, c.device).items():
        c.speed(f"{size:,} losses by {way}: ms", milliseconds(seconds), at_most=GOAL_MS)
