"""Plain values, as configs and JSON files hold them: their types, and a config of them."""

from typing import Any

Tree = Any  # a number, text, None, or lists and dicts of such: what stands where is only known key by key
State = dict[str, Any]  # a state_dict: tensors and plain values by name, for a checkpoint
Options = dict[str, Any]  # of one part of a run, such as {"rate": 0.4}; a Mapping is more than OmegaConf accepts


class Plain(dict):
    """A resolved config of plain values, read like Hydra's: `cfg.train.lr`, `cfg["train"]`. Quick to make."""

    def __getattr__(self, key: str) -> Tree:
        try:
            return self[key]
        except KeyError:
            raise AttributeError(key) from None


def to_plain(tree: Tree) -> Tree:
    """Replaces every dict in a tree by a Plain."""
    if isinstance(tree, dict):
        return Plain({key: to_plain(value) for key, value in tree.items()})
    return [to_plain(value) for value in tree] if isinstance(tree, list) else tree


def to_dict(tree: Tree) -> Tree:
    """Replaces every Plain in a tree by a dict, which alone OmegaConf accepts."""
    if isinstance(tree, dict):
        return {key: to_dict(value) for key, value in tree.items()}
    return [to_dict(value) for value in tree] if isinstance(tree, list) else tree
