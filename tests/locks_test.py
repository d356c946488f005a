"""Locks between processes: exclusive, freed by death, leaving nothing behind."""

import signal
import subprocess
import sys
import threading
import time

import pytest

from tfrec import locks

HOLD = (
    "import sys, time\n"
    "from tfrec import locks\n"
    "with locks.held(sys.argv[1], ''):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(60)\n"
)


@pytest.fixture
def holder(tmp_path):
    """A process that holds `lock`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_another_process_is_refused_until_the_holder_is_killed(holder, tmp_path):
    with pytest.raises(ValueError, match="at work"), locks.held(tmp_path / "lock", "at work"):
        raise AssertionError("two hold it")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with locks.held(tmp_path / "lock", "at work"):
        assert (tmp_path / "lock").exists()
    assert not list(tmp_path.iterdir())


def test_waiting_ends_when_the_lock_is_free(tmp_path):
    inside, order = threading.Event(), []

    def first():
        with locks.held(tmp_path / "lock", "busy"):
            inside.set()
            time.sleep(0.5)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait()
    with locks.held(tmp_path / "lock", "busy", wait=30):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def test_many_at_once_are_never_two_inside(tmp_path):
    """The file is removed at each end: a process must not lock a file that no longer exists."""
    inside, most = [], []

    def work():
        for _ in range(20):
            with locks.held(tmp_path / "lock", "busy", wait=60):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 80
    assert max(most) == 1
