# SPDX-License-Identifier: Apache-2.0
"""A move that is taken back after its cut loses no frame: what followed the VM to its target comes back after it.

A synthetic VM answers 1,000 packets a second in each family from a third host, and from a guest on its source and on its
target, while its move fails between the cut and the first run at the target. Each packet is answered once; and what the third
host's guest says to everybody, in each family, comes to it once.
"""
import contextlib
import os
import socket
import struct
import sys
import threading

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "vm"))
from hvbed import inside  # noqa: E402
from kills import Hold, kill, kill_emulator, phase_of, restarted, settled, wait_for_phase  # noqa: E402
from labs import Lab, Probe, wait_until  # noqa: E402

ADDRESSES = ["10.1.0.10", "fd00:1::10"]
CLIENTS = {"client": "h3", "beside": "h1", "ahead": "h2"}
EVERYBODY = [(socket.AF_INET, "10.1.0.255"), (socket.AF_INET6, "ff02::1")]
GROUP_PORT, GROUP_EVERY_S, SO_RCVBUFFORCE = 7100, 0.005, 33


@pytest.fixture(scope="module")
def lab(request):
    with Lab(f"back{request.param}{os.getpid() % 10000}", hosts=3, underlay=request.param, accelerator="tcg") as lab:
        lab.godwit("vn", "create", "blue", "--subnet", "10.1.0.0/24", "--subnet", "fd00:1::/64")
        lab.lab("vm", "add", "web", "--vn", "blue", "--ip", ADDRESSES[0], "--ip", ADDRESSES[1], "--on", "h1",
                "--synthetic", "--copy-ms", "100", "--pause-ms", "600")
        for i, (name, host) in enumerate(CLIENTS.items()):
            lab.lab("guest", "add", name, "--host", host, "--vn", "blue", "--ip", f"10.1.0.{30 + i}",
                    "--ip", f"fd00:1::3{i}")
        wait_until("the VM answers", lambda: all(lab.answers(c, a) for c in CLIENTS for a in ADDRESSES))
        yield lab


class Groups:
    """Numbered frames to everybody from one guest, and what of them comes to a VM."""

    def __init__(self, lab, sender, vm):
        self.ears, self.mouths, self.sent, self.over = [], [], 0, threading.Event()
        for family, _ in EVERYBODY:
            with inside(f"../../proc/{lab.keeper(vm)}/ns/net"):
                ear = socket.socket(family, socket.SOCK_DGRAM)
            ear.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
            if family == socket.AF_INET6:
                ear.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            ear.bind(("", GROUP_PORT))
            self.ears.append(ear)
            with inside(f"gw-{lab.name}-g-{sender}"):
                mouth, index = socket.socket(family, socket.SOCK_DGRAM), socket.if_nametoindex("eth0")
            if family == socket.AF_INET:
                mouth.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            else:
                mouth.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            self.mouths.append(mouth)
        self.thread = threading.Thread(target=self.send)
        self.thread.start()

    def send(self):
        while not self.over.wait(GROUP_EVERY_S):
            for mouth, (_, address) in zip(self.mouths, EVERYBODY):
                mouth.sendto(struct.pack(">I", self.sent), (address, GROUP_PORT))
            self.sent += 1

    def stop(self):
        """{family: (how many are missing, how many came again)}"""
        self.over.set()
        self.thread.join()
        return {family.name: self.heard(ear) for ear, (family, _) in zip(self.ears, EVERYBODY)}

    def heard(self, ear):
        numbers = []
        with contextlib.suppress(TimeoutError):
            while True:
                ear.settimeout(0.1 if len(set(numbers)) == self.sent else 2)      # then for what comes again
                numbers.append(struct.unpack(">I", ear.recv(64))[0])
        assert set(numbers) <= set(range(self.sent))
        return self.sent - len(set(numbers)), len(numbers) - len(set(numbers))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        for sock in self.ears + self.mouths:
            sock.close()


def port_of_web(lab, host):
    return next(port for port in lab.edge(host, "/v1/ports")["ports"] if port["vm"].startswith("web@"))


def trace(lab, host, **question):
    return lab.api("POST", "/v1/trace", question, socket_path=f"{lab.folder}/hosts/{host}/nve.sock")


def what_waits_is_said_to_wait(lab, source, target):
    """At the source, after the cut: what its copy says, and what comes back to it."""
    port, places = port_of_web(lab, source), {host: lab.get(f"/v1/nves/{host}")["locator"] for host in (target, "h3")}
    assert port["role"] == "moved"
    said = trace(lab, source, port=port["id"], to="10.1.0.30")
    assert said["outcome"] == "waits" and [s["verdict"] for s in said["steps"]] == ["wait"], said
    marked = {"vni": port["vni"], "mac": port["mac"], "source_mac": "02:00:00:00:00:77", "marked": True}
    back = trace(lab, source, sender=places[target], **marked)
    assert back["outcome"] == "waits" and back["steps"][-1]["verdict"] == "wait", back
    other = trace(lab, source, sender=places["h3"], **marked)
    assert other["counter"] == "drop-loop", other


def what_does_not_arrive_says_nothing(lab, target):
    port = wait_until("it is sent back", lambda: port_of_web(lab, target))
    assert port["role"] == "returning"
    said = trace(lab, target, port=port["id"], to="10.1.0.30")
    assert said["outcome"] == "dropped" and said["counter"] == "drop-fenced", said


def emulator_dies(lab, move, source, target):
    """It has everything, and has not run."""
    wait_for_phase(lab, move, "activate")
    kill_emulator(lab, target)


def agent_and_emulator_die(lab, move, source, target):
    """Nobody but the edge has the taps."""
    wait_for_phase(lab, move, "activate")
    restart = kill(lab, "hv-target", source, target)
    kill_emulator(lab, target)
    what_waits_is_said_to_wait(lab, source, target)
    restarted(lab, move, restart)


def cut_comes_too_late(lab, move, source, target):
    """The source's agent gives up waiting for its edge, and the VM goes on; the edge makes the cut, and is told to take it back."""
    wait_for_phase(lab, move, "cut")
    wait_until("the agent goes on without", lambda: phase_of(lab, move) != "cut")


LONG = bool(os.environ.get("GW_LONG"))
CASES = [(4, emulator_dies), (6, agent_and_emulator_die)]
CASES += [(underlay, failure) for underlay in (4, 6) for failure in (emulator_dies, agent_and_emulator_die, cut_comes_too_late)
          if LONG and (underlay, failure) not in CASES]


def counter(lab, host, name):
    return lab.edge(host, "/v1/counters")["edge"][name]


def figures(probes):
    for probe in probes.values():
        probe.process.terminate()
    return {name: probe.stop()["total"] for name, probe in probes.items()}


@pytest.mark.parametrize("lab, failure", sorted(CASES, key=lambda case: case[0]), indirect=["lab"])
def test_every_packet_is_answered_once(lab, failure):
    source = wait_until("the VM is settled before", lambda: settled(lab), 30)
    target = "h2" if source == "h1" else "h1"
    late = failure is cut_comes_too_late        # seconds, and what comes in them has to fit the tap's queue
    probes = {name: Probe(lab, name, ADDRESSES, rate=200 if late else 1000, tcp=False) for name in CLIENTS}
    returned = counter(lab, target, "returned")
    with Groups(lab, "client", "web") as groups:
        with Hold(lab, "cut" if late else None, source, target) as hold:
            move = lab.move("web", target)
            failure(lab, move, source, target)
            hold.release()
        assert lab.moved(move)["result"] == "failed"
        wait_until("it serves where it was", lambda: settled(lab) == source, 30)
        if not late:
            what_does_not_arrive_says_nothing(lab, target)
        totals, heard = figures(probes), groups.stop()
    print(failure.__name__, totals, counter(lab, target, "returned") - returned, groups.sent, heard)
    assert groups.sent > 50 and set(heard.values()) == {(0, 0)}, (groups.sent, heard)
    for name, total in totals.items():
        assert total["lost"] == 0 and total["duplicated"] == 0 and total["sent"] > 300, (name, total)
    assert late or counter(lab, target, "returned") > returned
