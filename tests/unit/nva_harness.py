# SPDX-License-Identifier: Apache-2.0
"""A godwit-nva on loopback with a throwaway authority, and hosts that are only pretended.

A FakeHost is an NVE and a hypervisor agent in one: two TLS sessions that speak
the frames of wire/frame.h and the registrations of wire/registration.h, with VMs
that are entries in a dictionary. What it does follows docs/architecture.md.
"""
import http.client
import ipaddress
import json
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

HELLO, WELCOME, REGISTER, REGISTERED, QUERY, RESPONSE, UPDATE, ACK = range(1, 9)
FLUSH, REPORT, SUBSCRIBE, CALL, ANSWER, EVENT, PING, PONG, BYE = range(9, 18)
ROLE_NVE, ROLE_HV = 1, 2


def tlv(kind, value):
    return struct.pack("!HI", kind, len(value)) + value


def tlvs(body):
    at, found = 0, {}
    while at + 6 <= len(body):
        kind, size = struct.unpack_from("!HI", body, at)
        found.setdefault(kind, []).append(body[at + 6:at + 6 + size])
        at += 6 + size
    return found


def frame(kind, ident, body=b""):
    return struct.pack("!IBBHI", 12 + len(body), 1, kind, 0, ident) + body


def ip16(text):
    ip = ipaddress.ip_address(text)
    return ip.packed if ip.version == 6 else b"\0" * 10 + b"\xff\xff" + ip.packed


def registration(vm, macs, addresses, epoch, sequence, locator, lifetime=900, handoff=1):
    options = struct.pack("!BBB", 8, 1 + len(vm), 1) + vm.encode()
    for address in addresses:
        ip = ipaddress.ip_address(address)
        if ip.version == 6:
            options += struct.pack("!BBBB", 22, 18, 0, 128) + ip.packed
        else:
            options += struct.pack("!BBH", 36, 6, 32 << 10) + ip.packed
    options += struct.pack("!BBBB", 23, 2, 0, handoff) + struct.pack("!BBBB", 24, 2, 0, 1)
    for mac in macs:
        options += struct.pack("!BBH", 25, 8, 0) + bytes.fromhex(mac.replace(":", ""))
    options += struct.pack("!BBQ", 27, 8, int(time.time() * 65536))
    options += struct.pack("!BBIBQ", 19, 13, 32473, 1, epoch)
    size = 12 + len(options)
    pad = -size % 8
    options += b"\0" * pad if pad < 2 else struct.pack("!BB", 1, pad - 2) + b"\0" * (pad - 2)
    size += pad
    head = struct.pack("!BBBBHHHH", 59, size // 8 - 1, 5, 0, 0, sequence, 0xC200, lifetime)
    pseudo = ip16(locator) + b"\0" * 16 + struct.pack("!II", size, 135)
    total = sum(struct.unpack("!%dH" % ((len(pseudo) + size) // 2), pseudo + head + options))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return head[:4] + struct.pack("!H", ~total & 0xFFFF) + head[6:] + options


class Session:
    """One TLS session; reads in a thread of its own. answer(method, path, body) -> (status, body) or None for silence."""

    def __init__(self, nva, name, role, locator, answer=None, on_frame=None, cert=None, hello=b""):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.load_verify_locations(nva.pki + "/ca.pem")
        context.load_cert_chain("%s/%s.pem" % (nva.pki, cert or name), "%s/%s.key" % (nva.pki, cert or name))
        self.sock = context.wrap_socket(socket.create_connection(("::1", nva.port), timeout=10))
        self.sock.settimeout(None)
        self.role, self.answer, self.on_frame = role, answer, on_frame
        self.frames, self.bye, self.ended = [], None, threading.Event()
        self.lock = threading.Lock()
        self.next_id = 1
        self.send(HELLO, tlv(1, bytes([role])) + tlv(2, name.encode()) + tlv(3, ip16(locator)) +
                  tlv(4, struct.pack("!Q", 1)) + hello)
        threading.Thread(target=self.read, daemon=True).start()

    def send(self, kind, body=b"", ident=None):
        with self.lock:
            if ident is None:
                ident, self.next_id = self.next_id, self.next_id + 1
            try:
                self.sock.sendall(frame(kind, ident, body))
            except OSError:
                pass

    def event(self, name, **fields):
        self.send(EVENT, tlv(0x102, json.dumps(dict(fields, event=name, at_ns=time.time_ns())).encode()))

    def read(self):
        stream = self.sock.makefile("rb")
        try:
            while True:
                head = stream.read(12)
                if len(head) < 12:
                    break
                length, _, kind, _, ident = struct.unpack("!IBBHI", head)
                self.take(kind, ident, stream.read(length - 12))
        except (OSError, ValueError):
            pass
        self.ended.set()

    def take(self, kind, ident, body):
        if kind == PING:
            self.send(PONG, ident=ident)
        elif kind == CALL:
            threading.Thread(target=self.call, args=(ident, body), daemon=True).start()
        else:
            if kind == BYE:
                self.bye = tlvs(body).get(16, [b""])[0].decode()
            self.frames.append((kind, ident, body))
            if self.on_frame:
                self.on_frame(kind, ident, body)

    def call(self, ident, body):
        parts = tlvs(body)
        text = parts.get(0x102, [b"{}"])[0]
        if not self.answer:
            return
        result = self.answer(parts[0x100][0].decode(), parts[0x101][0].decode(), json.loads(text))
        if result is not None:
            status, value = result
            out = tlv(0x103, struct.pack("!H", status))
            if value is not None:
                out += tlv(0x102, json.dumps(value).encode())
            self.send(ANSWER, out, ident)

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()


class FakeHost:
    def __init__(self, nva, name, locator, memory_mib=1024, vcpus=8):
        self.nva, self.name, self.locator = nva, name, locator
        self.memory_mib, self.vcpus = memory_mib, vcpus
        self.vms, self.calls, self.ports = {}, [], {}
        self.refuse, self.silent = {}, set()
        self.hold_at = None  # a source stops driving its copy here: "copy", "stop", "cut"
        self.unheard = set()  # events that it tells nobody
        self.sequence = 0
        self.nve = self.hv = None
        nva.issue(name)

    def connect(self):
        self.connect_nve()
        self.connect_hv()
        return self

    def connect_nve(self):
        self.nve = Session(self.nva, self.name, ROLE_NVE, self.locator, self.nve_call, self.nve_frame)
        wait(lambda: any(f[0] == WELCOME for f in self.nve.frames), "%s: no WELCOME" % self.name)
        self.subscribe()
        for vm in list(self.vms.values()):
            if vm["state"] == "running":
                self.register(vm, 5)

    def connect_hv(self):
        self.hv = Session(self.nva, self.name, ROLE_HV, self.locator, self.hv_call)
        wait(lambda: any(f[0] == WELCOME for f in self.hv.frames), "%s: no WELCOME" % self.name)
        self.hv.event("inventory", vms=self.inventory(), capacity={"memory_mib": self.memory_mib, "vcpus": self.vcpus})
        wait(lambda: self.nva.get("/v1/nves/" + self.name)["hv_connected"], "%s: agent not taken" % self.name)

    def inventory(self):
        keys = ("id", "state", "role", "epoch", "move", "copying", "stopped_ns", "resumed_ns")
        return [{k: vm[k] for k in keys if k in vm} for vm in self.vms.values()]

    def tell(self, event, vm, **fields):
        if event not in self.unheard:
            self.hv.event(event, vm=vm["id"], move=vm["move"], **fields)

    def drop(self):
        for session in (self.nve, self.hv):
            if session:
                session.close()
        wait(lambda: not self.nva.get("/v1/nves/" + self.name)["hv_connected"], "%s: still there" % self.name)

    def subscribe(self):
        vnis = {p["vni"] for vm in self.vms.values() for p in vm["definition"]["ports"]}
        vnis |= {p["vni"] for p in self.ports.values()}
        self.nve.send(SUBSCRIBE, tlv(15, b"".join(struct.pack("!I", v) for v in sorted(vnis))))

    def register(self, vm, handoff):
        self.sequence += 1
        ports = vm["definition"]["ports"]
        message = registration(vm["id"], [p["mac"] for p in ports], [a for p in ports for a in p["addresses"]],
                               vm["epoch"], self.sequence, self.locator, handoff=handoff)
        self.nve.send(REGISTER, tlv(3, ip16(self.locator)) + tlv(5, message))

    def nve_frame(self, kind, ident, body):
        if kind in (UPDATE, FLUSH):
            self.nve.send(ACK, ident=ident)

    def nve_call(self, method, path, body):
        self.calls.append((method, path, body))
        if (method, path) in self.refuse:
            return self.refuse[(method, path)]
        if path == "/v1/ports" and method == "POST":
            self.ports[body["id"]] = body
            self.subscribe()
        if path.split("?")[0] == "/v1/ports" and method == "GET":
            return 200, {"ports": list(self.ports.values())}
        if path.startswith("/v1/vms/") and method == "DELETE":
            self.ports = {k: p for k, p in self.ports.items() if p["vm"] != path.split("/")[3]}
        if path == "/v1/counters":
            return 200, {"redirected": len(self.calls), "drop-loop": 0}
        return 200, {}

    def state(self, vm, state, reason=""):
        vm["state"] = state
        self.hv.event("vm-state", vm=vm["id"], state=state, reason=reason, move=vm["move"])

    def crash(self, ident):
        vm = self.vms[ident]
        self.state(vm, "crashed", "signal 9")
        return vm

    def hv_call(self, method, path, body):
        self.calls.append((method, path, body))
        parts = path.split("/")
        verb = (method + " " + (parts[4] if len(parts) > 4 else "")).strip()
        if verb in self.silent:
            return None
        if verb in self.refuse:
            return self.refuse[verb]
        if method == "GET":
            return 200, {"vms": self.inventory()}
        if len(parts) == 3:
            return self.start(body)
        vm = self.vms.get(parts[3])
        if method == "DELETE":
            self.vms.pop(parts[3], None)
            return 200, {}
        if parts[4] == "incoming":
            return self.incoming(body)
        if not vm:
            return 404, {"error": {"code": "not-found", "field": "", "text": "no such VM here"}}
        return getattr(self, "on_" + parts[4])(vm, body)

    def start(self, body):
        ident = "%s@%s" % (body["definition"]["name"], body["definition"]["tenant"])
        vm = dict(id=ident, state="running", role="serve", epoch=body["epoch"], move="", definition=body["definition"])
        self.vms[ident] = vm
        self.subscribe()
        self.register(vm, 1)
        self.state(vm, "running")
        return 200, {}

    def incoming(self, body):
        ident = "%s@%s" % (body["definition"]["name"], body["definition"]["tenant"])
        self.vms[ident] = dict(id=ident, state="incoming", role="target", epoch=body["epoch"], move=body["move"],
                               definition=body["definition"])
        self.subscribe()
        return 200, {"address": "127.0.0.1", "port": 49152}

    def on_stop(self, vm, body):
        self.state(vm, "stopped")
        return 200, {}

    def on_migrate(self, vm, body):
        vm.update(role="source", move=body["move"], plan=body)
        threading.Thread(target=self.drive, args=(vm,), daemon=True).start()
        return 200, {}

    def drive(self, vm, upto=None):
        """Copy, stop, cut and continue, as an agent does alone."""
        target = self.nva.host_at(vm["plan"]["to"])
        self.hv.event("move-progress", vm=vm["id"], move=vm["move"], transferred=1 << 20, remaining=1 << 20,
                      total=2 << 20, rate_bytes_s=1e6, dirty_pages_s=10, iteration=1)
        if self.hold_at == "copy":
            return
        vm.update(state="paused", copying=True, stopped_ns=time.time_ns())
        self.tell("move-stopped", vm)
        if self.hold_at == "stop":
            return
        vm["cut"] = True
        self.tell("move-cut", vm, drained=3, talkers=["10.99.0.9"])
        if self.hold_at == "cut":
            return
        target.arrive(vm["id"])
        self.hv.event("move-completed", vm=vm["id"], move=vm["move"])

    def arrive(self, ident):
        vm = self.vms.get(ident)
        if vm and vm["state"] == "incoming":
            vm.update(state="running", role="serve", resumed_ns=time.time_ns())
            self.register(vm, 3)  # the edge is told first, and all may have acknowledged before the agent's event
            time.sleep(0.02)
            self.tell("move-running", vm)

    def on_cancel(self, vm, body):
        if vm.get("cut"):
            return 409, {"error": {"code": "conflict", "field": "", "text": "the cut has been made"}}
        vm.update(state="running", role="serve", move="")
        return 200, {}

    def on_finish(self, vm, body):
        self.finished = body
        self.vms.pop(vm["id"])
        return 200, {}

    def on_abandon(self, vm, body):
        if vm["state"] == "running" and not body.get("fence"):
            return 409, {"error": {"code": "conflict", "field": "", "text": "it runs"}}
        self.vms.pop(vm["id"])
        return 200, {}

    def on_resume(self, vm, body):
        vm.update(state="running", role="serve", epoch=body["epoch"], move="", cut=False)
        self.register(vm, 3)
        return 200, {}


def wait(condition, what, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("timed out: " + what)
        time.sleep(0.01)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self.path)


class Nva:
    def __init__(self, program, cli):
        self.program, self.cli = program, cli
        self.dir = tempfile.mkdtemp(prefix="gw-nva-")
        self.pki = self.dir + "/pki"
        self.api = self.dir + "/run/api.sock"      # a folder that is not there: started without its unit
        self.process = None
        self.hosts = {}
        self.settings = {"deadline-prepare-ms": 3000, "deadline-copy-ms": 3000, "deadline-cut-ms": 1000,
                         "deadline-converge-ms": 1000}
        subprocess.run([cli, "pki", "init", "--dir", self.pki], check=True, stdout=subprocess.DEVNULL)
        self.issue("nva", "--server", "--host", "::1")
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
            self.port = s.getsockname()[1]

    def issue(self, name, *flags):
        if not os.path.exists("%s/%s.pem" % (self.pki, name)):
            subprocess.run([self.cli, "pki", "issue", name, "--dir", self.pki, *flags], check=True,
                           stdout=subprocess.DEVNULL)

    def host(self, name, locator, **more):
        self.hosts[name] = FakeHost(self, name, locator, **more)
        return self.hosts[name].connect()

    def host_at(self, locator):
        return next(h for h in self.hosts.values() if h.locator == locator)

    def start(self):
        with open(self.dir + "/nva.conf", "w") as f:
            f.write("id = nva\nstate-dir = %s/state\napi-socket = %s\nlisten = [::1]:%d\nlog-level = debug\n"
                    "tls-ca = %s/ca.pem\ntls-cert = %s/nva.pem\ntls-key = %s/nva.key\n" %
                    (self.dir, self.api, self.port, self.pki, self.pki, self.pki))
            for key, value in self.settings.items():
                f.write("%s = %s\n" % (key, value))
        self.log = open(self.dir + "/log", "ab")
        self.process = subprocess.Popen([self.program, "--config", self.dir + "/nva.conf"], stderr=self.log)
        wait(self.answers, "the authority does not answer; see its log:\n" + self.dir)

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError("godwit-nva ended: " + self.read_log())
        try:
            return self.request("GET", "/v1/status")[0] == 200
        except OSError:
            return False

    def read_log(self):
        with open(self.dir + "/log") as f:
            return f.read()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def restart(self):
        self.kill()
        self.start()

    def request(self, method, path, body=None):
        connection = UnixConnection(self.api)
        try:
            data = None if body is None else body if isinstance(body, bytes) else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
            response = connection.getresponse()
            text = response.read()
            return response.status, json.loads(text) if text else None
        finally:
            connection.close()

    def get(self, path):
        status, body = self.request("GET", path)
        assert status == 200, (path, status, body)
        return body

    def post(self, path, body=None, status=None):
        got, answer = self.request("POST", path, body)
        assert got == status if status else got // 100 == 2, (path, body, got, answer)
        return answer

    def delete(self, path):
        status, body = self.request("DELETE", path)
        assert status == 204, (path, status, body)

    def end(self):
        for host in self.hosts.values():
            for session in (host.nve, host.hv):
                if session:
                    session.close()
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                code = self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise AssertionError("godwit-nva does not end on SIGTERM")
            assert code == 0, "godwit-nva ended with %d: %s" % (code, self.read_log()[-2000:])
        shutil.rmtree(self.dir)


def run(test):
    nva = Nva(os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]))
    failed = None
    try:
        nva.start()
        test(nva)
    except Exception:
        failed = traceback.format_exc() + "".join(nva.read_log().splitlines(True)[-40:])
    try:
        nva.end()
    except Exception:
        failed = failed or traceback.format_exc()
    return failed


def run_all(tests):
    """PROGRAM GODWIT-NVA GODWIT SOURCE-ROOT [NAME...], as TAP."""
    wanted = [t for t in tests if not sys.argv[4:] or t.__name__ in sys.argv[4:]]
    print("TAP version 13\n1..%d" % len(wanted))
    for number, test in enumerate(wanted, 1):
        trouble = run(test)
        print("%s %d - %s" % ("not ok" if trouble else "ok", number, test.__name__))
        for line in (trouble or "").splitlines():
            print("# " + line)
        sys.stdout.flush()
