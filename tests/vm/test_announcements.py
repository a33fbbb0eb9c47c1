# SPDX-License-Identifier: Apache-2.0
"""What a real VM and its QEMU announce after a move is heard, and changes nothing.

The guest's virtio driver announces its addresses by gratuitous ARP and unsolicited NA (GUEST_ANNOUNCE); QEMU sends RARP
for its MAC. Neither is answered, neither moves anything, and in a VN with diskless clients RARP is answered with the
address that the VM has had all along.
"""
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import labs  # noqa: E402

V4, V6 = "10.1.0.10", "fd00:1::10"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces")


@pytest.fixture(scope="module", params=[4, 6], ids=["underlay4", "underlay6"])
def lab(request):
    with labs.Lab(f"n{os.getpid() % 100000}", hosts=2, underlay=request.param, accelerator="tcg") as lab:
        lab.godwit("vn", "create", "blue", "--subnet", "10.1.0.0/24", "--subnet", "fd00:1::/64")
        lab.lab("guest", "add", "client", "--host", "h1", "--vn", "blue", "--ip", "10.1.0.11", "--ip", "fd00:1::11")
        lab.lab("vm", "add", "web", "--vn", "blue", "--ip", V4, "--ip", V6, "--on", "h1", timeout_s=240)
        labs.wait_until("the VM answers", lambda: lab.answers("client", V4), 120)
        yield lab


def edge(lab, host):
    return lab.edge(host, "/v1/counters")["edge"]


def moved(lab, to):
    before = edge(lab, to)
    assert lab.moved(lab.move("web", to), 120)["result"] == "ok"
    labs.wait_until("QEMU and the guest have announced", lambda: all(
        edge(lab, to)[name] > before[name] for name in ("announced-rarp", "announced-arp", "announced-nd")), 60)
    return before, edge(lab, to)


def places(lab):
    """Who holds what: the binding, and what each edge forwards and answers with."""
    held = [lab.edge(host, "/v1/neighbours")["neighbours"] for host in ("h1", "h2")]
    return lab.vm("web")["nve"], lab.vm("web")["epoch"], [sorted(map(str, neighbours)) for neighbours in held]


def test_hints_of_a_moved_vm_change_nothing(lab):
    neighbours = places(lab)[2]
    before, after = moved(lab, "h2")
    nve, epoch, held = places(lab)
    assert nve == "h2" and held[0] == neighbours[0]
    assert after["announcements-refused"] == before["announcements-refused"]
    assert after["rarp-answered"] == 0
    assert lab.answers("client", V4) and lab.answers("client", V6)
    assert places(lab)[:2] == (nve, epoch)
    assert all(not n for reason, n in lab.get("/v1/status")["claims"].items()), "nobody claimed anything"


def test_rarp_is_answered_where_the_vn_says_so(lab):
    lab.godwit("vn", "set", "blue", "--rarp", "on")
    _, after = moved(lab, "h1" if places(lab)[0] == "h2" else "h2")
    assert after["rarp-answered"] > 0
    assert lab.answers("client", V4) and lab.answers("client", V6)
