"""One run from its config to its record.

    config -> check -> source -> noise -> split -> loaders -> model, optimiser, method -> fit -> metrics -> record

train.py is the entry point, and imports this only when a run really begins: torch and what builds on it take seconds.
"""

import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from hydra.errors import InstantiationException
from omegaconf import DictConfig

from lilawbench.augment.transforms import Augment
from lilawbench.check import check
from lilawbench.config import bind, build
from lilawbench.datasets.base import Source
from lilawbench.engine import runtime
from lilawbench.engine.features import use_features
from lilawbench.engine.forward import autocast_in, forward_in, lay_out, side_stream_in
from lilawbench.engine.graphs import GraphedStep
from lilawbench.engine.loop import fit
from lilawbench.engine.optim import build_optimizer, build_schedule
from lilawbench.launch import preempt
from lilawbench.loading.batches import MetaLoader, TrainLoader
from lilawbench.loading.download import fetch
from lilawbench.loading.image_files import ImageFiles
from lilawbench.loading.resident import Resident
from lilawbench.loading.split import stratified
from lilawbench.loading.streamed import table
from lilawbench.methods.base import Context, Method
from lilawbench.methods.fgsm import Pixels
from lilawbench.models.finetune import finetune
from lilawbench.record.identity import RunRecord, write_code
from lilawbench.record.lock import RunLock
from lilawbench.record.recorder import Recorder
from lilawbench.support.distributed import World
from lilawbench.support.errors import ConfigError
from lilawbench.support.seeding import derive, derive_torch, seed_global

log = logging.getLogger("lilawbench")
VAL_AUGMENT = Augment(flip=True, rotate_degrees=15, jitter=0.2)  # LiLAW Table 12 names the kinds, not the sizes


def train(cfg: DictConfig, folder: Path, world: World) -> RunRecord:
    """Does what is left of a run that is not finished; arguments and errors as `train.run` has them.

    Args:
        folder: of the run. world: this process's.
    """
    check(cfg)
    device = runtime.choose_device(cfg.train.device)
    data_dir = Path(cfg.paths.data_dir) if cfg.paths.data_dir else None
    dataset = build(cfg.dataset)
    try:
        source = dataset.source(data_dir, derive(cfg.seed, "imbalance"))
    except ValueError as error:  # what only the data can tell
        raise ConfigError([f"dataset={cfg.dataset.name}: {error}"]) from error
    if dataset.num_classes is None:
        check(cfg, source.num_classes)
    labels = draw_labels(cfg, source)
    train, val, test = residents(cfg, source, labels, device)
    model = finetune(initialise_model(cfg, source), cfg.train.finetune).to(device)
    model = lay_out(model, cfg.train.channels_last, device)

    with locked(folder, world) as lock, Recorder(folder, cfg, source, labels, device, world) as recorder:
        world.main_does(lambda: write_code(folder, cfg))
        runtime.prepare(device, recorder.threads, cfg.train.deterministic)
        method = build(cfg.method, loss=bind(cfg.loss)).to(device)
        autocast = autocast_in(cfg.train.precision, device)
        if cfg.train.finetune == "linear_probe" and cfg.train.cache_features:
            train, val, test = use_features(cfg, source, labels, (train, val, test), model, method, autocast)
        augment = Augment(**cfg.train.augment)
        loader = TrainLoader(train, cfg.train.batch_size, cfg.seed, augment, cfg.train.balanced_samples, world)
        meta = MetaLoader(val, cfg.seed) if len(val) else None
        ctx = Context(
            model=model,
            forward=forward_in(cfg.train, model, device),
            optimizer=build_optimizer(model.parameters(), cfg.train, device),
            sweep=lambda: train.in_order(world=world),
            meta=meta,
            num_train=len(train),
            num_classes=num_outputs(cfg, source),
            device=device,
            full_batch_size=cfg.train.batch_size,
            fetch=train.batch,
            targets=train.target,
            pixels=pixels_of(source, device),
            target_range=source.target_range,
            seed=cfg.seed,
            clip_grad_norm=cfg.train.clip_grad_norm,
            accumulate_steps=cfg.train.accumulate_steps,
            autocast=autocast,
            world=world,
            beside=side_stream_in(cfg.train, model, device),
        )
        method.setup(ctx)
        warn_of_endless_warmup(method, cfg.train.epochs)
        recorder.resume(ctx, method)
        schedule, step = build_schedule(cfg.train), GraphedStep() if cfg.train.cuda_graphs else None
        epochs = fit(ctx, method, loader, meta, schedule, epochs=cfg.train.epochs, name=folder.name, step=step)
        while not recorder.stopped_early() and (epoch := next(epochs, None)) is not None:
            world.main_does(lock.check)
            recorder.measure(epoch, ctx, train, val, test)
            recorder.checkpoint(ctx, method)
            if epoch.number < cfg.train.epochs:
                preempt.check(world)
        return RunRecord(folder, "done", recorder.finish(ctx))


def draw_labels(cfg: DictConfig, source: Source) -> dict[str, np.ndarray]:
    """Observed and clean labels of all labelled rows (training, then official validation), and the rows of either part.

    Where the data set has copies of training rows, `train` ends with the rows in `copied`, which it names twice.
    Depends on the seed, the noise and the split, never on the method. Where nobody knows the clean labels there are
    none, unless noise is added: then the labels as given count as clean.
    """
    clean = source.labelled_clean
    given = clean if source.train_observed is None else source.train_observed
    noise = bind(cfg.noise)
    offered = {"inputs": partial(stored_inputs, source), "fetch": partial(fetch, data_dir=cfg.paths.data_dir or None)}
    wanted = {name: value for name, value in offered.items() if name in inspect.signature(noise).parameters}
    try:
        observed = noise(given, source.num_classes, generator=derive(cfg.seed, "noise"), **wanted)
    except ValueError as error:  # what only the data can tell
        raise ConfigError([f"noise={cfg.noise.name}: {error}"]) from error
    clean_known = source.clean_known or cfg.noise.name != "none"
    if source.val_clean is None:
        train, val = stratified(observed, cfg.split.val_fraction, derive(cfg.seed, "split"))
    else:
        train, val = np.split(np.arange(len(clean)), [len(source.train_clean)])
        if cfg.split.val_fraction is not None:
            log.warning("split.val_fraction=%s is not used: dataset=%s has its own %d validation rows",
                        cfg.split.val_fraction, cfg.dataset.name, len(val))  # fmt: skip
    if cfg.split.train_samples is not None and cfg.split.train_samples < len(train):
        share = cfg.split.train_samples / len(train)
        train = train[stratified(observed[train], share, derive(cfg.seed, "subset"))[1]]
    if cfg.split.val_fraction and not len(val):
        raise ConfigError([f"split.val_fraction={cfg.split.val_fraction} of {len(clean)} rows leaves none to validate"])
    if cfg.split.val_labels == "clean":
        if not clean_known:
            raise ConfigError([f"split.val_labels=clean: the clean labels of dataset={cfg.dataset.name} are not known"])
        observed[val] = clean[val]
    labels = {"observed": observed, **({"clean": clean} if clean_known else {}), "train": train, "val": val}
    if source.copy is None:
        return labels
    copied = np.sort(derive(cfg.seed, "copied").permutation(train)[: len(train) // 2])
    return {**labels, "train": np.concatenate([train, copied]), "copied": copied}


def stored_inputs(source: Source, rows: np.ndarray) -> torch.Tensor:
    """Of some labelled rows, sorted; images are read from their files."""
    inputs = source.labelled_input(rows)
    return inputs.load() if isinstance(inputs, ImageFiles) else inputs


def residents(
    cfg: DictConfig, source: Source, labels: dict[str, np.ndarray], device: torch.device
) -> tuple[Resident, Resident, Resident]:
    """The three splits on the device, with the labels that may be seen there: observed, observed, clean."""
    augment = Augment(**cfg.train.augment)
    if (augment or cfg.split.val_augment or cfg.train.resize_px) and not source.is_image:
        wanting = "train.augment, train.resize_px and split.val_augment want images"
        raise ConfigError([f"{wanting}; dataset={cfg.dataset.name} has none"])

    if cfg.attack.space == "unit" and pixels_of(source, device) is None:
        raise ConfigError([f"attack.space=unit wants images; dataset={cfg.dataset.name} has none"])

    def resident(input: torch.Tensor | ImageFiles, target: np.ndarray) -> Resident:
        return table(input, torch.from_numpy(target), source.mean, source.std, device, cfg.train.resize_px)

    if "copied" in labels:
        kept, copied = (source.labelled_input(rows) for rows in (np.unique(labels["train"]), labels["copied"]))
        inputs = torch.cat([kept, source.copy(copied, derive(cfg.seed, "copies"))])
    else:
        inputs = source.labelled_input(labels["train"])
    train = resident(inputs, labels["observed"][labels["train"]])
    val = resident(source.labelled_input(labels["val"]), labels["observed"][labels["val"]])
    if cfg.split.val_augment:
        val = val.augmented(VAL_AUGMENT, derive_torch(cfg.seed, "val_augment"))
    return train, val.normalised() if len(val) else val, resident(source.test_input, source.test_clean)


def pixels_of(source: Source, device: torch.device) -> Pixels | None:
    """How the data set's images enter a network; None if it has none."""
    if not source.is_image or source.mean is None:
        return None
    return Pixels(*(torch.tensor(values, device=device).view(-1, 1, 1) for values in (source.mean, source.std)))


def initialise_model(cfg: DictConfig, source: Source) -> torch.nn.Module:
    """The network with initial weights that depend on the seed and the model's options alone."""
    seed_global(cfg.seed, "init")
    shape, side = source.input_shape, cfg.train.resize_px
    shape = shape if side is None else (shape[0], side, side)
    try:
        return build(cfg.model, num_classes=num_outputs(cfg, source), input_shape=shape)
    except InstantiationException as error:
        raise ConfigError([f"model={cfg.model.name} on dataset={cfg.dataset.name}: {error.__cause__}"]) from error


def num_outputs(cfg: DictConfig, source: Source) -> int:
    """model.num_classes, or as many as the data set has."""
    asked = cfg.model.get("num_classes")
    return source.num_classes if asked is None else asked


def warn_of_endless_warmup(method: Method, epochs: int) -> None:
    """Says when a method or its loss would only begin its own work after the last epoch."""
    for group, part in (("method", method), ("loss", method.per_sample)):
        warmup = getattr(part, "warmup_epochs", 0)
        if warmup >= epochs:
            log.warning("%s.warmup_epochs is %d and train.epochs %d: all of this run is warm-up", group, warmup, epochs)


@contextmanager
def locked(folder: Path, world: World) -> Iterator[RunLock]:
    """Makes the folder and holds it for this process (the main one speaks for all); the lock ends with the process."""
    lock = RunLock(folder)
    world.main_does(lock.acquire)
    try:
        yield lock
    finally:
        lock.release()
