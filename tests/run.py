#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every ring of tests, cheap ones first, and ends with `N passed, N failed, N skipped`.

  unit, prop, sim, fuzz   compiled tests, in the sanitizer build (ASan and UBSan)
  bpf                     eBPF programs on built packets, in the plain build (the kernel runs them)
  net, vm                 pytest: daemons in namespaces, and real virtual machines

A program or a pytest file is a job. Most of them wait rather than compute, so twice as many run side by side as there are
processors (GW_JOBS: as many as that): the compiled ones first, then half as many of `net`, whose laboratories have a dozen daemons each.
Those of `vm` come last and one after the other: an emulated guest needs a processor of its own when it moves. What a job prints is
shown when it has ended, its verdicts at once.

--list names every test. Patterns select by substring of `ring/program/case`.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

COMPILED = ["unit", "prop", "sim", "fuzz", "bpf"]
PLAIN_BUILD = {"bpf"}
TABLE = re.compile(r"\bCMUnitTest \w+\[\] = \{(.*?)\};", re.S)
CASE = re.compile(r'\b(\w+)\(\s*(\w+)|\{"([^"]+)"')              # MACRO(case, or {"case"
MACRO = re.compile(r"^#define (\w+)\((\w+)\)((?:.*\\\n)*.*)", re.M)  # of a program's own: one case or several of a function
TAP = re.compile(r"^(ok|not ok)\b[ \d-]*(.*?)(?:\s*#\s*(SKIP|skip)\b(.*))?$")
VERDICT = re.compile(r"^(\S+::.*?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b(.*)$")
HERE = os.path.dirname(os.path.abspath(__file__))
# Those that take longest begin first: what begins late should be short. Seconds, once measured; only their order matters.
LONG_S = {"unit/nva_daemon": 34, "unit/io_silence": 16, "unit/io_http": 8, "unit/nva_strangers": 8, "bpf/bpf_direct": 40,
          "bpf/bpf_hosts": 40, "bpf/bpf_arrivals": 20, "net/nve": 136, "net/failures": 100, "net/notices": 79,
          "net/authority_away": 78, "net/gateways": 65, "net/lab": 46, "net/layer2": 31, "net/drain": 24, "net/audit": 23,
          "net/bindings": 20, "net/attacks": 15, "net/multicast": 14, "vm/move_hot": 80, "vm/move_disks": 56, "vm/demo": 50,
          "vm/move_failures": 42, "vm/move_postcopy": 29}
STUCK_S = 400      # several times what the longest takes on a machine that is busy


class Tally:
    """Verdicts of all jobs. Jobs run in threads of their own: whoever adds a verdict or prints a block holds the lock."""

    def __init__(self):
        self.lock = threading.Lock()
        self.passed = self.failed = self.skipped = 0
        self.failures = []
        self.skips = []

    def add(self, verdict, name, why=""):
        with self.lock:
            if verdict == "passed":
                self.passed += 1
            elif verdict == "skipped":
                self.skipped += 1
                self.skips.append(f"{name}: {why}" if why else name)
            else:
                self.failed += 1
                self.failures.append(name)

    def say(self, text):
        with self.lock:
            print(text, flush=True)


def introspect(build, what):
    out = subprocess.run(["meson", "introspect", "--" + what, build], capture_output=True, text=True, check=True)
    return json.loads(out.stdout)


def text_of(source):
    """A test program's source with the headers beside it that it includes."""
    with open(source, encoding="utf-8") as f:
        text = f.read()
    beside = [os.path.join(os.path.dirname(source), h) for h in re.findall(r'^#include "(\w+\.h)"', text, re.M)]
    return text + "".join(open(h, encoding="utf-8").read() for h in beside if os.path.exists(h))


def cases_of(text):
    """The cases in a program's tables of tests, under the names that they report."""
    endings = {name: [""] * ("cmocka_unit_test" in body) + re.findall(rf'#{case} "([^"]*)"', body)
               for name, case, body in MACRO.findall(text)}
    found = []
    for macro, case, literal in (entry for table in TABLE.findall(text) for entry in CASE.findall(table)):
        if literal:
            found.append(literal)
        elif macro.startswith("cmocka_unit_test") or macro in endings:
            found += [case + ending for ending in endings.get(macro, [""])]
    return found


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
            text = "".join(text_of(s) for s in sources.get(test["cmd"][0], []) if s.endswith(".c"))
            test["workdir"] = test.get("workdir") or build       # as `meson test` does
            found.append((ring, test["name"], test, cases_of(text)))
    return sorted(found, key=lambda t: (COMPILED.index(t[0]), t[1]))


def names_of(ring, name, cases):
    return [f"{ring}/{name}/{case}" for case in cases] or [f"{ring}/{name}"]


def selected(names, patterns):
    return not patterns or any(p in n for p in patterns for n in names)


def execute(test):
    """(output, exit status) of a compiled test."""
    env = dict({**os.environ, **test.get("env", {})}, CMOCKA_MESSAGE_OUTPUT="TAP",
               ASAN_OPTIONS="detect_leaks=1:abort_on_error=0", UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1")
    try:
        run = subprocess.run(test["cmd"], env=env, cwd=test["workdir"], capture_output=True, text=True,
                             errors="replace", timeout=STUCK_S)
        return run.stdout + run.stderr, run.returncode
    except subprocess.TimeoutExpired as stuck:
        output = (stuck.stdout or b"").decode(errors="replace") + (stuck.stderr or b"").decode(errors="replace")
        return output + f"\nstill running after {STUCK_S} s", -1


def verdicts_of(output, status, name):
    """[(verdict, name, why)] of a compiled test, from its TAP, or where there is none from its exit code (77: skipped, as in automake)."""
    found = []
    for match in filter(None, map(TAP.match, output.splitlines())):
        verdict, case, skip, why = match.groups()
        said = "skipped" if skip else "passed" if verdict == "ok" else "failed"
        found.append((said, f"{name}/{case.strip()}", (why or "").strip()))
    if not found and status == 77:
        return [("skipped", name, output.strip().splitlines()[-1] if output.strip() else "")]
    if not found:
        return [("passed" if status == 0 else "failed", name, "")]
    if status != 0 and not any(verdict == "failed" for verdict, _, _ in found):
        found.append(("failed", f"{name} (exit status {status})", ""))
    return found


def run_compiled(ring, name, test, tally):
    started = time.monotonic()
    output, status = execute(test)
    verdicts = verdicts_of(output, status, f"{ring}/{name}")
    for verdict in verdicts:
        tally.add(*verdict)
    failed = any(verdict == "failed" for verdict, _, _ in verdicts)
    shown = output.splitlines()[-60:] if failed else [line.strip() for line in output.splitlines() if "seed" in line.lower()]
    tally.say("\n".join([f"{'FAIL' if failed else 'ok  '}  {ring}/{name}  {time.monotonic() - started:.1f} s"]
                        + ["      " + line for line in shown]))


def pytest_ids(ring):
    folder = os.path.join(HERE, ring)
    if not os.path.isdir(folder) or not any(f.startswith("test_") for f in os.listdir(folder)):
        return []
    out = subprocess.run([sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", folder],
                         capture_output=True, text=True, cwd=HERE)
    return [line for line in out.stdout.splitlines() if "::" in line]


def file_of(node):
    return os.path.basename(node.split("::", 1)[0])[5:-3]


def pytest_name(ring, node):
    file, case = node.split("::", 1)
    return f"{ring}/{file_of(file)}/{case.replace('::', '/')}"


def run_pytest(ring, nodes, build, tally):
    """Runs cases of one file: verdicts are shown as they come, what else pytest says when one of them failed."""
    env = dict(os.environ, GW_BUILD=os.path.abspath(build), PYTHONDONTWRITEBYTECODE="1")
    command = [sys.executable, "-m", "pytest", "-v", "--tb=short", "--durations=3", "-p", "no:cacheprovider", "--rootdir", HERE]
    started = time.monotonic()
    run = subprocess.Popen(command + nodes, env=env, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True, errors="replace")
    seen, rest, failed = 0, [], False
    for line in map(str.rstrip, run.stdout):
        match = VERDICT.match(line)
        if not match:
            rest.append("      " + line)
            continue
        seen += 1
        name, verdict = pytest_name(ring, match.group(1)), match.group(2)
        said = {"PASSED": "passed", "SKIPPED": "skipped"}.get(verdict, "failed")
        failed |= said == "failed"
        tally.add(said, name, match.group(3).split("[")[0].strip())
        tally.say(f"      {name} {verdict}")
    if run.wait() not in (0, 1) or seen == 0:
        failed = True
        tally.add("failed", f"{ring}/{file_of(nodes[0])}: pytest ended with status {run.returncode}")
    tally.say("\n".join([f"{'FAIL' if failed else 'ok  '}  {ring}/{file_of(nodes[0])}  {time.monotonic() - started:.1f} s"]
                        + (rest if failed else [])))


def jobs_of_compiled(build, rings, args, tally):
    """[(job, function)] that run what is selected of compiled rings; with --list it is named instead."""
    jobs = []
    for ring, name, test, cases in compiled_tests(build, rings):
        names = names_of(ring, name, cases)
        if selected(names, args.patterns) and args.list:
            print("\n".join(names))
        elif selected(names, args.patterns):
            jobs.append((f"{ring}/{name}", lambda ring=ring, name=name, test=test: run_compiled(ring, name, test, tally)))
    return jobs


def jobs_of_pytest(ring, args, tally):
    """The same for a ring of pytest files."""
    files = {}
    for node in pytest_ids(ring):
        if selected([pytest_name(ring, node)], args.patterns):
            files.setdefault(node.split("::", 1)[0], []).append(node)
            if args.list:
                print(pytest_name(ring, node))
    if args.list:
        return []
    return [(f"{ring}/{file_of(nodes[0])}", lambda nodes=nodes: run_pytest(ring, nodes, args.build, tally)) for nodes in files.values()]


def longest_first(jobs):
    return [job for _, job in sorted(jobs, key=lambda job: -LONG_S.get(job[0], 0))]


def run_jobs(jobs, side_by_side):
    with ThreadPoolExecutor(side_by_side) as pool:
        try:
            for done in [pool.submit(job) for job in jobs]:
                done.result()
        except BaseException:       # what has not begun does not begin
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--build-asan", required=True)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("patterns", nargs="*")
    args = parser.parse_args()

    tally, side_by_side = Tally(), int(os.environ.get("GW_JOBS", 2 * os.cpu_count()))
    sanitized = [ring for ring in COMPILED if ring not in PLAIN_BUILD]
    compiled = jobs_of_compiled(args.build_asan, sanitized, args, tally) + jobs_of_compiled(args.build, PLAIN_BUILD, args, tally)
    run_jobs(longest_first(compiled), side_by_side)
    run_jobs(longest_first(jobs_of_pytest("net", args, tally)), max(1, side_by_side // 2))
    run_jobs(longest_first(jobs_of_pytest("vm", args, tally)), 1)
    if args.list:
        return 0
    for skip in tally.skips:
        print(f"skipped: {skip}")
    for failure in tally.failures:
        print(f"failed: {failure}")
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped")
    return 1 if tally.failed or tally.passed == 0 else 0


sys.exit(main())
