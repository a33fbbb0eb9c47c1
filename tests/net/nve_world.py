# SPDX-License-Identifier: Apache-2.0
"""Hosts with the real godwit-nve in namespaces, and an authority that does what a test tells it.

    guest a      guest b
       | veth       | veth
      h1 ---+----- h2          underlay 10.98.0.0/24 or fd98::/64
            |
    h3 ---- net (bridge, and the authority)
"""
import array
import contextlib
import ctypes
import http.client
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time

BUILD = os.environ.get("GW_BUILD", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../build"))
GODWIT = os.path.join(BUILD, "src/cli/godwit")
NVE = os.path.join(BUILD, "src/nve/godwit-nve")
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
SO_RCVBUFFORCE = 33
UNSPECIFIED = bytes(16)

HELLO, WELCOME, REGISTER, REGISTERED, QUERY, RESPONSE, UPDATE, UPDATE_ACK, FLUSH, REPORT, SUBSCRIBE, CALL, ANSWER, EVENT, \
    PING, PONG, BYE = range(1, 18)
TLV_ROLE, TLV_NAME, TLV_LOCATOR, TLV_RESTARTS, TLV_MESSAGE, TLV_VNI, TLV_MAC, TLV_IP, TLV_MAPPING, TLV_MEMBER, TLV_SCOPE, \
    TLV_KIND, TLV_EPOCH, TLV_LOCATORS, TLV_VNIS, TLV_REASON = range(1, 17)
REPORT_TALKERS, REPORT_STALE, REPORT_ENDED = 1, 2, 3


def run(*args, check=True):
    done = subprocess.run(args, capture_output=True, text=True)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(args)}: {done.stdout}{done.stderr}")
    return done


def wait_for(what, condition, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


def set_netns(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        if LIBC.setns(fd, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), path)
    finally:
        os.close(fd)


@contextlib.contextmanager
def netns(name):
    """For the calling thread; sockets made inside stay inside."""
    back = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    set_netns(f"/run/netns/{name}")
    try:
        yield
    finally:
        LIBC.setns(back, CLONE_NEWNET)
        os.close(back)


def ip16(text):
    if ":" in text:
        return socket.inet_pton(socket.AF_INET6, text)
    return bytes(10) + b"\xff\xff" + socket.inet_aton(text)


def ip_text(octets):
    if octets[:12] == bytes(10) + b"\xff\xff":
        return socket.inet_ntoa(octets[12:])
    return socket.inet_ntop(socket.AF_INET6, octets)


def mac6(text):
    return bytes.fromhex(text.replace(":", ""))


# ---- frames ----

def tlv(kind, value):
    return struct.pack(">HI", kind, len(value)) + value


def tlvs(body):
    found, at = [], 0
    while at < len(body):
        kind, size = struct.unpack_from(">HI", body, at)
        found.append((kind, body[at + 6:at + 6 + size]))
        at += 6 + size
    return found


def frame(kind, ident, body=b""):
    return struct.pack(">IBBHI", 12 + len(body), 1, kind, 0, ident) + body


def read_exactly(stream, n):
    data = b""
    while len(data) < n:
        more = stream.recv(n - len(data))
        if not more:
            raise ConnectionError("end of stream")
        data += more
    return data


def read_frame(stream):
    size, _, kind, _, ident = struct.unpack(">IBBHI", read_exactly(stream, 12))
    return kind, ident, read_exactly(stream, size - 12)


def mapping(entry, vni, mac, lifetime_ms=60000):
    name = entry["vm"].encode()
    ips = [ip16(ip) for ip in entry["ips"]]
    return tlv(TLV_MAPPING, struct.pack(">QII", entry["epoch"], vni, lifetime_ms) + ip16(entry["locator"]) + mac6(mac) +
               bytes([1, len(ips)]) + b"".join(ips) + bytes([len(name)]) + name)


def absent(vni, mac, ip, lifetime_ms=1000):
    return tlv(TLV_MAPPING, struct.pack(">QII", 0, vni, lifetime_ms) + UNSPECIFIED + (mac or bytes(6)) +
               bytes([2, 1 if ip else 0]) + (ip or b"") + bytes([0]))


def checksum(octets):
    total = sum(struct.unpack(f">{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def registration_reply(message, locator, status):
    """The Request, turned into the Reply that accepts or refuses it."""
    reply = bytearray(message)
    reply[2], reply[4:6] = 6, b"\0\0"
    reply[6], reply[7] = status, 0x20
    sequence, lifetime = message[6:8], message[10:12]
    reply[8:10], reply[10:12] = sequence, lifetime
    pseudo = UNSPECIFIED + locator + struct.pack(">IHBB", len(reply), 0, 0, 135)
    reply[4:6] = struct.pack(">H", checksum(pseudo + bytes(reply)))
    return bytes(reply)


class Authority:
    """Answers from .where: (vni, mac) -> {vm, locator, epoch, ips}. Everything that came is in .log."""

    def __init__(self, space, address, pki):
        self.where, self.log, self.sessions, self.members = {}, [], {}, {}
        self.silent = self.stopping = False
        self.lock = threading.RLock()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.load_cert_chain(f"{pki}/nva.pem", f"{pki}/nva.key")
        self.context.load_verify_locations(f"{pki}/ca.pem")
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.space, self.address = space, address
        self.listener = None
        self.listen()

    def listen(self):
        with netns(self.space):
            self.listener = socket.create_server((self.address, 7460), reuse_port=False,
                                                 family=socket.AF_INET6 if ":" in self.address else socket.AF_INET)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                raw, _ = listener.accept()
                threading.Thread(target=self.serve, args=(raw,), daemon=True).start()
            except OSError:
                return

    def stop(self):
        """Gone, with all its sessions."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            for stream in list(self.sessions.values()):
                with contextlib.suppress(OSError):
                    stream.shutdown(socket.SHUT_RDWR)
        wait_for("the sessions to end", lambda: not self.sessions)

    def send(self, stream, kind, ident, body=b""):
        with self.lock, contextlib.suppress(OSError):
            stream.sendall(frame(kind, ident, body))

    def serve(self, raw):
        name = None
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = self.context.wrap_socket(raw, server_side=True)
            self.send(stream, PING, 0)
            while True:
                kind, ident, body = read_frame(stream)
                if kind == HELLO:
                    name = dict(tlvs(body))[TLV_NAME].decode()
                    with self.lock:
                        self.sessions[name] = stream
                self.take(stream, name, kind, ident, body)
        except (OSError, ConnectionError, ssl.SSLError):
            pass
        finally:
            with self.lock:
                if name and self.sessions.get(name) is not None:
                    self.sessions.pop(name, None)
            raw.close()

    def take(self, stream, name, kind, ident, body):
        fields = tlvs(body)
        values = dict(fields)
        if kind == PING:
            self.send(stream, PONG, ident)
        elif kind == HELLO:
            self.send(stream, WELCOME, 0, tlv(TLV_NAME, b"nva") + tlv(TLV_RESTARTS, struct.pack(">Q", 1)))
        elif kind == QUERY and not self.silent:
            self.answer(stream, ident, values)
        elif kind == REGISTER:
            locator = values[TLV_LOCATOR]
            reply = registration_reply(values[TLV_MESSAGE], locator, 0)
            self.send(stream, REGISTERED, ident, tlv(TLV_LOCATOR, locator) + tlv(TLV_MESSAGE, reply))
        elif kind == SUBSCRIBE:
            self.subscribe(stream, name, values.get(TLV_VNIS, b""))
        if kind not in (PING, PONG):
            with self.lock:
                self.log.append((name, kind, values))

    def answer(self, stream, ident, values):
        vni = struct.unpack(">I", values[TLV_VNI])[0]
        mac, ip = values.get(TLV_MAC), values.get(TLV_IP)
        with self.lock:
            for (have_vni, have_mac), entry in self.where.items():
                if have_vni == vni and (mac6(have_mac) == mac or (ip and ip_text(ip) in entry["ips"])):
                    self.send(stream, RESPONSE, ident, mapping(entry, vni, have_mac))
                    return
        self.send(stream, RESPONSE, ident, absent(vni, mac, ip))

    def subscribe(self, stream, name, vnis):
        """Members are whatever the test said; the subscriber learns all of them."""
        body = b""
        for (vni,) in struct.iter_unpack(">I", vnis):
            for locator in self.members.get(vni, []):
                body += tlv(TLV_MEMBER, struct.pack(">I", vni) + ip16(locator) + b"\0")
        if body:
            self.send(stream, UPDATE, 1, body)

    def push(self, *keys):
        body = b"".join(mapping(self.where[key], *key) for key in keys)
        with self.lock:
            for stream in self.sessions.values():
                self.send(stream, UPDATE, 2, body)

    def seen(self, name, kind):
        with self.lock:
            return [values for who, what, values in self.log if who == name and what == kind]

    def reports(self, name, kind):
        return [r for r in self.seen(name, REPORT) if r[TLV_KIND] == bytes([kind])]


# ---- hosts and guests ----

class UnixHttp(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(self.path)


class Host:
    def __init__(self, world, number):
        self.world, self.name = world, f"h{number}"
        self.space = f"{world.prefix}-{self.name}"
        self.locator = world.underlay(number)
        self.folder = f"{world.folder}/{self.name}"
        self.process = None
        os.makedirs(self.folder)
        world.space_add(self.space)
        world.plug(self.space, "eth0", f"{world.prefix}{number}", self.locator)
        run(GODWIT, "pki", "issue", self.name, "--dir", world.pki)
        with open(f"{self.folder}/nve.conf", "w", encoding="utf-8") as conf:
            conf.write(f"""id = {self.name}
nva = {f'[{world.nva_address}]' if ':' in world.nva_address else world.nva_address}:7460
locator = {self.locator}
underlay-device = eth0
state-dir = {self.folder}/state
api-socket = {self.folder}/api.sock
agent-socket = {self.folder}/agent.sock
pin-dir = {self.folder}/bpf
tls-ca = {world.pki}/ca.pem
tls-cert = {world.pki}/{self.name}.pem
tls-key = {world.pki}/{self.name}.key
redirect-min-ms = 1000
redirect-idle-ms = 500
log-level = debug
""")

    def command(self, *flags):
        return [NVE, "--config", f"{self.folder}/nve.conf", *flags]

    def start(self, connected=True):
        self.begin()
        self.come_up(connected)

    def begin(self):
        with open(f"{self.folder}/log", "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log,
                                            preexec_fn=lambda: set_netns(f"/run/netns/{self.space}"))

    def come_up(self, connected=True):
        wait_for(f"{self.name} to answer", lambda: self.process.poll() is not None or self.answers(connected))
        assert self.process.poll() is None, open(f"{self.folder}/log", encoding="utf-8").read()

    def answers(self, connected):
        with contextlib.suppress(OSError):
            status = self.get("/v1/status")
            return status["nva_connected"] or not connected
        return False

    def stop(self, kill=False):
        if self.process and self.process.poll() is None:
            self.process.kill() if kill else self.process.terminate()
            self.process.wait(10)

    def flush(self):
        return subprocess.Popen(self.command("--flush"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                preexec_fn=lambda: set_netns(f"/run/netns/{self.space}"))

    def request(self, method, path, body=None):
        connection = UnixHttp(f"{self.folder}/api.sock")
        connection.request(method, path, json.dumps(body) if body is not None else None)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text) if text else {}

    def get(self, path):
        status, body = self.request("GET", path)
        assert status == 200, body
        return body

    def post(self, path, body):
        status, answer = self.request("POST", path, body)
        assert status == 200, answer
        return answer

    def counters(self):
        return self.get("/v1/counters")

    def fdb(self, mac):
        return next((e for e in self.get("/v1/fdb")["fdb"] if e["mac"] == mac), None)

    def port(self, vm):
        return next((p for p in self.get("/v1/ports")["ports"] if p["vm"] == f"{vm}@default"), None)

    def attach(self, guest, epoch=1, mode="serve", **more):
        return self.post("/v1/ports", dict(id=f"{guest.vm}-0", vm=guest.vm, vni=guest.vni, mac=guest.mac,
                                           addresses=guest.ips, mtu=self.world.mtu, device=guest.device, mode=mode,
                                           epoch=epoch, **more))


class Guest:
    """A namespace behind a veth; several may be copies of one VM, on different hosts."""

    def __init__(self, world, host, vm, number, vni=100):
        self.world, self.host, self.vm, self.vni = world, host, vm, vni
        self.mac = "52:54:00:00:00:%02x" % number
        self.ips = [f"10.1.0.{number}", f"fd00:1::{number:x}"]
        self.space = f"{world.prefix}-{vm}{host.name}"
        self.device = f"v{vm}"
        world.space_add(self.space)
        run("ip", "-n", self.space, "link", "add", "eth0", "address", self.mac, "mtu", str(world.mtu), "type", "veth",
            "peer", "name", self.device, "netns", host.space)
        with netns(self.space):
            for name in ("all", "default", "eth0"):
                with open(f"/proc/sys/net/ipv6/conf/{name}/accept_dad", "w", encoding="ascii") as f:
                    f.write("0")
        run("ip", "-n", self.space, "addr", "add", f"{self.ips[0]}/24", "dev", "eth0")
        run("ip", "-n", self.space, "addr", "add", f"{self.ips[1]}/64", "dev", "eth0", "nodad")
        run("ip", "-n", self.space, "link", "set", "eth0", "up")
        run("ip", "-n", host.space, "link", "set", self.device, "up")

    def is_at(self, host, epoch):
        self.world.nva.where[(self.vni, self.mac)] = dict(vm=f"{self.vm}@default", locator=host.locator, epoch=epoch,
                                                          ips=self.ips)

    def udp(self, family, port=0):
        address = self.ips[0] if family == 4 else self.ips[1]
        with netns(self.space):
            sock = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)   # nobody reads before the end
            sock.bind((address, port))
        return sock


class World:
    def __init__(self, family, hosts=3):
        self.family = family
        self.prefix = f"gwf{os.getpid() % 10000}"
        self.folder = tempfile.mkdtemp(prefix="gw-nve-")
        self.spaces, self.hosts = [], []
        self.nva = None
        self.mtu = 1450 if family == 4 else 1430
        self.nva_address = self.underlay(100)
        self.pki = f"{self.folder}/pki"
        self.net = f"{self.prefix}-net"
        try:
            self.build(hosts)
        except BaseException:
            self.remove()
            raise

    def build(self, hosts):
        run(GODWIT, "pki", "init", "--dir", self.pki)
        run(GODWIT, "pki", "issue", "nva", "--dir", self.pki, "--server", "--host", self.nva_address)
        self.space_add(self.net)
        # A bridge takes the lowest MAC of its ports: without one of its own it would be another machine to those who know it
        # already when a port is plugged in later, and sessions with the authority would hang.
        run("ip", "-n", self.net, "link", "add", "br0", "address", "02:00:00:00:00:64", "type", "bridge", "forward_delay", "0",
            "mcast_snooping", "0")
        self.address(self.net, "br0", self.nva_address)
        run("ip", "-n", self.net, "link", "set", "br0", "up")
        self.nva = Authority(self.net, self.nva_address, self.pki)
        for number in range(1, hosts + 1):
            self.hosts.append(Host(self, number))
        self.nva.members = {100: [host.locator for host in self.hosts]}
        for host in self.hosts:
            host.begin()
        for host in self.hosts:
            host.come_up()

    def underlay(self, number):
        return f"10.98.0.{number}" if self.family == 4 else f"fd98::{number:x}"

    def address(self, space, device, address):
        run("ip", "-n", space, "addr", "add", f"{address}/{24 if self.family == 4 else 64}", "dev", device,
            *(["nodad"] if self.family == 6 else []))

    def space_add(self, name):
        run("ip", "netns", "add", name)
        self.spaces.append(name)
        run("ip", "-n", name, "link", "set", "lo", "up")

    def plug(self, space, device, port, address):
        run("ip", "-n", self.net, "link", "add", port, "type", "veth", "peer", "name", device, "netns", space)
        run("ip", "-n", self.net, "link", "set", port, "master", "br0", "up")
        self.address(space, device, address)
        run("ip", "-n", space, "link", "set", device, "up")

    def remove(self):
        for host in self.hosts:
            if host.process and host.process.poll() is None:
                host.process.terminate()
        for host in self.hosts:
            host.stop()
        for flushing in [host.flush() for host in self.hosts]:
            flushing.wait(30)
        for host in self.hosts:
            run("umount", f"{host.folder}/bpf", check=False)
        if self.nva and self.nva.listener.fileno() >= 0:
            self.nva.stop()
        for space in reversed(self.spaces):
            run("ip", "netns", "del", space, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def logs(self):
        return "".join(f"---- {h.name}\n{open(h.folder + '/log', encoding='utf-8').read()}" for h in self.hosts)


class Agent:
    """The hypervisor agent's end of the unix session."""

    def __init__(self, host):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(f"{host.folder}/agent.sock")
        self.ident = 0

    def call(self, method, path, body, fds=()):
        self.ident += 1
        fields = tlv(0x100, method.encode()) + tlv(0x101, path.encode()) + tlv(0x102, json.dumps(body).encode())
        if fds:
            fields += tlv(0x104, struct.pack(">H", len(fds)))
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.sock.sendmsg([frame(CALL, self.ident, fields)], ancillary)
        while True:
            kind, ident, answer = read_frame(self.sock)
            if kind == PING:
                self.sock.sendall(frame(PONG, ident))
            elif kind == ANSWER and ident == self.ident:
                values = dict(tlvs(answer))
                return struct.unpack(">H", values[0x103])[0], json.loads(values.get(0x102, b"{}"))


class Stream:
    """Numbered datagrams at a rate, from one guest to an address, until stopped."""

    def __init__(self, guest, family, to, rate=1000):
        self.sock = guest.udp(family)
        self.to, self.rate, self.sent, self.running = to, rate, 0, True
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        started = time.monotonic()
        while self.running:
            due = int((time.monotonic() - started) * self.rate)
            while self.sent < due and self.running:
                with contextlib.suppress(OSError):
                    self.sock.sendto(struct.pack(">I", self.sent), self.to)
                self.sent += 1
            time.sleep(0.0005)

    def stop(self):
        self.running = False
        self.thread.join()
        self.sock.close()
        return self.sent


def drain(sock, quiet=0.5):
    """The numbers that came, until nothing came for a while."""
    sock.settimeout(quiet)
    numbers = []
    with contextlib.suppress(socket.timeout):
        while True:
            numbers.append(struct.unpack(">I", sock.recv(64)[:4])[0])
    return numbers
