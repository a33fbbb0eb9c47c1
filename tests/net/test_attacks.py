# SPDX-License-Identifier: Apache-2.0
"""The attack suite: hostile VMs and a hostile host on the underlay, against the real edges.

        eve   alice   alice's twin     bob   bob's twin        mallory: a host on the underlay
          \\     |     / (VNI 200)        |    / (VNI 200)        that is no edge
           +---- h1 ---+----------------- h2                        |
                 +---------- underlay 10.98.0.0/24 or fd98::/64 ----+

The twins have the MACs and addresses of alice and bob, in another tenant's VN. All the time numbered datagrams go between
alice and bob both ways in both families, and between the twins. After each attack: every frame of it is in the counter
that the row names; nothing of it was seen at any port where it does not belong; no number is missing, doubled or out of
order. The rows are in attacks.py.
"""
import json
import os
import select
import socket
import struct
import sys
import threading
import time

import pytest

sys.path.insert(0, os.path.dirname(__file__))
import nve_world as nw  # noqa: E402

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(not all(map(os.path.exists, [nw.NVE, nw.GODWIT])), reason="needs the daemons built"),
]
attacks = pytest.importorskip("attacks", reason="needs python3-scapy")
from scapy.all import IP, UDP, VXLAN, Ether, IPv6, IPv6ExtHdrFragment, Raw  # noqa: E402

VNIS = (100, 200)
EVE_LIMITS = {"neighbours": 200, "misses": 200, "group": 200}
RATE = 200          # of each witness, per second
TOGETHER = 8        # attacks between two looks at the witnesses
ETH_P_ALL = 3


def raw_socket(space, device="eth0", protocol=0):
    with nw.netns(space):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
        sock.setsockopt(socket.SOL_SOCKET, nw.SO_RCVBUFFORCE, 16 << 20)
        sock.bind((device, protocol))
    return sock


class Witness:
    """Numbered datagrams from one guest to another; every number must come once, in order."""

    def __init__(self, source, target, family, port):
        self.name = f"{source.vm}->{target.vm}/ipv{family}"
        self.receiver = target.udp(family, port)
        self.receiver.settimeout(0.2)
        self.expected, self.faults, self.running = 0, [], True
        threading.Thread(target=self.read, daemon=True).start()
        self.stream = nw.Stream(source, family, (target.ips[family == 6], port), rate=RATE)

    def read(self):
        while self.running:
            try:
                number, = struct.unpack(">I", self.receiver.recv(64)[:4])
            except OSError:
                continue
            if number != self.expected:
                self.faults.append(f"{number} came instead of {self.expected}")
            self.expected = number + 1

    def stop(self):
        sent = self.stream.stop()
        nw.wait_for(f"the last datagram of {self.name}", lambda: self.expected >= sent)
        self.running = False
        return self.faults


class Sniffer:
    """All frames that come out of the ports that are not Eve's."""

    def __init__(self, guests):
        self.sockets = {raw_socket(g.space, protocol=ETH_P_ALL): g for g in guests}

    def take(self):
        """[(guest, what follows the Ethernet addresses)] since the last call; the witnesses' own left out."""
        seen = []
        while True:
            ready, _, _ = select.select(list(self.sockets), [], [], 0)
            if not ready:
                return seen
            for sock in ready:
                octets, where = sock.recvfrom(2048)
                if where[2] != socket.PACKET_OUTGOING:
                    seen.append((self.sockets[sock], octets[12:]))


class Stage:
    def __init__(self, family):
        self.world = nw.World(family, hosts=2)
        try:
            self.build()
        except BaseException:
            self.world.remove()
            raise

    def build(self):
        world = self.world
        h1, h2 = world.hosts
        self.away, self.other = world.underlay(3), world.underlay(4)     # locators of edges that nobody plays
        world.nva.members = {vni: [h1.locator, h2.locator, self.away, self.other] for vni in VNIS}
        self.alice, self.bob = nw.Guest(world, h1, "alice", 0xa), nw.Guest(world, h2, "bob", 0xb)
        self.twins = nw.Guest(world, h1, "alice2", 0xa, vni=200), nw.Guest(world, h2, "bob2", 0xb, vni=200)
        self.eve = nw.Guest(world, h1, "eve", 0xe)
        nw.run("ip", "-n", self.eve.space, "link", "set", "eth0", "mtu", "1600")
        nw.run("ip", "-n", h1.space, "link", "set", self.eve.device, "mtu", "1600")
        for guest in (self.alice, self.bob, *self.twins, self.eve):
            guest.is_at(guest.host, 1)
            guest.host.attach(guest, **({"limits": EVE_LIMITS} if guest is self.eve else {}))
        for host in (h1, h2):
            nw.wait_for("members", lambda h=host: all(len(vn["members"]) == 3 for vn in h.get("/v1/members")["vns"]) and
                        len(h.get("/v1/members")["vns"]) == 2)
        self.carol_is_at(self.away, 1)
        self.mallory = f"{world.prefix}-mallory"
        world.space_add(self.mallory)
        world.plug(self.mallory, "eth0", f"{world.prefix}m", world.underlay(66))
        self.mallory_socket = raw_socket(self.mallory)
        self.h1_mac = mac_of_underlay(h1.space)
        self.eve_socket = raw_socket(self.eve.space)
        self.witnesses = []
        for source, target, port in ((self.alice, self.bob, 7001), (self.bob, self.alice, 7002), (*self.twins, 7003)):
            for family in (4, 6):
                self.warm(source, target, family)
                self.witnesses.append(Witness(source, target, family, port + family * 10))
        self.sniffer = Sniffer([self.alice, self.bob, *self.twins])
        self.h1 = h1

    def warm(self, source, target, family):
        """The first packets are about finding each other; the witness counts from then on."""
        receiver, sender = target.udp(family, 6999), source.udp(family)
        receiver.settimeout(0.2)

        def through():
            sender.sendto(b"warm", (target.ips[family == 6], 6999))
            try:
                return receiver.recv(64)
            except OSError:
                return None
        nw.wait_for(f"{source.vm} to reach {target.vm}", through)
        receiver.close()
        sender.close()

    def carol_is_at(self, locator, epoch):
        self.world.nva.where[(100, attacks.CAROL.mac)] = dict(
            vm="carol@default", locator=locator, epoch=epoch, ips=[attacks.CAROL.ip, attacks.CAROL.ip6])
        self.world.nva.push((100, attacks.CAROL.mac))
        nw.wait_for("carol to be known", lambda: all(
            (h.fdb(attacks.CAROL.mac) or {}).get("locator") == locator for h in self.world.hosts))

    def counters(self):
        both = self.h1.counters()
        return {**both["edge"], **both["datapath"]}

    def counted(self, before, names, n):
        """All n of them, in these counters together."""
        def enough():
            now = self.counters()
            return sum(now[name] - before[name] for name in names) >= n
        nw.wait_for(f"{n} more in {' or '.join(names)}", enough, 5)

    def undisturbed(self):
        """Every witness has got something new since now, and nothing wrong."""
        marks = [w.stream.sent for w in self.witnesses]
        for witness, mark in zip(self.witnesses, marks):
            nw.wait_for(f"{witness.name} to go on", lambda w=witness, m=mark: w.expected >= m or w.faults)
            assert not witness.faults, f"{witness.name}: {witness.faults[:5]}"

    @staticmethod
    def leaked(frames, seen):
        """Seen at a port, although it should not have been."""
        bodies = {bytes(f)[12:] for f in frames}
        return [f"{guest.vm}: {body[:40].hex()}" for guest, body in seen
                if any(body.startswith(b) or b.startswith(body) and len(body) > 30 for b in bodies)]

    def remove(self):
        try:
            for witness in self.witnesses:
                assert not witness.stop(), f"{witness.name}: {witness.faults[:5]}"
        finally:
            self.world.remove()


def mac_of_underlay(space):
    """The MAC of the underlay device of a host."""
    return json.loads(nw.run("ip", "-n", space, "-j", "link", "show", "eth0").stdout)[0]["address"]


@pytest.fixture(scope="module", params=[4, 6], ids=["underlay4", "underlay6"])
def stage(request):
    made = Stage(request.param)
    yield made
    made.remove()


def fails(problems):
    assert not problems, "\n" + "\n".join(problems)


def run_table(stage, rows):
    """Each row is counted by itself; whether others were disturbed, and saw any of it, is looked at for some rows together.
    All that went wrong is told at the end."""
    problems = []
    for first in range(0, len(rows), TOGETHER):
        some = rows[first:first + TOGETHER]
        stage.sniffer.take()
        for name, counter, frames in some:
            before = stage.counters()
            for frame in frames:
                stage.eve_socket.send(bytes(frame))
            try:
                stage.counted(before, counter.split("|"), len(frames))
            except AssertionError as error:
                after = stage.counters()
                problems.append(f"{name}: {error}; counted instead: "
                                f"{ {k: after[k] - before[k] for k in after if after[k] != before[k]} }")
        try:
            stage.undisturbed()
        except AssertionError as error:
            problems.append(f"one of {', '.join(row[0] for row in some)}: {error}")
        seen = stage.sniffer.take()
        problems += [f"{name}: leaked to {leak}" for name, _, frames in some for leak in stage.leaked(frames, seen)]
    return problems


def test_hostile_guest(stage):
    assert len(attacks.GUEST) + len(attacks.FLOODS) + len(attacks.HARMLESS) >= 60
    fails(run_table(stage, attacks.GUEST))


def test_floods_are_limited(stage):
    """What one VM may ask for is bounded, and others are served meanwhile, also those who ask for something new."""
    problems = []
    for name, counter, frames, n in attacks.FLOODS:
        before = stage.counters()
        octets = [bytes(f) for f in frames]
        for i in range(n):
            stage.eve_socket.send(octets[i % len(octets)])
        try:
            stage.counted(before, [counter], n // 4)
            stage.undisturbed()
        except AssertionError as error:
            problems.append(f"{name}: {error}")
    fails(problems)


def test_honest_oddities_reach_only_whom_they_are_for(stage):
    problems = []
    for name, who, frames in attacks.HARMLESS:
        receiver = stage.alice if who is attacks.ALICE else stage.bob
        stage.sniffer.take()
        bodies = [bytes(f)[12:] for f in frames]
        for frame in frames:
            stage.eve_socket.send(bytes(frame))
        seen = []
        try:
            nw.wait_for(f"{name} at {receiver.vm}", lambda: seen.extend(stage.sniffer.take()) or any(
                guest is receiver and body == bodies[-1] for guest, body in seen), 3)
            stage.undisturbed()
        except AssertionError as error:
            problems.append(f"{name}: {error}")
        seen += stage.sniffer.take()
        mark = b"attack:"
        problems += [f"{name}: also at {guest.vm}" for guest, body in seen if guest is not receiver and mark in body]
        problems += [f"{name}: taken apart on the way" for guest, body in seen
                     if mark in body and not any(body == b for b in bodies)]
    fails(problems)


# ---- the underlay ----

def inner(source, target, name, to_mac=None):
    return Ether(src=source.mac, dst=to_mac or target.mac) / IP(src=source.ip, dst=target.ip) / UDP() / attacks.mark(name)


def outer(stage, source, payload, vni=100, flags=8, reserved=0, port=4789, raw=None, fragment=False):
    """One VXLAN packet to h1, from whatever address."""
    to = stage.h1.locator
    if stage.world.family == 4:
        ip = IP(src=source, dst=to, flags="MF" if fragment else "DF")
    else:
        ip = IPv6(src=source, dst=to) / IPv6ExtHdrFragment(nh=17, m=1, id=5) if fragment else IPv6(src=source, dst=to)
    header = VXLAN(vni=vni, flags=flags, reserved2=reserved) if raw is None else Raw(raw)
    packet = Ether(dst=stage.h1_mac) / ip / UDP(sport=50000, dport=port, chksum=0) / header / payload
    return bytes(packet)


def from_mallory(stage, packets, counter, n):
    before = stage.counters()
    for packet in packets:
        stage.mallory_socket.send(packet)
    stage.counted(before, counter.split("|"), n)


def underlay_rows(stage):
    """name, packets, counter (of h1)."""
    m, member, away = stage.world.underlay(66), stage.world.hosts[1].locator, stage.away
    a, b, c, e = attacks.ALICE, attacks.BOB, attacks.CAROL, attacks.EVE
    marked = struct.pack(">BBHI", 0x88, 0, 0x8000 | 0x000a, 100 << 8)       # group policy: in flight, for alice

    def one(name, source, frame, **how):
        return [outer(stage, source, frame, **how)]
    return [
        ("inject-as-remote", one("1", m, inner(b, a, "u1")), "drop-bad-sender"),
        ("inject-as-local", one("2", m, inner(e, a, "u2")), "drop-bad-sender"),
        ("inject-as-nobody", one("3", m, inner(attacks.NOBODY, a, "u3")), "drop-bad-sender"),
        ("inject-broadcast", one("4", m, inner(b, a, "u4", attacks.ALL)), "drop-bad-sender"),
        ("inject-into-other-tenant", one("5", m, inner(b, a, "u5"), vni=200), "drop-bad-sender"),
        ("inject-into-unknown-vn", one("6", m, inner(b, a, "u6"), vni=0xabcdef), "drop-bad-sender"),
        ("inject-into-vni-zero", one("7", m, inner(b, a, "u7"), vni=0), "drop-bad-sender"),
        ("inject-marked-as-in-flight", one("8", m, inner(b, a, "u8"), raw=marked), "drop-bad-sender"),
        ("inject-arp", [outer(stage, m, attacks.arp(2, b.mac, b.ip, a.mac, a.ip, source=b.mac))], "drop-bad-sender"),
        ("inject-ra", [outer(stage, m, attacks.nd(attacks.ra(), source=b.link, to=attacks.ALL_NODES,
                                                   mac=attacks.ALL_NODES_MAC))], "drop-bad-sender"),
        ("inject-many", [outer(stage, m, inner(b, a, f"flood{i}")) for i in range(300)], "drop-bad-sender"),
        ("edge-speaks-as-our-vm", one("9", member, inner(e, a, "u9")), "drop-source-local"),
        ("edge-speaks-as-our-vm-to-all", one("10", member, inner(a, e, "u10", attacks.ALL)), "drop-source-local"),
        ("edge-speaks-as-our-vm-marked", one("11", member, inner(e, a, "u11"), raw=marked), "drop-source-local"),
        ("edge-speaks-as-anothers-vm", one("12", member, inner(c, a, "u12")), "drop-source-refused"),
        ("edge-speaks-as-anothers-vm-marked", one("13", member, inner(c, a, "u13"), raw=marked), "drop-source-refused"),
        ("edge-speaks-as-anothers-vm-to-all", one("14", member, inner(c, a, "u14", attacks.ALL)), "drop-source-refused"),
        ("vlan-inside", [outer(stage, away, Ether(src=c.mac, dst=a.mac) / attacks.Dot1Q(vlan=5) / IP(src=c.ip, dst=a.ip) /
                                UDP() / attacks.mark("u15"))], "drop-vlan"),
        ("no-vni-flag", one("17", away, inner(c, a, "u17"), flags=0), "drop-vxlan-header"),
        ("unknown-flags", one("18", away, inner(c, a, "u18"), flags=0x48), "drop-vxlan-header"),
        ("unknown-flags-from-a-stranger", one("19", m, inner(b, a, "u19"), flags=0x0c), "drop-vxlan-header"),
        ("reserved-octet", one("20", away, inner(c, a, "u20"), reserved=7), "drop-vxlan-header"),
        ("reserved-octets-of-group-policy", one("21", away, inner(c, a, "u21"), raw=struct.pack(">BBHI", 8, 0, 1, 100 << 8)),
         "drop-vxlan-header"),
        ("cut-in-the-header", one("22", away, Raw(b""), raw=b"\x08\0\0"), "drop-vxlan-short"),
        ("cut-before-the-frame", one("23", away, Raw(b"")), "drop-vxlan-short"),
        ("cut-in-the-frame", one("24", away, Raw(bytes(inner(c, a, "u24"))[:13])), "drop-vxlan-short"),
        ("udp-without-anything", one("25", away, Raw(b""), raw=b""), "drop-vxlan-short"),
        ("many-broken", [outer(stage, m, inner(b, a, f"flood{i}"), flags=i & 0x87) for i in range(300)], "drop-vxlan-header"),
        ("unknown-destination", one("16", away, inner(c, a, "u16", "02:99:00:00:00:01")), "negative-answers"),
    ]


def test_hostile_underlay_host(stage):
    problems = []
    for name, packets, counter in underlay_rows(stage):
        stage.sniffer.take()
        try:
            from_mallory(stage, packets, counter, len(packets))
            stage.undisturbed()
        except AssertionError as error:
            problems.append(f"{name}: {error}")
        problems += [f"{name}: at {guest.vm}" for guest, body in stage.sniffer.take() if b"attack:u" in body or
                     b"attack:flood" in body]
    fails(problems)


def test_malformed_vxlan_is_nobodys(stage):
    """What IP and UDP refuse is theirs to refuse, and what the kernel puts together is looked at by its device. Nothing of it
    reaches a port."""
    away, frame = stage.away, inner(attacks.CAROL, attacks.ALICE, "malformed")
    whole = outer(stage, away, frame)
    packets = {
        "cut-on-the-way": whole[:-30],
        "udp-length": whole.replace(struct.pack(">HH", 50000, 4789) + struct.pack(">H", len(bytes(frame)) + 16),
                                    struct.pack(">HHH", 50000, 4789, 2000)),
        "fragment": outer(stage, away, frame, fragment=True),
        "other-port": outer(stage, away, frame, port=4790),
    }
    stage.sniffer.take()
    for packet in packets.values():
        stage.mallory_socket.send(packet)
    good = outer(stage, away, inner(attacks.CAROL, attacks.ALICE, "well-formed"))
    stage.mallory_socket.send(good)
    seen = []
    nw.wait_for("the one that is well-formed", lambda: seen.extend(stage.sniffer.take()) or any(
        b"well-formed" in body for _, body in seen))
    stage.undisturbed()
    seen += stage.sniffer.take()
    assert not [guest.vm for guest, body in seen if b"attack:malformed" in body]


def test_former_place_is_fenced(stage):
    """Carol has moved. What her old edge still sends in her name is dropped, what the new one sends gets through."""
    frame = inner(attacks.CAROL, attacks.ALICE, "carol")
    before = stage.counters()
    stage.mallory_socket.send(outer(stage, stage.away, frame))
    nw.wait_for("carol from her place", lambda: any(b"attack:carol" in body for _, body in stage.sniffer.take()))
    stage.carol_is_at(stage.other, 2)
    time.sleep(0.6)     # what is on its way when she moves is still hers
    stage.sniffer.take()
    stage.mallory_socket.send(outer(stage, stage.away, frame))
    stage.counted(before, ["drop-source-refused"], 1)
    assert not [g.vm for g, body in stage.sniffer.take() if b"attack:carol" in body]
    stage.mallory_socket.send(outer(stage, stage.other, frame))
    nw.wait_for("carol from her new place", lambda: any(b"attack:carol" in body for _, body in stage.sniffer.take()))
    stage.undisturbed()


def test_late_news_loses_nothing(stage):
    """Carol is back at her first place before we are told of it: her frames wait for the authority's word, in order."""
    world, epoch = stage.world, 3
    before = stage.counters()
    packets = [outer(stage, stage.away, Ether(src=attacks.CAROL.mac, dst=attacks.ALICE.mac) /
                     IP(src=attacks.CAROL.ip, dst=attacks.ALICE.ip) / UDP() / Raw(b"late:%04d" % i)) for i in range(200)]
    world.nva.where[(100, attacks.CAROL.mac)] = dict(vm="carol@default", locator=stage.away, epoch=epoch,
                                                     ips=[attacks.CAROL.ip, attacks.CAROL.ip6])
    time.sleep(0.6)     # since she left that place
    stage.sniffer.take()
    seen = []
    for packet in packets:
        stage.mallory_socket.send(packet)

    def all_there():
        seen.extend(body[body.index(b"late:"):][5:9] for _, body in stage.sniffer.take() if b"late:" in body)
        return len(seen) >= len(packets)
    nw.wait_for("all of them", all_there)
    assert seen == sorted(seen) and len(seen) == len(packets)
    assert stage.counters()["sources-confirmed"] > before["sources-confirmed"]


def test_permission_opens_what_it_names(stage):
    """A port that may answer DHCP clients does; a router advertisement is still refused."""
    offer = attacks.ether() / IP(src=attacks.EVE.ip, dst=attacks.ALICE.ip) / UDP(sport=67, dport=68) / attacks.mark("allowed")
    stage.eve.host.attach(stage.eve, limits=EVE_LIMITS, allow=["dhcp-server"])
    assert stage.h1.port("eve")["allow"] == ["dhcp-server"]
    stage.sniffer.take()
    stage.eve_socket.send(bytes(offer))
    nw.wait_for("the offer", lambda: any(b"attack:allowed" in body for _, body in stage.sniffer.take()))
    before = stage.counters()
    stage.eve_socket.send(bytes(attacks.nd(attacks.ra(), source=attacks.EVE.link)))
    stage.counted(before, ["drop-guard-router"], 1)
    stage.eve.host.attach(stage.eve, limits=EVE_LIMITS, allow=["forward"])
    before = stage.counters()
    in_bobs_name = attacks.nd(attacks.ICMPv6ND_NS(tgt=attacks.ALICE.ip6) / attacks.ICMPv6NDOptSrcLLAddr(
        lladdr=attacks.EVE.mac), source=attacks.BOB.ip6)
    stage.eve_socket.send(bytes(in_bobs_name))      # would put Eve's MAC into Alice's cache for Bob
    stage.counted(before, ["drop-guard-nd"], 1)
    stage.eve.host.attach(stage.eve, limits=EVE_LIMITS)
    before = stage.counters()
    stage.eve_socket.send(bytes(offer))
    stage.counted(before, ["drop-guard-dhcp"], 1)
    status, answer = stage.h1.request("POST", "/v1/ports", dict(
        id="x-0", vm="x", vni=100, mac="52:54:00:00:00:77", device=stage.eve.device, epoch=1, allow=["everything"]))
    assert status == 400 and "ra, dhcp-server" in answer["error"]["text"], answer
