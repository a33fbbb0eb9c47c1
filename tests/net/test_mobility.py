# SPDX-License-Identifier: Apache-2.0
"""A real authority and real edges that talk by Mobility Headers: a VM's life in a laboratory, captured at the authority.

    h1 ---+--- h2      web: created at h1, asked for again, moved to h2, stopped; the sessions stay, for questions
          |
         nva           `registration-transport = mobility-header` at both hosts

Over an IPv6 underlay both hosts use protocol 135. Over an IPv4 one h1 uses UDP, and h2 an IPv6 address beside its locator, so that
the authority takes both.
"""
import os
import shutil
import socket
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import labs  # noqa: E402

import dissect  # noqa: E402
import mobility_peer as mp  # noqa: E402
import nve_world as nw  # noqa: E402

BUILD = os.environ.get("GW_BUILD", "build")
NEEDED = [os.path.join(BUILD, p) for p in ("src/cli/godwit", "src/nva/godwit-nva", "src/nve/godwit-nve", "src/hv/godwit-hv",
                                           "lab/synth/godwit-synth")]
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(not all(map(os.path.exists, NEEDED)), reason="needs the daemons built"),
    pytest.mark.skipif(not shutil.which("tshark"), reason="needs tshark"),
]

OWN, NVA = {}, {}       # where the Mobility Headers of each host come from and go to
KEYS = {"h1": mp.Key(256, bytes(range(16))), "h2": mp.Key(257, bytes(range(50, 82)), "hmac-sha256")}
BAD = ("bad-", "drop-", "forged", "replayed", "unknown-type", "refused-")


def write_keys(path, lines):
    with open(path, "w", encoding="ascii") as file:
        file.write("".join(lines))
    os.chmod(path, 0o600)


def configure(lab):
    """Adds the second transport to a laboratory that has come up without it."""
    net = "fd99::" if lab.underlay == 6 else "fd88::"
    OWN.update({"h1": "fd99::1" if lab.underlay == 6 else "10.99.0.1", "h2": f"{net}2"})
    NVA.update({"h1": "fd99::254" if lab.underlay == 6 else "10.99.0.254", "h2": f"{net}254"})
    write_keys(f"{lab.folder}/nva/keys", [key.line(OWN[host], host) for host, key in KEYS.items()])
    with open(f"{lab.folder}/nva/nva.conf", "a", encoding="ascii") as conf:
        conf.write(f"registration-listen = {' '.join(sorted(set(NVA.values())))}\nregistration-keys = {lab.folder}/nva/keys\n"
                   "registration-window-ms = 10000\n")
    if lab.underlay == 4:
        for space, address in ("nva", NVA["h2"]), ("h2", OWN["h2"]):
            nw.run("ip", "-n", f"gw-{lab.name}-{space}", "address", "add", f"{address}/64", "dev", "eth0", "nodad")
    for host, key in KEYS.items():
        folder = f"{lab.folder}/hosts/{host}"
        write_keys(f"{folder}/keys", [key.line(NVA[host], "nva")])
        with open(f"{folder}/nve.conf", "a", encoding="ascii") as conf:
            conf.write(f"registration-transport = mobility-header\nregistration-nva = {NVA[host]}\nheartbeat-ms = 300\n"
                       f"registration-keys = {folder}/keys\nregistration-address = {OWN[host]}\n"
                       "registration-window-ms = 10000\n")
    again(lab, ("nva", "nva"), ("h1", "nve"), ("h2", "nve"))


def again(lab, *daemons):
    for host, daemon in daemons:
        lab.lab("kill", host, daemon)
    for host, daemon in daemons:
        lab.lab("start", host, daemon)
    lab.lab("wait")


@pytest.fixture(scope="module", params=[4, 6], ids=["underlay4", "underlay6"])
def lab(request):
    with labs.Lab("mob%d" % os.getpid(), hosts=2, underlay=request.param, accelerator="tcg") as made:
        configure(made)
        made.godwit("vn", "create", "blue", "--subnet", "10.1.0.0/24", "--subnet", "fd00:1::/64")
        yield made


def binding(lab):
    return lab.get("/v1/bindings/web")


def counts(lab, host):
    return lab.edge(host, "/v1/counters")["mobility"]


def serves(lab, host):
    labs.wait_until(f"web is registered at {host}", lambda: binding(lab)["state"] == "serving" and binding(lab)["nve"] == host
                    and any(b["vm"] == "web@default" and b["role"] == "serving" and b["state"] == "accepted"
                            for b in lab.edge(host, "/v1/bindings")["bindings"]))


def whole_life(lab):
    lab.lab("vm", "add", "web", "--vn", "blue", "--ip", "10.1.0.10", "--ip", "fd00:1::10", "--on", "h1", "--synthetic")
    serves(lab, "h1")
    before = {host: counts(lab, host)["notifications"] for host in OWN}
    again(lab, ("nva", "nva"))                                  # asks for all registrations anew
    labs.wait_until("both edges were asked", lambda: all(counts(lab, host)["notifications"] > before[host] for host in OWN))
    serves(lab, "h1")
    lab.godwit("vm", "move", "web", "--to", "h2")
    serves(lab, "h2")
    labs.wait_until("h1 has answered", lambda: binding(lab)["previous"][-1]["notice"]["state"] == "answered")
    seen = binding(lab), lab.vm("web")
    lab.godwit("vm", "stop", "web", "--force")
    labs.wait_until("h2 holds it no more", lambda: not any(b["role"] == "serving"
                                                           for b in lab.edge("h2", "/v1/bindings")["bindings"]))
    return seen


def split(messages):
    """What was said between the authority and each host: (host, from the authority?, decoded)."""
    address = {own: host for host, own in OWN.items()}
    for source, target, octets in messages:
        down = source in NVA.values()
        host = address[target if down else source]
        yield host, down, mp.Reply(octets, source, target)


def test_life_between_our_own_daemons(lab):
    path = f"{lab.folder}/life.pcap"
    with nw.netns(f"gw-{lab.name}-nva"):
        capture = dissect.Capture("eth0")
    place, vm = whole_life(lab)
    status = lab.get("/v1/status")["mobility"]
    edges = {host: counts(lab, host) for host in OWN}
    capture.write(path)

    # tshark finds no fault with any of it, and reads what the peer that knows nothing of our code reads.
    assert not dissect.malformed(path)
    rows = [row for row in dissect.dissect(path) if row["mip6.mhtype"]]
    said = list(split(capture.exchanged))
    assert len(rows) == len(said)
    for row, (_, _, message) in zip(rows, said):
        dissect.agree(row, message)

    # Everything is signed with the key of that host, and for the address of who asked: an answer for its receiver's.
    for host, down, message in said:
        answer = message.type in (mp.BA, mp.UPA) or message.type == mp.HEARTBEAT and message.flags & 1
        asker = NVA[host] if down != bool(answer) else OWN[host]
        assert message.signed_by(KEYS[host], asker), (host, down, message.octets.hex())

    # Every type that goes each way; each Request is answered with its own number, and each heartbeat.
    kinds = {(down, message.type) for _, down, message in said}
    assert kinds >= {(False, mp.BU), (True, mp.BA), (True, mp.BU), (False, mp.BA), (True, mp.UPN),
                     (False, mp.HEARTBEAT), (True, mp.HEARTBEAT)}, kinds
    assert not {kind for _, kind in kinds} & {mp.ERROR}
    for host in OWN:
        for down in (False, True):
            asked = {m.sequence for h, d, m in said if h == host and d == down and m.type == mp.BU}
            answered = {m.sequence for h, d, m in said if h == host and d != down and m.type == mp.BA}
            assert asked >= answered, (host, down)
    assert all(message.status == 0 for _, _, message in said if message.type == mp.BA)

    # What the messages say is what both daemons' interfaces say.
    port, requests = vm["ports"][0], [(host, m) for host, down, m in said if m.type == mp.BU and not down]
    for host, request in requests:
        assert request.options[8] == [b"\1web@default"] and request.options[25] == [b"\0\0" + nw.mac6(port["mac"])]
        assert request.options[22] == [b"\0\x80" + socket.inet_pton(socket.AF_INET6, "fd00:1::10")]
        assert request.options[36] == [b"\x80\0" + socket.inet_aton("10.1.0.10")]
        if lab.underlay == 4:       # D2 section 9: the locator, whichever address it comes from
            assert request.options[38] == [b"\0\0" + socket.inet_aton("10.99.0.1" if host == "h1" else "10.99.0.2")]
    assert requests[0][0] == "h1" and requests[0][1].options[23] == [b"\0\1"] and requests[0][1].lifetime == 900
    assert any(host == "h1" and request.options[23] == [b"\0\5"] for host, request in requests)      # asked for anew
    moved = [request for host, request in requests if host == "h2"]
    assert moved[0].options[23] == [b"\0\3"] and moved[0].epoch == place["epoch"] > requests[0][1].epoch
    assert moved[-1].lifetime == 0 and moved[-1].options[23] == [b"\0\4"]
    notices = [(host, message) for host, down, message in said if message.type == mp.BU and down]
    assert {host for host, _ in notices} == {"h1"} and all(n.epoch == place["epoch"] for _, n in notices)
    assert all(n.options[23] == [b"\0\3"] and n.lifetime == 150 for _, n in notices)

    # And nothing of it was held against anybody.
    for counted in (status, *edges.values()):
        assert not {name: n for name, n in counted.items() if n and name.startswith(BAD)}
