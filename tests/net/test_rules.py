# SPDX-License-Identifier: Apache-2.0
"""Placement rules with the real daemons: enforced at start, attach and move, and shown by the plan of a move."""
import json
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from labs import ApiError, GODWIT, Lab, wait_until  # noqa: E402

SYNTH = os.path.abspath(os.path.join(os.path.dirname(GODWIT), "../../lab/synth/godwit-synth"))
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(not (os.path.exists(GODWIT) and os.path.exists(SYNTH)), reason="needs the daemons built"),
]


@pytest.fixture(scope="module")
def lab():
    with Lab(f"ru{os.getpid() % 10000}", hosts=2) as world:
        for tenant in ("default", "red", "grey"):
            if tenant != "default":
                world.godwit("tenant", "create", tenant)
            world.godwit("vn", "create", f"blue@{tenant}", "--subnet", "10.1.0.0/24")
        for name in ("web", "db", "log"):
            world.lab("vm", "add", name, "--vn", "blue", "--on", "h1", "--synthetic")
        yield world


def plan(lab, vm, to):
    done = lab.godwit("vm", "move", vm, "--to", to, "--plan", "--json", check=False)
    body = json.loads(done.stdout)
    assert (done.returncode == 0) == body["allowed"]
    return body["allowed"], {c["check"]: c["verdict"] for c in body["checks"]}, body


def moves(lab, vm, to):
    done = lab.godwit("vm", "move", vm, "--to", to, check=False)
    if done.returncode == 0:
        wait_until("it is there", lambda: lab.vm(vm)["nve"] == to and lab.vm(vm)["state"] == "running")
    return done


def test_apart(lab):
    lab.godwit("rule", "create", "spread", "--apart", "web", "db")
    listed = lab.godwit("rule", "list").stdout
    assert "spread@default" in listed and "not kept" in listed        # both are on h1 already
    assert moves(lab, "db", "h2").returncode == 0
    assert lab.get("/v1/rules/spread")["kept"]
    allowed, checks, body = plan(lab, "web", "h2")
    assert not allowed and checks["rules"] == "refuse" and checks["memory"] == checks["tenants"] == "pass"
    refused = moves(lab, "web", "h2")
    reason = next(c["reason"] for c in body["checks"] if c["check"] == "rules")
    assert refused.returncode == 1 and reason in refused.stderr and lab.vm("web")["nve"] == "h1"
    table = lab.godwit("vm", "move", "web", "--to", "h2", "--plan", check=False).stdout
    assert "REASON" in table and "keeps web@default and db@default apart" in table and "would be refused" in table
    assert plan(lab, "log", "h2")[0]                                  # nobody has said anything about it
    lab.godwit("rule", "suspend", "spread")
    assert plan(lab, "web", "h2")[0]
    lab.godwit("rule", "enforce", "spread")
    lab.godwit("vm", "stop", "web", "--force", "--wait", check=False)
    wait_until("web has stopped", lambda: lab.vm("web")["state"] == "stopped" and not lab.vm("web")["nve"])
    started = lab.godwit("vm", "start", "web", "--on", "h2", check=False)
    assert started.returncode == 1 and "rule spread@default" in started.stderr
    lab.godwit("vm", "start", "web")                                  # a place is chosen that the rules allow
    wait_until("web runs", lambda: lab.vm("web")["state"] == "running")
    assert lab.vm("web")["nve"] == "h1"
    lab.godwit("rule", "delete", "spread")
    assert plan(lab, "web", "h2")[0]


def test_together(lab):
    if lab.vm("log")["nve"] != "h1":
        assert moves(lab, "log", "h1").returncode == 0
    lab.godwit("rule", "create", "pair", "--together", "web", "log")
    refused = moves(lab, "web", "h2")
    assert refused.returncode == 1 and "keeps web@default and log@default together" in refused.stderr
    lab.godwit("rule", "suspend", "pair")
    assert moves(lab, "web", "h2").returncode == 0
    lab.godwit("rule", "enforce", "pair")
    assert not lab.get("/v1/rules/pair")["kept"]
    assert moves(lab, "log", "h2").returncode == 0                    # towards the other one is always allowed
    assert lab.get("/v1/rules/pair")["kept"]
    lab.lab("kill", "nva", "nva")                                     # rules are durable
    lab.lab("start", "nva", "nva")
    lab.lab("wait")
    assert lab.get("/v1/rules/pair")["kind"] == "together"
    lab.godwit("rule", "delete", "pair")


def test_tenants_that_share_no_host(lab):
    lab.godwit("tenant", "update", "red", "--apart", "default")
    api = lab.api("POST", "/v1/vms", {"name": "r1", "tenant": "red", "memory_mib": 16, "vcpus": 1, "emulator": SYNTH,
                                      "ports": [{"vn": "blue"}]})
    assert api["id"] == "r1@red"
    for host in ("h1", "h2"):
        if any(v["nve"] == host and v["tenant"] == "default" for v in lab.get("/v1/vms")["vms"]):
            started = lab.godwit("vm", "start", "r1@red", "--on", host, check=False)
            assert started.returncode == 1 and "share a host" in started.stderr
    gone = lab.godwit("tenant", "delete", "grey", check=False)
    assert gone.returncode == 1                                       # it owns a VN
    lab.godwit("tenant", "update", "red", "--apart-none")
    assert lab.get("/v1/tenants/red") == {"name": "red", "vms": 1, "exclusive": False, "apart": []}
    lab.godwit("tenant", "update", "grey", "--exclusive", "on")
    with pytest.raises(ApiError) as refused:
        lab.api("POST", "/v1/ports", {"vm": "g1@grey", "vn": "blue", "nve": "h2", "device": "eth0"})
    assert "shares a host with no other" in refused.value.text
    wrong = lab.godwit("tenant", "update", "red", "--apart", "nobody", check=False)
    assert wrong.returncode != 0 and "no tenant nobody" in wrong.stderr
