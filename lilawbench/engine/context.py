"""Makes the Context of a run: its networks, their optimiser, and its rows in the order in which they train."""

from collections.abc import Sequence
from dataclasses import asdict, is_dataclass, replace

from torch import nn

from lilawbench.augment.transforms import Augment
from lilawbench.engine.forward import autocast_in, forward_in, side_stream_in
from lilawbench.engine.optim import build_optimizer
from lilawbench.loading.batches import MetaLoader, TrainLoader
from lilawbench.loading.rows import Rows
from lilawbench.methods.context import Context, no_meta_batches
from lilawbench.methods.parts.fgsm import Pixels
from lilawbench.schema import Train
from lilawbench.support.distributed import World


def make_context(
    networks: Sequence[nn.Module],
    train: Rows,
    val: Rows | None = None,
    *,
    num_classes: int,
    options: Train | None = None,
    seed: int = 0,
    views: Sequence[str] = ("weak",),
    pixels: Pixels | None = None,
    target_range: float | None = None,
    world: World | None = None,
) -> Context:
    """The Context of a run.

    Args:
        networks: on the device of the rows. train, val: rows with observed labels; None or no row: no meta batches.
        num_classes: outputs of a network. options: the run's `train` block; None: its defaults.
        views, pixels, target_range: see `Context`.
    """
    options, world, device = options or Train(), world or World(), train.device
    given = options.augment
    weak = Augment(**(asdict(given) if is_dataclass(given) else given))
    strong = replace(weak, policy=options.strong_policy) if train.scaled else weak  # policies are of uint8 images
    return Context(
        networks=tuple(networks),
        forwards=tuple(forward_in(options, network, device) for network in networks),
        optimizer=build_optimizer([p for network in networks for p in network.parameters()], options, device),
        table=train,
        loader=TrainLoader(train, options.batch_size, seed, weak, options.balanced_samples, world, strong),
        meta=MetaLoader(val, seed) if val is not None and len(val) else no_meta_batches,
        num_classes=num_classes,
        seed=seed,
        views=tuple(views),
        pixels=pixels,
        target_range=target_range,
        clip_grad_norm=options.clip_grad_norm,
        accumulate_steps=options.accumulate_steps,
        autocast=autocast_in(options.precision, device),
        world=world,
        beside=side_stream_in(options, networks, device),
    )
