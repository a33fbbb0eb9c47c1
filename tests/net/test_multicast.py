# SPDX-License-Identifier: Apache-2.0
"""Multicast goes where it is wanted, with real edges and real kernels' IGMP and MLD.

      a (sends)  b (in the group)  c (not)        d (in the group)  e (not)
          \\___________ | __________/                   \\_____ _____/            d moves to h3
                       h1                                     h2
"""
import contextlib
import os
import socket
import struct
import sys
import time

import pytest

sys.path.insert(0, os.path.dirname(__file__))
import nve_world as nw  # noqa: E402

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(not all(map(os.path.exists, [nw.NVE, nw.GODWIT])), reason="needs the daemons built"),
]
GROUPS = {4: "239.1.1.1", 6: "ff05::1:5"}
PORT, ETH_P_ALL = 7100, 3


def member(guest, family):
    """A socket of the guest that has joined the group."""
    with nw.netns(guest.space):
        index = socket.if_nametoindex("eth0")
        sock = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, nw.SO_RCVBUFFORCE, 16 << 20)
        if family == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(("" if family == 4 else "::", PORT))
        if family == 4:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                            struct.pack("4s4si", socket.inet_aton(GROUPS[4]), bytes(4), index))
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP,
                            socket.inet_pton(socket.AF_INET6, GROUPS[6]) + struct.pack("i", index))
    return sock


def sniffer(guest):
    with nw.netns(guest.space):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        sock.bind(("eth0", ETH_P_ALL))
    sock.setblocking(False)
    return sock


def seen(sock, family):
    """How many frames to the group came out of the port."""
    mac = b"\x01\x00\x5e\x01\x01\x01" if family == 4 else b"\x33\x33\x00\x01\x00\x05"
    n = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            octets, where = sock.recvfrom(2048)
            n += where[2] != socket.PACKET_OUTGOING and octets[:6] == mac and b"mcast" in octets
    return n


class Sender:
    def __init__(self, guest):
        self.sockets = {family: guest.udp(family) for family in (4, 6)}
        with nw.netns(guest.space):
            index = socket.if_nametoindex("eth0")
        self.sockets[4].setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 8)
        self.sockets[4].setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("4s4si", bytes(4), bytes(4), index))
        self.sockets[6].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 8)
        self.sockets[6].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)

    def send(self, family, number):
        self.sockets[family].sendto(struct.pack(">I", number) + b"mcast", (GROUPS[family], PORT))


PROBING = 1 << 20       # a number that no test counts


def reached(sender, sock, family):
    """True when a frame to the group comes out of the socket's port. A report takes its way from the guest to its edge: what is
    sent to the group before it was heard there is nobody's loss."""
    sender.send(family, PROBING)
    return PROBING in nw.drain(sock, 0.1)


def numbers(sock, quiet=0.5):
    return [number for number in nw.drain(sock, quiet) if number != PROBING]


@pytest.fixture(scope="module")
def stage():
    world = nw.World(4)
    try:
        h1, h2, h3 = world.hosts
        guests = {name: nw.Guest(world, host, name, number) for name, host, number in
                  (("a", h1, 0xa), ("b", h1, 0xb), ("c", h1, 0xc), ("d", h2, 0xd), ("e", h2, 0xe))}
        for guest in guests.values():
            guest.is_at(guest.host, 1)
            guest.host.attach(guest)
        for host in (h1, h2):
            nw.wait_for("members", lambda h=host: any(len(vn["members"]) == 2 for vn in h.get("/v1/members")["vns"]))
        yield world, guests
        print(world.logs())
    finally:
        world.remove()


def settled(host, guests):
    """Every port has been asked and is given only what it wants: true when a stranger's group reaches nobody."""
    return all(p["snooped"] for p in host.get("/v1/ports")["ports"] if p["vm"].split("@")[0] in guests)


def test_groups_go_to_members_only(stage):
    world, guests = stage
    members = {(name, family): member(guests[name], family) for name in "bd" for family in (4, 6)}
    strangers = {name: sniffer(guests[name]) for name in "ce"}
    for host in world.hosts[:2]:
        nw.wait_for(f"the ports of {host.name} to be known", lambda h=host: settled(h, guests), 30)
    sender = Sender(guests["a"])
    for (name, family), sock in members.items():
        nw.wait_for(f"{name} to be reached", lambda s=sock, f=family: reached(sender, s, f))
    for sock in strangers.values():
        seen(sock, 4)
    for family in (4, 6):
        for number in range(50):
            sender.send(family, number)
        for name in "bd":
            assert numbers(members[name, family], 0.3) == list(range(50)), (name, family)
        assert {name: seen(sock, family) for name, sock in strangers.items()} == {"c": 0, "e": 0}
    assert world.hosts[0].counters()["edge"]["groups-heard"] > 0


def test_leaving_counts_at_once_and_joining_too(stage):
    world, guests = stage
    h1 = world.hosts[0]
    nw.wait_for("the ports to be known", lambda: settled(h1, guests), 30)
    sender, eyes = Sender(guests["a"]), sniffer(guests["c"])
    for family in (4, 6):
        sock = member(guests["c"], family)

        def delivered(f=family):
            sender.send(f, 1)
            return seen(eyes, f)
        nw.wait_for("c to be reached", delivered)
        sock.close()

        def quiet(f=family):
            time.sleep(0.05)
            seen(eyes, f)
            sender.send(f, 1)
            time.sleep(0.05)
            return not seen(eyes, f)
        nw.wait_for("c to be left alone", quiet)


def test_groups_follow_a_moved_vm(stage):
    """At the new place the port gets every group until its VM has spoken there: nothing needs to be handed over."""
    world, guests = stage
    h2, h3 = world.hosts[1:]
    copy = nw.Guest(world, h3, "d", 0xd)
    here, there = member(guests["d"], 4), member(copy, 4)
    sender = Sender(guests["a"])
    nw.wait_for("the ports to be known", lambda: settled(h2, guests), 30)
    nw.wait_for("d to be reached", lambda: reached(sender, here, 4))
    h3.attach(copy, 2, "arrive", **{"from": h2.locator})
    nw.wait_for("members at the target", lambda: any(len(vn["members"]) == 2 for vn in h3.get("/v1/members")["vns"]))
    for number in range(300):
        sender.send(4, number)
        if number == 100:
            h2.post("/v1/vms/d@default/cut", {"to": h3.locator, "epoch": 2})
        if number == 150:
            h3.post("/v1/vms/d@default/activate", {"epoch": 2})
        time.sleep(0.002)
    at_h2, at_h3 = numbers(here), numbers(there)
    assert at_h2 + at_h3 == list(range(300))
