# SPDX-License-Identifier: Apache-2.0
"""A real VM in a laboratory that works all the time and notices a write that is lost or done twice (lab/guest/work.c)."""
import glob
import os
import re
import subprocess

from labs import wait_until

ADDRESSES = ["10.1.0.10", "fd00:1::10"]
SECOND = "10.2.0.10"
WORK_MIB, PAGES_A_SECOND = 24, 2000


def images(lab):
    """The laboratory makes them with its first real VM; so do we."""
    folder = f"{lab.folder}/images"
    build = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../lab/guest/build.sh"))
    subprocess.run([build, folder], check=True)
    return folder


def create(lab, name, host="h1", **change):
    folder = images(lab)
    cmdline = (f"console=ttyS0 quiet mitigations=off gw.ip4={ADDRESSES[0]}/24,{SECOND}/24 gw.ip6={ADDRESSES[1]}/64 "
               f"gw.work={WORK_MIB},{PAGES_A_SECOND}")
    lab.api("POST", "/v1/vms", {
        "name": name, "memory_mib": 128, "kernel": f"{folder}/vmlinuz", "initrd": f"{folder}/initrd", "cmdline": cmdline,
        "ports": [{"vn": "blue", "addresses": ADDRESSES}, {"vn": "green", "addresses": [SECOND]}], **change})
    lab.api("POST", f"/v1/vms/{name}/start", {"nve": host}, timeout_s=60)


def work(lab, name):
    """What the guest says of its work on whichever host wrote last: {pages, blocks, bad}."""
    files = glob.glob(f"{lab.folder}/hosts/*/state/hv/vm/{name}@default/console.log")
    files.sort(key=os.path.getmtime)
    for path in reversed(files):
        with open(path, encoding="utf-8", errors="replace") as console:
            lines = re.findall(r"work: pages=(\d+) blocks=(\d+) bad=(\d+)", console.read())
        if lines:
            return dict(zip(("pages", "blocks", "bad"), map(int, lines[-1])))
    return None


def goes_on(lab, name):
    """The guest has gone over all of its memory since, and found nothing wrong."""
    before = work(lab, name)["pages"]
    done = wait_until("the guest works on", lambda: (w := work(lab, name)) and
                      (w["pages"] > before + WORK_MIB * 256 or w["bad"]) and w, 60)
    assert done["bad"] == 0, done
