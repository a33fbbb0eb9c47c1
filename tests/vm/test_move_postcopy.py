# SPDX-License-Identifier: Apache-2.0
"""Post-copy when things go wrong: the connection breaks while memory is still on its way, or an emulator dies then."""
import os
import signal
import subprocess

import pytest

from hvbed import Bed, address_tap, echo, move, run, set_up_anew, wait_for, work

VM = "web@default"
SLOW = {"bandwidth_mib_s": 12, "downtime_ms": 1}


@pytest.fixture(scope="module")
def bed():
    with Bed() as bed_:
        yield bed_


def guest(bed, images):
    return bed.definition(kernel=f"{images}/vmlinuz", initrd=f"{images}/initrd",
                          cmdline="console=ttyS0 quiet mitigations=off gw.ip4=10.1.0.10/24 gw.ip6=fd00:1::10/64 "
                                  "gw.work=24,3000")


@pytest.fixture(scope="module")
def running(bed, images):
    """[source, target, epoch]: a guest that works at the source; each test leaves it as it then is."""
    one, two = bed.hosts
    one.post("/v1/vms", {"definition": guest(bed, images), "epoch": 1})
    address_tap(one)
    assert echo(one, "10.1.0.10", timeout=60), one.log_tail()
    wait_for("it works", lambda: work(one), 30)
    return [one, two, 1]


def works_on(host):
    before = wait_for("it works on", lambda: work(host), 20)["pages"]
    seen = wait_for("all of its memory", lambda: (w := work(host)) and (w["pages"] > before + 24 * 256 or w["bad"]) and w, 60)
    assert seen["bad"] == 0


def switched(one, two, definition, epoch):
    """A move that has switched, with much memory still to come."""
    name = move(one, two, definition, epoch, copy={"post_copy": True}, **SLOW)
    wait_for("switched", lambda: one.event("move-switched", move=name), 90)
    wait_for("it runs there", lambda: two.event("move-running", move=name), 20)
    assert not one.event("move-completed", move=name)
    return name


def break_connections(host):
    """Every connection of the memory's port range ends at once, as when a firewall forgets it."""
    subprocess.run(["ip", "netns", "exec", host.netns, "ss", "-K", "sport", ">=", "49152"], check=True, capture_output=True)
    subprocess.run(["ip", "netns", "exec", host.netns, "ss", "-K", "dport", ">=", "49152"], check=True, capture_output=True)


def test_target_lost_at_the_switch(bed, images, running):
    """The VM is stopped and cut, and there is nobody to give it to: the source's copy is still the VM, and goes on."""
    one, two, epoch = running

    def connected():
        return subprocess.run(["ip", "netns", "exec", one.netns, "ss", "-Htn", "state", "established", "dport", ">=", "49152"],
                              check=True, capture_output=True).stdout

    def target_ends():
        assert connected()
        os.kill(two.vm()["pid"], signal.SIGKILL)
        wait_for("the source's host knows", lambda: not connected())
    one.nve.at_cut = target_ends
    name = move(one, two, guest(bed, images), epoch, copy={"post_copy": True}, bandwidth_mib_s=60, downtime_ms=1)
    failed = wait_for("the source says so", lambda: one.event("move-failed", move=name), 90)
    wait_for("nothing is left there", lambda: two.vm() is None)
    if not failed["running"]:
        one.post(f"/v1/vms/{VM}/resume", {"move": name, "epoch": epoch + 2})
    assert one.vm()["state"] == "running" and one.vm()["epoch"] == epoch + 2
    wait_for("the edge is told", lambda: one.nve.made("/uncut"))
    assert echo(one, "10.1.0.10", timeout=20) and echo(one, "fd00:1::10", timeout=20)
    works_on(one)
    running[2] = epoch + 2


def test_connection_lost_and_made_anew(bed, images, running):
    one, two, epoch = running
    name = switched(one, two, guest(bed, images), epoch)
    break_connections(one)
    wait_for("both know", lambda: one.event("move-broken", move=name), 20)
    assert one.vm()["state"] == "paused"
    status, answer = one.call("POST", f"/v1/vms/{VM}/resume", {"move": name, "epoch": epoch + 2})
    assert status == 409 and "out of date" in answer["error"]["text"]       # never two

    def listens():
        status, answer = two.call("POST", f"/v1/vms/{VM}/recover", {"move": name})
        print(answer)
        return status == 200 and answer
    at = wait_for("the target listens anew", listens, 20)
    one.post(f"/v1/vms/{VM}/reconnect", {"move": name, "address": at["address"], "port": at["port"]})
    wait_for("all sent", lambda: one.event("move-completed", move=name), 60)
    one.post(f"/v1/vms/{VM}/finish", {"move": name})
    address_tap(two)
    assert echo(two, "10.1.0.10", timeout=20) and echo(two, "fd00:1::10", timeout=20)
    works_on(two)
    running[:] = [two, one, epoch + 2]


@pytest.mark.long
def test_link_lost_after_the_switch(bed, images, running):
    """Nobody says that it is: the source sees that nothing is taken any more, and both wait to be connected anew."""
    one, two, epoch = running
    with set_up_anew(one, {"copy-stall-s": "2"}):
        name = switched(one, two, guest(bed, images), epoch)
        run("ip", "-n", two.netns, "link", "set", "u0", "down")
        try:
            wait_for("the source knows", lambda: one.event("move-broken", move=name), 30)
            assert one.vm()["state"] == "paused"
        finally:
            run("ip", "-n", two.netns, "link", "set", "u0", "up")
        at = wait_for("the target listens anew", lambda: (a := two.call("POST", f"/v1/vms/{VM}/recover", {"move": name})) and
                      a[0] == 200 and a[1], 20)
        one.post(f"/v1/vms/{VM}/reconnect", {"move": name, "address": at["address"], "port": at["port"]})
        wait_for("all sent", lambda: one.event("move-completed", move=name), 60)
        one.post(f"/v1/vms/{VM}/finish", {"move": name})
    address_tap(two)
    assert echo(two, "10.1.0.10", timeout=20)
    running[:] = [two, one, epoch + 2]


def test_target_dies_after_the_switch(bed, images, running):
    """The source's copy is of no use any more: it does not go on, and can be ended."""
    one, two, epoch = running
    name = switched(one, two, guest(bed, images), epoch)
    os.kill(two.vm()["pid"], signal.SIGKILL)
    wait_for("the target says so", lambda: two.event("vm-state", state="crashed"), 20)
    assert one.call("POST", f"/v1/vms/{VM}/resume", {"move": name, "epoch": epoch + 2})[0] == 409
    assert one.vm()["state"] == "paused"
    one.post(f"/v1/vms/{VM}/finish", {"move": name})
    wait_for("it is gone", lambda: one.vm() is None)
