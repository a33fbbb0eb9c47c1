# SPDX-License-Identifier: Apache-2.0
"""Emptying a host: the plan, the moves, what stays, a restart of the authority in the middle, and the way back."""
import json
import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from labs import USER, Lab, Probe, wait_until  # noqa: E402

VMS = {f"v{i}": [f"10.1.0.{10 + i}", f"fd00:1::{10 + i}"] for i in range(4)}


@pytest.fixture(scope="module")
def lab():
    with Lab(f"dr{os.getpid() % 10000}", hosts=3, accelerator="tcg") as lab:
        lab.godwit("vn", "create", "blue", "--subnet", "10.1.0.0/24", "--subnet", "fd00:1::/64")
        for name, (v4, v6) in VMS.items():
            lab.lab("vm", "add", name, "--vn", "blue", "--ip", v4, "--ip", v6, "--on", "h1", "--synthetic",
                    "--copy-ms", "300", "--pause-ms", "20")
        lab.lab("guest", "add", "client", "--host", "h3", "--vn", "blue", "--ip", "10.1.0.30", "--ip", "fd00:1::30")
        for addresses in VMS.values():
            wait_until("it answers", lambda a=addresses: all(lab.answers("client", x) for x in a))
        yield lab


def places(lab):
    return {name: lab.vm(name)["nve"] for name in VMS}


def test_the_plan_changes_nothing(lab):
    done = lab.godwit("nve", "drain", "h1", "--plan", "--json")
    plan = json.loads(done.stdout)
    assert {vm["vm"] for vm in plan["vms"]} == {f"{name}@default" for name in VMS}
    assert {vm["to"] for vm in plan["vms"]} == {"h2", "h3"}, "it spreads over both"
    assert set(places(lab).values()) == {"h1"}
    assert not lab.get("/v1/nves/h1")["draining"]
    assert "h2" in lab.godwit("nve", "drain", "h1", "--plan").stdout


def test_drain_survives_the_authority_and_loses_nothing(lab):
    probe = Probe(lab, "client", [a for pair in VMS.values() for a in pair], rate=200)
    assert "being drained" in lab.godwit("nve", "drain", "h1", "--no-wait", "--concurrent", "2").stdout
    wait_until("the first has moved", lambda: any(nve != "h1" for nve in places(lab).values()))
    lab.lab("kill", "nva", "nva", "--signal", str(int(signal.SIGKILL)))
    lab.lab("start", "nva", "nva")
    lab.lab("wait")
    drain = wait_until("it is drained", lambda: lab.get("/v1/nves/h1/drain")["state"] == "drained"
                       and lab.get("/v1/nves/h1/drain"), 60)
    report = probe.stop()
    assert drain["left"] == drain["stuck"] == 0
    assert "h1" not in places(lab).values()
    for stream in report["streams"]:
        if stream["protocol"] == "udp":
            assert stream["lost"] == stream["duplicated"] == 0, stream
        else:
            assert stream["alive"], stream
    assert lab.get("/v1/nves/h1")["vms"] == 0


def test_no_vm_comes_to_a_host_that_is_drained(lab):
    name = next(iter(VMS))
    refused = lab.godwit("vm", "move", name, "--to", "h1", check=False)
    assert refused.returncode == 1 and "h1 is being drained" in refused.stderr
    done = lab.godwit("nve", "drain", "h1")
    assert "h1 is empty" in done.stdout
    assert "takes VMs again" in lab.godwit("nve", "undrain", "h1").stdout
    assert lab.godwit("nve", "undrain", "h1", check=False).returncode == 4
    lab.godwit("vm", "move", name, "--to", "h1")
    assert lab.vm(name)["nve"] == "h1"


def test_a_plan_tells_what_to_expect_from_moves_before(lab):
    name = next(iter(VMS))
    plan = json.loads(lab.godwit("vm", "move", name, "--to", "h2", "--plan", "--json", check=False).stdout)
    # A move whose copy ran while the authority was dead (above) tells nothing of its rate.
    done = [move for move in lab.get("/v1/moves?vm=" + name)["moves"] if move["progress"]["transferred"]]
    expected = plan["expected"]
    assert expected["of"] == "this VM" and expected["moves"] == len(done) and expected["mode"] == "hot"
    pauses = [(move["evidence"]["resumed_ns"] - move["evidence"]["stopped_ns"]) / 1e6 for move in done]
    assert expected["pause_most_ms"] == pytest.approx(max(pauses), abs=0.1)
    assert 0.3 < expected["seconds"] < 20 and expected["connections"] == "kept"
    assert "at most" in lab.godwit("vm", "move", name, "--to", "h2", "--plan", check=False).stdout


def test_what_cannot_move_is_told(lab):
    """With nowhere to go: every other host is drained, too."""
    lab.godwit("nve", "drain", "h1")
    lab.godwit("nve", "drain", "h2")
    plan = json.loads(lab.godwit("nve", "drain", "h3", "--plan", "--json", check=False).stdout)
    assert all(vm["to"] == "" and vm["reason"] for vm in plan["vms"])
    done = lab.godwit("nve", "drain", "h3", check=False, timeout_s=60)
    assert done.returncode == 5 and "are left on h3" in done.stdout
    assert set(places(lab).values()) == {"h3"}
    for host in ("h1", "h2", "h3"):
        lab.godwit("nve", "undrain", host)


def test_what_does_not_run_goes_along(lab):
    """Suspended and stopped VMs are in the plan with their mode, move cold, and are as still afterwards; one may leave them."""
    running, suspended, _, stopped = VMS
    for move in [lab.move(name, "h2") for name in (running, suspended, stopped) if lab.vm(name)["nve"] != "h2"]:
        assert lab.moved(move)["result"] == "ok"
    definition = lab.vm(stopped)["definition"]
    disk = f"{lab.folder}/shared.raw"
    with open(disk, "wb") as image:
        image.truncate(1 << 20)
    os.chown(disk, USER, USER)
    lab.api("POST", "/v1/vms", {**{key: value for key, value in definition.items() if key != "id"}, "name": "old",
                                "disks": [{"path": disk, "format": "raw"}], "ports": []})
    lab.api("POST", "/v1/vms/old/start", {"nve": "h2"}, timeout_s=30)
    for name in ("old", stopped):
        lab.godwit("vm", "stop", name, "--force", "--wait")
        wait_until("it has stopped", lambda n=name: lab.vm(n)["state"] == "stopped")
    lab.godwit("vm", "suspend", suspended)
    plan = {vm["vm"].split("@")[0]: vm for vm in json.loads(
        lab.godwit("nve", "drain", "h2", "--plan", "--json", "--leave", "stopped", check=False).stdout)["vms"]}
    assert stopped not in plan, "stopped, and with nothing of its own there"
    assert {name: (vm["mode"], vm["as"], bool(vm["to"])) for name, vm in plan.items() if name in (running, suspended, "old")} == {
        running: ("hot", "running", True), suspended: ("cold", "suspended", True), "old": ("cold", "stopped", False)}
    assert plan["old"]["leave"] and "as was asked" in plan["old"]["reason"]
    shown = lab.godwit("nve", "drain", "h2", "--plan").stdout
    assert "cold (suspended)" in shown and "cold (stopped)" in shown
    refused = lab.godwit("nve", "drain", "h2", "--leave", "running", check=False)
    assert refused.returncode == 2 and "suspended" in refused.stderr

    done = lab.godwit("nve", "drain", "h2", "--leave", "stopped", "--leave", "suspended")
    assert "h2 is drained" in done.stdout and "2 that do not run are left" in done.stdout, done.stdout
    assert (lab.vm(suspended)["nve"], lab.vm("old")["home"]) == ("h2", "h2")
    assert lab.vm(running)["nve"] != "h2"

    # Now these as well; the authority dies when it has begun.
    lab.godwit("nve", "drain", "h2", "--no-wait", "--concurrent", "1")
    lab.lab("kill", "nva", "nva", "--signal", str(int(signal.SIGKILL)))
    lab.lab("start", "nva", "nva")
    lab.lab("wait")
    drain = wait_until("it is drained", lambda: (d := lab.get("/v1/nves/h2/drain"))["state"] == "drained" and d, 60)
    assert drain["stay"] == drain["left"] == 0
    vm, old = lab.vm(suspended), lab.vm("old")
    assert vm["state"] == "paused" and vm["nve"] in ("h1", "h3")
    assert old["nve"] == "" and old["home"] in ("h1", "h3") and old["desired"] == "stopped"
    assert lab.vm(stopped)["home"] == "h2"
    assert "h2 is empty" in lab.godwit("nve", "drain", "h2").stdout
    lab.godwit("nve", "undrain", "h2")
    lab.godwit("vm", "resume", suspended)
    wait_until("it answers from there", lambda: all(lab.answers("client", address) for address in VMS[suspended]))
