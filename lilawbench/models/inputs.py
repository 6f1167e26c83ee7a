"""What the program tells a network of its inputs: their shape and, of texts, how many words there are."""

import inspect
from collections.abc import Callable, Mapping, Sequence

from lilawbench.support.locate import locate
from lilawbench.support.plain import Options, Tree


def reads_text(model: Callable[..., object]) -> bool:
    """Whether a network takes texts, as numbers of words: it asks for their `vocabulary`."""
    return "vocabulary" in inspect.signature(model).parameters


def inputs_for(node: Mapping[str, Tree], input_shape: Sequence[int], vocabulary: int | None) -> Options:
    """The arguments that describe the inputs of a network, for the target of its node.

    Args:
        input_shape: of a row; of a text [L]. vocabulary: how many numbers words have; None: the rows are no texts.
    Raises:
        ImportError: there is no such target.
    """
    known: Options = {"input_shape": input_shape}
    return known | {"vocabulary": vocabulary} if reads_text(locate(node["_target_"])) else known
