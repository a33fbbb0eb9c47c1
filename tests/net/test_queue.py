# SPDX-License-Identifier: Apache-2.0
"""More moves than a host may take part in at once: the rest wait, and say so; each gets its turn, or is cancelled."""
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from labs import Lab, wait_until  # noqa: E402

VMS = [f"v{i}" for i in range(6)]


@pytest.fixture(scope="module")
def lab():
    with Lab(f"queue{os.getpid() % 10000}", hosts=2, accelerator="tcg") as lab:
        lab.godwit("vn", "create", "blue", "--subnet", "10.1.0.0/24")
        for i, name in enumerate(VMS):
            lab.lab("vm", "add", name, "--vn", "blue", "--ip", f"10.1.0.{10 + i}", "--on", "h1", "--synthetic", "--copy-ms",
                    "2000")
        yield lab


def test_those_beyond_the_limit_wait(lab):
    moves = [lab.move(name, "h2") for name in VMS]
    states = [lab.get(f"/v1/moves/{move}") for move in moves]
    assert [bool(state.get("queued")) for state in states] == [False] * 4 + [True] * 2
    assert all(state["phase"] == "plan" and state["epochs"]["target"] == 0 for state in states[4:])
    lab.api("POST", f"/v1/moves/{moves[5]}/cancel")
    assert lab.get(f"/v1/moves/{moves[5]}")["result"] == "cancelled"
    assert [lab.moved(move)["result"] for move in moves] == ["ok"] * 5 + ["cancelled"]
    assert [lab.vm(name)["nve"] for name in VMS] == ["h2"] * 5 + ["h1"]


def test_the_queue_outlives_the_authority(lab):
    moves = [lab.move(name, "h1") for name in VMS[:5]]
    assert lab.get(f"/v1/moves/{moves[4]}").get("queued")
    lab.lab("kill", "nva", "nva", "--signal", "9")
    lab.lab("start", "nva", "nva")
    wait_until("it is back", lambda: lab.get("/v1/status"))
    assert [lab.moved(move)["result"] for move in moves] == ["ok"] * 5
