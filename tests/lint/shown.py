#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every test that a page of docs/ names as proof exists: `ring/program/case` is a word in tests/ring/program.c or .py."""
import glob
import os
import re
import sys

NAME = re.compile(r"`(unit|prop|sim|fuzz|bpf|net|vm)/([a-z0-9_]+)/([a-zA-Z0-9_]+)`")


def missing(page):
    with open(page, encoding="utf-8") as file:
        names = NAME.findall(file.read())
    for ring, program, case in names:
        sources = [path for path in (f"tests/{ring}/{program}{kind}" for kind in (".c", ".py")) if os.path.exists(path)]
        if not any(re.search(rf"\b{case}\b", open(path, encoding="utf-8").read()) for path in sources):
            yield f"{page}: there is no test {ring}/{program}/{case}"


def main():
    faults = [fault for page in sorted(glob.glob("docs/**/*.md", recursive=True)) for fault in missing(page)]
    print("\n".join(faults) or "tests named in docs: all there")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
