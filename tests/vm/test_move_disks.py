# SPDX-License-Identifier: Apache-2.0
"""Disks that move with their VM: two of them, raw and qcow2, in each host's own folder, while the guest writes to both and
verifies what it reads (lab/guest/work.c)."""
import json
import os
import signal
import socket
import subprocess

import pytest

from hvbed import USER, Bed, address_tap, echo, move, run, set_up_anew, tc, wait_for, work

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
    for name in ("one.raw", "two.qcow2"):
        os.chown(f"{folder}/{name}", USER, USER)


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
    assert "in use" in ask_emulator(one, "block_resize", {"node-name": "disk0", "size": 8 * MIB})
    one.start()
    wait_for("it runs there", lambda: two.event("move-running", move=name) or one.event("move-failed", move=name), 90)
    assert not one.event("move-failed", move=name), one.event("move-failed", move=name)
    wait_for("all sent", lambda: one.vm()["state"] == "paused")
    one.post(f"/v1/vms/{VM}/finish", {"move": name})
    running[:] = [two, one, epoch + 2]
    assert (files(one), files(two)) == ([], ["one.raw", "two.qcow2"])
    works_on(two, 3000)


def ask_emulator(host, command, arguments):
    """In place of an agent that is not there, which is the only one that may: the answer, or what is wrong."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(f"{host.dir}/state/vm/{VM}/qmp")
        lines = sock.makefile("rw")
        for order in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
            lines.write(json.dumps(order) + "\n")
            lines.flush()
            while True:
                answer = json.loads(lines.readline())
                if "return" in answer or "error" in answer:
                    break
    return answer["error"]["desc"] if "error" in answer else answer["return"]


def sent(host, name):
    """The last word on its progress once memory is on its way."""
    seen = [e for e in host.events if e["event"] == "move-progress" and e.get("move") == name]
    return seen[-1] if seen and seen[-1]["transferred"] else None


def begin(running, bed, images, **options):
    """A move that is to fail; a later one is another's."""
    one, two, epoch = running
    running[2] = epoch + 2
    return move(one, two, guest(bed, images), epoch, **options)


def stays(running, name, reason, gave_up_s=30):
    """The move fails by that reason; the VM is where it was, with all its data, and nothing of it is at the target."""
    one, two, _ = running
    failed = wait_for("failed", lambda: one.event("move-failed", move=name), gave_up_s)
    assert failed["running"] and reason in failed["reason"], failed
    two.call("POST", f"/v1/vms/{VM}/abandon", {"move": name})
    wait_for("nothing is left there", lambda: two.vm() is None and not files(two), 20)
    assert files(one) == ["one.raw", "two.qcow2"] and one.vm()["state"] == "running"
    works_on(one, work(one)["blocks"] + 50)
    return failed


def test_target_is_full_in_the_disks_copy(bed, images, running):
    """There was room when it was looked at, and is not for all of it."""
    _, two, _ = running
    folder = f"{two.dir}/disks"
    run("mount", "-t", "tmpfs", "-o", f"size={RAW_MIB + 1}M", "tmpfs", folder)
    try:
        with set_up_anew(two, {}):      # an agent sees what was mounted when it started
            name = begin(running, bed, images, surveyed={"allocated_octets": 0})
            failed = stays(running, name, "No space left on device", 60)
            assert two.name in failed["reason"], failed
            run("umount", "-l", folder)
    finally:
        subprocess.run(["umount", "-l", folder], check=False, capture_output=True)


def test_disk_changes_its_size_under_way(bed, images, running):
    """qemu-img is kept out by QEMU's lock; a raw image may be made longer all the same, and then the target's is too short."""
    one, two, _ = running
    name = begin(running, bed, images, bandwidth_mib_s=1)
    resized = subprocess.run(["qemu-img", "resize", f"{one.dir}/disks/two.qcow2", "+1M"], capture_output=True, text=True,
                             check=False)
    assert resized.returncode != 0 and "lock" in resized.stderr, resized
    os.truncate(f"{one.dir}/disks/one.raw", (RAW_MIB + 1) * MIB)
    try:
        failed = stays(running, name, "changed its size under way")
        assert "one.raw" in failed["reason"] and f"{RAW_MIB * MIB} to {(RAW_MIB + 1) * MIB}" in failed["reason"], failed
    finally:
        os.truncate(f"{one.dir}/disks/one.raw", RAW_MIB * MIB)


@pytest.mark.parametrize("what", [pytest.param("disks", marks=pytest.mark.long), "memory"])
def test_link_lost_while_it_is_copied(bed, images, running, what):
    """Nobody says that it is: the source sees that nothing is taken any more, and gives up long before TCP does."""
    one, two, _ = running
    with set_up_anew(one, {"copy-stall-s": "2"}):
        name = begin(running, bed, images, bandwidth_mib_s=1 if what == "disks" else 12)
        if what == "memory":
            wait_for("memory is sent", lambda: sent(one, name), 30)
        run("ip", "-n", two.netns, "link", "set", "u0", "down")
        try:
            failed = wait_for("failed", lambda: one.event("move-failed", move=name), 30)
        finally:
            run("ip", "-n", two.netns, "link", "set", "u0", "up")
        assert two.name in failed["reason"] and failed["epoch"] == one.vm()["epoch"], failed
        stays(running, name, "no progress for 2 s")


def test_writes_faster_than_the_link_after_its_disks_had_caught_up(bed, images, running):
    """It is not stopped for what would take long; and when that does not change it stays."""
    one, two, _ = running
    with set_up_anew(one, {"disk-lag-s": "2"}):
        name = begin(running, bed, images, bandwidth_mib_s=12)
        wait_for("memory is sent", lambda: sent(one, name), 30)
        with tc(one, "root tbf rate 4mbit burst 16k latency 400ms"):
            stays(running, name, "too far behind for 2 s")
        assert not one.event("move-stopped", move=name)


def test_kept(bed, images, running):
    one, two, _ = running
    go(running, guest(bed, images), keep_disks=True)
    assert files(one) == ["one.raw.moved", "two.qcow2.moved"] and files(two) == ["one.raw", "two.qcow2"]
