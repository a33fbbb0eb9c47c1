# SPDX-License-Identifier: Apache-2.0
"""A laboratory for tests: `godwit lab` from the build under test, driven by its commands and its HTTP sockets.

GW_BUILD names the build folder. Everything is removed on leaving the context, also after a failure.
"""
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time

BUILD = os.environ.get("GW_BUILD", os.path.join(os.path.dirname(__file__), "..", "build"))
GODWIT = os.path.join(BUILD, "src/cli/godwit")


def open_to_all(program):
    """May other users go through all folders above, and run it? Not in a tree in somebody's closed home."""
    path = os.path.realpath(program)
    if not os.path.exists(path) or os.stat(path).st_mode & 0o5 != 0o5:
        return False
    while path != "/":
        path = os.path.dirname(path)
        if not os.stat(path).st_mode & 0o1:
            return False
    return True


USER = 59400 if open_to_all(os.path.join(BUILD, "lab/synth/godwit-synth")) else 0   # emulators run as this: lab/user.c


def wait_until(what, condition, timeout_s=20.0, every_s=0.02):
    """The first true value of condition(); it may raise while it is not ready."""
    deadline, last = time.monotonic() + timeout_s, None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = value
        except (OSError, KeyError, http.client.HTTPException, ApiError) as error:
            last = error
        if time.monotonic() > deadline:
            raise TimeoutError(f"gave up after {timeout_s} s waiting until {what} (last: {last!r})")
        time.sleep(every_s)


class ApiError(Exception):
    def __init__(self, status, body):
        error = body.get("error", {}) if isinstance(body, dict) else {}
        super().__init__(f"{status} {error}")
        self.status, self.code, self.field, self.text = status, error.get("code"), error.get("field"), error.get("text")


def request(path, method, url, body=None, timeout_s=10.0):
    """One HTTP request to a unix socket: (status, JSON)."""
    connection = http.client.HTTPConnection("localhost", timeout=timeout_s)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(timeout_s)
    try:
        connection.sock.connect(path)
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        connection.request(method, url, body=data, headers={"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text.strip() else None
    finally:
        connection.close()


def command_lines():
    """(pid, words) of all that runs."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                yield int(pid), file.read().decode(errors="replace").split("\0")
        except OSError:
            continue


class Lab:
    def __init__(self, name, hosts=3, underlay=4, **options):
        self.name, self.hosts, self.underlay, self.options = name, hosts, underlay, options
        self.folder = f"/run/godwit/lab/{name}"

    def __enter__(self):
        flags = [word for key, value in self.options.items() for word in (f"--{key.replace('_', '-')}", str(value))]
        self.godwit("lab", "up", "--name", self.name, "--hosts", str(self.hosts), "--underlay", str(self.underlay),
                    *flags)
        return self

    def __exit__(self, kind, *_):
        if kind and not os.environ.get("GW_QUIET_LOGS"):
            self.print_logs()
        self.godwit("lab", "down", "--name", self.name, check=False)

    def print_logs(self, lines=40):
        for folder, _, files in os.walk(self.folder):
            for file in files:
                if file.endswith(".log"):
                    with open(os.path.join(folder, file), errors="replace", encoding="utf-8") as log:
                        print(f"--- {os.path.join(folder, file)}\n" + "".join(log.readlines()[-lines:]))

    def godwit(self, *words, check=True, timeout_s=120):
        """Runs the command line against this lab."""
        command = [GODWIT, *words]
        if words[0] != "lab":
            command += ["--lab", self.name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def lab(self, *words, **options):
        return self.godwit("lab", words[0], "--name", self.name, *words[1:], **options)

    # The authority's API, and those of an edge or a hypervisor agent.
    def api(self, method, url, body=None, socket_path=None, timeout_s=10.0):
        status, answer = request(socket_path or f"{self.folder}/nva/api.sock", method, url, body, timeout_s)
        if status >= 300:
            raise ApiError(status, answer)
        return answer

    def get(self, url):
        return self.api("GET", url)

    def edge(self, host, url, method="GET"):
        return self.api(method, url, socket_path=f"{self.folder}/hosts/{host}/nve.sock")

    def agent(self, host, url):
        return self.api("GET", url, socket_path=f"{self.folder}/hosts/{host}/hv.sock")

    def vm(self, name):
        return self.get(f"/v1/vms/{name}")

    def processes(self):
        """{(host, daemon): pid} of the daemons that the lab runs."""
        done = subprocess.run([GODWIT, "lab", "status", "--name", self.name, "--json"], capture_output=True, text=True,
                              check=True)
        manifest = json.loads(done.stdout)
        items = manifest["items"] if isinstance(manifest, dict) else manifest
        return {(item["host"], item["daemon"]): item["pid"] for item in items if item.get("kind") == "process"}

    def signal(self, host, daemon, number):
        os.kill(self.processes()[(host, daemon)], number)

    def emulators(self, vm):
        """{host: pid} of the emulator processes of a VM, real or synthetic: those with a control socket in the host's folder."""
        found = {}
        for pid, words in command_lines():
            for word in words:
                match = re.search(rf"{re.escape(self.folder)}/hosts/(h\d+)/", word)
                if match and "-mon" in words and any(re.search(rf"\b{vm}\b", w) for w in words):
                    found[match.group(1)] = pid
        return found

    def keeper(self, vm):
        """The process that holds a synthetic guest's namespace."""
        for pid, words in command_lines():
            if "--keeper" in words and words[words.index("--keeper") + 1] == vm and self.folder in " ".join(words):
                return pid
        return None

    def within(self, guest, *command, **options):
        namespace = f"gw-{self.name}-g-{guest}"
        return subprocess.run(["nsenter", f"--net=/run/netns/{namespace}", *command], capture_output=True, text=True,
                              **options)

    def answers(self, guest, address, tries=1):
        return self.within(guest, "ping", "-c", str(tries), "-i", "0.2", "-W", "1", address).returncode == 0

    def move(self, vm, to, **options):
        """Starts a move; returns its id."""
        return self.api("POST", f"/v1/vms/{vm}/move", {"to": to, **options})["id"]

    def moved(self, move, timeout_s=60):
        """The move, when it has ended."""
        def ended():
            state = self.get(f"/v1/moves/{move}")
            return state if state["result"] not in ("open", None, "") else None
        return wait_until(f"move {move} ends", ended, timeout_s)


class Probe:
    """`godwit probe` from a namespace guest, until stop()."""

    def __init__(self, lab, guest, targets, rate=1000, tcp=True):
        self.process = subprocess.Popen(
            [GODWIT, "probe", *targets, "--json", "--until-signal", "--udp-rate", str(rate), "--netns",
             f"gw-{lab.name}-g-{guest}", *(["--tcp"] if tcp else [])], stdout=subprocess.PIPE, text=True)
        time.sleep(0.3)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=20)
        start = out.index("{")
        return json.JSONDecoder().raw_decode(out[out.rindex("\n{") + 1 if "\n{" in out else start:])[0]
