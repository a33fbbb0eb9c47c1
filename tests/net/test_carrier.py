# SPDX-License-Identifier: Apache-2.0
"""The carrier of a copy, between a stand-in for the emulator that sends and a TLS server for the one that receives."""
import contextlib
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from labs import BUILD, GODWIT, wait_until  # noqa: E402

AGENT = os.path.join(BUILD, "src/hv/godwit-hv")
FULL_RECORD = 16384


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("pki"))
    subprocess.run([GODWIT, "pki", "init", "--dir", folder], check=True, capture_output=True)
    for name in ("h1", "h2"):
        subprocess.run([GODWIT, "pki", "issue", name, "--dir", folder], check=True, capture_output=True)
    for link, file in (("ca-cert.pem", "ca.pem"), ("client-cert.pem", "h1.pem"), ("client-key.pem", "h1.key")):
        os.symlink(f"{folder}/{file}", f"{folder}/{link}")
    return folder


class Receiver:
    """Takes one connection and reads it to its end, or until it has `enough`."""

    def __init__(self, pki, address, enough=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(f"{pki}/h2.pem", f"{pki}/h2.key")
        context.load_verify_locations(f"{pki}/ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = socket.socket(family)
        self.listener.bind((address, 0))
        self.listener.listen(1)
        port = self.listener.getsockname()[1]
        self.at = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        self.got, self.sizes, self.peer, self.clean = bytearray(), [], None, False
        self.thread = threading.Thread(target=self.run, args=(context, enough), daemon=True)
        self.thread.start()

    def run(self, context, enough):
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            sock = context.wrap_socket(self.listener.accept()[0], server_side=True)
            self.peer = sock.getpeercert()
            while enough is None or len(self.got) < enough:
                data = sock.recv(1 << 20)
                if not data:
                    self.clean = True
                    break
                self.got += data
                self.sizes.append(len(data))
            sock.close()
        self.listener.close()


class Carrier:
    def __init__(self, pki, at, path, name="h2"):
        mine, its = os.pipe()
        self.path = path
        self.process = subprocess.Popen([AGENT, "carry", at, name, pki, path, str(its)], pass_fds=[its])
        os.close(its)
        self.report = os.fdopen(mine)

    def emulator(self):
        assert self.report.readline() == "ready\n"
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(self.path)
        return sock

    def end(self):
        status = self.process.wait(20)
        self.report.close()
        assert not os.path.exists(self.path)
        return status


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_all_arrives_in_order(pki, tmp_path, address):
    seed = int(os.environ.get("GW_SEED", time.time_ns() & 0xffffffff))
    print(f"GW_SEED={seed}")
    rng = random.Random(seed)
    receiver = Receiver(pki, address)
    carrier = Carrier(pki, receiver.at, str(tmp_path / "out"))
    emulator, sent = carrier.emulator(), rng.randbytes(rng.randrange(4 << 20, 6 << 20))
    at = 0
    while at < len(sent):
        n = rng.choice((8, 4096, 130000))
        emulator.sendall(sent[at:at + n])
        at += n
    emulator.close()
    assert carrier.end() == 0
    receiver.thread.join(10)
    assert receiver.got == sent and receiver.clean
    assert (("commonName", "h1"),) in receiver.peer["subject"]


def test_records_are_full(pki, tmp_path):
    """As QEMU sends pages: eight octets, then 4096. What has come together goes together."""
    receiver = Receiver(pki, "127.0.0.1")
    carrier = Carrier(pki, receiver.at, str(tmp_path / "out"))
    emulator = carrier.emulator()
    wait_until("it is connected", lambda: not os.path.exists(carrier.path))
    carrier.process.send_signal(signal.SIGSTOP)
    emulator.settimeout(0)
    pages = 0
    with contextlib.suppress(BlockingIOError):
        while pages < 20:
            emulator.sendall(bytes(8))
            emulator.sendall(bytes(4096))
            pages += 1
    emulator.close()
    carrier.process.send_signal(signal.SIGCONT)
    assert carrier.end() == 0
    receiver.thread.join(10)
    assert pages == 20 and len(receiver.got) == pages * 4104
    assert len(receiver.sizes) <= len(receiver.got) // FULL_RECORD + 2, receiver.sizes


def test_what_a_dead_emulator_has_written_arrives(pki, tmp_path):
    receiver = Receiver(pki, "127.0.0.1")
    carrier = Carrier(pki, receiver.at, str(tmp_path / "out"))
    assert carrier.report.readline() == "ready\n"
    code = "import os,signal,socket; s=socket.socket(socket.AF_UNIX); s.connect(os.sys.argv[1]); " \
           "s.sendall(bytes(100000)); os.kill(os.getpid(), signal.SIGKILL)"
    subprocess.run([sys.executable, "-c", code, carrier.path], check=False)
    assert carrier.end() == 0
    receiver.thread.join(10)
    assert len(receiver.got) == 100000


def test_another_host_gets_nothing(pki, tmp_path):
    receiver = Receiver(pki, "127.0.0.1")
    carrier = Carrier(pki, receiver.at, str(tmp_path / "out"), name="h3")
    assert "h3 is not reached over TLS: hostname mismatch" in carrier.report.readline()
    assert carrier.end() == 1
    assert not receiver.got


def test_nobody_there(pki, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        at = "127.0.0.1:%d" % free.getsockname()[1]
        carrier = Carrier(pki, at, str(tmp_path / "out"))
        assert carrier.report.readline() == f"cannot connect to {at}: Connection refused\n"
        assert carrier.end() == 1


def test_nobody_waits_for_it_any_more(pki, tmp_path):
    """Its agent has died before the emulator came: then nobody sends it here, and the receiver is let go of."""
    receiver = Receiver(pki, "127.0.0.1")
    carrier = Carrier(pki, receiver.at, str(tmp_path / "out"))
    assert carrier.report.readline() == "ready\n"
    carrier.report.close()
    assert carrier.end() == 1
    receiver.thread.join(10)
    assert not receiver.thread.is_alive() and not receiver.got


def test_a_receiver_that_goes_ends_the_copy(pki, tmp_path):
    receiver = Receiver(pki, "127.0.0.1", enough=200000)
    carrier = Carrier(pki, receiver.at, str(tmp_path / "out"))
    emulator = carrier.emulator()
    emulator.settimeout(20)
    with pytest.raises(ConnectionError):
        while True:
            emulator.sendall(bytes(65536))
    assert "the copy to h2 was broken off" in carrier.report.readline()
    assert carrier.end() == 1


def test_a_receiver_that_has_all_may_close_first(pki, tmp_path):
    receiver = Receiver(pki, "127.0.0.1", enough=50000)
    carrier = Carrier(pki, receiver.at, str(tmp_path / "out"))
    emulator = carrier.emulator()
    emulator.sendall(bytes(50000))
    receiver.thread.join(10)
    emulator.settimeout(0.2)
    with pytest.raises(TimeoutError):
        emulator.recv(1)                        # it is not hung up on
    emulator.close()
    assert carrier.report.readline() == ""      # no complaint
    assert carrier.end() == 0
