#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Includes point down the tree, never up (docs/architecture.md, Parts).

Each folder under src/ may include its own headers and those of the folders that
its row names; the pure cores may also include no system header that does I/O.
"""
import re
import subprocess
import sys

MAY_INCLUDE = {
    "base": [],
    "wire": ["base"],
    "io": ["base", "wire"],
    "conf": ["base"],
    "directory": ["base", "wire"],
    "move": ["base"],
    "store": ["base"],
    "edge": ["base", "wire"],
    "datapath": ["base", "io"],
    "hypervisor": ["base", "io", "conf"],
    "route": ["base", "wire", "io"],
}
EVERYTHING = list(MAY_INCLUDE)
for shell in ("nva", "nve", "hv"):
    MAY_INCLUDE[shell] = EVERYTHING
MAY_INCLUDE["cli"] = EVERYTHING
MAY_INCLUDE["lab"] = EVERYTHING + ["cli"]

PURE = {"wire", "directory", "move", "edge"}
IO_HEADERS = re.compile(
    r"^(sys/socket|sys/epoll|sys/ioctl|unistd|fcntl|stdio_ext|time|sys/time|sys/random|netdb|poll|"
    r"systemd/.*|openssl/.*|bpf/.*|libmnl/.*|curl/.*|lmdb|microhttpd)\.h$")
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)', re.M)


def folder_of(path):
    parts = path.split("/")
    return parts[1] if parts[0] == "src" else parts[0]


def faults_in(path):
    folder = folder_of(path)
    for own, system in INCLUDE.findall(open(path, encoding="utf-8").read()):
        if system and folder in PURE and IO_HEADERS.match(system):
            yield f"{path}: includes <{system}>, but src/{folder} does no I/O"
        target = own.split("/")[0] if "/" in own else None
        if target in MAY_INCLUDE and target != folder and target not in MAY_INCLUDE[folder]:
            yield f"{path}: includes \"{own}\", which is not below {folder}"


def main():
    files = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "src", "lab"],
                           capture_output=True, text=True, check=True).stdout.split()
    faults = [fault for path in files if path.endswith((".c", ".h")) and folder_of(path) in MAY_INCLUDE
              for fault in faults_in(path)]
    print("\n".join(faults) if faults else f"layers: {len(files)} files, every include points down")
    return 1 if faults else 0


sys.exit(main())
