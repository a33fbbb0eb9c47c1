# SPDX-License-Identifier: Apache-2.0
"""A real VM moves, and something dies or is cut off: a daemon, an emulator, a link, a whole host, in each phase.

Whatever happened: the VM ends up at exactly one place, the directory agrees, its memory is as it was written (unless it had
to be started anew), and a later move works. Each takes some ten seconds: the whole table (every victim in every phase,
kills.py) and what is marked so run with GW_LONG=1 only.
"""
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from kills import PHASES, VICTIMS, Hold, kill, kill_before_it_runs, kill_daemons, kill_emulator, kill_in  # noqa: E402
from kills import phase_of, power_up, restarted, settled, unplugged, wait_for_phase  # noqa: E402
from labs import Lab, Probe, wait_until  # noqa: E402
from working import ADDRESSES, create, goes_on, work  # noqa: E402

DEADLINES_MS = {"deadline-copy-ms": 12000, "deadline-cut-ms": 4000, "deadline-converge-ms": 3000}
A_WHILE = {"bandwidth_mib_s": 24}       # so that the copy takes some seconds


@pytest.fixture(scope="module")
def lab():
    with Lab(f"mf{os.getpid() % 10000}", hosts=3, accelerator="tcg") as lab:
        with open(f"{lab.folder}/nva/nva.conf", "a", encoding="utf-8") as config:
            config.writelines(f"{key} = {value}\n" for key, value in DEADLINES_MS.items())
        lab.lab("kill", "nva", "nva", "--signal", "15")
        lab.lab("start", "nva", "nva")
        lab.lab("wait")
        lab.godwit("vn", "create", "blue", "--subnet", "10.1.0.0/24", "--subnet", "fd00:1::/64")
        lab.godwit("vn", "create", "green", "--subnet", "10.2.0.0/24")
        create(lab, "web")
        lab.lab("guest", "add", "client", "--host", "h3", "--vn", "blue", "--ip", "10.1.0.30", "--ip", "fd00:1::30")
        wait_until("the VM answers", lambda: all(lab.answers("client", a) for a in ADDRESSES), 90)
        wait_until("the guest works", lambda: work(lab, "web"), 30)
        yield lab


@pytest.fixture
def ends(lab):
    """(source, target) of the next move, when the VM is at one place for everybody."""
    lab.lab("wait")
    source = wait_until("the VM is settled before", lambda: settled(lab), 90)
    wait_until("it answers", lambda: lab.answers("client", ADDRESSES[0]), 90)
    return source, "h2" if source == "h1" else "h1"


def assert_one_place(lab, started_anew=False):
    """One copy, which answers in both families and works on; and a later move works."""
    at = wait_until("the VM is settled after", lambda: settled(lab), 60)
    wait_until("no copy is left elsewhere", lambda: list(lab.emulators("web")) == [at], 20)
    for address in ADDRESSES:
        wait_until(f"{address} answers", lambda a=address: lab.answers("client", a), 60)
    lab.lab("wait")
    if not started_anew:
        goes_on(lab, "web")
    back = lab.moved(lab.move("web", "h2" if at == "h1" else "h1"), 60)
    assert back["result"] == "ok", back
    for address in ADDRESSES:
        wait_until(f"{address} answers after a later move", lambda a=address: lab.answers("client", a), 20)
    return at


def lose(lab, host):
    """All that runs on it dies at once, as with its power supply."""
    kill_daemons(lab, host)
    kill_emulator(lab, host)


TAKEN_BACK = ("activate", "emulator-target")    # after the cut: what followed the VM comes back
CELLS = [(phase, victim) for phase in PHASES for victim in VICTIMS]
if not os.environ.get("GW_LONG"):
    CELLS = [("cut", "hv-source"), ("activate", "emulator-target")]


@pytest.mark.parametrize("phase, victim", CELLS)
def test_killed(lab, ends, phase, victim):
    play = kill_before_it_runs if phase == "activate" else kill_in
    probe = Probe(lab, "client", ADDRESSES, rate=100, tcp=False)
    try:
        ended = play(lab, phase, victim, *ends, **A_WHILE)
        if (phase, victim) == TAKEN_BACK:
            wait_until("it is back", lambda: settled(lab) == ends[0], 30)
    finally:
        seen = probe.stop()["total"]
    assert ended["result"] in ("ok", "failed", "cancelled"), ended
    if (phase, victim) == TAKEN_BACK:
        assert (seen["lost"], seen["duplicated"]) == (0, 0), seen
    assert_one_place(lab, started_anew=victim.startswith("emulator"))


@pytest.mark.long
def test_target_host_lost_in_the_copy(lab, ends):
    """Nobody tells the source that the connection is gone; the deadline ends the copy, and the VM has noticed nothing."""
    source, target = ends
    probe = Probe(lab, "client", ADDRESSES, rate=100)
    try:
        move = lab.move("web", target, **A_WHILE)
        wait_for_phase(lab, move, "copy")
        with unplugged(lab, target):
            lose(lab, target)
            ended = lab.moved(move, 60)
    finally:
        seen = probe.stop()
    assert ended["result"] == "failed" and lab.vm("web")["nve"] == source, ended
    assert [(s["lost"], s["duplicated"]) for s in seen["streams"] if s["protocol"] == "udp"] == [(0, 0), (0, 0)]
    power_up(lab, target)
    assert_one_place(lab)


def test_target_host_lost_at_the_cut(lab, ends):
    """Whether the target runs cannot be known while it is away: the VM waits. The host comes back without it: the source
    goes on, with all of its memory."""
    source, target = ends
    with Hold(lab, "cut", *ends) as hold:
        move = lab.move("web", target, **A_WHILE)
        wait_for_phase(lab, move, "cut")
        with unplugged(lab, target):
            lose(lab, target)
            hold.release()
            wait_until("it has left", lambda: phase_of(lab, move) != "cut", 30)
        power_up(lab, target)
        ended = lab.moved(move, 60)
    assert ended["result"] == "failed" and lab.vm("web")["nve"] == source, ended
    assert_one_place(lab)


@pytest.mark.long
def test_target_host_lost_after_resume(lab, ends):
    """It ran there: the VM is the target's, and is started again when the host is."""
    _, target = ends
    with Hold(lab, "converge", *ends) as hold:
        move = lab.move("web", target, **A_WHILE)
        wait_for_phase(lab, move, "converge")
        with unplugged(lab, target):
            lose(lab, target)
        hold.release()
        power_up(lab, target)
        ended = lab.moved(move, 60)
    assert ended["result"] == "ok", ended
    assert assert_one_place(lab, started_anew=True) == target


@pytest.mark.long
@pytest.mark.parametrize("phase", ["copy", "cut", "converge"])
def test_link_lost(lab, ends, phase):
    """The target's cable is out for a second: connections survive that, and the move goes its way."""
    with Hold(lab, phase, *ends) as hold:
        move = lab.move("web", ends[1], **A_WHILE)
        wait_for_phase(lab, move, phase)
        with unplugged(lab, ends[1]):
            hold.release()
            lab.within("client", "sleep", "1")
        ended = lab.moved(move, 60)
    assert ended["result"] == "ok", ended
    assert_one_place(lab)


@pytest.mark.long
@pytest.mark.parametrize("victim", ["hv-source", "hv-target"])
@pytest.mark.parametrize("mode", ["cold", "post-copy"])
def test_agent_killed_in_other_modes(lab, ends, mode, victim):
    """Cold: while the stopped VM's memory is sent. Post-copy: while it runs at the target without all of its memory."""
    move = lab.move("web", ends[1], mode=mode, bandwidth_mib_s=24, downtime_ms=1)
    if mode == "cold":
        wait_for_phase(lab, move, "copy")
        wait_until("it is sent", lambda: lab.get(f"/v1/moves/{move}")["progress"]["transferred"], 30)
    else:
        wait_until("it has switched", lambda: lab.get(f"/v1/moves/{move}")["evidence"].get("switched"), 60)
    ended = restarted(lab, move, kill(lab, victim, *ends))
    assert ended["result"] == "ok", ended
    assert_one_place(lab)
