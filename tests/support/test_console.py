"""A command whose reader has gone (`| head`) ends without a word."""

import contextlib
import logging
import os
import subprocess
import sys
import threading

import pytest

from lilawbench.support.console import FOR_FILES, log_to_console
from lilawbench.support.reader import READER_GONE, ending_quietly

log = logging.getLogger("lilawbench")


@contextlib.contextmanager
def unread():
    """Standard output is a pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream, contextlib.redirect_stdout(stream):
        yield


def code_of(work):
    with pytest.raises(SystemExit) as ended, ending_quietly():
        work()
    return ended.value.code


def test_what_is_printed_ends_it(capsys):
    with unread():
        assert code_of(lambda: print("x" * 100_000)) == READER_GONE
        print("on the way out", flush=True)
    assert capsys.readouterr() == ("", "")


def test_what_is_left_in_the_buffer_ends_it_and_so_in_place_of_its_own_exit_code():
    with unread():
        assert code_of(lambda: print("a line") or sys.exit(1)) == READER_GONE


def test_a_message_ends_it_from_the_main_thread(capsys):
    """Also one that the terminal would not show."""
    with unread():
        log_to_console()
        beside = threading.Thread(target=log.info, args=("of a thread",))
        beside.start()
        beside.join()
        assert code_of(lambda: log.info("of the command", extra=FOR_FILES)) == READER_GONE
        log.info("on the way out")
    assert capsys.readouterr() == ("", "")


def test_another_broken_pipe_is_an_error():
    def work():
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError), ending_quietly():
        work()


@pytest.mark.slow
@pytest.mark.parametrize("more, runs", [(["train.epochs=3"], 1), (["train.epochs=60", "-m", "seed=range(0,40)"], 40)])
def test_a_real_head(tmp_path, more, runs):
    """A sweep looks once a second which runs are done, so that some may be; the others never begin."""
    command = [sys.executable, "-m", "lilawbench.train", "split.train_samples=64", *more]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (READER_GONE, "")
    assert len(list(tmp_path.rglob("result.json"))) < runs and not list(tmp_path.rglob(".owner"))


def test_what_is_for_files_alone_is_not_on_the_terminal(capsys, monkeypatch):
    for name in ("handlers", "level", "propagate"):
        monkeypatch.setattr(log, name, [] if name == "handlers" else getattr(log, name))
    log_to_console()
    log.info("stopped: interrupted", extra=FOR_FILES)
    log.info("seen")
    assert capsys.readouterr().out == "seen\n"
