#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bench arp: what ARP and ND cost at the edge, and what they cost the underlay, beside the peers in the same run.

  godwit   two hosts of a laboratory: real daemons, the authority's directory
  bridge   Linux bridge + VXLAN on each host, flood and learn
  evpn     the same with FRR EVPN and ARP suppression: learning off, neigh_suppress on, an SVI that learns from gratuitous
           ARP, so that bgpd can advertise MAC and address

1,000 VMs are 1,000 addresses behind 64 ports, 32 on each host, 16 addresses on each (the last ports fewer). Each port is a
namespace guest. Every VM asks for 32 others, the same for all who take part, by a broadcast ARP request that is built and
sent into the guest's end of its port; each guest's kernel answers for its own addresses as usual. Packets are counted in the
underlay's bridge by a packet filter in the kernel. README.md says what each figure is.
"""
import argparse
import contextlib
import ctypes
import json
import os
import random
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import labs  # noqa: E402
import peers  # noqa: E402
import record  # noqa: E402

VMS, PORTS_OF_A_HOST, ADDRESSES, ASKED_BY_EACH = 1000, 32, 16, 32
ETH_P_ALL, ETH_P_ARP = 3, 0x0806
SOL_PACKET, PACKET_STATISTICS, SO_ATTACH_FILTER = 263, 6, 26
QUIET_S, QUESTIONS_PER_S = 1.0, 2000


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


def enter(descriptor):
    if LIBC.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def inside(namespace):
    back = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        enter(there)
        yield
    finally:
        enter(back)
        os.close(there)
        os.close(back)


def filtered(sock, program):
    """Attaches a classic BPF program [(code, jt, jf, k)]."""
    code = b"".join(struct.pack("HBBI", *step) for step in program)
    buffer = ctypes.create_string_buffer(code)
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(program), ctypes.addressof(buffer)))


# UDP to port 4789 over IPv4; ARP replies that come in (SKF_AD_PKTTYPE is not PACKET_OUTGOING).
VXLAN = [(0x28, 0, 0, 12), (0x15, 0, 6, 0x0800), (0x30, 0, 0, 23), (0x15, 0, 4, 17), (0xb1, 0, 0, 14), (0x48, 0, 0, 16),
         (0x15, 0, 1, 4789), (0x06, 0, 0, 128), (0x06, 0, 0, 0)]
ARP_REPLY = [(0x30, 0, 0, 0xfffff004), (0x15, 5, 0, 4), (0x28, 0, 0, 12), (0x15, 0, 3, ETH_P_ARP), (0x28, 0, 0, 20),
             (0x15, 0, 1, 2), (0x06, 0, 0, 64), (0x06, 0, 0, 0)]


class Counter:
    """Counts the packets that a filter lets through on a device, read or not."""

    def __init__(self, namespace, device, program):
        with inside(namespace):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            filtered(self.socket, program)
            self.socket.bind((device, ETH_P_ALL))
        self.total = 0

    def count(self):
        seen, _ = struct.unpack("II", self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        self.total += seen
        return self.total


def addresses_of(port):
    first = port * ADDRESSES
    return [f"10.1.{(256 + n) >> 8}.{(256 + n) & 255}" for n in range(first, min(first + ADDRESSES, VMS))]


PORTS = [port for port in range(2 * PORTS_OF_A_HOST) if addresses_of(port)]


def host_of(port):
    return 1 + port % 2


def mac_of(namespace):
    return json.loads(peers.run("ip", "-n", namespace, "-j", "link", "show", "eth0").stdout)[0]["address"]


def arp(op, mac, source, target):
    sha = bytes.fromhex(mac.replace(":", ""))
    return (b"\xff" * 6 + sha + struct.pack("!HHHBBH", ETH_P_ARP, 1, 0x0800, 6, 4, op) + sha + socket.inet_aton(source)
            + bytes(6) + socket.inet_aton(target) + bytes(18))


class Guests:
    """The ports of one who takes part: a raw socket in each, and what comes back counted."""

    def __init__(self, namespaces):
        self.macs = {port: mac_of(namespace) for port, namespace in namespaces.items()}
        self.answers = {port: Counter(namespace, "eth0", ARP_REPLY) for port, namespace in namespaces.items()}
        self.sockets = {}
        for port, namespace in namespaces.items():
            with inside(namespace):
                self.sockets[port] = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
                self.sockets[port].bind(("eth0", 0))

    def announce(self):
        for port, sock in self.sockets.items():
            for address in addresses_of(port):
                sock.send(arp(1, self.macs[port], address, address))

    def ask(self, plan):
        """At a pace that flooding can bear: faster, the peers' guests lose most of the questions."""
        began = time.monotonic()
        for i, (port, source, target) in enumerate(plan):
            self.sockets[port].send(arp(1, self.macs[port], source, target))
            ahead = i / QUESTIONS_PER_S - (time.monotonic() - began)
            if ahead > 0.005:
                time.sleep(ahead)

    def answered(self):
        return sum(counter.count() for counter in self.answers.values())


def make_plan(seed):
    dice = random.Random(seed)
    everyone = [(port, address) for port in PORTS for address in addresses_of(port)]
    plan = [(port, address, target) for port, address in everyone
            for target_port, target in dice.sample(everyone, ASKED_BY_EACH + 2)[:ASKED_BY_EACH] if target_port != port]
    dice.shuffle(plan)
    return plan, sum(1 for port, _, target in plan if host_of(port) != host_of(port_of(target)))


def port_of(address):
    third, fourth = (int(word) for word in address.split(".")[2:])
    return ((third << 8 | fourth) - 256) // ADDRESSES


def idle(counter):
    """Until nothing has crossed for a while: what adding guests causes is not counted."""
    def quiet():
        before = counter.count()
        time.sleep(QUIET_S)
        return counter.count() - before <= 2
    labs.wait_until("the underlay is quiet", quiet, 60)


def resolve(name, guests, counters, plan):
    vxlan, everything = counters
    progress(f"{name}: {len(plan)} questions")
    idle(vxlan)
    before = (vxlan.count(), everything.count(), guests.answered())
    guests.ask(plan)
    idle(vxlan)
    after = (vxlan.count(), everything.count(), guests.answered())
    progress("")
    return {f"underlay_packets.{name}": after[0] - before[0], f"underlay_all.{name}": after[1] - before[1],
            f"answers_seen.{name}": after[2] - before[2]}


def counters_on(namespace, hosts):
    """One port of the underlay's bridge sees what its host sends and gets: with two hosts, all there is."""
    return Counter(namespace, hosts, VXLAN), Counter(namespace, hosts, [(0x06, 0, 0, 128)])


def known(lab, host):
    n, after = 0, ""
    while after is not None:
        page = lab.edge(host, f"/v1/neighbours?limit=1000{after}")
        n += sum(neighbour["address"].startswith("10.1.") for neighbour in page["neighbours"])
        after = f"&after={page['next']}" if "next" in page else None
    return n


def with_godwit(plan):
    with labs.Lab(f"a{os.getpid() % 10000}", hosts=2, accelerator="tcg") as lab:
        lab.godwit("vn", "create", "blue", "--subnet", "10.1.0.0/16")
        namespaces = {}
        for port in PORTS:
            progress(f"godwit: port {port + 1} of {len(PORTS)}")
            ips = [word for address in addresses_of(port) for word in ("--ip", address)]
            lab.lab("guest", "add", f"p{port}", "--host", f"h{host_of(port)}", "--vn", "blue", *ips)
            namespaces[port] = f"gw-{lab.name}-g-p{port}"
        for host in ("h1", "h2"):
            labs.wait_until(f"{host} knows all", lambda host=host: known(lab, host) >= VMS)
        return resolve("godwit", Guests(namespaces), counters_on(f"gw-{lab.name}-net", "h1"), plan)


class Suppressing(peers.Evpn):
    """Its SVI is in the VMs' subnet and learns neighbours from gratuitous ARP, which bgpd then advertises."""

    def build_overlay(self, n, host):
        super().build_overlay(n, host)
        self.within(host, "sysctl", "-qw", "net.ipv4.conf.br0.arp_accept=1")
        self.ip(host, "addr", "add", f"10.1.255.{n}/16", "dev", "br0")

    def suppresses(self, n):
        """How many neighbours of the other host its own bridge can answer for."""
        lines = peers.run("ip", "-n", self.host(n), "neigh", "show", "dev", "br0").stdout.splitlines()
        return sum("extern_learn" in line for line in lines)


@contextlib.contextmanager
def room_for_neighbours():
    """The kernel's neighbour tables of all namespaces together have room for 1,024 entries by default; full, they make
    the peers' guests and hosts give no answers."""
    paths = [f"/proc/sys/net/ipv4/neigh/default/gc_thresh{n}" for n in (1, 2, 3)]
    before = []
    for path in paths:
        with open(path, encoding="ascii") as file:
            before.append(file.read())
    try:
        for path in reversed(paths):
            with open(path, "w", encoding="ascii") as file:
                file.write("131072")
        yield
    finally:
        for path, value in zip(paths, before):
            with open(path, "w", encoding="ascii") as file:
                file.write(value)


def with_peer(kind, plan):
    with kind(hosts=2) as peer:
        peer.ready()
        namespaces = {}
        for port in PORTS:
            progress(f"{peer.name}: port {port + 1} of {len(PORTS)}")
            namespaces[port] = peer.add_guest(host_of(port), f"p{port}", f"52:54:00:00:03:{port:02x}",
                                              [f"{address}/16" for address in addresses_of(port)])
        guests = Guests(namespaces)
        guests.announce()
        figures = {}
        if isinstance(peer, Suppressing):
            with contextlib.suppress(TimeoutError):
                labs.wait_until("bgpd has told of the addresses", lambda: min(
                    peer.suppresses(1), peer.suppresses(2)) >= VMS // 2 - 2 * ADDRESSES, 60, 0.5)
            figures["evpn.suppressible"] = peer.suppresses(1) + peer.suppresses(2)
        return figures | resolve(peer.name, guests, counters_on(f"{peer.tag}-net", "h1"), plan)


def load(build):
    path = os.path.join(build, "bench-arp-load.json")
    done = subprocess.run([os.path.join(build, "tests/bench/arp_load"), path], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"arp_load: {done.stdout}{done.stderr}")
    with open(path, encoding="ascii") as file:
        figures = json.load(file)
    os.unlink(path)
    figures["answers_per_s"] = figures["answers_per_s.arp"]
    return figures | guards(build)


def guards(build):
    done = subprocess.run([os.path.join(build, "tests/bpf/guard_cost")], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"guard_cost: {done.stdout}{done.stderr}")
    told = json.loads(done.stdout)
    figures = {f"guard_ns.{form}": ns["guards"] for form, ns in told["forms"].items()}
    return figures | {name: told[name] for name in ("guard_ns_per_packet", "guard_ns_singly")}


def print_table(figures):
    print(f"{'':10}{'answers/s':>14}{'program':>12}{'p50':>10}{'p99':>10}")
    for kind in ("arp", "nd"):
        print(f"{kind:10}{figures[f'answers_per_s.{kind}']:>14,.0f}{figures[f'ns_per_answer.{kind}']:>9,.0f} ns"
              f"{figures[f'answer_us.{kind}.p50']:>7.1f} us{figures[f'answer_us.{kind}.p99']:>7.1f} us")
    print(f"{'':10}{'underlay, VXLAN':>18}{'all':>12}{'answers seen':>16}   of {figures['questions']:,} questions, "
          f"{figures['questions.to_other_host']:,} for a VM of the other host")
    for name in ("godwit", "bridge", "evpn"):
        if f"underlay_packets.{name}" in figures:
            print(f"{name:10}{figures[f'underlay_packets.{name}']:>18,}{figures[f'underlay_all.{name}']:>12,}"
                  f"{figures[f'answers_seen.{name}']:>16,}")
    forms = ", ".join(f"{name.removeprefix('guard_ns.')} {ns}" for name, ns in figures.items() if name.startswith("guard_ns."))
    print(f"guards    {figures['guard_ns_per_packet']:.0f} ns a packet at most ({forms})")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("GW_SEED", "1")))
    args = parser.parse_args()
    labs.BUILD, labs.GODWIT = args.build, os.path.abspath(os.path.join(args.build, "src/cli/godwit"))
    plan, crossing = make_plan(args.seed)
    figures = load(args.build) | {"questions": len(plan), "questions.to_other_host": crossing}
    with room_for_neighbours():
        figures |= with_godwit(plan)
        figures |= with_peer(peers.Bridge, plan)
        if os.path.exists(os.path.join(peers.FRR, "bgpd")):
            figures |= with_peer(Suppressing, plan)
        else:
            print("FRR is not installed: no figures of evpn", file=sys.stderr)
    print_table(figures)
    record.write(args.out, figures, {"seed": args.seed})


if __name__ == "__main__":
    main()
