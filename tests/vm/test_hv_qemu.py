# SPDX-License-Identifier: Apache-2.0
"""godwit-hv with real QEMU and the laboratory's real guest."""
import contextlib
import os
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from hvbed import GUEST, Bed, address_tap, echo, inside, move, run, tap_of, wait_for

VM = "web@default"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    if not [f for f in os.listdir("/boot") if f.startswith("vmlinuz-") and f.endswith("-cloud-amd64")]:
        pytest.skip("no Debian cloud kernel in /boot: apt-get install linux-image-cloud-amd64")
    out = tmp_path_factory.mktemp("guest")
    subprocess.run([GUEST, str(out)], check=True)
    return out


@pytest.fixture
def bed():
    with Bed() as bed_:
        yield bed_


def guest(bed, images):
    return bed.definition(kernel=f"{images}/vmlinuz", initrd=f"{images}/initrd",
                          cmdline="console=ttyS0 quiet mitigations=off gw.ip4=10.1.0.10/24 gw.ip6=fd00:1::10/64")


def boot(host, definition):
    host.post("/v1/vms", {"definition": definition, "epoch": 1})
    address_tap(host)
    assert echo(host, "10.1.0.10", timeout=60), host.log_tail()
    assert echo(host, "fd00:1::10", timeout=5)


def numbered_socket(host):
    """The guest knows its peer by one MAC, wherever the tap is."""
    run("ip", "-n", host.netns, "link", "set", tap_of(host), "address", "02:00:00:00:00:99")
    address_tap(host)
    with inside(host.netns):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind(("10.1.0.1", 5555))
    sock.setblocking(False)
    return sock


def test_guest_echoes_tcp_and_has_the_mtu(bed, images):
    host = bed.hosts[0]
    boot(host, guest(bed, images))
    with inside(host.netns):
        sock = socket.create_connection(("10.1.0.10", 7), timeout=10)
    with sock:
        data = os.urandom(100000)
        threading.Thread(target=sock.sendall, args=(data,), daemon=True).start()
        got = b""
        while len(got) < len(data):
            got += sock.recv(65536)
        assert got == data
        # The device told the guest its MTU: no segment of it is longer.
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 1430 - 40
    host.post(f"/v1/vms/{VM}/stop", {}, expect=202)
    wait_for("the guest powers down", lambda: host.event("vm-state", state="stopped"), 20)


def test_moves(bed, images):
    """Back and forth; the order of events is the one that the agent counts on."""
    definition = guest(bed, images)
    boot(bed.hosts[0], definition)
    for i in range(4):
        source, target = bed.hosts[i % 2], bed.hosts[1 - i % 2]
        name = move(source, target, definition, 1 + 2 * i)
        running = wait_for("it runs there", lambda t=target, n=name: t.event("move-running", move=n), 60)
        wait_for("all sent", lambda s=source, n=name: s.event("move-completed", move=n), 10)
        order = [e["event"] for e in source.events if e.get("move") == name and e["event"] != "move-progress"]
        assert order == ["move-stopped", "move-cut", "move-completed"]
        stopped, cut = source.event("move-stopped", move=name), source.event("move-cut", move=name)
        assert stopped["at_ns"] <= cut["at_ns"] <= running["at_ns"]
        assert source.vm()["state"] == "paused"
        source.post(f"/v1/vms/{VM}/finish", {"move": name})
        address_tap(target)
        assert echo(target, "10.1.0.10", timeout=10) and echo(target, "fd00:1::10", timeout=10)
        print(f"pause {(running['at_ns'] - stopped['at_ns']) / 1e6:.1f} ms")


def test_no_nve_no_cut(bed, images):
    """The deadline of the cut passes: QEMU cancels, the guest goes on, the other side's copy ends."""
    one, two = bed.hosts
    definition = guest(bed, images)
    boot(one, definition)
    one.nve.go()
    name = move(one, two, definition, 1, cut_deadline_ms=300)
    assert wait_for("given up", lambda: one.event("move-failed", move=name), 60)["running"]
    assert echo(one, "10.1.0.10")
    wait_for("the other side is forgotten", lambda: two.vm() is None)
    one.nve.come()
    wait_for("taken back", lambda: one.nve.made("/uncut"))
    name = move(one, two, definition, 3)
    wait_for("a later move works", lambda: two.event("move-running", move=name), 60)


@pytest.mark.parametrize("victim", ["target", "source", "agent"])
def test_killed_at_the_cut(bed, images, victim):
    one, two = bed.hosts
    definition = guest(bed, images)
    boot(one, definition)
    one.nve.lock.acquire()
    try:
        name = move(one, two, definition, 1, cut_deadline_ms=20000)
        wait_for("stopped", lambda: one.event("move-stopped", move=name), 60)
        time.sleep(0.1)
        if victim == "agent":
            one.kill()
        else:
            os.kill((two if victim == "target" else one).vm()["pid"], signal.SIGKILL)
    finally:
        one.nve.lock.release()
    if victim == "agent":
        one.start()
        wait_for("it runs there", lambda: two.event("move-running", move=name), 20)
        wait_for("all sent", lambda: one.vm()["state"] == "paused")
        assert one.nve.made("/cut")[-1][3] == 1
    elif victim == "target":
        # QEMU notices when it writes: it goes on by itself, or (everything was in the socket) says "completed".
        wait_for("an end", lambda: one.event("move-failed", move=name) or one.event("move-completed", move=name), 20)
        wait_for("target says so", lambda: two.event("move-failed", side="target"))
        if one.vm()["state"] == "paused":
            one.post(f"/v1/vms/{VM}/resume", {"move": name, "epoch": 3})
        assert wait_for("taken back", lambda: one.nve.made("/uncut"))[0][2] == {"epoch": 3}
        assert echo(one, "10.1.0.10", timeout=10)
    else:
        assert not wait_for("failed", lambda: one.event("move-failed", move=name))["running"]
        wait_for("the other side ends", lambda: two.event("move-failed", side="target"), 20)


def test_every_frame_is_accounted_for(bed, images):
    """Numbered datagrams during moves: each is echoed by the old copy, or by the new one, or the NVE gets it from the
    tap. QEMU alone would lose one or two at each stop (hypervisor/tapgate.c)."""
    one, two = bed.hosts
    definition = guest(bed, images)
    boot(one, definition)
    here = numbered_socket(one)
    for i in range(4):
        one.nve.drained.clear()
        name, answers, sent = f"move-{1 + 2 * i}", [], 0
        move(one, two, definition, 1 + 2 * i, downtime_ms=50)
        there = numbered_socket(two)
        while not one.event("move-cut", move=name):
            here.sendto(struct.pack("!I", sent), ("10.1.0.10", 7))
            sent += 1
            time.sleep(0.001)
        wait_for("it runs there", lambda t=two, n=name: t.event("move-running", move=n), 60)
        time.sleep(1.5)
        for sock in (here, there):
            with contextlib.suppress(BlockingIOError):
                while True:
                    answers.append(struct.unpack("!I", sock.recv(100))[0])
        with one.nve.lock:
            for fds in one.nve.taps.values():
                for fd in fds:
                    one.nve.drain(fd)
        taken = [struct.unpack("!I", f[54:58])[0] for f in one.nve.drained if f[24:26] == b"\x08\x00" and f[35] == 17]
        assert sorted(answers + taken) == list(range(sent)), (i, sent, len(answers), len(taken))
        one.post(f"/v1/vms/{VM}/finish", {"move": name})
        here.close()
        one, two, here = two, one, there
    here.close()


def test_killed_after_completion_is_resumed(bed, images):
    """The target's copy is gone after the source has sent all: the stopped copy goes on when it is told to."""
    one, two = bed.hosts
    definition = guest(bed, images)
    boot(one, definition)
    name = move(one, two, definition, 1)
    wait_for("it runs there", lambda: two.event("move-running", move=name), 60)
    wait_for("all sent", lambda: one.event("move-completed", move=name))
    two.post(f"/v1/vms/{VM}/abandon", {"move": name, "fence": True})
    one.post(f"/v1/vms/{VM}/resume", {"move": name, "epoch": 3})
    assert echo(one, "10.1.0.10", timeout=10)
