# SPDX-License-Identifier: Apache-2.0
"""A suspended VM whose move fails when its source has sent everything: it stands still where it stood, and goes on there."""
import pytest

from hvbed import Bed, address_tap, echo, move, wait_for

VM = "web@default"


@pytest.fixture(params=[4, 6], ids=["ipv4", "ipv6"])
def bed(request):
    with Bed(request.param) as bed_:
        yield bed_


def test_taken_back_after_all_was_sent(bed):
    one, two = bed.hosts
    definition = bed.synth(copy_ms=700)
    one.post("/v1/vms", {"definition": definition, "epoch": 1})
    address_tap(one)
    assert echo(one, "10.1.0.10")
    one.post(f"/v1/vms/{VM}/suspend", {})
    wait_for("the edge knows", lambda: [call[2] for call in one.nve.made("/still")] == [{"still": True}])
    name = move(one, two, definition, 1, copy={"cold": True, "stay": True})
    two.kill()                                          # nobody is there to take it in
    wait_for("all is sent", lambda: one.event("move-completed", move=name), 30)
    assert one.vm()["state"] == "paused" and one.nve.made("/cut")
    bed.kill_emulators(two)                             # the host is lost: that is the fence
    one.post(f"/v1/vms/{VM}/resume", {"move": name, "epoch": 3})
    vm = one.vm()
    assert (vm["state"], vm["role"], vm["epoch"]) == ("paused", "serve", 3)
    wait_for("the edge takes it back", lambda: one.nve.made("/uncut"))
    assert not echo(one, "10.1.0.10", timeout=0.7), "it is still suspended"
    one.post(f"/v1/vms/{VM}/continue", {})
    assert echo(one, "10.1.0.10") and echo(one, "fd00:1::10")
    wait_for("the edge knows", lambda: [call[2]["still"] for call in one.nve.made("/still")][-1] is False)
