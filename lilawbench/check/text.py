"""What texts cannot have done to them: their inputs are numbers of words, which no amount changes a little."""

import inspect
from collections.abc import Callable

from lilawbench.check.fitting import choices
from lilawbench.config import Plain
from lilawbench.methods.base import Method
from lilawbench.models.inputs import reads_text
from lilawbench.support.locate import locate


def misfits_of_text(cfg: Plain, is_text: bool, method: Method | None, noise: Callable[..., object] | None) -> list[str]:
    """What of a config does not go with texts; of other data, a model that only reads texts.

    Args:
        is_text: whether the data are texts. method, noise: None: it was refused.
    """
    model, data = cfg.model.get("name"), f"dataset={cfg.dataset.name}"
    takes_text = reads_text(locate(cfg.model["_target_"]))
    if not is_text:
        return [f"model={model} reads texts; {data} has none"] if takes_text else []
    problems = [] if takes_text else [f"model={model} takes numbers and {data} has texts (fitting: {_fitting()})"]
    if cfg.train.finetune != "full" and getattr(locate(cfg.model["_target_"]), "trains_parts", False):
        problems.append(f"model={model} has parts of its own that train: train.finetune must be full")
    images = ("train.resize_px", "split.val_augment", *(f"train.augment.{key}" for key in cfg.train.augment))
    for option in images:
        group, *keys = option.split(".")
        value = cfg[group][keys[0]] if len(keys) == 1 else cfg[group][keys[0]][keys[1]]
        if value:
            problems.append(f"{option} is {value}, for images; {data} has texts")
    if cfg.attack.eps:
        problems.append(f"attack.eps is {cfg.attack.eps}; a text has no inputs that such a step could move")
    if method is not None:
        named = f"method={cfg.method.name}"
        if method.perturbs_inputs:
            problems.append(f"{named} attacks or mixes inputs; {data} has texts, which cannot be mixed")
        elif "strong" in method.views:
            problems.append(f"{named} learns from strong views, of images; {data} has texts")
        elif method.compares_inputs and (cfg.train.finetune == "full" or not cfg.train.cache_features):
            rule = "it can compare the features of a frozen network, train.finetune=linear_probe"
            problems.append(f"{named} compares inputs; {data} has texts: {rule}")
    if noise is not None and "inputs" in inspect.signature(noise).parameters:
        problems.append(f"noise={cfg.noise.name} follows the numbers of the inputs; {data} has texts")
    return problems


def _fitting() -> str:
    """The models that read texts."""
    found = []
    for name, target in choices("model"):
        try:
            found += [name] if reads_text(locate(target)) else []
        except ImportError:  # of the user's, and not chosen
            continue
    return ", ".join(found)
