"""Training dynamics: how the probability of the given label moves over the epochs."""

import torch
from torch import Tensor

from lilawbench.probes.detectors.base import Detector, Look, MeanOverEpochs


class DataIQ(MeanOverEpochs):
    """-mean over epochs of p_y, the probability of the given label: Data-IQ's confidence, and that of Data Maps.

    High: rows whose label the network does not come to believe.

    Source: Seedat et al. 2022, Swayamdipta et al. 2020 (eq. 1). Deviations: the sign, so that larger is more
    suspicious; p as each row was seen in training, not from a pass of its own.
    """

    def value(self, look: Look) -> Tensor:
        return -look.prob_given


class DataIQAleatoric(MeanOverEpochs):
    """mean over epochs of p_y (1 - p_y), in [0, 1/4]: Data-IQ's aleatoric uncertainty.

    High: ambiguous rows. Sure and right rows are low, and so are those that are surely something else: read it beside
    `data_iq`, which says which of the two a row is. As a score of wrong labels it is upside down while right rows are
    still in doubt.

    Source: Seedat et al. 2022, section 3. Deviations: see DataIQ.
    """

    def value(self, look: Look) -> Tensor:
        return look.prob_given * (1 - look.prob_given)


class DataMaps(Detector):
    """-std over epochs of p_y, divided by the number of epochs: Data Maps' variability, as LiLAW's Table 15 has it.

    High: rows whose probability hardly moves. Such are wrong rows that are never learnt, and also rows that are right
    from the start: the maps' mislabelled corner is low variability *and* low confidence, and the latter is `data_iq`.
    After one epoch it is 0 for all.

    Source: Swayamdipta et al. 2020, eq. 2. Deviations: the sign; p as each row was seen in training.
    """

    epochs = 2

    def setup(self, num_train: int, num_classes: int) -> None:
        self.times = torch.zeros(num_train, dtype=torch.float64)
        self.mean = torch.zeros(num_train, dtype=torch.float64)
        self.squares = torch.zeros(num_train, dtype=torch.float64)  # of the distances to the mean, added up

    def see(self, look: Look) -> None:
        self.times += look.seen
        step = (look.prob_given.double() - self.mean).where(look.seen, 0)
        self.mean += step / self.times.clamp(min=1)
        self.squares += step * (look.prob_given - self.mean).where(look.seen, 0)

    def scores(self) -> Tensor:
        return -(self.squares / self.times).sqrt()
