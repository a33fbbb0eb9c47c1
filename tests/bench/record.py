# SPDX-License-Identifier: Apache-2.0
"""What every bench leaves behind: a JSON file of its figures and of the machine that they are from."""
import json
import os
import platform


def write(path, figures, machine=None, **more):
    """`machine`: what else about it or the run matters; `more`: beside the figures."""
    known = {"cpus": os.cpu_count(), "kernel": platform.release(), "machine": platform.machine(), "load": os.getloadavg()[0]}
    with open(path, "w", encoding="ascii") as file:
        json.dump({"machine": known | (machine or {}), "figures": figures, **more}, file, indent=1)
        file.write("\n")
    print(f"written to {path}")
