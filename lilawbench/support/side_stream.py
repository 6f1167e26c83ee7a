"""Work beside the training of a network: on a CUDA stream of its own, with the same results.

The host queues it and goes on, and the device may do it together with whatever is queued behind. Only where both read
the same weights: weights wait to be written until `join`.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class SideStream:
    """A stream beside the one that trains.

        with side(reads=[params]):        # what was queued until here is done before
            ... forwards of the network, new params
        ...                               # forwards of training meanwhile, never a change of the weights
        side.join(made=[params])          # here what was queued inside is done, too

    Inside, the network has copies of its buffers: a forward of training changes BatchNorm's while they are read.

    Args:
        device: a CUDA device. model: whose buffers are copied.
    """

    def __init__(self, device: torch.device, model: nn.Module):
        self.device, self.stream, self.waiting = device, torch.cuda.Stream(device), False
        self.places = [(m, name) for m in model.modules() for name, b in m._buffers.items() if b is not None]
        self.copies: dict[int, Tensor] = {}  # by the id of what they are copies of

    @contextmanager
    def __call__(self, reads: Sequence[Tensor | None]) -> Iterator[None]:
        """`reads`: tensors of the stream outside, besides weights and data, that may be freed before it is done."""
        self.join()
        originals = [(module, name, module._buffers[name]) for module, name in self.places]
        self._copy([buffer for _, _, buffer in originals])
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        _used_in(self.stream, reads)
        try:
            for module, name, buffer in originals:
                module._buffers[name] = self.copies[id(buffer)]
            with torch.cuda.stream(self.stream):
                yield
        finally:
            self.waiting = True
            for module, name, buffer in originals:
                module._buffers[name] = buffer

    def join(self, made: Sequence[Tensor | None] = ()) -> None:
        """The stream that is current waits for the work; `made` are tensors of the work that it may now use."""
        if not self.waiting:
            return
        main, self.waiting = torch.cuda.current_stream(self.device), False
        main.wait_stream(self.stream)
        _used_in(main, made)

    @torch.no_grad()
    def _copy(self, buffers: list[Tensor]) -> None:
        """In a few launches: one for each type of number."""
        unique = {id(buffer): buffer for buffer in buffers}
        if self.copies.keys() != unique.keys():
            self.copies = {key: torch.empty_like(buffer) for key, buffer in unique.items()}
        by_type = defaultdict(list)
        for key, buffer in unique.items():
            by_type[buffer.dtype].append((self.copies[key], buffer))
        for pairs in by_type.values():
            torch._foreach_copy_(*map(list, zip(*pairs)))


def _used_in(stream: torch.cuda.Stream, tensors: Sequence[Tensor | None]) -> None:
    """Memory of theirs waits for the stream before it is given out again."""
    for tensor in tensors:
        if tensor is not None:
            tensor.record_stream(stream)
