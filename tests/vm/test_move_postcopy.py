# SPDX-License-Identifier: Apache-2.0
"""Post-copy when things go wrong: the connection breaks while memory is still on its way, or an emulator dies then."""
import os
import signal
import subprocess

import pytest

from hvbed import Bed, address_tap, echo, move, wait_for, work

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


def test_connection_lost_and_made_anew(bed, images):
    one, two = bed.hosts
    definition = guest(bed, images)
    one.post("/v1/vms", {"definition": definition, "epoch": 1})
    address_tap(one)
    assert echo(one, "10.1.0.10", timeout=60), one.log_tail()
    wait_for("it works", lambda: work(one), 30)
    name = switched(one, two, definition, 1)
    break_connections(one)
    wait_for("both know", lambda: one.event("move-broken", move=name), 20)
    assert one.vm()["state"] == "paused"
    status, answer = one.call("POST", f"/v1/vms/{VM}/resume", {"move": name, "epoch": 3})
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
    before = wait_for("it works on", lambda: work(two), 20)["pages"]
    seen = wait_for("all of its memory", lambda: (w := work(two)) and (w["pages"] > before + 24 * 256 or w["bad"]) and w, 60)
    assert seen["bad"] == 0


def test_target_dies_after_the_switch(bed, images):
    """The source's copy is of no use any more: it does not go on, and can be ended."""
    two, one = bed.hosts
    name = switched(one, two, guest(bed, images), 3)
    os.kill(two.vm()["pid"], signal.SIGKILL)
    wait_for("the target says so", lambda: two.event("vm-state", state="crashed"), 20)
    assert one.call("POST", f"/v1/vms/{VM}/resume", {"move": name, "epoch": 5})[0] == 409
    assert one.vm()["state"] == "paused"
    one.post(f"/v1/vms/{VM}/finish", {"move": name})
    wait_for("it is gone", lambda: one.vm() is None)
