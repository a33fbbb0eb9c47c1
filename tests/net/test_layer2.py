# SPDX-License-Identifier: Apache-2.0
"""ARP, ND, RARP and announcements with the real daemons: what is answered at the edge, what is believed.

    h1  a (10.1.0.11, fd00:1::11)         h2  b (10.1.0.12, fd00:1::12)       VN blue, gateway 10.1.0.254 and fd00:1::fe
        task (10.1.0.50)                      the same task, claimed
"""
import contextlib
import os
import socket
import struct
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import labs  # noqa: E402
from nve_world import netns  # noqa: E402

GATEWAY_MAC = "02:67:77:00:00:01"
NEEDED = [os.path.join(labs.BUILD, p) for p in ("src/cli/godwit", "src/nva/godwit-nva", "src/nve/godwit-nve", "src/hv/godwit-hv")]

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(not all(map(os.path.exists, NEEDED)), reason="needs the daemons built"),
]


@pytest.fixture(scope="module", params=[4, 6], ids=["underlay4", "underlay6"])
def lab(request):
    with labs.Lab(f"l{request.param}{os.getpid() % 100000}", hosts=2, underlay=request.param) as lab:
        lab.godwit("vn", "create", "blue", "--subnet", "10.1.0.0/24", "--subnet", "fd00:1::/64", "--gateway", "10.1.0.254",
                   "--gateway", "fd00:1::fe")
        for name, host, n in (("a", "h1", 11), ("b", "h2", 12)):
            lab.lab("guest", "add", name, "--host", host, "--vn", "blue", "--ip", f"10.1.0.{n}", "--ip", f"fd00:1::{n}")
        yield lab


def ip(namespace, *words):
    return subprocess.run(["ip", "-n", namespace, *words], capture_output=True, text=True, check=True).stdout


def guest(lab, name):
    return f"gw-{lab.name}-g-{name}"


def mac_of(namespace):
    return ip(namespace, "-br", "link", "show", "eth0").split()[2]


def mac6(text):
    return bytes.fromhex(text.replace(":", ""))


def counters(lab, host):
    answer = lab.edge(host, "/v1/counters")
    flat = {}
    for value in answer.values():
        if isinstance(value, dict):
            flat.update(value)
    return {**answer, **flat}


def count(lab, host, name):
    value = counters(lab, host)[name]
    return value if isinstance(value, int) else sum(value.values())


def neighbour(namespace, address):
    """What the guest's kernel has learnt about an address, after it was made to ask for it."""
    for family, size in ((socket.AF_INET, 4), (socket.AF_INET6, 6)):
        if (":" in address) == (family == socket.AF_INET6):
            with netns(namespace), socket.socket(family, socket.SOCK_DGRAM) as asking:
                asking.sendto(b"?" * size, (address, 9))
    words = ip(namespace, "neigh", "show", address).split()
    return words[words.index("lladdr") + 1] if "lladdr" in words else None


@contextlib.contextmanager
def raw(namespace, ethertype):
    with netns(namespace):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        sock.bind(("eth0", ethertype))
    sock.settimeout(0.2)
    with sock:
        yield sock


def arp(ethertype, op, mac, spa, tha, tpa):
    return (b"\xff" * 6 + mac6(mac) + struct.pack("!HHHBBH", ethertype, 1, 0x0800, 6, 4, op) + mac6(mac) + socket.inet_aton(spa)
            + mac6(tha) + socket.inet_aton(tpa) + bytes(18))


@pytest.mark.parametrize("address", ["10.1.0.254", "fd00:1::fe"])
@pytest.mark.parametrize("name", ["a", "b"])
def test_gateway_has_one_mac_everywhere(lab, name, address):
    assert labs.wait_until("the gateway is known", lambda: neighbour(guest(lab, name), address)) == GATEWAY_MAC


@pytest.mark.parametrize("address", ["10.1.0.12", "fd00:1::12"])
def test_neighbours_are_answered_without_the_underlay(lab, address):
    before = count(lab, "h1", "flood-remote")
    assert labs.wait_until("b is known", lambda: neighbour(guest(lab, "a"), address)) == mac_of(guest(lab, "b"))
    assert count(lab, "h1", "flood-remote") == before


def test_unknown_is_asked_for_and_counted(lab):
    before = count(lab, "h1", "dad-silent"), counters(lab, "h1")
    assert neighbour(guest(lab, "a"), "10.1.0.77") is None
    labs.wait_until("the question is counted", lambda: count(lab, "h1", "drop-held-negative") + count(lab, "h1", "drop-negative")
                    + count(lab, "h1", "absent-by-push") > 0 if "absent-by-push" in counters(lab, "h1")
                    else count(lab, "h1", "drop-held-negative") + count(lab, "h1", "drop-negative") > 0)
    assert before[0] == count(lab, "h1", "dad-silent")


def test_duplicate_is_told_and_owner_is_not(lab):
    """Duplicate address detection of the kernel itself: b takes a's address, and its own anew."""
    namespace = guest(lab, "b")
    for knob in ("accept_dad", "dad_transmits"):
        subprocess.run(["nsenter", f"--net=/run/netns/{namespace}", "sysctl", "-qw", f"net.ipv6.conf.eth0.{knob}=1"], check=True)

    def state(address):
        flags = [line for line in ip(namespace, "-6", "addr", "show", "dev", "eth0").splitlines() if f" {address}/" in line]
        return "tentative" not in flags[0] or "dadfailed" in flags[0], flags[0]

    try:
        ip(namespace, "addr", "add", "fd00:1::11/64", "dev", "eth0")
        ip(namespace, "addr", "del", "fd00:1::12/64", "dev", "eth0")
        ip(namespace, "addr", "add", "fd00:1::12/64", "dev", "eth0")
        for address, failed in (("fd00:1::11", True), ("fd00:1::12", False)):
            labs.wait_until("detection ends", lambda address=address: state(address)[0])
            assert ("dadfailed" in state(address)[1]) == failed, state(address)
    finally:
        ip(namespace, "addr", "del", "fd00:1::11/64", "dev", "eth0")


def test_rarp_is_answered_where_the_vn_says_so(lab):
    namespace = guest(lab, "a")
    mac = mac_of(namespace)
    question = arp(0x8035, 3, mac, "0.0.0.0", mac, "0.0.0.0")
    with raw(namespace, 0x8035) as sock:
        def answer():
            sock.send(question)
            with contextlib.suppress(TimeoutError, socket.timeout):
                while True:
                    frame = sock.recv(2048)
                    if frame[20:22] == b"\0\4":
                        return frame
            return None

        before = count(lab, "h1", "announced-rarp")
        assert answer() is None         # an announcement, as hypervisors send them
        assert count(lab, "h1", "announced-rarp") > before
        lab.godwit("vn", "set", "blue", "--rarp", "on")
        frame = labs.wait_until("RARP is answered", answer)
        lab.godwit("vn", "set", "blue", "--rarp", "off")
        assert frame[:6] == mac6(mac) and frame[6:12] == mac6(GATEWAY_MAC)
        assert socket.inet_ntoa(frame[38:42]) == "10.1.0.11"
        labs.wait_until("RARP is silent again", lambda: answer() is None)


def test_limits_of_a_vn_reach_its_ports(lab):
    """The operator limits what each port of a VN may do, and takes it back; edges follow at once."""
    namespace = guest(lab, "a")

    def in_force(**wanted):
        return all(port["limits_in_force"] == {"neighbours": 1000, "misses": 2000, "group": 2000, "queries": 500} | wanted
                   for host in ("h1", "h2") for port in lab.edge(host, "/v1/ports")["ports"])

    labs.wait_until("the hosts' own limits are in force", in_force)
    lab.godwit("vn", "set", "blue", "--limit-group", "5", "--limit-misses", "0")
    try:
        assert lab.get("/v1/vns/blue")["limits"] == {"neighbours": None, "misses": 0, "group": 5, "queries": None}
        labs.wait_until("the VN's limits are in force", lambda: in_force(misses=0, group=5))
        before = count(lab, "h1", "drop-limit-group")
        with raw(namespace, 0x88b6) as sock:
            for _ in range(100):        # two seconds' worth pass at once, and five in each second that this takes
                sock.send(b"\xff" * 6 + mac6(mac_of(namespace)) + b"\x88\xb6" + bytes(46))
        labs.wait_until("most are dropped", lambda: count(lab, "h1", "drop-limit-group") > before + 20)
        lab.godwit("vn", "set", "blue", "--limit-group", "7")
        labs.wait_until("one changes, the other stays", lambda: in_force(misses=0, group=7))
    finally:
        lab.godwit("vn", "set", "blue", "--default-limits")
    labs.wait_until("the hosts' own limits are back", in_force)


@pytest.mark.parametrize("lab", [4], indirect=True, ids=["underlay4"])      # nothing of it depends on the underlay
def test_limits_of_a_vn_outlive_restarts(lab):
    """The authority has them on disk; an edge keeps what is in force until the authority has told it."""
    wanted = {"neighbours": 900, "misses": 800, "group": 70, "queries": 60}
    kept = {name: wanted[name] for name in ("neighbours", "misses", "group")}   # questions need the authority anyway

    def in_force(limits):
        return all(limits.items() <= port["limits_in_force"].items() for port in lab.edge("h1", "/v1/ports")["ports"])

    lab.godwit("vn", "set", "blue", *(word for name, n in wanted.items() for word in (f"--limit-{name}", str(n))))
    try:
        labs.wait_until("they are in force", lambda: in_force(wanted))
        lab.lab("kill", "nva", "nva")
        assert in_force(wanted)
        lab.lab("kill", "h1", "nve")
        lab.lab("start", "h1", "nve")
        labs.wait_until("the edge is back, alone", lambda: not lab.edge("h1", "/v1/status")["nva_connected"])
        assert in_force(kept)
        lab.lab("start", "nva", "nva")
        lab.lab("wait")
        assert lab.get("/v1/vns/blue")["limits"] == wanted
        labs.wait_until("all of them are in force again", lambda: in_force(wanted))
    finally:
        lab.godwit("vn", "set", "blue", "--default-limits")
    labs.wait_until("the host's own are back", lambda: in_force({"neighbours": 1000, "queries": 500}))


def test_hints_change_nothing(lab):
    """Gratuitous ARP in both forms is taken as a hint; one for another's address does not leave the port."""
    namespace, mac = guest(lab, "a"), mac_of(guest(lab, "a"))
    before = count(lab, "h1", "announced-arp"), count(lab, "h1", "drop-guard-arp")
    with raw(namespace, 0x0806) as sock:
        sock.send(arp(0x0806, 1, mac, "10.1.0.11", "00:00:00:00:00:00", "10.1.0.11"))
        sock.send(arp(0x0806, 2, mac, "10.1.0.11", mac, "10.1.0.11"))
        sock.send(arp(0x0806, 1, mac, "10.1.0.12", "00:00:00:00:00:00", "10.1.0.12"))
    labs.wait_until("both are counted", lambda: count(lab, "h1", "announced-arp") >= before[0] + 2)
    labs.wait_until("the third is refused", lambda: count(lab, "h1", "drop-guard-arp") >= before[1] + 1)
    assert lab.get("/v1/vms/b")["nve"] == "h2"


@pytest.fixture
def elsewhere(lab):
    """The task as it would look at its new place: a namespace with the same addresses on h2."""
    namespace, host = f"gw-{lab.name}-x-task", f"gw-{lab.name}-h2"
    subprocess.run(["ip", "netns", "add", namespace], check=True)
    try:
        ip(host, "link", "add", "claim0", "type", "veth", "peer", "name", "eth0", "netns", namespace)
        ip(host, "link", "set", "claim0", "up")
        yield namespace
    finally:
        subprocess.run(["ip", "netns", "del", namespace], check=False)


def test_announced_tasks_follow_their_announcement(lab, elsewhere):
    """In a VN that says so a task moves by showing up elsewhere; but not while it is still where it was."""
    lab.godwit("vn", "create", "free", "--subnet", "10.2.0.0/24", "--announcements", "planned")
    lab.lab("guest", "add", "task", "--host", "h1", "--vn", "free", "--ip", "10.2.0.50")
    lab.lab("guest", "add", "peer", "--host", "h1", "--vn", "free", "--ip", "10.2.0.51")
    port = next(p for p in lab.get("/v1/ports")["ports"] if p["vm"].startswith("task@"))
    ip(elsewhere, "link", "set", "eth0", "address", port["mac"], "up")
    ip(elsewhere, "addr", "add", "10.2.0.50/24", "dev", "eth0")

    def claim(host, device):
        lab.api("POST", "/v1/ports", {"id": port["id"], "vm": port["vm"], "vni": port["vni"], "mac": port["mac"],
                                      "addresses": port["addresses"], "mtu": 1400, "device": device, "mode": "claim"},
                socket_path=f"{lab.folder}/hosts/{host}/nve.sock")

    claim("h2", "claim0")

    def announce():
        with raw(elsewhere, 0x0806) as sock:
            sock.send(arp(0x0806, 1, port["mac"], "10.2.0.50", "00:00:00:00:00:00", "10.2.0.50"))

    def claims():
        return lab.get("/v1/status")["claims"]

    def refused(why):
        before = claims()[why]

        def again():
            announce()
            return claims()[why] > before
        labs.wait_until(f"the claim is refused: {why}", again)
        assert lab.get("/v1/vms/task")["nve"] == "h1"

    assert lab.answers("peer", "10.2.0.50", tries=3)
    refused("policy")
    lab.godwit("vn", "set", "free", "--announcements", "announced")
    refused("still-there")
    ip(guest(lab, "task"), "link", "set", "eth0", "down")

    def accepted():
        announce()
        return lab.get("/v1/vms/task")["nve"] == "h2"
    labs.wait_until("the claim is accepted", accepted, 30, 0.3)
    assert claims()["accepted"] == 1
    assert next(p for p in lab.get("/v1/ports")["ports"] if p["vm"].startswith("task@"))["device"] == "claim0"
    labs.wait_until("the task is reached at its new place", lambda: lab.answers("peer", "10.2.0.50"))
    labs.wait_until("the new place is registered", lambda: lab.get("/v1/vms/task")["binding"]["state"] == "serving")
    history = {c["verdict"]: c for c in lab.get("/v1/bindings/task")["claims"]}
    assert {"policy", "still-there", "accepted"} <= set(history) and all(c["nve"] == "h2" for c in history.values())
    assert history["accepted"]["times"] == 1 and history["policy"]["first_ns"] <= history["policy"]["last_ns"]
    shown = lab.godwit("binding", "show", "task").stdout
    assert "claimed by" in shown and "h2: accepted" in shown, shown

    # With the policy `planned` nobody follows it, until nobody serves it any more.
    lab.godwit("vn", "set", "free", "--announcements", "planned")
    labs.wait_until("the first place has let go", lambda: all(p["device"] != port["device"] for p in
                                                              lab.edge("h1", "/v1/ports")["ports"]))
    claim("h1", port["device"])
    ip(guest(lab, "task"), "link", "set", "eth0", "up")

    def announce_at_h1():
        with raw(guest(lab, "task"), 0x0806) as sock:
            sock.send(arp(0x0806, 1, port["mac"], "10.2.0.50", "00:00:00:00:00:00", "10.2.0.50"))

    before = claims()["policy"]
    labs.wait_until("the claim is refused", lambda: announce_at_h1() or claims()["policy"] > before)
    assert lab.get("/v1/vms/task")["nve"] == "h2"
    ip(f"gw-{lab.name}-h2", "link", "delete", "claim0")
    labs.wait_until("nobody serves it", lambda: lab.get("/v1/vms/task")["binding"]["state"] == "lapsed")
    labs.wait_until("the claim is accepted", lambda: announce_at_h1() or lab.get("/v1/vms/task")["nve"] == "h1", 30, 0.3)
    labs.wait_until("the task is reached there", lambda: lab.answers("peer", "10.2.0.50"))
