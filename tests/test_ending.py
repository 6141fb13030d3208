"""Runs that are asked to end, or whose terminal goes away: nothing is lost, all is reported."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time

import pytest

from harness.errors import HarnessError
from harness.runs.store import open_existing
from tests.test_cli import ROOT

WORDS = ("run", "-t", "digits-mlp", "-f", "faulty:fine", "--no-twin", "--no-wait", "--seeds", "0")
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "SAMESTEP_IMPLS": str(ROOT / "tests" / "impls"),
}


@pytest.fixture
def begin():
    """Begins long runs, and ends those that did not end by themselves."""
    begun = []

    def run(folder, **given):
        command = [sys.executable, "-m", "harness", *WORDS, "--blocks", "500", "-o", str(folder)]
        begun.append(subprocess.Popen(command, env=ENVIRONMENT, **given))
        return begun[-1]

    yield run
    for it in begun:
        it.kill()
        it.communicate()


def listening():
    """In a child: a test that runs in the background ignores interrupts, and so would it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="module")
def _hangups_are_heard():
    """Under `nohup` whatever is begun here would ignore them: what is caught is not inherited."""
    before = signal.signal(signal.SIGHUP, lambda *_: None)
    yield
    signal.signal(signal.SIGHUP, before)


def loaded(folder):
    with open_existing(folder) as store:
        (name,) = store.runs()
        return store.load(name)


def trials(folder, number):
    """Wait until so many trials were begun."""
    for _ in range(600):
        time.sleep(0.1)
        with contextlib.suppress(HarnessError), open_existing(folder) as store:
            if store.runs() and len(store.load(store.runs()[0]).records) >= number:
                return
    pytest.fail("the run did not come so far")


def test_a_second_interrupt_ends_the_block_at_once(begin, tmp_path):
    run = begin(
        tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=listening,
    )
    trials(tmp_path, 2)
    for _ in range(2):
        run.send_signal(signal.SIGINT)
        time.sleep(0.1)
    told, error = run.communicate(timeout=120)
    assert (run.returncode, error) == (130, "")
    assert "Ended: interrupted" in told
    assert list(tmp_path.glob("*/report.html"))
    assert not list(tmp_path.glob("*/scratch"))
    statuses = [it.status for it in loaded(tmp_path).records]
    assert set(statuses[:-1]) == {"ok"}
    assert statuses[-1] in ("ok", "interrupted")  # it may have been between two blocks


def test_a_closed_terminal_ends_the_run_and_its_report_is_written(begin, tmp_path):
    ours, theirs = pty.openpty()

    def at_the_terminal():
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    run = begin(
        tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=at_the_terminal,
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    for wanted in (1, 2):
        trials(tmp_path, wanted)
        assert os.read(ours, 2**20)  # a picture is drawn
    os.close(ours)
    assert run.wait(timeout=120) == 130
    assert list(tmp_path.glob("*/report.html"))
    assert loaded(tmp_path).stopped_by == "interrupted"
    assert {it.status for it in loaded(tmp_path).records} == {"ok", "interrupted"}


def script(body: str, **given) -> subprocess.Popen:
    begin = "from harness.runs import interrupts\nfrom harness.cli.console import outlive_readers\n"
    return subprocess.Popen(
        [sys.executable, "-c", begin + body],
        env=ENVIRONMENT,
        preexec_fn=listening,
        text=True,
        **given,
    )


def test_whoever_prints_outlives_its_reader():
    writer = script(
        "import sys\n"
        "outlive_readers()\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
        "for number in range(10_000): print(number); print(number, file=sys.stderr)\n"
        "sys.exit(6)",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert writer.stdin
    assert writer.stdout
    assert writer.stderr
    assert writer.stdout.readline() == "ready\n"
    writer.stdout.close()
    writer.stderr.close()
    writer.stdin.close()
    assert writer.wait() == 6


def test_descriptors_that_were_closed_from_the_start_are_taken_by_nothing_else(tmp_path):
    (tmp_path / "file").write_text("kept")
    closed = script(
        "import os\n"
        "for it in range(3): os.close(it)\n"
        "outlive_readers()\n"
        f"assert os.open({str(tmp_path / 'file')!r}, os.O_RDWR) > 2\n"
        "print('into the void', flush=True)\n"
        "os._exit(7)"
    )
    assert closed.wait() == 7
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full here")
def test_a_full_disk_is_not_a_reader_that_went_away():
    with open("/dev/full", "w") as full:
        writer = script("outlive_readers(); print('lost')", stdout=full, stderr=subprocess.PIPE)
        _, error = writer.communicate()
    assert writer.returncode != 0
    assert "No space left" in error


INTERRUPTED = (
    "import signal, sys, time\n"
    "interrupts.install()\n"
    "try:\n"
    "    print('ready', flush=True); time.sleep(60)\n"
    "except KeyboardInterrupt:\n"
    "    signal.raise_signal(signal.{name}); sys.exit(130)"
)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_other_requests_interrupt_as_well_and_once_only(name):
    """The second comes while the report is written."""
    asked = script(INTERRUPTED.format(name=name), stdout=subprocess.PIPE)
    assert asked.stdout
    assert asked.stdout.readline() == "ready\n"
    asked.send_signal(getattr(signal, name))
    assert asked.wait() == 130
    asked.stdout.close()


def test_what_is_ignored_stays_ignored():
    """As `nohup` wants it."""
    asked = script(
        "import signal\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "interrupts.install()\n"
        "signal.raise_signal(signal.SIGHUP)\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "with interrupts.patient() as ending:\n"
        "    signal.raise_signal(signal.SIGINT); assert not ending()\n"
        "assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "with interrupts.patient() as ending:\n"
        "    signal.raise_signal(signal.SIGINT); assert ending()\n"
        "    try: signal.raise_signal(signal.SIGINT); raise SystemExit(1)\n"
        "    except KeyboardInterrupt: pass\n"
    )
    assert asked.wait() == 0
