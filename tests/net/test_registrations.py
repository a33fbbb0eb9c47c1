# SPDX-License-Identifier: Apache-2.0
"""A real godwit-nva, registered at with Mobility Headers by a peer that knows nothing of our code (mobility_peer.py).

All runs in one network namespace that the module makes and leaves: the authority and four hypervisors, each an address.
The hosts' TLS sessions only place VMs; what is registered comes as datagrams: once as IPv6 packets of protocol 135, once in
UDP over IPv4. What does not depend on that is asked once.
"""
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "unit"))
import nva_harness as harness  # noqa: E402

import mobility_peer as mp  # noqa: E402
from dissect import Capture, dissect, malformed  # noqa: E402

BUILD = os.environ.get("GW_BUILD", os.path.join(HERE, "..", "..", "build"))
PROGRAM, GODWIT = os.path.join(BUILD, "src/nva/godwit-nva"), os.path.join(BUILD, "src/cli/godwit")

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a network namespace"),
    pytest.mark.skipif(not all(map(os.path.exists, [PROGRAM, GODWIT])), reason="needs the daemons built"),
]

NAMES = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "stranger": 0x66}
OVER_IPV6 = pytest.mark.parametrize("world", [6], indirect=True, ids=["ipv6"])     # it depends on neither
KEYS = {name: mp.Key(256 + i, bytes(range(i, i + 16))) for i, name in enumerate(["h1", "h2", "h3", "h4"])}
KEYS["h2"] = mp.Key(300, bytes(range(100, 132)), "hmac-sha256")


def at(family, number):
    return "fd99::%x" % number if family == 6 else "10.99.0.%d" % number


class World:
    def __init__(self, family):
        self.family, self.at = family, at(family, 0xfe)
        self.address = {name: at(family, number) for name, number in NAMES.items()}
        self.ns = mp.Namespace([self.at] + list(self.address.values()))
        self.nva = harness.Nva(PROGRAM, GODWIT)
        self.keys = self.nva.dir + "/keys"
        self.write_keys()
        self.nva.settings.update({"registration-listen": self.at, "registration-keys": self.keys})
        self.nva.start()
        self.nva.post("/v1/vns", {"name": "blue", "subnets": ["10.1.0.0/16", "fd00:1::/64"]}, 201)
        # h3's locator is of the other family.
        for name, locator in (("h1", self.address["h1"]), ("h2", self.address["h2"]), ("h3", at(10 - family, 3))):
            host = harness.FakeHost(self.nva, name, locator, memory_mib=65536, vcpus=1024)
            host.register = lambda vm, handoff: None  # datagrams, by the test
            self.nva.hosts[name] = host.connect()
        self.peers = {name: mp.Hypervisor(address, self.at, KEYS.get(name)) for name, address in self.address.items()}
        self.n = 0

    def write_keys(self, lines=None, mode=0o600):
        if lines is None:
            lines = [KEYS[name].line(self.address[name], name) for name in KEYS]
        with open(self.keys, "w") as f:
            f.write("# SPI algorithm address id key\n" + "".join(lines))
        os.chmod(self.keys, mode)

    def hangup(self, words):
        """Has the keys read again, and waits for the line that says how it went."""
        before = self.nva.read_log().count(words)
        self.nva.process.send_signal(signal.SIGHUP)
        harness.wait(lambda: self.nva.read_log().count(words) > before, "no line \"%s\"" % words)

    def vm(self, nve="h1", addresses=None):
        """A VM that management put there, not registered yet."""
        self.n += 1
        port = {"vn": "blue"} if addresses is None else {"vn": "blue", "addresses": addresses}
        name = "v%d" % self.n
        self.nva.post("/v1/vms", {"name": name, "kernel": "/boot/vmlinuz", "memory_mib": 16, "ports": [port]}, 201)
        self.nva.post("/v1/vms/%s/start" % name, {"nve": nve}, 200)
        return Vm(self, name)

    def counters(self):
        status = self.nva.get("/v1/status")
        return dict(status["mobility"], **{("status-" + k.split("-")[0] if k[0].isdigit() else k): n
                                           for k, n in status["registrar"].items()})

    def remove(self):
        for peer in self.peers.values():
            peer.close()
        try:
            self.nva.end()
        finally:
            self.ns.leave()


class Vm:
    def __init__(self, world, name):
        self.world, self.name, self.id = world, name, name + "@default"
        port = self.state()["ports"][0]
        self.mac, self.addresses = port["mac"], port["addresses"]

    def state(self):
        return self.world.nva.get("/v1/vms/" + self.name)

    @property
    def binding(self):
        return self.state()["binding"]

    @property
    def epoch(self):
        return self.state()["epoch"]

    def ask(self, nve="h1", **more):
        return self.world.peers[nve].ask(self.id, **self.what(more))

    def request(self, nve="h1", **more):
        return self.world.peers[nve].request(self.id, **self.what(more))

    def what(self, more):
        out = dict(macs=[self.mac], addresses=self.addresses, epoch=self.epoch)
        out.update(more)
        return out

    def serve(self, nve="h1"):
        answer = self.ask(nve)
        assert answer.status == 0, answer.status
        return self


@pytest.fixture(scope="module", params=[6, 4], ids=["ipv6", "udp"])
def world(request):
    made = World(request.param)
    yield made
    print(made.nva.read_log()[-4000:])
    made.remove()


class Counted:
    """The counters named grow by so much, and no other of those that tell of refusals grows."""

    ALL = ["bad-size", "bad-checksum", "unknown-type", "bad-payload-protocol", "bad-header-length", "forged", "replayed",
           "drop-no-association", "drop-unsigned", "drop-malformed", "unanswered", "early", "bad-port"]

    def __init__(self, world, **grow):
        self.world, self.grow = world, {k.replace("_", "-"): n for k, n in grow.items()}

    def __enter__(self):
        self.before = self.world.counters()

    def __exit__(self, kind, *rest):
        if kind:
            return
        after = self.world.counters()
        seen = {k: after.get(k, 0) - self.before.get(k, 0) for k in set(self.ALL) | set(self.grow)}
        assert seen == {k: self.grow.get(k, 0) for k in seen}, seen


# --- what is accepted ---


def test_create_refresh_deregister(world):
    vm = world.vm()
    assert vm.binding["state"] == "placed"
    answer = vm.ask()
    assert (answer.type, answer.status, answer.flags, answer.lifetime) == (mp.BA, 0, 0x20, 900)
    assert answer.sequence == world.peers["h1"].sequence
    assert answer.signed_by(KEYS["h1"], world.address["h1"])
    assert answer.order[-1][1] % 8 == 5
    assert vm.binding["state"] == "serving"
    answer = vm.ask(hi=5, lifetime=10)
    assert (answer.status, answer.lifetime, answer.options[23]) == (0, 10, [b"\0\5"])
    answer = vm.ask(hi=4, lifetime=0)
    assert (answer.status, answer.lifetime) == (0, 0)
    assert vm.binding["state"] == "lapsed"
    assert vm.ask(hi=4).status == 0  # within the delay before the entry goes, the session continues
    assert vm.binding["state"] == "serving"


def router4(world):
    """Over IPv4 it must be the source; an IPv6 locator is not judged by it."""
    return "192.0.2.7" if world.family == 6 else world.address["h1"]


def test_answer_echoes_request(world):
    vm = world.vm()
    octets = vm.request(extra=[mp.Router4(ip=router4(world))])
    world.peers["h1"].send(octets)
    answer = world.peers["h1"].receive()
    asked = mp.Reply(octets, world.address["h1"], world.at)
    for kind in (8, 19, 22, 23, 24, 25, 27, 36, 38):
        assert answer.options[kind] == asked.options[kind], kind
    assert 37 not in answer.options  # D2 section 9


def test_sha256(world):
    vm = world.vm("h2")
    answer = vm.ask("h2")
    assert answer.status == 0
    assert answer.signed_by(KEYS["h2"], world.address["h2"])
    assert answer.order[-1][1] % 8 == 1 and len(answer.options[9][0]) == 21


@OVER_IPV6
@pytest.mark.parametrize("asked,granted", [(0, 0), (1, 1), (900, 900), (901, 900), (65535, 900)])
def test_lifetimes(world, asked, granted):
    vm = world.vm().serve()
    answer = vm.ask(lifetime=asked)
    assert (answer.status, answer.lifetime) == (0, granted)
    assert vm.binding["state"] == ("serving" if asked else "lapsed")


@OVER_IPV6
def test_one_unit_expires(world):
    vm = world.vm().serve()
    assert vm.ask(lifetime=1).status == 0
    started = time.monotonic()
    harness.wait(lambda: vm.binding["state"] == "lapsed", "one unit does not end", 30)
    assert time.monotonic() - started > 3.5


@OVER_IPV6
def test_acknowledgement_only_when_asked(world):
    vm = world.vm()
    world.peers["h1"].send(vm.request(flags=mp.H | mp.P))
    world.peers["h1"].quiet()
    assert vm.binding["state"] == "serving"
    assert vm.ask(flags=mp.H | mp.P, epoch=vm.epoch + 5).status == 129  # a refusal is told all the same


def test_ipv4_locator(world):
    """The source says where a VM is. From an IPv6 address an IPv4 locator is said in option 38; over IPv4 it may repeat the source."""
    host, other = ("h3", "h1") if world.family == 6 else ("h1", "h2")
    vm = world.vm(host, addresses=["10.1.7.7"])
    assert vm.ask(host).status == (154 if world.family == 6 else 0)
    assert vm.ask(host, extra=[mp.Router4(ip=at(4, NAMES[other]))]).status == 154
    answer = vm.ask(host, extra=[mp.Router4(ip=at(4, NAMES[host]))])
    assert answer.status == 0 and 36 in answer.options and 22 not in answer.options
    if world.family == 4:       # an IPv6 locator is not said over IPv4
        vm = world.vm("h3", addresses=["10.1.7.9"])
        assert vm.ask("h3").status == 154
        assert vm.ask("h3", extra=[mp.Router4(ip=world.address["h3"])]).status == 154


@OVER_IPV6
def test_several_ports(world):
    world.nva.post("/v1/vms", {"name": "two", "kernel": "/boot/vmlinuz", "memory_mib": 16,
                               "ports": [{"vn": "blue"}, {"vn": "blue", "addresses": ["10.1.9.1", "10.1.9.2", "fd00:1::f009"]}]},
                   201)
    world.nva.post("/v1/vms/two/start", {"nve": "h1"}, 200)
    vm = Vm(world, "two")
    ports = vm.state()["ports"]
    answer = vm.ask(macs=[p["mac"] for p in ports], addresses=[a for p in ports for a in p["addresses"]])
    assert answer.status == 0 and len(answer.options[25]) == 2 and len(answer.options[36]) == 3
    assert vm.ask(macs=[ports[1]["mac"]], addresses=["10.1.9.2"]).status == 0  # a part of them


def test_move(world):
    """The target is accepted with its epoch; the source's own is older from then on."""
    vm = world.vm("h1").serve("h1")
    old = vm.epoch
    h1, h2 = world.nva.hosts["h1"], world.nva.hosts["h2"]
    ident = world.nva.post("/v1/vms/%s/move" % vm.name, {"to": "h2"}, 202)["id"]
    harness.wait(lambda: h2.vms.get(vm.id, {}).get("state") == "running", "the VM does not arrive")
    harness.wait(lambda: vm.epoch > old, "no commit")
    answer = vm.ask("h2", hi=3)
    assert (answer.status, answer.epoch) == (0, old + 1)
    answer = vm.ask("h1", epoch=old, hi=5)
    assert (answer.status, answer.epoch) == (157, old + 1)
    world.peers["h1"].send(vm.request("h1", epoch=old, lifetime=0))  # and cannot end it: no answer
    world.peers["h1"].quiet()
    assert vm.binding["state"] == "serving" and vm.state()["nve"] == "h2"
    harness.wait(lambda: world.nva.get("/v1/moves/" + ident)["phase"] == "done", "the move does not end")
    assert world.nva.get("/v1/moves/" + ident)["result"] == "ok"
    assert vm.id not in h1.vms
    # The management node tells the former place where the VM went (D2 section 5); receive() has verified and answered it.
    told = []
    while not told:
        world.peers["h1"].quiet()
        told = [n for n in world.peers["h1"].notices if n.options[8] == [b"\1" + vm.id.encode()]]
    assert told[-1].epoch == old + 1 and told[-1].options[23] == [b"\0\3"]
    if world.family == 6:
        assert told[-1].options[68] == [mp.ip16(world.address["h2"])]
    else:
        assert told[-1].options[38] == [b"\0\0" + socket.inet_aton(world.address["h2"])]
    v6 = [a for a in vm.addresses if ":" in a][0]
    assert [o[2:] for o in told[-1].options[22]] == [socket.inet_pton(socket.AF_INET6, v6)] * 2  # old and new


def test_target_is_early(world):
    """While the source's agent says that the VM runs there, its target is not believed; after the cut it is."""
    vm = world.vm("h1").serve("h1")
    old = vm.epoch
    h1, h2 = world.nva.hosts["h1"], world.nva.hosts["h2"]
    h1.hold_at = "copy"
    try:
        ident = world.nva.post("/v1/vms/%s/move" % vm.name, {"to": "h2"}, 202)["id"]
        harness.wait(lambda: h1.vms[vm.id].get("plan"), "the source is not asked to begin")
        with Counted(world, early=1, unanswered=1):
            world.peers["h2"].send(vm.request("h2", epoch=old + 1, hi=3))
            world.peers["h2"].quiet()
        assert vm.state()["nve"] == "h1" and vm.epoch == old
        assert vm.ask("h1", hi=5).status == 0
    finally:
        h1.hold_at = None
    h1.drive(h1.vms[vm.id])
    assert vm.ask("h2", epoch=old + 1, hi=3).status == 0
    harness.wait(lambda: world.nva.get("/v1/moves/" + ident)["phase"] == "done", "the move does not end")
    assert vm.state()["nve"] == "h2"


# --- what is refused, and how ---

REFUSED = [
    ("no-proxy-flag", dict(flags=mp.A | mp.H), 129),
    ("epoch-of-nobody", dict(epoch=77), 129),
    ("epoch-too-old", dict(epoch=0x0), 129),
    ("unknown-vm", dict(vm="nobody@default"), 153),
    ("other-mac", dict(macs=["52:54:00:99:99:99"]), 155),
    ("other-address", dict(addresses=["fd00:1::4242"]), 155),
    ("prefix-not-address", dict(addresses=[], extra=[mp.Prefix(ip="fd00:1::", bits=64)]), 155),
    ("stamp-of-the-future", dict(stamp=1.0), 156),
    ("stamp-of-the-past", dict(stamp=-1.0), 156),
    ("stamp-of-1970", dict(stamp=0), 156),
    ("stamp-of-the-end", dict(stamp=(1 << 64) - 1), 156),
    ("no-address", dict(addresses=[]), 158),
    ("no-identifier", dict(without=[8]), 160),
    ("no-handoff", dict(without=[23]), 161),
    ("no-access-type", dict(without=[24]), 162),
    ("other-ipv4-address", dict(addresses=["10.1.44.44"]), 171),
    ("neither-stamp-nor-id", dict(stamp=None), 145),
    ("id-of-the-future", dict(stamp=None, ntp=9.0), 144),
    ("id-of-the-past", dict(stamp=None, ntp=-9.0), 144),
]


@pytest.mark.parametrize("change,status", [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_refused(world, change, status):
    vm = world.vm().serve()
    change = dict(change)
    request_is_early = change.get("ntp", 0) > 0
    before = world.counters().get("status-%d" % status, 0)
    answer = world.peers["h1"].ask(change.pop("vm", vm.id), **vm.what(change))
    assert (answer.status, answer.lifetime) == (status, 0)
    assert answer.sequence == world.peers["h1"].sequence
    assert answer.signed_by(KEYS["h1"], world.address["h1"])
    if status == 156:
        assert abs(answer.number(27) / 65536 - time.time()) < 60  # our clock, for the sender to set its own by
    assert world.counters()["status-%d" % status] == before + 1
    assert "status=%d (" % status in world.nva.read_log()
    assert vm.binding["state"] == "serving"
    if status == 144:
        skewed = re.findall(r"its Message-ID is (\d+) ms (ahead of|behind) our clock", world.nva.read_log())
        assert skewed and skewed[-1][1] == ("ahead of" if request_is_early else "behind")
        assert 8000 < int(skewed[-1][0]) < 60000 and world.counters()["message-id-skewed"] > 0


@OVER_IPV6
def test_families(world):
    four, six = world.vm(addresses=["10.1.8.1"]), world.vm(addresses=["fd00:1::81"])
    assert four.ask(addresses=["10.1.8.1", "fd00:1::81"]).status == 172
    assert six.ask(addresses=["10.1.8.1", "fd00:1::81"]).status == 170
    assert four.ask().status == six.ask().status == 0


@OVER_IPV6
def test_not_placed(world):
    world.nva.post("/v1/vms", {"name": "idle", "kernel": "/boot/vmlinuz", "memory_mib": 16, "ports": [{"vn": "blue"}]}, 201)
    assert Vm(world, "idle").ask(epoch=1).status == 152


@OVER_IPV6
def test_anothers_vm(world):
    vm = world.vm("h1").serve()
    assert vm.ask("h2").status == 129
    with Counted(world, unanswered=1):
        world.peers["h2"].send(vm.request("h2", lifetime=0))
        world.peers["h2"].quiet()
    assert vm.binding["state"] == "serving" and vm.state()["nve"] == "h1"


def test_sender_unknown_to_management(world):
    """h4 has a key, but there is no such NVE."""
    assert world.vm().ask("h4").status == 154


# --- who is not heard ---


def answer_to_forgery(peer, octets):
    """These have a budget a second too."""
    for _ in range(20):
        peer.send(octets)
        try:
            return peer.receive(0.5)
        except TimeoutError:
            continue
    raise AssertionError("no answer")


def test_wrong_key(world):
    vm, before = world.vm().serve(), world.counters()
    answer = answer_to_forgery(world.peers["h1"], vm.request(key=mp.Key(256, bytes(16))))
    assert (answer.status, answer.sequence) == (146, world.peers["h1"].sequence)
    assert answer.signed_by(KEYS["h1"], world.address["h1"])
    after = world.counters()
    assert after["forged"] > before["forged"] and after["status-146"] == before.get("status-146", 0) + 1
    with Counted(world, forged=1):  # a heartbeat is not even that
        world.peers["h1"].send(world.peers["h1"].heartbeat(key=mp.Key(256, bytes(16))))
        world.peers["h1"].quiet()


def test_forgeries_are_answered_slowly(world):
    vm, before = world.vm().serve(), world.counters()
    for _ in range(100):
        world.peers["h1"].send(vm.request(key=mp.Key(256, bytes(16))))
    world.peers["h1"].send(world.peers["h1"].heartbeat())
    answers = []
    while not answers or answers[-1].type != mp.HEARTBEAT:
        answers.append(world.peers["h1"].receive())
    after = world.counters()
    assert after["forged"] - before["forged"] == 100
    assert 1 <= len(answers) - 1 <= 40 and all(a.status == 146 for a in answers[:-1])


SILENT = [
    ("unsigned", dict(key=False), "drop_unsigned"),
    ("unknown-spi", dict(key=mp.Key(999, bytes(range(16)))), "drop_no_association"),
    ("spi-of-another", dict(key=KEYS["h2"]), "drop_no_association"),
    ("other-subtype", dict(key=False, extra=[b"\0" * 5 + struct.pack("!BBBI", 9, 17, 2, 256) + bytes(12)]), "drop_unsigned"),
]


@pytest.mark.parametrize("change,counter", [s[1:] for s in SILENT], ids=[s[0] for s in SILENT])
def test_silence(world, change, counter):
    vm = world.vm()
    with Counted(world, **{counter: 1}):
        world.peers["h1"].send(vm.request(**change))
        world.peers["h1"].quiet()
    assert vm.binding["state"] == "placed"


def test_stranger(world):
    """No key for this address, whatever it signs with."""
    vm = world.vm()
    for key in (False, KEYS["h1"], mp.Key(256, bytes(16))):
        with Counted(world, drop_no_association=1):
            world.peers["stranger"].send(vm.request("stranger", key=key))
            world.peers["h1"].quiet()
    assert vm.binding["state"] == "placed"
    world.peers["stranger"].sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        world.peers["stranger"].sock.recv(64)


def test_forged_sender(world):
    """Signed for h1's address with h2's key, from h2's address, and the other way round."""
    vm = world.vm("h1").serve()
    octets = vm.request("h2", key=KEYS["h2"], address=world.address["h1"])
    with Counted(world, bad_checksum=1):  # its checksum was made for h1's address
        world.peers["h2"].send(octets)
        world.peers["h2"].quiet()
    octets = bytearray(octets)
    octets[4:6] = b"\0\0"
    octets[4:6] = struct.pack("!H", mp.checksum(world.address["h2"], world.at, bytes(octets)))
    assert answer_to_forgery(world.peers["h2"], bytes(octets)).status == 146
    assert vm.state()["nve"] == "h1"


# --- replay and order ---


def test_replay(world):
    vm = world.vm()
    last = mp.stamp_now(0.2)        # of a clock that is ahead: within the window, 300 ms either way, for half a second
    octets = vm.request(stamp=last)
    world.peers["h1"].send(octets)
    assert world.peers["h1"].receive().status == 0
    world.peers["h1"].send(octets)
    assert world.peers["h1"].receive().status == 156
    older = vm.request(stamp=last - 1)
    world.peers["h1"].send(older)
    assert world.peers["h1"].receive().status == 157


def test_replay_after_restart_of_authority(world):
    vm = world.vm()
    last = mp.stamp_now(0.0)
    assert vm.ask(stamp=last).status == 0
    assert world.peers["h1"].heartbeat() and vm.binding["state"] == "serving"
    world.peers["h1"].send(world.peers["h1"].heartbeat())
    restarts = world.peers["h1"].receive().number(28)
    world.nva.settings["registration-window-ms"] = 600000  # so that it is the order that refuses it
    try:
        world.nva.restart()
        for host in world.nva.hosts.values():
            host.connect()
        answer = vm.ask(stamp=last)
        assert answer.status == 156
        assert vm.ask(stamp=last - 1).status == 157
        world.peers["h1"].send(world.peers["h1"].heartbeat())
        assert world.peers["h1"].receive().number(28) == restarts + 1
        for name in ("h1", "h2"):                          # either kind of key
            world.peers[name].quiet()
            asked = world.peers[name].asked_again[-1]      # RFC 7077: all of the two's, and no answer but Requests
            assert asked.octets[6:12] == struct.pack("!HHH", (restarts + 1) & 0xFFFF, 1, 0)
            assert asked.options[50] == [struct.pack("!BBI", 1, 0, 1)]
    finally:
        del world.nva.settings["registration-window-ms"]
        world.nva.restart()
        for host in world.nva.hosts.values():
            host.connect()


def test_message_id(world):
    """Without time stamps: option 10 against replay, and the sequence number for the order."""
    vm, h1 = world.vm(), world.peers["h1"]
    octets = vm.request(stamp=None, ntp=0.0)
    h1.send(octets)
    answer = h1.receive()
    assert (answer.status, answer.options[10]) == (0, mp.Reply(octets, world.address["h1"], world.at).options[10])
    with Counted(world, replayed=1, status_144=1):
        h1.send(octets)
        answer = h1.receive()
    assert answer.status == 144
    assert answer.number(10) & 0xFFFFFFFF == mp.Reply(octets, world.address["h1"], world.at).number(10) & 0xFFFFFFFF
    assert abs((answer.number(10) >> 32) - 2208988800 - time.time()) < 60
    last = h1.sequence
    for sequence in (last, last - 1, last + 0x8000 & 0xFFFF):
        answer = vm.ask(stamp=None, ntp=0.0, sequence=sequence)
        assert (answer.status, answer.sequence) == (135, last)
    assert vm.ask(stamp=None, ntp=0.0, sequence=last + 0x7FFF & 0xFFFF).status == 0
    h1.sequence = last


def test_message_id_after_restart_of_authority(world):
    """Killed right after its answer, with the seven seconds still open."""
    vm, h1 = world.vm(), world.peers["h1"]
    octets = vm.request(stamp=None, ntp=0.0)
    h1.send(octets)
    assert h1.receive().status == 0
    world.nva.restart()
    for host in world.nva.hosts.values():
        host.connect()
    h1.quiet()
    with Counted(world, replayed=1, status_144=1):
        h1.send(octets)
        assert h1.receive().status == 144
    assert vm.ask(stamp=None, ntp=0.0).status == 0


def test_message_id_of_a_new_key(world):
    """A peer whose clock was ahead is refused until ours is there, and it is said why; what it signs with a new key counts at once."""
    vm, h2, old = world.vm("h2"), world.peers["h2"], KEYS["h2"]
    new = mp.Key(778, bytes(range(60, 92)), "hmac-sha256")
    lines = [KEYS[n].line(world.address[n], n) for n in ("h1", "h3", "h4")]
    ahead = vm.request("h2", stamp=None, ntp=6.0)
    h2.send(ahead)
    assert h2.receive().status == 0
    with Counted(world, replayed=1, status_144=1):
        assert vm.ask("h2", stamp=None, ntp=0.0).status == 144
    told = re.findall(r"nve=h2 its Message-ID is not newer than the last one, which is (\d+) ms ahead", world.nva.read_log())
    assert told and 0 < int(told[-1]) < 6000
    try:
        world.write_keys(lines + [key.line(world.address["h2"], "h2") for key in (new, old)])
        world.hangup("keys were read again: keys=5")
        assert vm.ask("h2", stamp=None, ntp=0.0, key=new).status == 0
        with Counted(world, replayed=1, status_144=1):      # and the old one's are not heard again
            h2.send(ahead)
            assert h2.receive().status == 144
    finally:
        world.write_keys()
        world.hangup("keys were read again: keys=4")


def test_both_transports_share_the_state(world):
    """What came over the session is remembered against the datagram."""
    vm = world.vm("h1")
    host = world.nva.hosts["h1"]
    octets = vm.request("h1", stamp=-0.05)
    host.sequence += 1
    host.nve.send(harness.REGISTER, harness.tlv(3, harness.ip16(world.address["h1"])) + harness.tlv(5, harness.registration(
        vm.id, [vm.mac], vm.addresses, vm.epoch, host.sequence, world.address["h1"])))
    harness.wait(lambda: vm.binding["state"] == "serving", "not registered over the session")
    world.peers["h1"].send(octets)
    assert world.peers["h1"].receive().status in (156, 157)


# --- octets ---

MALFORMED = [
    ("option-past-end", dict(extra=[bytes([200, 255, 0])])),
    ("option-too-short", dict(extra=[bytes([23, 1, 1])])),
    ("option-too-long", dict(without=[23], extra=[bytes([23, 3, 0, 0, 1])])),
    ("option-twice", dict(extra=[mp.Handoff(hi=3)])),
    ("identifier-twice", dict(extra=[mp.VmId(ident=b"other@default")])),
    ("prefix-129", dict(extra=[mp.Prefix(ip="fd00:1::9", bits=129)])),
    ("ipv4-33", dict(extra=[mp.Home4(ip="10.1.0.9", bits=33)])),
    ("seventeen-macs", dict(macs=["52:54:00:00:00:%02x" % i for i in range(17)])),
    ("empty-name", dict(without=[8], extra=[bytes([8, 1, 1])])),
]


@pytest.mark.parametrize("change", [m[1] for m in MALFORMED], ids=[m[0] for m in MALFORMED])
def test_malformed(world, change):
    vm = world.vm()
    # An option that runs past the end swallows option 9: then nobody signed it.
    counter = "drop_unsigned" if change.get("extra") == [bytes([200, 255, 0])] else "drop_malformed"
    with Counted(world, **{counter: 1}):
        world.peers["h1"].send(vm.request(**change))
        world.peers["h1"].quiet()
    assert vm.binding["state"] == "placed"


def test_odd_but_good(world):
    """Unknown options, other vendors', any order, no alignment: read all the same."""
    vm = world.vm()
    assert vm.ask(extra=[bytes([200, 3, 1, 2, 3]), bytes([8, 3, 5, 0x52, 0x54]), bytes([19, 5, 0, 0, 0, 9, 1])]).status == 0
    assert vm.ask(aligned=False).status == 0


def error_for(peer, kind):
    """The Binding Error for a type. Errors have a budget a second, which a test before may have used up."""
    for _ in range(20):
        peer.send(mp.message(peer.address, peer.nva, kind, bytes(6), []))
        try:
            error = peer.receive(0.5)
        except TimeoutError:
            continue
        assert error.type == mp.ERROR
        return error
    raise AssertionError("no Binding Error for type %d" % kind)


def test_header_checks(world):
    """RFC 6275 section 9.2, in its order."""
    vm, h1 = world.vm(), world.peers["h1"]
    good = vm.request()

    def resealed(octets):
        octets = bytearray(octets)
        octets[4:6] = b"\0\0"
        octets[4:6] = struct.pack("!H", mp.checksum(world.address["h1"], world.at, bytes(octets)))
        return bytes(octets)

    def problem(octets, pointer):
        icmp.settimeout(0.5)
        for _ in range(20):  # the budget is that of Binding Errors
            h1.send(octets)
            try:
                error = icmp.recv(2048)
                break
            except TimeoutError:
                continue
        assert error[:2] == b"\4\0" and struct.unpack_from("!I", error, 4)[0] == pointer, error[:8].hex()
        assert error[8 + 6] == 135 and error[8 + 40:8 + 40 + len(octets)] == octets
        assert error[16:32] == socket.inet_pton(socket.AF_INET6, world.address["h1"])

    with Counted(world, bad_checksum=1):
        h1.send(good[:4] + bytes([good[4] ^ 1]) + good[5:])
        h1.quiet()
    with Counted(world, bad_size=2):
        h1.send(good[:-8])
        h1.send(good + bytes(8))
        h1.quiet()
    for kind in (1, 200):
        error = error_for(h1, kind)
        assert (error.status, error.home) == (2, bytes(16))
    assert world.counters()["unknown-type"] >= 2
    bad = [(resealed(b"\6" + good[1:]), 40), (mp.header(world.address["h1"], world.at, 5, bytes(2)), 41),
           (mp.header(world.address["h1"], world.at, 7, bytes(10)), 41)]
    if world.family == 4:   # nothing in IPv4 points there
        with Counted(world, bad_payload_protocol=1, bad_header_length=2, parameter_problems_sent=0):
            for octets, _ in bad:
                h1.send(octets)
            h1.quiet()
    else:
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as icmp:
            icmp.bind((world.address["h1"], 0))
            icmp.setsockopt(socket.IPPROTO_ICMPV6, 1, struct.pack("8I", ~(1 << 4) & 0xFFFFFFFF, *[0xFFFFFFFF] * 7))
            for octets, pointer in bad:
                problem(octets, pointer)
    assert world.counters()["bad-payload-protocol"] >= 1 and world.counters()["bad-header-length"] >= 2
    assert vm.binding["state"] == "placed"
    assert vm.ask().status == 0


def test_no_checksum(world):
    """In UDP a Mobility Header may leave its own checksum out; UDP's, if wrong, is the kernel's to refuse."""
    vm, h1 = world.vm(), world.peers["h1"]
    octets = vm.request()
    with Counted(world, bad_checksum=1 if world.family == 6 else 0):
        h1.send(octets[:4] + b"\0\0" + octets[6:])
        if world.family == 6:
            return h1.quiet()
        assert h1.receive().status == 0

    def refused_by_kernel():
        with open("/proc/thread-self/net/snmp", encoding="ascii") as f:
            names, values = [line.split() for line in f if line.startswith("Udp:")]
        return int(values[names.index("InCsumErrors")])

    before, octets = refused_by_kernel(), vm.request(hi=5)
    with Counted(world), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
        raw.bind((world.address["h1"], 0))
        raw.sendto(struct.pack("!HHHH", 5436, 5436, 8 + len(octets), 1) + octets, (world.at, 0))
        h1.quiet()
    assert refused_by_kernel() == before + 1


def test_other_port(world):
    """Both ports are 5436: what is sent from another one is not even answered where a stranger would be. No UDP over IPv6."""
    vm = world.vm()
    with Counted(world, bad_port=2 if world.family == 4 else 0), \
            socket.socket(socket.AF_INET if world.family == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as other:
        other.bind((world.address["h1"], 0))
        other.sendto(vm.request(), (world.at, 5436))
        other.sendto(mp.message(world.address["h1"], world.at, 77, bytes(6), []), (world.at, 5436))
        world.peers["h1"].quiet()
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.recv(64)
    assert vm.binding["state"] == "placed"


def test_strangers_errors_are_limited(world):
    before = world.counters()
    for _ in range(60):
        world.peers["stranger"].send(mp.message(world.address["stranger"], world.at, 77, bytes(6), []))
    world.peers["h1"].quiet()
    after = world.counters()
    assert after["unknown-type"] - before["unknown-type"] == 60
    sent = after["binding-errors-sent"] - before["binding-errors-sent"]
    assert sent + after["answers-kept-back"] - before["answers-kept-back"] == 60
    assert sent <= 30
    world.peers["stranger"].sock.settimeout(5)
    for _ in range(sent):
        world.peers["stranger"].sock.recv(64)


def test_heartbeat(world):
    h1 = world.peers["h1"]
    h1.send(h1.heartbeat(77))
    answer = h1.receive()
    assert (answer.type, answer.flags, answer.sequence) == (mp.HEARTBEAT, 1, 77)
    assert answer.number(28) == world.nva.get("/v1/status")["start"]
    assert answer.signed_by(KEYS["h1"], world.address["h1"])


# --- keys ---


def test_rotation(world):
    vm, old, new = world.vm().serve(), KEYS["h1"], mp.Key(777, bytes(range(50, 82)), "hmac-sha256")
    others = [KEYS[n].line(world.address[n], n) for n in ("h2", "h3", "h4")]
    here = lambda key: key.line(world.address["h1"], "h1")  # noqa: E731
    try:
        with Counted(world, drop_no_association=1):
            world.peers["h1"].send(vm.request(key=new))
            world.peers["h1"].quiet()
        world.write_keys(others + [here(new), here(old)])
        world.hangup("keys were read again: keys=5")
        for key in (old, new, old):  # both are good, and each answer is signed with its question's
            answer = vm.ask(key=key)
            assert answer.status == 0 and answer.signed_by(key, world.address["h1"])
        world.write_keys(others + [here(new)])
        world.hangup("keys were read again: keys=4")
        world.peers["h1"].key = new
        with Counted(world, drop_no_association=1):
            world.peers["h1"].send(vm.request(key=old))
            world.peers["h1"].quiet()
        world.write_keys(["nonsense\n"])
        world.hangup("the keys stay as they were")
        assert vm.ask().status == 0
        world.write_keys(others + [here(old)], mode=0o644)
        world.hangup("others may know its keys")
        assert vm.ask().status == 0
    finally:
        world.peers["h1"].key = old
        world.write_keys()
        world.hangup("keys were read again: keys=4")
    assert vm.ask().status == 0


@OVER_IPV6
def test_keys_are_never_logged(world):
    log = world.nva.read_log()
    for key in KEYS.values():
        assert key.octets.hex() not in log and key.octets.hex().upper() not in log


@OVER_IPV6
def test_status_for_people(world):
    """The counters are in `godwit status`: by what was answered, and by what was not."""
    world.vm().serve()
    words = subprocess.run([GODWIT, "--api", world.nva.api, "status"], capture_output=True, text=True, check=True).stdout
    assert "registrar\n" in words and "0-accepted" in words
    assert "mobility\n" in words and "requests" in words and "bad-queue" not in words


@OVER_IPV6
def test_configuration(world):
    def check(*settings):
        run = subprocess.run([PROGRAM, "--config", world.nva.dir + "/nva.conf", "--check"] +
                             [a for s in settings for a in ("--set", s)], capture_output=True, text=True)
        return run.returncode, run.stdout + run.stderr

    assert check()[0] == 0
    for good in ("10.99.0.1", "fd99::1 10.99.0.1", "10.99.0.1 fd99::1"):
        assert check("registration-listen=" + good)[0] == 0
    for bad in ("ff02::1", "::", "0.0.0.0", "host", "10.99.0.1 10.99.0.2", "fd99::1 fd99::2", "fd99::1 10.99.0.1 10.99.0.2"):
        code, words = check("registration-listen=" + bad)
        assert code and "an IPv6 unicast address, an IPv4 one, or one of each" in words, bad
    with open(world.nva.dir + "/none.conf", "w") as f:
        f.write("id = nva\nregistration-listen = fd99::ff\n")
    run = subprocess.run([PROGRAM, "--config", world.nva.dir + "/none.conf", "--check"], capture_output=True, text=True)
    assert run.returncode and "registration-keys names no file" in run.stdout + run.stderr


# --- a life, dissected by others ---


@pytest.mark.skipif(not shutil.which("tshark"), reason="needs tshark")
def test_life_is_dissected(world):
    """Creation, refresh, refusals, a move, deregistration, an error, a heartbeat: nothing of it looks malformed to tshark."""
    vm, path = world.vm("h1"), world.nva.dir + "/life.pcap"
    h1, h2, old = world.peers["h1"], world.peers["h2"], vm.epoch
    capture, answers = Capture(family=world.family), []

    def noted(peer, answer):
        answers.append((peer, answer))
        return answer.status

    assert noted(h1, vm.ask(extra=[mp.Router4(ip=router4(world))])) == 0
    assert noted(h1, vm.ask(hi=5, lifetime=450)) == 0
    assert noted(h1, vm.ask(stamp=2.0)) == 156
    assert noted(h1, vm.ask(stamp=None, ntp=0.0, sequence=h1.sequence)) in (135, 0)
    world.nva.post("/v1/vms/%s/move" % vm.name, {"to": "h2"}, 202)
    harness.wait(lambda: vm.epoch > old, "no commit")
    assert noted(h2, vm.ask("h2", hi=3)) == 0
    assert noted(h1, vm.ask("h1", epoch=old, hi=5)) == 157
    assert noted(h2, vm.ask("h2", hi=4, lifetime=0)) == 0
    assert error_for(h1, 1).status == 2
    h1.send(h1.heartbeat(4711))
    restarts = h1.receive().number(28)
    capture.write(path)

    assert not malformed(path)
    rows = dissect(path)
    ours = [r for r in rows if r["source"] == world.at and r["mip6.mhtype"] != "5"]
    notices = [r for r in rows if r["source"] == world.at and r["mip6.mhtype"] == "5"]
    assert notices and all(r["mip6.mnid.identifier"] == vm.id and r["mip6.hi"] == "3" for r in notices)
    assert [r["mip6.mhtype"] for r in ours] == ["6"] * len(answers) + ["7", "13"]
    for row, (peer, answer) in zip(ours, answers):
        seen = [int(row[f], 0) for f in ("mip6.ba.status", "mip6.ba.seqnr", "mip6.ba.lifetime", "mip6.auth.mobility_spi")]
        assert seen == [answer.status, answer.sequence, answer.lifetime, peer.key.spi]
        assert row["mip6.ba.p_flag"] in ("1", "True") and row["mip6.mnid.identifier"] == vm.id
        assert (int(row["mip6.hi"]), int(row["mip6.att"])) == (answer.options[23][0][1], 1)
    assert int(ours[-2]["mip6.be.status"]) == 2
    assert (int(ours[-1]["mip6.hb.seqnr"]), int(ours[-1]["mip6.rc"])) == (4711, restarts)


@OVER_IPV6
@pytest.mark.skipif(not shutil.which("tshark"), reason="needs tshark")
def test_checksums_by_others(world):
    """tshark recomputes every checksum that we sent."""
    path, capture = world.nva.dir + "/sums.pcap", Capture(family=world.family)
    vm = world.vm("h1")
    assert vm.ask().status == 0 and vm.ask("h2").status == 129
    capture.write(path)
    bad = subprocess.run(["tshark", "-r", path, "-o", "ipv6.defragment:TRUE", "-Y", "mip6.csum && icmpv6"],
                         capture_output=True, text=True, check=True).stdout
    assert not bad
    assert len([r for r in dissect(path) if r["mip6.mnid.identifier"] == vm.id]) == 4
