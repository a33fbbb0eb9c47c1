# SPDX-License-Identifier: Apache-2.0
"""QEMU by hand, the peer of `transfer`: a guest started with the very command line that the agent gave its own emulator, on
hosts with a Linux bridge and VXLAN, moved by QEMU alone.

A move is: a second emulator is started and waits, both are told what they must know, `migrate`, RESUME at the target. What
the target needs besides (its tap in its bridge) is there before the clock starts; the source is told its part while the target's
emulator starts. Nobody cuts, drains, registers or reports anything.
"""
import os
import signal
import subprocess
import time

import peers


class PlainVm:
    def __init__(self, peer, words, tls_dirs, console):
        """words: of the emulator to be like. tls_dirs: by host number, each with a certificate named h1, h2, .."""
        self.peer, self.words, self.tls_dirs, self.console = peer, words, tls_dirs, console
        self.serial, self.at = 0, 1
        self.process, self.qmp, self.tap = self.start(1)

    def command(self, tap):
        """The same machine; only where it speaks to, and its tap, are of this peer."""
        change = {"-netdev tap": f"tap,id=n0,ifname={tap},script=no,downscript=no,vhost=off",
                  "-chardev socket": f"socket,id=qmp0,path={self.peer.folder}/{tap}.qmp,server=on,wait=off",
                  "-chardev file": f"file,id=serial0,path={self.console},append=on"}
        words = [change.get(f"{before} {word.partition(',')[0]}", word) for before, word in zip([""] + self.words, self.words)]
        console = words.index("-add-fd")        # the agent's own, which is not handed down here
        del words[console:console + 2]
        for at, word in enumerate(words):
            if word == "-incoming":
                return words[:at] + words[at + 2:]
        return words

    def start(self, number, incoming=False):
        self.serial += 1
        tap = f"tap{self.serial}"
        if not incoming:
            self.peer.add_tap(number, tap)
        process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{self.peer.host(number)}", *self.command(tap),
             *(["-incoming", "defer"] if incoming else [])], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.peer.processes.append(process)
        if incoming:
            return process, None, tap
        return process, self.connect(tap), tap

    def connect(self, tap):
        qmp = peers.Qmp(f"{self.peer.folder}/{tap}.qmp")
        qmp.call("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
        return qmp

    def secure(self, qmp, number, tls, server, downtime_ms):
        name, more = f"tls{self.serial}", {"tls-creds": ""}
        if tls:
            qmp.call("object-add", **{"qom-type": "tls-creds-x509", "id": name, "dir": self.tls_dirs[number],
                                      "endpoint": "server" if server else "client", "verify-peer": True, "sanity-check": False})
            more = {"tls-creds": name, "tls-hostname": "" if server else f"h{3 - number}"}
        qmp.call("migrate-set-parameters", **{"max-bandwidth": 0, "downtime-limit": downtime_ms, **more})

    def move(self, tls, downtime_ms):
        """To the other host: (from the start to RESUME, from STOP to RESUME), in ms."""
        number = 3 - self.at
        self.peer.add_tap(number, f"tap{self.serial + 1}")
        self.qmp.events.clear()
        began = time.time_ns()
        process, _, tap = self.start(number, incoming=True)
        self.secure(self.qmp, self.at, tls, False, downtime_ms)
        qmp = self.connect(tap)
        self.secure(qmp, number, tls, True, downtime_ms)
        uri = f"tcp:{self.peer.locator(number)}:{50000 + self.serial}"
        qmp.call("migrate-incoming", uri=uri)
        self.qmp.call("migrate", uri=uri)
        stopped, resumed = (peers.time_ns(q.event(name)) for q, name in ((self.qmp, "STOP"), (qmp, "RESUME")))
        self.qmp.event("MIGRATION", lambda data: data["status"] == "completed")
        self.end()
        self.process, self.qmp, self.tap, self.at = process, qmp, tap, number
        return (resumed - began) / 1e6, (resumed - stopped) / 1e6

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)
        self.peer.processes.remove(self.process)
        self.qmp.lines.close()
        self.qmp.socket.close()
        peers.run("ip", "-n", self.peer.host(self.at), "link", "del", self.tap, check=False)


def words_of(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]
