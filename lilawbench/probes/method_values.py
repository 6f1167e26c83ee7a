"""What the method reports: its logs, its trace, and its values per sample, compared with the clean labels."""

from lilawbench.engine.loop import Epoch
from lilawbench.methods.context import Context
from lilawbench.metrics.crossing import cross
from lilawbench.probes.base import Predictions, Probe, Seen


class MethodValues(Probe):
    """Values of any method that has some; none is known by name."""

    def see(self, ctx: Context, epoch: Epoch, predictions: Predictions) -> Seen:
        scene, crossed = self.scene, {}
        if scene.clean is not None:
            crossed = cross(scene.method.crossings, epoch.sample_values, scene.observed, scene.clean)
        return {**crossed, **epoch.logs, **{name: values[-1] for name, values in epoch.trace.items()}}
