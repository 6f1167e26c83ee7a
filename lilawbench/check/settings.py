"""Values of the typed blocks: train, split, attack and the seed."""

from dataclasses import fields, is_dataclass

from lilawbench.augment.autoaugment import POLICIES
from lilawbench.check.machine import check_compiler, check_device, check_graphs
from lilawbench.config import Plain
from lilawbench.methods.parts.fgsm import check_attack
from lilawbench.models.finetune import TRAINED_LAYERS
from lilawbench.schema import Config
from lilawbench.support.plain import Options
from lilawbench.support.values import misfit

MOST_THREADS = 1024  # of more, the operating system or OpenMP may refuse some, and the process ends


def wrong_settings(cfg: Plain) -> tuple[list[str], bool]:
    """What is wrong with the values of the typed blocks, a line each, and whether all are of the right kinds."""
    wrong = _misfits(cfg, Config)
    if wrong:
        return wrong, False
    problems = _check_train(cfg.train) + _check_split(cfg.split) + _check_attack(cfg.attack)
    if cfg.detect.folds < 0 or cfg.detect.folds == 1:
        problems.append(f"detect.folds is {cfg.detect.folds}; it must be 0 (none) or >= 2")
    return problems + ([f"seed is {cfg.seed}; it must be >= 0"] if cfg.seed < 0 else []), True


def _misfits(block: Plain, schema: type, prefix: str = "") -> list[str]:
    """Values that are not of their fields' types, in a block and those within it."""
    problems = []
    for item in fields(schema):
        name, kind = f"{prefix}{item.name}", item.type
        if isinstance(kind, type) and is_dataclass(kind):
            problems += _misfits(block[item.name], kind, f"{name}.")
        elif prefix or kind is not Options:  # the groups' nodes are checked by their parts' signatures
            problems += [line for line in [misfit(name, block[item.name], kind)] if line]
    return problems


def _check_train(train: Plain) -> list[str]:
    problems = []

    def need(ok: bool, key: str, rule: str) -> None:
        if not ok:
            problems.append(f"train.{key} is {train[key]}; it must be {rule}")

    need(train.epochs >= 1, "epochs", ">= 1")
    need(train.batch_size >= 2, "batch_size", ">= 2")
    need(train.finetune in TRAINED_LAYERS, "finetune", "full, linear_probe or head")
    need(train.optimizer in ("adam", "adamw", "sgd"), "optimizer", "adam, adamw or sgd")
    need(train.lr > 0, "lr", "> 0")
    need(train.weight_decay >= 0, "weight_decay", ">= 0")
    need(0 <= train.momentum < 1, "momentum", "in [0, 1)")
    need(not train.nesterov or train.momentum > 0, "nesterov", "false when train.momentum is 0")
    need(
        train.schedule in ("constant", "linear", "cosine", "multistep"),
        "schedule",
        "constant, linear, cosine or multistep",
    )
    need(train.decay_from_epoch >= 0, "decay_from_epoch", ">= 0")
    if train.decay_from_epoch > 0:
        need(train.schedule == "linear", "decay_from_epoch", f"0 with train.schedule={train.schedule}: linear has it")
        need(train.decay_from_epoch < train.epochs, "decay_from_epoch", f"< train.epochs={train.epochs}")
    need(all(m >= 1 for m in train.milestones_epochs), "milestones_epochs", "a list of epochs >= 1")
    need(train.clip_grad_norm is None or train.clip_grad_norm > 0, "clip_grad_norm", "null or > 0")
    need(train.balanced_samples is None or train.balanced_samples >= 2, "balanced_samples", "null or >= 2")
    need(train.early_stop_epochs is None or train.early_stop_epochs >= 1, "early_stop_epochs", "null or >= 1")
    most = f"null or from 1 to {MOST_THREADS}"
    need(train.threads is None or 1 <= train.threads <= MOST_THREADS, "threads", most)
    need(train.log_every_steps >= 1, "log_every_steps", ">= 1")
    augment = train.augment
    if augment.crop_px < 0 or augment.rotate_degrees < 0 or not 0 <= augment.jitter < 1:
        problems.append(f"train.augment is {dict(augment)}; crop_px, rotate_degrees >= 0 and jitter in [0, 1)")
    if augment.policy not in (None, *POLICIES):
        problems.append(f"train.augment.policy is {augment.policy}; it must be null or one of {', '.join(POLICIES)}")
    need(train.strong_policy in POLICIES, "strong_policy", f"one of {', '.join(POLICIES)}")
    need(train.normalise in (None, "data", "weights"), "normalise", "null, data or weights")
    need(train.resize_px is None or train.resize_px >= 1, "resize_px", "null or >= 1")
    if train.precision == "fp16":
        problems.append("train.precision=fp16 is refused: its range makes per-sample losses overflow; use bf16 or fp32")
    else:
        need(train.precision in ("fp32", "bf16"), "precision", "fp32 or bf16")
    parts = max(1, train.batch_size // 2)  # BatchNorm cannot train on a single row
    rule = f"from 1 to {parts}, so that parts of train.batch_size={train.batch_size} have at least two rows"
    need(1 <= train.accumulate_steps <= parts, "accumulate_steps", rule)
    problems += check_device(train.device)
    problems += check_graphs(train) if train.cuda_graphs else []
    return problems + (check_compiler(train.device) if train.compile else [])


def _check_attack(attack: Plain) -> list[str]:
    problems = []
    for eps in attack.eps or [0]:
        try:
            check_attack(eps, attack.clip, attack.space)
        except ValueError as error:
            problems.append(f"attack: {error}")
    return problems


def _check_split(split: Plain) -> list[str]:
    problems = []
    if split.val_fraction is not None and not 0 <= split.val_fraction < 1:
        problems.append(f"split.val_fraction is {split.val_fraction}; it must lie in [0, 1)")
    if split.val_labels not in ("observed", "clean"):
        problems.append(f"split.val_labels is {split.val_labels}; it must be observed or clean")
    if split.train_samples is not None and split.train_samples < 2:
        problems.append(f"split.train_samples is {split.train_samples}; it must be null or >= 2")
    return problems
