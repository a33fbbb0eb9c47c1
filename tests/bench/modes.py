#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bench modes: every mode of move with the same guest, for "what to expect" in docs/moves/.

  hot.*, post-copy.*, cold.*   a VM of 128 MiB that writes PAGES_A_SECOND pages in WORK_MIB and verifies them, probed in both
                               families, UDP there and back and a TCP stream each, while it moves there and back
  disks.hot, disks.suspended, disks.stopped
                               one with a raw and a qcow2 image of DISK_MIB each, which it writes to and verifies, too

Per row: ms from asking until the VM runs at the target and until the move is over, its pause, octets sent, packets lost, TCP streams
broken, and what the guest found wrong in its memory and on its disks. README.md has more.
"""
import argparse
import os
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vm"))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import labs  # noqa: E402
import transfer  # noqa: E402
import working  # noqa: E402
import record  # noqa: E402

WORK_MIB, PAGES_A_SECOND, DISK_WORK_MIB, DISK_PAGES_A_SECOND, DISK_MIB = 24, 2000, 4, 1000, 32
RUNNING = {
    "hot.plain": {},
    "hot.xbzrle": {"xbzrle": True},
    "hot.multifd": {"multifd": 2},
    "hot.auto-converge": {"auto_converge": True},
    "hot.limited": {"bandwidth_mib_s": 60, "downtime_ms": 30},
    "post-copy.plain": {"mode": "post-copy"},
    "post-copy.limited": {"mode": "post-copy", "bandwidth_mib_s": 24, "downtime_ms": 1},
    "cold.plain": {"mode": "cold"},
    "cold.limited": {"mode": "cold", "bandwidth_mib_s": 80},
}
COLUMNS = [("runs_there_ms", "runs there, ms"), ("over_ms", "over, ms"), ("pause_ms", "pause, ms: least / p50 / most"),
           ("sent_mib", "MiB"), ("waited", "waited"), ("sent", "sent"), ("lost", "lost"), ("duplicated", "doubled"),
           ("tcp_broken", "TCP broken"), ("found_wrong", "found wrong")]


def moved(lab, name, **options):
    """One move to the other host, and what it says of itself: {figure: number}."""
    there = "h2" if (lab.vm(name)["nve"] or lab.vm(name)["home"]) == "h1" else "h1"
    ended = lab.moved(lab.move(name, there, **options), 300)
    if ended["result"] != "ok":
        raise RuntimeError(f"move {ended['id']} of {name} ended {ended['result']}: {ended.get('reason')}")
    evidence, progress = ended["evidence"], ended["progress"]
    at = {entry["phase"]: entry["at_ns"] for entry in ended["timeline"]}
    figures = {"over_ms": (at["done"] - at["plan"]) / 1e6}
    if ended["as"] == "stopped":
        labs.wait_until("its target has put it away", lambda: lab.vm(name)["state"] == "stopped")
    else:
        figures["sent_mib"] = progress["transferred"] / 2**20
    if ended["as"] == "running":
        figures |= {"runs_there_ms": (evidence["resumed_ns"] - at["plan"]) / 1e6, "pause_ms": evidence["vm_pause_ns"] / 1e6,
                    "waited": evidence.get("held", 0) + evidence.get("drained", 0), "switched": int(bool(evidence.get("switched")))}
    return figures


def summary(moves):
    out = {"moves": len(moves)}
    for name in moves[0]:
        values = [m[name] for m in moves]
        out |= {name: statistics.median(values), f"{name}.min": min(values), f"{name}.max": max(values)}
    return out


def create(lab, name, index, work, **change):
    transfer.begin(lab, name, index, False, **change, cmdline=(
        f"console=ttyS0 quiet mitigations=off gw.ip4={transfer.addresses(index)[0]}/24 "
        f"gw.ip6={transfer.addresses(index)[1]}/64 gw.work={work}"))
    labs.wait_until(f"{name} answers", lambda: lab.answers("client", transfer.addresses(index)[0]), 120)
    labs.wait_until(f"{name} works", lambda: working.work(lab, name), 60)


def probed(lab, name, index, rounds, **options):
    witness = transfer.Witness(f"gw-{lab.name}-g-client", transfer.addresses(index), 100)
    figures = summary([moved(lab, name, **options) for _ in range(rounds)])
    figures |= transfer.losses(witness.stop())
    return figures | {"found_wrong": working.work(lab, name)["bad"]}


def make_images(lab):
    folders = [f"{lab.folder}/hosts/{host}/disks" for host in ("h1", "h2")]
    for folder in folders:
        os.makedirs(folder, exist_ok=True)
    for kind in ("raw", "qcow2"):
        subprocess.run(["qemu-img", "create", "-q", "-f", kind, f"{folders[0]}/modes.{kind}", f"{DISK_MIB}M"], check=True)
        os.chown(f"{folders[0]}/modes.{kind}", labs.USER, labs.USER)


def still(lab, name, rounds):
    """Moves of a VM that does not run."""
    return summary([moved(lab, name) for _ in range(rounds)])


def with_disks(lab, rounds, done):
    make_images(lab)
    create(lab, "db", 2, f"{DISK_WORK_MIB},{DISK_PAGES_A_SECOND}",
           disks=[{"path": "modes.raw", "format": "raw"}, {"path": "modes.qcow2"}])
    done("disks.hot", probed(lab, "db", 2, rounds))
    lab.godwit("vm", "suspend", "db")
    figures = still(lab, "db", rounds)
    lab.godwit("vm", "resume", "db")
    before = working.work(lab, "db")["blocks"]
    labs.wait_until("it works on", lambda: working.work(lab, "db")["blocks"] > before, 60)
    done("disks.suspended", figures | {"found_wrong": working.work(lab, "db")["bad"]})
    lab.godwit("vm", "stop", "db", "--force", "--wait")
    done("disks.stopped", still(lab, "db", rounds))


def cell(figures, name):
    if name == "pause_ms" and name in figures:
        return " / ".join(f"{figures[key]:.0f}" for key in (name + ".min", name, name + ".max"))
    return f"{figures[name]:.0f}" if name in figures else ""


def measure(lab, rounds, only):
    rows = {}

    def done(row, figures):
        rows[row] = figures
        print(f"{row:18}" + "".join(f"{cell(figures, name):>{len(head) + 3}}" for name, head in COLUMNS), flush=True)

    print(" " * 18 + "".join(f"   {head}" for _, head in COLUMNS))
    create(lab, "web", 1, f"{WORK_MIB},{PAGES_A_SECOND}")
    for row, options in RUNNING.items():
        if row in only:
            done(row, probed(lab, "web", 1, rounds, **options))
    transfer.remove(lab, "web")
    if "disks" in only:
        with_disks(lab, rounds, done)
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build")
    parser.add_argument("--out")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--only", nargs="*", default=[*RUNNING, "disks"])
    args = parser.parse_args()
    if args.build:
        labs.BUILD, labs.GODWIT = args.build, os.path.abspath(os.path.join(args.build, "src/cli/godwit"))
    with labs.Lab(f"mo{os.getpid() % 10000}", hosts=3, accelerator="tcg") as lab:
        lab.godwit("vn", "create", "blue", "--subnet", "10.1.0.0/24", "--subnet", "fd00:1::/64")
        lab.lab("guest", "add", "client", "--host", "h3", "--vn", "blue", "--ip", transfer.CLIENT[0], "--ip",
                transfer.CLIENT[1])
        rows = measure(lab, args.rounds, args.only)
    figures = {f"{row}.{key}": value for row, found in rows.items() for key, value in found.items()}
    if args.out:
        record.write(args.out, figures, {"accelerator": "tcg"})


if __name__ == "__main__":
    main()
