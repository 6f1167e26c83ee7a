"""Forgetting events."""

import torch
from torch import Tensor

from lilawbench.probes.detectors.base import Detector, Look


class Forgetting(Detector):
    """How often a row went from right to wrong between two epochs; never right: as many as epochs, the most.

    High: rows that are never learnt, then those learnt and forgotten again. Most rows tie at 0.

    Source: Toneva et al. 2019, definition 1; never learnt is most of all there too. Deviations: none. Table 15 counts
    otherwise (H-CAT): rows that are never learnt get 0, and with them the wrong labels that training never believed.
    """

    epochs = 2

    def setup(self, num_train: int, num_classes: int) -> None:
        self.looks = 0
        self.events = torch.zeros(num_train, dtype=torch.float64)
        self.right = torch.zeros(num_train, dtype=torch.bool)  # when last seen
        self.learnt, self.ever = self.right.clone(), self.right.clone()

    def see(self, look: Look) -> None:
        right = look.margin > 0
        self.looks += 1
        self.events += self.right & ~right & look.seen
        self.right = right.where(look.seen, self.right)
        self.learnt = self.learnt | right & look.seen
        self.ever = self.ever | look.seen

    def scores(self) -> Tensor:
        return self.events.where(self.learnt, self.looks).where(self.ever, torch.nan)

    def paper_scores(self) -> Tensor:
        return self.events.where(self.ever, torch.nan)
