#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bench fanout: from a change of a VM's place to the last acknowledgement, over as many real sessions.

load/fanout.c says what is timed. All sessions are of one process on this machine, which shares its processors with
the authority; what one NVE each would do in parallel happens one after the other here. So the authority's own share
is told apart: when the last update has left it, while nobody reads, and its processor time for a session and a change.
"""
import argparse
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
import authority  # noqa: E402
import record  # noqa: E402

MANY, FEW_ROUNDS = 1000, 20


def measure(build, sessions, rounds):
    with authority.Authority(build, sessions, sessions, 1) as nva:
        nva.start()
        seen = nva.measure("fanout", max(FEW_ROUNDS, rounds // (10 if sessions > MANY else 1)), nva.process.pid)
    figures = {f"fanout_ms.{share}.{sessions}": seen[f"{share}_ms"] for share in ("p50", "p99", "max")}
    figures |= {f"fanout_left_ms.{share}.{sessions}": seen[f"left_{share}_ms"] for share in ("p50", "p99", "max")}
    for name in ("authority_us", "load_us", "ready_s", "session_octets"):
        figures[f"{name}.{sessions}"] = seen[name]
    return figures


COLUMNS = [("median ms", "fanout_ms.p50"), ("p99 ms", "fanout_ms.p99"), ("left: median", "fanout_left_ms.p50"),
           ("left: p99", "fanout_left_ms.p99"), ("authority us", "authority_us"), ("load us", "load_us"),
           ("all ready s", "ready_s"), ("octets a session", "session_octets")]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--sessions", type=int, nargs="+", default=[10, 100, 1000, 10000])
    parser.add_argument("--rounds", type=int, default=200)
    args = parser.parse_args()
    figures = {}
    print(f"{'sessions':>9}" + "".join(f"{title:>17}" for title, _ in COLUMNS))
    for sessions in args.sessions:
        figures |= measure(args.build, sessions, args.rounds)
        print(f"{sessions:>9}" + "".join(f"{figures[f'{name}.{sessions}']:>17,.2f}" for _, name in COLUMNS), flush=True)
    record.write(args.out, figures)


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, subprocess.CalledProcessError) as failed:
        sys.exit(f"bench fanout: {failed}")
