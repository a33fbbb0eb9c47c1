# SPDX-License-Identifier: Apache-2.0
"""The authority away: killed, and cut off from one host. Packets go on, neighbours are answered for, moves are carried
through; and when it is back everybody agrees again, by what differs only, and says what happened meanwhile."""
import os
import re
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from labs import Lab, Probe, wait_until  # noqa: E402

ADDRESSES = ["10.1.0.10", "fd00:1::10"]


@pytest.fixture(scope="module", params=[4, 6], ids=["underlay4", "underlay6"])
def lab(request):
    model = {4: "hybrid", 6: "push"}[request.param]
    with Lab(f"away{request.param}-{os.getpid() % 10000}", hosts=3, underlay=request.param, accelerator="tcg") as lab:
        lab.godwit("vn", "create", "blue", "--subnet", "10.1.0.0/24", "--subnet", "fd00:1::/64", "--directory", model)
        lab.lab("vm", "add", "web", "--vn", "blue", "--ip", ADDRESSES[0], "--ip", ADDRESSES[1], "--on", "h1",
                "--synthetic", "--copy-ms", "300", "--pause-ms", "50")
        lab.lab("guest", "add", "client", "--host", "h3", "--vn", "blue", "--ip", "10.1.0.30", "--ip", "fd00:1::30")
        wait_until("the VM answers", lambda: all(lab.answers("client", a) for a in ADDRESSES))
        yield lab


def connected(lab, host):
    return lab.edge(host, "/v1/status")["nva_connected"]


def forget_neighbours(lab):
    """Not while packets are counted: what waits for an address in an entry that is deleted, the guest's own kernel drops."""
    lab.within("client", "ip", "neigh", "flush", "all")


def test_killed(lab):
    """Nobody notices; and the new one is told in digests and lists what is held, not everything."""
    stream = Probe(lab, "client", ADDRESSES, rate=200, tcp=False)
    lab.lab("kill", "nva", "nva")
    wait_until("the edges to see it", lambda: not any(connected(lab, h) for h in ("h1", "h2", "h3")))
    seen = stream.stop()
    assert seen["total"]["lost"] == 0, seen["total"]
    forget_neighbours(lab)
    stream = Probe(lab, "client", ADDRESSES, rate=200, tcp=False)
    assert all(lab.answers("client", a) for a in ADDRESSES)
    assert wait_until("time to pass", lambda: lab.edge("h3", "/v1/status")["absence"]["away_ms"] > 500)
    lab.lab("start", "nva", "nva")
    wait_until("the edges to be back", lambda: all(connected(lab, h) for h in ("h1", "h2", "h3")))
    seen = stream.stop()
    assert seen["total"]["lost"] == 0, seen["total"]
    nve = wait_until("what h3 tells", lambda: lab.get("/v1/nves/h3")["absence"])
    assert nve["away_ms"] > 500 and nve["registrations_waiting"] == 0
    directory = lab.get("/v1/status")["directory"]
    assert directory["digests"] >= 1 and directory["buckets_agreed"] >= 1, directory
    assert lab.godwit("nve", "show", "h3").stdout.count("absence") == 1


def underlay_of_nva(lab):
    with open(f"{lab.folder}/hosts/h3/nve.conf", encoding="utf-8") as file:
        found = re.search(r"^nva = \[?([0-9a-f.:]+?)\]?:\d+$", file.read(), re.M)
    return found.group(1)


def in_host(lab, host, *command):
    subprocess.run(["nsenter", f"--net=/run/netns/gw-{lab.name}-{host}", *command], check=True)


def test_cut_off_from_one_host(lab):
    """h3 cannot learn that a VM has moved, nor believe it without its authority; when it is back all is well again."""
    address = underlay_of_nva(lab)
    prefix = address + ("/128" if ":" in address else "/32")
    target = "h2" if lab.vm("web")["nve"] == "h1" else "h1"
    in_host(lab, "h3", "ip", "route", "add", "blackhole", prefix)
    try:
        wait_until("h3 to lose its authority", lambda: not connected(lab, "h3"), 40)
        wait_until("the authority to lose h3", lambda: not lab.get("/v1/nves/h3")["nve_connected"], 40)
        assert all(lab.answers("client", a) for a in ADDRESSES)
        assert lab.moved(lab.move("web", target))["result"] == "ok"
    finally:
        in_host(lab, "h3", "ip", "route", "del", "blackhole", prefix)
    wait_until("h3 to be back", lambda: connected(lab, "h3"), 40)
    locator = lab.get(f"/v1/nves/{target}")["locator"]
    mac = lab.vm("web")["ports"][0]["mac"]
    wait_until("h3 to know the new place",
               lambda: any(e["mac"] == mac and e["locator"] == locator for e in lab.edge("h3", "/v1/fdb")["fdb"]), 20)
    wait_until("everybody to have confirmed",
               lambda: lab.get("/v1/vns/blue")["unconfirmed"] == {"waiting": 0, "away": 0}, 20)
    wait_until("the VM to answer", lambda: all(lab.answers("client", a) for a in ADDRESSES))
    assert lab.get("/v1/nves/h3")["absence"]["away_ms"] > 1000


def test_signals_do_not_end_daemons(lab):
    """SIGHUP reads certificates again, with every session going on."""
    before = {key: pid for key, pid in lab.processes().items()}
    for (host, daemon) in before:
        lab.signal(host, daemon, signal.SIGHUP)
    wait_until("the certificates to be read again",
               lambda: lab.get("/v1/status")["certificate"]["reloads"] >= 1 and
               all(lab.edge(h, "/v1/status")["certificate"]["reloads"] >= 1 and
                   lab.agent(h, "/v1/status")["certificate"]["reloads"] >= 1 for h in ("h1", "h2", "h3")))
    assert lab.processes() == before
    assert all(connected(lab, h) for h in ("h1", "h2", "h3"))
