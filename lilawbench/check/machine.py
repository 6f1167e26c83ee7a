"""What a config asks of the machine: its device, and what torch.compile and CUDA graphs need."""

import importlib.util
import os
import shutil
import sys
import sysconfig
from pathlib import Path

import torch

from lilawbench.config import Plain


def check_device(name: str) -> list[str]:
    if name in ("auto", "cpu"):
        return []
    kind, _, number = name.partition(":")
    if kind != "cuda" or (number and not number.isdigit()):
        return [f"train.device is {name}; it must be auto, cpu, cuda or cuda:N"]
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(number or 0) >= count:
        return [f"train.device={name} is not there ({count} CUDA device(s) here): use train.device=cpu or auto"]
    return []


def check_compiler(device: str) -> list[str]:
    """What torch.compile needs on the machine: Triton for CUDA; for the CPU a C++ compiler and Python's headers."""
    off = "install it, or use train.compile=false"
    if device != "cpu" and torch.cuda.is_available():
        return [] if importlib.util.find_spec("triton") else [f"train.compile=true needs Triton on CUDA: {off}"]
    name = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(name) is None:
        return [f"train.compile=true needs a C++ compiler, and there is no {name}: {off} (CXX names another)"]
    header = Path(sysconfig.get_path("include"), "Python.h")
    return [] if header.exists() else [f"train.compile=true needs Python's headers, and there is no {header}: {off}"]


def check_graphs(train: Plain) -> list[str]:
    problems = []
    if train.device == "cpu" or not torch.cuda.is_available():
        problems.append(f"train.cuda_graphs=true needs a CUDA device; train.device={train.device} is not one here")
    if train.compile:
        problems.append("train.cuda_graphs and train.compile do not go together: one of them must be false")
    if (processes := int(os.environ.get("WORLD_SIZE", 1))) > 1:
        problems.append(f"train.cuda_graphs=true does not work under torchrun: {processes} processes share each step")
    return problems
