# SPDX-License-Identifier: Apache-2.0
"""Kill anything in any phase of a move (issue: "Failure, tested now").

A synthetic VM moves from one host to another, and at a chosen phase one process is killed with SIGKILL, then, if it is a
daemon, started again as the service manager would. Whatever happened to the move: the VM ends up answering at exactly
one place, the directory agrees with it, and a later move works.

How a phase is held still while we kill:
  prepare    the target's agent is stopped (SIGSTOP)
  copy       the copy takes long
  cut        the source's edge is stopped, so that the stopped VM waits for its cut
  activate   the VM's pause is long: cut and committed, not running yet
  converge   the third host's edge is stopped, so that it does not acknowledge
"""
import os
import signal
import sys
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from labs import Lab, wait_until  # noqa: E402

PHASES = ["prepare", "copy", "cut", "activate", "converge"]
VICTIMS = ["nva", "nve-source", "nve-target", "hv-source", "hv-target", "emulator-source", "emulator-target"]
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


def phase_of(lab, move):
    return lab.get(f"/v1/moves/{move}")["phase"]


def hold(lab, phase, source, target):
    """What to stop so that the move stays in the phase: (host, daemon) or None."""
    held = {"prepare": (target, "hv"), "cut": (source, "nve"), "converge": ("h3", "nve")}.get(phase)
    if held:
        lab.signal(*held, signal.SIGSTOP)
    return held


def reached(phase, now):
    """'activate' is any phase between the cut and the VM running; a held converge shows as converge."""
    return now in {"activate": ("commit", "activate"), "cut": ("cut",)}.get(phase, (phase,))


def kill(lab, victim, source, target):
    kind, _, side = victim.partition("-")
    host = "nva" if kind == "nva" else {"source": source, "target": target}[side]
    if kind == "emulator":
        pid = lab.emulators("web").get(host)
        if pid:
            os.kill(pid, signal.SIGKILL)
        return None
    lab.lab("kill", host, kind, "--signal", "9")
    return host, kind


def places(lab):
    """The hosts whose edge says that it serves the VM."""
    return [host for host in ("h1", "h2", "h3")
            if any(port["vm"].startswith("web@") and port["role"] == "serving" for port in lab.edge(host, "/v1/ports")["ports"])]


def settled(lab):
    vm = lab.vm("web")
    running = [host for host in ("h1", "h2", "h3")
               for copy in lab.agent(host, "/v1/vms") if copy["id"].startswith("web@") and copy["state"] == "running"]
    return vm["state"] == "running" and running == [vm["nve"]] and places(lab) == [vm["nve"]] and vm["nve"]


@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("phase", PHASES)
def test_kill(lab, phase, victim):
    source = wait_until("the VM is settled before", lambda: settled(lab), 30)
    target = "h2" if source == "h1" else "h1"
    held = hold(lab, phase, source, target)
    restart = None
    try:
        move = lab.move("web", target)
        wait_until(f"the move is in {phase}", lambda: reached(phase, phase_of(lab, move)), 15, every_s=0.002)
        restart = kill(lab, victim, source, target)
    finally:
        if held and held != restart:
            lab.signal(*held, signal.SIGCONT)
    if restart:
        time.sleep(0.2)        # as a service manager's RestartSec
        lab.lab("start", *restart)
    ended = lab.moved(move)
    at = wait_until("the VM is settled after", lambda: settled(lab), 40)
    for address in ADDRESSES:
        wait_until(f"{address} answers", lambda a=address: lab.answers("client", a), 15)
    assert list(lab.emulators("web")) == [at], f"a copy was left elsewhere: {lab.emulators('web')}"
    assert ended["result"] in ("ok", "failed", "cancelled")

    lab.lab("wait")            # every daemon is connected again
    back = lab.moved(lab.move("web", "h2" if at == "h1" else "h1"))
    assert back["result"] == "ok", back
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
