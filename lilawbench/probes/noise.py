"""What noise was asked for, and what came of it."""

from collections.abc import Mapping
from typing import Any

from lilawbench.engine.loop import Epoch
from lilawbench.methods.context import Context
from lilawbench.noise.rates import noise_rates
from lilawbench.probes.base import Predictions, Probe, Seen


class NoiseRates(Probe):
    """Args:
    noise: the config's block.
    """

    def __init__(self, noise: Mapping[str, Any]):
        self.noise = noise

    def see(self, ctx: Context, epoch: Epoch, predictions: Predictions) -> Seen:
        return {}

    def result(self) -> dict[str, Any]:
        return noise_rates(self.noise, self.scene.labels)
