# SPDX-License-Identifier: Apache-2.0
"""Guests that do nothing to help: a NIC whose driver never announces itself after a move, and which does not learn the VN's
MTU either; with ports in three VNs. The guest believes in 1500 octets over an underlay of 1500.

The laboratory's kernel has a driver for vmxnet3; where /boot has one with e1000, nic_model e1000 is no different.
"""
import os
import socket
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import labs  # noqa: E402
from hvbed import inside  # noqa: E402
from working import goes_on, images, work  # noqa: E402

TARGETS = {"blue": ["10.1.0.10", "fd00:1::10"], "green": ["10.2.0.10"], "red": ["fd00:3::10"]}
SUBNETS = {"blue": ["10.1.0.0/24", "fd00:1::/64"], "green": ["10.2.0.0/24"], "red": ["fd00:3::/64"]}
CLIENTS = {"blue": ["10.1.0.30", "fd00:1::30"], "green": ["10.2.0.30"], "red": ["fd00:3::30"]}


@pytest.fixture(scope="module")
def lab():
    with labs.Lab(f"og{os.getpid() % 10000}", hosts=3, accelerator="tcg") as lab:
        for vn, subnets in SUBNETS.items():
            lab.godwit("vn", "create", vn, *(word for subnet in subnets for word in ("--subnet", subnet)))
            lab.lab("guest", "add", vn, "--host", "h3", "--vn", vn, *(word for ip in CLIENTS[vn] for word in ("--ip", ip)))
        folder = images(lab)
        lab.api("POST", "/v1/vms", {
            "name": "web", "memory_mib": 128, "nic_model": "vmxnet3", "kernel": f"{folder}/vmlinuz", "initrd": f"{folder}/initrd",
            "cmdline": "console=ttyS0 quiet mitigations=off gw.ip4=10.1.0.10/24,10.2.0.10/24 "
                       "gw.ip6=fd00:1::10/64,,fd00:3::10/64 gw.work=24,2000",
            "ports": [{"vn": vn, "addresses": addresses} for vn, addresses in TARGETS.items()]})
        lab.api("POST", "/v1/vms/web/start", {"nve": "h1"}, timeout_s=60)
        for vn, addresses in TARGETS.items():
            labs.wait_until(f"it answers in {vn}", lambda v=vn, a=addresses: all(lab.answers(v, x) for x in a), 90)
        labs.wait_until("it works", lambda: work(lab, "web"), 30)
        yield lab


def edge(lab, host):
    return lab.edge(host, "/v1/counters")["edge"]


def test_nothing_is_lost(lab):
    """There and back; nobody but the emulator says a word of it, and nobody needs more."""
    before = {host: edge(lab, host) for host in ("h1", "h2")}
    probes = [labs.Probe(lab, vn, addresses, rate=100) for vn, addresses in TARGETS.items()]
    try:
        for to in ("h2", "h1"):
            assert lab.moved(lab.move("web", to), 90)["result"] == "ok"
    finally:
        seen = [probe.stop() for probe in probes]
    for figures in seen:
        for stream in figures["streams"]:
            if stream["protocol"] == "udp":
                assert (stream["lost"], stream["duplicated"]) == (0, 0), (stream["target"], stream["lost_ranges"])
            else:
                assert stream["alive"], stream
    for host, counters in before.items():
        after = edge(lab, host)
        assert [after[name] - counters[name] for name in ("announced-arp", "announced-nd")] == [0, 0]
    goes_on(lab, "web")


def large_echo(lab, vn, address, octets):
    """A datagram whose answer is larger than the VN carries, unless the guest has learnt how large it may be."""
    with inside(f"gw-{lab.name}-g-{vn}"):
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        sock.settimeout(0.5)
        sock.sendto(os.urandom(octets), (address, 7))
        try:
            return len(sock.recv(2000)) == octets
        except OSError:
            return False


@pytest.mark.parametrize("address, header", [("10.1.0.10", 28), ("fd00:1::10", 48)])
def test_1500_over_1500(lab, address, header):
    """What it sends is too big for the VN: it is told so, and sends smaller frames; also where it has moved to."""
    octets, counters = 1500 - header, lambda: sum(
        lab.edge(host, "/v1/counters")["edge"]["too-big-answered"] for host in ("h1", "h2"))
    answered = counters()
    labs.wait_until("the large answer comes", lambda: large_echo(lab, "blue", address, octets), 20)
    assert counters() > answered, "it was told, not lucky"
    assert lab.moved(lab.move("web", "h2" if lab.vm("web")["nve"] == "h1" else "h1"), 90)["result"] == "ok"
    labs.wait_until("there too", lambda: large_echo(lab, "blue", address, octets), 20)
