# SPDX-License-Identifier: Apache-2.0
"""`godwit audit` and `godwit trace` on real daemons: entries of the data plane are falsified behind an edge's back.

    one@h1 ---- two@h2 ---- h3      VN "blue", a second VN "red" with the same addresses
"""
import json
import os
import socket
import subprocess
import sys
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from labs import GODWIT, Lab, wait_until  # noqa: E402

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(not os.path.exists(GODWIT), reason="needs the daemons built"),
]
BPFTOOL = next((p for p in ("/usr/sbin/bpftool", "/sbin/bpftool", "/usr/bin/bpftool") if os.path.exists(p)), "bpftool")


@pytest.fixture(scope="module", params=["4", "6"], ids=["underlay4", "underlay6"])
def lab(request):
    with Lab(f"au{request.param}x{os.getpid() % 10000}", hosts=3, underlay=request.param) as world:
        world.godwit("tenant", "create", "red")
        for vn in ("blue", "blue@red"):
            world.godwit("vn", "create", vn, "--subnet", "10.1.0.0/24", "--subnet", "fd00:1::/64",
                         "--gateway", "10.1.0.1", "--gateway", "fd00:1::1")
        for name, host, vn in (("one", "h1", "blue"), ("two", "h2", "blue"), ("far", "h3", "blue")):
            number = {"one": 11, "two": 12, "far": 13}[name]
            world.lab("guest", "add", name, "--host", host, "--vn", vn, "--ip", f"10.1.0.{number}", "--ip",
                      f"fd00:1::{number:x}")
        wait_until("what was placed just now counts as settled",
                   lambda: all(time.time_ns() - v["binding"]["since_ns"] > 3_500_000_000 for v in world.get("/v1/vms")["vms"]))
        wait_until("one reaches two", lambda: world.answers("one", "10.1.0.12") and world.answers("one", "fd00:1::c"))
        yield world


def mac_of(lab, name):
    return lab.get(f"/v1/ports/{name}-0")["mac"]


def vni_of(lab, vn="blue"):
    return lab.get(f"/v1/vns/{vn}")["vni"]


def ip16(text):
    import ipaddress
    ip = ipaddress.ip_address(text)
    return ip.packed if ip.version == 6 else bytes(10) + b"\xff\xff" + ip.packed


def mac_key(vni, mac):
    return vni.to_bytes(4, sys.byteorder) + bytes.fromhex(mac.replace(":", "")) + bytes(2)


def pinned(lab, host, name):
    return f"{lab.folder}/hosts/{host}/bpf/{name}"


def hexes(octets):
    return [f"{b:02x}" for b in octets]


def bpftool(*words):
    done = subprocess.run([BPFTOOL, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def map_set(lab, host, name, key, value):
    bpftool("map", "update", "pinned", pinned(lab, host, name), "key", "hex", *hexes(key), "value", "hex", *hexes(value))


def map_get(lab, host, name, key):
    text = bpftool("-j", "map", "lookup", "pinned", pinned(lab, host, name), "key", "hex", *hexes(key))
    return bytes(int(b, 16) for b in json.loads(text)["value"])


def audit(lab, *flags):
    done = lab.godwit("audit", "--json", *flags, check=False)
    return done.returncode, json.loads(done.stdout)


def clean(lab):
    """Right after a change an edge may still be behind."""
    return wait_until("the audit is clean", lambda: audit(lab)[0] == 0)


def misdirect(lab, host, name, locator):
    """The forwarding entry for a guest at a host now leads to another locator."""
    key = mac_key(vni_of(lab), mac_of(lab, name))
    value = bytearray(map_get(lab, host, "gw_fdb", key))
    value[16:32] = ip16(locator)
    map_set(lab, host, "gw_fdb", key, bytes(value))


def locator(lab, host):
    return lab.get(f"/v1/nves/{host}")["locator"]


def test_a_lab_at_rest_is_clean(lab):
    clean(lab)
    code, report = audit(lab)
    assert code == 0 and report["clean"] and report["nves"] == 3 and report["entries"] >= 9
    assert report["findings"] == [] and report["silent"] == []
    assert lab.get("/v1/audit")["entries"] == report["entries"]         # the last report is kept
    assert "none contradicts" in lab.godwit("audit").stdout


def test_misdirected_entry_is_found_explained_and_repaired(lab):
    clean(lab)
    misdirect(lab, "h1", "two", locator(lab, "h3"))
    code, report = audit(lab)
    assert code == 6 and not report["clean"] and report["contradictions"] == 1
    finding = report["findings"][0]
    assert finding["nve"] == "h1" and finding["why"] == "elsewhere" and finding["verdict"] == "contradiction"
    assert finding["entry"]["locator"] == locator(lab, "h3") and finding["truth"]["locator"] == locator(lab, "h2")
    assert finding["entry"]["origin"] == "authority" and finding["entry"]["age_ms"] >= 0
    trace = json.loads(lab.godwit("trace", "one", "--to", "10.1.0.12", "--json").stdout)     # h3 knows better, and redirects
    assert trace["outcome"] == "delivered" and [h["nve"] for h in trace["hops"]] == ["", "h1", "h3", "h2"]
    assert [s["verdict"] for s in trace["hops"][2]["steps"]] == ["pass", "redirect", "pass"]
    misdirect(lab, "h1", "two", "10.99.0.77" if "." in locator(lab, "h3") else "fd99::77")
    assert not lab.answers("one", "10.1.0.12")
    done = lab.godwit("trace", "one", "--to", "10.1.0.12", "--json", check=False)
    assert done.returncode == 1 and json.loads(done.stdout)["outcome"] == "lost"
    code, report = audit(lab, "--nve", "h1", "--repair")
    assert code == 0 and report["repaired"] == 1 and report["findings"][0]["repaired"]
    assert lab.answers("one", "10.1.0.12", tries=3)
    clean(lab)


def test_false_neighbour_and_rogue_entry_are_found(lab):
    clean(lab)
    vni, rogue = vni_of(lab), "02:00:00:00:66:66"
    key = vni.to_bytes(4, sys.byteorder) + ip16("fd00:1::c")
    before = map_get(lab, "h1", "gw_neigh", key)
    map_set(lab, "h1", "gw_neigh", key, bytes.fromhex(rogue.replace(":", "")) + before[6:])
    entry = bytearray(map_get(lab, "h1", "gw_fdb", mac_key(vni, mac_of(lab, "two"))))
    map_set(lab, "h1", "gw_fdb", mac_key(vni, rogue), bytes(entry))
    code, report = audit(lab)
    whys = {f["why"]: f for f in report["findings"]}
    assert code == 6 and set(whys) == {"other-mac", "unknown"}
    assert whys["other-mac"]["entry"]["address"] == "fd00:1::c" and whys["other-mac"]["truth"]["mac"] == mac_of(lab, "two")
    assert whys["unknown"]["entry"]["origin"] == "nobody" and whys["unknown"]["entry"]["mac"] == rogue
    text = lab.godwit("audit", check=False).stdout
    assert "fd00:1::c" in text and "2 contradict the authority" in text
    code, report = audit(lab, "--repair")
    assert code == 0 and report["repaired"] == 2
    assert map_get(lab, "h1", "gw_neigh", key) == before
    assert lab.answers("one", "fd00:1::c", tries=2)


def test_an_edge_that_does_not_answer_is_named(lab):
    clean(lab)
    lab.lab("kill", "h3", "nve")
    try:
        code, report = audit(lab)
        assert code == 6 and report["silent"] == ["h3"] and report["contradictions"] == 0
    finally:
        lab.lab("start", "h3", "nve")
        lab.lab("wait")
    wait_until("h3 is read again", lambda: audit(lab)[0] == 0)


@pytest.mark.parametrize("address", ["10.1.0.12", "fd00:1::c"])
def test_trace_follows_a_packet(lab, address):
    trace = json.loads(lab.godwit("trace", "one", "--to", address, "--json").stdout)
    assert trace["outcome"] == "delivered" and trace["text"] == "delivered to two-0@default at h2"
    assert [h["nve"] for h in trace["hops"]] == ["", "h1", "h2"]
    steps = [[s["step"] for s in h["steps"]] for h in trace["hops"]]
    assert steps[1] == ["port", "guard", "neighbour", "size", "forwarding", "underlay"]
    assert steps[2] == ["sender", "forwarding", "port"]
    assert all(s["verdict"] == "pass" for h in trace["hops"] for s in h["steps"])
    text = lab.godwit("trace", "one", "--to", address).stdout
    assert "delivered to two-0@default at h2" in text and "next hop" in text


def test_trace_of_what_does_not_arrive(lab):
    done = lab.godwit("trace", "one", "--to", "10.1.0.99", "--json", check=False)
    trace = json.loads(done.stdout)
    assert done.returncode == 1 and trace["outcome"] == "dropped" and "nobody has it" in trace["text"]
    port = next(p for p in lab.edge("h1", "/v1/ports")["ports"] if p["vm"] == "one@default")
    index = next(i for i in bpf_ports(lab, "h1"))
    number = index.to_bytes(4, sys.byteorder)
    entry = map_get(lab, "h1", "gw_ports", number)
    own = socket.inet_aton("10.1.0.11")
    assert entry.count(own) == 1
    map_set(lab, "h1", "gw_ports", number, entry.replace(own, bytes(4)))
    try:
        trace = json.loads(lab.godwit("trace", "one", "--to", "10.1.0.12", "--json", check=False).stdout)
        assert trace["outcome"] == "dropped" and "drop-guard-ipv4" in trace["text"], port
        assert not lab.answers("one", "10.1.0.12")       # and that is what becomes of it
    finally:
        map_set(lab, "h1", "gw_ports", number, entry)
    assert lab.answers("one", "10.1.0.12", tries=2)
    wrong = lab.godwit("trace", "nobody", "--to", "10.1.0.12", check=False)
    assert wrong.returncode == 4 and "godwit vm list" in wrong.stderr


def bpf_ports(lab, host):
    dump = json.loads(bpftool("-j", "map", "dump", "pinned", pinned(lab, host, "gw_ports")))
    return [int.from_bytes(bytes(int(b, 16) for b in e["key"]), sys.byteorder) for e in dump]


def test_authority_says_what_it_would_answer(lab):
    """The edge has forgotten: the trace tells that it would ask, and what it would hear."""
    lab.api("POST", "/v1/repair", {"entries": [{"vni": vni_of(lab), "mac": mac_of(lab, "far")}]},
            socket_path=f"{lab.folder}/hosts/h1/nve.sock")
    trace = json.loads(lab.godwit("trace", "one", "--to", "10.1.0.13", "--json").stdout)
    assert trace["outcome"] == "delivered"
    words = [s["verdict"] for h in trace["hops"] for s in h["steps"]]
    assert "wait" in words or all(w == "pass" for w in words)     # it may have been told again in between
    assert lab.answers("one", "10.1.0.13", tries=2)


@pytest.mark.parametrize("lab", ["4"], indirect=True, ids=["underlay4"])    # nothing of it depends on the underlay
def test_the_authority_audits_by_itself_and_repairs_nothing(lab):
    """Last, since the authority is started anew, with another interval."""
    clean(lab)
    with open(f"{lab.folder}/nva/nva.conf", "a", encoding="utf-8") as file:
        file.write("audit-interval-s = 1\n")
    lab.lab("kill", "nva", "nva")
    lab.lab("start", "nva", "nva")
    lab.lab("wait")

    def last():
        return lab.get("/v1/audit")
    wait_until("nothing contradicts", lambda: (r := last())["clean"] and r["nves"] == 3)
    misdirect(lab, "h1", "two", locator(lab, "h3"))
    report = wait_until("the wrong entry is found", lambda: (r := last())["contradictions"] == 1 and r)
    assert report["findings"][0]["nve"] == "h1" and report["repaired"] == 0
    assert "1 contradict" in lab.godwit("audit", "--last", check=False).stdout
    assert "contradict" in wait_until("the log says so", lambda: (t := log_of(lab)) and "contradict" in t and t)
    assert audit(lab, "--repair")[1]["repaired"] == 1
    wait_until("nothing contradicts any more", lambda: last()["clean"])


def log_of(lab):
    with open(f"{lab.folder}/nva/nva.log", encoding="utf-8") as file:
        return file.read()
