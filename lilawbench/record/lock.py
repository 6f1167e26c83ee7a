"""Who writes a run: one process on one host, even where the file system locks for one host only, or not at all.

On one host the kernel's lock (flock) on `.lock` decides; it ends with its process, however that dies. Between hosts the
file `.owner` decides: it names host and process, and is touched while the owner lives. Another host leaves a run alone
if its `.owner` was touched within `FRESH_SECONDS`, and otherwise takes it over.
"""

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lilawbench.support.atomic import remove_parts, replacing, writable
from lilawbench.support.distributed import World
from lilawbench.support.errors import ConfigError, DataError, PartError, RunBusy
from lilawbench.support.plain import Tree

BEAT_SECONDS = 20.0  # network file systems cache a file's attributes for up to 60 s
FRESH_SECONDS = 120.0
SETTLE_SECONDS = 1.0  # between taking over a run and checking that no other host did so too
Owner = dict[str, Tree]  # host, pid, started
UNKNOWN: Owner = {"host": "unknown", "pid": 0, "started": 0.0}


class RunLock:
    """The lock of a run's folder; `acquire`, then `check` now and then, and `release`."""

    def __init__(self, folder: Path):
        self.folder, self.owner = folder, folder / ".owner"
        self.file: int | None = None
        self.me: Owner = {"host": socket.gethostname(), "pid": os.getpid(), "started": time.time()}
        self.released = threading.Event()

    def acquire(self) -> None:
        """Makes the folder and takes it, without waiting.

        Raises:
            RunBusy: another process has it. DiskError: the folder cannot be written.
        """
        with writable(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with writable(self.folder / ".lock"):
            file = self.file = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            local = self._flock(file)
            before = self._read()
            fresh = before is not None and self._age() < FRESH_SECONDS
            if before is not None and fresh:
                ended = before["host"] == self.me["host"] and (local or not alive(before["pid"]))
                if not ended:
                    raise self._busy(before)
            self._write(first=before is None)
            if before is not None and not fresh:
                time.sleep(SETTLE_SECONDS)
            self.check()
            remove_parts(self.folder)
        except BaseException:
            self._close()
            raise
        threading.Thread(target=self._beat, daemon=True).start()

    def check(self) -> None:
        """Raises: RunBusy, another host has taken over, since this process was suspended for too long."""
        if (owner := self._read()) != self.me:
            raise self._busy(owner) if owner else RunBusy(f"{self.owner} is gone: who has this run is unknown")

    def release(self) -> None:
        """Lets others have the run."""
        if self.file is not None:
            with suppress(OSError):  # another host then waits until the owner counts as dead
                if self._read() == self.me:
                    self.owner.unlink()
            self._close()

    def _close(self) -> None:
        self.released.set()
        if self.file is not None:
            os.close(self.file)  # this frees the kernel's lock
            self.file = None

    def _flock(self, file: int) -> bool:
        """Whether the file system has locks. Raises: RunBusy."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._busy(self._read()) from None
        except OSError:  # this file system has no locks
            return False
        return True

    def _busy(self, owner: Owner | None) -> RunBusy:
        if owner == UNKNOWN:
            return RunBusy(
                f"another process may be doing this run now: {self.owner} cannot be read. If none does, delete it, or "
                f"try again when it has been left alone for {FRESH_SECONDS:.0f} s"
            )
        who = f" ({owner['host']}, process {owner['pid']})" if owner else ""
        return RunBusy(f"another process is doing this run now{who}: {self.folder}")

    def _read(self) -> Owner | None:
        try:
            owner = json.loads(self.owner.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return UNKNOWN if self.owner.is_symlink() else None
        except (ValueError, RecursionError, OSError):  # made a moment ago, damaged, or not ours to read
            owner = None
        return owner if _is_owner(owner) else UNKNOWN

    def _write(self, first: bool) -> None:
        """Writes this process into `.owner`, as the first or over another. Raises: RunBusy, another host was first."""
        content = json.dumps(self.me).encode()
        if not first:
            with replacing(self.owner) as file:
                file.write(content)
            return
        part = self.folder / f".owner.part-{self.me['host']}-{self.me['pid']}"
        with writable(self.owner):
            try:
                part.write_bytes(content)
                os.link(part, self.owner)
            except FileExistsError:
                raise self._busy(self._read()) from None
            except OSError:  # this file system has no links
                self._make(content)
            finally:
                part.unlink(missing_ok=True)

    def _make(self, content: bytes) -> None:
        try:
            file = self.owner.open("xb", buffering=0)
        except FileExistsError:
            raise self._busy(self._read()) from None
        with file:
            try:
                file.write(content)
            except OSError:
                self.owner.unlink()
                raise

    def _age(self) -> float:
        """Seconds since the owner touched its file, by the file system's clock, since clocks of hosts differ."""
        probe = self.folder / f".now.part-{self.me['host']}-{self.me['pid']}"
        with writable(probe):
            probe.touch()
            now = probe.stat().st_mtime
            probe.unlink()
        try:
            return now - self.owner.stat().st_mtime
        except OSError:  # gone meanwhile, or a link to nothing
            return FRESH_SECONDS

    def _beat(self) -> None:
        while not self.released.wait(BEAT_SECONDS):
            try:
                if self._read() == self.me:
                    os.utime(self.owner)
            except OSError:  # left to the next beat, or to `check` after the epoch
                continue


def holder(folder: Path) -> Owner | None:
    """The process that has a run, as its `.owner` says; None: nobody has it. It neither takes the lock nor waits."""
    lock = RunLock(folder)
    owner = lock._read()
    try:
        if owner is None or time.time() - lock.owner.stat().st_mtime >= FRESH_SECONDS:
            return None
    except OSError:
        return None
    return None if owner["host"] == lock.me["host"] and not alive(owner["pid"]) else owner


def _is_owner(found: Tree) -> bool:
    kinds = {"host": str, "pid": int, "started": float}
    return (
        isinstance(found, dict)
        and found.keys() == kinds.keys()
        and all(isinstance(found[key], kind) for key, kind in kinds.items())
        and 0 < found["pid"] < 1 << 31
    )


def alive(pid: int) -> bool:
    """Whether this host has such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def locked(folder: Path, world: World) -> Iterator[RunLock]:
    """Makes the folder and locks it for this run (the main process does so for all ranks).

    What was made for a run that is refused is removed: empty folders, since the recorder has removed its own.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    lock = RunLock(folder)
    world.main_does(lock.acquire)
    try:
        yield lock
    except (ConfigError, DataError, PartError):
        lock.release()
        with suppress(OSError):  # others may have written there
            for path in made if world.is_main else ():
                if path.exists():
                    path.rmdir()
        raise
    finally:
        lock.release()
