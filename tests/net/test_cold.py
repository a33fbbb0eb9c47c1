# SPDX-License-Identifier: Apache-2.0
"""Moves of VMs that do not run, and who allows which moves: suspended and stopped, IPv4 and IPv6, with synthetic guests."""
import contextlib
import json
import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from labs import ApiError, Lab, wait_until  # noqa: E402

ADDRESSES = ["10.1.0.10", "fd00:1::10"]


@pytest.fixture(scope="module")
def lab():
    with Lab(f"co{os.getpid() % 10000}", hosts=3, accelerator="tcg") as lab:
        lab.godwit("vn", "create", "blue", "--subnet", "10.1.0.0/24", "--subnet", "fd00:1::/64")
        lab.lab("vm", "add", "web", "--vn", "blue", "--ip", ADDRESSES[0], "--ip", ADDRESSES[1], "--on", "h1",
                "--synthetic", "--copy-ms", "100", "--pause-ms", "5")
        lab.lab("guest", "add", "client", "--host", "h3", "--vn", "blue", "--ip", "10.1.0.30", "--ip", "fd00:1::30")
        wait_until("it answers", lambda: answers(lab))
        yield lab


def answers(lab):
    return all(lab.answers("client", address) for address in ADDRESSES)


def binding_of(lab, vm="web"):
    locators = {nve["locator"]: nve["id"] for nve in lab.get("/v1/nves")["nves"]}
    return locators.get(lab.vm(vm)["binding"]["locator"])


def refused(call):
    with pytest.raises(ApiError) as error:
        call()
    return error.value.text


def test_suspend_and_resume(lab):
    assert "is suspended" in lab.godwit("vm", "suspend", "web").stdout
    assert lab.vm("web")["state"] == "paused" and lab.agent("h1", "/v1/vms")[0]["state"] == "paused"
    assert "paused" in lab.godwit("vm", "list").stdout
    assert not lab.answers("client", ADDRESSES[0])
    lab.godwit("vm", "suspend", "web")          # again: the same
    assert "paused, to be running" in lab.godwit("vm", "show", "web").stdout
    # Neither daemon that restarts takes it for one that runs.
    for host, daemon in (("h1", "hv"), ("nva", "nva")):
        lab.lab("kill", host, daemon, "--signal", str(int(signal.SIGKILL)))
        lab.lab("start", host, daemon)
        lab.lab("wait")
    assert lab.vm("web")["state"] == "paused"
    lab.godwit("vm", "resume", "web")
    assert lab.vm("web")["state"] == "running"
    wait_until("it answers", lambda: answers(lab))


def test_a_suspended_vm_arrives_suspended(lab):
    lab.godwit("vm", "suspend", "web")
    plan = json.loads(lab.godwit("vm", "move", "web", "--to", "h2", "--plan", "--json").stdout)
    assert plan["allowed"] and (plan["expected"]["mode"], plan["expected"]["as"]) == ("cold", "suspended")
    move = lab.moved(lab.move("web", "h2"))
    assert (move["result"], move["mode"], move["as"]) == ("ok", "cold", "suspended"), move
    assert "vm_pause_ns" not in move["evidence"]
    vm = lab.vm("web")
    assert (vm["state"], vm["nve"], binding_of(lab)) == ("paused", "h2", "h2")
    assert set(lab.emulators("web")) == {"h2"}
    assert not lab.answers("client", ADDRESSES[0])
    lab.godwit("vm", "resume", "web")
    wait_until("it answers from there", lambda: answers(lab))
    assert lab.vm("web")["state"] == "running"


def test_what_asks_for_another_mode_is_refused(lab):
    lab.godwit("vm", "suspend", "web")
    assert "only a cold move" in refused(lambda: lab.move("web", "h1", mode="hot"))
    assert lab.vm("web")["state"] == "paused"
    lab.godwit("vm", "resume", "web")
    lab.godwit("vm", "set", "web", "--forbid", "cold", "--forbid", "post-copy")
    assert lab.vm("web")["forbid"] == ["post-copy", "cold"]
    assert "forbids cold moves" in refused(lambda: lab.move("web", "h1", mode="cold"))
    plan = lab.godwit("vm", "move", "web", "--to", "h1", "--mode", "cold", "--plan", check=False)
    assert plan.returncode == 1 and "forbids cold moves" in plan.stdout
    move = lab.moved(lab.move("web", "h1"))     # hot ones it does not forbid
    assert (move["result"], move["mode"], move["as"]) == ("ok", "hot", "running")
    lab.godwit("vm", "suspend", "web")          # nor any of a VM that is not interrupted by it
    assert lab.moved(lab.move("web", "h2"))["result"] == "ok"
    lab.godwit("vm", "resume", "web")
    lab.godwit("vm", "set", "web", "--forbid", "none")
    assert lab.vm("web")["forbid"] == []


def test_a_stopped_vm_arrives_stopped(lab):
    lab.godwit("vm", "stop", "web", "--wait")
    vm = wait_until("it has stopped", lambda: (v := lab.vm("web"))["state"] == "stopped" and v)
    assert (vm["nve"], vm["home"], vm["binding"]["locator"]) == ("", "h2", "")
    assert "(h2)" in lab.godwit("vm", "list").stdout
    move = lab.moved(lab.move("web", "h1"))
    assert (move["result"], move["mode"], move["as"], move["from"]) == ("ok", "cold", "stopped", "h2"), move
    vm = wait_until("nothing of it is left", lambda: (v := lab.vm("web"))["state"] == "stopped" and v)
    assert (vm["nve"], vm["home"], vm["binding"]["locator"], vm["desired"]) == ("", "h1", "", "stopped")
    wait_until("no emulator is left", lambda: not lab.emulators("web"))
    for host in ("h1", "h2"):
        assert lab.agent(host, "/v1/vms") == []
        assert not [port for port in lab.edge(host, "/v1/ports")["ports"] if port["vm"] == "web@default"]
    assert "is on h1 already" in refused(lambda: lab.move("web", "h1"))
    lab.godwit("vm", "start", "web", "--on", "h1")
    wait_until("it answers", lambda: answers(lab))


def test_a_stopped_vms_move_that_is_cancelled_changes_nothing(lab):
    lab.godwit("vm", "stop", "web", "--wait")
    wait_until("it has stopped", lambda: lab.vm("web")["state"] == "stopped")
    move = lab.move("web", "h2")
    lab.api("POST", f"/v1/moves/{move}/cancel")
    assert lab.moved(move)["result"] in ("cancelled", "ok")
    home = "h2" if lab.moved(move)["result"] == "ok" else "h1"
    wait_until("it is stopped", lambda: lab.vm("web")["state"] == "stopped")
    assert lab.vm("web")["home"] == home and not lab.vm("web")["nve"]
    wait_until("no emulator is left", lambda: not lab.emulators("web"))


def test_a_stopped_vms_move_goes_on_when_daemons_die(lab):
    home = lab.vm("web")["home"]
    there = "h2" if home == "h1" else "h1"
    move = lab.move("web", there)
    wait_until("it has begun", lambda: lab.get(f"/v1/moves/{move}")["phase"] != "plan")
    lab.lab("kill", "nva", "nva", "--signal", str(int(signal.SIGKILL)))
    lab.lab("start", "nva", "nva")
    lab.lab("wait")
    ended = lab.moved(move)
    vm = wait_until("it is stopped", lambda: (v := lab.vm("web"))["state"] == "stopped" and v)
    assert (ended["result"], vm["home"]) in (("ok", there), ("failed", home)), ended
    wait_until("no emulator is left", lambda: not lab.emulators("web"))


def test_vms_that_never_ran_have_nothing_to_move(lab):
    definition = {"name": "new", "memory_mib": 64, "emulator": "/none", "ports": []}
    lab.api("POST", "/v1/vms", definition)
    assert "has not run yet" in refused(lambda: lab.move("new", "h2"))
    assert "does not run" in refused(lambda: lab.api("POST", "/v1/vms/new/suspend"))
    lab.api("DELETE", "/v1/vms/new")


def test_hosts_say_which_moves_they_allow(lab):
    assert lab.get("/v1/nves/h2")["modes"] == ["hot", "post-copy", "cold"]
    conf = f"{lab.folder}/hosts/h2/hv.conf"
    with open(conf, encoding="utf-8") as file:
        before = file.read()
    try:
        with open(conf, "a", encoding="utf-8") as file:
            file.write("modes = cold\n")
        lab.lab("kill", "h2", "hv", "--signal", str(int(signal.SIGTERM)))
        lab.lab("start", "h2", "hv")
        lab.lab("wait")
        wait_until("it says so", lambda: lab.get("/v1/nves/h2")["modes"] == ["cold"])
        assert "cold" in lab.godwit("nve", "list").stdout.split("h2", 1)[1].splitlines()[0]
        lab.godwit("vm", "start", "web", "--on", "h1")
        wait_until("it answers", lambda: answers(lab))
        assert "allows no hot moves, only cold" in refused(lambda: lab.move("web", "h2"))
        assert lab.vm("web")["state"] == "running" and not [m for m in lab.get("/v1/moves")["moves"] if m["phase"] != "done"]
        move = lab.moved(lab.move("web", "h2", mode="cold"))
        assert (move["result"], move["as"]) == ("ok", "running") and move["evidence"]["vm_pause_ns"] > 0
        wait_until("it answers", lambda: answers(lab))
    finally:
        with open(conf, "w", encoding="utf-8") as file:
            file.write(before)
        lab.lab("kill", "h2", "hv", "--signal", str(int(signal.SIGTERM)))
        lab.lab("start", "h2", "hv")
        lab.lab("wait")


def test_cold_moves_are_predicted_from_cold_moves(lab):
    expected = lab.api("POST", "/v1/vms/web/plan", {"to": "h1", "mode": "cold"})["expected"]
    assert expected["moves"] >= 1 and expected["of"] == "this VM" and expected["pause_ms"] > 0, expected
    text = lab.godwit("vm", "move", "web", "--to", "h1", "--mode", "cold", "--plan").stdout
    assert "pause:" in text and "connections: kept" in text and "from 1 moves of this VM" in text


@contextlib.contextmanager
def configured(lab, path, lines, *daemon):
    """With these lines more in a daemon's file, for as long as it lasts."""
    def restart():
        lab.lab("kill", *daemon)
        lab.lab("start", *daemon)
        lab.lab("wait")
    path = f"{lab.folder}/{path}"
    with open(path, encoding="utf-8") as file:
        before = file.read()
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(lines)
        restart()
        yield
    finally:
        with open(path, "w", encoding="utf-8") as file:
            file.write(before)
        restart()


def test_the_data_centre_says_which_moves_it_allows(lab):
    """nva.conf: modes, and modes-between-sites for hosts of different sites; the plan says the same as the move."""
    here = lab.vm("web")["nve"]
    if here != "h1":
        assert lab.moved(lab.move("web", "h1"))["result"] == "ok"
    with configured(lab, "nva/nva.conf", "modes = hot cold\nmodes-between-sites = cold\n", "nva", "nva"), \
            configured(lab, "hosts/h2/nve.conf", "site = west\n", "h2", "nve"):
        assert "no post-copy moves in this data centre, only hot cold" in refused(lambda: lab.move("web", "h3", mode="post-copy"))
        between = "no hot moves between the sites of h1 and h2, only cold"
        assert between in refused(lambda: lab.move("web", "h2"))
        plan = lab.godwit("vm", "move", "web", "--to", "h2", "--plan", check=False)
        assert plan.returncode == 1 and between in plan.stdout
        plan = lab.godwit("vm", "move", "web", "--to", "h2", "--mode", "cold", "--plan")
        assert "may be lost: packets sent to it while it stands still" in plan.stdout
        assert lab.vm("web")["state"] == "running"
        assert lab.moved(lab.move("web", "h3"))["mode"] == "hot"            # within a site
        lab.godwit("vm", "suspend", "web")                                  # what does not run needs only cold
        assert lab.moved(lab.move("web", "h2"))["result"] == "ok"
        lab.godwit("vm", "resume", "web")
        assert "sites of h2 and h1" in refused(lambda: lab.move("web", "h1"))
        assert lab.moved(lab.move("web", "h1", mode="cold"))["result"] == "ok"
    wait_until("it answers", lambda: answers(lab))
    plan = json.loads(lab.godwit("vm", "move", "web", "--to", "h2", "--mode", "post-copy", "--plan", "--json").stdout)
    assert plan["allowed"] and plan["expected"]["may_lose"].startswith("the VM, if either host or emulator ends")
    assert json.loads(lab.godwit("vm", "move", "web", "--to", "h2", "--plan", "--json").stdout)["expected"]["may_lose"] == ""
