#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bench transfer: moving the VM itself, beside QEMU by hand moving the same guest, in the same run.

  hot.idle, hot.busy    moves of a real VM: from asking for the move to RESUME at the target, and its pause (STOP to RESUME).
                        Beside it plain.py, with TLS and the same certificates since Godwit's moves have it (`qemu`), and in
                        the clear (`qemu.clear`). Idle: the guest answers probes. Busy: it writes PAGES_A_SECOND pages, too
  eight                 eight VMs are asked to move at once
  drain8                the host with all eight is drained
  disk.idle, disk.busy  a raw image of DISK_MIB random octets: the mirror beside qemu-img convert to qemu-nbd, both TLS

Both guests of a pair are probed all the time, each over its own overlay, so both moves share the machine with the same.
Each figure is the median of rounds that take turns; README.md has what is counted.
"""
import argparse
import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import labs  # noqa: E402
import peers  # noqa: E402
import plain  # noqa: E402
import record  # noqa: E402

WORK_MIB, PAGES_A_SECOND, DISK_MIB, DOWNTIME_MS, EIGHT, EIGHT_MIB = 32, 4000, 192, 50, 8, 96
CLIENT = ("10.1.0.99", "fd00:1::99")
GUEST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../lab/guest/build.sh")


class Witness:
    """The probe, both families, there and back, and a TCP stream in each, until stop."""

    def __init__(self, namespace, targets, rate):
        self.process = subprocess.Popen(
            [labs.GODWIT, "probe", *targets, "--netns", namespace, "--udp-rate", str(rate), "--tcp", "--tcp-rate", str(rate),
             "--until-signal", "--json", "--gaps", "20000", "--wait", "20000"], stdout=subprocess.PIPE, text=True)
        time.sleep(1)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=60)
        return json.loads(out[out.rindex("\n{\n") + 1:] if "\n{\n" in out else out)


def losses(seen):
    tcp = [s for s in seen["streams"] if s["protocol"] == "tcp"]
    return {"sent": seen["total"]["sent"], "lost": seen["total"]["lost"], "duplicated": seen["total"]["duplicated"],
            "tcp_broken": sum(not s["alive"] for s in tcp)}


def beyond(seen, pauses):
    """Of each pause the longest silence of a UDP stream that touches it, less the pause: ms."""
    return [max((gap["end_ns"] - gap["start_ns"] for s in seen["streams"] if s["protocol"] == "udp"
                 for gap in s.get("gaps", []) if gap["start_ns"] <= end and gap["end_ns"] >= start),
                default=end - start) / 1e6 - (end - start) / 1e6 for start, end in pauses]


def addresses(index):
    return f"10.1.0.{10 + index}", f"fd00:1::{10 + index}"


def begin(lab, name, index, busy, **change):
    images, (v4, v6) = f"{lab.folder}/images", addresses(index)
    subprocess.run([GUEST, images], check=True)
    work = f" gw.work={WORK_MIB},{PAGES_A_SECOND}" if busy else ""
    lab.api("POST", "/v1/vms", {
        "name": name, "memory_mib": 128, "kernel": f"{images}/vmlinuz", "initrd": f"{images}/initrd",
        "cmdline": f"console=ttyS0 quiet mitigations=off gw.ip4={v4}/24 gw.ip6={v6}/64{work}",
        "ports": [{"vn": "blue", "addresses": [v4, v6]}], **change})
    lab.api("POST", f"/v1/vms/{name}/start", {"nve": "h1"}, timeout_s=60)


def create(lab, name, index, busy, **change):
    begin(lab, name, index, busy, **change)
    labs.wait_until(f"{name} answers", lambda: lab.answers("client", addresses(index)[0]), 120)


def remove(lab, *names):
    for name in names:
        lab.api("POST", f"/v1/vms/{name}/stop", {"force": True})
    for name in names:
        labs.wait_until(f"{name} has stopped", lambda n=name: lab.vm(n)["state"] == "stopped", 30)
        lab.api("DELETE", f"/v1/vms/{name}")


def move(lab, name, to):
    ended = lab.moved(lab.move(name, to, downtime_ms=DOWNTIME_MS), 300)
    if ended["result"] != "ok":
        raise RuntimeError(f"move {ended['id']} of {name} ended {ended['result']}: {ended.get('reason')}")
    return ended


def godwit_move(lab, name, pauses):
    there = "h2" if lab.vm(name)["nve"] == "h1" else "h1"
    began = time.time_ns()
    evidence = move(lab, name, there)["evidence"]
    pauses.append((evidence["stopped_ns"], evidence["resumed_ns"]))
    return (evidence["resumed_ns"] - began) / 1e6, evidence["vm_pause_ns"] / 1e6


@contextlib.contextmanager
def plain_vm(lab, kind, v4):
    """Like the lab's VM `kind`, probed over a bridge."""
    words = plain.words_of(next(iter(lab.emulators(kind).values())))
    with peers.Bridge() as peer:
        client = peer.add_guest(3, "probe", "52:54:00:00:99:99", [f"{CLIENT[0]}/24", f"{CLIENT[1]}/64"])
        vm = plain.PlainVm(peer, words, {n: f"{lab.folder}/hosts/h{n}/state/hv/tls" for n in (1, 2)}, f"{peer.folder}/console")
        labs.wait_until("the plain guest answers", lambda: peer.within(
            client, "ping", "-c1", "-W1", v4, check=False).returncode == 0, 120)
        yield vm, client


def hot(lab, kind, index, rounds):
    v4, v6 = addresses(index)
    create(lab, kind, index, kind == "busy")
    with plain_vm(lab, kind, v4) as (vm, client):
        time.sleep(2)                         # their echo services start after their addresses
        witnesses = [Witness(f"gw-{lab.name}-g-client", [v4, v6], 50), Witness(client, [v4, v6], 50)]
        rows, pauses = {"godwit": [], "qemu": [], "qemu.clear": []}, []
        for _ in range(rounds):
            rows["godwit"].append(godwit_move(lab, kind, pauses))
            rows["qemu"].append(vm.move(True, DOWNTIME_MS))
            rows["qemu.clear"].append(vm.move(False, DOWNTIME_MS))
        seen = [witness.stop() for witness in witnesses]
        vm.end()
    remove(lab, kind)
    out = {"moves": rounds, **losses(seen[0]), "qemu.lost": seen[1]["total"]["lost"]}
    for name, row in rows.items():
        totals, stops = zip(*row)
        out |= {f"{name}.total_ms": statistics.median(totals), f"{name}.pause_ms": statistics.median(stops),
                f"{name}.pause_ms.max": max(stops)}
    out["total_vs_qemu"] = out["godwit.total_ms"] / out["qemu.total_ms"]
    out["pause_vs_qemu"] = out["godwit.pause_ms"] / out["qemu.pause_ms"]
    gaps = beyond(seen[0], pauses)
    return out | {"gap_minus_pause_ms.p50": statistics.median(gaps), "gap_minus_pause_ms.max": max(gaps)}


def eight_begin(lab):
    names = [f"e{i}" for i in range(EIGHT)]
    for i, name in enumerate(names):
        begin(lab, name, 20 + i, False, memory_mib=EIGHT_MIB)
    for i, name in enumerate(names):
        labs.wait_until(f"{name} answers", lambda n=i: all(lab.answers("client", a) for a in addresses(20 + n)), 240)
    time.sleep(3)
    return names


def eight(lab, names):
    witness = Witness(f"gw-{lab.name}-g-client", [a for i in range(EIGHT) for a in addresses(20 + i)], 20)
    began = time.monotonic()
    moves = [lab.move(name, "h2", downtime_ms=DOWNTIME_MS) for name in names]
    ended = [lab.moved(m, 300) for m in moves]
    took = time.monotonic() - began
    pauses = [m["evidence"]["vm_pause_ns"] / 1e6 for m in ended if m["result"] == "ok"]
    return {"s": took, "ok": len(pauses), "memory_mib": EIGHT_MIB, **losses(witness.stop()),
            "pause_ms": statistics.median(pauses), "pause_ms.max": max(pauses)}


def drain(lab, names):
    """They are all on h2 now."""
    witness = Witness(f"gw-{lab.name}-g-client", [a for i in range(EIGHT) for a in addresses(20 + i)], 20)
    began = time.monotonic()
    lab.godwit("nve", "drain", "h2", timeout_s=300)
    took = time.monotonic() - began
    time.sleep(0.5)
    left = sum(lab.vm(name)["nve"] == "h2" for name in names)
    moves = [max(lab.get(f"/v1/moves?vm={name}")["moves"], key=lambda m: int(m["id"][1:])) for name in names]
    lab.godwit("nve", "undrain", "h2")
    pauses = [m["evidence"]["vm_pause_ns"] / 1e6 for m in moves]
    return {"s": took, "left": left, **losses(witness.stop()), "pause_ms": statistics.median(pauses),
            "pause_ms.max": max(pauses)}


def log_time(lab, host, text):
    with open(f"{lab.folder}/hosts/{host}/hv.log", encoding="utf-8", errors="replace") as log:
        lines = [line for line in log if text in line]
    h, m, s = re.match(r"(\d+):(\d+):([\d.]+)", lines[-1].strip()).groups()
    return int(h) * 3600 + int(m) * 60 + float(s)


def disk_limit(lab, image):
    """qemu-img convert from h1 to a qemu-nbd at h2, over TLS: MB/s."""
    copy, h1, h2 = f"{image}.copy", *(f"/run/netns/gw-{lab.name}-h{i}" for i in (1, 2))
    with open(copy, "wb") as file:
        file.truncate(DISK_MIB << 20)
    locator = next(e["locator"] for e in lab.get("/v1/nves")["nves"] if e["id"] == "h2")
    tls = [f"tls-creds-x509,id=t,sanity-check=off,verify-peer=on,dir={lab.folder}/hosts/h{i}/state/hv/tls,endpoint="
           for i in (1, 2)]
    server = subprocess.Popen(["nsenter", f"--net={h2}", "qemu-nbd", "--object", tls[1] + "server", "--tls-creds", "t", "-b",
                               locator, "-p", "50999", "-f", "raw", "-x", "copy", "-t", "--discard=unmap", copy])
    try:
        labs.wait_until("qemu-nbd listens", lambda: ":50999 " in subprocess.run(
            ["nsenter", f"--net={h2}", "ss", "-ltn"], capture_output=True, text=True, check=True).stdout)
        began = time.monotonic()
        subprocess.run(["nsenter", f"--net={h1}", "qemu-img", "convert", "-U", "-n", "--object", tls[0] + "client", "-f", "raw",
                        "--target-image-opts", image,
                        f"driver=nbd,host={locator},port=50999,export=copy,tls-creds=t,tls-hostname=h2"], check=True)
        return (DISK_MIB << 20) / (time.monotonic() - began) / 1e6
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()
        os.unlink(copy)


def disk(lab, kind, index, rounds):
    for host in ("h1", "h2"):
        os.makedirs(f"{lab.folder}/hosts/{host}/disks", exist_ok=True)
    name, file_name = f"disk-{kind}", f"{kind}.raw"
    image = f"{lab.folder}/hosts/h1/disks/{file_name}"
    with open(image, "wb") as file:
        for _ in range(DISK_MIB):
            file.write(os.urandom(1 << 20))
    os.chown(image, labs.USER, labs.USER)
    create(lab, name, index, kind == "busy", disks=[{"path": file_name, "format": "raw"}])
    ours, limits, pauses = [], [], []
    for _ in range(rounds):
        limits.append(disk_limit(lab, image))
        for host, there in (("h1", "h2"), ("h2", "h1")):
            pauses.append(move(lab, name, there)["evidence"]["vm_pause_ns"] / 1e6)
            ours.append((DISK_MIB << 20) / (log_time(lab, host, "copy to") - log_time(lab, host, "disks go first")) / 1e6)
    remove(lab, name)
    os.unlink(image)
    return {"mbps": statistics.median(ours), "limit_mbps": statistics.median(limits),
            "mbps_vs_limit": statistics.median(ours) / statistics.median(limits), "pause_ms": statistics.median(pauses)}


def tell(row, figures):
    print(f"{row:10} " + "  ".join(f"{k}={round(v, 3) if isinstance(v, float) else v}" for k, v in figures.items()),
          flush=True)


def headlines(rows):
    """The worse of idle and busy, under the names that do not say which."""
    out = {}
    for name, take, worst in (("hot.total_vs_qemu", "total_vs_qemu", max), ("hot.pause_vs_qemu", "pause_vs_qemu", max),
                              ("hot.lost", "lost", sum), ("disk.mbps_vs_limit", "mbps_vs_limit", min)):
        values = [row[take] for key, row in rows.items() if key.startswith(name.split(".", maxsplit=1)[0])]
        if values:
            out[name] = worst(values)
    return out


def measure(lab, rounds, only):
    rows = {}

    def done(row, figures):
        rows[row] = figures
        tell(row, figures)

    for index, kind in enumerate(("idle", "busy")):
        if kind in only:
            done(f"hot.{kind}", hot(lab, kind, index, rounds))
    if "eight" in only:
        names = eight_begin(lab)
        done("eight", eight(lab, names))
        done("drain8", drain(lab, names))
        remove(lab, *names)
    if "disk" in only:
        for index, kind in enumerate(("idle", "busy")):
            done(f"disk.{kind}", disk(lab, kind, 40 + index, max(2, rounds // 2)))
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build")
    parser.add_argument("--out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=["idle", "busy", "eight", "disk"])
    args = parser.parse_args()
    if args.build:
        labs.BUILD, labs.GODWIT = args.build, os.path.abspath(os.path.join(args.build, "src/cli/godwit"))
    with labs.Lab(f"tr{os.getpid() % 10000}", hosts=3, accelerator="tcg") as lab:
        lab.godwit("vn", "create", "blue", "--subnet", "10.1.0.0/24", "--subnet", "fd00:1::/64")
        lab.lab("guest", "add", "client", "--host", "h3", "--vn", "blue", "--ip", CLIENT[0], "--ip", CLIENT[1])
        rows = measure(lab, args.rounds, args.only)
    best = headlines(rows)
    tell("", best)
    figures = {f"{row}.{key}": value for row, found in rows.items() for key, value in found.items()} | best
    if args.out:
        record.write(args.out, figures, {"accelerator": "tcg"})


if __name__ == "__main__":
    main()
