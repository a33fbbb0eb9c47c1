# SPDX-License-Identifier: Apache-2.0
"""Mobility Headers at a real godwit-nve: a peer that knows nothing of our code (mobility_peer.py) is its management node.

    h1 (edge) ---+--- h2 (default router)       over IPv6 as protocol 135, over IPv4 in UDP
                 |
                net: the management node, a stranger with a key of its own, and one without
"""
import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import time

import pytest

import dissect
import mobility_peer as mp
import nve_world as nw

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(not all(map(os.path.exists, [nw.NVE, nw.GODWIT])), reason="needs the daemons built"),
]

MANAGEMENT, STRANGER, NOBODY = 0x65, 0x42, 0x43     # the last part of their addresses
KEY, OTHER, WRONG = mp.Key(256, bytes(range(32)), "hmac-sha256"), mp.Key(257, bytes(range(16))), mp.Key(256, bytes(32), "hmac-sha256")
PROTOCOL = "71"


class Serving(mp.Option):
    align = (8, 6)
    fields_desc = [mp.ByteField("type", 68), mp.ByteField("len", 16), mp.IP6Field("ip", "::")]


class Peer:
    """One address in the namespace "net"; talks to all hosts."""

    def __init__(self, world, address, key):
        self.address, self.key, self.sequence = address, key, 0
        with nw.netns(world.net):
            self.sock = mp.open_socket(address)
        self.sock.settimeout(0.2)

    def notice(self, to, vm, pairs=(), place=None, epoch=None, lifetime=10, stamp=0.0, key=None, sequence=None, flags=mp.A | mp.H | mp.P):
        """A Request of the management node: addresses in pairs, and where the VM is."""
        self.sequence = self.sequence + 1 if sequence is None else sequence
        options = [mp.VmId(ident=f"{vm}@default".encode())]
        options += [mp.Home4(ip=ip) if "." in ip else mp.Prefix(ip=ip) for ip in pairs]
        options += [mp.Handoff(hi=3), mp.Access()]
        if stamp is not None:
            options.append(mp.Stamp(stamp=mp.stamp_now(stamp) if isinstance(stamp, float) else stamp))
        if place:
            options.append(mp.Router4(ip=place) if "." in place else Serving(ip=place))
        if epoch is not None:
            options.append(mp.Epoch(epoch=epoch))
        return mp.message(self.address, to, mp.BU, struct.pack("!HHH", self.sequence, flags, lifetime), options,
                          key or self.key)

    def send(self, to, octets):
        self.sock.sendto(octets, mp.destination(to))

    def receive(self, source, kind=None, seconds=5.0):
        """The next message from there (of that type); None when none comes in time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                octets, peer = self.sock.recvfrom(4096)
                if peer[0] == source and kind in (None, octets[2]):
                    return mp.Reply(octets, source, self.address)
        return None

    def forget(self):
        with contextlib.suppress(TimeoutError):
            while True:
                self.sock.recvfrom(4096)

    def ask(self, to, *args, **more):
        octets = self.notice(to, *args, **more)
        self.send(to, octets)
        answer = self.receive(to, mp.BA)
        assert answer, "no answer"
        assert answer.signed_by(self.key, self.address)
        assert answer.sequence == self.sequence
        return answer

    def accept(self, to, request, status=0, units=900, stamp=None):
        """Answers a Request as RFC 5213 wants it: with what was asked."""
        kept = request.octets[12:next(at for kind, at in request.order if kind == 9)]
        sequence = struct.unpack_from("!H", request.octets, 6)[0]
        asked = struct.unpack_from("!H", request.octets, 10)[0]
        if stamp is not None:
            at = next(at for kind, at in request.order if kind == 27) - 12
            kept = kept[:at + 2] + struct.pack("!Q", stamp) + kept[at + 10:]
        fixed = struct.pack("!BBHH", status, 0x20, sequence, min(units, asked) if status < 128 else 0)
        self.send(to, mp.message(self.address, to, mp.BA, fixed, [kept], self.key, asker=to))

    def registration(self, source, vm, seconds=10.0):
        """The next Request about that VM; those about others, which may be repeated meanwhile, are passed over."""
        end = time.monotonic() + seconds
        while request := self.receive(source, mp.BU, max(0.0, end - time.monotonic())):
            assert request.signed_by(KEY, source)
            request.sequence, request.flags, request.lifetime = struct.unpack_from("!HHH", request.octets, 6)
            if request.options[8] == [b"\1" + f"{vm}@default".encode()]:
                return request
        return None


class World(nw.World):
    """Two hosts with Mobility Headers; the second one is a router."""

    def __init__(self, family):
        super().__init__(family, hosts=2)
        try:
            self.arrange()
        except BaseException:
            self.remove()
            raise

    def arrange(self):
        self.own = {host.name: host.locator for host in self.hosts}
        peers = [self.underlay(number) for number in (MANAGEMENT, STRANGER, NOBODY)]
        for address in peers:
            nw.run("ip", "-n", self.net, "addr", "add", address + ("/24" if self.family == 4 else "/64"), "dev", "br0",
                   *([] if self.family == 4 else ["nodad"]))
        for number, host in enumerate(self.hosts, 1):
            if self.family == 4:        # next hops of IPv6 routes
                nw.run("ip", "-n", host.space, "addr", "add", f"fd97::{number}/64", "dev", "eth0", "nodad")
            self.reconfigure(host, number, peers)
        self.management, self.stranger = Peer(self, peers[0], KEY), Peer(self, peers[1], OTHER)
        self.nobody = Peer(self, peers[2], OTHER)
        for host in self.hosts:
            host.start()

    def reconfigure(self, host, number, peers):
        host.stop()
        with open(f"{host.folder}/keys", "w", encoding="utf-8") as keys:
            keys.write(KEY.line(peers[0], "nva") + OTHER.line(peers[1], "other"))
        os.chmod(f"{host.folder}/keys", 0o600)
        with open(f"{host.folder}/nve.conf", "a", encoding="utf-8") as conf:
            conf.write(f"registration-transport = mobility-header\nregistration-nva = {peers[0]}\n"
                       f"registration-address = {self.own[host.name]}\nregistration-keys = {host.folder}/keys\n"
                       f"registration-window-ms = 5000\nheartbeat-ms = 200\nhost-routes = {'yes' if number == 2 else 'no'}\n")

    def counts(self, host):
        return host.counters()["mobility"]

    def serve(self, name, number, epoch=1):
        """A guest at h1 that is registered."""
        h1 = self.hosts[0]
        guest = nw.Guest(self, h1, name, number)
        self.management.forget()
        h1.attach(guest, epoch)
        request = self.management.registration(self.own["h1"], name)
        self.management.accept(self.own["h1"], request)
        nw.wait_for("the acceptance", lambda: h1.port(name)["registration"] == "accepted")
        return guest, request

    def routes(self):
        found = []
        for family in ("-4", "-6"):
            done = nw.run("ip", family, "-n", self.hosts[1].space, "route", "show", "proto", PROTOCOL)
            found += [line.split() for line in done.stdout.splitlines()]
        return {words[0]: words[1:] for words in found}


@pytest.fixture(scope="module", params=[4, 6], ids=["underlay4", "underlay6"])
def world(request):
    made = World(request.param)
    yield made
    print(made.logs())
    made.remove()


# ---- registrations ----


def test_registers(world):
    h1, own = world.hosts[0], world.own["h1"]
    guest = nw.Guest(world, h1, "a", 0xa)
    world.management.forget()
    h1.attach(guest, 3)
    first = world.management.registration(own, "a")
    assert first.flags == mp.A | mp.H | mp.P and first.lifetime == 900
    assert first.options[8] == [b"\1a@default"]
    assert first.options[22] == [b"\0\x80" + socket.inet_pton(socket.AF_INET6, guest.ips[1])]
    assert first.options[36] == [b"\x80\0" + socket.inet_aton(guest.ips[0])]
    assert first.options[23] == [b"\0\1"] and first.options[24] == [b"\0\1"]
    assert first.options[25] == [b"\0\0" + nw.mac6(guest.mac)]
    assert first.epoch == 3 and abs(first.number(27) / 65536 - time.time()) < 5
    if world.family == 4:
        assert first.options[38] == [b"\0\0" + socket.inet_aton(h1.locator)]
    again = world.management.registration(own, "a")              # it was not answered
    assert again.sequence == first.sequence + 1 and again.number(27) > first.number(27)
    world.management.accept(own, first)                     # late: not the last one
    nw.wait_for("it to be counted", lambda: h1.counters()["edge"]["registration-replies-late"] >= 1)
    assert h1.port("a")["registration"] == "pending"
    world.management.accept(own, again, units=1)            # 4 s
    nw.wait_for("the acceptance", lambda: h1.port("a")["registration"] == "accepted")
    listed = nw.run(nw.GODWIT, "binding", "show", "a@default", "--api", f"{h1.folder}/api.sock").stdout
    assert "accepted" in listed and "serving" in listed
    refresh = world.management.registration(own, "a", seconds=9)  # after 3 s
    assert refresh.options[23] == [b"\0\5"]
    world.management.accept(own, refresh)


def test_clock_is_taken_from_the_answer(world):
    h1, own = world.hosts[0], world.own["h1"]
    guest = nw.Guest(world, h1, "b", 0xb)
    world.management.forget()
    h1.attach(guest, 1)
    request = world.management.registration(own, "b")
    world.management.accept(own, request, status=156, stamp=mp.stamp_now(3600))
    again = world.management.registration(own, "b")
    assert abs(again.number(27) / 65536 - time.time() - 3600) < 5
    world.management.accept(own, again, status=156, stamp=mp.stamp_now(0))
    again = world.management.registration(own, "b")
    assert abs(again.number(27) / 65536 - time.time()) < 5
    world.management.accept(own, again, status=153)
    nw.wait_for("the refusal", lambda: h1.port("b")["registration"] == "refused")
    assert h1.port("b")["status"] == 153


def test_forced_and_after_a_restart(world):
    h1, own = world.hosts[0], world.own["h1"]
    world.serve("c", 0xc)
    world.management.forget()
    notification = mp.message(world.management.address, own, mp.UPN, struct.pack("!HHH", 77, 1, 0x8000),
                              [mp.VmId(ident=b"c@default")], KEY)
    world.management.send(own, notification)
    answer = world.management.receive(own, mp.UPA)
    assert answer.octets[6:9] == struct.pack("!HB", 77, 0)
    request = world.management.registration(own, "c")
    assert request.options[8] == [b"\1c@default"]
    world.management.accept(own, request)
    nw.wait_for("the acceptance", lambda: h1.port("c")["registration"] == "accepted")
    for restarts in (7, 8):                                 # a heartbeat is answered; then by one that started anew
        world.management.forget()
        beat = world.management.receive(own, mp.HEARTBEAT)
        assert beat.signed_by(KEY, own)
        world.management.send(own, mp.message(
            world.management.address, own, mp.HEARTBEAT, struct.pack("!HI", 1, beat.sequence),
            [struct.pack("!BBBBI", 1, 0, 28, 4, restarts)], KEY, asker=own))
        request = world.management.registration(own, "c", seconds=5 if restarts == 8 else 0.5)
        assert bool(request) == (restarts == 8)
    assert request.options[23] == [b"\0\5"]
    world.management.accept(own, request)


def test_recordings_are_not_obeyed(world):
    """What asks for registrations has no time stamp: a number that is not newer is answered, and nothing else."""
    h1, own, beats = world.hosts[0], world.own["h1"], set()
    for _ in range(2):                                      # nor does an answer to an earlier start's heartbeat fit
        h1.stop()
        h1.start()
        world.management.forget()
        beats.add(world.management.receive(own, mp.HEARTBEAT).sequence)
    assert max(beats) - min(beats) > 1000, beats
    world.serve("r", 0x19)

    def asked(number):
        world.management.forget()
        old = world.counts(h1)["notifications-old"]
        world.management.send(own, mp.message(world.management.address, own, mp.UPN, struct.pack("!HHH", number & 0xFFFF, 1, 0x8000),
                                              [mp.VmId(ident=b"r@default")], KEY))
        request = world.management.registration(own, "r", seconds=0.5)
        if request:
            world.management.accept(own, request)
        return bool(request), world.counts(h1)["notifications-old"] - old

    first = 0xFFFF - 1000                                   # of some other authority, whose numbers begin anywhere
    seen = [asked(number) for number in (first, first + 1, first, first + 1, first + 1001)]
    assert seen == [(True, 0), (True, 0), (False, 1), (False, 1), (True, 0)], seen


def test_deregisters_once(world):
    h1, own = world.hosts[0], world.own["h1"]
    world.serve("d", 0xd)
    world.management.forget()
    h1.request("DELETE", "/v1/vms/d@default")
    ended = world.management.registration(own, "d")
    assert ended.lifetime == 0 and ended.options[23] == [b"\0\4"]
    nw.wait_for("its entry to end without an answer",
                lambda: all(b["vm"] != "d@default" for b in h1.get("/v1/bindings")["bindings"]))
    assert h1.counters()["edge"]["deregistrations-unanswered"] >= 1


# ---- as others see it ----


def heartbeats(world, own, n):
    """Both ends' heartbeats are answered, n times."""
    for sequence in range(1, n + 1):
        beat = world.management.receive(own, mp.HEARTBEAT)
        world.management.send(own, mp.message(world.management.address, own, mp.HEARTBEAT, struct.pack("!HI", 1, beat.sequence),
                                              [struct.pack("!BBBBI", 1, 0, 28, 4, 8)], KEY, asker=own))
        world.management.send(own, mp.message(world.management.address, own, mp.HEARTBEAT, struct.pack("!HI", 0, 5000 + sequence), [], KEY))


def whole_life(world, name):
    """Everything that an edge sends about a VM, and beside it."""
    h1, own = world.hosts[0], world.own["h1"]
    guest, _ = world.serve(name, 0x1f)                          # created
    pairs, elsewhere = [guest.ips[0]] * 2 + [guest.ips[1]] * 2, world.hosts[1].locator
    heartbeats(world, own, 2)
    world.management.forget()
    world.management.send(own, mp.message(world.management.address, own, mp.UPN, struct.pack("!HHH", 78, 1, 0x8000),
                                          [mp.VmId(ident=f"{name}@default".encode())], KEY))
    assert world.management.receive(own, mp.UPA)
    world.management.accept(own, world.management.registration(own, name), status=156, stamp=mp.stamp_now(0))
    again = world.management.registration(own, name)            # refused, asked again
    once_more = world.management.registration(own, name)        # not answered: retransmitted
    assert once_more.sequence == again.sequence + 1
    world.management.accept(own, once_more)
    assert world.stranger.ask(own, name, pairs, elsewhere, epoch=2).status == 129
    assert world.management.ask(own, name, pairs, elsewhere, epoch=2, stamp=-60.0).status == 156
    assert world.management.ask(own, name, pairs, elsewhere, epoch=2).status == 0      # it has moved
    world.management.send(own, mp.message(world.management.address, own, 12, bytes(6), [], KEY))     # a type that nobody knows
    assert world.management.receive(own, mp.ERROR).status == 2
    h1.request("DELETE", f"/v1/vms/{name}@default")
    guest, _ = world.serve(name + "2", 0x2f)
    h1.request("DELETE", f"/v1/vms/{name}2@default")
    assert world.management.registration(own, name + "2").lifetime == 0                # gone


@pytest.mark.skipif(not shutil.which("tshark"), reason="needs tshark")
def test_life_is_dissected(world):
    """Every Mobility Header of a real edge, on either underlay: tshark finds no fault, and reads what it should."""
    h1, own = world.hosts[0], world.own["h1"]
    path = f"{h1.folder}/life.pcap"
    with nw.netns(h1.space):
        capture = dissect.Capture("eth0")
    whole_life(world, "life")
    octets = [message for source, message in capture.write(path) if source == own]
    assert not dissect.malformed(path, own)
    rows = [row for row in dissect.dissect(path) if row["source"] == own and row["mip6.mhtype"]]
    assert len(rows) == len(octets)
    assert {int(row["mip6.mhtype"]) for row in rows} == {mp.BU, mp.BA, mp.ERROR, mp.HEARTBEAT, mp.UPA}
    for row, message in zip(rows, octets):
        said = mp.Reply(message, own, world.stranger.address if checks(message, own, world.stranger.address) else world.management.address)   # its checksum, too
        dissect.agree(row, said)


def checks(octets, source, destination):
    return mp.checksum(source, destination, octets) == 0


# ---- notices ----


def test_genuine_forged_replayed(world):
    h1, own, elsewhere = world.hosts[0], world.own["h1"], world.hosts[1].locator
    guest, _ = world.serve("e", 0xe)
    pairs = [guest.ips[0]] * 2 + [guest.ips[1]] * 2
    before = world.counts(h1)

    def change(name):
        return world.counts(h1)[name] - before[name]

    forged = world.management.notice(own, "e", pairs, elsewhere, epoch=2, key=WRONG)
    world.management.send(own, forged)
    nw.wait_for("the forgery to be counted", lambda: change("drop-forged") == 1)
    world.nobody.send(own, world.nobody.notice(own, "e", pairs, elsewhere, epoch=2))
    nw.wait_for("the one without an association", lambda: change("drop-no-association") == 1)
    unsigned = mp.message(world.management.address, own, mp.BU, struct.pack("!HHH", 5, 0xc200, 10), [mp.VmId(ident=b"e@default")])
    world.management.send(own, unsigned)
    nw.wait_for("the one without a signature", lambda: change("drop-unsigned") == 1)
    assert world.management.receive(own, mp.BA, 0.5) is None    # silence for all of them
    assert world.stranger.ask(own, "e", pairs, elsewhere, epoch=2).status == 129
    assert change("refused-not-management") == 1
    stale = world.management.ask(own, "e", pairs, elsewhere, epoch=2, stamp=-60.0)
    assert stale.status == 156 and abs(stale.number(27) / 65536 - time.time()) < 5
    assert world.management.ask(own, "e", pairs, elsewhere, epoch=2, stamp=60.0).status == 156
    assert world.management.ask(own, "e", pairs, elsewhere, epoch=2, stamp=None).status == 145
    assert h1.port("e")["role"] == "serving"
    assert world.management.ask(own, "e", pairs, elsewhere, epoch=1).status == 129   # it serves with that epoch

    genuine = world.management.notice(own, "e", pairs, elsewhere, epoch=2)
    world.management.send(own, genuine)
    answer = world.management.receive(own, mp.BA)
    assert answer.status == 0 and answer.lifetime == 10
    assert h1.port("e")["role"] == "moved" and h1.port("e")["peer"] == elsewhere
    assert h1.fdb(guest.mac)["kind"] == "moved"
    world.management.send(own, genuine)                     # once more, octet for octet
    assert world.management.receive(own, mp.BA).status == 156
    assert world.management.ask(own, "e", pairs, elsewhere, epoch=1).status == 157
    kept = next(b for b in h1.get("/v1/bindings")["bindings"] if b["vm"] == "e@default")
    assert kept["role"] == "source" and kept["noticed"] and 0 < kept["keep_ms"] <= 40000
    h1.request("DELETE", "/v1/vms/e@default?keep=redirect")
    assert world.management.ask(own, "e", pairs, elsewhere, epoch=2, lifetime=0).status == 0   # cold: at once
    nw.wait_for("the redirect to end", lambda: h1.port("e") is None)
    assert world.management.ask(own, "e", pairs, elsewhere, epoch=2).lifetime == 0           # nothing is kept


def test_port_and_checksum(world):
    """Nothing counts that is sent from another port than 5436; what has no checksum is taken in UDP, and only there."""
    h1, own, at = world.hosts[0], world.own["h1"], world.management.address
    world.serve("u", 0x1d)
    before = world.counts(h1)
    notice = world.management.notice(own, "u", epoch=1)
    if world.family == 4:
        with nw.netns(world.net):
            other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with other:
            other.bind((at, 0))
            other.sendto(notice, mp.destination(own))
        nw.wait_for("the other port to be counted", lambda: world.counts(h1)["bad-port"] == before["bad-port"] + 1)
    world.management.forget()
    world.management.send(own, notice[:4] + bytes([notice[4] ^ 1]) + notice[5:])
    world.management.send(own, notice[:4] + b"\0\0" + notice[6:])
    if world.family == 4:
        assert world.management.receive(own, mp.BA).status == 129       # it serves there, with that epoch
    wrong = 1 if world.family == 4 else 2
    nw.wait_for("the checksum to be counted", lambda: world.counts(h1)["bad-checksum"] == before["bad-checksum"] + wrong)
    assert world.management.receive(own, mp.BA, 0.2) is None


# ---- a default router ----


def test_host_routes(world):
    h2, own = world.hosts[1], world.own["h2"]
    place = world.hosts[0].locator
    pairs = ["10.9.0.1"] * 2 + ["fd09::1"] * 2
    if world.family == 4:
        place6, wanted = "fd97::1", {"10.9.0.1", "fd09::1"}
        # an IPv6 route cannot go by way of an IPv4 address: one notice for each family
        assert world.management.ask(own, "r", pairs[:2], place, epoch=1).status == 0
        assert world.management.ask(own, "r", pairs[2:], place6, epoch=1).status == 0
        assert world.management.ask(own, "s", ["fd09::5"] * 2, place, epoch=1).status == 130
    else:
        wanted = {"10.9.0.1", "fd09::1"}
        answer = world.management.ask(own, "r", pairs, place, epoch=1)
        assert answer.status == 0 and answer.lifetime == 10
    assert set(world.routes()) == wanted
    via = world.routes()
    assert place in via["10.9.0.1"], via
    assert ("fd97::1" if world.family == 4 else place) in via["fd09::1"], via

    moved = "10.98.0.77" if world.family == 4 else "fd98::77"
    assert world.management.ask(own, "r", pairs[:2], moved, epoch=2).status == 0     # it has moved on
    assert moved in world.routes()["10.9.0.1"]
    assert world.management.ask(own, "r", pairs[:2], place, epoch=1).status == 157    # an older place
    assert world.management.ask(own, "thief", pairs[:2], place, epoch=9).status == 155
    assert world.management.ask(own, "odd", ["10.9.0.7"], place, epoch=1).status == 128
    assert world.management.ask(own, "none", [], place, epoch=1).status == 158
    assert world.management.ask(own, "new", ["10.9.0.8", "10.98.0.1" if world.family == 4 else "10.9.0.8"],
                                None if world.family == 4 else place, epoch=1).status == 0
    assert world.stranger.ask(own, "r", pairs[:2], place, epoch=3).status == 129
    assert moved in world.routes()["10.9.0.1"]
    assert len(h2.get("/v1/host-routes")["host_routes"]) == 3

    assert world.management.ask(own, "r", pairs, place, epoch=3, lifetime=0).status == 0
    assert set(world.routes()) == {"10.9.0.8"}
    assert world.management.ask(own, "short", ["10.9.0.9"] * 2, place, epoch=1, lifetime=1).status == 0
    assert "10.9.0.9" in world.routes()
    nw.wait_for("the route to run out", lambda: "10.9.0.9" not in world.routes())
    nw.run("ip", "-n", h2.space, "route", "add", "10.9.0.10/32", "dev", "eth0")       # somebody else's
    h2.stop(kill=True)
    assert "10.9.0.8" in world.routes()
    h2.start()
    assert world.routes() == {}                             # flushed: they are told anew
    assert "10.9.0.10" in nw.run("ip", "-n", h2.space, "route").stdout
    assert h2.counters()["host_routes"]["held"] == 0


def test_keys_are_read_again(world):
    h1, own = world.hosts[0], world.own["h1"]
    new = mp.Key(400, bytes(range(50, 82)), "hmac-sha256")
    with open(f"{h1.folder}/keys", "w", encoding="utf-8") as keys:
        keys.write(new.line(world.management.address, "nva") + KEY.line(world.management.address, "nva"))
    h1.process.send_signal(signal.SIGHUP)
    nw.wait_for("the new key", lambda: (b := world.management.receive(own, mp.HEARTBEAT)) and b.signed_by(new, own))
    old = world.management.notice(own, "nobody", ["10.9.0.1"] * 2, h1.locator, epoch=1)
    world.management.send(own, old)                         # the old one is still good
    assert world.management.receive(own, mp.BA).status == 0


def test_configuration(world):
    h1 = world.hosts[0]
    refused = [("registration-transport=pigeon", "session"), ("registration-nva=ff02::1", "unicast")]
    if world.family == 4:
        refused += [("registration-nva=fd97::101", "set an IPv6 address of this host"),
                    ("registration-address=10.98.0.77", "10.98.0.77 is not the locator")]
    else:
        refused += [("registration-nva=10.98.0.101", "the locator an IPv6 one"),
                    ("registration-address=10.98.0.1", "registration-nva an IPv6 one")]
    for change, words in refused:
        done = subprocess.run(h1.command("--set", change, "--check"), capture_output=True, text=True)
        assert done.returncode and words in done.stdout + done.stderr, (change, done.stdout + done.stderr)
    if world.family == 4:       # an IPv6 address beside an IPv4 locator
        assert not subprocess.run(h1.command("--set", "registration-nva=fd97::101", "--set", "registration-address=fd97::1",
                                             "--check"), capture_output=True).returncode
