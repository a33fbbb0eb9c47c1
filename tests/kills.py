# SPDX-License-Identifier: Apache-2.0
"""Kill anything in any phase of a move, and look whether the VM is at exactly one place afterwards.

How a phase is held still while we kill:
  prepare    the target's agent is stopped (SIGSTOP)
  copy       the copy takes long
  cut        the source's edge is stopped, so that the stopped VM waits for its cut
  activate   cut and committed, not running yet: a synthetic VM's pause is long, a real target's emulator is stopped
  converge   the third host's edge is stopped, so that it does not acknowledge
"""
import contextlib
import os
import signal
import subprocess
import time

from labs import wait_until

PHASES = ["prepare", "copy", "cut", "activate", "converge"]
VICTIMS = ["nva", "nve-source", "nve-target", "hv-source", "hv-target", "emulator-source", "emulator-target"]
HOSTS = ("h1", "h2", "h3")


def phase_of(lab, move):
    return lab.get(f"/v1/moves/{move}")["phase"]


@contextlib.contextmanager
def unplugged(lab, host):
    """The host's cable, out of the underlay's switch."""
    def plug(state):
        subprocess.run(["ip", "-n", f"gw-{lab.name}-net", "link", "set", host, state], check=True)
    plug("down")
    try:
        yield
    finally:
        plug("up")


def kill_daemons(lab, host):
    for daemon in ("hv", "nve"):
        lab.lab("kill", host, daemon, "--signal", "9")


def kill_emulator(lab, host):
    pid = lab.emulators("web").get(host)
    if pid:
        os.kill(pid, signal.SIGKILL)


def power_up(lab, host):
    for daemon in ("nve", "hv"):
        lab.lab("start", host, daemon)
    lab.lab("wait")


def is_away(lab, host):
    """Its connections to the authority are known to be gone."""
    nve = lab.get(f"/v1/nves/{host}")
    return not nve["nve_connected"] and not nve["hv_connected"]


class Hold:
    """Keeps a move in a phase, from before it starts until `release` or the end of the block: what would take it further
    is stopped."""

    def __init__(self, lab, phase, source, target):
        self.lab = lab
        self.held = {"prepare": (target, "hv"), "cut": (source, "nve"), "converge": ("h3", "nve")}.get(phase)

    def __enter__(self):
        if self.held:
            self.lab.signal(*self.held, signal.SIGSTOP)
        return self

    def release(self):
        if self.held:
            self.lab.signal(*self.held, signal.SIGCONT)
        self.held = None

    def forget(self, daemon):
        """That one was killed meanwhile."""
        if daemon == self.held:
            self.held = None

    def __exit__(self, *_):
        self.release()


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
    return [host for host in HOSTS
            if any(port["vm"].startswith("web@") and port["role"] == "serving" for port in lab.edge(host, "/v1/ports")["ports"])]


def settled(lab):
    """Where the VM runs, when everybody agrees on that; else False."""
    vm = lab.vm("web")
    running = [host for host in HOSTS
               for copy in lab.agent(host, "/v1/vms") if copy["id"].startswith("web@") and copy["state"] == "running"]
    return vm["state"] == "running" and running == [vm["nve"]] and places(lab) == [vm["nve"]] and vm["nve"]


@contextlib.contextmanager
def emulator_held(lab, host):
    """The emulator of that host stands still meanwhile, if it lives."""
    pid = lab.emulators("web")[host]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def wait_for_phase(lab, move, phase):
    wait_until(f"the move is in {phase}", lambda: reached(phase, phase_of(lab, move)), 30, every_s=0.002)


def kill_in(lab, phase, victim, source, target, **options):
    """Starts a move, kills the victim in that phase, and starts it again if it is a daemon; the move when it has ended."""
    with Hold(lab, phase, source, target) as hold:
        move = lab.move("web", target, **options)
        wait_for_phase(lab, move, phase)
        restart = kill(lab, victim, source, target)
        hold.forget(restart)
    return restarted(lab, move, restart)


def kill_before_it_runs(lab, _phase, victim, source, target, **options):
    """The same in `activate`, of a real VM: its emulator at the target is stopped between cut and commit."""
    with Hold(lab, "cut", source, target) as hold:
        move = lab.move("web", target, **options)
        wait_for_phase(lab, move, "cut")
        with emulator_held(lab, target):
            hold.release()
            wait_for_phase(lab, move, "activate")
            restart = kill(lab, victim, source, target)
    return restarted(lab, move, restart)


def restarted(lab, move, daemon):
    if daemon:
        time.sleep(0.2)        # as a service manager's RestartSec
        lab.lab("start", *daemon)
    return lab.moved(move, 90)
