# SPDX-License-Identifier: Apache-2.0
"""Gateways with the real daemons: VNs joined by policy, the outside, and what happens when a gateway ends or a VM moves.

    a@h1 (blue)      h3, h4: gateways, sites east and west       out: a namespace behind h3's and h4's eth1,
    b@h2 (green)     h1 is in the east, h2 in the west           out2: another, which comes in by h4
    web (blue): a synthetic VM that moves between h1 and h2
"""
import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from labs import GODWIT, ApiError, Lab, Probe, wait_until  # noqa: E402

NVE = os.path.abspath(os.path.join(os.path.dirname(GODWIT), "../nve/godwit-nve"))
SYNTH = os.path.abspath(os.path.join(os.path.dirname(GODWIT), "../../lab/synth/godwit-synth"))
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(not (os.path.exists(GODWIT) and os.path.exists(SYNTH)), reason="needs the daemons built"),
]
BLUE, GREEN, RED = "10.1.0", "10.2.0", "10.3.0"


def ip(*words, check=True):
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=check)


def configure(lab, host, **keys):
    """Adds to a host's nve.conf and starts its edge anew."""
    with open(f"{lab.folder}/hosts/{host}/nve.conf", "a", encoding="utf-8") as file:
        file.writelines(f"{key.replace('_', '-')} = {value}\n" for key, value in keys.items())
    lab.lab("kill", host, "nve")
    lab.lab("start", host, "nve")


def guest(lab, name, host, vn, net, number):
    six = {"10.1.0": "fd00:1::", "10.2.0": "fd00:2::", "10.3.0": "fd00:3::"}[net]
    lab.lab("guest", "add", name, "--host", host, "--vn", vn, "--ip", f"{net}.{number}", "--ip", f"{six}{number:x}")
    lab.within(name, "ip", "route", "add", "default", "via", f"{net}.1", check=True)
    lab.within(name, "ip", "-6", "route", "add", "default", "via", f"{six}1", check=True)


def outside(lab):
    """A namespace that h3 and h4 reach by a bridge of their own."""
    space = f"gw-{lab.name}-g-out"
    ip("netns", "add", space)
    ip("-n", space, "link", "add", "br0", "type", "bridge", "forward_delay", "0")
    for number, host in ((3, "h3"), (4, "h4")):
        ip("-n", space, "link", "add", f"p{number}", "type", "veth", "peer", "name", "eth1", "netns",
           f"gw-{lab.name}-{host}")
        ip("-n", space, "link", "set", f"p{number}", "master", "br0", "up")
        ip("-n", f"gw-{lab.name}-{host}", "addr", "add", f"192.0.2.{number}/24", "dev", "eth1")
        ip("-n", f"gw-{lab.name}-{host}", "addr", "add", f"2001:db8::{number}/64", "dev", "eth1", "nodad")
        ip("-n", f"gw-{lab.name}-{host}", "link", "set", "eth1", "up")
    ip("-n", space, "addr", "add", "192.0.2.100/24", "dev", "br0")
    ip("-n", space, "addr", "add", "2001:db8::100/64", "dev", "br0", "nodad")
    ip("-n", space, "link", "set", "br0", "up")
    ip("-n", space, "link", "set", "lo", "up")
    ip("-n", space, "route", "add", "10.1.0.0/24", "via", "192.0.2.3")
    ip("-n", space, "route", "add", "fd00:1::/64", "via", "2001:db8::3")
    second = f"{space}2"
    ip("netns", "add", second)
    ip("-n", space, "link", "add", "p2", "type", "veth", "peer", "name", "eth0", "netns", second)
    ip("-n", space, "link", "set", "p2", "master", "br0", "up")
    for address in ("192.0.2.101/24", "2001:db8::101/64"):
        ip("-n", second, "addr", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))
    ip("-n", second, "link", "set", "eth0", "up")
    ip("-n", second, "route", "add", "10.1.0.0/24", "via", "192.0.2.4")
    ip("-n", second, "route", "add", "fd00:1::/64", "via", "2001:db8::4")
    return [space, second]


@pytest.fixture(scope="module", params=["4", "6"], ids=["underlay4", "underlay6"])
def lab(request):
    with Lab(f"gt{request.param}x{os.getpid() % 10000}", hosts=4, underlay=request.param) as world:
        spaces = [f"gw-{world.name}-g-out", f"gw-{world.name}-g-out2"]
        try:
            outside(world)
            configure(world, "h1", site="east")
            configure(world, "h2", site="west")
            configure(world, "h3", site="east", role="gateway", gateway_cost=10, outside_device="eth1")
            configure(world, "h4", site="west", role="gateway", gateway_cost=10, outside_device="eth1")
            world.lab("wait")
            world.godwit("tenant", "create", "other")
            for vn, net, six in (("blue", BLUE, "fd00:1::"), ("green", GREEN, "fd00:2::"), ("red", RED, "fd00:3::")):
                world.godwit("vn", "create", vn, "--subnet", f"{net}.0/24", "--subnet", f"{six}/64", "--gateway", f"{net}.1",
                             "--gateway", f"{six}1")
            guest(world, "a", "h1", "blue", BLUE, 11)
            guest(world, "b", "h2", "green", GREEN, 12)
            guest(world, "c", "h1", "red", RED, 13)
            yield world
        finally:
            for space in spaces:
                ip("netns", "del", space, check=False)


@pytest.fixture
def joined(lab):
    """A policy between blue and green for the time of a test."""
    lab.godwit("policy", "create", "join", "--from", "blue", "--to", "green")
    wait_until("blue reaches green", lambda: lab.answers("a", f"{GREEN}.12") and lab.answers("a", "fd00:2::c"))
    wait_until("both gateways serve", lambda: all(state(lab, host) == "live" for host in ("h3", "h4")))
    yield lab
    lab.godwit("policy", "delete", "join")


def locator(lab, host):
    return lab.get(f"/v1/nves/{host}")["locator"]


def chosen(lab, host, vn, vni=None):
    vni = vni or lab.get(f"/v1/vns/{vn}")["vni"]
    return next((c["gateway"] for c in lab.edge(host, "/v1/gateway")["chosen"] if c["vni"] == vni), None)


def state(lab, host):
    """Of a gateway: away, arriving (nobody goes over to it yet) or live."""
    gateway = next(g for g in lab.get("/v1/gateways")["gateways"] if g["nve"] == host)
    return "away" if not gateway["live"] else "arriving" if gateway["arriving"] else "live"


def counters(lab, host):
    both = lab.edge(host, "/v1/counters")
    return {**both["datapath"], **both["edge"]}


def trace(lab, vm, to):
    return json.loads(lab.godwit("trace", vm, "--to", to, "--json", check=False).stdout)


def said(traced, nve, step):
    """What an edge (or "", the authority) said in one step."""
    return next(s for h in traced["hops"] if h["nve"] == nve for s in h["steps"] if s["step"] == step)


def test_nothing_is_routed_without_a_policy(lab):
    assert not lab.answers("a", f"{GREEN}.12") and not lab.answers("a", "fd00:2::c")
    assert lab.get("/v1/policies")["policies"] == []
    traced = trace(lab, "a", f"{GREEN}.12")
    assert traced["outcome"] == "dropped" and "no policy lets packets leave" in traced["text"]
    assert "do not reach each other" in lab.godwit("policy", "list").stdout


def test_a_policy_joins_two_vns(joined):
    lab = joined
    assert lab.answers("b", f"{BLUE}.11") and lab.answers("b", "fd00:1::b")
    assert lab.answers("a", f"{BLUE}.1") and lab.answers("a", "fd00:1::1")           # the gateway itself
    assert not lab.answers("a", f"{RED}.13") and not lab.answers("c", f"{GREEN}.12")  # no policy says so
    hops = lab.within("a", "ping", "-c", "1", "-W", "1", f"{GREEN}.12").stdout
    assert "ttl=63" in hops                                       # one gateway on the way back, and one there
    # Each host uses the gateway of its own site.
    assert chosen(lab, "h1", "blue") == locator(lab, "h3") and chosen(lab, "h2", "green") == locator(lab, "h4")
    listed = {g["nve"]: g for g in lab.get("/v1/gateways")["gateways"]}
    assert {"vn": "blue@default", "nve": "h1"} in listed["h3"]["used_by"] and listed["h4"]["live"]
    assert "h1:blue@default" in lab.godwit("gateway", "list").stdout
    assert lab.godwit("audit", check=False).returncode == 0 or wait_until(
        "the audit is clean", lambda: lab.godwit("audit", check=False).returncode == 0)


@pytest.mark.parametrize("family", ["4", "6"])
def test_trace_follows_a_packet_through_a_gateway(joined, family):
    """Hop by hop: the edge, the policy, which gateway and why, the gateway's own steps, the owner's edge."""
    lab = joined
    owner, gateway, nobody, other = ((f"{GREEN}.12", f"{BLUE}.1", f"{GREEN}.99", f"{RED}.13") if family == "4" else
                                     ("fd00:2::c", "fd00:1::1", "fd00:2::63", "fd00:3::d"))
    traced = trace(lab, "a", owner)
    assert traced["outcome"] == "delivered" and traced["text"] == "delivered to b-0@default at h2", traced
    assert [h["nve"] for h in traced["hops"]] == ["", "", "h1", "h3", "h2"]
    steps = [[s["step"] for s in h["steps"]] for h in traced["hops"]]
    assert steps == [["policy"], ["gateway"], ["port", "guard", "neighbour", "size", "gateway", "forwarding", "underlay"],
                     ["sender", "forwarding", "source", "way", "size", "neighbour", "forwarding", "underlay"],
                     ["sender", "forwarding", "port"]]
    assert all(s["verdict"] == "pass" for h in traced["hops"] for s in h["steps"])
    assert "policy join: blue@default may reach green@default" in said(traced, "", "policy")["text"]
    why = said(traced, "", "gateway")["text"]
    assert "h1 takes h3: h3 costs 10;" in why and "h4 costs 1010 from another site" in why
    assert "which is used, costs 10" in said(traced, "h1", "gateway")["text"]
    assert "is a gateway of VNI" in said(traced, "h2", "sender")["text"]
    assert lab.godwit("trace", "a", "--to", owner).returncode == 0
    traced = trace(lab, "a", gateway)                            # the gateway itself
    assert traced["outcome"] == "answered" and traced["text"] == "answered by the gateway h3"
    traced = trace(lab, "a", other)                              # no policy: the gateway says no
    assert traced["outcome"] == "dropped" and "gateway-prohibited" in traced["text"]
    assert "no policy lets packets of blue@default reach" in said(traced, "", "policy")["text"]
    assert "dropped at h3" in traced["text"] and said(traced, "h3", "way")["verdict"] == "drop"
    traced = trace(lab, "a", nobody)                             # the gateway would ask, and hear no
    assert traced["outcome"] == "dropped" and "nobody has it" in traced["text"]
    assert said(traced, "h3", "neighbour")["verdict"] == "wait" and "no port there" in said(traced, "", "policy")["text"]
    assert lab.godwit("trace", "a", "--to", nobody, check=False).returncode == 1


@pytest.mark.parametrize("family", ["4", "6"])
def test_errors_of_a_router(joined, family):
    lab = joined
    target, gateway, other = ((f"{GREEN}.12", f"{BLUE}.1", f"{RED}.13") if family == "4" else
                              ("fd00:2::c", "fd00:1::1", "fd00:3::d"))
    far = lab.within("a", "ping", "-c", "1", "-W", "1", "-t", "1", target).stdout
    assert f"From {gateway}" in far and "exceeded" in far
    denied = lab.within("a", "ping", "-c", "1", "-W", "1", other).stdout
    assert f"From {gateway}" in denied and ("filtered" in denied or "prohibited" in denied)
    grown = counters(lab, "h3")
    assert grown["gateway-exceeded"] >= 1 and grown["gateway-prohibited"] >= 1


@contextlib.contextmanager
def echo(lab, guest):
    server = subprocess.Popen([GODWIT, "probe", "--serve", "--port", "7", "--netns", f"gw-{lab.name}-g-{guest}"],
                              stdout=subprocess.PIPE, text=True)
    try:
        assert "serving" in server.stdout.readline()
        yield
    finally:
        server.terminate()
        server.wait()


def test_large_packets_and_tcp_pass(joined):
    lab = joined
    size = lab.get("/v1/vns/green")["mtu"] - 28
    assert lab.within("a", "ping", "-c", "1", "-W", "1", "-M", "do", "-s", str(size), f"{GREEN}.12").returncode == 0
    with echo(lab, "b"):
        done = subprocess.run([GODWIT, "probe", f"{GREEN}.12", "fd00:2::c", "--tcp", "--netns", f"gw-{lab.name}-g-a",
                               "--duration", "1", "--json"], capture_output=True, text=True, check=True)
        total = json.loads(done.stdout)["total"]
        assert total["lost"] == 0 and total["tcp_alive"] == 2


def test_outside(lab):
    assert not lab.answers("a", "192.0.2.100")
    lab.godwit("policy", "create", "world", "--from", "blue", "--outside")
    try:
        wait_until("blue reaches the outside", lambda: lab.answers("a", "192.0.2.100") and lab.answers("a", "2001:db8::100"))
        assert lab.answers("out", f"{BLUE}.11") and lab.answers("out", "fd00:1::b")
        assert not lab.answers("out", f"{GREEN}.12")
        for address in ("192.0.2.100", "2001:db8::100"):
            traced = trace(lab, "a", address)
            assert traced["outcome"] == "outside" and traced["text"] == "leaves by eth1 of the gateway h3"
            assert "may reach the outside" in said(traced, "", "policy")["text"]
        # Nobody outside is a VM: a packet with a VM's address that comes from there is dropped.
        space = f"gw-{lab.name}-g-out"
        before = counters(lab, "h3")["drop-gateway-source"]
        ip("-n", space, "addr", "add", f"{BLUE}.77/32", "dev", "lo")
        lab.within("out", "ping", "-c", "1", "-W", "1", "-I", f"{BLUE}.77", f"{BLUE}.11")
        ip("-n", space, "addr", "del", f"{BLUE}.77/32", "dev", "lo")
        assert counters(lab, "h3")["drop-gateway-source"] > before
    finally:
        lab.godwit("policy", "delete", "world")
    assert not lab.answers("a", "192.0.2.100")                    # at once: it answers when the gateways have taken it


def test_a_gateway_that_does_not_take_a_change_is_named(joined):
    lab = joined
    lab.lab("kill", "h3", "nve")
    wait_until("it is missed", lambda: state(lab, "h3") == "away")
    try:
        said = lab.godwit("policy", "create", "more", "--from", "blue", "--to", "red")
        assert "more created" in said.stdout and "not taken yet" in said.stderr and "h3" in said.stderr
        assert lab.api("DELETE", "/v1/policies/more") == {"untold": ["h3"]}
    finally:
        with contextlib.suppress(RuntimeError):
            lab.lab("start", "h3", "nve")
        lab.lab("wait")
    wait_until("h1 uses its own again", lambda: chosen(lab, "h1", "blue") == locator(lab, "h3"), timeout_s=20)
    assert not lab.godwit("policy", "create", "more", "--from", "blue", "--to", "red").stderr
    assert not lab.godwit("policy", "delete", "more").stderr


def test_the_vms_beside_a_gateway_go_on_when_it_is_forbidden_and_allowed(joined):
    """They always use the gateway of their own host: as long as it routes, and before it does, its frames are taken."""
    lab = joined
    guest(lab, "d", "h3", "blue", BLUE, 14)
    try:
        with echo(lab, "b"):
            wait_until("they reach green", lambda: lab.answers("d", f"{GREEN}.12") and lab.answers("d", "fd00:2::c"))
            probe = Probe(lab, "d", [f"{GREEN}.12", "fd00:2::c"], rate=1000, tcp=False)
            try:
                lab.godwit("nve", "set", "h3", "--gateway", "forbidden")
                wait_until("it routes nothing", lambda: chosen(lab, "h3", "blue") == locator(lab, "h4"), timeout_s=20)
                wait_until("it is none", lambda: not lab.edge("h3", "/v1/gateway")["routed"]["vns"])
            finally:
                total = probe.stop()["total"]
                probe = Probe(lab, "d", [f"{GREEN}.12", "fd00:2::c"], rate=1000, tcp=False)
                lab.signal("h2", "nve", signal.SIGSTOP)           # b's edge is slow to hear of it
                try:
                    lab.godwit("nve", "set", "h3", "--gateway", "allowed")
                    time.sleep(0.3)
                finally:
                    lab.signal("h2", "nve", signal.SIGCONT)
            try:
                wait_until("it is back", lambda: chosen(lab, "h3", "blue") == locator(lab, "h3") and
                           state(lab, "h3") == "live", timeout_s=20)
            finally:
                back = probe.stop()["total"]
            assert total["lost"] == 0 and back["lost"] == 0, (total, back)
    finally:
        lab.lab("guest", "delete", "d")


def starts_empty(lab, host):
    """One that was killed, as after a start of its machine: the data plane knows nobody."""
    subprocess.run(["ip", "netns", "exec", f"gw-{lab.name}-{host}", NVE, "--config", f"{lab.folder}/hosts/{host}/nve.conf",
                    "--flush"], check=True, capture_output=True)
    lab.lab("start", host, "nve")


def test_a_gateway_that_comes_is_used_when_it_is_ready(joined):
    """Nobody goes over to it before it knows the members of its VNs and they know it: not a packet is lost."""
    lab = joined

    def uses(host):
        wait_until(f"h1 uses {host}", lambda: chosen(lab, "h1", "blue") == locator(lab, host), timeout_s=20)

    with echo(lab, "b"):
        uses("h3")
        probe = Probe(lab, "a", [f"{GREEN}.12", "fd00:2::c"], tcp=False)
        try:
            for _ in range(3):
                lab.godwit("nve", "set", "h3", "--gateway", "forbidden")
                uses("h4")
                lab.godwit("nve", "set", "h3", "--gateway", "allowed")
                uses("h3")
        finally:
            lab.godwit("nve", "set", "h3", "--gateway", "allowed")
            seen = probe.stop()
        assert seen["total"]["lost"] == 0, seen["total"]
        lab.lab("kill", "h3", "nve")
        try:
            uses("h4")
            probe = Probe(lab, "a", [f"{GREEN}.12", "fd00:2::c"], tcp=False)
        finally:
            starts_empty(lab, "h3")
            lab.lab("wait")
        try:
            uses("h3")
        finally:
            seen = probe.stop()
        assert seen["total"]["lost"] == 0, seen["total"]


def test_a_gateway_that_ends_is_replaced(joined):
    lab = joined
    for end in ("kill", "stop"):
        assert chosen(lab, "h1", "blue") == locator(lab, "h3")
        if end == "kill":
            lab.lab("kill", "h3", "nve")
        else:
            lab.signal("h3", "nve", signal.SIGTERM)
        wait_until("h1 uses the other one", lambda: chosen(lab, "h1", "blue") == locator(lab, "h4"), timeout_s=20)
        assert lab.answers("a", f"{GREEN}.12", tries=3) and lab.answers("a", "fd00:2::c", tries=3)
        with contextlib.suppress(RuntimeError):
            lab.lab("start", "h3", "nve")
        lab.lab("wait")
        wait_until("h1 uses its own again", lambda: chosen(lab, "h1", "blue") == locator(lab, "h3"), timeout_s=20)
        wait_until("blue reaches green", lambda: lab.answers("a", f"{GREEN}.12"))


@contextlib.contextmanager
def cut_path(lab, host, gateway):
    """What this host sends to that gateway goes to nobody; all sessions with the authority stay."""
    space, to = f"gw-{lab.name}-{host}", locator(lab, gateway)
    ip("-n", space, "neigh", "replace", to, "lladdr", "02:00:00:00:77:77", "dev", "eth0", "nud", "permanent")
    try:
        yield
    finally:
        ip("-n", space, "neigh", "del", to, "dev", "eth0", check=False)


def path(lab, host, gateway):
    return next(p for p in lab.edge(host, "/v1/gateway")["paths"] if p["gateway"] == locator(lab, gateway))


def test_a_gateway_that_does_not_answer_is_left_without_the_authority(joined):
    """The path is cut, not the session, and the authority stands still: the edge sees it by itself."""
    lab, rate = joined, 500
    near, far, vni = locator(lab, "h3"), locator(lab, "h4"), lab.get("/v1/vns/blue")["vni"]
    wait_until("both answer", lambda: all(path(lab, "h1", g)["state"] == "good" and "rtt_us" in path(lab, "h1", g)
                                          for g in ("h3", "h4")))
    assert lab.edge("h3", "/v1/gateway")["paths"] == []          # a gateway is its own
    answered = counters(lab, "h3")["path-answered"]
    with echo(lab, "b"):
        probe = Probe(lab, "a", [f"{GREEN}.12", "fd00:2::c"], rate=rate, tcp=False)
        with cut_path(lab, "h1", "h3"):
            lab.signal("nva", "nva", signal.SIGSTOP)
            try:
                wait_until("h1 has left it", lambda: chosen(lab, "h1", "blue", vni) == far)
                wait_until("packets pass", lambda: lab.answers("a", f"{GREEN}.12") and lab.answers("a", "fd00:2::c"))
            finally:
                lab.signal("nva", "nva", signal.SIGCONT)
            total = probe.stop()["total"]
            window_ms = total["lost"] * 1000 / (2 * rate)
            print(f"the path was cut: {total['lost']} of {total['sent']} packets lost, {window_ms:.0f} ms")
            assert total["lost"] > 0 and window_ms < 5000, total     # a session that ends takes 15 s
            assert path(lab, "h1", "h3")["state"] == "lost"
            wait_until("the authority knows", lambda: lab.get("/v1/nves/h1")["gateways_unreached"] == [near])
            gateways = {g["nve"]: g for g in lab.get("/v1/gateways")["gateways"]}
            assert gateways["h3"]["live"] and {"vn": "blue@default", "nve": "h1"} in gateways["h4"]["used_by"]
            assert lab.get("/v1/nves/h2")["gateways_unreached"] == [] and near in lab.godwit("nve", "show", "h1").stdout
            traced = trace(lab, "a", f"{GREEN}.12")
            assert traced["outcome"] == "delivered" and "h3 does not answer it" in said(traced, "", "gateway")["text"]
            assert "and does not answer" in said(traced, "h1", "gateway")["text"]
        probe = Probe(lab, "a", [f"{GREEN}.12", "fd00:2::c"], rate=rate)
        wait_until("h1 uses its own again", lambda: chosen(lab, "h1", "blue") == near)
        total = probe.stop()["total"]
    assert total["lost"] == 0, total                            # going back costs nothing
    assert counters(lab, "h3")["path-answered"] > answered and counters(lab, "h1")["paths-lost"] >= 1
    wait_until("the authority knows", lambda: lab.get("/v1/nves/h1")["gateways_unreached"] == [])


def test_pinned_gateway_is_kept(joined):
    lab = joined
    lab.godwit("gateway", "pin", "blue", "h4")
    wait_until("h1 uses the pinned one", lambda: chosen(lab, "h1", "blue") == locator(lab, "h4"))
    assert lab.get("/v1/vns/blue")["gateway_pin"] == "h4"
    assert lab.answers("a", f"{GREEN}.12")
    lab.godwit("gateway", "unpin", "blue")
    wait_until("h1 uses the nearest", lambda: chosen(lab, "h1", "blue") == locator(lab, "h3"))
    with pytest.raises(ApiError):
        lab.api("PUT", "/v1/vns/blue/pin", {"nve": "h1"})         # not a gateway


@pytest.fixture(scope="module")
def web(lab):
    """A synthetic VM on h1."""
    lab.lab("vm", "add", "web", "--vn", "blue", "--ip", f"{BLUE}.20", "--ip", "fd00:1::14", "--on", "h1", "--synthetic")
    pid = wait_until("the guest has a namespace", lambda: lab.keeper("web"))
    for family, via in (("-4", f"{BLUE}.1"), ("-6", "fd00:1::1")):
        subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", "ip", family, "route", "add", "default", "via", via],
                       check=True)
    yield [f"{BLUE}.20", "fd00:1::14"]
    lab.godwit("vm", "stop", "web", "--force", check=False)


def move_web(lab, *places):
    for to in places:
        assert lab.moved(lab.move("web", to))["result"] == "ok"


def planned_gateway(lab, to):
    plan = lab.api("POST", "/v1/vms/web/plan", {"to": to})
    return next(c["reason"] for c in plan["checks"] if c["check"] == "gateway")


def test_after_a_move_the_nearest_gateway_is_used_and_nothing_is_lost(joined, web):
    lab = joined
    wait_until("green reaches web", lambda: all(lab.answers("b", address) for address in web))
    probe = Probe(lab, "b", web, rate=500)
    move_web(lab, "h2", "h1", "h2")
    report = probe.stop()
    assert report["total"]["lost"] == 0 and report["total"]["tcp_alive"] == 2, report["total"]
    assert chosen(lab, "h2", "blue") == locator(lab, "h4")     # the choice was made again
    assert "use h3" in planned_gateway(lab, "h1")
    move_web(lab, "h1")


def test_where_the_gateway_may_not_change_it_is_kept_through_moves_and_shown(joined, web):
    lab = joined
    lab.godwit("gateway", "pin", "blue", "h3")
    try:
        wait_until("green reaches web", lambda: all(lab.answers("b", address) for address in web))
        planned = planned_gateway(lab, "h2")
        assert "use h3" in planned and "pinned to h3" in planned, planned
        probe = Probe(lab, "b", web, rate=500)
        move_web(lab, "h2")
        assert chosen(lab, "h2", "blue") == locator(lab, "h3")  # of another site, and kept
        routed = counters(lab, "h3")["gateway-routed"]
        wait_until("h3 routes what web sends from h2", lambda: counters(lab, "h3")["gateway-routed"] > routed + 100)
        shown = json.loads(lab.godwit("vn", "show", "blue", "--json").stdout)
        assert shown["gateway_pin"] == "h3" and "h3" in lab.godwit("vn", "show", "blue").stdout
        traced = trace(lab, "web", f"{GREEN}.12")
        assert "h2 takes h3" in said(traced, "", "gateway")["text"] and "pinned" in said(traced, "", "gateway")["text"]
        lab.godwit("gateway", "unpin", "blue")                  # under load, and nothing is lost of it either
        wait_until("h2 uses the nearest", lambda: chosen(lab, "h2", "blue") == locator(lab, "h4"))
        report = probe.stop()
        assert report["total"]["lost"] == 0 and report["total"]["tcp_alive"] == 2, report["total"]
        move_web(lab, "h1")
    finally:
        lab.godwit("gateway", "unpin", "blue", check=False)


def test_several_hosts_outside_keep_their_traffic_when_a_move_changes_the_gateway(joined, web):
    """One comes in by h3, the other by h4, whatever web's edge uses for the way back; web's own way out changes with its place."""
    lab = joined
    lab.godwit("policy", "create", "world", "--from", "blue", "--outside")
    try:
        wait_until("both reach web", lambda: all(lab.answers(out, address) for out in ("out", "out2") for address in web))
        probes = [Probe(lab, out, web, rate=300) for out in ("out", "out2")]
        for to, gateway in (("h2", "h4"), ("h1", "h3")):
            move_web(lab, to)
            wait_until("the nearest is used", lambda t=to, g=gateway: chosen(lab, t, "blue") == locator(lab, g))
            before = counters(lab, gateway)["gateway-out"]
            wait_until("it takes what web sends out", lambda g=gateway, b=before: counters(lab, g)["gateway-out"] > b + 100)
        for probe in probes:
            total = probe.stop()["total"]
            assert total["lost"] == 0 and total["tcp_alive"] == 2 and total["sent"] > 500, total
    finally:
        lab.godwit("policy", "delete", "world")


def test_policies_refuse_what_cannot_be(lab):
    lab.godwit("vn", "create", "twin@other", "--subnet", f"{BLUE}.0/24", "--gateway", f"{BLUE}.1")
    clash = lab.godwit("policy", "create", "no", "--from", "blue", "--to", "twin@other", check=False)
    assert clash.returncode == 1 and "nobody could say which is meant" in clash.stderr
    assert lab.godwit("policy", "create", "no", "--from", "blue", "--to", "blue", check=False).returncode == 1
    lab.godwit("policy", "create", "yes", "--from", "green", "--to", "red", "--one-way")
    held = lab.godwit("vn", "delete", "green", check=False)
    assert held.returncode == 1 and "policy yes" in held.stderr
    assert "->" in lab.godwit("policy", "list").stdout
    lab.godwit("policy", "delete", "yes")
