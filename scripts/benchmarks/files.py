"""The cost of images in files: a list as long as Clothing1M's, and decoding."""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.scenes import Setup
from benchmarks.timing import interleaved, ratio
from lilawbench.datasets.clothing1m import Clothing1M
from lilawbench.loading.image_files import ImageFiles, default_threads
from lilawbench.loading.streamed import Streamed

LINES, FOLDERS = 1_000_000, 100
PICTURES, BATCH = 256, 32


def bench_files(setup: Setup) -> None:
    """Reads the list in a separate process, to measure its memory."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _write_clothing1m(root)
        read = [sys.executable, "-c", f"from benchmarks.files import load; load({folder!r})"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
        printed = subprocess.run(read, check=True, capture_output=True, text=True, env=environment).stdout.split()
        start, seconds, processor, before, peak = map(float, printed)
        print("| Clothing1M's 1,000,000 lines | measured | at most |\n|---|---|---|")
        print(f"| process start to lists read and checked, seconds | {start:.1f} | 20 |")
        print(f"| of it reading and checking, seconds (of a processor's time) | {seconds:.1f} ({processor:.1f}) | |")
        print(f"| peak memory, MB (imports alone: {before:.0f}) | {peak:.0f} | 1000 |\n")
        _decode(root / "pictures", setup)


def load(folder: str) -> None:
    """Prints seconds since the process started, wall and processor seconds of the load, MB before and at the peak."""
    before, start, processor = _peak_megabytes(), time.perf_counter(), time.process_time()
    source = Clothing1M(path=folder).load(None)
    assert len(source.train_clean) == LINES
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    print(time.time() - _process_start(), seconds, processor, before, _peak_megabytes())


def _decode(folder: Path, setup: Setup) -> None:
    """Decodes 256 JPEGs of 400 x 500 pixels to 224: in a plain loop, and by threads that read ahead."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    for i in range(PICTURES):
        coarse = Image.fromarray(draw.integers(0, 256, (50, 40, 3), dtype=np.uint8))
        coarse.resize((400, 500), Image.Resampling.BICUBIC).save(folder / f"{i}.jpg", quality=90)
    names = np.array([f"{i}.jpg" for i in range(PICTURES)], dtype=np.bytes_)
    target = torch.zeros(PICTURES, dtype=torch.int64)

    def loop() -> None:
        from torchvision.transforms import functional as F

        for name in names.tolist():
            with Image.open(folder / name.decode()) as image:
                F.pil_to_tensor(F.center_crop(F.resize(image.convert("RGB"), 256), [224, 224]))

    def threads(count: int) -> None:
        data = Streamed(ImageFiles(folder, names, 224, 256, threads=count), target)
        for _ in data.in_order(BATCH):
            pass

    counts = sorted({1, 2, default_threads()})
    candidates = {"a plain loop": loop, **{f"{n} thread(s)": lambda n=n: threads(n) for n in counts}}
    busy: dict[str, list[float]] = {name: [] for name in candidates}

    def on_processors(name: str) -> None:
        start, before = time.perf_counter(), time.process_time()
        candidates[name]()
        busy[name].append((time.process_time() - before) / (time.perf_counter() - start))

    rounds = max(3, setup.rounds // 3)
    times = interleaved({n: lambda n=n: on_processors(n) for n in candidates}, rounds, 1, torch.device("cpu"))
    print("| decoding to 224 px | images per second | times the loop | processors busy |\n|---|---|---|---|")
    for name, seconds in times.items():
        speed, gain = PICTURES / statistics.median(seconds), ratio(times["a plain loop"], seconds)
        print(f"| {name} | {speed:,.0f} | {gain:.2f} | {statistics.median(busy[name]):.2f} |")


def _write_clothing1m(root: Path) -> None:
    """Writes Clothing1M's lists, and a hundred links to one folder of 10,000 empty files, since nothing is decoded."""
    (root / "real").mkdir()
    for i in range(LINES // FOLDERS):
        (root / "real" / f"{i:06d},{4 * i:09d}.jpg").touch()
    files, keys = sorted(os.listdir(root / "real")), []
    for number in range(FOLDERS):
        folder = root / "images" / str(number // 10) / str(number % 10)
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.symlink_to(root / "real", target_is_directory=True)
        keys += [f"images/{number // 10}/{number % 10}/{file}" for file in files]
    kept = {"noisy_train": keys, "clean_val": keys[:14313], "clean_test": keys[-10526:]}
    for name, part in kept.items():
        (root / f"{name}_key_list.txt").write_text("\n".join(part))
    for name, part in {"noisy": keys, "clean": keys[:14313] + keys[-10526:]}.items():
        (root / f"{name}_label_kv.txt").write_text("\n".join(f"{key} {i % 14}" for i, key in enumerate(part)))


def _peak_megabytes() -> float:
    """Peak MB of this process (Linux); getrusage includes the peak of the process that started it."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def _process_start() -> float:
    """When this process started, in seconds since the epoch (Linux)."""
    ticks = float(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
    up = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - (up - ticks / os.sysconf("SC_CLK_TCK"))
