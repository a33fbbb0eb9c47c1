# SPDX-License-Identifier: Apache-2.0
"""Cold moves of a real VM that does not run, with its disks, two ports in two VNs, IPv4 and IPv6.

The guest writes to memory and to both disks all the time and notices one write that is lost or done twice
(lab/guest/work.c): after a suspended VM's move all it ever wrote must be there, after a stopped one's all that was on disk.
"""
import glob
import hashlib
import json
import os
import re
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from labs import USER, Lab, wait_until  # noqa: E402

ADDRESSES, SECOND = ["10.1.0.10", "fd00:1::10"], "10.2.0.10"
MIB = 1 << 20
IMAGES = ["one.raw", "two.qcow2"]


@pytest.fixture(scope="module")
def lab():
    with Lab(f"cv{os.getpid() % 10000}", hosts=3, accelerator="tcg") as lab:
        lab.godwit("vn", "create", "blue", "--subnet", "10.1.0.0/24", "--subnet", "fd00:1::/64")
        lab.godwit("vn", "create", "green", "--subnet", "10.2.0.0/24")
        lab.lab("guest", "add", "client", "--host", "h3", "--vn", "blue", "--ip", "10.1.0.30", "--ip", "fd00:1::30")
        lab.lab("guest", "add", "second", "--host", "h3", "--vn", "green", "--ip", "10.2.0.30")
        make_images(lab, "h1")
        create(lab)
        start(lab, "h1")
        yield lab


def disk_dir(lab, host):
    with open(f"{lab.folder}/hosts/{host}/hv.conf", encoding="utf-8") as conf:
        return re.search(r"^disk-dir = (.*)$", conf.read(), re.M).group(1)


def make_images(lab, host):
    folder = disk_dir(lab, host)
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/one.raw", "wb") as image:
        image.truncate(16 * MIB)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", f"{folder}/two.qcow2", "16M"], check=True)
    for name in IMAGES:
        os.chown(f"{folder}/{name}", USER, USER)


def create(lab):
    folder = f"{lab.folder}/images"
    build = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../lab/guest/build.sh"))
    subprocess.run([build, folder], check=True)
    cmdline = (f"console=ttyS0 quiet mitigations=off gw.ip4={ADDRESSES[0]}/24,{SECOND}/24 gw.ip6={ADDRESSES[1]}/64 "
               "gw.work=4,1000")
    lab.api("POST", "/v1/vms", {
        "name": "web", "memory_mib": 128, "kernel": f"{folder}/vmlinuz", "initrd": f"{folder}/initrd", "cmdline": cmdline,
        "disks": [{"path": IMAGES[0], "format": "raw"}, {"path": IMAGES[1]}],
        "ports": [{"vn": "blue", "addresses": ADDRESSES}, {"vn": "green", "addresses": [SECOND]}]})


def start(lab, host):
    lab.api("POST", "/v1/vms/web/start", {"nve": host}, timeout_s=60)
    wait_until("it answers", lambda: answers(lab), 90)
    wait_until("the guest works", lambda: work(lab), 30)


def answers(lab):
    return all(lab.answers("client", a) for a in ADDRESSES) and lab.answers("second", SECOND)


def images(lab):
    return {host: sorted(f for f in os.listdir(disk_dir(lab, host)) if not f.startswith(".")) if
            os.path.isdir(disk_dir(lab, host)) else [] for host in ("h1", "h2")}


def work(lab):
    files = sorted(glob.glob(f"{lab.folder}/hosts/*/state/hv/vm/web@default/console.log"), key=os.path.getmtime)
    for path in reversed(files):
        with open(path, encoding="utf-8", errors="replace") as console:
            lines = re.findall(r"work: pages=(\d+) blocks=(\d+) bad=(\d+)", console.read())
        if lines:
            return dict(zip(("pages", "blocks", "bad"), map(int, lines[-1])))
    return None


def goes_on(lab, pages, blocks):
    """It has gone over so much of its memory and its disks since, and found nothing wrong."""
    before = work(lab)
    done = wait_until("the guest works on", lambda: (w := work(lab)) and
                      ((w["pages"] > before["pages"] + pages and w["blocks"] > before["blocks"] + blocks) or w["bad"]) and w, 60)
    assert done["bad"] == 0, done


def contents(lab, host):
    """What a guest would read: of the qcow2 image the virtual disk, since the file may be laid out anew."""
    out, raw = [], f"{lab.folder}/read.raw"
    for name in IMAGES:
        subprocess.run(["qemu-img", "convert", "-O", "raw", f"{disk_dir(lab, host)}/{name}", raw], check=True)
        with open(raw, "rb") as file:
            out.append(hashlib.sha256(file.read()).hexdigest())
        os.unlink(raw)
    return out


def allocated(lab, host):
    return sum(os.stat(f"{disk_dir(lab, host)}/{name}").st_blocks * 512 for name in IMAGES)


def test_suspended_with_disks(lab):
    """It stands still, moves with its memory and its disks, and goes on where it stood."""
    goes_on(lab, 1100, 20)
    lab.godwit("vm", "suspend", "web")
    before = work(lab)
    move = lab.moved(lab.move("web", "h2"), 60)
    assert (move["result"], move["as"], move["mode"]) == ("ok", "suspended", "cold"), move
    assert (lab.vm("web")["state"], lab.vm("web")["nve"]) == ("paused", "h2")
    assert images(lab) == {"h1": [], "h2": IMAGES}
    assert work(lab) == before, "it has not run meanwhile"
    lab.godwit("vm", "resume", "web")
    wait_until("it answers from there", lambda: answers(lab), 20)
    goes_on(lab, 1100, 300)


def test_a_stop_leaves_the_images_that_came_along(lab):
    lab.godwit("vm", "stop", "web", "--force", "--wait")
    wait_until("it is nowhere", lambda: lab.vm("web")["state"] == "stopped" and not lab.emulators("web"))
    assert images(lab) == {"h1": [], "h2": IMAGES}
    assert lab.vm("web")["home"] == "h2"


def test_stopped_with_disks(lab):
    """Definition and disks go, octet for octet; nothing runs, at any time; it starts where its disks are."""
    before, held = contents(lab, "h2"), allocated(lab, "h2")
    assert held < 24 * MIB, "the images are sparse"
    plan = json.loads(lab.godwit("vm", "move", "web", "--to", "h1", "--plan", "--json").stdout)
    assert plan["expected"]["as"] == "stopped" and plan["expected"]["disk_octets"] > 0, plan
    move = lab.moved(lab.move("web", "h1"), 60)
    assert (move["result"], move["as"]) == ("ok", "stopped"), move
    vm = wait_until("it is stopped", lambda: (v := lab.vm("web"))["state"] == "stopped" and v)
    assert (vm["home"], vm["nve"], vm["binding"]["locator"]) == ("h1", "", "")
    assert images(lab) == {"h1": IMAGES, "h2": []}
    assert contents(lab, "h1") == before
    assert allocated(lab, "h1") <= held + MIB, "and stay so"
    wait_until("no emulator is left", lambda: not lab.emulators("web"))
    vm = lab.api("POST", "/v1/vms/web/start", {}, timeout_s=60)
    assert (vm["nve"], vm["state"]) == ("h1", "running")


def test_a_drain_takes_a_stopped_vm_along(lab):
    """With its disks, to where there is room; it starts there."""
    lab.godwit("vm", "stop", "web", "--force", "--wait")
    wait_until("it is nowhere", lambda: lab.vm("web")["state"] == "stopped" and not lab.emulators("web"))
    before = contents(lab, "h1")
    lab.godwit("nve", "drain", "h3", "--no-wait")       # nor may it go there
    assert "cold (stopped)" in lab.godwit("nve", "drain", "h1", "--plan").stdout
    assert "h1 is empty; 1 VMs have moved" in lab.godwit("nve", "drain", "h1").stdout
    vm = wait_until("it is stopped", lambda: (v := lab.vm("web"))["state"] == "stopped" and v)
    assert (vm["home"], images(lab)) == ("h2", {"h1": [], "h2": IMAGES}) and contents(lab, "h2") == before
    for host in ("h1", "h3"):
        lab.godwit("nve", "undrain", host)
    assert lab.moved(lab.move("web", "h1"), 60)["result"] == "ok"
    wait_until("it is stopped", lambda: lab.vm("web")["state"] == "stopped")
    assert lab.api("POST", "/v1/vms/web/start", {}, timeout_s=60)["nve"] == "h1"


def test_a_target_that_refuses_leaves_a_stopped_vm_as_it_was(lab):
    lab.godwit("vm", "stop", "web", "--force", "--wait")
    wait_until("it is nowhere", lambda: lab.vm("web")["state"] == "stopped" and not lab.emulators("web"))
    before = contents(lab, "h1")
    with open(f"{disk_dir(lab, 'h2')}/two.qcow2", "wb") as image:
        image.write(b"precious")
    move = lab.moved(lab.move("web", "h2"), 60)
    assert move["result"] == "failed" and "not overwritten" in move["reason"], move
    vm = wait_until("it is stopped", lambda: (v := lab.vm("web"))["state"] == "stopped" and v)
    assert vm["home"] == "h1" and images(lab) == {"h1": IMAGES, "h2": ["two.qcow2"]}
    assert contents(lab, "h1") == before
    wait_until("no emulator is left", lambda: not lab.emulators("web"))
