"""A convolution over the words of a text."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

START_STD = 0.1  # of embeddings: from torch's 1.0, a step of Adam's learns little about a word and much by heart


class WordWindows(nn.Module):
    """Embeddings of words, one convolution over neighbouring ones, ReLU, and each filter's largest value in the text.

    Windows begin at a word and may end behind the last one, where embeddings are 0: the length that texts are padded to
    makes no difference, and one word is enough. A text without words has features of 0.
    """

    def __init__(self, vocabulary: int, embedding: int, filters: int, width: int):
        super().__init__()
        self.width = width
        self.words = nn.Embedding(vocabulary, embedding, padding_idx=0)
        with torch.no_grad():
            self.words.weight.mul_(START_STD)
        self.windows = nn.Conv1d(embedding, filters, width)

    def forward(self, words: Tensor) -> Tensor:
        """Numbers of words [B, L] int64, 0 behind the last one -> features [B, filters]."""
        words = _trimmed(words)
        length = words.shape[1]
        embedded = F.pad(self.words(words), (0, 0, 0, self.width - 1))
        windows = torch.cat([embedded[:, start : start + length] for start in range(self.width)], dim=2)
        # a matrix product in place of the convolution: three quarters of its time
        found = F.linear(windows, self.windows.weight.transpose(1, 2).flatten(1), self.windows.bias)
        return F.relu(found.masked_fill((words == 0).unsqueeze(2), -torch.inf).amax(1))


def _trimmed(words: Tensor) -> Tensor:
    """Texts [B, L] less the columns that are behind all of them, half of the time; where the host knows the numbers."""
    if words.device.type != "cpu" or torch.compiler.is_compiling():
        return words
    try:
        longest = int((words != 0).sum(1).max())
    except RuntimeError:  # under vmap
        return words
    return words[:, : max(1, longest)]


class TextCNN(nn.Sequential):
    """Embedding from scratch, a convolution with max-pooling, a dense layer with ReLU, and the outputs.

    The last two layers, which a linear probe trains, are the dense ones.

    Args:
        num_classes: outputs K. input_shape: [L], words of a text.
        vocabulary: how many numbers words have, 0 for none included; None: the data are no texts.
        embedding: numbers of a word. filters: of the convolution. width: words of a window. dense: width of the layer.
        dropout: before the dense layer, in [0, 1).
    Raises:
        ValueError: the inputs are no texts, a size out of range.
    Source: RRM, appendix E.1 (width 2, dense 36); Kim 2014. Deviations: the paper's embeddings are FastText's, 300
        numbers pretrained, its outputs six sigmoids; how many filters it has is not said.
    """

    def __init__(
        self,
        num_classes: int,
        input_shape: Sequence[int],
        vocabulary: int | None = None,
        embedding: int = 300,
        filters: int = 128,
        width: int = 2,
        dense: int = 36,
        dropout: float = 0.0,
    ):
        if vocabulary is None or len(input_shape) != 1:
            raise ValueError(f"the text_cnn needs texts, not inputs {list(input_shape)}")
        for name, size in (("embedding", embedding), ("filters", filters), ("width", width), ("dense", dense)):
            if size < 1:
                raise ValueError(f"{name} is {size}; it must be >= 1")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout}; it must lie in [0, 1)")
        features = [WordWindows(vocabulary, embedding, filters, width), *[nn.Dropout(dropout)] * (dropout > 0)]
        super().__init__(*features, nn.Linear(filters, dense), nn.ReLU(), nn.Linear(dense, num_classes))
