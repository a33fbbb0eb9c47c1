# SPDX-License-Identifier: Apache-2.0
"""The command line as a newcomer meets it: against a real authority, with a synthetic VM and a veth.

    h1 (web, box) ---+--- h2
                     |
    h3 (far) --------+--- nva        and one more authority on loopback, for https
"""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from labs import BUILD, GODWIT, Lab, wait_until  # noqa: E402

NVA = os.path.join(BUILD, "src/nva/godwit-nva")
SYNTH = os.path.join(BUILD, "lab/synth/godwit-synth")

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(not all(map(os.path.exists, (GODWIT, NVA, SYNTH))), reason="needs the daemons built"),
]


def godwit(*words, status=0, **options):
    run = subprocess.run([GODWIT, *words], capture_output=True, text=True, timeout=60, **options)
    print("$ godwit", *words, "->", run.returncode, run.stdout, run.stderr)
    assert run.returncode == status
    return run.stdout if status == 0 else run.stderr


@pytest.fixture(scope="module")
def lab():
    with Lab(f"cli{os.getpid() % 10000}", hosts=3, accelerator="tcg") as lab:
        lab.godwit("vn", "create", "blue", "--subnet", "10.1.0.0/24", "--subnet", "fd00:1::/64")
        lab.lab("vm", "add", "web", "--vn", "blue", "--ip", "10.1.0.10", "--on", "h1", "--synthetic", "--copy-ms", "300")
        lab.lab("guest", "add", "far", "--host", "h3", "--vn", "blue", "--ip", "10.1.0.30")
        for device in ("kv0", "kv1"):
            lab.lab("exec", "h1", "--", "ip", "link", "add", device, "type", "veth", "peer", "name", device + "p")
            lab.lab("exec", "h1", "--", "ip", "link", "set", device, "up")
        yield lab


@pytest.fixture
def run(lab):
    """Runs a command, split at spaces; what it printed, to standard error when it is to fail."""
    return lambda line, status=0: godwit("--lab", lab.name, *line.split(), status=status)


def test_flags_of_every_command_stand_anywhere(lab):
    for words in (["--json", "--lab", lab.name, "nve", "list"], ["nve", "--json", f"--lab={lab.name}", "list"],
                  ["nve", "list", "--lab", lab.name, "--json"]):
        assert [nve["id"] for nve in json.loads(godwit(*words))["nves"]] == ["h1", "h2", "h3"]
    assert "h1" in godwit("--no-color", "--lab", lab.name, "nve", "show", "h1")
    assert "web@default" in godwit("--api", f"{lab.folder}/nva/api.sock", "vm", "list")
    assert "web@default" in godwit("--api", f"unix:{lab.folder}/nva/api.sock", "vm", "list")
    assert "web@default" in godwit("vm", "list", env={"GODWIT_API": f"{lab.folder}/nva/api.sock"})


@pytest.mark.parametrize("line, status, texts", [
    ("--lab", 2, ["--lab", "needs a value"]),
    ("--json", 2, ["a command is missing"]),
    ("--vn x vm create", 2, ["--vn", "before the command"]),
    ("-x", 2, ["unknown flag -x"]),
    ("vm list -x", 2, ["unknown flag -x", "godwit help vm list"]),
    ("vm fly", 2, ['vm cannot "fly"', "godwit help vm"]),
    ("vm", 2, ["godwit vm create"]),
    ("vm list --json=1", 2, ["--json takes no value"]),
    ("vm list --api foo", 1, ['--api is "foo"']),
    ("pki issue ca --dir /nonexistent --overwrite", 2, ["name ca"]),
    ("pki issue A --dir /nonexistent", 2, ['"A" is not a name']),
    ("pki issue a --dir /nonexistent", 1, ["/nonexistent/ca.pem"]),
    ("pki show /nonexistent", 4, ["/nonexistent"]),
    ("vm list --api https://127.0.0.1:9 --tls-ca /nonexistent", 1, ["--tls-ca", "/nonexistent", "cannot be read"]),
    ("vm list --api https://127.0.0.1:9 --tls-cert /dev/null", 1, ["--tls-cert and --tls-key"]),
    ("vm list --api https://127.0.0.1:9", 3, ["https://127.0.0.1:9"]),
])
def test_wrong_command_lines(line, status, texts):
    said = godwit(*line.split(), status=status)
    assert all(text in said for text in texts)


@pytest.mark.parametrize("line, status, texts", [
    ("vn create blue --subnet 10.7.0.0/24", 1, ["there is a VN blue@default"]),
    ("vn create red --subnet 10.1.0.0/25", 1, ["10.1.0.0/24 of VN blue@default"]),
    ("vn create red --subnet 10.7.0.1/24", 2, ["--subnet", "10.7.0.1/24", "without host bits"]),
    ("vn create red --subnet 10.7.0.0/24 --vni 0", 2, ["--vni", "1 to 16777215"]),
    ("vn create red --subnet 10.7.0.0/24 --mtu 1451", 1, ["1451", "carries 1500", "1450"]),
    ("vn create red@nobody --subnet 10.7.0.0/24", 4, ["no tenant nobody"]),
    ("vn show red", 4, ["red@default", "godwit vn list"]),
    ("vn delete blue", 1, ["still has"]),
    ("tenant delete default", 1, ["always exists"]),
    ("nve add h1 --locator 10.0.0.1", 1, ["there is an NVE h1"]),
    ("nve add h9 --locator 10.99.0.1", 1, ["10.99.0.1", "belongs to NVE h1"]),
    ("nve delete h1", 1, ["h1 is connected"]),
    ("vm create w --vn blue", 1, ["kernel", "disks"]),
    ("vm create w --vn nope --kernel /k", 4, ["no VN nope@default"]),
    ("vm create w --vn blue --kernel /k --ip 10.9.0.1", 1, ["10.9.0.1"]),
    ("vm create w --vn blue --kernel /k --mac 01:00:00:00:00:01", 1, ["ports[0].mac", "group address"]),
    ("vm create w --vn blue --kernel /k --memory 1", 2, ["--memory", "16 to"]),
    ("vm create w --vn blue --kernel /k --on h1", 2, ["--start"]),
    ("vm create w --vn blue --kernel /k --on-crash explode", 2, ["restart stop"]),
    ("vm create w --vn blue --kernel /k --port mac=x", 2, ["--mac", "52:54:00:12:34:56"]),
    ("vm create w --vn blue --disk /d,format=bla", 1, ["disks[0].format", "qcow2"]),
    ("vm create web --vn blue --kernel /k", 1, ["web@default"]),
    ("vm start web", 1, ["started already"]),
    ("vm delete web", 1, ["stop it first"]),
    ("vm move web", 2, ["--to is missing"]),
    ("vm move web --to h1", 1, ["h1 already"]),
    ("vm move web --to h9", 4, ["h9", "godwit nve list"]),
    ("vm move nope --to h2", 4, ["nope@default"]),
    ("vm move web --to h2 --downtime 0", 2, ["--downtime", "1 to 60000"]),
    ("vm move web --to h2 --bandwidth x", 2, ["--bandwidth", "MiB/s"]),
    ("vm move web --to h2 --wait --no-wait", 2, ["exclude"]),
    ("move show m999", 4, ["m999", "godwit move list"]),
    ("move watch m999", 4, ["m999"]),
    ("move cancel m999", 4, ["m999"]),
    ("port attach x --vn blue --nve h1 --device none", 1, ['no device "none"']),
    ("port attach x --vn blue --nve h9 --device kv0", 4, ["h9"]),
    ("port attach x --vn nope --nve h1 --device kv0", 4, ["nope@default"]),
    ("port attach x --vn blue --nve h1 --device kv0 --ip 10.1.0.300", 2, ["--ip", "10.1.0.300"]),
    ("port detach x-0", 4, ["x-0@default", "godwit port list"]),
])
def test_refusals_change_nothing(lab, run, line, status, texts):
    before = [lab.get(f"/v1/{what}") for what in ("tenants", "vns", "nves", "ports", "moves")]
    said = run(line, status)
    assert all(text in said for text in texts)
    assert [lab.get(f"/v1/{what}") for what in ("tenants", "vns", "nves", "ports", "moves")] == before


def test_mtu_follows_the_underlay(lab, run):
    assert lab.get("/v1/nves/h1")["underlay_mtu"] == 1500
    assert lab.get("/v1/vns/blue")["mtu"] == 1450
    run("tenant create acme")
    assert json.loads(run("vn create red@acme --subnet 10.1.0.0/24 --mtu 1400 --json"))["mtu"] == 1400
    assert "1400" in run("vn list")
    run("vn delete red@acme")
    run("tenant delete acme")


def test_ports_of_tasks(run):
    assert "attached; its port is box-0@default" in run("port attach box --vn blue --nve h1 --device kv0 --ip 10.1.0.50")
    assert "10.1.0.50" in run("port list")
    assert "is on this device" in run("port attach box2 --vn blue --nve h1 --device kv0", 1)
    assert "there is a VM box@default" in run("port attach box --vn blue --nve h1 --device kv1", 1)
    assert "detach its port" in run("vm stop box", 1)
    assert "only VMs move" in run("vm move box --to h2", 1)
    assert "kv0" in run("vm show box")
    run("port detach box-0")
    assert "box" not in run("port list")


def test_move_watch_and_cancel(lab, run):
    moved = json.loads(run("--json vm move web --to h2"))
    assert moved["result"] == "ok" and lab.vm("web")["nve"] == "h2"
    move = json.loads(run("vm move web --to h1 --no-wait --json"))["id"]
    assert "web@default is moving already" in run("vm move web --to h1", 1)
    assert "moving" in run("vm stop web", 1)
    assert "being cancelled" in run(f"move cancel {move}")
    assert "not moved: web@default is at h2: it was cancelled" in godwit_out(lab, "move", "watch", move, status=5)
    assert "has ended already" in run(f"move cancel {move}", 1)
    assert "cancelled" in run("move list --vm web")
    assert "runs at h1 now" in run("vm move web --to h1")
    assert "the old copy is ended" in run(f"move show {moved['id']}")
    assert "no moves" in run("move list --vm nobody")


def godwit_out(lab, *words, status):
    run = subprocess.run([GODWIT, "--lab", lab.name, *words], capture_output=True, text=True, timeout=60)
    assert run.returncode == status, run.stderr
    return run.stdout


def test_move_watch_shows_every_move(lab, run):
    watch = subprocess.Popen([GODWIT, "--lab", lab.name, "--json", "move", "watch"], stdout=subprocess.PIPE, text=True)
    try:
        time.sleep(0.3)
        here = lab.vm("web")["nve"]
        run(f"vm move web --to {'h2' if here == 'h1' else 'h1'}")
        for line in watch.stdout:
            event = json.loads(line)
            if event["phase"] == "done":
                break
        assert event["vm"] == "web@default" and event["result"] == "ok"
    finally:
        watch.kill()
        watch.wait()


def test_move_after_a_restart_waits_for_those_that_are_not_back(lab):
    """An authority that has just started knows of nobody what they hold."""
    here = lab.vm("web")["nve"]
    lab.signal("h3", "nve", signal.SIGSTOP)
    try:
        lab.signal("nva", "nva", signal.SIGKILL)
        lab.lab("start", "nva", "nva")
        wait_until("both hosts are back", lambda: all(lab.get(f"/v1/nves/{h}")[f"{what}_connected"] for h in ("h1", "h2")
                                                      for what in ("nve", "hv")) and lab.vm("web")["state"] == "running")
        move = lab.move("web", "h2" if here == "h1" else "h1")
        time.sleep(0.6)
        assert lab.get(f"/v1/moves/{move}")["phase"] == "prepare"
    finally:
        lab.signal("h3", "nve", signal.SIGCONT)
    ended = lab.moved(move)
    assert ended["result"] == "ok" and "converged_ns" in ended["evidence"]
    at = {step["phase"]: step["at_ns"] for step in ended["timeline"]}
    assert 0.5e9 < at["copy"] - at["prepare"] < 4e9


def test_next_move_waits_for_who_may_hold_an_older_place(lab, run):
    """An edge that cannot answer is waited for, but not for ever."""
    lab.lab("guest", "add", "near", "--host", lab.vm("web")["nve"], "--vn", "blue")
    old, new = lab.vm("web")["nve"], "h2" if lab.vm("web")["nve"] == "h1" else "h1"
    run(f"vm move web --to {new}")
    lab.signal(old, "nve", signal.SIGKILL)
    wait_until("the authority has noticed", lambda: not lab.get(f"/v1/nves/{old}")["nve_connected"])
    assert "not connected" in run(f"vm move web --to {old}", 1)
    lab.lab("start", old, "nve")
    wait_until("the edge is back", lambda: lab.get(f"/v1/nves/{old}")["nve_connected"])
    assert f"runs at {old} now" in run(f"vm move web --to {old}")
    lab.lab("guest", "delete", "near")


def test_redirected_is_counted_by_vm(lab, run):
    old = lab.vm("web")["nve"]
    move = lab.moved(lab.move("web", "h2" if old == "h1" else "h1"))
    assert not move["evidence"]["redirect_ended"]
    ended = wait_until("the redirect ends", lambda: lab.get(f"/v1/moves/{move['id']}")["evidence"]["redirect_ended"], 15)
    assert ended and lab.get(f"/v1/moves/{move['id']}")["evidence"]["redirected"] == 0


def test_start_that_fails_says_what_is_left(run):
    said = run("vm create odd --vn blue --kernel /nonexistent --start --on h1", 1)
    assert "odd is created, but not started" in said
    assert "stopped, to be stopped" in run("vm show odd") and "reason" in run("vm show odd")
    run("vm delete odd")


def test_stop_and_start(run):
    assert "web has stopped" in run("vm stop web --wait")
    assert "is on h2 already" in run("vm move web --to h2", 1)
    assert "web started" in run("vm start web --on h2")
    assert "h2" in run("vm show web")
    run("vm stop web --force --wait")
    run("vm delete web")
    assert "web" not in run("vm list")


# --- https ---

def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def https(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("pki"))
    url = f"https://127.0.0.1:{free_port()}"
    godwit("pki", "init", "--dir", folder)
    godwit("pki", "issue", "nva", "--dir", folder, "--server", "--host", "127.0.0.1", "--host", "localhost")
    for name in ("alice", "h1", "h9", "local", "ali"):
        godwit("pki", "issue", name, "--dir", folder)
    keys = {"id": "nva", "state-dir": f"{folder}/state", "api-socket": f"{folder}/api.sock",
            "listen": f"127.0.0.1:{free_port()}", "api-listen": url[8:], "api-clients": "bob alice h1", "tls-ca": f"{folder}/ca.pem",
            "tls-cert": f"{folder}/nva.pem", "tls-key": f"{folder}/nva.key"}
    settings = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
    with open(f"{folder}/log", "w", encoding="utf-8") as log:
        nva = subprocess.Popen([NVA, "--config", "/dev/null", *settings], stdout=log, stderr=log)
    try:
        wait_until("the authority listens", lambda: os.path.exists(f"{folder}/api.sock"))
        yield folder, url
    finally:
        nva.terminate()
        nva.wait()


def by(folder, name):
    return ["--tls-ca", f"{folder}/ca.pem", "--tls-cert", f"{folder}/{name}.pem", "--tls-key", f"{folder}/{name}.key"]


def test_https(https):
    folder, url = https
    godwit("--api", url, *by(folder, "alice"), "nve", "add", "h1", "--locator", "10.0.0.1")
    assert "10.0.0.1" in godwit("--api", url, *by(folder, "alice"), "nve", "list")
    assert "10.0.0.1" in godwit("nve", "list", *by(folder, "alice"), env={"GODWIT_API": url})


def test_https_refusals(https):
    folder, url = https
    ca = ["--tls-ca", f"{folder}/ca.pem"]
    assert "is not trusted" in godwit("--api", url, "nve", "list", status=1)
    assert "client certificate" in godwit("--api", url, *ca, "nve", "list", status=1)
    assert "h1 is an NVE" in godwit("--api", url, *by(folder, "h1"), "nve", "list", status=1)
    # Hosts that are not known (yet, or any more) have certificates as well, and a name may be one of our words.
    for name in ("h9", "local", "ali"):
        assert f"does not name {name}" in godwit("--api", url, *by(folder, name), "nve", "list", status=1)
    crossed = [*ca, "--tls-cert", f"{folder}/alice.pem", "--tls-key", f"{folder}/nva.key"]
    assert "of no use" in godwit("--api", url, *crossed, "nve", "list", status=1)


def test_pki_keeps_what_is_there(https):
    folder, _ = https
    assert "exists already" in godwit("pki", "init", "--dir", folder, status=1)
    assert "exists already" in godwit("pki", "issue", "alice", "--dir", folder, status=1)
    godwit("pki", "issue", "alice", "--dir", folder, "--overwrite")
    assert "godwit-ca" in godwit("pki", "show", f"{folder}/alice.pem")
    assert os.stat(f"{folder}/alice.key").st_mode & 0o77 == 0


def test_pki_says_how_long(https):
    folder, _ = https
    nva, = json.loads(godwit("pki", "show", f"{folder}/nva.pem", "--json"))
    assert (nva["name"], nva["issuer"], nva["use"], nva["hosts"]) == ("nva", "godwit-ca", "server", "nva 127.0.0.1 localhost")
    assert nva["days_left"] in (824, 825) and not nva["expired"]
    ca, = json.loads(godwit("pki", "show", f"{folder}/ca.pem", "--json"))
    assert ca["use"] == "authority" and ca["days_left"] in (3649, 3650)
    all_of_it = json.loads(godwit("pki", "show", "--dir", folder, "--json"))
    assert {c["name"] for c in all_of_it} > {"nva", "godwit-ca", "alice"}
    godwit("pki", "issue", "brief", "--dir", folder, "--days", "10")
    assert re.search("expires in (9|10) days", godwit("pki", "show", f"{folder}/brief.pem"))
    godwit("pki", "show", f"{folder}/brief.pem", "--within", "9")
    assert "ends within 11 days" in godwit("pki", "show", f"{folder}/brief.pem", "--within", "11", status=1)
    assert "ends within 30 days" in godwit("pki", "show", "--dir", folder, "--within", "30", status=1)
    os.remove(f"{folder}/brief.pem")
    assert "is not a certificate" in godwit("pki", "show", f"{folder}/nva.key", status=1)
