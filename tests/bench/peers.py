# SPDX-License-Identifier: Apache-2.0
"""The peers we are measured beside, each in namespaces of its own on this machine.

              h1                h2                h3
        +-----------+     +-----------+     +-----------+
        | VM  br0   |     |     br0   |     |  br0  probe netns
        |     vx0   |     |     vx0   |     |  vx0      |
        +-----eth0--+     +-----eth0--+     +--eth0-----+
               \\______________ br0 of net ______/

  Bridge   Linux bridge + VXLAN, flood and learn (head-end replication lists)
  Evpn     Linux bridge + VXLAN with learning off, FRR's bgpd + zebra in each host
"""
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from labs import wait_until  # noqa: E402

UNDERLAY = "10.98.0."
VNI = 100


def run(*command, check=True, **options):
    return subprocess.run(command, check=check, capture_output=True, text=True, **options)


def ahead():
    """Runs in a child: a session of its own that the scheduler puts before what else the machine does."""
    os.setsid()
    os.nice(-20)
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w", encoding="ascii") as file:
        file.write("-20")


class Peer:
    """Three hosts with a bridge and a VXLAN device each. Use as a context manager."""
    name = "bridge"
    learning = True

    def __init__(self, hosts=3):
        self.hosts = hosts
        self.tag = f"gwb{os.getpid() % 10000}{self.name[0]}"
        self.folder = tempfile.mkdtemp(prefix=f"godwit-bench-{self.name}-")
        self.namespaces, self.processes = [], []

    def __enter__(self):
        try:
            self.build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        for namespace in reversed(self.namespaces):
            run("ip", "netns", "del", namespace, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def host(self, number):
        return f"{self.tag}-h{number}"

    def locator(self, number):
        return f"{UNDERLAY}{number}"

    def add_namespace(self, name):
        run("ip", "netns", "add", name)
        self.namespaces.append(name)
        self.ip(name, "link", "set", "lo", "up")
        for knob in ("net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0"):
            self.within(name, "sysctl", "-qw", knob)

    def within(self, namespace, *command, **options):
        return run("nsenter", f"--net=/run/netns/{namespace}", *command, **options)

    def ip(self, namespace, *words):
        return run("ip", "-n", namespace, *words)

    def spawn(self, namespace, *command, **options):
        process = subprocess.Popen(["nsenter", f"--net=/run/netns/{namespace}", *command], **options)
        self.processes.append(process)
        return process

    def build(self):
        net = f"{self.tag}-net"
        self.add_namespace(net)
        self.ip(net, "link", "add", "br0", "type", "bridge")
        self.ip(net, "link", "set", "br0", "up")
        for n in range(1, self.hosts + 1):
            host = self.host(n)
            self.add_namespace(host)
            self.ip(host, "link", "add", "eth0", "type", "veth", "peer", "name", f"h{n}", "netns", net)
            self.ip(net, "link", "set", f"h{n}", "master", "br0", "up")
            self.ip(host, "addr", "add", f"{self.locator(n)}/24", "dev", "eth0")
            self.ip(host, "link", "set", "eth0", "up")
            self.build_overlay(n, host)

    def build_overlay(self, n, host):
        self.ip(host, "link", "add", "br0", "type", "bridge", "forward_delay", "0")
        learning = "learning" if self.learning else "nolearning"
        self.ip(host, "link", "add", "vx0", "type", "vxlan", "id", str(VNI), "local", self.locator(n), "dstport", "4789",
                learning)
        self.ip(host, "link", "set", "vx0", "mtu", "1450", "master", "br0", "up")
        self.ip(host, "link", "set", "br0", "up")
        if self.learning:
            for other in range(1, self.hosts + 1):
                if other != n:
                    run("bridge", "-n", host, "fdb", "append", "00:00:00:00:00:00", "dev", "vx0", "dst",
                        self.locator(other))

    def ready(self):
        """Blocks until the control plane, where there is one, has converged."""

    def add_guest(self, number, name, mac, addresses):
        """A namespace guest behind a veth port of the host's bridge; returns its namespace."""
        guest, host, port = f"{self.tag}-g-{name}", self.host(number), f"v{name}"[:15]
        self.add_namespace(guest)
        self.ip(host, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", guest)
        self.ip(host, "link", "set", port, "master", "br0", "up")
        self.ip(guest, "link", "set", "eth0", "address", mac, "mtu", "1450", "up")
        for address in addresses:
            self.ip(guest, "addr", "add", address, "dev", "eth0")
        return guest

    def add_tap(self, number, name):
        host = self.host(number)
        self.ip(host, "tuntap", "add", name, "mode", "tap", "vnet_hdr")
        self.ip(host, "link", "set", name, "mtu", "1450", "master", "br0", "up")


class Bridge(Peer):
    name = "bridge"


FRR = "/usr/lib/frr"


class Evpn(Peer):
    """FRR as its documentation sets it up for EVPN: iBGP mesh, all VNIs advertised, no advertisement delay."""
    name = "evpn"
    learning = False

    def build_overlay(self, n, host):
        super().build_overlay(n, host)
        run("bridge", "-n", host, "link", "set", "dev", "vx0", "neigh_suppress", "on", "learning", "off")
        folder = os.path.join(self.folder, f"h{n}")
        os.makedirs(folder)
        os.chmod(self.folder, 0o755)
        shutil.chown(folder, "frr", "frr")
        neighbours = [self.locator(other) for other in range(1, self.hosts + 1) if other != n]
        lines = ["router bgp 65000", f" bgp router-id {self.locator(n)}", " no bgp default ipv4-unicast"]
        for neighbour in neighbours:
            lines += [f" neighbor {neighbour} remote-as 65000", f" neighbor {neighbour} timers connect 1",
                      f" neighbor {neighbour} advertisement-interval 0"]
        lines += [" address-family l2vpn evpn"]
        lines += [f"  neighbor {neighbour} activate" for neighbour in neighbours]
        lines += ["  advertise-all-vni", " exit-address-family"]
        for daemon, text in (("zebra", ""), ("bgpd", "\n".join(lines) + "\n")):
            with open(os.path.join(folder, f"{daemon}.conf"), "w", encoding="ascii") as config:
                config.write(text)
            self.spawn(host, f"{FRR}/{daemon}", "-f", f"{folder}/{daemon}.conf", "-i",
                       f"{folder}/{daemon}.pid", "-z", f"{folder}/zserv.api", "--vty_socket", folder, "--log",
                       f"file:{folder}/{daemon}.log", *(["-l", self.locator(n)] if daemon == "bgpd" else []))
            if daemon == "zebra":
                wait_until("zebra listens", lambda: os.path.exists(f"{folder}/zserv.api"))

    def vtysh(self, n, command):
        return run("vtysh", "--vty_socket", os.path.join(self.folder, f"h{n}"), "-c", command, check=False).stdout

    def ready(self):
        def meshed():
            return all(self.vtysh(n, "show bgp l2vpn evpn summary").count("never") == 0
                       and run("bridge", "-n", self.host(n), "fdb", "show", "dev", "vx0").stdout
                       .count("00:00:00:00:00:00") == self.hosts - 1
                       for n in range(1, self.hosts + 1))
        wait_until("bgpd has meshed", meshed, 60)


class Qmp:
    """A blocking QMP client: enough to start a migration and to see when the VM stopped and resumed."""

    def __init__(self, path):
        wait_until(f"QEMU listens on {path}", lambda: os.path.exists(path), every_s=0.002)
        self.socket = socket.socket(socket.AF_UNIX)
        wait_until("QEMU accepts", self.connects(path), every_s=0.002)
        self.lines, self.events = self.socket.makefile("r"), []
        self.lines.readline()
        self.call("qmp_capabilities")

    def connects(self, path):
        def attempt():
            try:
                self.socket.connect(path)
                return True
            except OSError:
                return False
        return attempt

    def call(self, command, **arguments):
        self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            message = json.loads(self.lines.readline())
            if "event" in message:
                self.events.append(message)
            elif "error" in message:
                raise RuntimeError(f"{command}: {message['error']['desc']}")
            else:
                return message["return"]

    def event(self, name, match=lambda data: True, timeout_s=60.0):
        """The first event of that name not looked at before."""
        deadline = time.monotonic() + timeout_s
        while True:
            for event in self.events:
                if event["event"] == name and match(event.get("data", {})):
                    self.events.remove(event)
                    return event
            if time.monotonic() > deadline:
                raise TimeoutError(f"QEMU sent no {name}")
            self.socket.settimeout(timeout_s)
            message = json.loads(self.lines.readline())
            if "event" in message:
                self.events.append(message)


def time_ns(event):
    stamp = event["timestamp"]
    return stamp["seconds"] * 10**9 + stamp["microseconds"] * 1000


class PeerVm:
    """One real VM, moved between hosts of a peer by QEMU alone, which announces itself (RARP, virtio announce)."""

    def __init__(self, peer, guest, mac):
        self.peer, self.guest, self.mac = peer, guest, mac
        self.serial, self.port = 0, 49152
        self.process = self.qmp = self.at = None

    def start(self, number, incoming=False):
        tap = f"tap{self.serial}"
        self.serial += 1
        self.peer.add_tap(number, tap)
        path = os.path.join(self.peer.folder, f"{tap}.qmp")
        command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-nographic", "-machine", "pc", "-accel",
                   self.guest["accelerator"], "-cpu", self.guest["cpu"], "-m", "131064K", "-kernel", self.guest["kernel"],
                   "-initrd", self.guest["initrd"], "-append", self.guest["cmdline"], "-netdev",
                   f"tap,id=n0,ifname={tap},script=no,downscript=no,vhost=off", "-device",
                   f"virtio-net-pci,netdev=n0,mac={self.mac}", "-serial", f"file:{self.peer.folder}/{tap}.serial", "-qmp",
                   f"unix:{path},server=on,wait=off"] + (["-incoming", "defer"] if incoming else [])
        with open(os.path.join(self.peer.folder, f"{tap}.log"), "w+", encoding="utf-8", errors="replace") as log:
            process = self.peer.spawn(self.peer.host(number), *command, stdout=subprocess.DEVNULL, stderr=log)
            try:
                qmp = Qmp(path)
            except (OSError, RuntimeError, TimeoutError) as why:
                log.seek(0)
                raise RuntimeError(f"QEMU: {log.read() or why}") from why
        qmp.call("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
        return process, qmp, tap

    def boot(self, number):
        self.process, self.qmp, self.tap = self.start(number)
        self.at = number

    def move(self, number):
        """Moves the VM; returns (stopped_ns, resumed_ns), wall clock."""
        process, qmp, tap = self.start(number, incoming=True)
        self.port += 1
        uri = f"tcp:{self.peer.locator(number)}:{self.port}"
        qmp.call("migrate-incoming", uri=uri)
        self.qmp.events.clear()
        self.qmp.call("migrate", uri=uri)
        stopped, resumed = time_ns(self.qmp.event("STOP")), time_ns(qmp.event("RESUME"))
        self.qmp.event("MIGRATION", lambda data: data["status"] == "completed")
        self.qmp.call("quit")
        self.process.wait(10)
        run("ip", "-n", self.peer.host(self.at), "link", "del", self.tap, check=False)
        self.process, self.qmp, self.tap, self.at = process, qmp, tap, number
        return stopped, resumed
