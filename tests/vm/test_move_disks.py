# SPDX-License-Identifier: Apache-2.0
"""Disks that move with their VM: two of them, raw and qcow2, in each host's own folder, while the guest writes to both and
verifies what it reads (lab/guest/work.c)."""
import os
import signal
import subprocess
import time

import pytest

from hvbed import Bed, address_tap, echo, move, wait_for, work

VM = "web@default"
MIB = 1 << 20
RAW_MIB, QCOW2_MIB = 4, 3       # small enough for the guest to come by every block within seconds
EVERY_BLOCK = 2 * RAW_MIB * 256 # it writes to both by turns


@pytest.fixture(scope="module")
def bed():
    with Bed() as bed_:
        yield bed_


def guest(bed, images, **change):
    disks = [{"path": "one.raw", "format": "raw"}, {"path": "two.qcow2", "format": "qcow2"}]
    cmdline = "console=ttyS0 quiet mitigations=off gw.ip4=10.1.0.10/24 gw.ip6=fd00:1::10/64 gw.work=8,500"
    return bed.definition(**{"kernel": f"{images}/vmlinuz", "initrd": f"{images}/initrd", "disks": disks,
                             "cmdline": cmdline, **change})


def make_images(host):
    folder = f"{host.dir}/disks"
    with open(f"{folder}/one.raw", "wb") as image:
        image.truncate(RAW_MIB * MIB)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", f"{folder}/two.qcow2", f"{QCOW2_MIB}M"], check=True)


def files(host):
    return sorted(f for f in os.listdir(f"{host.dir}/disks"))


def works_on(host, blocks):
    def done():
        seen = work(host)
        return seen and (seen["blocks"] > blocks or seen["bad"]) and seen
    seen = wait_for("the guest works on", done, 60)
    assert seen["bad"] == 0, seen
    return seen["blocks"]


@pytest.fixture(scope="module")
def running(bed, images):
    """The host where it runs, to be taken over by each test: [source, target, epoch]."""
    one, two = bed.hosts
    make_images(one)
    one.post("/v1/vms", {"definition": guest(bed, images), "epoch": 1})
    address_tap(one)
    assert echo(one, "10.1.0.10", timeout=60), one.log_tail()
    wait_for("it works", lambda: work(one), 30)
    return [one, two, 1]


def go(running, definition, **options):
    """A move to its end."""
    one, two, epoch = running
    name = move(one, two, definition, epoch, **options)
    try:
        wait_for("it runs there", lambda: two.event("move-running", move=name) or one.event("move-failed", move=name), 60)
    except AssertionError:
        print(one.log_tail(), two.log_tail(), one.events[-3:])
        raise
    assert not one.event("move-failed", move=name), one.event("move-failed", move=name)
    wait_for("all sent", lambda: one.event("move-completed", move=name), 20)
    one.post(f"/v1/vms/{VM}/finish", {"move": name})
    running[:] = [two, one, epoch + 2]
    return name


def test_there_and_back(bed, images, running):
    for _ in range(2):
        one, two, _ = running
        blocks = works_on(one, work(one)["blocks"] + 200)
        name = go(running, guest(bed, images))
        assert (files(one), files(two)) == ([], ["one.raw", "two.qcow2"])
        assert one.event("move-progress", move=name)["disk_total"] >= 0
        works_on(two, blocks + EVERY_BLOCK)
        sparse = os.stat(f"{two.dir}/disks/one.raw")
        assert sparse.st_size == RAW_MIB * MIB and sparse.st_blocks * 512 <= RAW_MIB * MIB


def test_cancelled_in_the_disks_copy(bed, images, running):
    one, two, epoch = running
    name = move(one, two, guest(bed, images), epoch, bandwidth_mib_s=1)
    wait_for("under way", lambda: one.event("move-progress", move=name) and
             one.event("move-progress", move=name).get("disk_total") is not None)
    one.post(f"/v1/vms/{VM}/cancel", {"move": name})
    assert wait_for("cancelled", lambda: one.event("move-failed", move=name))["running"]
    two.post(f"/v1/vms/{VM}/abandon", {"move": name})
    assert files(two) == [] and files(one) == ["one.raw", "two.qcow2"]
    running[2] = epoch + 2
    works_on(one, work(one)["blocks"] + 100)


def test_target_refuses(bed, images, running):
    """A file that is there already, no room, a folder that is not there: refused by name, the VM untouched."""
    one, two, epoch = running
    definition = guest(bed, images)
    survey = one.post(f"/v1/vms/{VM}/survey", {"move": "m"})["disks"]
    assert [(d["disk"], d["format"], d["virtual_octets"]) for d in survey] == [(0, "raw", RAW_MIB * MIB), (1, "qcow2", QCOW2_MIB * MIB)]

    def incoming(disks):
        status, answer = two.call("POST", f"/v1/vms/{VM}/incoming", {
            "definition": definition, "move": "m", "epoch": epoch + 1, "from": one.ip, "source": one.name, "disks": disks})
        assert status >= 400, answer
        assert two.vm() is None and not files(two) or files(two) == ["two.qcow2"], files(two)
        return answer["error"]["text"]

    assert "no room" in incoming([{**survey[0], "allocated_octets": 1 << 60}])
    assert "definition's 2" in incoming([{**survey[0], "disk": 5}])
    assert "definition's 2" in incoming([{**survey[0], "mark": "../../etc/passwd"}])
    with open(f"{two.dir}/disks/two.qcow2", "wb") as image:
        image.write(b"precious")
    assert "not overwritten" in incoming(survey)
    with open(f"{two.dir}/disks/two.qcow2", "rb") as image:
        assert image.read() == b"precious"
    os.unlink(f"{two.dir}/disks/two.qcow2")
    works_on(one, work(one)["blocks"] + 50)


def test_images_that_are_not_what_they_should_be(bed, images):
    two = bed.hosts[1]
    with open(f"{two.dir}/disks/three.qcow2", "wb") as image:
        image.truncate(MIB)
    for path, word in (("three.qcow2", "declared as qcow2"), ("none.raw", "none.raw"), ("/dev/null", "regular file")):
        definition = guest(bed, images, name="bad", ports=[], disks=[
            {"path": path, "format": "qcow2" if "qcow2" in path else "raw"}])
        status, answer = two.call("POST", "/v1/vms", {"definition": definition, "epoch": 1})
        assert status == 400 and word in answer["error"]["text"], answer
    os.unlink(f"{two.dir}/disks/three.qcow2")


def test_shared_storage_stays(bed, images, running):
    """The same folder at both hosts: found out by the marker, nothing is copied, the image stays where it is."""
    one, two, epoch = running
    survey = one.post(f"/v1/vms/{VM}/survey", {"move": "m"})["disks"]
    for disk in survey:
        open(f"{two.dir}/disks/{disk['mark']}", "w", encoding="utf-8").close()
    for name in ("one.raw", "two.qcow2"):
        os.link(f"{one.dir}/disks/{name}", f"{two.dir}/disks/{name}")
    answer = two.post(f"/v1/vms/{VM}/incoming", {
        "definition": guest(bed, images), "move": "m", "epoch": epoch + 1, "from": one.ip, "source": one.name,
        "disks": survey})
    assert answer["disks"] == 0 and answer["tls"]
    two.post(f"/v1/vms/{VM}/abandon", {"move": "m"})
    assert {"one.raw", "two.qcow2"} <= set(files(two))          # not made by this move: not removed
    for name in os.listdir(f"{two.dir}/disks"):
        os.unlink(f"{two.dir}/disks/{name}")


def test_target_dies_in_the_disks_copy(bed, images, running):
    one, two, epoch = running
    name = move(one, two, guest(bed, images), epoch, bandwidth_mib_s=1)
    os.kill(two.vm()["pid"], signal.SIGKILL)
    failed = wait_for("failed", lambda: one.event("move-failed", move=name), 30)
    assert failed["running"] and "disk" in failed["reason"], failed
    wait_for("its images are gone", lambda: two.vm() is None and files(two) == [])
    running[2] = epoch + 2
    works_on(one, work(one)["blocks"] + 50)


def test_agent_dies_in_the_disks_copy(bed, images, running):
    """The mirrors go on without it; it finds them again and carries the move to its end."""
    one, two, epoch = running
    name = move(one, two, guest(bed, images), epoch, bandwidth_mib_s=16)
    one.kill()
    one.start()
    wait_for("it runs there", lambda: two.event("move-running", move=name) or one.event("move-failed", move=name), 90)
    assert not one.event("move-failed", move=name), one.event("move-failed", move=name)
    wait_for("all sent", lambda: one.vm()["state"] == "paused")
    one.post(f"/v1/vms/{VM}/finish", {"move": name})
    running[:] = [two, one, epoch + 2]
    assert (files(one), files(two)) == ([], ["one.raw", "two.qcow2"])
    works_on(two, 3000)


def test_kept(bed, images, running):
    one, two, _ = running
    go(running, guest(bed, images), keep_disks=True)
    assert files(one) == ["one.raw.moved", "two.qcow2.moved"] and files(two) == ["one.raw", "two.qcow2"]
