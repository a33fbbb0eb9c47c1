# SPDX-License-Identifier: Apache-2.0
"""godwit-nve as a daemon: what outlives its end (under a supervisor that keeps descriptors, sd_notify's FDSTORE, all that waits or
comes up meanwhile), its lists page by page, and datagrams that it only sees in pieces."""
import array
import contextlib
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import threading

import pytest

import nve_world as nw

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(not all(map(os.path.exists, [nw.NVE, nw.GODWIT])), reason="needs the daemons built"),
]


@pytest.fixture(scope="module")
def world():
    made = nw.World(4)
    yield made
    print(made.logs())
    made.remove()


class Supervisor:
    """As much of systemd as FDSTORE needs: keeps what the daemon of a host gives it, and gives it to the next."""

    def __init__(self, host):
        self.host, self.path, self.kept = host, f"{host.folder}/notify.sock", {}
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        while True:
            text, ancillary, _, _ = self.sock.recvmsg(4096, socket.CMSG_SPACE(16))
            words = dict(line.split("=", 1) for line in text.decode().split("\n") if "=" in line)
            fds = array.array("i")
            for _, kind, data in ancillary:
                if kind == socket.SCM_RIGHTS:
                    fds.frombytes(data[:len(data) - len(data) % fds.itemsize])
            if "END" in words:
                return
            if "FDSTOREREMOVE" in words:
                self.drop()
            if "FDSTORE" in words and self.kept:        # FileDescriptorStoreMax=1
                os.close(fds[0])
            elif "FDSTORE" in words:
                self.kept[words["FDNAME"]] = fds[0]

    def start(self, connected=True):
        """The daemon, with what is kept as descriptor 3."""
        fds, begin = tuple(self.kept.values()), 'exec "$@"'
        if fds:
            begin = f'export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=punt; exec "$@" 3<&{fds[0]}'
        with open(f"{self.host.folder}/log", "ab") as log:
            self.host.process = subprocess.Popen(
                ["bash", "-c", begin, "bash", *self.host.command()], stdout=log, stderr=log, pass_fds=fds,
                preexec_fn=lambda: nw.set_netns(f"/run/netns/{self.host.space}"), env=dict(os.environ, NOTIFY_SOCKET=self.path))
        nw.wait_for("the daemon", lambda: self.host.process.poll() is not None or self.host.answers(connected))
        assert self.host.process.poll() is None, open(f"{self.host.folder}/log", encoding="utf-8").read()
        nw.wait_for("the descriptor to be kept", lambda: "punt" in self.kept)

    def drop(self):
        while self.kept:
            os.close(self.kept.popitem()[1])

    def end(self):
        with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
            sock.sendto(b"END=1", self.path)
        self.thread.join()
        self.sock.close()
        self.drop()


@pytest.fixture(scope="module")
def kept(world):
    """Guest a on h1, whose daemon has a supervisor; b and c on h2, of which h1 knows nothing yet."""
    h1, h2 = world.hosts[:2]
    h1.stop()
    supervisor = Supervisor(h1)
    supervisor.start()
    a, b, c = nw.Guest(world, h1, "a", 0xa), nw.Guest(world, h2, "b", 0xb), nw.Guest(world, h2, "c", 0xc)
    for guest, host in ((a, h1), (b, h2), (c, h2)):
        guest.is_at(host, 1)
        host.attach(guest)
        nw.wait_for("members", lambda h=host: any(len(vn["members"]) == 2 for vn in h.get("/v1/members")["vns"]))
    for guest in (b, c):
        nw.run("ip", "-n", a.space, "neigh", "replace", guest.ips[0], "lladdr", guest.mac, "dev", "eth0")
        nw.run("ip", "-n", guest.space, "neigh", "replace", a.ips[0], "lladdr", a.mac, "dev", "eth0")
    yield supervisor, a, b, c
    supervisor.end()


def send(sock, to, numbers):
    for number in numbers:
        sock.sendto(struct.pack(">I", number) + bytes(number), (to.ips[0], 7000))


def test_what_waits_outlives_an_orderly_end(world, kept):
    """Frames that the daemon has not read, that it holds for an answer, and that come while there is no daemon."""
    supervisor, a, b, _ = kept
    h1, receiver, sender = supervisor.host, b.udp(4, 7000), a.udp(4)
    world.nva.silent = True
    h1.process.send_signal(signal.SIGSTOP)
    send(sender, b, range(100))
    h1.process.send_signal(signal.SIGTERM)
    h1.process.send_signal(signal.SIGCONT)
    h1.process.wait(10)
    send(sender, b, range(100, 200))
    world.nva.silent = False
    supervisor.start()
    got = nw.drain(receiver)
    assert got == list(range(200))
    assert "100 frames wait for the next start" in open(f"{h1.folder}/log", encoding="utf-8").read()


def test_what_was_not_read_outlives_a_kill(world, kept):
    """Killed: what it held in its memory is lost, and nothing else."""
    supervisor, a, _, c = kept
    h1, receiver, sender = supervisor.host, c.udp(4, 7000), a.udp(4)
    h1.process.send_signal(signal.SIGSTOP)
    send(sender, c, range(100))
    h1.process.kill()
    h1.process.wait(10)
    send(sender, c, range(100, 200))
    supervisor.start()
    assert nw.drain(receiver) == list(range(200))


# ---- a VM with several ports ----

SERVING, MOVED, MOVED_FLAG, PUNT_FLAG, RETURNING_FLAG = 1, 3, 8, 1, 32768


def pinned(host, table, key, change=None):
    """An element of a pinned table, as it is, or as `change` makes it."""
    pin, octets = f"{host.folder}/bpf/{table}", list(map(str, key))
    found = json.loads(nw.run("bpftool", "-j", "map", "lookup", "pinned", pin, "key", *octets).stdout)
    value = bytearray(int(octet, 16) for octet in found["value"])
    if change:
        change(value)
        nw.run("bpftool", "map", "update", "pinned", pin, "key", *octets, "value", *map(str, value))
    return value


def half_written(host, mac, device, kind, epoch, locator, flag):
    """As if the daemon had been killed before it came to that port."""
    def entry(value):
        struct.pack_into("<Q", value, 0, epoch)
        value[12] = kind
        value[16:32] = nw.ip16(locator) if locator else bytes(16)

    def port(value):
        struct.pack_into("<I", value, 12, struct.unpack_from("<I", value, 12)[0] & ~MOVED_FLAG | flag)
        value[24:40] = nw.ip16(locator) if locator else bytes(16)
    with nw.netns(host.space):
        ifindex = socket.if_nametoindex(device)
    pinned(host, "gw_fdb", struct.pack("<I", 100) + nw.mac6(mac) + bytes(2), entry)
    pinned(host, "gw_ports", struct.pack("<I", ifindex), port)


def test_killed_between_two_ports_of_a_vm(world):
    """The cut, and the way back, had reached one port of each VM and not the other: the next daemon makes it all of them."""
    h2, h3 = world.hosts[1:]
    vms = {}
    for late, vm in enumerate(("first", "second")):      # the number of the port that is late
        nics = [nw.Guest(world, h2, f"{vm[0]}{i}", 0x20 + 2 * late + i) for i in range(2)]
        for i, nic in enumerate(nics):
            h2.post("/v1/ports", dict(id=f"{vm}-{i}", vm=vm, vni=100, mac=nic.mac, addresses=nic.ips, mtu=1450, device=nic.device,
                                      epoch=1))
        vms[vm] = nics, nics[late]

    def order(what, **body):
        for vm in vms:
            h2.post(f"/v1/vms/{vm}@default/{what}", body)

    def killed(*written):
        h2.stop(kill=True)
        for _, late in vms.values():
            half_written(h2, late.mac, late.device, *written)
        h2.start()

    def all_are(role, kind, epoch, flag):
        for vm, (nics, _) in vms.items():
            found = h2.get(f"/v1/ports?vm={vm}@default")["ports"]
            assert [(p["role"], p["epoch"], p["attached"]) for p in found] == [(role, epoch, True)] * 2
            for nic in nics:
                entry = h2.fdb(nic.mac)
                assert (entry["kind"], entry["epoch"]) == (kind, epoch)
                with nw.netns(h2.space):
                    key = struct.pack("<I", socket.if_nametoindex(nic.device))
                assert struct.unpack_from("<I", pinned(h2, "gw_ports", key), 12)[0] & MOVED_FLAG == flag

    order("cut", to=h3.locator, epoch=2)
    killed(SERVING, 1, None, 0)
    all_are("moved", "moved", 2, MOVED_FLAG)
    order("uncut", epoch=3)
    killed(MOVED, 2, h3.locator, MOVED_FLAG)
    all_are("serving", "local", 3, 0)


def test_killed_while_a_vm_returns(world):
    """It still does, with all its ports, of which one was late: its copy here says nothing, and its agent may say so again."""
    h1, _, h3 = world.hosts
    nics = [nw.Guest(world, h3, f"r{i}", 0x30 + i) for i in range(2)]
    for i, nic in enumerate(nics):
        h3.post("/v1/ports", dict(id=f"back-{i}", vm="back", vni=100, mac=nic.mac, addresses=nic.ips, mtu=1450, device=nic.device,
                                  mode="arrive", epoch=2, **{"from": h1.locator}))

    def all_are(role):
        found = h3.get("/v1/ports?vm=back@default")["ports"]
        return [(p["role"], p["epoch"], p["peer"]) for p in found] == [(role, 2, h1.locator)] * 2

    def flags(nic, change=None):
        with nw.netns(h3.space):
            key = struct.pack("<I", socket.if_nametoindex(nic.device))
        return struct.unpack_from("<I", pinned(h3, "gw_ports", key, change), 12)[0]

    def late(value):
        struct.pack_into("<I", value, 12, struct.unpack_from("<I", value, 12)[0] & ~RETURNING_FLAG)
    assert all_are("arriving")
    h3.post("/v1/vms/back@default/return", {"epoch": 2})
    assert all_are("returning")
    h3.stop(kill=True)
    flags(nics[1], late)
    h3.start()
    assert all_are("returning")
    assert all(flags(nic) & RETURNING_FLAG for nic in nics)
    h3.post("/v1/vms/back@default/return", {"epoch": 2})
    h3.request("DELETE", "/v1/vms/back@default")


def test_killed_within_a_cut(world, kept):
    """The entry says moved, and hand up for now: what comes until there is a daemon again waits, and then follows the VM."""
    supervisor, _, _, c = kept
    h1, _, h3 = world.hosts
    d, copy = nw.Guest(world, h1, "d", 0xd), nw.Guest(world, h3, "d", 0xd)
    d.is_at(h1, 1)
    h1.attach(d)
    h3.attach(copy, 2, "arrive", **{"from": h1.locator})
    for host in (h1, h3):
        nw.wait_for("members", lambda h=host: any(len(vn["members"]) == 2 for vn in h.get("/v1/members")["vns"]))
    nw.run("ip", "-n", c.space, "neigh", "replace", d.ips[0], "lladdr", d.mac, "dev", "eth0")
    before, after, sender = d.udp(4, 7000), copy.udp(4, 7000), c.udp(4)
    send(sender, d, range(10))
    assert nw.drain(before) == list(range(10))
    h1.post("/v1/vms/d@default/cut", {"to": h3.locator, "epoch": 2})
    h1.stop(kill=True)

    def hand_up(value):
        value[13] |= PUNT_FLAG
    pinned(h1, "gw_fdb", struct.pack("<I", 100) + nw.mac6(d.mac) + bytes(2), hand_up)
    send(sender, d, range(10, 60))
    h3.post("/v1/vms/d@default/activate", {"epoch": 2})
    supervisor.start()
    send(sender, d, range(60, 70))
    assert sorted(nw.drain(after)) == list(range(10, 70))


# ---- files ----

def test_a_start_writes_what_has_changed(world):
    """Of its ports' files those alone that do not say what is true: here one of an earlier version."""
    h3 = world.hosts[2]
    for number in (0x50, 0x51, 0x52):
        h3.attach(nw.Guest(world, h3, f"f{number & 15}", number))
    h3.stop()
    folder = f"{h3.folder}/state/ports"

    def files():
        return {name: (os.stat(f"{folder}/{name}").st_ino, os.stat(f"{folder}/{name}").st_mtime_ns) for name in os.listdir(folder)}
    old = sorted(files())[0]
    with open(f"{folder}/{old}") as f:
        record = json.load(f)
    del record["version"]
    with open(f"{folder}/{old}", "w") as f:
        json.dump(record, f)
    before = files()
    h3.start()
    h3.stop()                       # what is due is written by then
    after = files()
    h3.start()
    assert len(before) >= 3 and {name for name in before if before[name] != after.get(name)} == {old}
    with open(f"{folder}/{old}") as f:
        assert json.load(f) == dict(record, version=1)


# ---- lists ----

def pages(host, path, noun, limit):
    """All items, and how many pages it took."""
    items, after, n = [], "", 0
    while after is not None:
        body = host.get(f"{path}?limit={limit}{after}")
        assert len(body[noun]) <= limit + (10 if "next" in body and body["next"][0] == "p" and limit < 10 else 0)
        items += body[noun]
        after, n = f"&after={body['next']}" if "next" in body else None, n + 1
    return items, n


def test_lists_come_in_pages(world):
    """Each item once, whatever the size of a page, and no more than that at once."""
    h3 = world.hosts[2]
    guest = nw.Guest(world, h3, "l", 0x30)
    h3.attach(guest)
    keys = [(100, f"02:60:00:00:{i >> 8:02x}:{i & 255:02x}") for i in range(700)]
    for i, key in enumerate(keys):
        world.nva.where[key] = dict(vm=f"many{i}@default", locator=world.hosts[0].locator, epoch=1,
                                    ips=[f"10.1.{4 + (i >> 8)}.{i & 255}"])
    world.nva.push(*keys)
    nw.wait_for("the entries", lambda: sum(e["mac"].startswith("02:60") for e in pages(h3, "/v1/fdb", "fdb", 1000)[0]) == 700)
    assert 246 < len(h3.get("/v1/fdb")["fdb"]) <= 256           # when nothing is said
    for limit in (1, 333, 1000):    # a page ends with one of the kernel's buckets
        entries, n = pages(h3, "/v1/fdb", "fdb", limit)
        assert len(entries) / limit <= n + 10 and n <= len(entries) / max(limit - 10, 1) + 1
        macs = [e["mac"] for e in entries]
        assert len(set(macs)) == len(macs) and {mac for _, mac in keys} < set(macs)
        neighbours, _ = pages(h3, "/v1/neighbours", "neighbours", limit)
        addresses = [n["address"] for n in neighbours]
        assert len(set(addresses)) == len(addresses) and {world.nva.where[key]["ips"][0] for key in keys} < set(addresses)
    assert h3.request("GET", "/v1/fdb?after=100/02:61:00:00:00:00")[0] == 409      # no place: from the beginning
    for bad in ("0", "1001", "x", "-1", ""):
        status, answer = h3.request("GET", f"/v1/ports?limit={bad}")
        assert status == 400 and answer["error"]["field"] == "limit", answer


def test_lists_with_names_are_in_order(world, kept):
    """Ports, VNs and bindings: by name, also one at a time, and whatever comes and goes meanwhile."""
    h2 = world.hosts[1]
    for path, noun, name in (("/v1/ports", "ports", lambda p: p["id"]), ("/v1/bindings", "bindings", lambda b: b["vm"]),
                             ("/v1/members", "vns", lambda v: v["vni"])):
        whole = [name(item) for item in h2.get(path)[noun]]
        assert whole == sorted(whole) and whole
        assert [name(item) for item in pages(h2, path, noun, 1)[0]] == whole
    assert [p["vm"] for p in h2.get("/v1/ports?vm=b@default")["ports"]] == ["b@default"]
    assert not h2.get("/v1/ports?vm=nobody@default")["ports"]
    assert not h2.get("/v1/ports?after=zz")["ports"]


def test_vns_with_many_members_come_one_by_one(world, kept):
    """An answer has no more members than 8,192, but for a VN that has more by itself."""
    h3 = world.hosts[2]
    for vni in (201, 202, 203):
        world.nva.members[vni] = [f"10.{vni}.{i >> 8}.{i & 255}" for i in range(4000)]
        h3.attach(nw.Guest(world, h3, f"m{vni}", 0x40, vni))
    nw.wait_for("all of them", lambda: [len(vn["members"]) for vn in pages(h3, "/v1/members", "vns", 100)[0]][-3:] == [4000] * 3)
    first = h3.get("/v1/members")
    assert [vn["vni"] for vn in first["vns"]] == [100, 201, 202] and first["next"] == "00000202"
    assert pages(h3, "/v1/members", "vns", 100)[1] == 2 and pages(h3, "/v1/members", "vns", 1)[1] == 4


# ---- datagrams in pieces ----

TUNSETIFF, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, GSO_UDP, NEEDS_CSUM = 0x400454ca, 2, 0x1000, 0x4000, 3, 1


def test_datagrams_that_the_host_fragments(world, kept):
    """A guest of the days before Linux 4.14 leaves fragmenting to its device (UFO): fragments as large as the MTU allows arrive."""
    _, _, b, _ = kept
    h3 = world.hosts[2]
    with nw.netns(h3.space):
        tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", b"ufo0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    mac, address, payload = "52:54:00:00:00:66", "10.1.0.66", bytes(range(250)) * 16
    h3.post("/v1/ports", dict(id="old-0", vm="old", vni=100, mac=mac, addresses=[address], mtu=world.mtu, device="ufo0", epoch=1))
    world.nva.where[(100, mac)] = dict(vm="old@default", locator=h3.locator, epoch=1, ips=[address])
    nw.wait_for("members", lambda: any(len(vn["members"]) == 2 for vn in h3.get("/v1/members")["vns"]))
    receiver = b.udp(4, 7100)
    receiver.settimeout(5)
    udp_octets = 8 + len(payload)
    ip = bytearray(struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + udp_octets, 77, 0, 64, 17, 0, socket.inet_aton(address),
                               socket.inet_aton(b.ips[0])))
    ip[10:12] = struct.pack(">H", nw.checksum(bytes(ip)))
    pseudo = socket.inet_aton(address) + socket.inet_aton(b.ips[0]) + struct.pack(">HH", 17, udp_octets)
    udp = struct.pack(">HHHH", 7101, 7100, udp_octets, ~nw.checksum(pseudo) & 0xffff)
    per_fragment = (world.mtu - 20) & ~7
    offload = struct.pack("<BBHHHH", NEEDS_CSUM, GSO_UDP, 42, per_fragment, 34, 6)
    for _ in range(3):
        os.write(tap, offload + nw.mac6(b.mac) + nw.mac6(mac) + b"\x08\x00" + bytes(ip) + udp + payload)
        assert receiver.recv(65535) == payload
    assert h3.counters()["edge"]["too-big-answered"] == 0
    os.close(tap)


# ---- without a supervisor: h1 has none from here on ----

def test_without_a_supervisor_it_is_said(world, kept):
    """What waits and nobody keeps is lost, and the log has how many; a descriptor of a device that is gone does no harm."""
    supervisor, a, *_ = kept
    h1 = supervisor.host
    h1.stop()
    subprocess.run(h1.command("--flush"), capture_output=True, check=True,
                   preexec_fn=lambda: nw.set_netns(f"/run/netns/{h1.space}"))
    supervisor.start()
    assert h1.port("a")["role"] == "serving"
    h1.stop()
    supervisor.drop()
    h1.start()
    world.nva.silent = True
    h1.process.send_signal(signal.SIGSTOP)
    nobody = nw.mac6("02:99:00:00:00:01") + nw.mac6(a.mac) + b"\x88\xb6" + bytes(46)
    with nw.netns(a.space), contextlib.closing(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)) as sock:
        sock.bind(("eth0", 0x88b6))
        sock.send(nobody)
    h1.process.send_signal(signal.SIGTERM)
    h1.process.send_signal(signal.SIGCONT)
    h1.process.wait(10)
    world.nva.silent = False
    assert "1 frames that waited are lost: no supervisor keeps them" in open(f"{h1.folder}/log", encoding="utf-8").read()
    h1.start()
