# SPDX-License-Identifier: Apache-2.0
"""godwit-nve on real hosts (namespaces), both underlays, with an authority that does what the test says."""
import contextlib
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

import nve_world as nw

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(not all(map(os.path.exists, [nw.NVE, nw.GODWIT])), reason="needs the daemons built"),
]


@pytest.fixture(params=[4, 6], ids=["underlay4", "underlay6"])
def world(request):
    made = nw.World(request.param)
    yield made
    print(made.logs())
    made.remove()


@pytest.fixture
def world4():
    made = nw.World(4)
    yield made
    print(made.logs())
    made.remove()


def pair(world):
    """Guest a on h1, guest b on h2; the authority knows both."""
    h1, h2 = world.hosts[:2]
    a, b = nw.Guest(world, h1, "a", 0xa), nw.Guest(world, h2, "b", 0xb)
    a.is_at(h1, 1)
    b.is_at(h2, 1)
    h1.attach(a)
    h2.attach(b)
    members_known(world, h1, h2)
    return a, b


def members_known(world, *hosts):
    for host in hosts:
        nw.wait_for(f"members at {host.name}",
                    lambda h=host: any(len(vn["members"]) == len(world.hosts) - 1 for vn in h.get("/v1/members")["vns"]))


def test_first_packet_is_not_lost(world):
    a, b = pair(world)
    for family in (4, 6):
        receiver = b.udp(family, 7000)
        sender = a.udp(family)
        sender.sendto(struct.pack(">I", 1), (b.ips[family == 6], 7000))
        assert nw.drain(receiver) == [1]
    assert world.hosts[0].counters()["edge"]["held"] >= 1
    assert world.nva.seen("h1", nw.QUERY)
    assert len(world.nva.seen("h1", nw.REGISTER)) == 1
    assert world.hosts[0].port("a")["registration"] == "accepted"


def test_unknown_destination_is_asked_once_and_dropped(world4):
    a, _ = pair(world4)
    sender = a.udp(4)
    for _ in range(5):
        with contextlib.suppress(OSError):
            sender.sendto(b"xxxx", ("10.1.0.99", 7000))
    nw.wait_for("the negative answer", lambda: world4.hosts[0].counters()["edge"]["negative-answers"] == 1)
    assert len(world4.nva.seen("h1", nw.QUERY)) == 1


def test_questions_are_limited_by_the_configuration(world4):
    """limit-queries of nve.conf bounds what one port makes the authority answer; 0 is no limit."""
    a, _ = pair(world4)
    h1 = world4.hosts[0]
    with open(f"{h1.folder}/nve.conf", encoding="utf-8") as file:
        before = file.read()

    def ask(number, limit):
        """As many strangers in one burst, under that limit: (questions asked, frames dropped for it)."""
        with open(f"{h1.folder}/nve.conf", "w", encoding="utf-8") as file:
            file.write(f"{before}limit-queries = {limit}\n")
        h1.stop()
        h1.start()
        assert h1.port("a")["limits_in_force"]["queries"] == limit
        with nw.netns(a.space):
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            sock.bind(("eth0", 0x88b6))
        started = time.monotonic()
        for n in range(number):
            sock.send(bytes([2, 0x99, limit, 0, n >> 8, n & 255]) + nw.mac6(a.mac) + b"\x88\xb6" + bytes(46))
        sock.close()

        def told():
            edge = h1.counters()["edge"]
            return edge["queries"] + edge["drop-limit-queries"] >= number and edge
        edge = nw.wait_for("all to be judged", told)
        return edge["queries"], edge["drop-limit-queries"], time.monotonic() - started

    asked, dropped, took_s = ask(300, 20)
    assert 40 <= asked <= 40 + 20 * took_s + 1 and asked + dropped == 300      # two seconds' worth at once
    assert len(world4.nva.seen("h1", nw.QUERY)) == asked
    asked, dropped, _ = ask(300, 0)
    assert asked == 300 and not dropped


def test_burst_to_an_unknown_mac_stays_in_order(world4):
    """The neighbour is known, the MAC is not: held, asked, released in order while more comes."""
    a, b = pair(world4)
    nw.run("ip", "-n", a.space, "neigh", "replace", b.ips[0], "lladdr", b.mac, "dev", "eth0")
    nw.run("ip", "-n", b.space, "neigh", "replace", a.ips[0], "lladdr", a.mac, "dev", "eth0")
    receiver = b.udp(4, 7000)
    stream = nw.Stream(a, 4, (b.ips[0], 7000), rate=20000)
    time.sleep(0.5)
    sent = stream.stop()
    got = nw.drain(receiver)
    print("sent", sent, "held", world4.hosts[0].counters()["edge"]["held"])
    assert got == list(range(sent))


def move(world, b, source, target, copy, epoch, pause=0.05, tell=True):
    """What the agents and the authority do in a hot move of a task."""
    target.attach(copy, epoch, "arrive", **{"from": source.locator})
    nw.wait_for("members at the target", lambda: target.get("/v1/members")["vns"])
    cut = source.post(f"/v1/vms/{b.vm}@default/cut", {"to": target.locator, "epoch": epoch})
    time.sleep(pause)
    target.post(f"/v1/vms/{b.vm}@default/activate", {"epoch": epoch})
    if tell:
        b.is_at(target, epoch)
        world.nva.push((b.vni, b.mac))
    return cut


def meet(a, b):
    """Their edges know both. The first frame of all is held for an answer and sent on by the daemon, perhaps by another processor
    than the next one: how those stay in order is another test's matter."""
    for family in (4, 6):
        here, there = a.udp(family, 7001), b.udp(family, 7001)

        def arrived(h=here, t=there, f=family):
            h.sendto(struct.pack(">I", 0), (b.ips[f == 6], 7001))
            return nw.drain(t, 0.2)
        nw.wait_for("the first frame", arrived)
        here.close()
        there.close()


@pytest.mark.parametrize("nva_away", [False, True], ids=["with-nva", "nva-away"])
def test_cut_loses_nothing(world, nva_away):
    a, b = pair(world)
    meet(a, b)
    h1, h2, h3 = world.hosts
    copy = nw.Guest(world, h3, "b", 0xb)
    receivers = {}
    for family in (4, 6):
        for guest in (b, copy):
            receivers[guest, family] = guest.udp(family, 7000)
    streams = [nw.Stream(a, family, (b.ips[family == 6], 7000)) for family in (4, 6)]
    time.sleep(0.5)
    h3.attach(copy, 2, "arrive", **{"from": h2.locator})
    members_known(world, h3)
    if nva_away:
        world.nva.stop()
    cut = h2.post("/v1/vms/b@default/cut", {"to": h3.locator, "epoch": 2})
    assert cut["talkers"] == [h1.locator]
    time.sleep(0.1)
    h3.post("/v1/vms/b@default/activate", {"epoch": 2})
    if not nva_away:
        b.is_at(h3, 2)
        world.nva.push((100, b.mac))
    time.sleep(0.5)
    if nva_away:
        assert h1.fdb(b.mac)["locator"] == h2.locator
        b.is_at(h3, 2)
        world.nva.listen()
        nw.wait_for("the talkers", lambda: world.nva.reports("h2", nw.REPORT_TALKERS), 15)
    for family, stream in zip((4, 6), streams):
        sent = stream.stop()
        old, new = nw.drain(receivers[b, family]), nw.drain(receivers[copy, family])
        print(family, "sent", sent, "old", len(old), "new", len(new), "held", h3.counters()["edge"]["held"])
        assert len(old) > 100 and len(new) > 100
        assert sorted(old + new) == list(range(sent))
        assert old + new == list(range(sent))
    assert h3.counters()["edge"]["held"] > 0
    assert h2.counters()["datapath"]["redirected"] > 0
    reports = nw.wait_for("stale senders", lambda: world.nva.reports("h2", nw.REPORT_STALE))
    assert reports[0][nw.TLV_LOCATORS] == nw.ip16(h1.locator)
    h2.request("DELETE", "/v1/vms/b@default?keep=redirect")
    nw.wait_for("the end of the redirect", lambda: world.nva.reports("h2", nw.REPORT_ENDED))
    assert h2.fdb(b.mac) is None


def test_uncut(world4):
    a, b = pair(world4)
    h1, h2, h3 = world4.hosts
    receiver = b.udp(4, 7000)
    stream = nw.Stream(a, 4, (b.ips[0], 7000))
    nw.wait_for("the stream to pass", lambda: stream.sent > 300)
    before = stream.sent
    h2.post("/v1/vms/b@default/cut", {"to": h3.locator, "epoch": 2})
    time.sleep(0.1)
    status, answer = h2.request("POST", "/v1/vms/b@default/uncut", {"epoch": 2})
    assert status == 409, answer
    h2.post("/v1/vms/b@default/uncut", {"epoch": 3})
    after = stream.sent
    nw.wait_for("the stream to go on", lambda: stream.sent > after + 300)
    sent = stream.stop()
    got = nw.drain(receiver)
    assert 0 < sent - len(got) <= after - before + 1     # those in between went where there is nobody
    assert got[-1] == sent - 1
    assert h2.port("b")["epoch"] == 3
    nw.wait_for("the registration", lambda: h2.port("b")["registration"] == "accepted")


@pytest.mark.parametrize("kill", [False, True], ids=["term", "kill"])
def test_restart_loses_nothing(world, kill):
    a, b = pair(world)
    meet(a, b)
    h1, h2, _ = world.hosts
    receivers = [b.udp(family, 7000) for family in (4, 6)]
    streams = [nw.Stream(a, family, (b.ips[family == 6], 7000)) for family in (4, 6)]
    time.sleep(0.3)
    for host in (h2, h1):
        host.stop(kill)
        time.sleep(0.2)
        host.start()
        time.sleep(0.2)
    for receiver, stream in zip(receivers, streams):
        sent = stream.stop()
        assert nw.drain(receiver) == list(range(sent))
    assert h1.get("/v1/status")["starts"] == 2
    assert h1.port("a")["role"] == "serving"
    nw.wait_for("registrations", lambda: h1.port("a")["registration"] == "accepted")


def test_restart_after_a_cut_keeps_the_redirect(world4):
    a, b = pair(world4)
    h1, h2, h3 = world4.hosts
    copy = nw.Guest(world4, h3, "b", 0xb)
    meet(a, b)
    receiver = copy.udp(4, 7000)
    warm = b.udp(4, 7000)
    stream = nw.Stream(a, 4, (b.ips[0], 7000))
    time.sleep(0.3)
    h3.attach(copy, 2, "arrive", **{"from": h2.locator})
    members_known(world4, h3)
    h2.post("/v1/vms/b@default/cut", {"to": h3.locator, "epoch": 2})
    h2.stop(kill=True)          # before its state was written
    h3.post("/v1/vms/b@default/activate", {"epoch": 2})
    h3.stop(kill=True)
    h3.start()
    h2.start()
    port = h2.port("b")
    assert (port["role"], port["epoch"], port["peer"]) == ("moved", 2, h3.locator)
    assert (h3.port("b")["role"], h3.port("b")["epoch"]) == ("serving", 2)
    sent = stream.stop()
    assert nw.drain(warm) + nw.drain(receiver) == list(range(sent))
    nw.wait_for("the talkers, told again", lambda: world4.nva.reports("h2", nw.REPORT_TALKERS))


def test_state_of_other_times(world4):
    """Half-written files go, files of a later version are left out and said so, files without a version are read."""
    a, _ = pair(world4)
    h1 = world4.hosts[0]
    h1.stop(kill=True)
    ports = f"{h1.folder}/state/ports"
    with open(f"{ports}/a-0@default.json") as f:
        state = json.load(f)
    assert state.pop("version") == 1
    with open(f"{ports}/a-0@default.json", "w") as f:
        json.dump(state, f)
    with open(f"{ports}/x-0@default.json", "w") as f:
        json.dump(dict(state, id="x-0@default", vm="x@default", mac="02:00:00:00:00:77", version=2), f)
    for name in (f"{ports}/a-0@default.json.new", f"{h1.folder}/state/start.json.Ab3xYz"):
        with open(name, "w") as f:
            f.write("{")
    h1.start()
    assert h1.port("a")["role"] == "serving"
    assert sorted(os.listdir(ports)) == ["a-0@default.json", "x-0@default.json"]
    assert not [name for name in os.listdir(f"{h1.folder}/state") if name.startswith("start.json.")]
    assert [port["id"] for port in h1.get("/v1/ports")["ports"]] == ["a-0@default"]
    os.unlink(f"{ports}/x-0@default.json")
    # A device that is given to another port at once: never do two files name it, whenever the daemon is killed.
    assert h1.request("DELETE", "/v1/ports/a-0@default")[0] == 200
    h1.post("/v1/ports", dict(id="c-0", vm="c", vni=100, mac="02:00:00:00:00:78", addresses=["10.1.0.78"], device=a.device, epoch=1))
    assert os.listdir(ports) == ["c-0@default.json"]


def test_move_there_and_back(world4):
    a, b = pair(world4)
    h1, h2, h3 = world4.hosts
    copy = nw.Guest(world4, h3, "b", 0xb)
    receivers = {b: b.udp(4, 7000), copy: copy.udp(4, 7000)}
    stream = nw.Stream(a, 4, (b.ips[0], 7000))
    time.sleep(0.3)
    here, there, guest, other, epoch = h2, h3, b, copy, 1
    for _ in range(6):
        epoch += 1
        move(world4, guest, here, there, other, epoch)
        here.request("DELETE", "/v1/vms/b@default?keep=redirect")
        here, there, guest, other = there, here, other, guest
        time.sleep(0.2)
    sent = stream.stop()
    got = sorted(n for receiver in receivers.values() for n in nw.drain(receiver))
    assert got == list(range(sent))


def test_stale_copy_is_fenced(world4):
    _, b = pair(world4)
    h2, h3 = world4.hosts[1:]
    b.is_at(h3, 7)
    world4.nva.push((100, b.mac))
    nw.wait_for("the fence", lambda: h2.port("b")["role"] == "moved")
    assert h2.counters()["edge"]["fenced"] == 1
    status, _ = h2.request("POST", "/v1/vms/b@default/uncut", {"epoch": 6})
    assert status == 409


def test_device_gone_deregisters(world4):
    a, _ = pair(world4)
    h1 = world4.hosts[0]
    nw.run("ip", "-n", a.space, "link", "del", "eth0")
    nw.wait_for("the port to go", lambda: h1.port("a") is None)
    last = nw.wait_for("the deregistration", lambda: len(world4.nva.seen("h1", nw.REGISTER)) > 1 and
                       world4.nva.seen("h1", nw.REGISTER)[-1])
    assert last[nw.TLV_MESSAGE][10:12] == b"\0\0"
    assert h1.fdb(a.mac) is None


def test_too_big_is_answered(world):
    a, b = pair(world)
    nw.run("ip", "-n", a.space, "link", "set", "eth0", "mtu", "9000")
    nw.run("ip", "-n", world.hosts[0].space, "link", "set", a.device, "mtu", "9000")
    for family in (4, 6):
        sock = a.udp(family)
        level, option, get = (socket.IPPROTO_IP, 10, 14) if family == 4 else (socket.IPPROTO_IPV6, 23, 24)
        sock.setsockopt(level, option, 2)   # IP_MTU_DISCOVER, IP_PMTUDISC_DO
        sock.connect((b.ips[family == 6], 7000))
        sock.send(b"x" * 100)
        time.sleep(0.2)
        with contextlib.suppress(ConnectionRefusedError):
            sock.send(b"x" * 100)

        def told():
            with contextlib.suppress(OSError):
                sock.send(b"x" * 2000)
            return sock.getsockopt(level, get) == world.mtu

        nw.wait_for(f"the path MTU of IPv{family}", told, 3)
    assert world.hosts[0].counters()["edge"]["too-big-answered"] >= 2


GOOD = dict(id="x-0", vm="x", vni=100, mac="52:54:00:00:00:77", addresses=["10.1.0.77"], mtu=1400, device="vx", mode="serve",
            epoch=1)
BAD = [
    ("id", "no such id!", 400), ("vm", "", 400), ("vni", 0, 400), ("vni", 1 << 24, 400), ("vni", "100", 400),
    ("mac", "52:54:00", 400), ("mac", "53:54:00:00:00:77", 400), ("addresses", ["300.1.1.1"], 400),
    ("addresses", "10.1.0.77", 400), ("addresses", ["224.0.0.1"], 400), ("addresses", ["10.1.0.%d" % i for i in range(20)], 400),
    ("mtu", 100, 400), ("device", "nosuch0", 400), ("device", "eth0", 400), ("device", "gwvx0", 400),
    ("device", "gwpunt0", 400), ("device", "lo", 400), ("mode", "fly", 400), ("mode", "arrive", 400), ("epoch", 0, 400),
    ("epoch", None, 400), ("mac", "52:54:00:00:00:0a", 409), ("addresses", ["10.1.0.10"], 409), ("surprise", 1, 400),
]


def shown(host):
    """But what was heard of guests, who speak in their own time: of multicast groups, for example."""
    heard = ("groups", "snooped", "silent", "heard_ms_ago")
    ports = [{key: value for key, value in port.items() if key not in heard} for port in host.get("/v1/ports")["ports"]]
    return host.get("/v1/fdb"), ports, host.get("/v1/neighbours")


def test_bad_input_changes_nothing(world4):
    a, _ = pair(world4)
    h1 = world4.hosts[0]
    nw.run("ip", "-n", h1.space, "link", "add", "vx", "type", "veth", "peer", "name", "vy")
    nw.wait_for("the registration, which changes what is shown", lambda: h1.port("a")["registration"] == "accepted")
    before = shown(h1)
    for field, value, expected in BAD:
        body = dict(GOOD, **{field: value})
        if value is None:
            del body[field]
        status, answer = h1.request("POST", "/v1/ports", body)
        print(field, value, status, answer)
        assert status == expected, (field, value, answer)
        assert answer["error"]["text"], field
    with open(f"{h1.folder}/state/ports/a-0@default.json") as f:
        kept = f.read()
    status, answer = h1.request("POST", "/v1/ports", dict(GOOD, id="a-0"))  # of another VM
    assert status == 409, answer
    with open(f"{h1.folder}/state/ports/a-0@default.json") as f:
        assert f.read() == kept, "a refused port took the place of the one that is there"
    for method, path, body, expected in [
            ("POST", "/v1/vms/nobody/cut", {"to": "10.98.0.3", "epoch": 2}, 404),
            ("POST", "/v1/vms/a/cut", {"to": "10.98.0.3", "epoch": 1}, 409),
            ("POST", "/v1/vms/a/cut", {"to": "10.98.0.1", "epoch": 2}, 400),
            ("POST", "/v1/vms/a/cut", {"to": "somewhere", "epoch": 2}, 400),
            ("POST", "/v1/vms/a/cut", {"epoch": 2}, 400),
            ("POST", "/v1/vms/a/activate", {"epoch": 2}, 409),
            ("POST", "/v1/vms/a/uncut", {"epoch": 1, "x": 1}, 400),
            ("DELETE", "/v1/vms/a?keep=all", None, 400),
            ("GET", "/v1/nothing", None, 404),
            ("PUT", "/v1/ports", None, 405)]:
        status, answer = h1.request(method, path, body)
        assert status == expected, (method, path, body, answer)
    assert shown(h1) == before
    nw.wait_for("the files of the refused to go", lambda: os.listdir(f"{h1.folder}/state/ports") == ["a-0@default.json"])


TUNSETIFF, TUNSETVNETHDRSZ = 0x400454ca, 0x400454d8
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 2, 0x1000, 0x4000


def open_tap(host, name):
    with nw.netns(host.space):
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    nw.run("ip", "-n", host.space, "link", "set", name, "up", "txqueuelen", "16384")
    return fd


def tap_numbers(fd):
    """The numbers in the UDP datagrams that wait in a tap."""
    numbers = []
    with contextlib.suppress(BlockingIOError):
        while True:
            packet = os.read(fd, 70000)[10:]
            if packet[12:14] == b"\x08\x00" and packet[23] == 17:
                numbers.append(struct.unpack(">I", packet[42:46])[0])
    return numbers


def all_of(fd, n):
    """What comes out of a tap until there are n numbers, and what follows them."""
    got = []
    nw.wait_for("the last frame", lambda: got.extend(tap_numbers(fd)) or len(got) >= n)
    time.sleep(0.1)
    return got + tap_numbers(fd)


def test_tap_is_drained(world4):
    """A VM on a tap: what its kernel queue still holds at the cut follows it, and its new queue is the hold."""
    h1, h2, h3 = world4.hosts
    a = nw.Guest(world4, h1, "a", 0xa)
    a.is_at(h1, 1)
    h1.attach(a)
    port = dict(id="web-0", vm="web", vni=100, mac="52:54:00:00:00:0b", addresses=["10.1.0.11"], mtu=1450, device="tap0")
    old, new = open_tap(h2, "tap0"), open_tap(h3, "tap0")
    world4.nva.where[(100, port["mac"])] = dict(vm="web@default", locator=h2.locator, epoch=1, ips=port["addresses"])
    agent2, agent3 = nw.Agent(h2), nw.Agent(h3)
    assert agent2.call("POST", "/v1/ports", dict(port, mode="serve", epoch=1))[0] == 200
    assert agent3.call("POST", "/v1/ports", dict(port, mode="arrive", epoch=2, **{"from": h2.locator}))[0] == 200
    members_known(world4, h1, h2, h3)
    stream = nw.Stream(a, 4, (port["addresses"][0], 7000), rate=5000)
    time.sleep(0.2)
    read_before = tap_numbers(old)      # the VM reads, and then it is stopped
    time.sleep(0.1)
    status, cut = agent2.call("POST", "/v1/vms/web@default/cut", {"to": h3.locator, "epoch": 2}, [old])
    assert status == 200 and cut["drained"] > 100, cut
    time.sleep(0.1)
    assert agent3.call("POST", "/v1/vms/web@default/activate", {"epoch": 2})[0] == 200
    sent = stream.stop()
    got = read_before + all_of(new, sent - len(read_before))
    assert sorted(got) == list(range(sent))
    print("drained", cut["drained"], "out of order", sum(x > y for x, y in zip(got, got[1:])))
    os.close(old)
    os.close(new)


def test_hold_keeps_the_tap_empty(world4):
    """For the moment before a VM stops: nothing enters its tap any more, and what waits follows it after the cut."""
    h1, h2, h3 = world4.hosts
    a = nw.Guest(world4, h1, "a", 0xa)
    a.is_at(h1, 1)
    h1.attach(a)
    port = dict(id="web-0", vm="web", vni=100, mac="52:54:00:00:00:0b", addresses=["10.1.0.11"], mtu=1450, device="tap0")
    old, new = open_tap(h2, "tap0"), open_tap(h3, "tap0")
    world4.nva.where[(100, port["mac"])] = dict(vm="web@default", locator=h2.locator, epoch=1, ips=port["addresses"])
    h2.post("/v1/ports", dict(port, mode="serve", epoch=1))
    h3.post("/v1/ports", dict(port, mode="arrive", epoch=2, **{"from": h2.locator}))
    members_known(world4, h1, h2, h3)
    stream = nw.Stream(a, 4, (port["addresses"][0], 7000), rate=2000)
    time.sleep(0.2)
    h2.post("/v1/vms/web@default/hold", {"max_ms": 1000})
    before = tap_numbers(old)
    time.sleep(0.1)
    assert tap_numbers(old) == []
    h2.post("/v1/vms/web@default/cut", {"to": h3.locator, "epoch": 2})
    time.sleep(0.1)
    h3.post("/v1/vms/web@default/activate", {"epoch": 2})
    h3.post("/v1/vms/web@default/hold", {"max_ms": 50})     # and nobody comes back for it
    sent = stream.sent
    nw.wait_for("that hold to end", lambda: stream.sent > sent + 600)
    sent = stream.stop()
    got = before + all_of(new, sent - len(before))
    assert sorted(got) == list(range(sent))
    assert tap_numbers(old) == []
    assert h2.counters()["edge"]["held"] > 100 and h3.counters()["edge"]["held"] > 50
    os.close(old)
    os.close(new)


class Numbers:
    """Numbered datagrams from a guest to an address: as many as asked for at once, or a few all the time."""

    def __init__(self, guest, to):
        self.sock, self.to, self.sent, self.ending = guest.udp(4), to, 0, threading.Event()
        self.thread = threading.Thread(target=self.trickle, daemon=True)

    def send(self, n):
        for i in range(n):
            self.sock.sendto(struct.pack(">I", self.sent), self.to)
            self.sent += 1
            if i % 50 == 49:
                time.sleep(0.001)   # a virtual link's queue takes no more at once

    def trickle(self):
        while not self.ending.wait(0.002):
            self.send(1)

    def stop(self):
        self.ending.set()
        self.thread.join()
        self.sock.close()
        return self.sent


def test_all_that_waits_goes_before_what_comes(world4):
    """A daemon that had no processor for a while finds thousands of frames, and the order to cut: none of them is overtaken by
    what comes after the cut, which the data plane sends on by itself."""
    h1, h2, h3 = world4.hosts
    a = nw.Guest(world4, h1, "a", 0xa)
    a.is_at(h1, 1)
    h1.attach(a)
    port = dict(id="web-0", vm="web", vni=100, mac="52:54:00:00:00:0b", addresses=["10.1.0.11"], mtu=1450, device="tap0")
    old, new = open_tap(h2, "tap0"), open_tap(h3, "tap0")
    world4.nva.where[(100, port["mac"])] = dict(vm="web@default", locator=h2.locator, epoch=1, ips=port["addresses"])
    agent = nw.Agent(h2)
    h2.post("/v1/ports", dict(port, mode="serve", epoch=1))
    h3.post("/v1/ports", dict(port, mode="arrive", epoch=2, **{"from": h2.locator}))
    members_known(world4, h1, h2, h3)
    numbers, got = Numbers(a, (port["addresses"][0], 7000)), []
    numbers.send(1)
    nw.wait_for("the first frame", lambda: got.extend(tap_numbers(old)) or got)
    assert agent.call("POST", "/v1/vms/web@default/hold", {"max_ms": 1000})[0] == 200
    cut = threading.Thread(target=agent.call, args=("POST", "/v1/vms/web@default/cut", {"to": h3.locator, "epoch": 2}, [old]))
    h2.process.send_signal(signal.SIGSTOP)
    try:
        numbers.send(5000)
        cut.start()
        numbers.thread.start()
        sent = numbers.sent
        nw.wait_for("the order to be there", lambda: numbers.sent > sent + 10)
    finally:
        h2.process.send_signal(signal.SIGCONT)
    cut.join()
    sent = numbers.sent
    nw.wait_for("more to come", lambda: numbers.sent > sent + 50)
    h3.post("/v1/vms/web@default/activate", {"epoch": 2})
    sent = numbers.stop()
    nw.wait_for("the last frame", lambda: got.extend(tap_numbers(new)) or len(got) >= sent)
    assert sorted(got) == list(range(sent))
    assert overtaken(got) < 500     # what comes while the one way ends and the other begins; not the thousands that waited
    os.close(old)
    os.close(new)


def overtaken(numbers):
    """By how many a frame was overtaken at most."""
    highest = worst = -1
    for number in numbers:
        highest = max(highest, number)
        worst = max(worst, highest - number)
    return worst


def test_tap_of_a_killed_source_keeps_the_redirect(world4):
    h2, h3 = world4.hosts[1:]
    tap = open_tap(h2, "tap0")
    port = dict(id="web-0", vm="web", vni=100, mac="52:54:00:00:00:0b", addresses=["10.1.0.11"], device="tap0", epoch=1)
    h2.post("/v1/ports", port)
    h2.post("/v1/vms/web@default/cut", {"to": h3.locator, "epoch": 2})
    os.close(tap)
    nw.wait_for("the device to go", lambda: not h2.port("web")["attached"])
    assert h2.fdb(port["mac"])["kind"] == "moved"
    # The place that it went to is made a member again at a start; that it is a gateway as well is not forgotten, also when nobody is
    # there to say so.
    members_known(world4, h2)
    member_flags(h2, 100, h3.locator, 1)
    world4.nva.stop()
    h2.stop(kill=True)
    h2.start(connected=False)
    assert h2.port("web")["role"] == "moved"
    assert member_flags(h2, 100, h3.locator) == 1


def member_flags(host, vni, locator, new=None):
    """Of a member, as the programs have it: the word behind the eight octets of its bucket."""
    pin, key = f"{host.folder}/bpf/gw_members", struct.pack("<I", vni) + nw.ip16(locator)
    if new is not None:
        nw.run("bpftool", "map", "update", "pinned", pin, "key", *map(str, key), "value", *map(str, struct.pack("<QII", 0, new, 0)))
    found = json.loads(nw.run("bpftool", "-j", "map", "lookup", "pinned", pin, "key", *map(str, key)).stdout)
    return struct.unpack("<QII", bytes(int(octet, 16) for octet in found["value"]))[1]


def test_flush_takes_everything_away(world4):
    pair(world4)
    h1 = world4.hosts[0]
    h1.stop()
    links = nw.run("ip", "-n", h1.space, "-br", "link").stdout
    assert "gwvx0" in links and "gwpunt0" in links
    done = subprocess.run(h1.command("--flush"), capture_output=True, text=True, check=False,
                          preexec_fn=lambda: nw.set_netns(f"/run/netns/{h1.space}"))
    assert done.returncode == 0, done.stderr
    links = nw.run("ip", "-n", h1.space, "-br", "link").stdout
    assert "gwvx0" not in links and "gwpunt0" not in links
    assert not os.path.ismount(f"{h1.folder}/bpf")


def test_signals_and_configuration(world4):
    h1 = world4.hosts[0]
    h1.process.send_signal(signal.SIGTERM)
    assert h1.process.wait(10) == 0
    for setting, word in [("locator=127.0.0.1", "locator"), ("vxlan-port=0", "vxlan-port"), ("nva=", "nva"), ("id=h2", "id")]:
        done = subprocess.run(h1.command("--set", setting), capture_output=True, text=True, timeout=10, check=False,
                              preexec_fn=lambda: nw.set_netns(f"/run/netns/{h1.space}"))
        assert done.returncode != 0 and word in done.stderr, done.stderr
    done = subprocess.run(h1.command("--check"), capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 0, done.stderr
