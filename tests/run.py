#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every ring of tests, cheap ones first, and ends with `N passed, N failed, N skipped`.

  unit, prop, sim, fuzz   compiled tests, in the sanitizer build (ASan and UBSan)
  bpf                     eBPF programs on built packets, in the plain build (the kernel runs them)
  net, vm                 pytest: daemons in namespaces, and real virtual machines

--list names every test. Patterns select by substring of `ring/program/case`.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import time

COMPILED = ["unit", "prop", "sim", "fuzz", "bpf"]
PLAIN_BUILD = {"bpf"}
PYTEST = ["net", "vm"]
CASE = re.compile(r"\bcmocka_unit_test(?:_setup_teardown|_setup|_teardown|_prestate\w*)?\(\s*(\w+)")
TAP = re.compile(r"^(ok|not ok)\b[ \d-]*(.*?)(?:\s*#\s*(SKIP|skip)\b(.*))?$")
HERE = os.path.dirname(os.path.abspath(__file__))
TIMEOUT_S = {"unit": 120, "prop": 180, "sim": 180, "fuzz": 180, "bpf": 180}


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.failures = []
        self.skips = []


def introspect(build, what):
    out = subprocess.run(["meson", "introspect", "--" + what, build], capture_output=True, text=True, check=True)
    return json.loads(out.stdout)


def compiled_tests(build, rings):
    """[(ring, name, test, [cases])] in ring order."""
    sources = {}
    for target in introspect(build, "targets"):
        for filename in target["filename"]:
            sources[filename] = [s for group in target["target_sources"] for s in group.get("sources", [])]
    found = []
    for test in introspect(build, "tests"):
        ring = test["suite"][0].split(":")[-1]
        if ring in rings:
            text = "".join(open(s, encoding="utf-8").read() for s in sources.get(test["cmd"][0], []) if s.endswith(".c"))
            test["workdir"] = test.get("workdir") or build       # as `meson test` does
            found.append((ring, test["name"], test, CASE.findall(text)))
    return sorted(found, key=lambda t: (COMPILED.index(t[0]), t[1]))


def names_of(ring, name, cases):
    return [f"{ring}/{name}/{case}" for case in cases] or [f"{ring}/{name}"]


def selected(names, patterns):
    return not patterns or any(p in n for p in patterns for n in names)


def run_compiled(ring, name, test, tally):
    env = dict({**os.environ, **test.get("env", {})}, CMOCKA_MESSAGE_OUTPUT="TAP",
               ASAN_OPTIONS="detect_leaks=1:abort_on_error=0", UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1")
    started = time.monotonic()
    try:
        run = subprocess.run(test["cmd"], env=env, cwd=test["workdir"], capture_output=True, text=True,
                             errors="replace", timeout=TIMEOUT_S[ring])
        output, status = run.stdout + run.stderr, run.returncode
    except subprocess.TimeoutExpired as stuck:
        output = (stuck.stdout or b"").decode(errors="replace") + (stuck.stderr or b"").decode(errors="replace")
        status = -1
        output += f"\nstill running after {TIMEOUT_S[ring]} s"
    counts = count_tap(output, f"{ring}/{name}", tally)
    if counts == 0:         # no TAP: the exit code speaks; 77 is "skipped", as in automake
        if status == 0:
            tally.passed += 1
        elif status == 77:
            tally.skipped += 1
            tally.skips.append(f"{ring}/{name}: {output.strip().splitlines()[-1] if output.strip() else ''}")
        else:
            tally.failed += 1
            tally.failures.append(f"{ring}/{name}")
    elif status != 0 and not any(f.startswith(f"{ring}/{name}/") for f in tally.failures):
        tally.failed += 1
        tally.failures.append(f"{ring}/{name} (exit status {status})")
    failed = any(f.startswith(f"{ring}/{name}") for f in tally.failures)
    print(f"{'FAIL' if failed else 'ok  '}  {ring}/{name}  {time.monotonic() - started:.1f} s", flush=True)
    if failed:
        print("\n".join("      " + line for line in output.splitlines()[-60:]), flush=True)
    else:
        for line in output.splitlines():
            if "seed" in line.lower():
                print("      " + line.strip(), flush=True)


def count_tap(output, prefix, tally):
    counts = 0
    for line in output.splitlines():
        match = TAP.match(line)
        if not match:
            continue
        counts += 1
        verdict, case, skip, why = match.groups()
        if skip:
            tally.skipped += 1
            tally.skips.append(f"{prefix}/{case.strip()}: {(why or '').strip()}")
        elif verdict == "ok":
            tally.passed += 1
        else:
            tally.failed += 1
            tally.failures.append(f"{prefix}/{case.strip()}")
    return counts


def pytest_ids(ring):
    folder = os.path.join(HERE, ring)
    if not os.path.isdir(folder) or not any(f.startswith("test_") for f in os.listdir(folder)):
        return []
    out = subprocess.run([sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", folder],
                         capture_output=True, text=True, cwd=HERE)
    return [line for line in out.stdout.splitlines() if "::" in line]


def pytest_name(ring, node):
    file, case = node.split("::", 1)
    return f"{ring}/{os.path.basename(file)[5:-3]}/{case.replace('::', '/')}"


def run_pytest(ring, nodes, build, tally):
    env = dict(os.environ, GW_BUILD=os.path.abspath(build), PYTHONDONTWRITEBYTECODE="1")
    command = [sys.executable, "-m", "pytest", "-v", "--tb=short", "-rs", "-p", "no:cacheprovider", "--rootdir", HERE]
    run = subprocess.Popen(command + nodes, env=env, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True, errors="replace")
    seen = 0
    for line in run.stdout:
        print("      " + line.rstrip(), flush=True)
        match = re.match(r"^(\S+::.*?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b(.*)$", line)
        if not match:
            continue
        seen += 1
        name, verdict = pytest_name(ring, match.group(1)), match.group(2)
        if verdict == "PASSED":
            tally.passed += 1
        elif verdict == "SKIPPED":
            tally.skipped += 1
            tally.skips.append(name + match.group(3).split("[")[0])
        else:
            tally.failed += 1
            tally.failures.append(name)
    if run.wait() not in (0, 1, 5) or (nodes and seen == 0):
        tally.failed += 1
        tally.failures.append(f"{ring}: pytest ended with status {run.returncode}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--build-asan", required=True)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("patterns", nargs="*")
    args = parser.parse_args()

    tally, rings = Tally(), [r for r in COMPILED if r not in PLAIN_BUILD]
    compiled = compiled_tests(args.build_asan, rings) + compiled_tests(args.build, PLAIN_BUILD)
    for ring, name, test, cases in compiled:
        names = names_of(ring, name, cases)
        if not selected(names, args.patterns):
            continue
        if args.list:
            print("\n".join(names))
        else:
            run_compiled(ring, name, test, tally)
    for ring in PYTEST:
        nodes = [n for n in pytest_ids(ring) if selected([pytest_name(ring, n)], args.patterns)]
        if args.list:
            print("\n".join(pytest_name(ring, n) for n in nodes))
        elif nodes:
            run_pytest(ring, nodes, args.build, tally)
    if args.list:
        return 0
    for skip in tally.skips:
        print(f"skipped: {skip}")
    for failure in tally.failures:
        print(f"failed: {failure}")
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped")
    return 1 if tally.failed or tally.passed == 0 else 0


sys.exit(main())
