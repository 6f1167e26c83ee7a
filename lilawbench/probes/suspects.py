"""The list of labels that are probably wrong."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lilawbench.engine.loop import Epoch
from lilawbench.methods.context import Context
from lilawbench.metrics.detection import detection, paper_auprc
from lilawbench.metrics.measure import corrupted
from lilawbench.probes.base import Predictions, Probe, Scene, Seen
from lilawbench.probes.detectors import DETECTORS
from lilawbench.probes.detectors.base import Detector, Look, Plain
from lilawbench.support.atomic import write_atomic
from lilawbench.support.plain import State, Tree


class Suspects(Probe):
    """Scores every training row by all detectors, and lists the rows from the most to the least suspicious.

    Args:
        scores, score, epochs, orientation: see `config.Detect`. folds: see there too; the pipeline trains them.
        detectors: further ones by name, beside those of the package.
    Raises:
        ValueError: no such score.
    """

    def __init__(
        self,
        scores: Sequence[str] | None = None,
        score: str = "aum",
        epochs: Sequence[int] | None = None,
        folds: int = 0,
        orientation: str = "mislabelled",
        detectors: Mapping[str, Detector] | None = None,
    ):
        known = [*DETECTORS, *(detectors or {})]
        for name in [score, *(scores or [])]:
            if name not in known:
                raise ValueError(f"detect: there is no score {name}; there are {', '.join(known)}")
        wanted = dict.fromkeys([*(scores or known), score])
        made = {name: DETECTORS[name]() for name in wanted if name in DETECTORS} | dict(detectors or {})
        self.detectors: dict[str, Detector] = made
        self.score, self.epochs, self.orientation = score, list(epochs or []), orientation
        self.measured: dict[int, dict[str, float]] = {}  # by epoch

    def setup(self, scene: Scene) -> None:
        super().setup(scene)
        fitting = {name: one for name, one in self.detectors.items() if scene.task.name in one.tasks}
        self.detectors = fitting
        for detector in self.detectors.values():
            detector.setup(len(scene.train), scene.source.num_classes)

    def see(self, ctx: Context, epoch: Epoch, predictions: Predictions) -> Seen:
        trace = {name: values[-1] for name, values in epoch.trace.items()}

        def plain() -> Plain:
            return Plain(*predictions.train_and_features)

        given = epoch.number, epoch.logits, self.scene.observed, epoch.seen, epoch.lr
        look = Look(*given, trace, epoch.sample_values, plain)
        for detector in self.detectors.values():
            detector.see(look)
        if epoch.number not in self.epochs:
            return {}
        self.measured[epoch.number] = self.measures()
        return dict(self.measured[epoch.number])

    def scored(self) -> dict[str, Tensor]:
        """Scores of the training rows by detector, [N] each."""
        return {name: detector.scores() for name, detector in self.detectors.items()}

    def measures(self) -> dict[str, float]:
        """How well each score tells corrupted labels, "suspects_auroc_aum" and so on; empty: nobody knows them.

        With orientation=paper there is LiLAW's average precision too, "suspects_paper_auprc_aum".
        """
        if self.scene.clean is None:
            return {}
        wrong = corrupted(self.scene.observed, self.scene.clean)
        found: dict[str, float] = {}
        for name, detector in self.detectors.items():
            measured = detection(detector.scores(), wrong)
            if measured and self.orientation == "paper":
                measured["paper_auprc"] = paper_auprc(detector.paper_scores(), wrong)
            found |= {f"suspects_{key}_{name}": value for key, value in measured.items()}
        return found

    def state_dict(self) -> State:
        detectors = {name: detector.state_dict() for name, detector in self.detectors.items()}
        return {"detectors": detectors, "measured": dict(self.measured)}

    def load_state_dict(self, state: State) -> None:
        for name, detector in self.detectors.items():
            detector.load_state_dict(state["detectors"][name])
        self.measured = state["measured"]

    def result(self) -> dict[str, Tree]:
        """Measures at the end, and at each of `detect.epochs` as "epoch3.suspects_auroc_aum"."""
        at = {f"epoch{number}.{key}": v for number, found in self.measured.items() for key, v in found.items()}
        return self.measures() | at

    def files(self, folder: Path) -> None:
        """Writes suspects.csv."""
        scored, names = self.scored(), self.scene.source.class_names
        rows, ids = self.scene.labels.train, self.scene.source.labelled_ids
        order = torch.argsort(scored[self.score].nan_to_num(nan=-torch.inf), descending=True, stable=True)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["rank", "row", "given", *scored])
        for rank, place in enumerate(order.tolist(), start=1):
            row = rows[place] if ids is None else ids[rows[place]]
            given = names[int(self.scene.observed[place])]
            writer.writerow([rank, row, given, *(float(np.float32(score[place])) for score in scored.values())])
        write_atomic(folder / "suspects.csv", text.getvalue())
