#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What strangers, liars and accidents do to godwit-nva: each case was found by reading, and failed before it was mended.

Usage: nva_strangers.py GODWIT-NVA GODWIT SOURCE-ROOT [NAME...]
"""
import json
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from nva_harness import REPORT, ROLE_HV, ROLE_NVE, Session, WELCOME, run_all, tlv, wait  # noqa: E402

PER_S = 10        # session-frames-per-s
WEB = {"name": "web", "kernel": "/boot/vmlinuz", "memory_mib": 128, "ports": [{"vn": "blue"}]}


def blue(nva):
    nva.post("/v1/vns", {"name": "blue", "subnets": ["10.1.0.0/24", "fd00:1::/64"]}, 201)


def vm(nva, name="web"):
    return nva.get("/v1/vms/" + name)


def two_hosts(nva):
    blue(nva)
    return nva.host("h1", "10.99.0.1"), nva.host("h2", "fd99::2")


def running(nva, **more):
    nva.post("/v1/vms", dict(WEB, **more), 201)
    nva.post("/v1/vms/web/start", {"nve": "h1"}, 200)
    wait(lambda: vm(nva)["binding"]["state"] == "serving", "not registered")


def begin_move(nva):
    return nva.post("/v1/vms/web/move", {"to": "h2"}, 202)["id"]


def ended(nva, ident):
    wait(lambda: nva.get("/v1/moves/" + ident)["phase"] == "done", "the move does not end")
    return nva.get("/v1/moves/" + ident)


def refused_emulators(nva):
    """A definition whose emulator is refused for its octets or its length is an error of the client's, not our end."""
    blue(nva)
    for emulator in ("/usr/bin/\u00e9mulateur", "/" + "x" * 5000, "/bin/a\tb", 7):
        status, answer = nva.request("POST", "/v1/vms", dict(WEB, emulator=emulator))
        assert status == 400 and answer["error"]["field"] == "emulator", (emulator[:20], status, answer)
    assert nva.get("/v1/vms")["vms"] == []


def a_refused_start_is_no_home(nva):
    """Where a VM's images are is where it ran last, not where a host refused it since."""
    _, h2 = two_hosts(nva)
    running(nva, disks=[{"path": "/images/web.qcow2"}])
    nva.post("/v1/vms/web/stop", {})
    wait(lambda: vm(nva)["state"] == "stopped", "not stopped")
    h2.refuse["POST"] = 409, {"error": {"code": "conflict", "field": "disks", "text": "no such image"}}
    nva.post("/v1/vms/web/start", {"nve": "h2"}, 409)
    assert vm(nva)["home"] == "h1" and vm(nva)["state"] == "stopped", vm(nva)
    nva.post("/v1/vms/web/start", {}, 200)
    assert vm(nva)["nve"] == "h1"


def stopped_while_it_starts(nva):
    """A stop that comes before its host has anything to stop is not lost, whether the start succeeds then or not."""
    h1, _ = two_hosts(nva)
    nva.post("/v1/vms", WEB, 201)
    usual = h1.start
    for fails in (False, True):
        go, asked = threading.Event(), threading.Event()

        def slow(body):
            asked.set()
            go.wait(10)
            return (409, {"error": {"code": "conflict", "field": "", "text": "no room"}}) if fails else usual(body)

        h1.start = slow
        start = threading.Thread(target=lambda: nva.request("POST", "/v1/vms/web/start", {"nve": "h1"}))
        start.start()
        assert asked.wait(10)
        nva.post("/v1/vms/web/stop", {})
        go.set()
        start.join()
        wait(lambda: vm(nva)["state"] == "stopped" and not vm(nva)["nve"] and not h1.vms, "it is %s" % vm(nva)["state"])


def power_off_during_a_move(nva):
    """A guest that powers itself off has stopped, also when it does so on its way; one that crashes starts again."""
    h1, h2 = two_hosts(nva)
    running(nva)
    h1.hold_at = "copy"
    for state, after in (("crashed", "running"), ("stopped", "stopped")):
        ident, epoch = begin_move(nva), vm(nva)["epoch"]
        wait(lambda: nva.get("/v1/moves/" + ident)["progress"]["total"], "no copy")
        h1.hv.event("move-failed", vm="web@default", move=ident, side="source", reason="it ended", running=False)
        h1.state(h1.vms["web@default"], state)
        assert ended(nva, ident)["result"] == "failed"
        wait(lambda: vm(nva)["state"] == after, "it is %s, not %s" % (vm(nva)["state"], after))
        assert (vm(nva)["epoch"] > epoch) and "web@default" not in h2.vms
    assert vm(nva)["desired"] == "stopped" and not vm(nva)["nve"] and vm(nva)["home"] == "h1"


def power_off_after_a_move(nva):
    """The same at the target, before the move has ended."""
    h1, h2 = two_hosts(nva)
    running(nva)
    h1.silent.add("POST finish")
    ident = begin_move(nva)
    wait(lambda: nva.get("/v1/moves/" + ident)["phase"] in ("converge", "finish"), "the move does not get so far")
    h2.state(h2.vms["web@default"], "stopped")
    ended(nva, ident)
    wait(lambda: vm(nva)["state"] == "stopped" and vm(nva)["desired"] == "stopped", "a powered-off guest starts again")


def a_claim_cut_off_by_a_restart(nva):
    """What a claim had reserved when the authority was killed does not keep the task from being followed for ever."""
    h1, h2 = two_hosts(nva)
    assert nva.request("PATCH", "/v1/vns/blue", {"announcements": "announced"})[0] == 200
    nva.post("/v1/ports", {"vm": "box", "vn": "blue", "nve": "h1", "device": "veth0"}, 201)
    taken = "POST", "/v1/vms/box@default/claimed"
    h1.refuse[("POST", "/v1/vms/box@default/presence")] = 200, {"presence": "silent"}
    h2.refuse[taken] = None

    def claim():
        h2.nve.send(REPORT, tlv(12, b"\x11") + tlv(2, b"box@default") + tlv(13, bytes(8)) + tlv(14, b""))

    claim()
    wait(lambda: any(c[:2] == taken for c in h2.calls), "nobody asks h2")
    assert nva.get("/v1/bindings/box")["move_to"] == "h2"
    nva.restart()
    h1.connect()
    h2.connect()
    assert nva.get("/v1/bindings/box")["move_to"] == "" and vm(nva, "box")["nve"] == "h1"
    h2.refuse[taken] = 200, {"device": "veth9"}
    claim()
    wait(lambda: vm(nva, "box")["nve"] == "h2", "not followed any more: %s" % nva.get("/v1/status")["claims"])


def pages(host, answer):
    """The host's caches are what answer(path) says."""
    usual = host.nve_call

    def call(method, path, body):
        return answer(path) if path.startswith("/v1/caches") else usual(method, path, body)

    host.nve.answer = call


def entry(i, **more):
    return dict({"vni": 4096, "mac": "02:00:00:00:%02x:%02x" % (i >> 8, i & 255), "kind": "remote",
                 "locator": "10.99.0.7", "epoch": 1}, **more)


def an_audit_without_end(nva):
    """An edge whose pages go on for ever, or are empty and go on, ends no audit of the others."""
    h1, _ = two_hosts(nva)
    pages(h1, lambda path: (200, {"entries": [], "next": "1/x"}))
    report = nva.post("/v1/audit", {}, 200)
    assert report["silent"] == ["h1"] and not report["clean"] and report["nves"] == 1, report


def an_audit_of_a_liar(nva):
    """What an edge says of itself is kept in bounds: so many findings, of each the members that are known."""
    h1, _ = two_hosts(nva)
    lies = [entry(i, junk="x" * 100, origin="y" * 100) for i in range(1500)]

    def page(path):
        more = "after=" not in path
        return 200, {"entries": lies if more else [entry(5000, kind="local")], "next": "1/more" if more else ""}

    pages(h1, lambda path: page(path) if "forwarding" in path else (200, {"entries": []}))
    report = nva.post("/v1/audit", {}, 200)
    assert report["entries"] == report["contradictions"] == 1501 and not report["clean"], report["contradictions"]
    assert len(report["findings"]) == 1000 and report["unlisted"] == 501
    assert all(set(f["entry"]) == {"vni", "mac", "kind", "locator", "epoch"} for f in report["findings"])


def an_edge_that_dies_while_it_is_repaired(nva):
    """Its contradictions are not forgotten because it does not answer any more."""
    h1, _ = two_hosts(nva)
    asked = []

    def page(path):
        asked.append(path)
        return (200, {"entries": [entry(1)]}) if len(asked) == 1 else (200, {}) if len(asked) == 2 else (500, None)

    pages(h1, page)
    report = nva.post("/v1/audit", {"repair": True}, 200)
    assert (report["contradictions"], report["repaired"], report["silent"]) == (1, 0, ["h1"]), report
    assert not report["clean"] and len(report["findings"]) == 1


def words_that_steer_terminals(nva):
    """A host's words reach an operator's terminal as one line of text, and his programs as they are."""
    h1, _ = two_hosts(nva)
    running(nva, on_crash="stop")
    h1.state(h1.vms["web@default"], "crashed", "\u001b]0;mine\u0007\nvm root\u009b2J\u007f")
    wait(lambda: vm(nva)["state"] == "crashed", "the crash is not seen")

    def godwit(*words):
        return subprocess.run([nva.cli, *words, "--api", nva.api], stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout.decode()

    shown = godwit("vm", "show", "web")
    assert "mine" in shown and not any(c in shown for c in "\u001b\u0007\u009b\u007f") and "\nvm root" not in shown, repr(shown)
    h1.refuse["POST"] = 409, {"error": {"code": "conflict", "field": "", "text": "no\u001b[2Jroom"}}
    shown = godwit("vm", "start", "web", "--on", "h1")
    assert "room" in shown and "\u001b" not in shown, repr(shown)
    assert json.loads(godwit("vm", "show", "web", "--json"))["reason"] == vm(nva)["reason"]


def an_inventory_without_measure(nva):
    """No host has so many VMs; each that is not known would be a call."""
    blue(nva)
    nva.issue("h1")
    agent = Session(nva, "h1", ROLE_HV, "10.99.0.1")
    agent.event("inventory", vms=[{"id": "v%d" % i} for i in range(20000)])
    wait(lambda: agent.ended.is_set(), "it is suffered")


def a_drain_that_is_watched(nva):
    """Looking at moves of a drain leaves nothing behind; with leaks detected, the end of the authority tells."""
    h1, _ = two_hosts(nva)
    running(nva)
    h1.hold_at = "copy"
    nva.post("/v1/nves/h1/drain", {}, 202)
    wait(lambda: any("progress" in v for v in nva.get("/v1/nves/h1/drain")["vms"]), "no progress is shown")


def a_host_that_says_it_is_a_gateway(nva):
    """Where only those that were named may be, and one that was forbidden to; what it is told follows."""
    nva.settings["gateways"] = "listed"
    nva.restart()
    blue(nva)
    assert nva.request("PATCH", "/v1/vns/blue", {"gateways": ["10.1.0.1"]})[0] == 200
    nva.post("/v1/policies", {"name": "world", "from": "blue", "outside": True}, 201)
    nva.issue("h1")
    told = []

    def answer(method, path, body):
        if path == "/v1/gateway":
            told.append(body)
        return 200, {}

    h1 = Session(nva, "h1", ROLE_NVE, "10.99.0.1", answer, hello=tlv(41, struct.pack("!I", 0)))
    wait(lambda: nva.request("GET", "/v1/nves/h1")[0] == 200, "not known")

    def gateways():
        return [g["nve"] for g in nva.get("/v1/gateways")["gateways"]]

    def says(**what):
        status, nve = nva.request("PATCH", "/v1/nves/h1", what)
        assert status == 200, nve
        return nve["gateway"], nve["gateway_offered"], nve["gateway_now"], nve["claims"]

    assert gateways() == [] and says() == ("default", True, False, "default")
    assert says(gateway="allowed") == ("allowed", True, True, "default") and gateways() == ["h1"]
    wait(lambda: told and len(told[-1]["vns"]) == 1, "it is not told what to route")
    assert says(gateway="forbidden", claims="forbidden") == ("forbidden", True, False, "forbidden") and gateways() == []
    wait(lambda: told[-1] == {"vns": [], "routes": []}, "it goes on routing")
    assert nva.request("PATCH", "/v1/nves/h1", {"gateway": "perhaps"})[0] == 400
    nva.post("/v1/vms", WEB, 201)
    h1.send(REPORT, tlv(12, b"\x11") + tlv(2, b"web@default") + tlv(13, bytes(8)) + tlv(14, b""))
    wait(lambda: nva.get("/v1/status")["claims"]["forbidden"] == 1, "its claim is looked into")
    nva.restart()
    assert says() == ("forbidden", True, False, "forbidden")


def a_policy_is_answered_when_the_authority_ends(nva):
    """It waits for a gateway that says nothing: what was made is made, and who has not confirmed it is named."""
    blue(nva)
    assert nva.request("PATCH", "/v1/vns/blue", {"gateways": ["10.1.0.1"]})[0] == 200
    nva.issue("h1")
    told, answers = threading.Event(), []

    def answer(method, path, body):
        if path == "/v1/gateway" and body["vns"]:
            told.set()
            return None
        return 200, {}

    def create():
        answers.append(nva.request("POST", "/v1/policies", {"name": "world", "from": "blue", "outside": True}))

    Session(nva, "h1", ROLE_NVE, "10.99.0.1", answer, hello=tlv(41, struct.pack("!I", 0)))
    wait(lambda: nva.get("/v1/gateways")["gateways"], "it is no gateway")
    waiting = threading.Thread(target=create)
    waiting.start()
    assert told.wait(10), "it is not told"
    nva.process.send_signal(signal.SIGTERM)
    assert nva.process.wait(10) == 0
    waiting.join()
    (status, made), = answers
    assert status == 201 and made["name"] == "world" and made["untold"] == ["h1"], answers
    nva.start()
    assert [p["name"] for p in nva.get("/v1/policies")["policies"]] == ["world"]


def all_gateways_that_have_not_taken_a_policy_are_named(nva):
    """However many: those that are away, and one that refuses."""
    blue(nva)
    assert nva.request("PATCH", "/v1/vns/blue", {"gateways": ["10.1.0.1"]})[0] == 200
    names = ["gateway-whose-name-is-rather-long-as-those-of-machines-are-%02d" % i for i in range(20)]

    def refuses(method, path, body):
        return 500, {"error": {"code": "io", "field": "", "text": "gateway.json cannot be written: no space"}}

    for i, name in enumerate(names):
        nva.issue(name)
        session = Session(nva, name, ROLE_NVE, "10.99.0.%d" % (i + 1), refuses, hello=tlv(41, struct.pack("!I", 0)))
        wait(lambda s=session: any(f[0] == WELCOME for f in s.frames), "not taken")
        if i:
            session.close()
            wait(lambda n=name: not nva.get("/v1/nves/" + n)["nve_connected"], "still there")
    done = subprocess.run([nva.cli, "--api", nva.api, "policy", "create", "world", "--from", "blue", "--outside"],
                          capture_output=True, text=True)
    assert done.returncode == 0 and "not taken yet" in done.stderr, done
    assert sorted(done.stderr.split(":")[2].split(";")[0].split()) == names, done.stderr


def a_gateway_that_connects_in_a_loop(nva):
    """Its coming and going makes the authority tell all members: what that cost it waits for, and it alone."""
    nva.settings["session-frames-per-s"] = PER_S
    nva.restart()
    blue(nva)
    assert nva.request("PATCH", "/v1/vns/blue", {"gateways": ["10.1.0.1"]})[0] == 200
    nva.post("/v1/policies", {"name": "world", "from": "blue", "outside": True}, 201)
    nva.issue("h1")
    begun, connected, gone = time.monotonic(), 0, None
    while not gone:
        session = Session(nva, "h1", ROLE_NVE, "10.99.0.1", lambda *call: (200, {}), hello=tlv(41, struct.pack("!I", 0)))
        wait(lambda: session.bye or any(f[0] == WELCOME for f in session.frames), "neither taken nor refused")
        gone, connected = session.bye, connected + 1
        session.close()
        session.ended.wait(10)
        assert time.monotonic() < begun + 20, connected
    assert "has cost too much by coming and going; again in" in gone, gone
    wait_ms = int(re.search(r"again in (\d+) ms", gone).group(1))
    assert 0 < wait_ms < 2000 and nva.get("/v1/status")["directory"]["hosts_too_soon"] == 1
    nva.host("h2", "10.99.0.2")                 # others are not made to wait
    time.sleep(wait_ms / 1000)
    session = Session(nva, "h1", ROLE_NVE, "10.99.0.1", lambda *call: (200, {}), hello=tlv(41, struct.pack("!I", 0)))
    wait(lambda: any(f[0] == WELCOME for f in session.frames), "it is never taken again")
    session.close()


run_all([refused_emulators, a_refused_start_is_no_home, stopped_while_it_starts, power_off_during_a_move,
         power_off_after_a_move, a_claim_cut_off_by_a_restart, an_audit_without_end, an_audit_of_a_liar,
         an_edge_that_dies_while_it_is_repaired, words_that_steer_terminals, an_inventory_without_measure,
         a_drain_that_is_watched, a_host_that_says_it_is_a_gateway, a_policy_is_answered_when_the_authority_ends,
         all_gateways_that_have_not_taken_a_policy_are_named,
         a_gateway_that_connects_in_a_loop])
