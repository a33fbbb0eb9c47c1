# SPDX-License-Identifier: Apache-2.0
"""Kill anything in any phase of a move (issue: "Failure, tested now").

A synthetic VM moves from one host to another, and at a chosen phase one process is killed with SIGKILL, then, if it is a
daemon, started again as the service manager would. Whatever happened to the move: the VM ends up answering at exactly
one place, the directory agrees with it, and a later move works.
"""
import contextlib
import json
import os
import sys
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from kills import PHASES, VICTIMS, Hold, is_away, kill_daemons, kill_emulator, kill_in, phase_of  # noqa: E402
from kills import places, power_up, settled, unplugged, wait_for_phase  # noqa: E402
from labs import Lab, wait_until  # noqa: E402

ADDRESSES = ["10.1.0.10", "fd00:1::10"]


@pytest.fixture(scope="module")
def lab():
    with Lab(f"kill{os.getpid() % 10000}", hosts=3, accelerator="tcg") as lab:
        lab.godwit("vn", "create", "blue", "--subnet", "10.1.0.0/24", "--subnet", "fd00:1::/64")
        lab.lab("vm", "add", "web", "--vn", "blue", "--ip", ADDRESSES[0], "--ip", ADDRESSES[1], "--on", "h1",
                "--synthetic", "--copy-ms", "500", "--pause-ms", "400")
        lab.lab("guest", "add", "client", "--host", "h3", "--vn", "blue", "--ip", "10.1.0.30", "--ip", "fd00:1::30")
        wait_until("the VM answers", lambda: all(lab.answers("client", a) for a in ADDRESSES))
        yield lab


@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("phase", PHASES)
def test_kill(lab, phase, victim):
    source = wait_until("the VM is settled before", lambda: settled(lab), 30)
    target = "h2" if source == "h1" else "h1"
    ended = kill_in(lab, phase, victim, source, target)
    at = wait_until("the VM is settled after", lambda: settled(lab), 40)
    for address in ADDRESSES:
        wait_until(f"{address} answers", lambda a=address: lab.answers("client", a), 15)
    assert list(lab.emulators("web")) == [at], f"a copy was left elsewhere: {lab.emulators('web')}"
    assert ended["result"] in ("ok", "failed", "cancelled")

    lab.lab("wait")            # every daemon is connected again
    back = lab.moved(lab.move("web", "h2" if at == "h1" else "h1"))
    assert back["result"] == "ok", json.dumps(back)
    for address in ADDRESSES:
        wait_until(f"{address} answers after a later move", lambda a=address: lab.answers("client", a), 15)


def test_cut_without_the_authority(lab):
    """The authority is away during the cut: the VM still moves and packets still flow."""
    source = wait_until("the VM is settled before", lambda: settled(lab), 30)
    target = "h2" if source == "h1" else "h1"
    move = lab.move("web", target)
    wait_until("the copy has begun", lambda: phase_of(lab, move) == "copy", 15, every_s=0.002)
    lab.lab("kill", "nva", "nva", "--signal", "9")
    time.sleep(1.5)            # copy and pause are over by now
    assert list(h for h in ("h1", "h2") if h in places(lab)) == [target]
    for address in ADDRESSES:
        assert lab.answers("client", address, tries=3), f"{address} does not answer while the authority is away"
    lab.lab("start", "nva", "nva")
    lab.lab("wait")
    assert lab.moved(move)["result"] == "ok"
    assert wait_until("the directory agrees", lambda: settled(lab), 30) == target


@contextlib.contextmanager
def lost(lab, host, really=True):
    """The host is off, or (not really) only cut off, its daemons dead. That they are is told by their connections; what
    its VM was sending just ceases."""
    kill_daemons(lab, host)
    with unplugged(lab, host):
        if really:
            kill_emulator(lab, host)
        wait_until("it is away", lambda: is_away(lab, host))
        yield
    power_up(lab, host)


def all_answer(lab):
    for address in ADDRESSES:
        wait_until(f"{address} answers", lambda a=address: lab.answers("client", a), 15)


def assert_is_elsewhere(lab, host):
    at = wait_until("the VM is settled after", lambda: settled(lab), 40)
    assert at != host and list(lab.emulators("web")) == [at], (at, lab.emulators("web"))
    all_answer(lab)
    if at not in ("h1", "h2"):
        assert lab.moved(lab.move("web", "h1"))["result"] == "ok"


LONG = bool(os.environ.get("GW_LONG"))


@pytest.mark.parametrize("phase", ["copy", "cut"] if LONG else ["cut"])
def test_source_host_lost_before_the_switch(lab, phase):
    """The VM is lost with it, the target has not got all of it. Nobody decides that but an operator: then the move ends,
    and the VM is started elsewhere."""
    source = wait_until("the VM is settled before", lambda: settled(lab), 30)
    target = "h2" if source == "h1" else "h1"
    refused = lab.godwit("nve", "lost", source, check=False)
    assert refused.returncode and "connected" in refused.stderr
    with Hold(lab, phase, source, target) as hold:
        move = lab.move("web", target)
        wait_for_phase(lab, move, phase)
        with lost(lab, source):
            hold.forget((source, "nve"))
            assert lab.get(f"/v1/moves/{move}")["result"] == "open"
            lab.godwit("nve", "lost", source)
            ended = lab.moved(move)
            assert ended["result"] == "failed" and source in ended["reason"], ended
            all_answer(lab)
    assert_is_elsewhere(lab, source)


@pytest.mark.parametrize("phase", ["activate", "converge"] if LONG else ["activate"])
def test_source_host_lost_after_the_switch(lab, phase):
    """The target has everything: it is the target's, whatever becomes of the source."""
    source = wait_until("the VM is settled before", lambda: settled(lab), 30)
    target = "h2" if source == "h1" else "h1"
    with Hold(lab, phase, source, target) as hold:
        move = lab.move("web", target)
        wait_for_phase(lab, move, phase)
        with lost(lab, source):
            hold.release()
            all_answer(lab)
            lab.godwit("nve", "lost", source)
            assert lab.moved(move)["result"] == "ok"
    assert_is_elsewhere(lab, source)


def test_target_host_lost_at_the_cut(lab):
    """Whether it runs there cannot be known, so the VM waits; it goes on when somebody says that the target is off."""
    source = wait_until("the VM is settled before", lambda: settled(lab), 30)
    target = "h2" if source == "h1" else "h1"
    with Hold(lab, "cut", source, target) as hold:
        move = lab.move("web", target)
        wait_for_phase(lab, move, "cut")
        with lost(lab, target):
            hold.release()
            wait_until("it has left that phase", lambda: phase_of(lab, move) != "cut")
            lab.godwit("nve", "lost", target)
            assert lab.moved(move)["result"] == "failed"
            all_answer(lab)
    assert_is_elsewhere(lab, target)


def test_host_that_was_not_lost_after_all(lab):
    """It was cut off, and its VM ran on there: when it is back that copy is ended."""
    host = wait_until("the VM is settled before", lambda: settled(lab), 30)
    with lost(lab, host, really=False):
        lab.godwit("nve", "lost", host)
        all_answer(lab)
        assert len(lab.emulators("web")) == 2
    wait_until("one is left", lambda: len(lab.emulators("web")) == 1)
    assert_is_elsewhere(lab, host)
