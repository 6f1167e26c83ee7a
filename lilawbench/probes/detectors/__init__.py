"""The detectors by name, in the order in which they are listed; each larger = more likely to be wrong."""

from lilawbench.probes.detectors.aum import AUM
from lilawbench.probes.detectors.base import Detector
from lilawbench.probes.detectors.loss import MeanLoss

DETECTORS: dict[str, type[Detector]] = {
    "loss": MeanLoss,
    "aum": AUM,
}
