"""What the method reports: its logs, its trace, and its values per sample, compared with the clean labels."""

import itertools

from lilawbench.engine.loop import Epoch
from lilawbench.losses import StatefulLoss
from lilawbench.methods.context import Context
from lilawbench.metrics.crossing import cross
from lilawbench.probes.base import Predictions, Probe, Scene, Seen
from lilawbench.support.plain import State, Tree


class MethodValues(Probe):
    """Values of any method that has some, and whether it took part at all; none is known by name."""

    def setup(self, scene: Scene) -> None:
        super().setup(scene)
        self.ended = {"epochs": scene.epochs, "steps": 1}  # epochs so far, and steps of one

    def see(self, ctx: Context, epoch: Epoch, predictions: Predictions) -> Seen:
        scene, crossed = self.scene, {}
        self.ended = {"epochs": epoch.number, "steps": epoch.step // epoch.number}
        if scene.clean is not None:
            crossed = cross(scene.method.crossings, epoch.sample_values, scene.observed, scene.clean)
        return {**crossed, **epoch.logs, **{name: values[-1] for name, values in epoch.trace.items()}}

    def state_dict(self) -> State:
        return dict(self.ended)

    def load_state_dict(self, state: State) -> None:
        self.ended |= state

    def result(self) -> dict[str, Tree]:
        """Why the method never acted, where it did not (it may have been stopped too early), and what it was told.

        Of one that acted later than in its first epoch: the epochs before, `idle_epochs`, and why it did not in the
        last of them, `idle_reason`.
        """
        method = self.scene.method
        loss = method.per_sample
        said = {
            "never_acts": method.never_acts(**self.ended),
            "told": method.told() + (loss.told() if isinstance(loss, StatefulLoss) else []),
        }
        found: dict[str, Tree] = {key: "; ".join(parts) for key, parts in said.items() if parts}
        if not said["never_acts"]:
            before = [*itertools.takewhile(bool, map(self._idle, range(1, self.ended["epochs"])))]
            if before:
                reason = "; ".join(before[-1]).replace(f", of {len(before)} epochs", "")
                found |= {"idle_epochs": len(before), "idle_reason": reason}
        return found

    def _idle(self, epochs: int) -> list[str]:
        return self.scene.method.never_acts(epochs, self.ended["steps"])
