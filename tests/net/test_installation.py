# SPDX-License-Identifier: Apache-2.0
"""What `meson install` puts on a host: units that systemd takes, and that name what the daemons use when nobody configures
anything else. Installed below a folder of the test; nothing is started."""
import configparser
import glob
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from labs import BUILD  # noqa: E402

DAEMONS = ["nva", "nve", "hv"]
PROGRAMS = [os.path.join(BUILD, f"src/{d}/godwit-{d}") for d in DAEMONS] + [os.path.join(BUILD, "src/cli/godwit")]

pytestmark = pytest.mark.skipif(not all(map(os.path.exists, PROGRAMS)), reason="needs the daemons built")


class Installation:
    """A DESTDIR, and what lies in it."""

    def __init__(self, root):
        self.root = root
        subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", root], check=True)
        options = json.loads(subprocess.run(["meson", "introspect", "--buildoptions", BUILD], check=True,
                                            capture_output=True, text=True).stdout)
        options = {o["name"]: o["value"] for o in options}
        self.prefix = options["prefix"]
        self.unit_dir = options["unitdir"] or f"{self.prefix}/lib/systemd/system"

    def text(self, path):
        with open(self.root + path, encoding="utf-8") as f:
            return f.read()

    def unit(self, name):
        parser = configparser.ConfigParser(delimiters="=", strict=False, interpolation=None)
        parser.optionxform = str
        parser.read_string(self.text(f"{self.unit_dir}/{name}"))
        return parser

    def service(self, daemon):
        return self.unit(f"godwit-{daemon}.service")["Service"]

    def printed(self, daemon):
        return subprocess.run([f"{self.root}{self.prefix}/bin/godwit-{daemon}", "--config", "/dev/null", "--print-config"], check=True,
                              capture_output=True, text=True).stdout

    def config(self, daemon):
        """The defaults: what the installed program prints when there is no configuration file."""
        return dict(re.findall(r"^#? ?([a-z-]+) = (.*)$", self.printed(daemon), re.M))

    def folders(self, daemon, key, below):
        return [f"{below}/{name}" for name in self.service(daemon)[key].split()]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    root = str(tmp_path_factory.mktemp("dest"))
    yield Installation(root)
    shutil.rmtree(root)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_takes_the_units(installed):
    os.makedirs(f"{installed.root}/bin", exist_ok=True)     # verify looks for the commands of ExecReload below the root, too
    shutil.copy("/bin/true", f"{installed.root}/bin/kill")
    units = [os.path.basename(path) for path in glob.glob(f"{installed.root}{installed.unit_dir}/*")]
    assert sorted(units) == ["godwit-hv.service", "godwit-nva.service", "godwit-nve.service", "run-godwit-bpf.mount"]
    for unit in units:
        verify = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", f"--root={installed.root}",
                                 f"{installed.unit_dir}/{unit}"], capture_output=True, text=True, check=False)
        assert (verify.returncode, verify.stderr) == (0, "")


@pytest.mark.parametrize("daemon", DAEMONS)
def test_units_name_the_defaults(installed, daemon):
    service, config = installed.service(daemon), installed.config(daemon)
    program = service["ExecStart"].split()[0]
    assert service["ExecStart"] == f"{installed.prefix}/bin/godwit-{daemon}"
    assert os.access(installed.root + program, os.X_OK)
    assert config["state-dir"] in installed.folders(daemon, "StateDirectory", "/var/lib")
    assert os.path.dirname(config["api-socket"]) in installed.folders(daemon, "RuntimeDirectory", "/run")
    said = subprocess.run([installed.root + program, "--help"], capture_output=True, text=True, check=True).stdout
    assert f"read FILE instead of {installed.folders(daemon, 'ConfigurationDirectory', '/etc')[0]}/{daemon}.conf" in said
    assert service["RestartPreventExitStatus"] == "2"        # what the program answers to what is wrong in its configuration
    wrong = subprocess.run([installed.root + program, "--set", "no-such-key=1"], capture_output=True, check=False)
    assert wrong.returncode == 2


def test_the_edge_finds_its_programs_again(installed):
    """Pinned on a mount of its own: one within the service's mount namespace would end with it."""
    config, mount = installed.config("nve"), installed.unit("run-godwit-bpf.mount")["Mount"]
    assert config["pin-dir"] == mount["Where"] == installed.unit("godwit-nve.service")["Unit"]["RequiresMountsFor"]
    assert "CAP_SYS_ADMIN" not in installed.service("nve")["CapabilityBoundingSet"].split()
    assert int(installed.service("nve")["FileDescriptorStoreMax"]) == 1


def test_the_agent_meets_the_edge_and_leaves_vms_alone(installed):
    hv, nve = installed.config("hv"), installed.config("nve")
    assert hv["agent-socket"] == nve["agent-socket"]
    for daemon in ("hv", "nve"):
        assert os.path.dirname(nve["agent-socket"]) in installed.folders(daemon, "RuntimeDirectory", "/run")
        assert installed.service(daemon)["RuntimeDirectoryPreserve"] == "yes"
    # Images are the operator's: of a folder that it keeps for a service systemd changes mode and, for all in it, owner.
    assert hv["disk-dir"] not in installed.folders("hv", "StateDirectory", "/var/lib")
    assert installed.service("hv")["KillMode"] == "process"
    # Before systemd 252 the first takes /dev/kvm away; emulators would inherit the second, and need neither.
    assert not {"ProtectClock", "LimitMEMLOCK"} & set(installed.service("hv"))
    assert "Requires" not in installed.unit("godwit-hv.service")["Unit"]
    assert glob.glob(f"{installed.root}{installed.prefix}/lib*/**/godwit/godwit-tapgate.so", recursive=True)


def test_the_authority_is_a_user_of_its_own(installed):
    user, socket = installed.service("nva")["User"], installed.config("nva")["api-socket"]
    assert f"u {user} " in installed.text(f"{installed.prefix}/lib/sysusers.d/godwit.conf")
    assert re.search(rf"^d {os.path.dirname(socket)} .* {user} +{user} ", installed.text(f"{installed.prefix}/lib/tmpfiles.d/godwit.conf"),
                     re.M)
    assert installed.service("nva")["CapabilityBoundingSet"] == ""
    with open(os.path.join(os.path.dirname(__file__), "../../src/cli/call.c"), encoding="utf-8") as source:
        assert f'#define LOCAL_API "{socket}"' in source.read()      # where commands look for it
    assert f".Pa {socket}" in installed.text(f"{installed.prefix}/share/man/man1/godwit.1")


@pytest.mark.parametrize("daemon", ["nva", "nve", "hv"])
def test_manual_pages_tell_every_key_and_where_things_are(installed, daemon):
    page = installed.text(f"{installed.prefix}/share/man/man8/godwit-{daemon}.8")
    config = installed.config(daemon)
    keys = re.findall(r"^(?:# )?([a-z-]+) =(?: |$)", installed.printed(daemon), re.M)
    assert re.findall(r"^\.It Cm (\S+)$", page, re.M) == [key.replace("-", "\\-") for key in keys] and "id" in keys
    for key in ("api-socket", "state-dir"):
        assert re.search(rf"^\.It Pa {config[key]}/?$", page, re.M), key
    assert installed.unit(f"godwit-{daemon}.service")["Unit"]["Documentation"] == f"man:godwit-{daemon}(8)"


def test_bash_completes_commands(installed):
    said = subprocess.run(["bash", "-c", f"source {installed.root}{installed.prefix}/share/bash-completion/completions/godwit && complete -p godwit"],
                          capture_output=True, text=True, check=True).stdout
    assert said == "complete -o default -F _godwit godwit\n"
