"""The detectors by name, in the order in which they are listed; each larger = more likely to be wrong."""

from lilawbench.probes.detectors.aum import AUM
from lilawbench.probes.detectors.base import Detector
from lilawbench.probes.detectors.cnlcu import CNLCUS
from lilawbench.probes.detectors.confidence import ConfidenceWeightedEntropy, SelfConfidence
from lilawbench.probes.detectors.confident_learning import ConfidentLearning
from lilawbench.probes.detectors.data_maps import DataIQ, DataIQAleatoric, DataMaps
from lilawbench.probes.detectors.el2n import EL2N
from lilawbench.probes.detectors.forgetting import Forgetting
from lilawbench.probes.detectors.grand import GraNd, GraNdAll
from lilawbench.probes.detectors.lilaw import W, WAlpha, WBeta, WDelta
from lilawbench.probes.detectors.loss import MeanLoss
from lilawbench.probes.detectors.loss_gmm import LossGMM
from lilawbench.probes.detectors.margin import AveragedMargin, Margin, NormalisedMargin
from lilawbench.probes.detectors.out_of_sample import (
    ConfidenceWeightedEntropyOOS,
    MarginOOS,
    NormalisedMarginOOS,
    SelfConfidenceOOS,
)
from lilawbench.probes.detectors.simifeat import SimiFeat, SimiFeatVote
from lilawbench.probes.detectors.tracin import TracIn

DETECTORS: dict[str, type[Detector]] = {
    "loss": MeanLoss,
    "loss_gmm": LossGMM,
    "aum": AUM,
    "margin": Margin,
    "averaged_margin": AveragedMargin,
    "normalised_margin": NormalisedMargin,
    "self_confidence": SelfConfidence,
    "confidence_weighted_entropy": ConfidenceWeightedEntropy,
    "data_iq": DataIQ,
    "data_iq_aleatoric": DataIQAleatoric,
    "data_maps": DataMaps,
    "cnlcu_s": CNLCUS,
    "el2n": EL2N,
    "forgetting": Forgetting,
    "w_alpha": WAlpha,
    "w_beta": WBeta,
    "w_delta": WDelta,
    "w": W,
    "grand": GraNd,
    "grand_all": GraNdAll,
    "tracin": TracIn,
    "simifeat": SimiFeat,
    "simifeat_vote": SimiFeatVote,
    "confident_learning": ConfidentLearning,
    "self_confidence_oos": SelfConfidenceOOS,
    "normalised_margin_oos": NormalisedMarginOOS,
    "confidence_weighted_entropy_oos": ConfidenceWeightedEntropyOOS,
    "margin_oos": MarginOOS,
}
