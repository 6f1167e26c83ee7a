"""What the C library does with freed memory."""

import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def keep_freed_memory() -> bool:
    """Tells glibc to keep freed memory for the next step: an LSTM's step takes .7 of the time, in 8 % more memory.

    Otherwise freed blocks above 32 MiB go back to the system, and return page by page. The threshold for that must be
    above any block's size. Where glibc refuses that, nothing is changed, since the other threshold alone makes steps
    slower. Settings of the user by MALLOC_... or GLIBC_TUNABLES have priority.

    Returns:
        Whether it was set.
    """
    if any(name.startswith("MALLOC_") for name in os.environ) or "malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        libc = ctypes.CDLL(None)
        is_glibc = hasattr(libc, "gnu_get_libc_version")  # another library may have another mallopt
        return is_glibc and bool(libc.mallopt(M_MMAP_THRESHOLD, 2**31 - 1) and libc.mallopt(M_TRIM_THRESHOLD, -1))
    except (OSError, TypeError, AttributeError):
        return False
