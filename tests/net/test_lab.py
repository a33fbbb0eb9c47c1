# SPDX-License-Identifier: Apache-2.0
"""The laboratory with the real daemons: it comes up, carries packets, and leaves nothing behind.

    h1 ---+--- h2      a guest on each host, in the VN "blue"
          |
    h3 ---+--- nva
"""
import json
import os
import signal
import subprocess
import time

import pytest

BUILD = os.environ.get("GW_BUILD", "build")
GODWIT = os.path.join(BUILD, "src/cli/godwit")
NEEDED = [os.path.join(BUILD, p) for p in ("src/cli/godwit", "src/nva/godwit-nva", "src/nve/godwit-nve", "src/hv/godwit-hv",
                                           "lab/synth/godwit-synth")]
BLUE = ["vn", "create", "blue", "--subnet", "10.1.0.0/24", "--subnet", "fd00:1::/64"]

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(not all(map(os.path.exists, NEEDED)), reason="needs the daemons built"),
]


def godwit(*args, ok=True, timeout=120):
    run = subprocess.run([GODWIT, *args], capture_output=True, text=True, timeout=timeout)
    print("$ godwit", *args, "->", run.returncode, run.stdout, run.stderr)
    if ok:
        assert run.returncode == 0, run.stderr
    return run


def left_of(name):
    """What of a lab is still there: namespaces, mounts, folders, processes."""
    spaces = [s for s in os.listdir("/run/netns") if s.startswith(f"gw-{name}-")] if os.path.isdir("/run/netns") else []
    mounts = [line for line in open("/proc/self/mounts") if f"/run/godwit/lab/{name}" in line]
    files = [p for p in (f"/run/godwit/lab/{name}", f"/run/godwit/lab/.{name}.lock") if os.path.exists(p)]
    processes = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = open(f"/proc/{pid}/cmdline", "rb").read().decode(errors="replace")
        except OSError:
            continue
        if f"/run/godwit/lab/{name}/" in line:
            processes.append(line)
    return spaces + mounts + files + processes


@pytest.fixture
def lab(request):
    name = "t%d" % os.getpid()
    yield name
    godwit("lab", "down", "--name", name, ok=False)
    assert left_of(name) == []


@pytest.mark.parametrize("underlay", ["4", "6"])
def test_guests_reach_each_other(lab, underlay):
    godwit("lab", "up", "--name", lab, "--underlay", underlay)
    nves = json.loads(godwit("nve", "list", "--lab", lab, "--json").stdout)
    nves = nves if isinstance(nves, list) else next(iter(nves.values()))
    assert [n["id"] for n in nves] == ["h1", "h2", "h3"]
    assert all(n["nve_connected"] and n["hv_connected"] for n in nves)
    godwit(*BLUE, "--lab", lab)
    godwit("lab", "guest", "add", "one", "--name", lab, "--host", "h1", "--vn", "blue", "--ip", "10.1.0.1", "--ip", "fd00:1::1")
    godwit("lab", "guest", "add", "two", "--name", lab, "--host", "h3", "--vn", "blue", "--ip", "10.1.0.2", "--ip", "fd00:1::2")
    server = subprocess.Popen([GODWIT, "probe", "--serve", "--port", "7", "--netns", f"gw-{lab}-g-one"],
                              stdout=subprocess.PIPE, text=True)
    try:
        assert "serving" in server.stdout.readline()
        report = json.loads(godwit("probe", "10.1.0.1", "fd00:1::1", "--tcp", "--netns", f"gw-{lab}-g-two",
                                   "--duration", "2", "--json").stdout)
    finally:
        server.terminate()
        server.wait()
    assert report["total"]["lost"] == 0 and report["total"]["duplicated"] == 0
    assert report["total"]["sent"] >= 3900
    assert report["total"]["tcp_alive"] == 2
    godwit("lab", "guest", "delete", "two", "--name", lab)
    assert f"gw-{lab}-g-two" not in os.listdir("/run/netns")


def test_daemons_come_back(lab):
    godwit("lab", "up", "--name", lab, "--hosts", "2")
    for host, daemon in (("nva", "nva"), ("h1", "nve"), ("h2", "hv")):
        godwit("lab", "kill", host, daemon, "--name", lab)
        again = godwit("lab", "kill", host, daemon, "--name", lab, ok=False)
        assert again.returncode == 1 and "does not run" in again.stderr
        godwit("lab", "start", host, daemon, "--name", lab)
        godwit("lab", "wait", "--name", lab)


def test_emulators_go_with_the_lab(lab):
    godwit("lab", "up", "--name", lab, "--hosts", "1", "--accelerator", "tcg")
    godwit(*BLUE, "--lab", lab)
    godwit("lab", "vm", "add", "web", "--name", lab, "--vn", "blue", "--ip", "10.1.0.10", "--on", "h1", "--synthetic")
    assert any("-netdev" in process for process in left_of(lab))
    godwit("lab", "kill", "h1", "hv", "--name", lab)    # nobody is left who would end the emulator
    godwit("lab", "down", "--name", lab)
    assert left_of(lab) == []


@pytest.mark.parametrize("underlay", ["4", "6"])
def test_demo_with_a_synthetic_guest(lab, underlay, tmp_path):
    figures = tmp_path / "figures.json"
    godwit("lab", "demo", "--name", lab, "--synthetic", "--moves", "3", "--underlay", underlay, "--json", str(figures))
    seen = json.loads(figures.read_text())
    assert seen["moves"] == 3 and seen["lost"] == 0 and seen["duplicated"] == 0 and seen["tcp_survived"] is True
    assert all(seen["vm_pause_ms"][k] >= 20 for k in ("median", "max"))
    assert left_of(lab) == []


def test_interrupted_demo_leaves_nothing(lab):
    demo = subprocess.Popen([GODWIT, "lab", "demo", "--name", lab, "--synthetic", "--moves", "1000"],
                            stdout=subprocess.PIPE, text=True)
    while "Move 1 of" not in (line := demo.stdout.readline()):
        assert line, "the demo ended by itself"
    demo.send_signal(signal.SIGTERM)
    assert "nothing is left behind" in demo.stdout.read()
    assert demo.wait() == 1
    assert left_of(lab) == []


def test_labs_side_by_side(lab):
    other = lab + "b"
    try:
        godwit("lab", "up", "--name", lab, "--hosts", "1")
        godwit("lab", "up", "--name", other, "--hosts", "1", "--underlay", "6")
        godwit(*BLUE, "--lab", lab)
        godwit(*BLUE, "--lab", other)
        ambiguous = godwit("lab", "exec", "h1", "--", "true", ok=False)
        assert ambiguous.returncode == 1 and "--name" in ambiguous.stderr
        twice = godwit("lab", "up", "--name", lab, ok=False)
        assert twice.returncode == 1 and "there already" in twice.stderr
        godwit("lab", "exec", "h1", "--name", lab, "--", "true")
    finally:
        godwit("lab", "down", "--name", other)
    assert left_of(other) == []


@pytest.mark.parametrize("after_ms", [5, 20, 50, 120, 300])
def test_down_after_a_crash_of_up(lab, after_ms):
    up = subprocess.Popen([GODWIT, "lab", "up", "--name", lab], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(after_ms / 1000)
    up.send_signal(signal.SIGKILL)
    up.wait()
    godwit("lab", "down", "--name", lab)
    assert left_of(lab) == []
    godwit("lab", "down", "--name", lab)


@pytest.mark.parametrize("args, status, texts", [
    (["lab", "up", "--name", "No"], 2, ["--name", "No"]),
    (["lab", "up", "--hosts", "65"], 2, ["--hosts", "65", "1 to 64"]),
    (["lab", "up", "--underlay", "5"], 2, ["--underlay", "5", "4 6"]),
    (["lab", "up", "--mtu", "1000"], 2, ["--mtu", "1000", "1400"]),
    (["lab", "kill", "h1"], 2, ["HOST DAEMON"]),
    (["lab", "exec", "h1", "--name", "none-such"], 2, ["what to run"]),
    (["lab", "exec", "h1", "--name", "none-such", "--", "ls"], 4, ["none-such"]),
    (["vm", "list", "--lab", "none-such"], 4, ["none-such"]),
    (["vm", "list", "--api", "/none/such.sock"], 3, ["/none/such.sock"]),
    (["vm", "list", "--api", "none"], 1, ["--api", "none"]),
    (["probe", "10.0.0"], 2, ["10.0.0"]),
    (["probe", "10.0.0.1", "--size", "10"], 2, ["--size", "10", "40"]),
    (["probe", "127.0.0.1", "--wait", "200", "--port", "9"], 1, ["127.0.0.1:9", "did not answer"]),
    (["nonsense"], 2, ["nonsense"]),
])
def test_bad_input(args, status, texts):
    run = godwit(*args, ok=False)
    assert run.returncode == status
    assert all(text in run.stderr for text in texts)
