# SPDX-License-Identifier: Apache-2.0
"""A test bed for godwit-hv: two hosts in network namespaces, each with the real agent and an NVE that is only played.

       [ns h1: godwit-hv, taps] ==veth 10.98.0.1/2, fd98::1/2== [ns h2: godwit-hv, taps]
                 |                                                      |
              NVE played here (records calls, holds the tap descriptors)

The authority is played by the tests themselves, over each agent's HTTP socket and its stream of events.
"""
import array
import contextlib
import ctypes
import http.client
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from labs import USER  # noqa: E402

BUILD = os.environ.get("GW_BUILD", os.path.join(os.path.dirname(__file__), "../../build"))
HV = os.path.abspath(os.path.join(BUILD, "src/hv/godwit-hv"))
SYNTH = os.path.abspath(os.path.join(BUILD, "lab/synth/godwit-synth"))
GODWIT = os.path.abspath(os.path.join(BUILD, "src/cli/godwit"))
GUEST = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../lab/guest/build.sh"))
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
CALL, ANSWER, PING, PONG = 12, 13, 15, 16
TLV_METHOD, TLV_PATH, TLV_JSON, TLV_STATUS, TLV_FDS = range(0x100, 0x105)


def wait_for(what, condition, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.005)
    raise AssertionError(f"not within {seconds} s: {what}")


def run(*command):
    subprocess.run(command, check=True)


@contextlib.contextmanager
def inside(netns):
    """This thread, in that namespace."""
    with open("/proc/self/ns/net", "rb") as back, open(f"/run/netns/{netns}", "rb") as there:
        if LIBC.setns(there.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            LIBC.setns(back.fileno(), CLONE_NEWNET)


class UnixHttp(http.client.HTTPConnection):
    def __init__(self, path, timeout=30):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Nve:
    """Serves the calls of one agent. `refuse` maps the end of a path to a status, or to that and the code of the error."""

    def __init__(self, path):
        self.path, self.calls, self.taps, self.refuse, self.lock = path, [], {}, {}, threading.Lock()
        self.drained = []       # frames, with their virtio headers
        self.at_cut = None      # called once, before the next cut is answered
        self.listener = None
        self.peers = []
        self.come()

    def come(self):
        self.listener = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self.listener.bind(self.path)
        self.listener.listen(4)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def go(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        os.unlink(self.path)
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
        self.peers = []

    def close(self):
        with contextlib.suppress(OSError):
            self.go()
        with self.lock:
            self.forget_taps()

    def forget_taps(self):
        for fds in self.taps.values():
            for fd in fds:
                os.close(fd)
        self.taps = {}

    def accept(self, listener):
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            self.peers.append(peer)
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        data, fds = b"", []
        peer.sendall(struct.pack(">IBBHI", 12, 1, PING, 0, 0))      # who accepts speaks first
        while True:
            try:
                more, control, _, _ = peer.recvmsg(65536, socket.CMSG_SPACE(8 * 4))
            except OSError:
                return
            if not more:
                return
            for level, kind, value in control:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    got = array.array("i")
                    got.frombytes(value[:len(value) // 4 * 4])
                    fds += list(got)
            data += more
            while len(data) >= 12:
                length, _, kind, _, number = struct.unpack(">IBBHI", data[:12])
                if len(data) < length:
                    break
                frame, data = data[12:length], data[length:]
                if kind == PING:
                    peer.sendall(struct.pack(">IBBHI", 12, 1, PONG, 0, number))
                elif kind == CALL:
                    fds = self.call(peer, number, frame, fds)

    def call(self, peer, number, frame, fds):
        fields = {}
        while frame:
            kind, size = struct.unpack(">HI", frame[:6])
            fields[kind], frame = frame[6:6 + size], frame[6 + size:]
        n = struct.unpack(">H", fields[TLV_FDS])[0] if TLV_FDS in fields else 0
        method, path = fields[TLV_METHOD].decode(), fields[TLV_PATH].decode()
        body = json.loads(fields[TLV_JSON]) if TLV_JSON in fields else {}
        status, answer = self.answer(method, path, body, fds[:n])
        payload = b""
        for kind, value in ((TLV_STATUS, struct.pack(">H", status)), (TLV_JSON, json.dumps(answer).encode())):
            payload += struct.pack(">HI", kind, len(value)) + value
        with contextlib.suppress(OSError):      # the agent may have been killed meanwhile
            peer.sendall(struct.pack(">IBBHI", 12 + len(payload), 1, ANSWER, 0, number) + payload)
        return fds[n:]

    def answer(self, method, path, body, fds):
        with self.lock:
            self.calls.append((method, path, body, len(fds), time.monotonic()))
            for end, status in self.refuse.items():
                if path.endswith(end):
                    for fd in fds:
                        os.close(fd)
                    status, code = status if isinstance(status, tuple) else (status, "refused")
                    return status, {"error": {"code": code, "field": "", "text": "played"}}
            if fds:
                for old in self.taps.pop(path, []):
                    os.close(old)
                self.taps[path] = fds
            if path.endswith("/cut"):
                at_cut, self.at_cut = self.at_cut, None
                if at_cut:
                    at_cut()
                return 200, {"drained": sum(self.drain(fd) for fd in fds), "talkers": ["10.99.0.3"],
                             "at_ns": time.time_ns()}
            if method == "DELETE" or path.endswith("/return"):
                self.forget_taps()
            return 200, {}

    def drain(self, fd):
        n = len(self.drained)
        while True:
            try:
                self.drained.append(os.read(fd, 70000))
            except OSError:
                return len(self.drained) - n

    def forget(self):
        with self.lock:
            self.calls, self.drained, self.refuse = [], [], {}

    def made(self, end, method=None):
        with self.lock:
            return [c for c in self.calls if c[1].split("?")[0].endswith(end) and method in (None, c[0])]


class Host:
    def __init__(self, bed, name, ip):
        self.bed, self.name, self.ip = bed, name, ip
        self.netns = f"gwvm{os.getpid()}-{name}"
        self.dir = os.path.join(bed.dir, name)
        os.makedirs(f"{self.dir}/disks")
        self.nve = Nve(os.path.join(self.dir, "agent.sock"))
        self.process, self.events, self.settings = None, [], {}

    def start(self):
        command = [HV, "--config", "/dev/null"]
        pki = os.path.join(self.bed.dir, "pki")
        for key, value in {"id": self.name, "state-dir": f"{self.dir}/state", "api-socket": f"{self.dir}/hv.sock",
                           "agent-socket": f"{self.dir}/agent.sock", "nva": "127.0.0.1:9",
                           "migration-address": self.ip, "accelerator": "tcg", "log-level": "debug",
                           "tls-ca": f"{pki}/ca.pem", "tls-cert": f"{pki}/{self.name}.pem",
                           "tls-key": f"{pki}/{self.name}.key", "memory-mib": "1024",
                           "disk-dir": f"{self.dir}/disks", "qemu-user": f"{USER}:{USER}" if USER else "", **self.bed.settings, **self.settings}.items():
            if value:       # without: the default
                command += ["--set", f"{key}={value}"]
        with open(f"{self.dir}/hv.log", "ab") as log:
            self.process = subprocess.Popen(["ip", "netns", "exec", self.netns] + command, stdout=log, stderr=log)
        wait_for("the agent answers", self.answers)
        threading.Thread(target=self.listen, daemon=True).start()
        wait_for("the agent has its NVE", lambda: self.get("/v1/status")["nve_connected"])

    def answers(self):
        assert self.process.poll() is None, (self.process.returncode, self.log_tail())
        with contextlib.suppress(OSError):
            return self.get("/v1/status")

    def listen(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            http_ = UnixHttp(f"{self.dir}/hv.sock", timeout=600)
            http_.request("GET", "/v1/events")
            for line in http_.getresponse():
                if line.startswith(b"data:"):
                    self.events.append(json.loads(line[5:]))

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def end(self):
        """As the service manager does it; answers what a sanitizer has to say."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
            self.kill()
        log = self.log_tail(1 << 20)
        at = [log.find(word) for word in ("Sanitizer", "runtime error") if word in log]
        return log[max(0, min(at) - 200):][:4000] if at else ""

    def call(self, method, path, body=None):
        connection = UnixHttp(f"{self.dir}/hv.sock")
        connection.request(method, path, json.dumps(body) if body is not None else None,
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text) if text else None

    def get(self, path):
        return self.call("GET", path)[1]

    def post(self, path, body, expect=200):
        status, answer = self.call("POST", path, body)
        assert status == expect, (path, status, answer, self.log_tail())
        return answer

    def vm(self, vm="web@default"):
        status, answer = self.call("GET", f"/v1/vms/{vm}")
        return answer if status == 200 else None

    def event(self, name, **fields):
        for event in self.events:
            if event["event"] == name and all(event.get(k) == v for k, v in fields.items()):
                return event
        return None

    def log_tail(self, octets=3000):
        with contextlib.suppress(FileNotFoundError), \
                open(f"{self.dir}/hv.log", encoding="utf-8", errors="replace") as log:
            return log.read()[-octets:]
        return ""


class Bed:
    """Use as a context manager; whatever was made is gone afterwards."""

    def __init__(self, family=4, settings=None):
        self.settings = settings or {}
        self.dir = tempfile.mkdtemp(prefix="gwvm-")
        os.chmod(self.dir, 0o711)
        self.family = family
        self.keepers = []
        ips = ("10.98.0.1", "10.98.0.2") if family == 4 else ("fd98::1", "fd98::2")
        self.make_pki()
        self.hosts = [Host(self, f"h{i + 1}", ip) for i, ip in enumerate(ips)]

    def make_pki(self):
        pki = f"{self.dir}/pki"
        subprocess.run([GODWIT, "pki", "init", "--dir", pki], check=True, capture_output=True)
        for name in ("h1", "h2"):
            subprocess.run([GODWIT, "pki", "issue", name, "--dir", pki], check=True, capture_output=True)

    def __enter__(self):
        try:
            for host in self.hosts:
                run("ip", "netns", "add", host.netns)
                run("ip", "-n", host.netns, "link", "set", "lo", "up")
            one, two = self.hosts
            run("ip", "link", "add", "u0", "netns", one.netns, "type", "veth", "peer", "name", "u0", "netns",
                two.netns)
            for host in self.hosts:
                bits = "/24" if self.family == 4 else "/64"
                run("ip", "-n", host.netns, "addr", "add", host.ip + bits, "dev", "u0",
                    *(["nodad"] if self.family == 6 else []))
                run("ip", "-n", host.netns, "link", "set", "u0", "up")
                host.start()
            return self
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        complaints = ""
        for host in self.hosts:
            complaints += host.end()
            self.kill_emulators(host)
            host.nve.close()
        for keeper in self.keepers:
            keeper.kill()
            keeper.wait()
        for host in self.hosts:
            subprocess.run(["ip", "netns", "del", host.netns], check=False, capture_output=True)
        shutil.rmtree(self.dir, ignore_errors=True)
        assert not complaints, complaints

    @staticmethod
    def kill_emulators(host):
        for entry in os.listdir("/proc"):
            with contextlib.suppress(OSError, ValueError):
                with open(f"/proc/{int(entry)}/cmdline", "rb") as f:
                    if f"{host.dir}/state/vm/".encode() in f.read():
                        os.kill(int(entry), signal.SIGKILL)

    def keeper(self, mac="52:54:00:00:00:01"):
        path = f"{self.dir}/guest.sock"
        keeper = subprocess.Popen([SYNTH, "--keeper", "web", "--socket", path, "--port",
                                   f"mac={mac},ip=10.1.0.10/24,ip=fd00:1::10/64,mtu=1430"], stdout=subprocess.PIPE)
        self.keepers.append(keeper)
        assert keeper.stdout.readline() == b"ready\n"
        return path

    def definition(self, **change):
        port = {"id": "web-0@default", "vn": "blue@default", "vni": 100, "mtu": 1430, "mac": "52:54:00:00:00:01",
                "addresses": ["10.1.0.10", "fd00:1::10"]}
        return {"name": "web", "tenant": "default", "memory_mib": 112, "vcpus": 1, "ports": [port],
                "on_crash": "restart", **change}

    def synth(self, pause_ms=20, copy_ms=0):
        return self.definition(emulator=SYNTH, kernel="/none",
                               cmdline=f"guest={self.keeper()} pause_ms={pause_ms} copy_ms={copy_ms}")


def tap_of(host):
    links = json.loads(subprocess.run(["ip", "-n", host.netns, "-j", "link"], capture_output=True, check=True).stdout)
    names = [link["ifname"] for link in links if link["ifname"].startswith("gwt")]
    return names[0] if names else None


@contextlib.contextmanager
def set_up_anew(host, settings):
    """The agent with other settings meanwhile; its VMs do not notice."""
    def restart(change):
        host.kill()
        host.settings = change
        host.start()
        for vm in host.get("/v1/vms"):
            wait_for("it knows its VMs", lambda i=vm["id"]: host.call("POST", f"/v1/vms/{i}/cancel", {"move": "none"})[0] != 503)
    before = host.settings
    try:
        restart({**before, **settings})
        yield
    finally:
        restart(before)


@contextlib.contextmanager
def tc(host, *rules):
    """Queueing rules for what the host sends to the other: qdisc, class or filter by what they say."""
    try:
        for rule in rules:
            kind = "filter" if "flowid" in rule else "class" if "classid" in rule else "qdisc"
            run("tc", "-n", host.netns, kind, "add", "dev", "u0", *rule.split())
        yield
    finally:
        subprocess.run(["tc", "-n", host.netns, "qdisc", "del", "dev", "u0", "root"], check=False, capture_output=True)


def address_tap(host):
    """The host's own end of the tap speaks to the guest, in place of a data plane."""
    tap = tap_of(host)
    run("ip", "-n", host.netns, "link", "set", tap, "up")
    subprocess.run(["ip", "netns", "exec", host.netns, "sysctl", "-qw", f"net.ipv6.conf.{tap}.disable_ipv6=0"],
                   check=True)
    run("ip", "-n", host.netns, "addr", "replace", "10.1.0.1/24", "dev", tap)
    run("ip", "-n", host.netns, "addr", "replace", "fd00:1::1/64", "dev", tap, "nodad")


def echo(host, address, timeout=3):
    """One datagram there and back; True when it came."""
    with inside(host.netns):
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        sock.settimeout(0.3)
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                sock.sendto(b"hello", (address, 7))
                if sock.recv(100) == b"hello":
                    return True
        return False


def work(host):
    """What the guest says of its work, when it writes to memory and disks (lab/guest/work.c)."""
    with open(f"{host.dir}/state/vm/web@default/console.log", encoding="utf-8", errors="replace") as console:
        lines = re.findall(r"work: pages=(\d+) blocks=(\d+) bad=(\d+)", console.read())
    return dict(zip(("pages", "blocks", "bad"), map(int, lines[-1]))) if lines else None


def prepare(source, target, definition, epoch, copy=None, surveyed=None, **options):
    """The authority's part of a move, up to the order to the source. surveyed: what is to be said of the disks instead."""
    vm, name = "web@default", f"move-{epoch}"
    ways = {"options": copy or {}}
    disks = {}
    if definition.get("disks"):
        disks = {"disks": [{**d, **(surveyed or {})} for d in source.post(f"/v1/vms/{vm}/survey", {"move": name})["disks"]]}
    at = target.post(f"/v1/vms/{vm}/incoming", {"definition": definition, "move": name, "epoch": epoch + 1,
                                               "from": source.ip, "source": source.name, **ways, **disks})
    return {"move": name, **at, "to": target.ip, "target": target.name, "epoch": epoch + 1, "epoch_back": epoch + 2,
            **ways, **options}


def move(source, target, definition, epoch, **options):
    """... and the order: the copy starts."""
    order = prepare(source, target, definition, epoch, **options)
    source.post("/v1/vms/web@default/migrate", order)
    return order["move"]


class Life:
    """One VM of a bed that several tests use one after the other: where it runs, and with which epoch. A test that ends
    it, or leaves it half-way, has the next one boot it anew."""

    def __init__(self, bed, definition):
        self.bed, self.definition, self.epoch = bed, definition, 0
        self.one, self.two = bed.hosts

    def ready(self):
        """It runs at `one`, answers, nothing of it is at `two`, and nothing that was before is seen any more."""
        for host in self.bed.hosts:
            if host.process.poll() is not None:
                host.start()
        if not self.epoch or not self.is_well():
            self.boot()
        for host in self.bed.hosts:
            host.events.clear()
            host.nve.forget()
        return self

    def is_well(self):
        if self.two.vm() and not self.one.vm():
            self.one, self.two = self.two, self.one
        at = self.one.vm()
        if not at or at["state"] != "running" or at["role"] != "serve" or self.two.vm():
            return False
        self.epoch = at["epoch"]
        address_tap(self.one)
        return echo(self.one, "10.1.0.10")

    def boot(self):
        for host in self.bed.hosts:
            if host.vm():
                host.call("DELETE", "/v1/vms/web@default")
        for host in self.bed.hosts:
            wait_for("nothing is left", lambda h=host: h.vm() is None)
        self.epoch += 10
        self.one.post("/v1/vms", {"definition": self.definition, "epoch": self.epoch})
        address_tap(self.one)
        assert echo(self.one, "10.1.0.10", timeout=60), self.one.log_tail()
        assert echo(self.one, "fd00:1::10", timeout=5)

    def start_move(self, **options):
        return move(self.one, self.two, self.definition, self.epoch, **options)

    def go(self, **options):
        """A move to its end; the two have changed places then."""
        one, two = self.one, self.two
        name = self.start_move(**options)
        wait_for("it runs there", lambda: two.event("move-running", move=name) or one.event("move-failed", move=name), 60)
        assert not one.event("move-failed", move=name), one.event("move-failed", move=name)
        wait_for("all sent", lambda: one.event("move-completed", move=name), 20)
        one.post("/v1/vms/web@default/finish", {"move": name})
        self.moved()
        return name

    def moved(self):
        self.one, self.two, self.epoch = self.two, self.one, self.epoch + 1
