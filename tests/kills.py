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
import time

from labs import wait_until

PHASES = ["prepare", "copy", "cut", "activate", "converge"]
VICTIMS = ["nva", "nve-source", "nve-target", "hv-source", "hv-target", "emulator-source", "emulator-target"]
HOSTS = ("h1", "h2", "h3")


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
    held, restart = hold(lab, phase, source, target), None
    try:
        move = lab.move("web", target, **options)
        wait_for_phase(lab, move, phase)
        restart = kill(lab, victim, source, target)
    finally:
        if held and held != restart:
            lab.signal(*held, signal.SIGCONT)
    return restarted(lab, move, restart)


def kill_before_it_runs(lab, _phase, victim, source, target, **options):
    """The same in `activate`, of a real VM: its emulator at the target is stopped between cut and commit."""
    restart = None
    held = hold(lab, "cut", source, target)
    try:
        move = lab.move("web", target, **options)
        wait_for_phase(lab, move, "cut")
        with emulator_held(lab, target):
            lab.signal(*held, signal.SIGCONT)
            held = None
            wait_for_phase(lab, move, "activate")
            restart = kill(lab, victim, source, target)
    finally:
        if held:
            lab.signal(*held, signal.SIGCONT)
    return restarted(lab, move, restart)


def restarted(lab, move, daemon):
    if daemon:
        time.sleep(0.2)        # as a service manager's RestartSec
        lab.lab("start", *daemon)
    return lab.moved(move, 90)
