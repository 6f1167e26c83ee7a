"""Every random stream is derived from the run's seed and a purpose, never from the method or from another stream.

Two runs with one seed therefore share labels, split, initial weights and batch order whatever their method is:
their comparison is paired. Streams are keyed by epoch too, so a resumed run needs no saved random state.
"""

import hashlib
import random

import numpy as np
import torch


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose, such as `derive_seed(3, "order", epoch)`. Stable across machines."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def derive(seed: int, *purpose: str | int) -> np.random.Generator:
    """A NumPy generator for one purpose."""
    return np.random.default_rng(derive_seed(seed, *purpose))


def derive_torch(seed: int, *purpose: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator on `device` for one purpose."""
    return torch.Generator(device).manual_seed(derive_seed(seed, *purpose))


def seed_global(seed: int, *purpose: str | int) -> None:
    """Seeds the global streams of Python, NumPy and torch (all devices): initial weights, dropout."""
    value = derive_seed(seed, *purpose)
    random.seed(value)
    np.random.seed(value % 2**32)
    torch.manual_seed(value)
