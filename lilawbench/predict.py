"""Predicts new rows by a finished run: `python -m lilawbench.predict RUN --data NEW.csv|FOLDER|FILE.npz --out FILE`.

The rows are read, scaled and encoded as the run read its own. Nothing is written if anything is wrong.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from lilawbench.support.atomic import check_place, write_atomic
from lilawbench.support.console import log_to_console
from lilawbench.support.errors import ConfigError, UserError
from lilawbench.support.reader import ending_quietly

log = logging.getLogger("lilawbench")


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the predictions. Returns the exit code: 0; 2, the run or the rows are at fault; 1, the disk is."""
    parser = argparse.ArgumentParser(prog="python -m lilawbench.predict", description=__doc__.splitlines()[0])
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    parser.add_argument("--data", metavar="PATH", help="rows to predict: a table, a folder of images, an .npz file")
    parser.add_argument("--out", metavar="FILE", default="predictions.csv", help="default: predictions.csv")
    parser.add_argument("--rule", choices=("best_val", "last"), help="whose epoch; default: best_val if there is one")
    parser.add_argument("--calibrated", action="store_true", help="probabilities by the temperature of the run")
    parser.add_argument("--no-labels", action="store_true", help="leave labels in the data alone")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N; default: auto")
    parser.add_argument("--export", metavar="FILE", help="write the network as an .onnx file, too, or alone")
    parser.add_argument("--config-dir", metavar="DIR", help="your own folder of YAML files, as for the run")
    options = parser.parse_args(arguments)
    if options.data is None and options.export is None:
        parser.error("give --data, --export or both")
    log_to_console()
    try:
        _do(options)
    except UserError as error:
        print(f"lilawbench: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _do(options: argparse.Namespace) -> None:
    from lilawbench.trained.model import load_model
    from lilawbench.trained.onnx import export
    from lilawbench.trained.predicting import START, predict

    out = Path(options.out)
    if options.data is not None:
        check_place(out, START)
    if options.export is not None:
        if not options.export.endswith(".onnx"):
            raise ConfigError([f"--export {options.export} must end in .onnx"])
        check_place(Path(options.export), "")
    if options.data is not None:
        found = predict(
            options.run, options.data, options.rule, calibrated=options.calibrated, labels=not options.no_labels,
            device=options.device, config_dir=options.config_dir,
        )  # fmt: skip
    if options.export is not None:
        export(*load_model(options.run, options.rule, options.config_dir), Path(options.export))
        log.info("network: %s", options.export)
    if options.data is not None:
        write_atomic(out, found.csv())
        log.info("%s: %s", found.told(), out)


if __name__ == "__main__":
    with ending_quietly():
        sys.exit(main())
