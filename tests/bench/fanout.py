#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bench fanout: from a change of a VM's place to the last acknowledgement, over as many real sessions.

load/fanout.c says what is timed. All sessions are of one process on this machine, which shares its processors with
the authority; what one NVE each would do in parallel happens one after the other here.
"""
import argparse
import json
import os
import platform
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
import authority  # noqa: E402


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--sessions", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--rounds", type=int, default=200)
    args = parser.parse_args()
    figures = {}
    for sessions in args.sessions:
        with authority.Authority(args.build, sessions, sessions, 1) as nva:
            nva.start()
            seen = nva.measure("fanout", max(20, args.rounds // (10 if sessions > 1000 else 1)))
        for share in ("p50", "p99", "max"):
            figures[f"fanout_ms.{share}.{sessions}"] = seen[f"{share}_ms"]
        print(f"{sessions:>6} sessions: median {seen['p50_ms']:.2f} ms, 99th percentile {seen['p99_ms']:.2f} ms, "
              f"longest {seen['max_ms']:.2f} ms")
    machine = {"cpus": os.cpu_count(), "kernel": platform.release(), "machine": platform.machine(),
               "load": os.getloadavg()[0]}
    with open(args.out, "w", encoding="ascii") as file:
        json.dump({"machine": machine, "figures": figures}, file, indent=1)
        file.write("\n")
    print(f"written to {args.out}")


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, subprocess.CalledProcessError) as failed:
        sys.exit(f"bench fanout: {failed}")
