"""The labels that are probably wrong: every training row scored by detectors, listed at the end."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from lilawbench.engine.loop import Epoch
from lilawbench.methods.context import Context
from lilawbench.metrics.confident import estimated_wrong_confident
from lilawbench.metrics.detection import detection, paper_auprc
from lilawbench.metrics.measure import corrupted
from lilawbench.metrics.mixture import estimated_wrong_gmm
from lilawbench.models.features import last_dense
from lilawbench.probes.base import Predictions, Probe, Scene, Seen
from lilawbench.probes.detectors import DETECTORS
from lilawbench.probes.detectors.base import Detector, Look, Plain
from lilawbench.probes.detectors.loss import MeanLoss
from lilawbench.probes.detectors.method_values import MethodValue, of_method
from lilawbench.probes.suspects_list import ABOUT, Suspected, write_list, write_rows
from lilawbench.probes.suspects_sheet import write_sheet
from lilawbench.support.errors import ConfigError, DataError, closest
from lilawbench.support.plain import State, Tree

log = logging.getLogger("lilawbench")
FEATURES = [name for name, kind in DETECTORS.items() if kind.needs_features]
OF_METHOD = "method_"  # of which only a run tells which scores there are
ORIENTATIONS = ("mislabelled", "paper")
MOST_PROBABILITIES = 50_000_000  # rows x classes whose mean over epochs is kept, 200 MB


class Further(TypedDict):
    """Arguments of a `Look`."""

    in_order: Callable[[], Plain]
    inputs: Callable[[], Tensor | None]
    gradient_norms: Callable[[], Tensor]
    out_of_sample: Tensor | None


class Suspects(Probe):
    """Scores every training row by all detectors, and lists the rows from the most to the least suspicious.

    The suggested label is the most probable class other than the given one, by the mean of the probabilities that the
    row had in training over the epochs; of more than 50 million probabilities, by those of the row's last epoch. With
    folds it is by the networks that did not train on the row.

    Args:
        scores, score, epochs, orientation: see `schema.Detect`. folds: see there too; the pipeline trains them.
        detectors: further ones by name, beside those of the package.
    Raises:
        ValueError: no such score, orientation or epoch.
    """

    def __init__(
        self,
        scores: Sequence[str] | None = None,
        score: str = "loss",
        epochs: Sequence[int] | None = None,
        folds: int = 0,
        orientation: str = "mislabelled",
        detectors: Mapping[str, Detector] | None = None,
    ):
        own = dict(detectors or {})
        known = [*DETECTORS, *own]
        for option, names in (("score", [score]), ("scores", scores or [])):
            for name in names:
                if name not in known and not name.startswith(OF_METHOD):
                    raise ValueError(f"detect.{option} has {name!r}, which is no score; {closest(name, known)}")
        named = [name for name in [score, *(scores or [])] if name in DETECTORS and DETECTORS[name].needs_folds]
        if named and not folds:
            of = "predictions of rows by networks that did not train on them"
            raise ValueError(f"detect: the score {named[0]} is of {of}: detect.folds=5 trains five")
        if both := sorted(own.keys() & {*DETECTORS, *ABOUT}):
            raise ValueError(f"detectors has {both[0]!r}, the name of a column that is there already")
        if odd := [name for name, one in own.items() if not isinstance(one, Detector)]:
            raise ValueError(f"detectors: {odd[0]} is no Detector: NAME: {{_target_: MODULE.CLASS}}")
        if orientation not in ORIENTATIONS:
            raise ValueError(f"detect.orientation is {orientation!r}; it must be {' or '.join(ORIENTATIONS)}")
        if wrong := [epoch for epoch in epochs or [] if epoch < 1]:
            raise ValueError(f"detect.epochs has {wrong[0]}; epochs count from 1")
        self.own, self.scores, self.score, self.orientation = own, scores, score, orientation
        self.epochs, self.folds = list(epochs or []), folds
        self.out_of_sample: Tensor | None = None
        self.detectors: dict[str, Detector] = {}
        self.measured: dict[int, dict[str, float]] = {}  # by epoch
        self._listed: Suspected | None = None  # what result and files both need

    def setup(self, scene: Scene) -> None:
        """Raises: ConfigError, detect.score says nothing of such data, or needs more epochs."""
        super().setup(scene)
        self.detectors = self._fitting(scene)
        if not self.detectors:
            log.info("no list of suspects: no score is for %s data", scene.task.name)
            return
        if (needed := self.detectors[self.score].epochs) > scene.epochs:
            short = f"needs {needed} epochs, and train.epochs is {scene.epochs}: train longer, or choose another"
            raise ConfigError([f"detect.score={self.score} {short}"])
        count, classes = len(scene.train), scene.source.num_classes
        self.losses = MeanLoss()  # what the number of wrong labels is estimated by, whatever the scores
        for detector in (*self.detectors.values(), self.losses):
            detector.setup(count, classes)
        self.probs = torch.zeros(count, classes)  # the sum over epochs, or the last
        self.times = torch.zeros(count)

    def _fitting(self, scene: Scene) -> dict[str, Detector]:
        """The detectors that were asked for; of all, those for the task of the data that cost no pass of their own."""
        of_package = {name: kind() for name, kind in DETECTORS.items()}
        there = {**of_package, **of_method(scene.method), **self.own}
        there = {name: one for name, one in there.items() if self.folds or not one.needs_folds}
        fitting = {name: one for name, one in there.items() if scene.task.name in one.tasks}
        if not fitting:
            return {}
        free = [name for name, one in fitting.items() if name in self.own or not one.needs_features]
        wanted = dict.fromkeys([*(free if self.scores is None else self.scores), self.score])
        if wrong := [name for name in wanted if name not in fitting]:
            data = f"{scene.task.name} data and this method"
            raise ConfigError(
                [f"detect: there is no score {name} for {data}; {closest(name, fitting)}" for name in wrong]
            )
        return {name: fitting[name] for name in wanted}

    def see(self, ctx: Context, epoch: Epoch, predictions: Predictions) -> Seen:
        if not self.detectors:
            return {}
        self._listed = None
        trace = {name: values[-1] for name, values in epoch.trace.items()}
        logits = epoch.logits[:, : self.scene.source.num_classes]  # model.num_classes may ask for more
        given = epoch.number, logits, self.scene.observed, epoch.seen, epoch.lr
        look = Look(*given, trace, epoch.sample_values, **self._further(ctx, predictions))
        asked = epoch.number in self.epochs
        for detector in (*self.detectors.values(), self.losses):
            if asked or not detector.when_asked:
                detector.see(look)
        if self.probs.numel() <= MOST_PROBABILITIES:
            self.probs += look.probs * epoch.seen[:, None]
            self.times += epoch.seen
        else:
            self.probs[epoch.seen], self.times[epoch.seen] = look.probs[epoch.seen], 1
        if not asked:
            return {}
        self.measured[epoch.number] = self.measures()
        return dict(self.measured[epoch.number])

    def _further(self, ctx: Context, predictions: Predictions) -> Further:
        """What a look offers beside the epoch."""

        def plain() -> Plain:
            last = last_dense(ctx.model)
            return Plain(*predictions.train_and_features, bias=last is not None and last.bias is not None)

        return {
            "in_order": plain,
            "inputs": lambda: self.scene.train_vectors,
            "gradient_norms": lambda: predictions.train_gradient_norms,
            "out_of_sample": self.out_of_sample,
        }

    def take_out_of_sample(self, probs: Tensor) -> None:
        classes = self.scene.source.num_classes
        self.out_of_sample = probs if probs.shape[1] == classes else normalize(probs[:, :classes], p=1, dim=1)

    def at_end(self, ctx: Context, predictions: Predictions) -> None:
        self._listed = None
        late = [detector for detector in self.detectors.values() if detector.when_asked]
        nothing = torch.zeros(len(self.scene.observed), self.scene.source.num_classes)
        given = ctx.epoch, nothing, self.scene.observed, nothing[:, 0] > 0
        look = Look(*given, **self._further(ctx, predictions))
        for detector in late:
            detector.see(look)

    def measures(self) -> dict[str, float]:
        """How well each score tells corrupted labels, "suspects_auroc_aum" and so on; empty: nobody knows them.

        With orientation=paper there is LiLAW's average precision too, "suspects_paper_auprc_aum".
        """
        if self.scene.clean is None:
            return {}
        wrong = corrupted(self.scene.observed, self.scene.clean)
        found: dict[str, float] = {}
        for name, detector in self.detectors.items():
            measured = detection(self._ranked(detector.scores()), wrong)
            if measured and self.orientation == "paper":
                measured["paper_auprc"] = paper_auprc(detector.paper_scores(), wrong)
            found |= {f"suspects_{key}_{name}": value for key, value in measured.items()}
        return found

    def _ranked(self, score: Tensor) -> Tensor:
        """A score, [N]; rows that never trained come last, but first where the method left them out as wrong."""
        ranked = score.double().nan_to_num(nan=-torch.inf)
        for detector in self.detectors.values():
            if isinstance(detector, MethodValue):
                ranked = ranked.where(~(score.isnan() & detector.left_out()), torch.inf)
        return ranked

    def state_dict(self) -> State:
        if not self.detectors:
            return {}
        detectors = {name: one.state_dict() for name, one in self.detectors.items()}
        kept = {"losses": self.losses.state_dict(), "probs": self.probs, "times": self.times}
        return {"detectors": detectors, "measured": dict(self.measured), **kept}

    def load_state_dict(self, state: State) -> None:
        for name, detector in self.detectors.items():
            detector.load_state_dict(_on_host(state["detectors"][name]))
        if self.detectors:
            self.losses.load_state_dict(_on_host(state["losses"]))
            self.probs, self.times, self.measured = state["probs"].cpu(), state["times"].cpu(), state["measured"]

    def result(self) -> dict[str, Tree]:
        """The ranking score, how many rows it ranks, and how many of them are probably wrong, by which way of telling.

        Measures at the end, and at each of detect.epochs as "epoch3.suspects_auroc_aum".
        """
        if not self.detectors:
            return {}
        listed = self.listed()
        counts = {f"suspects_estimated_{name}": count for name, count in listed.estimates.items()}
        at = {f"epoch{number}.{key}": v for number, found in self.measured.items() for key, v in found.items()}
        return {
            "suspects_score": self.score,
            "suspects_rows": len(listed.rows),
            "suspects_estimated": listed.count,
            "suspects_estimated_by": listed.way,
            **counts,
            **self.measures(),
            **at,
        }

    def listed(self) -> Suspected:
        """The training rows with their scores and suggestions, the most suspicious first; copies are left out."""
        if self._listed is not None:
            return self._listed
        labels, names = self.scene.labels, list(self.detectors)
        count = len(labels.train) - (0 if labels.copied is None else len(labels.copied))
        in_sample = self.probs / self.times.clamp(min=1)[:, None]
        probs = (in_sample if self.out_of_sample is None else self.out_of_sample)[:count]
        given = self.scene.observed[:count]
        best = probs.float().scatter(1, given[:, None], -1).max(1)
        scores = torch.stack([detector.scores().double() for detector in self.detectors.values()])[:, :count]
        ranked = self._ranked(self.detectors[self.score].scores())[:count]
        order = torch.argsort(ranked, descending=True, stable=True)
        found = estimates(self.losses.scores()[:count], self.out_of_sample, given)
        of_given = probs.float().gather(1, given[:, None])[:, 0]
        self._listed = Suspected(
            rows=labels.train[:count][order.numpy()],
            given=given[order].numpy(),
            suggested=best.indices[order].numpy(),
            prob=best.values[order].numpy(),
            given_prob=of_given[order].numpy(),
            scores=dict(zip(names, scores[:, order].numpy())),
            score=self.score,
            estimates=found,
        )
        return self._listed

    def files(self, folder: Path) -> None:
        """Writes suspects.csv; of a table's first rows suspects_rows.csv, of images and sequences suspects.png."""
        if not self.detectors:
            return
        short = [f"{name} ({one.epochs})" for name, one in self.detectors.items() if one.epochs > self.scene.epochs]
        if short:
            log.info("scores that need more epochs than the run has are nan: %s", ", ".join(short))
        listed, source = self.listed(), self.scene.source
        blank = [name for name in FEATURES if name in listed.scores and np.isnan(listed.scores[name]).all()]
        if blank:
            log.info("nan, since the network has no dense last layer: %s", ", ".join(blank))
        write_list(folder / "suspects.csv", listed, source)
        for show in (partial(write_rows, folder / "suspects_rows.csv"), partial(write_sheet, folder / "suspects.png")):
            try:
                show(listed, source)
            except DataError as error:  # after hours of training
                log.warning("suspects cannot be shown: %s", error)
        log.info("%s; the list: %s", listed.told(source), folder / "suspects.csv")


def estimates(losses: Tensor, out_of_sample: Tensor | None, given: Tensor) -> dict[str, int]:
    """How many labels are probably wrong, by way of telling; the first is the one to go by.

    Args:
        losses: mean over epochs, [n]; rows never seen are nan. out_of_sample: probabilities of at least these rows, by
            networks that did not train on them; None: there are none. given: their labels, [n].
    """
    by_mixture = {"gmm": estimated_wrong_gmm(losses)}
    if out_of_sample is None:
        return by_mixture
    return {"confident": estimated_wrong_confident(out_of_sample[: len(given)], given), **by_mixture}


def _on_host(state: State) -> State:
    return {name: value.cpu() if isinstance(value, Tensor) else value for name, value in state.items()}
