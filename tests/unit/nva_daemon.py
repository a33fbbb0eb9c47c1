#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""godwit-nva as a whole: API, bad input, restart, VMs' lives, moves and their ways back, on pretended hosts.

Usage: nva_daemon.py GODWIT-NVA GODWIT SOURCE-ROOT [NAME...]
"""
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from nva_harness import (HELLO, QUERY, REGISTER, REPORT, RESPONSE, ROLE_HV, ROLE_NVE, SUBSCRIBE, Nva,  # noqa: E402
                         Session, ip16, registration, run_all, tlv, tlvs, wait)

KERNEL = {"kernel": "/boot/vmlinuz", "memory_mib": 128}


def blue(nva):
    nva.post("/v1/vns", {"name": "blue", "subnets": ["10.1.0.0/24", "fd00:1::/64"]}, 201)


def web(nva, name="web", **more):
    nva.post("/v1/vms", dict(KERNEL, name=name, ports=[{"vn": "blue"}], **more), 201)


def vm(nva, name="web"):
    return nva.get("/v1/vms/" + name)


def two_hosts(nva):
    blue(nva)
    return nva.host("h1", "10.99.0.1"), nva.host("h2", "fd99::2")


def running(nva, name="web", nve="h1", **more):
    web(nva, name, **more)
    nva.post("/v1/vms/%s/start" % name, {"nve": nve}, 200)
    wait(lambda: vm(nva, name)["binding"]["state"] == "serving", "not registered")


def move(nva, to, name="web", **more):
    return nva.post("/v1/vms/%s/move" % name, dict(to=to, **more), 202)["id"]


def ended(nva, ident, seconds=10):
    wait(lambda: nva.get("/v1/moves/" + ident)["phase"] == "done", "the move does not end", seconds)
    return nva.get("/v1/moves/" + ident)


def places(nva, name="web@default"):
    return [h.name for h in nva.hosts.values() if h.vms.get(name, {}).get("state") == "running"]


def at_one_place(nva, nve, name="web"):
    wait(lambda: vm(nva, name)["state"] == "running" and places(nva, name + "@default") == [nve] and
         vm(nva, name)["nve"] == nve, "not at %s alone" % nve, 15)
    copy = nva.hosts[nve].vms[name + "@default"]
    wait(lambda: copy["epoch"] == vm(nva, name)["epoch"] and vm(nva, name)["binding"]["state"] == "serving",
         "directory and host disagree: %s %s" % (copy["epoch"], vm(nva, name)))


# --- tests ---


def limits_of_a_vn(nva):
    """What is not said stays, 0 is none, null is the hosts' own."""
    none = {"neighbours": None, "misses": None, "group": None, "queries": None}
    assert nva.get("/v1/vns/red@acme")["limits"] == none
    for said, shown in (({"group": 50, "misses": 0}, {"group": 50, "misses": 0}), ({"queries": 9}, {"group": 50, "misses": 0, "queries": 9}),
                        ({"misses": None}, {"group": 50, "queries": 9})):
        status, vn = nva.request("PATCH", "/v1/vns/red@acme", {"limits": said})
        assert status == 200 and vn["limits"] == none | shown, vn
    assert nva.request("PATCH", "/v1/vns/red@acme", {"rarp": True})[1]["limits"] == none | {"group": 50, "queries": 9}


def objects(nva):
    blue(nva)
    assert nva.get("/v1/tenants")["tenants"][0]["name"] == "default"
    nva.post("/v1/tenants", {"name": "acme"}, 201)
    nva.post("/v1/vns", {"name": "red", "tenant": "acme", "vni": 77, "mtu": 1400, "subnets": ["10.2.0.0/24"]}, 201)
    assert nva.get("/v1/vns/red@acme")["vni"] == 77
    limits_of_a_vn(nva)
    web(nva)
    port = vm(nva)["ports"][0]
    assert port["id"] == "web-0@default" and len(port["addresses"]) == 2, port
    assert nva.get("/v1/ports/web-0")["mac"] == port["mac"]
    nva.post("/v1/nves", {"id": "h9", "locator": "10.99.0.9"}, 201)
    assert nva.get("/v1/nves/h9")["nve_connected"] is False
    assert nva.request("DELETE", "/v1/vns/blue")[0] == 409
    nva.delete("/v1/vms/web")
    nva.delete("/v1/vns/blue")
    nva.delete("/v1/vns/red@acme")
    nva.delete("/v1/tenants/acme")
    nva.delete("/v1/nves/h9")
    assert nva.request("GET", "/v1/vms/web")[0] == 404


BAD = [
    ("POST", "/v1/tenants", {}, 400, "name"),
    ("POST", "/v1/tenants", {"name": "Not Good"}, 400, "name"),
    ("POST", "/v1/tenants", {"name": "default"}, 409, ""),
    ("POST", "/v1/tenants", {"name": "x", "colour": "red"}, 400, "colour"),
    ("POST", "/v1/vns", {"name": "a", "subnets": ["10.1.0.1/24"]}, 400, "subnets"),
    ("POST", "/v1/vns", {"name": "a", "subnets": ["10.1.0.0/25"]}, 409, "subnets"),
    ("POST", "/v1/vns", {"name": "a", "vni": 16777216, "subnets": ["10.9.0.0/24"]}, 400, "vni"),
    ("POST", "/v1/vns", {"name": "a", "vni": 0, "subnets": ["10.9.0.0/24"]}, 400, "vni"),
    ("POST", "/v1/vns", {"name": "a", "vni": 55, "subnets": ["10.9.0.0/24"]}, 409, "vni"),
    ("POST", "/v1/vns", {"name": "a", "mtu": 10, "subnets": ["10.9.0.0/24"]}, 400, "mtu"),
    ("POST", "/v1/vns", {"name": "a", "tenant": "nobody", "subnets": ["10.9.0.0/24"]}, 404, ""),
    ("POST", "/v1/vns", {"name": "a", "subnets": ["10.9.0.0/24"], "limits": {"group": -1}}, 400, "limits.group"),
    ("POST", "/v1/vns", {"name": "a", "subnets": ["10.9.0.0/24"], "limits": {"group": 1000001}}, 400, "limits.group"),
    ("POST", "/v1/vns", {"name": "a", "subnets": ["10.9.0.0/24"], "limits": {"speed": 1}}, 400, "limits.speed"),
    ("POST", "/v1/vns", {"name": "a", "subnets": ["10.9.0.0/24"], "limits": 7}, 400, "limits"),
    ("POST", "/v1/vns", {"name": "blue", "subnets": ["10.9.0.0/24"]}, 409, ""),
    ("POST", "/v1/vms", {"name": "v", "memory_mib": 1, "kernel": "/k"}, 400, "memory_mib"),
    ("POST", "/v1/vms", {"name": "v", "memory_mib": "128", "kernel": "/k"}, 400, "memory_mib"),
    ("POST", "/v1/vms", {"name": "v", "kernel": "/k"}, 400, "memory_mib"),
    ("POST", "/v1/vms", {"name": "v", "memory_mib": 128}, 400, "kernel"),
    ("POST", "/v1/vms", {"name": "v", "memory_mib": 128, "kernel": "k"}, 400, "kernel"),
    ("POST", "/v1/vms", {"name": "v", "memory_mib": 128, "kernel": "/k", "vcpus": 0}, 400, "vcpus"),
    ("POST", "/v1/vms", {"name": "v", "memory_mib": 128, "kernel": "/k\n"}, 400, "kernel"),
    ("POST", "/v1/vms", {"name": "v", "memory_mib": 128, "kernel": "/k", "cmdline": "x" * 1024}, 400, "cmdline"),
    ("POST", "/v1/vms", {"name": "v", "memory_mib": 128, "initrd": "/i", "emulator": "/e"}, 400, "initrd"),
    ("POST", "/v1/vms", {"name": "v", "memory_mib": 128, "kernel": "/k", "emulator": "kvmtool"}, 400, "emulator"),
    ("POST", "/v1/vms", {"name": "v", "memory_mib": 128, "kernel": "/k", "cpu_model": "a b"}, 400, "cpu_model"),
    ("POST", "/v1/vms", {"name": "v", "memory_mib": 128, "kernel": "/k", "nic_model": "ne2k"}, 400, "nic_model"),
    ("POST", "/v1/vms", {"name": "v", "memory_mib": 128, "kernel": "/k", "on_crash": "pray"}, 400, "on_crash"),
    ("POST", "/v1/vms", {"name": "v", "memory_mib": 128, "disks": [{"path": "../d"}]}, 400, "disks[0].path"),
    ("POST", "/v1/vms", {"name": "v", "memory_mib": 128, "disks": [{"path": "/d", "format": "vmdk"}]}, 400,
     "disks[0].format"),
    ("POST", "/v1/vms", {"name": "v", "memory_mib": 128, "kernel": "/k", "ports": [{}]}, 400, "ports[0].vn"),
    ("POST", "/v1/vms", dict(KERNEL, name="v", ports=[{"vn": "green"}]), 404, "ports[0].vn"),
    ("POST", "/v1/vms", dict(KERNEL, name="v", ports=[{"vn": "blue", "mac": "xx"}]), 400, "ports[0].mac"),
    ("POST", "/v1/vms", dict(KERNEL, name="v", ports=[{"vn": "blue", "mac": "01:00:00:00:00:01"}]), 400, "ports[0].mac"),
    ("POST", "/v1/vms", dict(KERNEL, name="v", ports=[{"vn": "blue", "mac": "52:54:00:00:00:07"}]), 409, "ports[0].mac"),
    ("POST", "/v1/vms", dict(KERNEL, name="v", ports=[{"vn": "blue", "addresses": ["10.1.0.7"]}]), 409,
     "ports[0].addresses"),
    ("POST", "/v1/vms", dict(KERNEL, name="v", ports=[{"vn": "blue", "addresses": ["10.3.0.7"]}]), 400,
     "ports[0].addresses"),
    ("POST", "/v1/vms", dict(KERNEL, name="v", ports=[{"vn": "blue", "addresses": ["10.1.0.0"]}]), 400,
     "ports[0].addresses"),
    ("POST", "/v1/vms", dict(KERNEL, name="taken", ports=[]), 409, ""),
    ("POST", "/v1/vms", b"{", 400, ""),
    ("POST", "/v1/vms", b"[]", 400, ""),
    ("POST", "/v1/vms/nobody/start", {}, 404, ""),
    ("POST", "/v1/vms/taken/start", {"nve": "h7"}, 404, "nve"),
    ("POST", "/v1/vms/taken/start", {"nve": "down"}, 409, ""),
    ("POST", "/v1/vms/taken/start", {}, 409, ""),
    ("POST", "/v1/vms/taken/start", {"where": "h1"}, 400, "where"),
    ("POST", "/v1/vms/taken/stop", {"force": 1}, 400, "force"),
    ("POST", "/v1/vms/taken/move", {}, 400, "to"),
    ("POST", "/v1/vms/taken/move", {"to": "down"}, 409, ""),
    ("POST", "/v1/vms/taken/move", {"to": "h7"}, 404, "to"),
    ("POST", "/v1/vms/taken/move", {"to": "down", "mode": "warm"}, 400, "mode"),
    ("POST", "/v1/vms/taken/move", {"to": "down", "downtime_ms": 0}, 400, "downtime_ms"),
    ("POST", "/v1/vms/taken/move", {"to": "down", "bandwidth_mib_s": -1}, 400, "bandwidth_mib_s"),
    ("POST", "/v1/nves", {"id": "down"}, 409, ""),
    ("POST", "/v1/nves", {"id": "x", "locator": "224.0.0.1"}, 400, "locator"),
    ("POST", "/v1/nves", {"id": "x", "locator": "10.99.0.8"}, 409, "locator"),
    ("POST", "/v1/ports", {"vm": "t", "vn": "blue", "nve": "down", "device": "eth0"}, 409, "nve"),
    ("POST", "/v1/ports", {"vm": "t", "vn": "blue", "nve": "h7", "device": "eth0"}, 404, "nve"),
    ("POST", "/v1/ports", {"vm": "t", "vn": "blue", "nve": "down", "device": "a/b"}, 400, "device"),
    ("POST", "/v1/ports", {"vm": "t", "vn": "blue", "nve": "down"}, 400, "device"),
    ("GET", "/v1/moves/m9", None, 404, ""),
    ("GET", "/v1/moves?vm=%20", None, 400, "vm"),
    ("POST", "/v1/moves/m9/cancel", None, 404, ""),
    ("GET", "/v1/vms/Bad_Name", None, 400, ""),
    ("DELETE", "/v1/ports/taken-0", None, 409, ""),
    ("PUT", "/v1/vms", {}, 405, ""),
    ("GET", "/v1/nothing", None, 404, ""),
]


def bad_input(nva):
    nva.post("/v1/vns", {"name": "blue", "vni": 55, "subnets": ["10.1.0.0/24"]}, 201)
    nva.post("/v1/nves", {"id": "down", "locator": "10.99.0.8"}, 201)
    nva.post("/v1/vms", dict(KERNEL, name="taken", ports=[
        {"vn": "blue", "mac": "52:54:00:00:00:07", "addresses": ["10.1.0.7"]}]), 201)
    before = [nva.get("/v1/" + noun) for noun in ("tenants", "vns", "nves", "vms", "ports", "moves")]
    wrong = []
    for method, path, body, status, field in BAD:
        got, answer = nva.request(method, path, body)
        error = (answer or {}).get("error", {})
        if got != status or (field and not error.get("field", "").startswith(field)) or not error.get("text"):
            wrong.append("%s %s %s: %s %s, not %s %s" % (method, path, body, got, answer, status, field))
    assert not wrong, "\n".join(wrong)
    assert before == [nva.get("/v1/" + noun) for noun in ("tenants", "vns", "nves", "vms", "ports", "moves")]


def survives_kill(nva):
    h1, h2 = two_hosts(nva)
    running(nva)
    assert ended(nva, move(nva, "h2"))["result"] == "ok"
    at_one_place(nva, "h2")
    wait(lambda: "counters" in nva.get("/v1/moves/m1")["evidence"], "no counters in the evidence")
    time.sleep(0.1)
    before = [nva.get("/v1/" + noun) for noun in ("tenants", "ports", "moves")]
    epoch = vm(nva)["epoch"]
    nva.restart()
    after = [nva.get("/v1/" + noun) for noun in ("tenants", "ports", "moves")]
    assert before == after, (before, after)
    assert nva.get("/v1/status")["start"] == 2
    for host in (h1, h2):
        host.connect()
    at_one_place(nva, "h2")
    assert vm(nva)["epoch"] == epoch


def who_may_connect(nva):
    nva.issue("h1")
    nva.issue("h2")
    liar = Session(nva, "h2", ROLE_NVE, "10.99.0.1", cert="h1")
    wait(lambda: liar.ended.is_set(), "a HELLO with another name was accepted")
    assert "certificate" in liar.bye, liar.bye
    nobody = Session(nva, "h1", 9, "10.99.0.1")
    wait(lambda: nobody.ended.is_set(), "a HELLO of no role was accepted")
    good = Session(nva, "h1", ROLE_NVE, "10.99.0.1")
    wait(lambda: nva.get("/v1/nves")["nves"], "h1 is not known")
    newer = Session(nva, "h1", ROLE_NVE, "10.99.0.1")
    wait(lambda: good.ended.is_set(), "the older session lives on")
    assert nva.get("/v1/nves/h1")["nve_connected"]
    newer.send(REGISTER, tlv(3, b"\0" * 16) + tlv(5, b"\xff" * 40))
    wait(lambda: newer.ended.is_set(), "a malformed registration is suffered")
    again = Session(nva, "h1", ROLE_NVE, "10.99.0.1")
    again.send(HELLO, b"")
    wait(lambda: again.ended.is_set(), "a second HELLO is suffered")
    agent = Session(nva, "h1", ROLE_HV, "10.99.0.1")
    agent.event("inventory")
    wait(lambda: agent.ended.is_set(), "an inventory without VMs is suffered")
    same_locator = Session(nva, "h2", ROLE_NVE, "10.99.0.1")
    wait(lambda: same_locator.ended.is_set(), "two NVEs share a locator")


def words_cut_in_a_character(nva):
    """A host's reasons may be in any language and of any length: what they are cut to must still be text."""
    h1, h2 = two_hosts(nva)
    running(nva, on_crash="stop")
    for shift in range(3):
        h1.refuse["POST migrate"] = h2.refuse["POST incoming"] = (
            409, {"error": {"code": "conflict", "field": "", "text": "x" * shift + "\u0bb5" * 200}})
        entry = ended(nva, move(nva, "h2"))
        assert entry["result"] == "failed" and "\u0bb5" in entry["reason"], entry
    assert len(nva.get("/v1/moves")["moves"]) == 3
    h1.state(h1.vms["web@default"], "crashed", "xx" + "\u0bb5" * 200)
    wait(lambda: vm(nva)["state"] == "crashed", "the crash is not seen")
    assert "\u0bb5" in vm(nva)["reason"]
    assert [v["id"] for v in nva.get("/v1/vms")["vms"]] == ["web@default"]
    nva.restart()
    assert [m["phase"] for m in nva.get("/v1/moves")["moves"]] == ["done"] * 3, "not journalled"


def hosts_speak_for_themselves(nva):
    """What one host's certificate cannot do to VMs and networks of others."""
    h1, h2 = two_hosts(nva)
    h3 = nva.host("h3", "10.99.0.3")
    running(nva)
    vni, mac = nva.get("/v1/vns/blue")["vni"], nva.get("/v1/ports")["ports"][0]["mac"]
    members = nva.get("/v1/vns/blue")["members"]
    h3.nve.send(SUBSCRIBE, tlv(15, struct.pack("!II", vni, vni)))
    h3.nve.send(REPORT, tlv(16, b""))  # ends the session, after what came before it
    h3.connect_nve()
    h3.nve.send(SUBSCRIBE, tlv(15, struct.pack("!I", vni)))
    h3.hv.event("vm-state", vm="web@default", state="crashed", reason="so says h3")
    h3.hv.event("move-failed", vm="web@default", side="source", running=True)
    h3.hv.event("inventory", vms=[{"id": "web@default", "state": "running", "role": "serve", "epoch": 99, "move": ""}])
    stolen = dict(h1.vms["web@default"])
    for epoch in (0, 1, 2, 3):
        h3.register(dict(stolen, epoch=vm(nva)["epoch"] + epoch), 3)
    wait(lambda: nva.read_log().count("h3 registration of vm=web@default refused") == 4, "registrations are not refused")
    assert nva.get("/v1/vns/blue")["members"] == members, "h3 made itself a member"
    assert vm(nva)["nve"] == "h1" and vm(nva)["state"] == "running"
    # in a move, the target cannot tell of the source
    h1.hold_at = "copy"
    ident = move(nva, "h2")
    wait(lambda: nva.get("/v1/moves/" + ident)["phase"] == "copy" and
         nva.get("/v1/moves/" + ident)["progress"]["total"], "no copy")
    for event in ("move-stopped", "move-cut", "move-completed"):
        h2.hv.event(event, vm="web@default", move=ident, drained=0, talkers=[])
    h1.hv.event("move-running", vm="web@default", move=ident)
    h1.hv.event("move-progress", vm="web@default", move=ident, transferred=7, rate_bytes_s=1e300, dirty_pages_s=-5.5)
    wait(lambda: nva.get("/v1/moves/" + ident)["progress"]["transferred"] == 7, "progress is not heard")
    time.sleep(0.2)
    entry = nva.get("/v1/moves/" + ident)
    assert entry["phase"] == "copy" and "cut_ns" not in entry["evidence"], entry
    assert vm(nva)["nve"] == "h1"


def no_flood(nva):
    """What a host says over and over neither fills the log nor makes work for others."""
    h1, h2 = two_hosts(nva)
    running(nva)
    ident = move(nva, "h2")
    ended(nva, ident)
    at_one_place(nva, "h2")
    wait(lambda: "counters" in nva.get("/v1/moves/" + ident)["evidence"], "no counters")
    before = len(nva.read_log())
    for _ in range(2000):
        h1.hv.event("vm-state", vm="web@default", state="running", reason="\x1b[2J")
    h1.hv.event("vm-state", vm="web@default", state="paused", reason="")
    wait(lambda: sum(c[:2] == ("DELETE", "/v1/vms/web@default") for c in h1.calls) >= 2000, "not cleared", 20)
    told = [line for line in nva.read_log()[before:].splitlines() if " debug " not in line]
    assert len(told) < 300, len(told)
    assert "\x1b" not in nva.read_log()


def questions_for_nobody(nva):
    """10,000 questions for names that do not exist: each is answered, none is kept, others are served meanwhile; a frame
    of a later version is skipped."""
    h1, h2 = two_hosts(nva)
    running(nva)
    vni = nva.get("/v1/vns/blue")["vni"]
    h1.nve.send(200, b"of a later version")
    h1.nve.frames.clear()
    for i in range(10000):
        h1.nve.send(QUERY, tlv(6, struct.pack("!I", vni)) + tlv(7, struct.pack("!HI", 0x0200, i)))
    h2.nve.send(QUERY, tlv(6, struct.pack("!I", vni)) + tlv(7, struct.pack("!HI", 0x0200, 1)))
    wait(lambda: any(f[0] == RESPONSE for f in h2.nve.frames), "the other host is not answered")
    wait(lambda: sum(f[0] == RESPONSE for f in h1.nve.frames) >= 10000, "not all are answered", 20)
    status = nva.get("/v1/status")
    assert status["directory"]["answers_negative"] >= 10001, status
    assert status["directory"]["frames_skipped"] == 1, status
    assert nva.get("/v1/vns/blue")["holders"] < 4


def models(nva):
    """A VN's model by API and CLI; it survives a restart; a flush is acknowledged."""
    h1, h2 = two_hosts(nva)
    nva.post("/v1/vns", {"name": "red", "subnets": ["10.2.0.0/24"], "directory": "pull"}, 201)
    assert nva.get("/v1/vns/red")["directory"] == "pull" and not nva.get("/v1/vns/red")["pushed"]
    assert nva.request("POST", "/v1/vns", {"name": "x", "subnets": ["10.3.0.0/24"], "directory": "shout"})[0] == 400
    assert nva.request("PATCH", "/v1/vns/blue", {"directory": "push"})[0] == 200
    running(nva)
    assert nva.get("/v1/vns/blue")["directory"] == "push"
    assert nva.request("POST", "/v1/vns/blue/flush", {})[0] == 400
    nva.post("/v1/vns/blue/flush", {"positive": True, "negative": True}, 202)
    wait(lambda: nva.get("/v1/vns/blue")["unconfirmed"] == {"waiting": 0, "away": 0}, "the flush is not confirmed")
    assert nva.get("/v1/status")["directory"]["flushes"] >= 1
    nva.restart()
    assert nva.get("/v1/vns/blue")["directory"] == "push" and nva.get("/v1/vns/red")["directory"] == "pull"


def hosts_are_listed(nva):
    """admit = listed: a certificate of our authority alone does not make a new host."""
    nva.settings["admit"] = "listed"
    nva.restart()
    nva.issue("h9")
    stranger = Session(nva, "h9", ROLE_NVE, "10.99.0.9")
    wait(stranger.ended.is_set, "it is let in")
    assert "not listed" in stranger.bye, stranger.bye
    assert nva.get("/v1/status")["directory"]["hosts_not_listed"] == 1
    nva.post("/v1/nves", {"id": "h9"}, 201)
    nva.host("h9", "10.99.0.9")


def locators_are_kept(nva):
    """A host with VMs does not move itself to another address; a person can."""
    h1, h2 = two_hosts(nva)
    running(nva)
    h1.nve.close()
    wait(lambda: not nva.get("/v1/nves/h1")["nve_connected"], "still there")
    moved = Session(nva, "h1", ROLE_NVE, "10.99.0.77")
    wait(moved.ended.is_set, "it is let in")
    assert "10.99.0.77" in moved.bye, moved.bye
    assert nva.get("/v1/nves/h1")["locator"] == "10.99.0.1"
    assert nva.request("PATCH", "/v1/nves/h1", {"locator": "fd99::2"})[0] == 409
    assert nva.request("PATCH", "/v1/nves/h1", {"locator": "10.99.0.77"})[0] == 200
    h1.locator = "10.99.0.77"
    h1.connect_nve()
    assert vm(nva)["binding"]["locator"] == "10.99.0.77"


def certificate(nva):
    return nva.get("/v1/status")["certificate"]


def certificates_are_renewed(nva):
    """New files are taken up while sessions go on; what cannot be used changes nothing; an end is announced."""
    h1 = nva.host("h1", "10.99.0.1")
    before = certificate(nva)
    assert before["reloads"] == 0 and before["warnings"] == 0 and before["days_left"] > 30, before
    subprocess.run([nva.cli, "pki", "issue", "nva", "--dir", nva.pki, "--server", "--host", "::1", "--overwrite",
                    "--days", "5"], check=True, stdout=subprocess.DEVNULL)
    wait(lambda: certificate(nva)["reloads"] >= 1 and certificate(nva)["days_left"] <= 5, "not read again", 15)
    wait(lambda: certificate(nva)["warnings"] == 1, "no warning")
    assert "ends in" in nva.read_log()
    with open(nva.pki + "/nva.pem", "w") as file:
        file.write("not a certificate")
    wait(lambda: certificate(nva)["failures"] >= 1 and certificate(nva)["fault"], "no failure", 15)
    assert nva.get("/v1/nves/h1")["nve_connected"] and not h1.nve.ended.is_set()
    nva.host("h2", "fd99::2")  # with the certificate that is in force
    nva.issue("other", "--server")
    for kind in ("pem", "key"):
        shutil.copy("%s/other.%s" % (nva.pki, kind), "%s/nva.%s" % (nva.pki, kind))
    nva.process.send_signal(signal.SIGHUP)
    wait(lambda: "certificate of other" in certificate(nva)["fault"], "another name is taken", 15)
    reloads = certificate(nva)["reloads"]
    subprocess.run([nva.cli, "pki", "issue", "nva", "--dir", nva.pki, "--server", "--host", "::1", "--overwrite"],
                   check=True, stdout=subprocess.DEVNULL)
    wait(lambda: certificate(nva)["reloads"] > reloads and not certificate(nva)["fault"], "not taken up", 15)
    subprocess.run([nva.cli, "pki", "issue", "h3", "--dir", nva.pki, "--days", "1"], check=True,
                   stdout=subprocess.DEVNULL)
    nva.host("h3", "10.99.0.3")
    assert nva.get("/v1/nves/h3")["certificate_until_ns"] < time.time_ns() + 2 * 86400 * 10**9
    assert "the certificate of h3 ends in" in nva.read_log()
    assert not h1.nve.ended.is_set()


def start_and_stop(nva):
    h1, h2 = two_hosts(nva)
    web(nva)
    nva.post("/v1/vms/web/start", {}, 200)
    assert vm(nva)["state"] == "running" and vm(nva)["nve"] in ("h1", "h2")
    nve = vm(nva)["nve"]
    body = next(c for c in nva.hosts[nve].calls if c[:2] == ("POST", "/v1/vms"))[2]
    port = body["definition"]["ports"][0]
    assert port["vni"] and port["mtu"] and port["id"] == "web-0@default", port
    assert nva.request("POST", "/v1/vms/web/start", {})[0] == 409
    assert nva.request("DELETE", "/v1/vms/web")[0] == 409
    assert nva.request("DELETE", "/v1/nves/" + nve)[0] == 409
    nva.post("/v1/vms/web/stop", {})
    wait(lambda: vm(nva)["state"] == "stopped" and not vm(nva)["nve"], "not stopped")
    assert not nva.hosts[nve].vms and not nva.hosts[nve].nve.ended.is_set()
    nva.hosts["h1"].refuse["POST"] = 409, {"error": {"code": "conflict", "field": "kernel", "text": "no such kernel"}}
    answer = nva.post("/v1/vms/web/start", {"nve": "h1"}, 409)
    assert "no such kernel" in answer["error"]["text"], answer
    assert vm(nva)["state"] == "stopped" and vm(nva)["desired"] == "stopped"
    web(nva, "big", **{"vcpus": 9})
    answer = nva.post("/v1/vms/big/start", {"nve": "h2"}, 409)
    nva.delete("/v1/vms/web")


def crash_policy(nva):
    h1, _ = two_hosts(nva)
    running(nva)
    epoch = vm(nva)["epoch"]
    h1.crash("web@default")
    wait(lambda: vm(nva)["state"] == "crashed", "no crash seen")
    wait(lambda: vm(nva)["state"] == "running", "not started again")
    assert vm(nva)["epoch"] > epoch
    at_one_place(nva, "h1")
    running(nva, "once", on_crash="stop")
    h1.crash("once@default")
    wait(lambda: vm(nva, "once")["state"] == "crashed" and not vm(nva, "once")["nve"], "on_crash stop not followed")
    h1.state(h1.vms["web@default"], "stopped", "guest")
    wait(lambda: vm(nva)["desired"] == "stopped" and vm(nva)["state"] == "stopped", "a powered-off guest restarts")


def inventory_corrects(nva):
    h1, h2 = two_hosts(nva)
    running(nva)
    h1.drop()
    lost = h1.vms.pop("web@default")
    h1.vms["ghost@default"] = dict(lost, id="ghost@default")
    h1.connect()
    at_one_place(nva, "h1")
    assert vm(nva)["epoch"] > lost["epoch"]
    wait(lambda: "ghost@default" not in h1.vms, "a VM of nobody lives on")
    h2.vms["web@default"] = dict(lost)
    h2.drop()
    h2.connect()
    wait(lambda: "web@default" not in h2.vms, "a second copy lives on")
    h1.drop()
    nva.post("/v1/vms/web/stop", {}, 202)
    h1.connect()
    wait(lambda: vm(nva)["state"] == "stopped", "not stopped when the host came back")


def tasks(nva):
    h1, h2 = two_hosts(nva)
    port = nva.post("/v1/ports", {"vm": "box", "vn": "blue", "nve": "h1", "device": "veth0",
                                  "addresses": ["10.1.0.50"]}, 201)
    assert port["id"] == "box-0@default" and port["addresses"] == ["10.1.0.50"], port
    sent = h1.ports["box-0@default"]
    assert sent["mode"] == "serve" and sent["device"] == "veth0" and sent["vni"], sent
    assert vm(nva, "box")["kind"] == "task"
    assert nva.request("POST", "/v1/vms/box/move", {"to": "h2"})[0] == 409
    h1.nve.close()
    wait(lambda: not nva.get("/v1/nves/h1")["nve_connected"], "still connected")
    del h1.ports["box-0@default"]
    h1.ports["gone-0@default"] = dict(sent, id="gone-0@default", vm="gone@default")
    h1.connect_nve()
    wait(lambda: list(h1.ports) == ["box-0@default"], "ports not put right: %s" % h1.ports)
    nva.delete("/v1/ports/box-0")
    wait(lambda: not h1.ports, "not taken off")
    assert nva.request("GET", "/v1/vms/box")[0] == 404
    h2.refuse[("POST", "/v1/ports")] = 404, {"error": {"code": "not-found", "field": "device", "text": "no such device"}}
    answer = nva.post("/v1/ports", {"vm": "box", "vn": "blue", "nve": "h2", "device": "veth0"}, 404)
    assert "no such device" in answer["error"]["text"] and nva.request("GET", "/v1/vms/box")[0] == 404


def claims(nva):
    """A task that announces itself elsewhere: who may move it, when, and how often."""
    h1, h2 = two_hosts(nva)
    running(nva)
    nva.post("/v1/ports", {"vm": "box", "vn": "blue", "nve": "h1", "device": "veth0", "addresses": ["10.1.0.50"]}, 201)
    asked, taken = (("POST", "/v1/vms/box@default/" + word) for word in ("presence", "claimed"))

    def claim(host, what, name="box@default"):
        before = nva.get("/v1/status")["claims"][what]
        host.nve.send(REPORT, tlv(12, b"\x11") + tlv(2, name.encode()) + tlv(13, bytes(8)) + tlv(14, b""))
        wait(lambda: nva.get("/v1/status")["claims"][what] > before, "the claim is not %s" % what)

    def presence(here):
        h1.refuse[asked] = h2.refuse[asked] = 200, {"presence": here}

    other = h2 if vm(nva)["nve"] == "h1" else h1
    claim(h2, "policy")
    assert nva.request("PATCH", "/v1/vns/blue", {"announcements": "announced"})[0] == 200
    claim(other, "not-a-task", "web@default")
    claim(h2, "unknown", "nobody@default")
    presence("here")
    claim(h2, "still-there")
    presence("silent")
    h2.refuse[taken] = 404, {"error": {"code": "not-found", "field": "vm", "text": "not claimed here"}}
    claim(h2, "failed")
    assert vm(nva, "box")["nve"] == "h1" and "move" not in vm(nva, "box")
    h1.refuse[taken] = h2.refuse[taken] = 200, {"device": "veth9"}
    epoch = vm(nva, "box")["epoch"]
    for host in (h2, h1, h2, h1, h2):
        claim(host, "accepted")
        assert vm(nva, "box")["nve"] == host.name and vm(nva, "box")["epoch"] > epoch
    assert nva.get("/v1/ports/box-0")["device"] == "veth9"
    wait(lambda: any(c[:2] == ("DELETE", "/v1/vms/box@default?keep=redirect") for c in h1.calls), "no redirect was left")
    claim(h1, "damped")
    assert vm(nva, "box")["nve"] == "h2"
    told = [(c["nve"], c["verdict"], c["times"]) for c in nva.get("/v1/bindings/box")["claims"]]
    assert told == [("h2", "policy", 1), ("h2", "still-there", 1), ("h2", "failed", 1), ("h1", "accepted", 2),
                    ("h2", "accepted", 3), ("h1", "damped", 1)], told
    assert [(c["nve"], c["verdict"]) for c in nva.get("/v1/bindings/web")["claims"]] == [(other.name, "not-a-task")]


def lapsed_leases(nva):
    """With the policy `planned` a task is followed when its lease has lapsed, and not a moment before."""
    h1, h2 = two_hosts(nva)
    nva.post("/v1/ports", {"vm": "box", "vn": "blue", "nve": "h1", "device": "veth0", "addresses": ["10.1.0.50"]}, 201)
    box, taken = vm(nva, "box"), ("POST", "/v1/vms/box@default/claimed")
    h2.refuse[taken] = 200, {"device": "veth9"}

    def claim(what):
        before = nva.get("/v1/status")["claims"][what]
        h2.nve.send(REPORT, tlv(12, b"\x11") + tlv(2, b"box@default") + tlv(13, bytes(8)) + tlv(14, b""))
        wait(lambda: nva.get("/v1/status")["claims"][what] > before, "the claim is not %s" % what)

    assert nva.get("/v1/vns/blue")["announcements"] == "planned"
    port = nva.get("/v1/ports/box-0")
    h1.nve.send(REGISTER, tlv(3, ip16(h1.locator)) + tlv(5, registration(
        "box@default", [port["mac"]], port["addresses"], box["epoch"], 1, h1.locator, handoff=1, lifetime=1)))
    wait(lambda: vm(nva, "box")["binding"]["state"] == "serving", "not registered")
    claim("policy")
    wait(lambda: vm(nva, "box")["binding"]["state"] == "lapsed", "the lease does not lapse", 15)
    claim("accepted")
    moved = vm(nva, "box")
    assert moved["nve"] == "h2" and moved["epoch"] > box["epoch"]
    assert not any("presence" in c[1] for c in h1.calls)        # nobody has to say that it is gone
    assert [p["locator"] for p in moved["binding"]["previous"]] == [h1.locator]


def hot_move(nva):
    h1, h2 = two_hosts(nva)
    running(nva)
    first = vm(nva)["epoch"]
    done = ended(nva, move(nva, "h2", bandwidth_mib_s=100, downtime_ms=50))
    assert done["result"] == "ok" and done["place"] == "h2", done
    phases = [t["phase"] for t in done["timeline"]]
    assert phases[:3] == ["plan", "prepare", "copy"] and phases[-2:] == ["finish", "done"], phases
    evidence = done["evidence"]
    assert evidence["drained"] == 3 and evidence["talkers"] == 1 and evidence["vm_pause_ns"] > 0, evidence
    assert "last_ack_ns" in evidence, evidence
    assert done["progress"]["total"] == 2 << 20
    at_one_place(nva, "h2")
    assert vm(nva)["epoch"] == first + 1 and "web@default" not in h1.vms
    assert vm(nva)["binding"]["previous"][0]["locator"] == "10.99.0.1"
    plan = next(c for c in h1.calls if c[1].endswith("/migrate"))[2]
    assert plan["to"] == "fd99::2" and plan["epoch_back"] == first + 2 and plan["bandwidth_mib_s"] == 100, plan
    assert ended(nva, move(nva, "h1"))["result"] == "ok"
    at_one_place(nva, "h1")
    assert len(nva.get("/v1/moves?vm=web")["moves"]) == 2
    wait(lambda: "redirected" in nva.get("/v1/moves/m1")["evidence"], "no counters in the evidence")


def refused_moves(nva):
    h1, h2 = two_hosts(nva)
    small = nva.host("h3", "10.99.0.3", memory_mib=64)
    running(nva)
    for to, words in (("h1", "already"), ("h3", "64"), ("h9", "no such")):
        status, answer = nva.request("POST", "/v1/vms/web/move", {"to": to})
        assert status in (404, 409) and words in answer["error"]["text"], (to, status, answer)
    small.drop()
    assert nva.request("POST", "/v1/vms/web/move", {"to": "h3"})[0] == 409
    h1.hold_at = "copy"
    ident = move(nva, "h2")
    for method, path in (("POST", "/v1/vms/web/move"), ("POST", "/v1/vms/web/stop"), ("DELETE", "/v1/vms/web")):
        assert nva.request(method, path, {"to": "h2"} if path.endswith("move") else None)[0] == 409, path
    nva.post("/v1/moves/%s/cancel" % ident, None, 202)
    assert ended(nva, ident)["result"] == "cancelled"
    at_one_place(nva, "h1")
    assert "web@default" not in h2.vms
    assert nva.request("POST", "/v1/moves/%s/cancel" % ident)[0] == 409


def failed_preparation(nva):
    h1, h2 = two_hosts(nva)
    running(nva)
    epoch = vm(nva)["epoch"]
    h2.refuse["POST incoming"] = 409, {"error": {"code": "conflict", "field": "", "text": "no such disk here"}}
    done = ended(nva, move(nva, "h2"))
    assert done["result"] == "failed" and "no such disk" in done["reason"] and done["place"] == "h1", done
    at_one_place(nva, "h1")
    assert vm(nva)["epoch"] == epoch
    h2.refuse.clear()
    assert ended(nva, move(nva, "h2"))["result"] == "ok"


def target_dies_after_the_cut(nva):
    h1, h2 = two_hosts(nva)
    running(nva)
    h1.hold_at = "cut"
    ident = move(nva, "h2")
    wait(lambda: nva.get("/v1/moves/" + ident)["phase"] == "commit", "no cut")
    h2.vms.pop("web@default")
    h2.hv.event("move-failed", vm="web@default", move=ident, side="target", reason="stream", running=False)
    done = ended(nva, ident)
    assert done["result"] == "failed" and done["place"] == "h1", done
    at_one_place(nva, "h1")
    h1.hold_at = None
    assert ended(nva, move(nva, "h2"))["result"] == "ok"
    at_one_place(nva, "h2")


def authority_dies_in_each_phase(nva):
    h1, h2 = two_hosts(nva)
    running(nva)
    here, there = h1, h2
    for hold in ("copy", "stop", "cut"):
        here.hold_at = hold
        ident = move(nva, there.name)
        wait(lambda: nva.get("/v1/moves/" + ident)["phase"] in {"copy": ("copy",), "stop": ("cut",),
                                                               "cut": ("commit",)}[hold], "not held at " + hold)
        time.sleep(0.05)
        nva.kill()
        copy = here.vms["web@default"]
        copy.update(state="paused", cut=True)  # meanwhile the agents go on alone
        arrived = there.vms["web@default"]
        arrived.update(state="running", role="serve")
        nva.start()
        here.connect()
        there.connect()
        assert ended(nva, ident)["result"] == "ok", nva.get("/v1/moves/" + ident)
        here.hold_at = None
        at_one_place(nva, there.name)
        here, there = there, here


def agent_dies_before_the_cut(nva):
    h1, h2 = two_hosts(nva)
    running(nva)
    h1.hold_at = "copy"
    ident = move(nva, "h2")
    wait(lambda: nva.get("/v1/moves/" + ident)["phase"] == "copy", "no copy")
    h1.drop()
    h1.vms["web@default"].update(state="crashed")
    h1.connect()
    done = ended(nva, ident)
    assert done["result"] == "failed", done
    at_one_place(nva, "h1")
    assert "web@default" not in h2.vms


def crash_during_a_later_move(nva):
    h1, h2 = two_hosts(nva)
    running(nva)
    assert ended(nva, move(nva, "h2"))["result"] == "ok"
    h2.hold_at = "copy"
    h2.vms["web@default"]["move"] = "m1"
    h2.refuse["POST migrate"] = 409, {"error": {"code": "conflict", "field": "", "text": "it is crashed here"}}
    h1.silent.add("POST incoming")
    ident = move(nva, "h1")
    h2.crash("web@default")
    wait(lambda: nva.get("/v1/moves/" + ident)["phase"] != "prepare", "the crash was not heard")
    assert ended(nva, ident)["result"] == "failed"
    at_one_place(nva, "h2")


def source_resumes_by_itself(nva):
    h1, h2 = two_hosts(nva)
    running(nva)
    first = vm(nva)["epoch"]
    h1.hold_at = "cut"
    ident = move(nva, "h2")
    wait(lambda: nva.get("/v1/moves/" + ident)["phase"] == "commit", "no cut")
    copy = h1.vms["web@default"]
    copy.update(state="running", epoch=first + 2, role="serve", cut=False)
    h1.register(copy, 3)
    h1.hv.event("move-failed", vm="web@default", move=ident, side="source", reason="stream", running=True,
                epoch=first + 2)
    assert ended(nva, ident)["result"] == "failed"
    at_one_place(nva, "h1")
    assert vm(nva)["epoch"] == first + 2 and "web@default" not in h2.vms


def stuck_copy_runs_into_its_deadline(nva):
    h1, h2 = two_hosts(nva)
    running(nva)
    h1.hold_at = "copy"
    done = ended(nva, move(nva, "h2"))
    assert done["result"] == "failed" and "in time" in done["reason"], done
    at_one_place(nva, "h1")


def descriptors_for_many_hosts(nva):
    """A service begins with 1,024 descriptors, of which a host takes two: the authority takes what it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        nva.restart()
        assert resource.prlimit(nva.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def openapi_is_complete(nva):
    import yaml
    with open(ROOT + "/docs/openapi.yaml") as f:
        described = {(method.upper(), path) for path, item in yaml.safe_load(f)["paths"].items() for method in item
                     if method in ("get", "post", "put", "patch", "delete")}
    with open(ROOT + "/src/nva/api.c") as f:
        routes = set(re.findall(r'\{"([A-Z]+)", "([^"]+)"', f.read()))
    assert routes, "no routes found"
    assert described == routes, described ^ routes


TESTS = [objects, bad_input, survives_kill, who_may_connect,
         words_cut_in_a_character, hosts_speak_for_themselves, no_flood, questions_for_nobody, models, certificates_are_renewed, hosts_are_listed, locators_are_kept, start_and_stop, crash_policy, inventory_corrects, tasks, claims, lapsed_leases,
         hot_move, refused_moves, failed_preparation, target_dies_after_the_cut, authority_dies_in_each_phase,
         agent_dies_before_the_cut, crash_during_a_later_move, source_resumes_by_itself,
         stuck_copy_runs_into_its_deadline, descriptors_for_many_hosts, openapi_is_complete]


ROOT = os.path.abspath(sys.argv[3])
run_all(TESTS)
