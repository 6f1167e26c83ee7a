"""Work on a CUDA stream of its own beside the training of a network, with the same results.

The host queues it and goes on; the device may run it together with whatever is queued next. Both may read the weights;
nothing may write them before `join`.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class SideStream:
    """A stream beside the one that trains.

        with side(reads=[params]):        # runs after everything queued so far
            ... forwards of the network, new params
        ...                               # meanwhile: forwards of training, no change of the weights
        side.join(made=[params])          # what was queued inside is done

    Inside, the network has copies of its buffers: a forward of training would change BatchNorm's while they are read.

    Args:
        device: a CUDA device. model: whose buffers are copied.
    """

    def __init__(self, device: torch.device, model: nn.Module):
        self.device, self.stream, self.waiting = device, torch.cuda.Stream(device), False
        self.places = [(m, name) for m in model.modules() for name, b in m._buffers.items() if b is not None]
        self.copies: dict[int, Tensor] = {}  # by the id of what they are copies of

    @contextmanager
    def __call__(self, reads: Sequence[Tensor | None]) -> Iterator[None]:
        """`reads`: tensors of the outer stream, besides weights and data, that may be freed before the work is done."""
        self.join()
        found = ((module, name, module._buffers[name]) for module, name in self.places)
        originals = [(module, name, buffer) for module, name, buffer in found if buffer is not None]
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
        """The current stream waits for the work; `made` are the tensors made there that it may now use."""
        if not self.waiting:
            return
        main, self.waiting = torch.cuda.current_stream(self.device), False
        main.wait_stream(self.stream)
        _used_in(main, made)

    @torch.no_grad()
    def _copy(self, buffers: list[Tensor]) -> None:
        """In few launches: one per dtype."""
        unique = {id(buffer): buffer for buffer in buffers}
        if self.copies.keys() != unique.keys():
            self.copies = {key: torch.empty_like(buffer) for key, buffer in unique.items()}
        by_type: defaultdict[torch.dtype, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for key, buffer in unique.items():
            by_type[buffer.dtype].append((self.copies[key], buffer))
        for pairs in by_type.values():
            torch._foreach_copy_([copy for copy, _ in pairs], [buffer for _, buffer in pairs])


def _used_in(stream: torch.cuda.Stream, tensors: Sequence[Tensor | None]) -> None:
    """Keeps their memory from being reused before the stream is done with them."""
    for tensor in tensors:
        if tensor is not None:
            tensor.record_stream(stream)
