# SPDX-License-Identifier: Apache-2.0
"""The promise, end to end: the demonstration with a real VM and with a synthetic guest, over both underlays.

Nothing is lost, nothing is doubled, every TCP stream lives, and nothing is left on the machine.
"""
import json
import os
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from labs import GODWIT  # noqa: E402


def traces(name):
    """What a lab of this name could leave behind."""
    found = [n for n in os.listdir("/run/netns") if n.startswith(f"gw-{name}-")] if os.path.isdir("/run/netns") else []
    with open("/proc/mounts", encoding="utf-8") as mounts:
        found += [line for line in mounts if f"/run/godwit/lab/{name}/" in line]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
                if f"/run/godwit/lab/{name}/".encode() in cmdline.read():
                    found.append(f"process {pid}")
        except OSError:
            pass
    return found + ([f"/run/godwit/lab/{name}"] if os.path.exists(f"/run/godwit/lab/{name}") else [])


@pytest.mark.parametrize("underlay", ["4", "6"])
@pytest.mark.parametrize("kind", ["synthetic", "vm"])
def test_demo(tmp_path, kind, underlay):
    name, figures = f"d{os.getpid() % 1000}{kind[0]}{underlay}", tmp_path / "figures.json"
    flags = {"synthetic": ["--synthetic", "--moves", "10", "--udp-rate", "1000"], "vm": ["--moves", "2", "--udp-rate", "300"]}[kind]
    done = subprocess.run([GODWIT, "lab", "demo", "--name", name, "--underlay", underlay, "--json", str(figures),
                           "--accelerator", "tcg", *flags], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    result = json.loads(figures.read_text())
    assert result["sent"] > 1000
    assert (result["lost"], result["duplicated"], result["tcp_survived"]) == (0, 0, True), result["streams"]
    assert all(move["result"] == "ok" and move["pause_ms"] > 0 for move in result["per_move"])
    assert traces(name) == []
    for word in ("stood still", "lost", "nothing is left behind"):
        assert word in done.stdout
