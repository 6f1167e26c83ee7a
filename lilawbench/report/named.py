"""What a name that is neither a folder's nor an experiment's may have meant."""

import difflib
import glob
from collections.abc import Iterable
from pathlib import Path

from lilawbench.support.errors import closest


def neither(name: str, experiments: Iterable[str], root: Path) -> str:
    """Says that there is no folder or experiment of a name, and which one it may be. root: of the experiments' runs."""
    said = f"there is no folder and no experiment {name}"
    for above in ("", "*/"):
        if found := sorted(path for path in root.glob(above + glob.escape(name)) if path.is_dir()):
            return f"{said}; did you mean {' or '.join(map(str, found[:3]))}?"
    folders = {path.name: str(path) for path in (root, *root.glob("*")) if path.is_dir()}
    known = folders | {one: one for one in experiments}
    if alike := difflib.get_close_matches(name, known, n=3, cutoff=0.6):
        return f"{said}; did you mean {' or '.join(known[one] for one in alike)}?"
    return f"{said}; {closest(name, experiments)}"
