# SPDX-License-Identifier: Apache-2.0
"""godwit-hv with real QEMU and the laboratory's real guest, which lives through these tests where they let it."""
import concurrent.futures
import contextlib
import http.client
import os
import signal
import socket
import struct
import threading
import time

import pytest

from hvbed import Bed, Life, address_tap, echo, inside, prepare, run, set_up_anew, tap_of, wait_for

VM = "web@default"
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33       # of linux/socket.h


@pytest.fixture(scope="module")
def life(images):
    with Bed() as bed:
        yield Life(bed, bed.definition(kernel=f"{images}/vmlinuz", initrd=f"{images}/initrd",
                                       cmdline="console=ttyS0 quiet mitigations=off gw.ip4=10.1.0.10/24 "
                                               "gw.ip6=fd00:1::10/64"))


@pytest.fixture
def vm(life):
    return life.ready()


def numbered_socket(host):
    """The guest knows its peer by one MAC, wherever the tap is. What the tap cannot take at once waits in the socket."""
    run("ip", "-n", host.netns, "link", "set", tap_of(host), "address", "02:00:00:00:00:99")
    address_tap(host)
    with inside(host.netns):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
    sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 64 << 20)
    sock.bind(("10.1.0.1", 5555))
    sock.setblocking(False)
    return sock


def test_moves(vm):
    """Back and forth; the order of events is the one that the agent counts on."""
    for _ in range(2):
        source, target = vm.one, vm.two
        name = vm.go()
        running = target.event("move-running", move=name)
        order = [e["event"] for e in source.events if e.get("move") == name and e["event"] != "move-progress"]
        assert order == ["move-stopped", "move-cut", "move-completed"]
        stopped, cut = source.event("move-stopped", move=name), source.event("move-cut", move=name)
        assert stopped["at_ns"] <= cut["at_ns"] <= running["at_ns"]
        assert source.vm() is None
        address_tap(target)
        assert echo(target, "10.1.0.10", timeout=10) and echo(target, "fd00:1::10", timeout=10)
        print(f"pause {(running['at_ns'] - stopped['at_ns']) / 1e6:.1f} ms")


def test_no_nve_no_cut(vm):
    """The deadline of the cut passes: QEMU cancels, the guest goes on, the other side's copy ends."""
    one, two = vm.one, vm.two
    one.nve.go()
    name = vm.start_move(cut_deadline_ms=300)
    assert wait_for("given up", lambda: one.event("move-failed", move=name), 60)["running"]
    assert echo(one, "10.1.0.10")
    wait_for("the other side is forgotten", lambda: two.vm() is None)
    one.nve.come()
    wait_for("taken back", lambda: one.nve.made("/uncut"))
    vm.epoch += 2
    vm.go()     # a later move works


def received(sockets):
    for sock in sockets:
        with contextlib.suppress(BlockingIOError):
            while True:
                yield struct.unpack("!I", sock.recv(100))[0]


def drained(nve):
    """The numbers of the datagrams that the edge has got out of the taps so far."""
    with nve.lock:
        for fds in nve.taps.values():
            for fd in fds:
                nve.drain(fd)
    return [struct.unpack("!I", f[54:58])[0] for f in nve.drained if f[24:26] == b"\x08\x00" and f[35] == 17]


def test_every_frame_is_accounted_for(vm):
    """Numbered datagrams during moves: each is echoed by the old copy, or by the new one, or the NVE gets it from the
    tap. QEMU alone would lose one or two at each stop (hypervisor/tapgate.c)."""
    here = numbered_socket(vm.one)
    for i in range(4):
        one, two, answers, sent = vm.one, vm.two, [], 0
        one.nve.drained.clear()
        name = vm.start_move(downtime_ms=50)
        there = numbered_socket(two)
        while not one.event("move-cut", move=name):
            here.sendto(struct.pack("!I", sent), ("10.1.0.10", 7))
            sent += 1
            time.sleep(0.001)
        wait_for("it runs there", lambda t=two, n=name: t.event("move-running", move=n), 60)

        def all_seen(sockets=(here, there), answers=answers, nve=one.nve, sent=sent):
            answers += received(sockets)
            return len(answers) + len(drained(nve)) >= sent
        with contextlib.suppress(AssertionError):       # what is missing is told below
            wait_for("each is somewhere", all_seen, 20)
        taken = drained(one.nve)
        assert sorted(answers + taken) == list(range(sent)), (i, sent, len(answers), len(taken))
        wait_for("all sent", lambda o=one, n=name: o.event("move-completed", move=n))
        one.post(f"/v1/vms/{VM}/finish", {"move": name})
        here.close()
        here = there
        vm.moved()
    here.close()


def test_killed_after_completion_is_resumed(vm):
    """The target's copy is gone after the source has sent all: the stopped copy goes on when it is told to."""
    one, two = vm.one, vm.two
    name = vm.start_move()
    wait_for("it runs there", lambda: two.event("move-running", move=name), 60)
    wait_for("all sent", lambda: one.event("move-completed", move=name))
    two.post(f"/v1/vms/{VM}/abandon", {"move": name, "fence": True})
    one.post(f"/v1/vms/{VM}/resume", {"move": name, "epoch": vm.epoch + 2})
    assert echo(one, "10.1.0.10", timeout=10)


def test_another_processor_is_refused(vm):
    """A model that this host cannot give: refused before anything is sent, by name."""
    definition = {**vm.definition, "cpu_model": "Skylake-Server-v1"}
    status, answer = vm.two.call("POST", f"/v1/vms/{VM}/incoming", {
        "definition": definition, "move": "other-cpu", "epoch": vm.epoch + 1, "from": vm.one.ip, "source": vm.one.name})
    assert status == 409 and "requested feature" in answer["error"]["text"], answer
    wait_for("nothing is left", lambda: vm.two.vm() is None and tap_of(vm.two) is None)
    assert echo(vm.one, "10.1.0.10")


def test_another_machine_is_refused(vm):
    """The target's emulator makes another machine of the same definition: the copy ends there, the VM has noticed nothing."""
    one, two = vm.one, vm.two
    other = f"{vm.bed.dir}/other-machine"
    with open(other, "w", encoding="utf-8") as script:
        script.write('#!/bin/bash\nfor word; do [ "$word" != pc ] || word=q35; words+=("$word"); done\n'
                     'exec qemu-system-x86_64 "${words[@]}"\n')
    os.chmod(other, 0o755)
    with set_up_anew(two, {"qemu": other}):
        name = vm.start_move()
        failed = wait_for("refused", lambda: two.event("move-failed", move=name) and one.event("move-failed", move=name), 60)
        assert failed["running"] and "achine type" in two.event("move-failed", move=name)["reason"], two.events[-3:]
        wait_for("nothing is left", lambda: two.vm() is None)
        assert echo(one, "10.1.0.10") and one.vm()["state"] == "running"


def test_target_without_memory(vm):
    """There is room by the books, and the emulator does not get it: refused with its words, nothing is left."""
    one, two = vm.one, vm.two
    small = f"{vm.bed.dir}/small"
    with open(small, "w", encoding="utf-8") as script:
        script.write('#!/bin/bash\nulimit -v 1000000\nexec qemu-system-x86_64 "$@"\n')
    os.chmod(small, 0o755)
    definition = {**vm.definition, "memory_mib": 1000}
    with set_up_anew(two, {"qemu": small}):
        status, answer = two.call("POST", f"/v1/vms/{VM}/incoming", {
            "definition": definition, "move": "no-memory", "epoch": vm.epoch + 1, "from": one.ip, "source": one.name})
        assert status == 409 and "annot allocate memory" in answer["error"]["text"], answer
        wait_for("nothing is left", lambda: two.vm() is None and tap_of(two) is None)
        status, answer = two.call("POST", f"/v1/vms/{VM}/incoming", {
            "definition": {**definition, "memory_mib": 4096}, "move": "no-memory", "epoch": vm.epoch + 1, "from": one.ip,
            "source": one.name})
        assert status == 503 and answer["error"]["field"] == "memory_mib", answer
    assert echo(one, "10.1.0.10")


def agent_is_back(one, two, name):
    one.start()
    wait_for("it runs there", lambda: two.event("move-running", move=name), 20)
    wait_for("all sent", lambda: one.vm()["state"] == "paused")
    assert one.nve.made("/cut")[-1][3] == 1
    one.post(f"/v1/vms/{VM}/finish", {"move": name})


def source_goes_on(vm, name):
    """QEMU notices when it writes: it goes on by itself, or (everything was in the socket) says "completed"."""
    one, two = vm.one, vm.two
    wait_for("an end", lambda: one.event("move-failed", move=name) or one.event("move-completed", move=name), 20)
    wait_for("target says so", lambda: two.event("move-failed", side="target"))
    if one.vm()["state"] == "paused":
        one.post(f"/v1/vms/{VM}/resume", {"move": name, "epoch": vm.epoch + 2})
    assert wait_for("taken back", lambda: one.nve.made("/uncut"))[0][2] == {"epoch": vm.epoch + 2}
    assert echo(one, "10.1.0.10", timeout=10)


@pytest.mark.parametrize("victim", ["agent", "carrier", "target", "source"])
def test_killed_at_the_cut(vm, victim):
    """Of the carrier's end QEMU hears when it writes what is left, and goes on by itself: nobody has to say so."""
    one, two = vm.one, vm.two
    one.nve.lock.acquire()
    try:
        name = vm.start_move(cut_deadline_ms=20000)
        wait_for("stopped", lambda: one.event("move-stopped", move=name), 60)
        time.sleep(0.1)
        if victim == "agent":
            one.kill()
        elif victim == "carrier":
            os.kill(carrier_of(one), signal.SIGKILL)
        else:
            os.kill((two if victim == "target" else one).vm()["pid"], signal.SIGKILL)
    finally:
        one.nve.lock.release()
    if victim == "agent":
        agent_is_back(one, two, name)
    elif victim == "carrier":
        failed = wait_for("the source goes on", lambda: one.event("move-failed", move=name), 20)
        assert failed["running"] and "killed by signal 9" in failed["reason"], failed
        source_goes_on(vm, name)
    elif victim == "target":
        source_goes_on(vm, name)
    else:
        assert not wait_for("failed", lambda: one.event("move-failed", move=name))["running"]
        wait_for("the other side ends", lambda: two.event("move-failed", side="target"), 20)


def carrier_of(host):
    """The process that carries the copy of its VM over TLS."""
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            with open(f"/proc/{int(entry)}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
            if b"carry" in words and f"{host.dir}/state/vm/{VM}/out".encode() in words:
                return int(entry)
    return None


def assert_stays(vm, name):
    """The move has failed; the VM runs here alone, and nobody noticed."""
    one, two = vm.one, vm.two
    wait_for("it does not leave any more", lambda: one.vm()["role"] == "serve", 30)
    two.call("POST", f"/v1/vms/{VM}/abandon", {"move": name})
    wait_for("nothing is left there", lambda: two.vm() is None)
    assert one.vm()["state"] == "running" and echo(one, "10.1.0.10") and not one.nve.made("/cut")
    vm.epoch += 2       # a later move is another's


def test_carrier_or_agent_dies_while_it_is_copied(vm):
    """What carries the copy, in the middle of it; and the agent, while that connects: it ends with the agent."""
    one, two = vm.one, vm.two
    name = vm.start_move(bandwidth_mib_s=12)
    wait_for("memory is sent", lambda: [e for e in one.events if e["event"] == "move-progress" and e["transferred"]], 30)
    os.kill(carrier_of(one), signal.SIGKILL)
    failed = wait_for("failed", lambda: one.event("move-failed", move=name), 30)
    assert failed["running"] and failed["reason"] == "what carries the copy over TLS was killed by signal 9", failed
    assert_stays(vm, name)

    order = prepare(one, two, vm.definition, vm.epoch)
    os.kill(two.vm()["pid"], signal.SIGSTOP)        # connected, and then nothing
    with concurrent.futures.ThreadPoolExecutor(1) as later:
        asked = later.submit(one.call, "POST", f"/v1/vms/{VM}/migrate", order)
        carrier = wait_for("it connects", lambda: carrier_of(one))
        one.kill()
        with contextlib.suppress(OSError, http.client.HTTPException):
            asked.result()
    wait_for("it ends", lambda: carrier_of(one) != carrier)
    os.kill(two.vm()["pid"], signal.SIGCONT)
    one.start()
    assert_stays(vm, order["move"])
    vm.go()


def test_guest_echoes_tcp_and_has_the_mtu(vm):
    host = vm.one
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
