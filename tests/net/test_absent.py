# SPDX-License-Identifier: Apache-2.0
"""Packets for a VM that does not run: they wait, are dropped, or are answered, as the VN says; counted each time. IPv4 and IPv6.

Stopped: the sender's edge decides, or, for what is routed, the gateway. Suspended, or under way in a cold move: the VM's own edge.

    web@h1 (blue, a synthetic guest)     client@h3 (blue)     far@h3 (green), which reaches blue by the gateway on h2
"""
import contextlib
import errno
import os
import socket
import struct
import sys
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vm"))
from labs import ApiError, Lab, wait_until  # noqa: E402
from hvbed import inside  # noqa: E402

WEB = ["10.1.0.10", "fd00:1::10"]
GATEWAYS = {"client": ["10.1.0.1", "fd00:1::1"], "far": ["10.2.0.1", "fd00:2::1"]}
ECHO, ERRQUEUE, IP_RECVERR, IPV6_RECVERR = 7, 0x2000, 11, 25


@pytest.fixture(scope="module")
def lab():
    with Lab(f"ab{os.getpid() % 10000}", hosts=3, accelerator="tcg") as lab:
        with open(f"{lab.folder}/hosts/h2/nve.conf", "a", encoding="utf-8") as file:
            file.write("role = gateway\n")
        lab.lab("kill", "h2", "nve")
        lab.lab("start", "h2", "nve")
        lab.lab("wait")
        for vn, n in (("blue", 1), ("green", 2)):
            lab.godwit("vn", "create", vn, "--subnet", f"10.{n}.0.0/24", "--subnet", f"fd00:{n}::/64", "--gateway", f"10.{n}.0.1",
                       "--gateway", f"fd00:{n}::1")
        lab.godwit("policy", "create", "join", "--from", "blue", "--to", "green")
        lab.lab("vm", "add", "web", "--vn", "blue", "--ip", WEB[0], "--ip", WEB[1], "--on", "h1", "--synthetic", "--copy-ms",
                "1500", "--pause-ms", "5")
        for name, vn, n in (("client", "blue", 1), ("far", "green", 2)):
            lab.lab("guest", "add", name, "--host", "h3", "--vn", vn, "--ip", f"10.{n}.0.30", "--ip", f"fd00:{n}::30")
            lab.within(name, "ip", "route", "add", "default", "via", f"10.{n}.0.1", check=True)
            lab.within(name, "ip", "-6", "route", "add", "default", "via", f"fd00:{n}::1", check=True)
        wait_until("web answers", lambda: all(lab.answers("client", ip) for ip in WEB))
        yield lab


@pytest.fixture(autouse=True)
def as_it_was(lab):
    yield
    lab.godwit("vn", "set", "blue", "--absent", "wait")
    vm = lab.vm("web")
    if vm["state"] == "paused":
        lab.godwit("vm", "resume", "web")
    if vm["state"] == "stopped":
        lab.godwit("vm", "start", "web", "--on", vm["home"])
    wait_until("web answers", lambda: all(lab.answers("client", ip) for ip in WEB))


def counters(lab, *hosts):
    total = {"absent-answered": 0, "drop-absent": 0}
    for host in hosts:
        both = lab.edge(host, "/v1/counters")
        total["absent-answered"] += both["edge"]["absent-answered"]
        total["drop-absent"] += both["edge"]["drop-absent"] + both["datapath"]["drop-absent"]
    return total


@contextlib.contextmanager
def talk(lab, guest, address):
    """A connected UDP socket in the guest's namespace that keeps the errors it is told."""
    six = ":" in address
    with inside(f"gw-{lab.name}-g-{guest}"):
        sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        sock.setsockopt(socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP, IPV6_RECVERR if six else IP_RECVERR, 1)
        sock.settimeout(0.3)
        sock.connect((address, ECHO))
        yield sock


def say(sock, octets=b"hello"):
    """Sends one: "echo", "silence", or (errno, type, code, who says so)."""
    try:
        sock.send(octets)
        return "echo" if sock.recv(100) == octets else "other"
    except TimeoutError:
        return "silence"
    except OSError as error:
        if error.errno not in (errno.EHOSTUNREACH, errno.ECONNREFUSED):
            raise
    _, control, _, _ = sock.recvmsg(2000, 200, ERRQUEUE)
    code, _, kind, what = struct.unpack("=IBBB", control[0][2][:7])
    offender = control[0][2][16:]
    if sock.family == socket.AF_INET6:
        return code, kind, what, socket.inet_ntop(socket.AF_INET6, offender[8:24])
    return code, kind, what, socket.inet_ntop(socket.AF_INET, offender[4:8])


def told(lab, guest, address):
    with talk(lab, guest, address) as sock:
        return say(sock)


def unreachable(address, by):
    return (errno.EHOSTUNREACH, 1, 3, by) if ":" in address else (errno.EHOSTUNREACH, 3, 1, by)


def stop(lab):
    lab.godwit("vm", "stop", "web", "--force", "--wait")
    wait_until("it has stopped", lambda: lab.vm("web")["state"] == "stopped")


def expect(lab, guest, by):
    """Each of web's addresses is answered so; the newest setting and place may be on their way."""
    for address, speaker in zip(WEB, by):
        wait_until(f"{address} is said to be unreachable by {speaker}", lambda a=address, s=speaker:
                   told(lab, guest, a) == unreachable(a, s), 10)


def test_the_setting(lab):
    assert lab.get("/v1/vns/blue")["absent"] == "wait"
    lab.godwit("vn", "set", "blue", "--absent", "answer")
    assert lab.get("/v1/vns/blue")["absent"] == "answer"
    lab.api("PATCH", "/v1/vns/blue", {"rarp": False})           # what is not said stays
    assert "answer" in lab.godwit("vn", "show", "blue").stdout
    with pytest.raises(ApiError) as error:
        lab.api("PATCH", "/v1/vns/blue", {"absent": "maybe"})
    assert "allowed are wait, drop and answer" in error.value.text
    lab.godwit("vn", "create", "red", "--subnet", "10.9.0.0/24", "--absent", "drop")
    assert lab.get("/v1/vns/red")["absent"] == "drop"
    lab.godwit("vn", "delete", "red")


def test_wait(lab):
    """What comes while it is suspended is there when it goes on."""
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(talk(lab, "client", address)) for address in WEB]
        assert [say(sock) for sock in socks] == ["echo", "echo"]
        lab.godwit("vm", "suspend", "web")
        assert [say(sock, b"patience") for sock in socks] == ["silence", "silence"]
        lab.godwit("vm", "resume", "web")
        for sock in socks:
            sock.settimeout(5)
            assert sock.recv(100) == b"patience"


@pytest.mark.parametrize("state", ["suspended", "stopped"])
def test_answer(lab, state):
    assert all(told(lab, "client", address) == "echo" for address in WEB)
    lab.godwit("vn", "set", "blue", "--absent", "answer")
    assert all(told(lab, "client", address) == "echo" for address in WEB), "it runs"
    before = counters(lab, "h1"), counters(lab, "h3")
    if state == "stopped":
        stop(lab)
    else:
        lab.godwit("vm", "suspend", "web")
    expect(lab, "client", GATEWAYS["client"])
    after = counters(lab, "h1"), counters(lab, "h3")
    where = 1 if state == "stopped" else 0
    assert after[where]["absent-answered"] >= before[where]["absent-answered"] + 2
    assert after[1 - where]["absent-answered"] == before[1 - where]["absent-answered"]


def test_answers_to_what_is_routed(lab):
    """From another VN: the gateway tells of one that is stopped, in its own name; of one that stands still its edge does."""
    lab.godwit("vn", "set", "blue", "--absent", "answer")
    lab.godwit("vm", "suspend", "web")
    expect(lab, "far", WEB)
    stop(lab)
    before = counters(lab, "h2")
    expect(lab, "far", GATEWAYS["far"])
    assert counters(lab, "h2")["absent-answered"] >= before["absent-answered"] + 2


@pytest.mark.parametrize("state", ["suspended", "stopped"])
def test_drop(lab, state):
    lab.godwit("vn", "set", "blue", "--absent", "drop")
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(talk(lab, "client", address)) for address in WEB]
        assert [say(sock) for sock in socks] == ["echo", "echo"]
        if state == "stopped":
            stop(lab)
        else:
            lab.godwit("vm", "suspend", "web")
        before = counters(lab, "h1", "h3")
        assert [say(sock) for sock in socks] == ["silence", "silence"]
        after = counters(lab, "h1", "h3")
        assert after["drop-absent"] >= before["drop-absent"] + 2
        assert after["absent-answered"] == before["absent-answered"]
        if state == "suspended":
            lab.godwit("vm", "resume", "web")
            assert [say(sock, b"fresh") for sock in socks] == ["echo", "echo"], "and nothing of before"


def test_cold_move_and_restarts(lab):
    """Answered while a cold move copies it; nobody is told so before and after; also with daemons that come back meanwhile."""
    lab.godwit("vn", "set", "blue", "--absent", "answer")
    move = lab.move("web", "h2", mode="cold")
    expect(lab, "client", GATEWAYS["client"])
    assert lab.get(f"/v1/moves/{move}")["result"] in ("open", None, ""), "it was still being copied"
    assert lab.moved(move)["result"] == "ok"
    wait_until("web answers", lambda: all(told(lab, "client", address) == "echo" for address in WEB))
    lab.godwit("vm", "suspend", "web")
    for daemon in ("hv", "nve"):
        lab.lab("kill", "h2", daemon)
        lab.lab("start", "h2", daemon)
        lab.lab("wait")
        expect(lab, "client", GATEWAYS["client"])
    assert lab.moved(lab.move("web", "h1"))["as"] == "suspended"
    expect(lab, "client", GATEWAYS["client"])
    assert [port["still"] for port in lab.edge("h1", "/v1/ports")["ports"]] == [True]


def test_a_flood_is_bounded(lab):
    """What is more than the edge's daemon wants to look at (limit-misses) is dropped for the same reason by the data plane."""
    def in_the_data_plane():
        return lab.edge("h1", "/v1/counters")["datapath"]["drop-absent"]

    lab.godwit("vn", "set", "blue", "--absent", "answer")
    assert told(lab, "client", WEB[0]) == "echo"
    lab.godwit("vm", "suspend", "web")
    before, end = in_the_data_plane(), time.monotonic() + 20
    with talk(lab, "client", WEB[0]) as sock:
        while in_the_data_plane() == before and time.monotonic() < end:
            for _ in range(1000):
                with contextlib.suppress(OSError):      # a socket is told of the answers with its next call
                    sock.send(b"x" * 100)
    assert in_the_data_plane() > before
