# SPDX-License-Identifier: Apache-2.0
"""godwit-hv with the synthetic guest: starts, finds its VMs again, moves them, and survives what goes wrong."""
import concurrent.futures
import contextlib
import os
import signal
import time

import pytest

from hvbed import Bed, address_tap, echo, move, prepare, tap_of, wait_for

VM = "web@default"


@pytest.fixture(params=[4, 6], ids=["ipv4", "ipv6"])
def bed(request):
    with Bed(request.param) as bed_:
        yield bed_


@pytest.fixture
def bed4():
    with Bed() as bed_:
        yield bed_


def start(host, definition, epoch=1):
    answer = host.post("/v1/vms", {"definition": definition, "epoch": epoch})
    assert answer["state"] == "running"
    return answer


def test_start_serves_and_stops(bed4):
    host = bed4.hosts[0]
    definition = bed4.synth()
    answer = start(host, definition)
    ports = host.nve.made("/v1/ports")
    assert [(c[2]["id"], c[2]["mode"], c[2]["epoch"], c[2]["mtu"]) for c in ports] == \
        [("web-0@default", "serve", 1, 1430)]
    assert ports[0][2]["device"] == tap_of(host)
    address_tap(host)
    assert echo(host, "10.1.0.10") and echo(host, "fd00:1::10")

    again = start(host, definition)     # the same once more changes nothing
    assert again["pid"] == answer["pid"] and len(host.nve.made("/v1/ports")) == 1

    host.post(f"/v1/vms/{VM}/stop", {}, expect=202)
    wait_for("stopped", lambda: host.event("vm-state", state="stopped"))
    wait_for("taken off the NVE", lambda: host.nve.made(f"/v1/vms/{VM}", "DELETE"))
    wait_for("no tap is left", lambda: tap_of(host) is None)
    assert host.call("DELETE", f"/v1/vms/{VM}")[0] == 200
    assert host.vm() is None and not os.listdir(f"{host.dir}/state/vms")


def test_console_is_bounded(bed4):
    """A guest may write to its serial console as much as it likes."""
    host = bed4.hosts[0]
    definition = bed4.synth()
    start(host, definition)
    path = f"{host.dir}/state/vm/{VM}/console.log"
    with open(path, "ab") as console:
        console.write(b"x" * (5 << 20))
        console.flush()
        wait_for("thrown away", lambda: os.path.getsize(path) == 0, 15)
        console.write(b"more")
    assert os.path.getsize(path) == 4


def test_found_again_after_kill(bed4):
    host = bed4.hosts[0]
    pid = start(host, bed4.synth())["pid"]
    address_tap(host)
    host.kill()
    assert echo(host, "10.1.0.10")      # nobody needs the agent for that
    host.start()
    wait_for("adopted", lambda: host.vm() and host.vm()["state"] == "running")
    assert host.vm()["pid"] == pid and echo(host, "10.1.0.10")
    os.kill(pid, signal.SIGKILL)
    wait_for("crash noticed", lambda: host.event("vm-state", state="crashed"))
    start(host, bed4.synth(), epoch=2)  # and it may be started anew


def test_crash_while_the_agent_is_away(bed4):
    host = bed4.hosts[0]
    pid = start(host, bed4.synth())["pid"]
    host.kill()
    os.kill(pid, signal.SIGKILL)
    host.start()
    assert wait_for("known as crashed", lambda: host.vm() and host.vm()["state"] == "crashed")
    wait_for("taken off the NVE", lambda: host.nve.made(f"/v1/vms/{VM}", "DELETE"))


def test_move(bed):
    one, two = bed.hosts
    definition = bed.synth(pause_ms=30)
    start(one, definition)
    name = move(one, two, definition, 1)
    running = wait_for("it runs there", lambda: two.event("move-running", move=name))
    stopped = wait_for("it stopped here", lambda: one.event("move-stopped", move=name))
    wait_for("all sent", lambda: one.event("move-completed", move=name))
    cut = one.nve.made(f"/v1/vms/{VM}/cut")
    assert len(cut) == 1 and cut[0][2] == {"to": two.ip, "epoch": 2} and cut[0][3] == 1
    assert [c[2]["mode"] for c in two.nve.made("/v1/ports")] == ["arrive"]
    assert two.nve.made("/v1/ports")[0][2]["from"] == one.ip
    wait_for("activated", lambda: two.nve.made("/activate"))
    assert two.nve.made("/activate")[0][2] == {"epoch": 2}
    pause_ms = (running["at_ns"] - stopped["at_ns"]) / 1e6
    assert 29 <= pause_ms < 1000, pause_ms
    assert one.vm()["state"] == "paused" and one.vm()["role"] == "source"
    assert two.vm()["state"] == "running" and two.vm()["role"] == "serve" and two.vm()["epoch"] == 2
    # An authority that did not hear of it finds in the inventories when it was.
    assert (one.vm()["stopped_ns"], two.vm()["resumed_ns"]) == (stopped["at_ns"], running["at_ns"])

    address_tap(two)
    assert echo(two, "10.1.0.10") and echo(two, "fd00:1::10")
    assert one.call("POST", f"/v1/vms/{VM}/cancel", {"move": name})[0] == 409
    one.post(f"/v1/vms/{VM}/finish", {"move": name})
    assert one.vm() is None and tap_of(one) is None
    assert one.nve.made(f"/v1/vms/{VM}", "DELETE")[-1][1].endswith("?keep=redirect")


def test_moves_back_and_forth(bed4):
    definition = bed4.synth(pause_ms=1)
    start(bed4.hosts[0], definition)
    for i in range(20):
        source, target = bed4.hosts[i % 2], bed4.hosts[1 - i % 2]
        name = move(source, target, definition, 1 + 2 * i)
        wait_for(f"move {i}", lambda t=target, n=name: t.event("move-running", move=n))
        wait_for(f"sent {i}", lambda s=source, n=name: s.event("move-completed", move=n))
        source.post(f"/v1/vms/{VM}/finish", {"move": name})
        # The next move needs an epoch after the one that serves now.
        assert target.vm()["epoch"] == 2 + 2 * i


def test_frames_wait_while_stopped(bed4):
    """What arrives between the stop and the cut is in the tap, and the NVE gets it with the cut."""
    one, two = bed4.hosts
    definition = bed4.synth()
    start(one, definition)
    address_tap(one)
    assert echo(one, "10.1.0.10")
    one.nve.lock.acquire()              # the cut is not answered yet
    try:
        name = move(one, two, definition, 1, cut_deadline_ms=5000)
        wait_for("stopped", lambda: one.event("move-stopped", move=name))
        assert not echo(one, "10.1.0.10", timeout=0.5)
    finally:
        one.nve.lock.release()
    assert wait_for("cut", lambda: one.event("move-cut", move=name))["drained"] >= 1


def test_no_nve_no_cut(bed4):
    one, two = bed4.hosts
    definition = bed4.synth()
    start(one, definition)
    address_tap(one)
    one.nve.go()
    began = time.monotonic()
    name = move(one, two, definition, 1, cut_deadline_ms=300)
    failed = wait_for("given up", lambda: one.event("move-failed", move=name))
    assert failed["running"] and failed["side"] == "source" and time.monotonic() - began < 2
    assert echo(one, "10.1.0.10")
    wait_for("the other side ends", lambda: two.event("move-failed", side="target"))
    wait_for("and is forgotten", lambda: two.vm() is None)
    one.nve.come()
    wait_for("taken back", lambda: one.nve.made("/uncut"))
    assert one.nve.made("/uncut")[0][2] == {"epoch": 3} and one.vm()["epoch"] == 3


@contextlib.contextmanager
def ordered(host, path, body):
    """A call that is not answered yet."""
    with concurrent.futures.ThreadPoolExecutor(1) as later:
        yield later.submit(host.call, "POST", f"/v1/vms/{VM}/{path}", body)


def made_in_order(nve, *calls):
    """Those calls were made, the first of each in this order."""
    first = [nve.made(*call)[0][4] for call in calls]
    return first == sorted(first)


def taken_back_unconfirmed(bed4):
    """A VM that was taken back while its edge was away, and is forgotten at the target."""
    one, two = bed4.hosts
    definition = bed4.synth()
    start(one, definition)
    one.nve.go()
    name = move(one, two, definition, 1, cut_deadline_ms=50)
    wait_for("given up", lambda: one.event("move-failed", move=name))
    wait_for("it is forgotten there", lambda: two.vm() is None)
    return one, two, definition


def test_leaves_when_its_edge_has_confirmed_it(bed4):
    """Taken back while its edge is away: an order to leave waits, and can be cancelled. The edge that is back is told first that
    the VM is here, or gets the ports anew when it knows them as something else; then the VM leaves."""
    one, two, definition = taken_back_unconfirmed(bed4)
    one.nve.forget()

    order = prepare(one, two, definition, 3)
    with ordered(one, "migrate", order) as leaving:
        wait_for("cancelled", lambda: one.post(f"/v1/vms/{VM}/cancel", {"move": order["move"]}) and leaving.done())
    assert leaving.result()[0] == 409 and "cancelled before it began" in leaving.result()[1]["error"]["text"]

    with ordered(one, "migrate", order) as leaving:
        one.nve.refuse["/uncut"] = 409
        one.nve.come()
        wait_for("it runs there", lambda: two.event("move-running", move=order["move"]))
    assert leaving.result()[0] == 200
    assert made_in_order(one.nve, ("/uncut",), ("/v1/ports", "POST"), ("/cut",))
    assert [(c[2]["mode"], c[2]["epoch"]) for c in one.nve.made("/v1/ports", "POST")] == [("serve", 3)]


def test_edge_that_knows_better(bed4):
    """It has heard of a newer place of the VM that arrives: the authority is told that it runs here, and the edge asked on."""
    one, two = bed4.hosts
    definition = bed4.synth()
    start(one, definition)
    two.nve.refuse["/activate"] = (409, "stale")
    name = move(one, two, definition, 1)
    wait_for("told", lambda: two.event("vm-state", state="running", move=name,
                                       reason="the NVE here knows of a newer place of it"))
    wait_for("all sent", lambda: one.event("move-completed", move=name))
    one.post(f"/v1/vms/{VM}/finish", {"move": name})
    assert len(two.nve.made("/v1/ports")) == 1          # and not given the ports anew
    with ordered(two, "migrate", prepare(two, one, definition, 2)) as leaving:
        two.nve.refuse.clear()
        wait_for("it runs there", lambda: one.event("move-running"))
    assert leaving.result()[0] == 200 and made_in_order(two.nve, ("/activate",), ("/cut",))


def test_order_to_leave_while_it_is_being_suspended(bed4):
    """It finds the VM as it is afterwards."""
    one, two = bed4.hosts
    definition = bed4.synth()
    pid = start(one, definition)["pid"]
    order = prepare(one, two, definition, 1)
    os.kill(pid, signal.SIGSTOP)
    try:
        with ordered(one, "suspend", {}) as suspending, ordered(one, "suspend", {}) as again:
            wait_for("one is under way, the other is refused", lambda: suspending.done() or again.done())
            with ordered(one, "migrate", order) as leaving:
                with pytest.raises(concurrent.futures.TimeoutError):
                    leaving.result(0.2)
                os.kill(pid, signal.SIGCONT)
                status, answer = leaving.result(10)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert sorted((suspending.result()[0], again.result()[0])) == [200, 503] and one.vm()["state"] == "paused"
    assert status == 409 and "cannot leave now: it is paused here" in answer["error"]["text"], answer
    assert not one.event("move-stopped")


@pytest.mark.long
def test_edge_that_never_confirms(bed4):
    one, two, definition = taken_back_unconfirmed(bed4)
    status, answer = one.call("POST", f"/v1/vms/{VM}/migrate", prepare(one, two, definition, 3))
    assert status == 409 and "the NVE has not confirmed that it was taken back" in answer["error"]["text"], answer
    assert one.vm()["role"] == "serve" and one.vm()["state"] == "running"


def test_cut_refused(bed4):
    one, two = bed4.hosts
    one.nve.refuse["/cut"] = 409
    definition = bed4.synth()
    start(one, definition)
    name = move(one, two, definition, 1)
    assert wait_for("refused", lambda: one.event("move-failed", move=name))["running"]
    wait_for("taken back", lambda: one.nve.made("/uncut"))
    assert one.vm()["role"] == "serve" and one.vm()["state"] == "running"


def test_cancel(bed4):
    one, two = bed4.hosts
    definition = bed4.synth(copy_ms=5000)
    start(one, definition)
    name = move(one, two, definition, 1)
    wait_for("progress", lambda: one.event("move-progress", move=name))
    one.post(f"/v1/vms/{VM}/cancel", {"move": name})
    assert wait_for("cancelled", lambda: one.event("move-failed", move=name))["epoch"] == 1
    wait_for("the other side ends", lambda: two.vm() is None)
    assert not one.nve.made("/cut") and not one.nve.made("/uncut")
    name = move(one, two, definition | {"cmdline": definition["cmdline"]}, 1 + 2)
    one.post(f"/v1/vms/{VM}/cancel", {"move": name})


def test_target_killed_before_the_cut(bed4):
    one, two = bed4.hosts
    definition = bed4.synth(copy_ms=5000)
    start(one, definition)
    name = move(one, two, definition, 1)
    os.kill(two.vm()["pid"], signal.SIGKILL)
    failed = wait_for("failed", lambda: one.event("move-failed", move=name))
    assert failed["running"] and one.vm()["epoch"] == 1 and not one.nve.made("/uncut")
    wait_for("target says so", lambda: two.event("move-failed", side="target", running=False) or
             two.event("move-failed", side="target"))


def test_target_killed_after_the_cut_is_taken_back(bed4):
    one, two = bed4.hosts
    definition = bed4.synth(pause_ms=3000)
    start(one, definition)
    address_tap(one)
    name = move(one, two, definition, 1)
    wait_for("all sent", lambda: one.event("move-completed", move=name))
    os.kill(two.vm()["pid"], signal.SIGKILL)
    wait_for("target lost", lambda: two.event("move-failed", side="target"))
    one.post(f"/v1/vms/{VM}/resume", {"move": name, "epoch": 3})
    wait_for("the edge is told", lambda: one.nve.made("/uncut"))         # the order is answered when the VM runs
    assert one.nve.made("/uncut")[0][2] == {"epoch": 3}
    assert one.vm()["state"] == "running" and one.vm()["epoch"] == 3 and echo(one, "10.1.0.10")


def test_target_killed_at_the_cut(bed4):
    """The emulator goes on by itself: its agent takes the VM back with the newer epoch, unasked."""
    one, two = bed4.hosts
    definition = bed4.synth(pause_ms=3000)
    start(one, definition)
    one.nve.lock.acquire()
    try:
        name = move(one, two, definition, 1, cut_deadline_ms=5000)
        wait_for("stopped", lambda: one.event("move-stopped", move=name))
        os.kill(two.vm()["pid"], signal.SIGKILL)
        failed = wait_for("failed", lambda: one.event("move-failed", move=name))
    finally:
        one.nve.lock.release()
    assert failed["running"] and failed["epoch"] == 3
    wait_for("taken back", lambda: one.nve.made("/uncut"))


def test_source_killed_before_the_cut(bed4):
    one, two = bed4.hosts
    definition = bed4.synth(copy_ms=5000)
    start(one, definition)
    name = move(one, two, definition, 1)
    os.kill(one.vm()["pid"], signal.SIGKILL)
    assert not wait_for("failed", lambda: one.event("move-failed", move=name))["running"]
    wait_for("the other side ends", lambda: two.event("move-failed", side="target"))
    assert one.event("vm-state", state="crashed")


@pytest.mark.parametrize("copy_ms, at", [(600, "copy"), (0, "cut")])
def test_source_agent_killed(bed4, copy_ms, at):
    """Restarted in the middle, the agent drives the move to its end."""
    one, two = bed4.hosts
    definition = bed4.synth(copy_ms=copy_ms)
    start(one, definition)
    if at == "cut":
        one.nve.go()
        name = move(one, two, definition, 1, cut_deadline_ms=20000)
        wait_for("stopped", lambda: one.event("move-stopped", move=name))
        one.kill()
        one.nve.come()
    else:
        name = move(one, two, definition, 1)
        one.kill()
    one.start()
    wait_for("it runs there", lambda: two.event("move-running", move=name))
    wait_for("all sent", lambda: one.vm()["state"] == "paused")
    cut = one.nve.made("/cut")
    assert len(cut) == 1 and cut[0][3] == 1     # with the tap, got back from the emulator
    one.post(f"/v1/vms/{VM}/finish", {"move": name})


def test_target_agent_killed(bed4):
    one, two = bed4.hosts
    definition = bed4.synth(copy_ms=300)
    start(one, definition)
    move(one, two, definition, 1)
    two.kill()
    wait_for("all sent", lambda: one.event("move-completed"))
    two.start()
    wait_for("activated late", lambda: two.nve.made("/activate"))
    assert two.vm()["state"] == "running" and two.vm()["epoch"] == 2


def test_target_that_spoke_unseen_is_where_it_crashed(bed4):
    """Its agent was away while it ran and ended: the source must not go on from what was before."""
    one, two = bed4.hosts
    definition = bed4.synth(copy_ms=300)
    start(one, definition)
    name = move(one, two, definition, 1)
    pid = two.vm()["pid"]
    two.kill()
    address_tap(two)
    wait_for("all sent", lambda: one.event("move-completed", move=name))
    assert echo(two, "10.1.0.10")
    os.kill(pid, signal.SIGKILL)
    two.start()
    wait_for("known as crashed", lambda: two.vm() and two.vm()["state"] == "crashed")
    assert two.vm()["role"] == "serve" and two.vm()["epoch"] == 2
    assert not two.event("move-failed") and not two.nve.made("/return")


def test_abandon(bed4):
    one, two = bed4.hosts
    definition = bed4.synth(copy_ms=5000)
    start(one, definition)
    name = move(one, two, definition, 1)
    two.post(f"/v1/vms/{VM}/abandon", {"move": name})
    assert two.vm() is None and tap_of(two) is None
    assert wait_for("source goes on", lambda: one.event("move-failed", move=name))["running"]


def test_abandon_without_an_edge(bed4):
    """It is waited for once, not for each thing that it could be told; what it still holds is cleared by the next arrival."""
    one, two = bed4.hosts
    definition = bed4.synth(copy_ms=20000)
    start(one, definition)
    name = move(one, two, definition, 1)
    two.nve.refuse["/return"] = 503
    two.post(f"/v1/vms/{VM}/abandon", {"move": name})
    assert len(two.nve.made("/return")) > 1 and not two.nve.made(f"/v1/vms/{VM}", "DELETE")
    assert two.vm() is None and tap_of(two)     # the NVE's descriptor keeps it
    wait_for("source goes on", lambda: one.event("move-failed", move=name))
    two.nve.refuse = {}
    name = move(one, two, definition, 1 + 2)
    assert two.nve.made(f"/v1/vms/{VM}", "DELETE") and two.vm()["epoch"] == 4
    two.post(f"/v1/vms/{VM}/abandon", {"move": name})
    assert two.vm() is None and tap_of(two) is None


def test_abandon_of_one_that_runs(bed4):
    one, two = bed4.hosts
    definition = bed4.synth()
    start(one, definition)
    name = move(one, two, definition, 1)
    wait_for("it runs there", lambda: two.event("move-running", move=name))
    assert two.call("POST", f"/v1/vms/{VM}/abandon", {"move": name})[0] == 409
    two.post(f"/v1/vms/{VM}/abandon", {"move": name, "fence": True})
    assert two.vm() is None


BAD = [
    ("/v1/vms", {"definition": {"name": "a"}, "epoch": 0}, 400, "epoch"),
    ("/v1/vms", {"epoch": 1}, 400, "definition"),
    ("/v1/vms", {"definition": {"name": "A B"}, "epoch": 1}, 400, "name"),
    ("/v1/vms", {"definition": {"name": "a", "memory_mib": 0}, "epoch": 1}, 400, "memory_mib"),
    ("/v1/vms", {"definition": {"name": "a", "kernel": "x"}, "epoch": 1}, 400, "kernel"),
    ("/v1/vms", {"definition": {"name": "a", "ports": [{"id": "a-0", "mac": "zz", "vni": 1}]}, "epoch": 1}, 400,
     "ports[0].mac"),
    ("/v1/vms", {"definition": {"name": "a", "memory_mib": 4096}, "epoch": 1}, 503, "memory_mib"),
    ("/v1/vms", {"definition": {"name": "a"}, "epoch": 1, "color": "red"}, 400, "color"),
    ("/v1/vms/none/finish", {"move": "m"}, 404, "vm"),
    ("/v1/vms/web@default/finish", {"move": "m"}, 409, "move"),
    ("/v1/vms/web@default/migrate", {"move": "m", "address": "10.98.0.2", "port": 0, "to": "10.98.0.2", "epoch": 2,
                                     "epoch_back": 3}, 400, "port"),
    ("/v1/vms/web@default/migrate", {"move": "m", "address": "10.98.0.2", "port": 5, "to": "10.98.0.2", "epoch": 1,
                                     "epoch_back": 3}, 409, "epoch"),
    ("/v1/vms/web@default/resume", {"move": "m", "epoch": 9}, 409, "move"),
]


def test_bad_input(bed4):
    host = bed4.hosts[0]
    start(host, bed4.synth())
    before = host.get("/v1/vms")
    for path, body, status, field in BAD:
        got, answer = host.call("POST", path, body)
        assert (got, answer["error"]["field"]) == (status, field), (path, body, answer)
        assert answer["error"]["text"]
    assert host.get("/v1/vms") == before


def test_emulator_that_does_not_start(bed4):
    host = bed4.hosts[0]
    status, answer = host.call("POST", "/v1/vms", {"definition": bed4.definition(emulator="/nowhere/qemu"), "epoch": 1})
    assert status == 500 and "/nowhere/qemu" in answer["error"]["text"]
    status, answer = host.call("POST", "/v1/vms",
                               {"definition": bed4.definition(emulator="/bin/false"), "epoch": 1})
    assert status == 409 and "ended" in answer["error"]["text"]
    wait_for("nothing is left", lambda: host.vm() is None and tap_of(host) is None)
