#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bench move: what a talker sees of a hot move, beside the peers in the same run.

  synthetic  many moves of a guest whose emulator only pumps frames: the network alone
  vm         moves of a real VM (QEMU; KVM where it runs, else TCG)
  bridge.vm  the same VM, guest image and probe over Linux bridge + VXLAN, flood and learn, QEMU's own announcement
  evpn.vm    the same over FRR EVPN

A move's gap is the longest silence of any UDP stream that touches the VM's pause (STOP at the source to RESUME at the
target, QEMU's own time stamps); its TCP stall the longest time without progress of any TCP stream. Lost, duplicated and
reordered are counted over the whole run, by sequence number. The probe sends UDP there and back in IPv4 and IPv6 at the
same time, and a TCP stream in each.
"""
import argparse
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
import peers  # noqa: E402
import labs  # noqa: E402
import record  # noqa: E402

V4, V6 = "10.1.0.10", "fd00:1::10"
PROBE_V4, PROBE_V6 = "10.1.0.30", "fd00:1::30"
MAC, PROBE_MAC = "52:54:00:00:01:10", "52:54:00:00:01:30"
UDP_RATE, SYNTHETIC_RATE, TCP_RATE = 500, 2500, 250         # packets/s of each family; records/s


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else 0.0


class Witness:
    """The probe in a namespace. `counted` streams of UDP and TCP in both families, from start to stop."""

    def __init__(self, namespace, udp_rate):
        self.process = subprocess.Popen(
            [labs.GODWIT, "probe", V4, V6, "--netns", namespace, "--udp-rate", str(udp_rate), "--tcp", "--tcp-rate",
             str(TCP_RATE), "--until-signal", "--json", "--gaps", "20000", "--wait", "20000"],
            stdout=subprocess.PIPE, text=True, preexec_fn=peers.ahead)
        time.sleep(2)
        if self.process.poll() is not None:
            raise RuntimeError("the probe has ended early; its words are above")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=60)
        return json.loads(out[out.rindex("\n{\n") + 1:] if "\n{\n" in out else out)


def longest(report, protocol, start_ns, end_ns):
    return max((gap["end_ns"] - gap["start_ns"] for stream in report["streams"] if stream["protocol"] == protocol
                for gap in stream.get("gaps", []) if gap["start_ns"] <= end_ns and gap["end_ns"] >= start_ns),
               default=0) / 1e6


def figures_of(report, pauses):
    """pauses: [(stopped_ns, resumed_ns)]."""
    udp = [s for s in report["streams"] if s["protocol"] == "udp"]
    tcp = [s for s in report["streams"] if s["protocol"] == "tcp"]
    beyond = [longest(report, "udp", a, b) - (b - a) / 1e6 for a, b in pauses]
    stall = [longest(report, "tcp", a, b) - (b - a) / 1e6 for a, b in pauses]
    return {
        "moves": len(pauses), "sent": sum(s["sent"] for s in udp),
        "lost": sum(s["lost"] for s in udp), "duplicated": sum(s["duplicated"] for s in udp),
        "reordered": sum(s["reordered"] for s in udp),
        "lost_per_move": sum(s["lost"] for s in udp) / max(1, len(pauses)),
        "pause_ms.p50": percentile([(b - a) / 1e6 for a, b in pauses], 0.5),
        "pause_ms.max": max(((b - a) / 1e6 for a, b in pauses), default=0.0),
        "gap_minus_pause_ms.p50": percentile(beyond, 0.5), "gap_minus_pause_ms.p99": percentile(beyond, 0.99),
        "gap_minus_pause_ms.max": max(beyond, default=0.0),
        "tcp_broken": sum(not s["alive"] for s in tcp),
        "tcp_stall_minus_pause_ms.p50": percentile(stall, 0.5), "tcp_stall_minus_pause_ms.max": max(stall, default=0.0),
    }


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def run_godwit(name, synthetic, moves, accelerator):
    with labs.Lab(f"b{os.getpid() % 10000}", hosts=3, accelerator=accelerator) as lab:
        lab.godwit("vn", "create", "blue", "--subnet", "10.1.0.0/24", "--subnet", "fd00:1::/64")
        flags = ["--synthetic", "--pause-ms", "20", "--copy-ms", "20"] if synthetic else []
        lab.lab("vm", "add", "web", "--vn", "blue", "--ip", V4, "--ip", V6, "--on", "h1", *flags)
        lab.lab("guest", "add", "client", "--host", "h3", "--vn", "blue", "--ip", PROBE_V4, "--ip", PROBE_V6)
        labs.wait_until("the VM answers", lambda: lab.answers("client", V4) and lab.answers("client", V6), 90)
        witness, pauses, began = Witness(f"gw-{lab.name}-g-client", SYNTHETIC_RATE if synthetic else UDP_RATE), [], time.monotonic()
        for i in range(moves):
            rate = (i + 1) / (time.monotonic() - began + 1e-9)
            progress(f"{name}: move {i + 1} of {moves}, {rate:.1f}/s, {(moves - i) / rate:.0f} s left")
            done = lab.moved(lab.move("web", "h2" if i % 2 == 0 else "h1"))
            if done["result"] != "ok":
                raise RuntimeError(f"move {done['id']} ended {done['result']}: {done.get('reason')}")
            pauses.append((done["evidence"]["stopped_ns"], done["evidence"]["resumed_ns"]))
            time.sleep(0.0 if synthetic else 0.5)
        time.sleep(0.5)
        return figures_of(witness.stop(), pauses)


def guest_image(build, accelerator):
    folder = os.path.abspath(os.path.join(build, "bench", "guest"))
    here = os.path.dirname(os.path.abspath(__file__))
    subprocess.run(["sh", os.path.join(here, "..", "..", "lab", "guest", "build.sh"), folder], check=True)
    return {"kernel": f"{folder}/vmlinuz", "initrd": f"{folder}/initrd", "accelerator": accelerator,
            "cpu": "host" if accelerator == "kvm" else "Nehalem",
            "cmdline": f"console=ttyS0 quiet mitigations=off gw.name=web gw.ip4={V4}/24 gw.ip6={V6}/64 gw.mtu=1430"}


def run_peer(kind, moves, guest):
    with kind() as peer:
        namespace = peer.add_guest(3, "probe", PROBE_MAC, [f"{PROBE_V4}/24", f"{PROBE_V6}/64"])
        vm = peers.PeerVm(peer, guest, MAC)
        vm.boot(1)
        peer.ready()
        ping = lambda a: peer.within(namespace, "ping", "-c1", "-W1", a, check=False).returncode == 0  # noqa: E731
        labs.wait_until("the VM answers", lambda: ping(V4) and ping(V6), 90)
        time.sleep(2)                          # its echo service starts after its addresses
        witness, pauses = Witness(namespace, UDP_RATE), []
        for i in range(moves):
            progress(f"{peer.name}: move {i + 1} of {moves}")
            pauses.append(vm.move(2 if i % 2 == 0 else 1))
            time.sleep(2)                      # whatever it takes the peer to converge
        return figures_of(witness.stop(), pauses)


ROWS = [("moves", "moves"), ("sent", "packets sent"), ("lost", "lost"), ("duplicated", "duplicated"),
        ("reordered", "out of order"), ("pause_ms.p50", "VM pause, median ms"),
        ("gap_minus_pause_ms.p50", "gap beyond it, median ms"), ("gap_minus_pause_ms.p99", "  99th percentile ms"),
        ("gap_minus_pause_ms.max", "  longest ms"), ("tcp_broken", "TCP streams broken"),
        ("tcp_stall_minus_pause_ms.p50", "TCP stall beyond it, median ms"),
        ("tcp_stall_minus_pause_ms.max", "  longest ms")]


def print_table(results):
    print(f"{'':32}" + "".join(f"{name:>14}" for name in results))
    for key, text in ROWS:
        print(f"{text:32}" + "".join(f"{results[n][key]:>14.1f}" if isinstance(results[n][key], float)
                                     else f"{results[n][key]:>14}" for n in results))


def accelerator_of(lab_accelerator):
    """What the hypervisor agent found: kvm only where a stock kernel really boots under it."""
    if lab_accelerator != "auto":
        return lab_accelerator
    with labs.Lab(f"a{os.getpid() % 10000}", hosts=1) as lab:
        return labs.wait_until("the agent knows", lambda: {"kvm": "kvm", "tcg": "tcg"}.get(
            lab.agent("h1", "/v1/status")["accelerator"]), 60)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--synthetic-moves", type=int, default=1000)
    parser.add_argument("--vm-moves", type=int, default=20)
    parser.add_argument("--accelerator", default="auto")
    args = parser.parse_args()
    labs.BUILD, labs.GODWIT = args.build, os.path.abspath(os.path.join(args.build, "src/cli/godwit"))

    accelerator = accelerator_of(args.accelerator)
    guest, results = guest_image(args.build, accelerator), {}
    if args.synthetic_moves:
        results["synthetic"] = run_godwit("synthetic", True, args.synthetic_moves, accelerator)
    if args.vm_moves:
        results["vm"] = run_godwit("vm", False, args.vm_moves, accelerator)
        results["bridge.vm"] = run_peer(peers.Bridge, args.vm_moves, guest)
        results["evpn.vm"] = run_peer(peers.Evpn, args.vm_moves, guest)
    progress("")
    print_table(results)
    figures = {f"{name}.{key}": value for name, figure in results.items() for key, value in figure.items()}
    record.write(args.out, figures, {"accelerator": accelerator})


main()
