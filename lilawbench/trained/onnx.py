"""A run's network as an ONNX file, which other programs run without torch."""

import importlib.util
from pathlib import Path

import torch
from torch import nn

from lilawbench.support.atomic import replacing
from lilawbench.support.errors import DataError
from lilawbench.trained.prepared import Prepared

NEEDED = ("onnx", "onnxscript")


def export(network: nn.Module, prepared: Prepared, path: Path) -> None:
    """Writes input [N, ...], as `prepared` makes them -> logits [N, K], for any N.

    Raises:
        DataError: the packages that torch needs for it are not installed, or it cannot export the network. DiskError.
    """
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise DataError(f"ONNX needs the packages {' and '.join(missing)}: pip install lilawbench[onnx]")
    kind = torch.float32 if prepared.reader.vocabulary is None else torch.int64
    example = torch.zeros(2, *prepared.network_shape, dtype=kind)
    batch = torch.export.Dim("batch")
    names = {"input_names": ["input"], "output_names": ["logits"]}
    try:
        program = torch.onnx.export(
            network.cpu(), (example,), dynamic_shapes=({0: batch},), dynamo=True, verbose=False, **names
        )
    except Exception as error:  # of any step of torch's exporter
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"torch cannot export this network as ONNX: {said}") from error
    with replacing(path) as file:
        file.write(program.model_proto.SerializeToString())
