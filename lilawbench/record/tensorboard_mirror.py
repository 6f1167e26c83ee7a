"""Mirror of a run for TensorBoard: event files in the run's folder, written by a process beside the training."""

import io
import json
import shutil
import time
from pathlib import Path

from lilawbench.record.mirror import ChildMirror, Ending, Fields, Say, beside, follow, need
from lilawbench.record.shown import Table, left, values_of

FOLDER = "tensorboard"
MOST_ROWS = 50  # of a table, which is text there


class TensorBoardMirror(ChildMirror):
    """Writes rows of metrics.jsonl as `step/<name>` over steps and `epoch/<name>` over epochs; in the end the values of
    result.json as `result/<name>`, pictures, and tables, tags and config as text.

    `tensorboard --logdir outputs` shows them. A resumed run writes its event file anew.

    Args:
        tags, finish_seconds: see `ChildMirror`.
    Raises:
        UserError: tensorboard is not installed. ValueError: an impossible time.
    """

    name = "tensorboard"

    def __init__(self, tags: list[str] | None = None, finish_seconds: float = 5.0):
        super().__init__({}, tags, finish_seconds)
        need("tensorboard", "tensorboard")


def mirror(job: Fields, ending: Ending, say: Say) -> None:
    """One run, from its first row to its end."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    folder = Path(job["folder"])
    place = folder / FOLDER
    shutil.rmtree(place, ignore_errors=True)
    writer = EventFileWriter(str(place))

    def write(values: list[Summary.Value], step: int) -> None:
        writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def text(tag: str, content: str) -> None:
        metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
        tensor = TensorProto(dtype=DT_STRING, string_val=[content.encode()])
        write([Summary.Value(tag=tag, metadata=metadata, tensor=tensor)], 0)

    text(
        "run", _markdown(Table(["", "value"], [[key, job.get(key)] for key in ("run", "group", "tags", "git.commit")]))
    )
    text("config", f"```\n{json.dumps(job['config'], indent=2)}\n```".replace("\n", "\n\n    ").replace("```", ""))
    step = 0
    for row in follow(folder / "metrics.jsonl", ending.heard):
        values, axes = values_of(row)
        step = axes.get("step", step)
        for tag, value in values.items():
            over = axes.get("epoch", step) if tag.startswith("epoch/") else step
            write([Summary.Value(tag=tag, simple_value=value)], over)
    found = left(folder, ending.message["summary"])
    for tag, value in found.values.items():
        if isinstance(value, int | float):
            write([Summary.Value(tag=f"result/{tag}", simple_value=value)], step)
    for tag, table in found.tables.items():
        text(f"tables/{tag}", _markdown(table))
    for tag, path in found.pictures.items():
        write([Summary.Value(tag=f"pictures/{tag}", image=_image(path, Summary.Image))], step)
    writer.close()
    if not ending.message["exit_code"]:
        say(f"to look at it: tensorboard --logdir {place}")


def _image(path: Path, make: type) -> object:
    from PIL import Image

    content = path.read_bytes()
    with Image.open(io.BytesIO(content)) as picture:
        width, height = picture.size
    return make(height=height, width=width, colorspace=4, encoded_image_string=content)


def _markdown(table: Table) -> str:
    lines = [table.columns, ["---"] * len(table.columns), *table.rows[:MOST_ROWS]]
    shown = ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines]
    if len(table.rows) > MOST_ROWS:
        shown += ["", f"the first {MOST_ROWS} of {len(table.rows)} rows"]
    return "\n".join(shown)


if __name__ == "__main__":
    beside(mirror)
