# SPDX-License-Identifier: Apache-2.0
"""A godwit-nva on loopback over a population in its store, and what measures it. See load/load.h."""
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, true, process=None, seconds=120):
    end = time.monotonic() + seconds
    while not true():
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"{what}: its process has ended with status {process.returncode}")
        if time.monotonic() > end:
            raise RuntimeError(f"{what}: not within {seconds} s")
        time.sleep(0.002)


def accepts(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def anonymous_octets(pid):
    """Memory of its own: what is mapped from files (the store) can be dropped and read again."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon"))


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Authority:
    """Use as a context manager; everything is in a folder of its own, which goes with it."""

    def __init__(self, build, vms, nves, vns):
        self.load, self.nva = f"{build}/tests/bench/load/godwit-load", f"{build}/src/nva/godwit-nva"
        self.population = [str(vms), str(nves), str(vns)]
        self.vms, self.process, self.port = vms, None, free_port()
        self.folder = tempfile.mkdtemp(prefix="godwit-bench-directory-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        # Keys that end with the run: ten thousand of them need no disk, of which each would take four syncs.
        self.pki = tempfile.mkdtemp(prefix="godwit-bench-pki-", dir="/dev/shm" if os.path.isdir("/dev/shm") else self.folder)

    def __enter__(self):
        try:
            subprocess.run([self.load, "pki", self.pki], check=True)
            subprocess.run([self.load, *self.population, "seed", f"{self.folder}/state"], check=True)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.pki, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self):
        """Seconds from exec until it answers on its API: everything is loaded then."""
        began = time.monotonic()
        with open(f"{self.folder}/nva.log", "ab") as log:
            self.process = subprocess.Popen(
                [self.nva, "--config", "/dev/null", "--set", "id=nva", "--set", f"state-dir={self.folder}/state",
                 "--set", f"api-socket={self.folder}/api.sock", "--set", f"listen=127.0.0.1:{self.port}",
                 "--set", f"tls-ca={self.pki}/ca.pem", "--set", f"tls-cert={self.pki}/nva.pem",
                 "--set", f"tls-key={self.pki}/nva.key", "--set", "session-frames-per-s=0",
                 "--set", "log-level=notice"], stderr=log)
        wait_for("godwit-nva", self.answers, self.process)
        return time.monotonic() - began

    def answers(self):
        connection = UnixConnection(f"{self.folder}/api.sock")
        try:
            connection.request("GET", "/v1/status")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def last_words(self, lines=10):
        with open(f"{self.folder}/nva.log", encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-lines:])

    def stop(self, how=signal.SIGKILL):
        if self.process is None:
            return
        self.process.send_signal(how)
        self.process.wait()
        self.process = None

    def measure(self, what, *arguments):
        """One run of the load; beside its figures, how much of a processor the authority took."""
        before, began = cpu_s(self.process.pid), time.monotonic()
        run = subprocess.run([self.load, *self.population, what, f"127.0.0.1:{self.port}", self.pki,
                              *map(str, arguments)], stdout=subprocess.PIPE, check=False, text=True)
        if run.returncode:
            raise RuntimeError(f"{what}: the load ended with status {run.returncode}, the authority with "
                               f"{self.process.poll()}; its last words:\n{self.last_words()}")
        figures = json.loads(run.stdout)
        figures["authority_share"] = (cpu_s(self.process.pid) - before) / (time.monotonic() - began)
        return figures
