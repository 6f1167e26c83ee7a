"""One run from its config to its record.

    config -> check -> source -> labels (noise, split) -> splits -> networks, method, probes -> fit -> record

train.py is the entry point, and imports this only when a run really begins: importing torch takes seconds.
"""

import inspect
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
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
from lilawbench.engine.context import make_context
from lilawbench.engine.features import Features, take_features, use_features
from lilawbench.engine.folds import Learner, divided, out_of_sample
from lilawbench.engine.forward import lay_out
from lilawbench.engine.graphs import GraphedStep
from lilawbench.engine.loop import Epoch, fit
from lilawbench.engine.optim import build_schedule
from lilawbench.engine.scaling import pixels_of, scaled_for
from lilawbench.launch import preempt
from lilawbench.loading.download import fetch
from lilawbench.loading.image_files import ImageFiles, loaded
from lilawbench.loading.rows import Rows, Splits
from lilawbench.loading.streamed import rows_of
from lilawbench.methods.base import Method
from lilawbench.methods.context import Context
from lilawbench.models.cosine import fit_head
from lilawbench.models.finetune import finetune, share_frozen
from lilawbench.models.inputs import inputs_for
from lilawbench.noise.labels import Labels
from lilawbench.noise.labels import draw_labels as labels_of
from lilawbench.probes.base import Scene
from lilawbench.probes.gather import ended, measured
from lilawbench.probes.standard import probes_of, stopped, stopping
from lilawbench.record.data import check_unchanged
from lilawbench.record.identity import RunRecord, write_outside
from lilawbench.record.lock import locked
from lilawbench.record.recorder import Recorder
from lilawbench.support.console import current
from lilawbench.support.distributed import World
from lilawbench.support.errors import ConfigError
from lilawbench.support.plain import Options, Tree
from lilawbench.support.seeding import derive, derive_seed, derive_torch, seed_global
from lilawbench.tasks import TASKS

log = logging.getLogger("lilawbench")
VAL_AUGMENT = Augment(flip=True, rotate_degrees=15, jitter=0.2)  # LiLAW Table 12 names the kinds, not the sizes


def train(cfg: DictConfig, folder: Path, world: World) -> RunRecord:
    """Does a run, or what is left of it.

    Args:
        cfg: the composed root config. folder: of the run. world: this process's.
    Returns:
        The record; its status is "done".
    Raises:
        As `train.run`.
    """
    check(cfg)
    device = runtime.choose_device(cfg.train.device)
    data_dir = Path(cfg.paths.data_dir) if cfg.paths.data_dir else None
    dataset = build(cfg.dataset)
    try:
        source = scaled_for(cfg, dataset.source(data_dir, derive(cfg.seed, "imbalance")))
    except ValueError as error:  # what only the data can tell
        raise ConfigError([f"dataset={cfg.dataset.name}: {error}"]) from error
    if dataset.num_classes is None:
        check(cfg, source.num_classes, source.official_val)
    labels = draw_labels(cfg, source)
    check_unchanged(cfg)
    train, val, test = splits_of(cfg, source, labels, device)
    method = build(cfg.method, loss=bind(cfg.loss)).to(device)
    if "strong" in method.views and not train.scaled:
        given = f"dataset={cfg.dataset.name} has no images"
        log.info("method=%s: %s, so that the strong view of a row is its weak one", cfg.method.name, given)
    networks = initialise_networks(cfg, source, method, device)
    probes = probes_of(cfg, source)
    folds, option = (method.folds, "method.folds") if method.folds else (cfg.detect.folds, "detect.folds")
    parts = parts_of(cfg, source, labels, folds, option) if folds else []

    arrays, task = labels.arrays() | whole_source(source, labels), TASKS[source.task]
    with locked(folder, world) as lock, Recorder(folder, cfg, arrays, task, device, world) as recorder:
        world.main_does(lambda: write_outside(folder, cfg))
        runtime.prepare(device, recorder.threads, cfg.train.deterministic)
        if cfg.train.finetune != "full" and cfg.train.cache_features:
            train, val, test = use_features(cfg, source, labels, (train, val, test), networks, method)
        ctx = context_of(cfg, source, networks, method, train, val, world, cfg.seed)
        scene = Scene(source, labels, train, val, test, method, cfg.seed, cfg.train.epochs, ctx.networks)
        for probe in probes.values():
            probe.setup(scene)
        method.setup(ctx)
        for reason in method.never_acts(cfg.train.epochs, len(ctx.loader)):
            log.warning("method=%s loss=%s: %s", cfg.method.name, cfg.loss.name, reason)
        recorder.resume(ctx, method, probes, scene)
        if parts:

            def fold_saved() -> None:
                world.main_does(lock.check)
                preempt.check(world)

            made = learners(cfg, scene, world)
            probs = out_of_sample(folder, train, parts, made, cfg.train, fold_saved, world, option)
            for probe in probes.values():
                probe.take_out_of_sample(probs)
            if method.folds:
                method.take_out_of_sample(ctx, probs)
        schedule, step = build_schedule(cfg.train), GraphedStep() if cfg.train.cuda_graphs else None
        epochs = fit(ctx, method, schedule, epochs=cfg.train.epochs, name=current(folder.name), step=step)
        while not world.agree(stopped(probes.values())) and (epoch := next(epochs, None)) is not None:
            world.main_does(lock.check)
            recorder.write(*measured(ctx, epoch, scene, probes))
            recorder.checkpoint(ctx, method, probes)
            if epoch.number < cfg.train.epochs:
                preempt.check(world)
        ended(ctx, scene, probes)
        return RunRecord(folder, "done", recorder.finish(ctx, probes))


def context_of(
    cfg: DictConfig,
    source: Source,
    networks: Sequence[torch.nn.Module],
    method: Method,
    train: Rows,
    val: Rows,
    world: World,
    seed: int,
) -> Context:
    """What a method works with; the seed is that of the order and the views of the rows."""
    return make_context(
        networks,
        train,
        val,
        num_classes=num_outputs(cfg, source),
        options=cfg.train,
        seed=seed,
        views=method.views,
        pixels=pixels_of(source, train.device),
        target_range=source.target_range,
        world=world,
    )


def parts_of(cfg: DictConfig, source: Source, labels: Labels, folds: int, option: str) -> list[np.ndarray]:
    """The folds of the training rows, as many as an option says. Raises: ConfigError, a class is too small for it."""
    rows = labels.train
    return divided(rows, labels.observed[rows], source.class_names, folds, cfg.seed, option)


def learners(cfg: DictConfig, scene: Scene, world: World) -> Callable[[int, Rows], Learner]:
    """What trains the folds as the run itself trains, but for the rows: number of a fold, rows -> its `Learner`.

    First weights, method, loss, schedule, validation rows and early stop are the run's; the order of the rows is not.
    """
    source, device = scene.source, scene.train.device

    def made(number: int, rows: Rows) -> Learner:
        method = build(cfg.method, loss=bind(cfg.loss)).to(device)
        networks = initialise_networks(cfg, source, method, device)
        if isinstance(rows, Features):
            take_features(networks)
        ctx = context_of(cfg, source, networks, method, rows, scene.val, world, derive_seed(cfg.seed, "fold", number))
        method.setup(ctx)
        probes = stopping(cfg, inner := replace(scene, train=rows, method=method, networks=ctx.networks))

        def ends(epoch: Epoch) -> bool:
            measured(ctx, epoch, inner, probes)
            return world.agree(stopped(probes.values()))

        return Learner(ctx, method, ends, GraphedStep() if cfg.train.cuda_graphs else None)

    return made


def draw_labels(cfg: DictConfig, source: Source) -> Labels:
    """`noise.labels.draw_labels` for a config. Raises: ConfigError, the noise does not fit these data."""
    noise = bind(cfg.noise)
    offered: Options = {"class_names": source.class_names, "inputs": partial(stored_inputs, source)}
    offered |= {"ids": source.labelled_ids, "drawn_test": source.drawn_test}
    offered["fetch"] = partial(fetch, data_dir=cfg.paths.data_dir or None)
    wanted = {name: value for name, value in offered.items() if name in inspect.signature(noise).parameters}

    def noisy(*given: Tree, **options: Tree) -> np.ndarray:
        try:
            return noise(*given, **options, **wanted)
        except ValueError as error:  # what only the data can tell
            raise ConfigError([f"noise={cfg.noise.name}: {error}"]) from error

    adds_noise = cfg.noise.name != "none" and not getattr(noise, "corrects", False)
    return labels_of(source, noisy, adds_noise, cfg.split, cfg.seed, cfg.dataset.name)


def whole_source(source: Source, labels: Labels) -> dict[str, np.ndarray]:
    """What leads from a run's labels back to the data set, for labels.npz.

    Returns:
        `ids`, `test_ids`: see `row_ids`. Of every labelled row [N], those that a run leaves out too: `given`, its label
        before any noise, and `split`: train, val or left out. Of the test rows [M]: `test_target`. `class_names` [K].
    """
    split = np.full(source.num_labelled, "left out")
    split[labels.train], split[labels.val] = "train", "val"
    names = np.array(list(map(str, source.class_names)))
    told = {"given": source.labelled_given, "split": split, "test_target": source.test_clean, "class_names": names}
    return row_ids(source) | told


def row_ids(source: Source) -> dict[str, np.ndarray]:
    """What a person calls the rows, where the data set says it: `ids` of the labelled rows [N] str, `test_ids` [M]."""
    found = {"ids": source.labelled_ids, "test_ids": source.test_ids}
    return {name: ids.astype(str) for name, ids in found.items() if ids is not None}


def stored_inputs(source: Source, rows: np.ndarray) -> torch.Tensor:
    """Inputs of some labelled rows [n], sorted; images are read from their files."""
    return loaded(source.labelled_input(rows))


def splits_of(cfg: DictConfig, source: Source, labels: Labels, device: torch.device) -> Splits:
    """The three splits on the device, with labels observed, observed and clean.

    Raises:
        ConfigError: options that need images, with other data.
    """
    augment = Augment(**cfg.train.augment)
    if (augment or cfg.split.val_augment or cfg.train.resize_px) and not source.is_image:
        wanting = "train.augment, train.resize_px and split.val_augment need images"
        raise ConfigError([f"{wanting}; dataset={cfg.dataset.name} has none"])

    side = min(source.input_shape[-2:]) if source.is_image else None
    if side is not None and augment.crop_px >= side:
        rule = f"images of dataset={cfg.dataset.name} are {side} px high or wide, so it must be less"
        raise ConfigError([f"train.augment.crop_px is {augment.crop_px}; {rule}"])
    if cfg.attack.space == "unit" and pixels_of(source, device) is None:
        raise ConfigError([f"attack.space=unit needs images; dataset={cfg.dataset.name} has none"])

    def made(input: torch.Tensor | ImageFiles, target: np.ndarray) -> Rows:
        scale = (source.mean, source.std, device, source.resize_px, source.interpolation)
        return rows_of(input, torch.from_numpy(target), *scale)

    if labels.copied is not None and source.copy is not None:
        kept, copied = (stored_inputs(source, rows) for rows in (np.unique(labels.train), labels.copied))
        train = made(torch.cat([kept, source.copy(copied, derive(cfg.seed, "copies"))]), labels.observed[labels.train])
    else:
        train = made(source.labelled_input(labels.train), labels.observed[labels.train])
    val = made(source.labelled_input(labels.val), labels.observed[labels.val])
    if cfg.split.val_augment:
        val = val.augmented(VAL_AUGMENT, derive_torch(cfg.seed, "val_augment"))
    return train, val.normalised() if len(val) else val, made(source.test_input, source.test_clean)


def initialise_network(cfg: DictConfig, source: Source, number: int = 0) -> torch.nn.Module:
    """A network of the run. Its initial weights depend only on the seed, its number and the model's options.

    Raises:
        ConfigError: the model does not fit these data.
    """
    seed_global(cfg.seed, "init", *([number] if number else []))
    try:
        inputs = inputs_for(cfg.model, source.network_shape, source.vocabulary)
        network = build(cfg.model, num_classes=num_outputs(cfg, source), **inputs)
    except InstantiationException as error:
        raise ConfigError([f"model={cfg.model.name} on dataset={cfg.dataset.name}: {error.__cause__}"]) from error
    try:
        network = fit_head(network, bind(cfg.loss))
    except ValueError as error:
        raise ConfigError([f"model={cfg.model.name} with loss={cfg.loss.name}: {error}"]) from error
    return finetune(network, cfg.train.finetune)


def initialise_networks(cfg: DictConfig, source: Source, method: Method, device: torch.device) -> list[torch.nn.Module]:
    """As many networks as the method trains, of one frozen part, on the device in its layout. Raises: ConfigError."""
    networks = [initialise_network(cfg, source, number).to(device) for number in range(method.networks)]
    return [lay_out(network, cfg.train.channels_last, device) for network in share_frozen(networks)]


def num_outputs(cfg: DictConfig, source: Source) -> int:
    """model.num_classes, or as many as the data set has."""
    asked = cfg.model.get("num_classes")
    return source.num_classes if asked is None else asked
