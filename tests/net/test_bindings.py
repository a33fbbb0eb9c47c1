# SPDX-License-Identifier: Apache-2.0
"""Bindings on both sides of a session: the life of a VM as the authority's cache and the edges' lists tell it.

    h1 ---+--- h2      web: created at h1, moved to h2, to h3, stopped
          |
    h3 ---+--- nva
"""
import json
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import labs  # noqa: E402

BUILD = os.environ.get("GW_BUILD", "build")
NEEDED = [os.path.join(BUILD, p) for p in ("src/cli/godwit", "src/nva/godwit-nva", "src/nve/godwit-nve", "src/hv/godwit-hv",
                                           "lab/synth/godwit-synth")]
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(not all(map(os.path.exists, NEEDED)), reason="needs the daemons built"),
]


@pytest.fixture(scope="module", params=[4, 6], ids=["underlay4", "underlay6"])
def lab(request):
    with labs.Lab("bul%d" % os.getpid(), underlay=request.param, accelerator="tcg") as made:
        made.godwit("vn", "create", "blue", "--subnet", "10.1.0.0/24", "--subnet", "fd00:1::/64")
        made.lab("vm", "add", "web", "--vn", "blue", "--ip", "10.1.0.10", "--ip", "fd00:1::10", "--on", "h1", "--synthetic")
        yield made


def binding(lab):
    return lab.get("/v1/bindings/web")


def at_edge(lab, host):
    """web in that edge's list; None when it is not."""
    found = [b for b in lab.edge(host, "/v1/bindings")["bindings"] if b["vm"] == "web@default"]
    return found[0] if found else None


def move(lab, to):
    lab.godwit("vm", "move", "web", "--to", to)
    labs.wait_until(f"web registers at {to}", lambda: binding(lab)["nve"] == to and binding(lab)["state"] == "serving")


def previous(lab, nve):
    return [p for p in binding(lab)["previous"] if p["nve"] == nve][-1]


def test_life_of_a_vm(lab):
    labs.wait_until("web is registered", lambda: binding(lab)["state"] == "serving")
    assert binding(lab)["previous"] == [] and binding(lab)["nve"] == "h1"
    here = labs.wait_until("the edge knows", lambda: (b := at_edge(lab, "h1")) and b["state"] == "accepted" and b)
    assert here["role"] == "serving" and here["remaining_ms"] > 0 and here["status"] == 0
    assert here["next_ms"] < here["remaining_ms"]          # refreshed before it ends
    assert sorted(here["addresses"]) == ["10.1.0.10", "fd00:1::10"]
    first = binding(lab)["epoch"]

    move(lab, "h2")
    told = labs.wait_until("h1 has answered", lambda: (p := previous(lab, "h1"))["notice"]["state"] == "answered" and p)
    assert told["notice"]["status"] == 0 and told["notice"]["epoch"] > first
    assert told["notice"]["answered_ns"] >= told["notice"]["told_ns"] > 0
    assert at_edge(lab, "h2")["role"] == "serving"
    ended = labs.wait_until("h1's redirect has ended", lambda: not (p := previous(lab, "h1"))["notice"]["kept"] and p,
                            timeout_s=40)
    assert ended["notice"]["why"] == "idle"
    labs.wait_until("h1's list is empty", lambda: at_edge(lab, "h1") is None)

    move(lab, "h3")
    labs.wait_until("h2 has answered", lambda: previous(lab, "h2")["notice"]["state"] == "answered")
    assert previous(lab, "h1")["notice"]["why"] == "idle"   # nothing is kept there: it is not told any more
    assert previous(lab, "h1")["notice"]["epoch"] < previous(lab, "h2")["notice"]["epoch"]
    shown = lab.godwit("binding", "show", "web").stdout
    assert "was at" in shown and "(h1)" in shown and "removed: idle" in shown
    listed = json.loads(lab.godwit("binding", "list", "--json").stdout)
    assert [b["vm"] for b in listed["bindings"]] == ["web@default"]
    assert "web@default" in lab.godwit("binding", "list").stdout
    edges = lab.godwit("binding", "list", "--api", f"{lab.folder}/hosts/h3/nve.sock").stdout
    assert "ROLE" in edges and "serving" in edges


def test_history_outlives_the_authority(lab):
    before = binding(lab)
    lab.lab("kill", "nva", "nva")
    lab.lab("start", "nva", "nva")
    lab.lab("wait")
    labs.wait_until("it is registered again", lambda: binding(lab)["state"] == "serving")
    after = binding(lab)
    assert [p["nve"] for p in after["previous"]] == [p["nve"] for p in before["previous"]]
    assert previous(lab, "h1")["notice"]["told_ns"] == [p for p in before["previous"] if p["nve"] == "h1"][-1]["notice"]["told_ns"]
    for host in ("h1", "h2"):
        labs.wait_until(f"{host} has answered", lambda h=host: previous(lab, h)["notice"]["state"] == "answered")


def test_edge_that_was_away_is_told_when_it_is_back(lab):
    """h3 loses its edge at the moment of the move; it is told with its next session."""
    lab.lab("kill", "nva", "nva")                          # nobody can tell anybody
    lab.lab("start", "nva", "nva")
    lab.lab("wait")
    move(lab, "h1")
    labs.wait_until("h3 has answered", lambda: previous(lab, "h3")["notice"]["state"] == "answered")
    lab.lab("kill", "h1", "nve")
    lab.lab("start", "h1", "nve")
    lab.lab("wait")
    here = labs.wait_until("h1 registers again", lambda: (b := at_edge(lab, "h1")) and b["state"] == "accepted" and b)
    assert here["role"] == "serving"
    lab.godwit("vm", "stop", "web", "--force")
    labs.wait_until("web is nowhere", lambda: binding(lab)["state"] == "none")
    labs.wait_until("h1's list is empty", lambda: at_edge(lab, "h1") is None)
    assert all(not p["notice"]["kept"] for p in binding(lab)["previous"] if p["notice"])
