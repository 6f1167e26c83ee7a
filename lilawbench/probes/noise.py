"""The noise rate that was asked for, and the one that was realised."""

from collections.abc import Mapping

from lilawbench.engine.loop import Epoch
from lilawbench.methods.context import Context
from lilawbench.noise.rates import noise_rates
from lilawbench.probes.base import Predictions, Probe, Seen
from lilawbench.support.plain import Tree


class NoiseRates(Probe):
    """Both rates, for result.json.

    Args:
        noise: the config's block.
    """

    def __init__(self, noise: Mapping[str, Tree]):
        self.noise = noise

    def see(self, ctx: Context, epoch: Epoch, predictions: Predictions) -> Seen:
        return {}

    def result(self) -> dict[str, Tree]:
        return noise_rates(self.noise, self.scene.labels)
