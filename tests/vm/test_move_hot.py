# SPDX-License-Identifier: Apache-2.0
"""Hot moves of a real VM in every variant, with the probe and a working guest as witnesses.

The guest has two ports in two VNs, one of them IPv4 and IPv6; it writes to memory all the time and notices one write that
is lost or done twice (lab/guest/work.c). A client in each VN talks to it through every move: no packet is lost, none is
doubled, every TCP stream lives.
"""
import os
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from labs import ApiError, Lab, Probe, wait_until  # noqa: E402
from working import ADDRESSES, SECOND, create, goes_on, work  # noqa: E402


@pytest.fixture(scope="module")
def lab():
    with Lab(f"hot{os.getpid() % 10000}", hosts=3, accelerator="tcg") as lab:
        lab.godwit("vn", "create", "blue", "--subnet", "10.1.0.0/24", "--subnet", "fd00:1::/64")
        lab.godwit("vn", "create", "green", "--subnet", "10.2.0.0/24")
        create(lab, "web")
        lab.lab("guest", "add", "client", "--host", "h3", "--vn", "blue", "--ip", "10.1.0.30", "--ip", "fd00:1::30")
        lab.lab("guest", "add", "second", "--host", "h3", "--vn", "green", "--ip", "10.2.0.30")
        wait_until("the VM answers", lambda: all(lab.answers("client", a) for a in ADDRESSES), 90)
        wait_until("its second port too", lambda: lab.answers("second", SECOND), 30)
        wait_until("the guest works", lambda: work(lab, "web"), 30)
        yield lab


def there_and_back(lab, moves=2, rate=200, **options):
    """Moves with traffic in both VNs; the moves as they ended, and what the probes saw."""
    probes = [Probe(lab, "client", ADDRESSES, rate=rate), Probe(lab, "second", [SECOND], rate=rate)]
    ended = []
    try:
        for _ in range(moves):
            here = lab.vm("web")["nve"]
            ended.append(lab.moved(lab.move("web", "h2" if here == "h1" else "h1", **options), 120))
            assert ended[-1]["result"] == "ok", ended[-1]
    finally:
        seen = [probe.stop() for probe in probes]
    return ended, seen


def assert_nothing_lost(seen):
    for figures in seen:
        for stream in figures["streams"]:
            if stream["protocol"] == "udp":
                assert (stream["lost"], stream["duplicated"]) == (0, 0), (stream["target"], stream["lost_ranges"])
            else:
                assert stream["alive"], stream


VARIANTS = {
    "plain": {},
    "post-copy": {"mode": "post-copy", "bandwidth_mib_s": 24, "downtime_ms": 1},
}
if os.environ.get("GW_LONG"):        # settings alone; a run of everything has to end within 15 minutes
    VARIANTS["xbzrle"] = {"xbzrle": True}
    VARIANTS["multifd"] = {"multifd": 2}
    VARIANTS["auto-converge"] = {"auto_converge": True}
    VARIANTS["limited"] = {"bandwidth_mib_s": 60, "downtime_ms": 30}


def test_cold(lab):
    """Stopped for the whole copy; then it goes on where it stood, and nothing it wrote is lost."""
    moves, seen = there_and_back(lab, mode="cold", bandwidth_mib_s=80)
    for move in moves:
        evidence, sent = move["evidence"], move["progress"]["transferred"]
        assert move["mode"] == "cold" and sent > 20 << 20
        assert evidence["vm_pause_ns"] > 1e9 * sent / (100 << 20), evidence
    assert all(stream["alive"] for figures in seen for stream in figures["streams"] if stream["protocol"] == "tcp")
    goes_on(lab, "web")


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_is_lost(lab, variant):
    moves, seen = there_and_back(lab, **VARIANTS[variant])
    print(variant, [round(m["evidence"]["vm_pause_ns"] / 1e6, 1) for m in moves],
          [m["progress"]["transferred"] >> 20 for m in moves])
    assert_nothing_lost(seen)
    assert all(bool(m["evidence"].get("switched")) == (variant == "post-copy") for m in moves)
    goes_on(lab, "web")


def break_memory_connections(lab, host):
    for port in ("sport", "dport"):
        subprocess.run(["nsenter", f"--net=/run/netns/gw-{lab.name}-{host}", "ss", "-K", port, ">=", "49152"], check=True,
                       capture_output=True)


def switched_slowly(lab):
    here = lab.vm("web")["nve"]
    there = "h2" if here == "h1" else "h1"
    move = lab.move("web", there, mode="post-copy", bandwidth_mib_s=12, downtime_ms=1)
    wait_until("it has switched", lambda: lab.get(f"/v1/moves/{move}")["evidence"].get("switched"), 60)
    wait_until("it runs there", lambda: lab.agent(there, "/v1/vms")[0]["state"] == "running", 20)
    return move, here, there


def test_post_copy_survives_a_broken_connection(lab):
    """Both sides keep what they have, the authority has them connect again; the VM waits for a page at most."""
    probe = Probe(lab, "client", ADDRESSES, rate=100)
    try:
        move, here, _ = switched_slowly(lab)
        break_memory_connections(lab, here)
        ended = lab.moved(move, 90)
    finally:
        seen = probe.stop()
    assert ended["result"] == "ok", ended["reason"]
    assert_nothing_lost([seen])
    goes_on(lab, "web")


def test_cancelled_while_it_is_copied(lab):
    here = lab.vm("web")["nve"]
    probe = Probe(lab, "client", ADDRESSES, rate=100)
    try:
        move = lab.move("web", "h2" if here == "h1" else "h1", bandwidth_mib_s=4)
        wait_until("it is copied", lambda: lab.get(f"/v1/moves/{move}")["phase"] == "copy", 30)
        for method, verb, body in (("POST", "/move", {"to": "h3"}), ("POST", "/stop", {}), ("POST", "/stop", {"force": True}),
                                   ("DELETE", "", None)):      # one at a time, and no end of the VM meanwhile
            with pytest.raises(ApiError) as refused:
                lab.api(method, f"/v1/vms/web{verb}", body)
            assert refused.value.status == 409
        lab.api("POST", f"/v1/moves/{move}/cancel")
        ended = lab.moved(move, 30)
    finally:
        seen = probe.stop()
    assert ended["result"] == "cancelled" and lab.vm("web")["nve"] == here
    assert_nothing_lost([seen])
    goes_on(lab, "web")


@pytest.mark.parametrize("victim", ["source", pytest.param("target", marks=pytest.mark.long)])
def test_post_copy_torn_is_a_crash(lab, victim):
    """With one of the two emulators gone before all memory has arrived the VM is lost: neither copy goes on, and it is
    started again, as after any crash."""
    move, here, there = switched_slowly(lab)
    os.kill(lab.emulators("web")[here if victim == "source" else there], 9)
    ended = lab.moved(move, 60)
    assert ended["result"] == "failed" and ended["reason"], ended
    wait_until("it is started again", lambda: lab.vm("web")["state"] == "running" and lab.answers("client", ADDRESSES[0]),
               90)
    assert list(lab.emulators("web")) == [lab.vm("web")["nve"]]
