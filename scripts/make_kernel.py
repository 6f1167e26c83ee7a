"""Writes a noise kernel from the confusion matrix of a finished run, so that noise mistakes classes as its model does
(RRM, Table 9).

    python scripts/make_kernel.py outputs/default/mnist-none-mlp-ce-s0-1a2b3c4d kernel.csv
    python -m lilawbench.train dataset=mnist noise=kernel noise.kernel=kernel.csv noise.rate=0.2

Row i holds the shares of the classes that the model of the last epoch mistakes class i for: on the test set (as RRM's
279 mistakes of MNIST's 10,000 probably are) or on the training rows, against clean labels. A class without mistakes is
mistaken for all others equally. Data are read from --data-dir or LILAWBENCH_DATA, else from where the run found them.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

from lilawbench.config import build
from lilawbench.engine import checkpoint, runtime
from lilawbench.engine.scaling import scaled_for
from lilawbench.loading.streamed import rows_of
from lilawbench.pipeline import initialise_network
from lilawbench.support.atomic import check_place, replacing
from lilawbench.support.errors import DataError, UserError
from lilawbench.support.seeding import derive
from lilawbench.tasks import CLASSES


def confusion(cfg: DictConfig, weights: dict[str, torch.Tensor], split: str) -> np.ndarray:
    """[i, j] = number of rows of clean class i that the model predicts as j, [K, K] int64."""
    from sklearn.metrics import confusion_matrix

    data_dir = Path(cfg.paths.data_dir) if cfg.paths.data_dir else None
    source = scaled_for(cfg, build(cfg.dataset).source(data_dir, derive(cfg.seed, "imbalance")))
    if source.task not in CLASSES:
        raise DataError(f"dataset={cfg.dataset.name} is {source.task}; a kernel needs one class per sample")
    device = runtime.choose_device("auto")
    model = initialise_network(cfg, source).eval()
    model.load_state_dict(weights)
    model.to(device)
    input, clean = (
        (source.test_input, source.test_clean) if split == "test" else (source.train_input, source.train_clean)
    )
    scale = (source.mean, source.std, device, source.resize_px, source.interpolation)
    data = rows_of(input, torch.from_numpy(clean), *scale)
    with torch.no_grad():
        predicted = torch.cat([model(batch.input)[:, : source.num_classes].argmax(1) for batch in data.in_order()])
    return confusion_matrix(clean, predicted.cpu().numpy(), labels=np.arange(source.num_classes))


def as_kernel(counts: np.ndarray) -> np.ndarray:
    """Mistakes of each class as shares: diagonal 0, rows sum to 1; a class without mistakes has equal shares."""
    others = 1.0 - np.eye(len(counts))
    mistakes = counts * others
    mistakes = np.where(mistakes.any(axis=1, keepdims=True), mistakes, others)
    return mistakes / mistakes.sum(axis=1, keepdims=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    parser.add_argument("csv", type=Path, metavar="CSV", help="file to write")
    parser.add_argument("--split", choices=["test", "train"], default="test", help="rows to count mistakes on")
    parser.add_argument("--data-dir", default=os.environ.get("LILAWBENCH_DATA") or None, metavar="DIR")
    chosen = parser.parse_args(arguments)
    try:
        check_place(chosen.csv, "# ")
        for name in ("config.yaml", "checkpoint.pt", "result.json"):
            if not (chosen.run / name).is_file():
                raise DataError(f"{chosen.run} is not the folder of a finished run: it has no {name}")
        cfg = OmegaConf.load(chosen.run / "config.yaml")
        if chosen.data_dir:
            cfg.paths.data_dir = str(chosen.data_dir)
        counts = confusion(cfg, checkpoint.load(chosen.run / "checkpoint.pt")["model"], chosen.split)
        head = f"{counts.sum() - counts.trace()} mistakes on {counts.sum()} {chosen.split} rows by {chosen.run.name}"
        with replacing(chosen.csv) as file:
            np.savetxt(file, as_kernel(counts), delimiter=",", fmt="%.6f", header=head)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    flawless = np.flatnonzero(counts.sum(axis=1) == counts.diagonal()).tolist()
    print(f"{chosen.csv}: {head}" + (f"; none in class {', '.join(map(str, flawless))}" if flawless else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
