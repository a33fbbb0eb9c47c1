#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bench transfer: moving the VM itself, beside plain QEMU moving the same guest over the same link, in the same run.

  hot.idle, hot.busy   moves of a real VM: from asking for the target to the VM's running there, and its pause. Plain QEMU:
                       a second emulator is started and waits, `migrate`, RESUME; same machine, memory, downtime limit; with
                       TLS and the same certificates, since Godwit's moves have it, and without. Idle: the guest only
                       echoes. Busy: it writes PAGES_A_SECOND pages. A probe watches Godwit's moves: hot.lost.
  eight                eight VMs moved at once
  disk                 a raw image of DISK_MIB random octets: Godwit's mirror beside qemu-img convert to qemu-nbd, both TLS

Each figure is the median of rounds that take turns. Ratios: hot.total_vs_qemu, hot.pause_vs_qemu, disk.mbps_vs_limit.
"""
import argparse
import contextlib
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
import labs  # noqa: E402

ADDRESSES = ["10.1.0.10", "fd00:1::10"]
WORK_MIB, PAGES_A_SECOND, DISK_MIB, ROUNDS, DOWNTIME_MS = 32, 4000, 192, 5, 50
GUEST = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../lab/guest/build.sh"))


class Qmp:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        labs.wait_until("QMP is there", lambda: self.socket.connect(path) is None, 20)
        self.file, self.events = self.socket.makefile("rw"), []
        self.file.readline()
        self("qmp_capabilities")

    def __call__(self, command, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']['desc']}")
            else:
                return answer["return"]

    def event(self, name, after=0.0):
        """When it happened, by QEMU's own clock."""
        while True:
            for event in self.events:
                at = event["timestamp"]["seconds"] + event["timestamp"]["microseconds"] / 1e6
                if event["event"] == name and at >= after:
                    return at
            answer = json.loads(self.file.readline())
            if "event" in answer:
                self.events.append(answer)


class Plain:
    """QEMU by hand: the guest of the laboratory in the namespaces of two of its hosts."""

    def __init__(self, lab, busy, tls):
        self.lab, self.tls, self.busy, self.processes, self.number = lab, tls, busy, [], 0
        self.folder = f"{lab.folder}/plain{int(busy)}{int(tls)}"
        os.makedirs(self.folder)
        self.here, self.qmp = "h1", None
        self.qmp = self.spawn("h1", [])
        labs.wait_until("the plain guest is up", lambda: "guest: ready" in self.console(), 60)

    def console(self):
        with contextlib.suppress(OSError), open(f"{self.folder}/console", errors="replace", encoding="utf-8") as file:
            return file.read()
        return ""

    def spawn(self, host, more):
        self.number += 1
        path = f"{self.folder}/qmp{self.number}"
        images = f"{self.lab.folder}/images"
        work = f" gw.work={WORK_MIB},{PAGES_A_SECOND}" if self.busy else ""
        self.processes.append(subprocess.Popen(
            ["nsenter", f"--net=/run/netns/gw-{self.lab.name}-{host}", "qemu-system-x86_64", "-nodefaults", "-nographic",
             "-no-user-config", "-machine", "pc", "-accel", "tcg", "-cpu", "Nehalem", "-m", "131064K", "-smp", "1",
             "-kernel", f"{images}/vmlinuz", "-initrd", f"{images}/initrd", "-append",
             f"console=ttyS0 quiet mitigations=off{work}", "-chardev",
             f"file,id=s,path={self.folder}/console,append=on", "-serial", "chardev:s", "-device",
             "virtio-net-pci,netdev=n0,romfile=", "-netdev", "user,id=n0,restrict=on", "-qmp",
             f"unix:{path},server=on,wait=off", *more], stderr=subprocess.DEVNULL))
        return Qmp(path)

    def secure(self, qmp, server):
        if not self.tls:
            return {}
        folder = f"{self.lab.folder}/hosts/{'h1' if (self.here == 'h1') != server else 'h2'}/state/hv/tls"
        qmp("object-add", **{"qom-type": "tls-creds-x509", "id": f"t{self.number}", "dir": folder, "sanity-check": False,
                             "endpoint": "server" if server else "client", "verify-peer": True})
        return {"tls-creds": f"t{self.number}", **({} if server else {"tls-hostname": "h2" if self.here == "h1" else "h1"})}

    def move(self):
        there = "h2" if self.here == "h1" else "h1"
        locator = "10.99.0.2" if there == "h2" else "10.99.0.1"
        for entry in self.lab.get("/v1/nves")["nves"]:
            if entry["id"] == there:
                locator = entry["locator"]
        began = time.time()
        target, old = self.spawn(there, ["-incoming", "defer"]), self.processes[-2]
        capabilities = [{"capability": "events", "state": True}]
        for qmp, server in ((target, True), (self.qmp, False)):
            qmp("migrate-set-capabilities", capabilities=capabilities)
            qmp("migrate-set-parameters", **{"max-bandwidth": 0, "downtime-limit": DOWNTIME_MS, "announce-rounds": 1,
                                             "announce-initial": 0, **self.secure(qmp, server)})
        port = 50000 + self.number
        target("migrate-incoming", uri=f"tcp:{locator}:{port}")
        self.qmp("migrate", uri=f"tcp:{locator}:{port}")
        resumed = target.event("RESUME")
        stopped = self.qmp.event("STOP", began)
        old.kill()
        old.wait()
        self.processes.remove(old)
        self.here, self.qmp = there, target
        return (resumed - began) * 1e3, (resumed - stopped) * 1e3

    def end(self):
        for process in self.processes:
            process.kill()
            process.wait()


def create(lab, name, index, busy, **change):
    images = f"{lab.folder}/images"
    subprocess.run([GUEST, images], check=True)
    v4, v6 = f"10.1.0.{10 + index}", f"fd00:1::{10 + index}"
    work = f" gw.work={WORK_MIB},{PAGES_A_SECOND}" if busy else ""
    lab.api("POST", "/v1/vms", {
        "name": name, "memory_mib": 128, "kernel": f"{images}/vmlinuz", "initrd": f"{images}/initrd",
        "cmdline": f"console=ttyS0 quiet mitigations=off gw.ip4={v4}/24 gw.ip6={v6}/64{work}",
        "ports": [{"vn": "blue", "addresses": [v4, v6]}], **change})
    lab.api("POST", f"/v1/vms/{name}/start", {"nve": "h1"}, timeout_s=60)
    labs.wait_until(f"{name} answers", lambda: lab.answers("client", v4), 90)


def godwit_move(lab, name):
    there = "h2" if lab.vm(name)["nve"] == "h1" else "h1"
    began = time.time_ns()
    move = lab.moved(lab.move(name, there, downtime_ms=DOWNTIME_MS), 120)
    assert move["result"] == "ok", move
    return (move["evidence"]["resumed_ns"] - began) / 1e6, move["evidence"]["vm_pause_ns"] / 1e6


def middle(rows):
    return [round(statistics.median(column), 1) for column in zip(*rows)]


def hot(lab, kind, index, rounds):
    busy = kind == "busy"
    create(lab, kind, index, busy)
    plain = {"qemu": Plain(lab, busy, False), "qemu+tls": Plain(lab, busy, True)}
    probe = labs.Probe(lab, "client", [f"10.1.0.{10 + index}", f"fd00:1::{10 + index}"], rate=100)
    rows = {"godwit": [], **{name: [] for name in plain}}
    try:
        for _ in range(rounds):
            rows["godwit"].append(godwit_move(lab, kind))
            for name, qemu in plain.items():
                rows[name].append(qemu.move())
    finally:
        for qemu in plain.values():
            qemu.end()
        seen = probe.stop()
    out = {name: dict(zip(("total_ms", "pause_ms"), middle(r))) for name, r in rows.items()}
    out.update(moves=rounds, lost=seen["total"]["lost"], duplicated=seen["total"]["duplicated"],
               tcp_alive=all(s["alive"] for s in seen["streams"] if s["protocol"] == "tcp"),
               total_vs_qemu=round(out["godwit"]["total_ms"] / out["qemu+tls"]["total_ms"], 3),
               pause_vs_qemu=round(out["godwit"]["pause_ms"] / out["qemu+tls"]["pause_ms"], 3))
    lab.api("POST", f"/v1/vms/{kind}/stop", {"force": True})
    return out


def eight(lab):
    names = [f"e{i}" for i in range(8)]
    for i, name in enumerate(names):
        create(lab, name, 20 + i, False)
    began = time.monotonic()
    moves = [lab.move(name, "h2", downtime_ms=DOWNTIME_MS) for name in names]
    ended = [lab.moved(move, 300) for move in moves]
    for name in names:
        lab.api("POST", f"/v1/vms/{name}/stop", {"force": True})
    return {"s": round(time.monotonic() - began, 2), "ok": sum(m["result"] == "ok" for m in ended),
            "pause_ms": middle([[m["evidence"]["vm_pause_ns"] / 1e6] for m in ended])[0]}


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


def disk(lab, rounds):
    for host in ("h1", "h2"):
        os.makedirs(f"{lab.folder}/hosts/{host}/disks", exist_ok=True)
    image = f"{lab.folder}/hosts/h1/disks/data.raw"
    with open(image, "wb") as file:
        for _ in range(DISK_MIB):
            file.write(os.urandom(1 << 20))
    create(lab, "disk", 40, False, disks=[{"path": "data.raw", "format": "raw"}])
    ours, limits = [], []
    for _ in range(rounds):
        for host, there in (("h1", "h2"), ("h2", "h1")):
            move = lab.moved(lab.move("disk", there), 300)
            assert move["result"] == "ok", move
            ours.append((DISK_MIB << 20) / (log_time(lab, host, "copy to") - log_time(lab, host, "disks go first")) / 1e6)
        limits.append(disk_limit(lab, image))
    lab.api("POST", "/v1/vms/disk/stop", {"force": True})
    return {"mbps": round(statistics.median(ours) * 8), "limit_mbps": round(statistics.median(limits) * 8),
            "mbps_vs_limit": round(statistics.median(ours) / statistics.median(limits), 3)}


def tell(name, out):
    print(f"{name:10} " + "  ".join(f"{k}={v}" for k, v in out[name].items()), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build")
    parser.add_argument("--out")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", nargs="*", default=["idle", "busy", "eight", "disk"])
    args = parser.parse_args()
    out = {}
    with labs.Lab(f"tr{os.getpid() % 10000}", hosts=3, accelerator="tcg") as lab:
        lab.godwit("vn", "create", "blue", "--subnet", "10.1.0.0/24", "--subnet", "fd00:1::/64")
        lab.lab("guest", "add", "client", "--host", "h3", "--vn", "blue", "--ip", "10.1.0.99", "--ip", "fd00:1::99")
        for index, kind in enumerate(("idle", "busy")):
            if kind in args.only:
                out[f"hot.{kind}"] = hot(lab, kind, index, args.rounds)
                tell(f"hot.{kind}", out)
        if "eight" in args.only:
            out["eight"] = eight(lab)
            tell("eight", out)
        if "disk" in args.only:
            out["disk"] = disk(lab, max(1, args.rounds // 2))
            tell("disk", out)
    if args.out:
        with open(args.out, "w", encoding="utf-8") as file:
            json.dump(out, file, indent=2)


if __name__ == "__main__":
    main()
