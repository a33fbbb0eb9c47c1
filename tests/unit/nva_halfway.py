#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Moves that end half-way, as the authority sees them: where the VM is afterwards, what is told, what can be done.

Usage: nva_halfway.py GODWIT-NVA GODWIT SOURCE-ROOT [NAME...]
"""
import os
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from nva_harness import run_all, wait  # noqa: E402


def two_hosts(nva):
    nva.post("/v1/vns", {"name": "blue", "subnets": ["10.1.0.0/24", "fd00:1::/64"]}, 201)
    return nva.host("h1", "10.99.0.1"), nva.host("h2", "fd99::2")


def running(nva, **more):
    nva.post("/v1/vms", dict(kernel="/boot/vmlinuz", memory_mib=128, name="web", ports=[{"vn": "blue"}], **more), 201)
    nva.post("/v1/vms/web/start", {"nve": "h1"}, 200)
    wait(lambda: vm(nva)["binding"]["state"] == "serving", "not registered")


def vm(nva):
    return nva.get("/v1/vms/web")


def ended(nva, ident):
    wait(lambda: nva.get("/v1/moves/" + ident)["phase"] == "done", "the move does not end")
    return nva.get("/v1/moves/" + ident)


def refusal(text):
    return 409, {"error": {"code": "conflict", "field": "", "text": text}}


def cut_with_disks(nva, h1):
    """A VM with a local disk, in a move from h1 to h2 that has cut and goes no further; the move's id."""
    running(nva, disks=[{"path": "web.raw"}])
    h1.on_survey = lambda vm, body: (200, {"disks": []})
    h1.hold_at = "cut"
    ident = nva.post("/v1/vms/web/move", {"to": "h2"}, 202)["id"]
    wait(lambda: nva.get("/v1/moves/" + ident)["phase"] == "commit", "no cut")
    return ident


def source_with_disks_lost_after_the_cut(nva):
    """The target has never run, and what it made is gone: the VM is the source's, where its disks are. Elsewhere it is
    not started without a word of that."""
    h1, h2 = two_hosts(nva)
    ident = cut_with_disks(nva, h1)
    h1.drop()
    nva.post("/v1/nves/h1/lost", None, 200)
    done = ended(nva, ident)
    assert (done["result"], done["place"]) == ("failed", "h1") and "h1" in done["reason"], done
    assert "web@default" not in h2.vms
    seen = vm(nva)
    assert (seen["state"], seen["home"], seen["nve"]) == ("crashed", "h1", ""), seen
    assert seen["reason"].startswith("its host was lost; its disks are on h1: bring that back, or"), seen

    status, answer = nva.request("POST", "/v1/vms/web/start", {})
    text = answer["error"]["text"]
    assert status == 409 and "h1 is not connected; its disks are on h1: bring that back, or" in text, answer
    h2.refuse["POST"] = refusal("the image /var/lib/godwit/disks/web.raw is not there")
    status, answer = nva.request("POST", "/v1/vms/web/start", {"nve": "h2"})
    text = answer["error"]["text"]
    assert status == 409 and text.endswith("web.raw is not there; it ran last on h1, its own disks are there"), answer
    assert vm(nva)["home"] == "h1"

    h1.vms.clear()
    h1.connect()
    nva.post("/v1/vms/web/start", {}, 200)
    assert vm(nva)["nve"] == "h1"


def source_dies_after_the_cut(nva):
    """Its emulator, not its host: the VM is started again where its disks are."""
    h1, h2 = two_hosts(nva)
    ident = cut_with_disks(nva, h1)
    h1.crash("web@default")
    done = ended(nva, ident)
    assert (done["result"], done["place"]) == ("failed", "h1"), done
    wait(lambda: vm(nva)["state"] == "running" and vm(nva)["nve"] == "h1", "not started again at h1")
    assert "web@default" not in h2.vms


def suspended_while_a_move_begins(nva):
    """The order to suspend it was there first: the move fails, and the VM is shown as it is."""
    h1, h2 = two_hosts(nva)
    running(nva)
    h1.refuse["POST migrate"] = refusal("web@default cannot leave now: it is paused here, as serve")
    h1.vms["web@default"]["state"] = "paused"
    done = ended(nva, nva.post("/v1/vms/web/move", {"to": "h2"}, 202)["id"])
    assert done["result"] == "failed" and "it is paused here" in done["reason"], done
    wait(lambda: vm(nva)["state"] == "paused", "its state is not known")
    assert "web@default" not in h2.vms


def post_copy_whose_source_fails_at_the_end(nva):
    """The target runs, and says that nothing is missing: the move has gone well."""
    h1, h2 = two_hosts(nva)
    running(nva)
    h1.hold_at = "cut"
    ident = nva.post("/v1/vms/web/move", {"to": "h2", "mode": "post-copy"}, 202)["id"]
    wait(lambda: nva.get("/v1/moves/" + ident)["phase"] == "commit", "no cut")
    h1.hv.event("move-switched", vm="web@default", move=ident)
    h2.arrive("web@default")
    h1.hv.event("move-failed", vm="web@default", move=ident, side="source", reason="in doubt", running=False)
    wait(lambda: nva.get("/v1/moves/" + ident)["phase"] == "finish", "it does not get to its end")
    assert "web@default" in h1.vms
    h2.hv.event("move-landed", vm="web@default", move=ident)
    assert ended(nva, ident)["result"] == "ok"
    wait(lambda: "web@default" not in h1.vms, "the source is kept")
    assert vm(nva)["nve"] == "h2" and h2.vms["web@default"]["state"] == "running"


def torn_with_disks(nva, ident, killed):
    """A post-copy whose VM runs at h2 when one of its emulators ends; h2 has made images of the first and third disk."""
    h1, h2 = nva.hosts["h1"], nva.hosts["h2"]
    wait(lambda: nva.get("/v1/moves/" + ident)["phase"] == "commit", "no cut")
    h1.hv.event("move-switched", vm="web@default", move=ident)
    h2.arrive("web@default")
    wait(lambda: nva.get("/v1/moves/" + ident)["phase"] in ("converge", "finish"), "it does not run there")
    killed.crash("web@default")
    if killed is h1:
        h1.vms["web@default"].update(role="serve", move="")
    return ended(nva, ident)


def post_copy_torn_tells_where_the_disks_are(nva):
    h1, h2 = two_hosts(nva)
    running(nva, on_crash="stop", disks=[{"path": "web.raw"}, {"path": "/shared/data.raw"}, {"path": "/images/log.raw"}])
    h1.on_survey = lambda vm, body: (200, {"disks": []})
    incoming = h2.incoming
    h2.incoming = lambda body: (200, dict(incoming(body)[1], disks=5))
    current = [("h2", "web.raw", "current"), ("h2", "/images/log.raw", "current")]

    def images(move):
        return sorted((i["nve"], i["path"], i["state"]) for i in move.get("images", []))

    aside = [("h1", "/images/log.raw.moved", "old"), ("h1", "web.raw.moved", "old")]
    for killed, keep, old in ((h2, False, aside), (h2, True, aside),
                              (h1, True, [("h1", "/images/log.raw", "old"), ("h1", "web.raw", "old")])):
        h1.hold_at = "cut"
        ident = nva.post("/v1/vms/web/move", {"to": "h2", "mode": "post-copy", "keep_disks": keep}, 202)["id"]
        done = torn_with_disks(nva, ident, killed)
        assert done["result"] == "failed" and done["place"] == "h2", done
        assert images(done) == sorted(current + old), (killed.name, keep, done.get("images"))
        assert killed is h1 or h1.finished["keep_disks"], h1.finished       # its image is all there is if h2 is lost
        wait(lambda: vm(nva)["state"] == "crashed", "it goes on")
        assert "`godwit move show %s` tells where its disks are" % ident in vm(nva)["reason"], vm(nva)
        words = subprocess.run([nva.cli, "--api", nva.api, "move", "show", ident], capture_output=True, text=True).stdout
        assert "web.raw on h2  current" in words and "on h1  old" in words, words
        nva.post("/v1/vms/web/start", {"nve": "h1"}, 200)   # as if the images had been brought back
        wait(lambda: vm(nva)["state"] == "running" and vm(nva)["binding"]["state"] == "serving", "not started again")
        h2.vms.clear()
    nva.restart()
    assert images(nva.get("/v1/moves/" + ident)) == sorted(current + old)
    for host in (h1, h2):
        host.connect()
    h1.hold_at = None           # one that goes well leaves nothing in doubt
    assert "images" not in ended(nva, nva.post("/v1/vms/web/move", {"to": "h2", "mode": "hot"}, 202)["id"])
    assert "keep_disks" not in h1.finished


def what_a_forgotten_move_left_is_kept(nva):
    """The source's agent comes back with its copy after the move's record went (there are newer ones, or the store was
    brought back): nobody can say any more that it was not torn."""
    h1, h2 = two_hosts(nva)
    running(nva, disks=[{"path": "web.raw"}])
    h2.vms["web@default"] = dict(h1.vms["web@default"], state="paused", role="source", move="forgotten-7")
    h2.connect_hv()
    wait(lambda: "web@default" not in h2.vms, "its copy is not ended")
    assert h2.finished == {"move": "forgotten-7", "keep_disks": True}, h2.finished
    assert vm(nva)["nve"] == "h1" and "web@default" in h1.vms


def times_that_nobody_heard_are_told_again(nva):
    """An authority that is killed may leave unread what agents have told it: their inventories say when it was."""
    h1, h2 = two_hosts(nva)
    running(nva)
    h1.unheard, h2.unheard = {"move-stopped", "move-cut"}, {"move-running"}
    ident = nva.post("/v1/vms/web/move", {"to": "h2"}, 202)["id"]
    wait(lambda: "resumed_ns" in h2.vms.get("web@default", {}), "it does not run there")
    stopped_ns, resumed_ns = h1.vms["web@default"]["stopped_ns"], h2.vms["web@default"]["resumed_ns"]
    nva.restart()
    h1.connect()
    h2.connect()
    done = ended(nva, ident)
    assert done["result"] == "ok", done
    evidence = done["evidence"]
    assert (evidence["stopped_ns"], evidence["resumed_ns"]) == (stopped_ns, resumed_ns), evidence
    assert evidence["vm_pause_ns"] == resumed_ns - stopped_ns


def move_without_a_pause_foretells_none(nva):
    h1, h2 = two_hosts(nva)
    running(nva)
    h1.unheard = {"move-stopped"}       # and it is in no inventory that the authority hears
    assert "vm_pause_ns" not in ended(nva, nva.post("/v1/vms/web/move", {"to": "h2"}, 202)["id"])["evidence"]

    def expected(to):
        return nva.post("/v1/vms/web/plan", {"to": to}, 200)["expected"]
    assert expected("h1")["moves"] == 0 and "pause_ms" not in expected("h1")
    assert ended(nva, nva.post("/v1/vms/web/move", {"to": "h1"}, 202)["id"])["result"] == "ok"
    assert expected("h2")["moves"] == 1 and expected("h2")["pause_ms"] >= 20     # its target takes as long to say so


run_all([source_with_disks_lost_after_the_cut, source_dies_after_the_cut, suspended_while_a_move_begins,
         post_copy_whose_source_fails_at_the_end, post_copy_torn_tells_where_the_disks_are,
         what_a_forgotten_move_left_is_kept,
         times_that_nobody_heard_are_told_again, move_without_a_pause_foretells_none])
