#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bench datapath: what crosses two hosts on this machine, beside the peers in the same run.

  godwit   two hosts of a laboratory, a namespace guest on each, IPv4 underlay
  bridge   the same with a Linux bridge and a VXLAN device on each host; "+nf" with br_netfilter, as hosts with Docker
           or libvirt have it
  veth     the two guests joined directly: no network between them, what the machine itself can do

The three take turns, the first of a round changing, so that what else the machine does falls on all; figures are the
medians of the rounds, ratios are taken within a round before their median. README.md says what each figure is.
"""
import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
import peers  # noqa: E402
import labs  # noqa: E402
import record  # noqa: E402

FROM, TO = "10.1.0.11", "10.1.0.12"
FLOWS, PAYLOAD_OCTETS = 16, 18          # an Ethernet frame of 64 octets
BLAST_S, TCP_S = 1, 1                   # short, and many: where the scheduler puts a run decides more than its length
EXTRA_PORTS, NVA_PORTS = 16, 2000       # for the memory that each takes
STATS_SWITCH = "/proc/sys/kernel/bpf_stats_enabled"


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


class Veth(peers.Peer):
    """Two guests and nothing else."""
    name = "veth"

    def build(self):
        self.ends = [f"{self.tag}-a", f"{self.tag}-b"]
        for end in self.ends:
            self.add_namespace(end)
        self.ip(self.ends[0], "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", self.ends[1])
        for end, address in zip(self.ends, (FROM, TO)):
            self.ip(end, "addr", "add", f"{address}/24", "dev", "eth0")
            self.ip(end, "link", "set", "eth0", "up")


def bridges_ask_netfilter(namespace, yes):
    """Where br_netfilter is loaded (Docker and libvirt do that), bridges show IP frames to netfilter by default."""
    for family in ("ip", "ip6", "arp"):
        peers.run("nsenter", f"--net=/run/netns/{namespace}", "sysctl", "-qw",
                  f"net.bridge.bridge-nf-call-{family}tables={int(yes)}", check=False)


class Pair:
    """Two guests, and what is measured between them."""

    def __init__(self, name, sender, receiver, mtu):
        self.name, self.sender, self.receiver = name, sender, receiver
        for namespace in (sender, receiver):
            peers.run("ip", "-n", namespace, "link", "set", "eth0", "mtu", str(mtu))
        self.servers = []

    def within(self, namespace, *command):
        return ["nsenter", f"--net=/run/netns/{namespace}", *command]

    def __enter__(self):
        for command in (["iperf3", "-s"], [BLAST, "--sink", TO]):
            self.servers.append(subprocess.Popen(self.within(self.receiver, *command), stdout=subprocess.DEVNULL,
                                                 stderr=subprocess.DEVNULL, preexec_fn=peers.ahead))
        labs.wait_until(f"{self.name} answers", lambda: subprocess.run(
            self.within(self.sender, "ping", "-c", "1", "-W", "1", TO), capture_output=True, check=False).returncode == 0)
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.terminate()
            server.wait()

    def received(self):
        link = json.loads(peers.run("ip", "-n", self.receiver, "-j", "-s", "link", "show", "eth0").stdout)[0]
        return link["stats64"]["rx"]["packets"]

    def packets_per_s(self, seconds=BLAST_S):
        before, began = self.received(), time.monotonic()
        peers.run(*self.within(self.sender, BLAST, TO, str(seconds), str(FLOWS), str(PAYLOAD_OCTETS)), preexec_fn=peers.ahead)
        return (self.received() - before) / (time.monotonic() - began)

    def tcp_gbps(self, streams):
        done = peers.run(*self.within(self.sender, "iperf3", "-c", TO, "-t", str(TCP_S), "-P", str(streams), "-J"),
                         preexec_fn=peers.ahead)
        return json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"] / 1e9

    def measure_with_netfilter(self, hosts):
        for host in hosts:
            bridges_ask_netfilter(host, True)
        try:
            return {"pps": self.packets_per_s()}
        finally:
            for host in hosts:
                bridges_ask_netfilter(host, False)

    def measure(self):
        return {"pps": self.packets_per_s(), "tcp1_gbps": self.tcp_gbps(1), "tcp8_gbps": self.tcp_gbps(8)}


def mtu_of(namespace):
    return json.loads(peers.run("ip", "-n", namespace, "-j", "link", "show", "eth0").stdout)[0]["mtu"]


def take_turns(pairs, rounds, bridge_hosts):
    """[{name: {figure: value}}], one for each round."""
    results = []
    for i in range(rounds):
        turn = pairs[i % len(pairs):] + pairs[:i % len(pairs)]
        results.append({})
        for pair in turn:
            progress(f"round {i + 1} of {rounds}: {pair.name}")
            results[-1][pair.name] = pair.measure()
            if pair.name == "bridge":
                results[-1]["bridge+nf"] = pair.measure_with_netfilter(bridge_hosts)
    progress("")
    return results


def summarize(results):
    figures = {}
    for name in results[0]:
        for figure in results[0][name]:
            figures[f"{name}.{figure}"] = statistics.median(result[name][figure] for result in results)
    for ratio, figure, peer in (("pps_vs_bridge", "pps", "bridge"), ("pps_vs_bridge+nf", "pps", "bridge+nf"),
                                ("tcp1_vs_bridge", "tcp1_gbps", "bridge"),
                                ("tcp8_vs_bridge", "tcp8_gbps", "bridge"), ("pps_vs_veth", "pps", "veth"),
                                ("tcp1_vs_veth", "tcp1_gbps", "veth")):
        values = [result["godwit"][figure] / result[peer][figure] for result in results]
        figures[f"ratio.{ratio}"] = statistics.median(values)
        figures[f"ratio.{ratio}.min"], figures[f"ratio.{ratio}.max"] = min(values), max(values)
    return figures


def program_times(host, devices):
    """{id: (ns, runs)} of the programs on the ingress of those devices of a host."""
    times = {}
    for device in devices:
        filters = json.loads(peers.run("tc", "-n", host, "-j", "filter", "show", "dev", device, "ingress").stdout)
        ids = [f["options"]["prog"]["id"] for f in filters if "prog" in f.get("options", {})]
        for program in ids:
            info = json.loads(peers.run("bpftool", "prog", "show", "id", str(program), "-j").stdout)
            times[device] = (info.get("run_time_ns", 0), info.get("run_cnt", 0))
    return times


@contextlib.contextmanager
def program_statistics():
    with open(STATS_SWITCH, encoding="ascii") as file:
        before = file.read()
    try:
        with open(STATS_SWITCH, "w", encoding="ascii") as file:
            file.write("1")
        yield
    finally:
        with open(STATS_SWITCH, "w", encoding="ascii") as file:
            file.write(before)


def port_device(host):
    links = json.loads(peers.run("ip", "-n", host, "-j", "link", "show", "type", "veth").stdout)
    for link in links:
        filters = peers.run("tc", "-n", host, "filter", "show", "dev", link["ifname"], "ingress", check=False).stdout
        if "from_guest" in filters:
            return link["ifname"]
    raise RuntimeError(f"no port on {host}")


def ns_per_packet(lab, pair):
    """The programs' own time under the blast, from the kernel's statistics (which add some 20 ns a run)."""
    hosts = {"from_guest": (f"gw-{lab.name}-h1", None), "from_underlay": (f"gw-{lab.name}-h2", "eth0")}
    figures = {}
    with program_statistics():
        places = {name: (host, device or port_device(host)) for name, (host, device) in hosts.items()}
        before = {name: program_times(host, [device])[device] for name, (host, device) in places.items()}
        pair.packets_per_s()
        for name, (host, device) in places.items():
            ns, runs = program_times(host, [device])[device]
            figures[f"ns_per_packet.{name}"] = (ns - before[name][0]) / max(1, runs - before[name][1])
    return figures


def map_octets(folder):
    """{map: octets of kernel memory} of a host's pinned maps."""
    found = {}
    for name in (name for name in os.listdir(folder) if name.startswith("gw_")):
        done = peers.run("bpftool", "map", "show", "pinned", os.path.join(folder, name), "-j")
        found[name] = int(json.loads(done.stdout)["bytes_memlock"])
    return found


def resident_octets(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS"))


def memory(lab):
    """Kernel memory of an edge's maps, with no port and for each, and what the authority grows by for each."""
    folder = f"{lab.folder}/hosts/h1/bpf"
    before = map_octets(folder)
    for i in range(EXTRA_PORTS):
        progress(f"ports for memory: {i + 1} of {EXTRA_PORTS}")
        lab.lab("guest", "add", f"m{i}", "--host", "h1", "--vn", "blue", "--ip", f"10.1.0.{100 + i}")
    after = map_octets(folder)
    lab.godwit("vn", "create", "big", "--subnet", "10.64.0.0/16")
    pid = next(pid for (_, daemon), pid in lab.processes().items() if daemon == "nva")
    resident = resident_octets(pid)
    for i in range(NVA_PORTS):
        if i % 100 == 0:
            progress(f"ports of the authority: {i} of {NVA_PORTS}")
        lab.api("POST", "/v1/vms", {"name": f"p{i}", "memory_mib": 16, "vcpus": 1, "emulator": "qemu",
                                    "kernel": "/boot/none", "ports": [{"vn": "big"}]})
    growth = resident_octets(pid) - resident
    progress("")
    return {"nve.map_octets_fixed": sum(before.values()),
            "nve.map_octets_per_port": (sum(after.values()) - sum(before.values())) / EXTRA_PORTS,
            "nva.octets_per_port": growth / NVA_PORTS}


def print_table(figures):
    print(f"{'':10}{'packets/s':>14}{'TCP, 1 stream':>18}{'TCP, 8 streams':>18}")
    for name in ("godwit", "bridge", "veth"):
        print(f"{name:10}{figures[f'{name}.pps']:>14,.0f}{figures[f'{name}.tcp1_gbps']:>13.2f} Gb/s"
              f"{figures[f'{name}.tcp8_gbps']:>13.2f} Gb/s")
    print(f"{'bridge+nf':10}{figures['bridge+nf.pps']:>14,.0f}")
    for ratio in ("pps_vs_bridge", "pps_vs_bridge+nf", "tcp1_vs_bridge", "tcp8_vs_bridge", "pps_vs_veth", "tcp1_vs_veth"):
        print(f"{ratio:20}{figures[f'ratio.{ratio}']:6.2f}  "
              f"({figures[f'ratio.{ratio}.min']:.2f} to {figures[f'ratio.{ratio}.max']:.2f})")
    for figure in ("ns_per_packet.from_guest", "ns_per_packet.from_underlay", "nve.map_octets_fixed",
                   "nve.map_octets_per_port", "nva.octets_per_port"):
        print(f"{figure:28}{figures[figure]:>14,.0f}")


def build_blast(build):
    folder = os.path.join(build, "bench")
    os.makedirs(folder, exist_ok=True)
    path = os.path.abspath(os.path.join(folder, "blast"))
    peers.run("cc", "-O2", "-D_GNU_SOURCE", "-pthread", "-o", path,
              os.path.join(os.path.dirname(os.path.abspath(__file__)), "blast.c"))
    return path


def run_all(rounds):
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(labs.Lab(f"d{os.getpid() % 10000}", hosts=2, accelerator="tcg"))
        lab.godwit("vn", "create", "blue", "--subnet", "10.1.0.0/24")
        lab.lab("guest", "add", "a", "--host", "h1", "--vn", "blue", "--ip", FROM)
        lab.lab("guest", "add", "b", "--host", "h2", "--vn", "blue", "--ip", TO)
        ends = [f"gw-{lab.name}-g-a", f"gw-{lab.name}-g-b"]
        mtu = mtu_of(ends[0])           # all three have it, so that they cut TCP into the same segments
        bridge = stack.enter_context(peers.Bridge(hosts=2))
        bridged = [bridge.add_guest(1, "a", "52:54:00:00:02:01", [f"{FROM}/24"]),
                   bridge.add_guest(2, "b", "52:54:00:00:02:02", [f"{TO}/24"])]
        joined = stack.enter_context(Veth())
        for namespace in (*bridge.namespaces, f"gw-{lab.name}-net", f"gw-{lab.name}-h1", f"gw-{lab.name}-h2"):
            bridges_ask_netfilter(namespace, False)
        pairs = [stack.enter_context(Pair(name, *namespaces, mtu)) for name, namespaces in
                 (("godwit", ends), ("bridge", bridged), ("veth", joined.ends))]
        results = take_turns(pairs, rounds, [bridge.host(1), bridge.host(2)])
        figures = {**summarize(results), **ns_per_packet(lab, pairs[0]), **memory(lab)}
        return figures, results, mtu


def main():
    global BLAST
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    labs.BUILD, labs.GODWIT = args.build, os.path.abspath(os.path.join(args.build, "src/cli/godwit"))
    BLAST = build_blast(args.build)
    figures, measured, mtu = run_all(args.rounds)
    print_table(figures)
    record.write(args.out, figures, {"guest_mtu": mtu, "rounds": args.rounds}, rounds=measured)


if __name__ == "__main__":
    main()
