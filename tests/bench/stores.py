# SPDX-License-Identifier: Apache-2.0
"""Redis and etcd beside the authority: started on loopback in folders of their own, asked by tools that pipeline.

Durable means the same for all: acknowledged only when it is synced (Redis: appendfsync always; etcd: always).
"""
import json
import os
import shutil
import subprocess
import tempfile

import authority

VALUE_OCTETS = 96                               # about what a mapping has on the wire
SESSIONS, DEPTH = 8, 512


class Store:
    name = ""

    def __init__(self, build):
        self.build, self.port, self.process = build, authority.free_port(), None
        self.folder = tempfile.mkdtemp(prefix=f"godwit-bench-{self.name}-", dir=os.environ.get("TMPDIR", "/var/tmp"))

    def start(self):
        with open(f"{self.folder}/log", "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
        authority.wait_for(self.name, lambda: authority.accepts(self.port), self.process)

    def stop(self):
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Redis(Store):
    name = "redis"

    def command(self):
        return ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder, "--save", "",
                "--appendonly", "yes", "--appendfsync", "always"]

    def per_s(self, what, requests, keys):
        out = subprocess.run(["redis-benchmark", "-p", str(self.port), "-t", what, "-n", str(requests), "-r", str(keys),
                              "-d", str(VALUE_OCTETS), "-c", str(SESSIONS), "-P", str(DEPTH), "--csv"],
                             capture_output=True, text=True, check=True).stdout.splitlines()
        return float(out[-1].split(",")[1].strip('"'))

    def measure(self, seconds, keys):
        """A first, short run says how many requests fill the time; the writes come first and make the keys."""
        figures = {}
        for what, name in (("set", "writes_per_s"), ("get", "lookups_per_s")):
            rate = self.per_s(what, 400_000, keys)
            figures[name] = self.per_s(what, int(rate * seconds), keys)
        return figures


class Etcd(Store):
    name = "etcd"

    def command(self):
        peer = authority.free_port()
        return ["etcd", "--name", "bench", "--data-dir", f"{self.folder}/data", "--log-level", "error",
                "--listen-client-urls", f"http://127.0.0.1:{self.port}",
                "--advertise-client-urls", f"http://127.0.0.1:{self.port}",
                "--listen-peer-urls", f"http://127.0.0.1:{peer}",
                "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
                "--initial-cluster", f"bench=http://127.0.0.1:{peer}"]

    def measure(self, seconds, keys):
        figures, load = {}, f"{self.folder}/etcd-load"
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "load", "etcd_load.c")
        subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-o", load, source, "-lnghttp2"], check=True)
        for what, name in (("put", "writes_per_s"), ("get", "lookups_per_s")):
            run = subprocess.run([load, str(self.port), what, str(SESSIONS),
                                  str(DEPTH), str(seconds), str(keys), str(VALUE_OCTETS)], stdout=subprocess.PIPE,
                                 check=True, text=True)
            figures[name] = json.loads(run.stdout)["per_s"]
            # After many writes etcd 3.4 copies an emptied buffer at each read, until it is started anew: not its best.
            self.stop()
            self.start()
        return figures
