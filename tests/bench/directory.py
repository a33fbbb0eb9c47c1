#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bench directory: what the authority carries over real sessions, beside etcd and Redis in the same run.

All on loopback of one machine: whoever asks and whoever answers share its processors. README.md says what each
figure is. The peers are asked for as many keys as the authority has bindings, with values as long as a mapping.
"""
import argparse
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
import authority  # noqa: E402
import stores  # noqa: E402
import record  # noqa: E402

SESSIONS, DEPTH, NVES, VNS = 8, 512, 64, 20
MILLION = 1_000_000


def directory(build, seconds, vms, reach):
    figures = {}
    with authority.Authority(build, vms, NVES, VNS) as nva:
        nva.start()
        nva.stop()                              # the first start after the seeding only warms what is to be warm
        figures["restart_s.1e6"] = nva.start()
        empty = base_octets(build)
        figures["bytes_per_binding.1e6"] = (authority.anonymous_octets(nva.process.pid) - empty) / vms
        for name, what in (("lookup", "lookup"), ("registration", "register")):
            many = nva.measure(what, SESSIONS, DEPTH, seconds, reach)
            calm = nva.measure(what, SESSIONS, 1, seconds, reach)
            unit, scale = ("us", 1) if name == "lookup" else ("ms", 1e-3)
            figures[f"{name}s_per_s"] = many["per_s"]
            figures[f"{name}_{unit}.p50"], figures[f"{name}_{unit}.p99"] = calm["p50_us"] * scale, calm["p99_us"] * scale
            figures[f"{name}_{unit}.p99.saturated"] = many["p99_us"] * scale
            figures[f"{name}s.failed"] = many["failed"] + calm["failed"]
            figures[f"{name}s.generator_share"] = many["generator_share"]
            figures[f"{name}s.authority_share"] = many["authority_share"]
    return figures


def base_octets(build):
    """Of an authority that knows hardly anybody."""
    with authority.Authority(build, 1, 1, 1) as nva:
        nva.start()
        return authority.anonymous_octets(nva.process.pid)


def memory(build, vms):
    empty = base_octets(build)
    with authority.Authority(build, vms, NVES, 250) as nva:
        nva.start()
        return (authority.anonymous_octets(nva.process.pid) - empty) / vms


ROWS = [("lookups_per_s", "look-ups/s"), ("lookup_us.p50", "one at a time, median us"), ("lookup_us.p99", "  99th percentile us"),
        ("registrations_per_s", "durable registrations/s"), ("registration_ms.p50", "one at a time, median ms"),
        ("registration_ms.p99", "  99th percentile ms"), ("bytes_per_binding.1e6", "octets a binding, 1e6"),
        ("bytes_per_binding.1e7", "octets a binding, 1e7"), ("restart_s.1e6", "restart with 1e6, s"),
        ("etcd.lookups_per_s", "etcd: look-ups/s"), ("etcd.writes_per_s", "etcd: durable writes/s"),
        ("redis.lookups_per_s", "Redis: look-ups/s"), ("redis.writes_per_s", "Redis: durable writes/s")]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--vms", type=int, default=MILLION)
    parser.add_argument("--large", type=int, default=0, help="VMs for bytes_per_binding.1e7; 0 leaves it out")
    parser.add_argument("--reach", type=int, default=100_000, help="keys that are asked for")
    parser.add_argument("--no-peers", action="store_true")
    args = parser.parse_args()

    figures = directory(args.build, args.seconds, args.vms, args.reach)
    if args.large:
        figures["bytes_per_binding.1e7"] = memory(args.build, args.large)
    if not args.no_peers:
        for peer in (stores.Redis, stores.Etcd):
            with peer(args.build) as store:
                for name, value in store.measure(args.seconds, args.reach).items():
                    figures[f"{store.name}.{name}"] = value
    for key, text in ROWS:
        if key in figures:
            print(f"{text:36}{figures[key]:>14,.1f}")
    record.write(args.out, figures)


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, subprocess.CalledProcessError) as failed:
        sys.exit(f"bench directory: {failed}")
