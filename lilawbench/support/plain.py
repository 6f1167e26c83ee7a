"""Types of plain values, as configs and JSON files hold them."""

from typing import Any

Tree = Any  # a number, text, None, or lists and dicts of such: what stands where is only known key by key
State = dict[str, Any]  # a state_dict: tensors and plain values by name, for a checkpoint
Options = dict[str, Any]  # of one part of a run, such as {"rate": 0.4}; a Mapping is more than OmegaConf accepts
