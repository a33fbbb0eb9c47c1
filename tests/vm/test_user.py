# SPDX-License-Identifier: Apache-2.0
"""Emulators as a user without privileges, another one on each host: what they are, what they cannot get at, what is refused
before it is begun, and that agents find and move those that were started otherwise."""
import contextlib
import fcntl
import glob
import json
import os
import shutil
import socket
import subprocess

import pytest

from hvbed import HV, USER, Bed, Life, address_tap, echo, set_up_anew, wait_for

VM, MIB = "web@default", 1 << 20
OTHER = USER + 100

pytestmark = pytest.mark.skipif(not USER, reason="no other user may get at this tree's programs")
DISKS = [{"path": "one.raw", "format": "raw"}, {"path": "two.qcow2", "format": "qcow2"}]


def user_of(host):
    return int((host.settings.get("qemu-user") or f"{USER}:").partition(":")[0])


def make_images(host):
    """The operator's part: they belong to the host's user for emulators."""
    folder = f"{host.dir}/disks"
    with open(f"{folder}/one.raw", "wb") as image:
        image.truncate(4 * MIB)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", f"{folder}/two.qcow2", "4M"], check=True)
    for disk in DISKS:
        os.chown(f"{folder}/{disk['path']}", user_of(host), user_of(host))
        os.chmod(f"{folder}/{disk['path']}", 0o600)


@pytest.fixture(scope="module")
def life(images):
    """A guest that was started before its host had such a user, and has moved since: the second host then runs it."""
    bed = Bed()
    one, two = bed.hosts
    one.settings, two.settings = {"qemu-user": ""}, {"qemu-user": f"{OTHER}:{OTHER}"}
    with bed:
        make_images(one)
        vm = Life(bed, bed.definition(kernel=f"{images}/vmlinuz", initrd=f"{images}/initrd", disks=DISKS,
                                      cmdline="console=ttyS0 quiet mitigations=off gw.ip4=10.1.0.10/24 "
                                              "gw.ip6=fd00:1::10/64"))
        vm.boot()
        vm.facts = {"before": one.vm(), "real": lines_of(one.vm()["pid"])["Uid"][0]}
        with set_up_anew(one, {"qemu-user": f"{USER}:{USER}"}):
            vm.facts["after"] = one.vm()
            moved_well(vm)
            yield vm


@pytest.fixture
def vm(life):
    return life.ready()


def lines_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return {key: value.split() for key, _, value in (line.partition(":") for line in status)}


def as_user(user, *command):
    return subprocess.run(command, user=user, group=user, extra_groups=[], capture_output=True, text=True, check=False)


def is_user(host, user):
    """... and nobody more."""
    vm = host.vm()
    lines = lines_of(vm["pid"])
    assert vm["uid"] == user
    assert lines["Uid"] == lines["Gid"] == [str(user)] * 4
    assert set(lines["Groups"]) <= {str(user)} | ({str(os.stat("/dev/kvm").st_gid)} if os.path.exists("/dev/kvm") else set())
    assert all(int(lines[sets][0], 16) == 0 for sets in ("CapInh", "CapPrm", "CapEff", "CapAmb"))
    assert lines["NoNewPrivs"] == ["1"]


def keys_lent(bed):
    return [path for host in bed.hosts for path in glob.glob(f"{host.dir}/state/vm/*/tls/*")]


def objects_of(host):
    """What its emulator has been given beside devices, while the agent is away: there is one to ask at a time."""
    host.kill()
    with socket.socket(socket.AF_UNIX) as sock, sock.makefile("rw") as qmp:
        sock.connect(f"{host.dir}/state/vm/{VM}/qmp")
        for command in ({"execute": "qmp_capabilities"}, {"execute": "qom-list", "arguments": {"path": "/objects"}}):
            qmp.write(json.dumps(command) + "\n")
            qmp.flush()
        answers = (json.loads(line) for line in qmp)
        names = [o["name"] for o in next(a["return"] for a in answers if a.get("return"))]
    host.start()
    wait_for("it is found again", lambda: host.call("POST", f"/v1/vms/{VM}/cancel", {"move": "none"})[0] != 503)
    return names


def moved_well(vm, **options):
    name = vm.go(**options)
    address_tap(vm.one)
    assert echo(vm.one, "10.1.0.10", timeout=20) and echo(vm.one, "fd00:1::10", timeout=20)
    return name


def test_an_emulator_is_nobody(vm):
    host, user = vm.one, user_of(vm.one)
    is_user(host, user)
    pid, folder = host.vm()["pid"], f"{host.dir}/state/vm/{VM}"
    assert os.readlink(f"/proc/{pid}/cwd") == folder
    assert host.get("/v1/status")["qemu_user"] == host.settings.get("qemu-user", f"{USER}:{USER}")
    # What another emulator of that user might try: look into this one, give it orders, find its console or the host's key.
    for path in (f"/proc/{pid}/environ", f"/proc/{pid}/maps", f"{folder}/console.log", f"{folder}/emulator.log",
                 f"{host.dir}/state/tls/server-key.pem", f"{host.dir}/state/vms/{VM}.json"):
        with open(path, "rb"):
            pass
        assert "denied" in as_user(user, "cat", path).stderr, path
    assert "denied" in as_user(user, "ls", f"/proc/{pid}/fd").stderr
    order = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    assert "PermissionError" in as_user(user, "/usr/bin/python3", "-c", order, f"{folder}/qmp").stderr
    # ... and what it can do where it works: nothing but pass through.
    inside = "import os; os.open('x', os.O_CREAT | os.O_WRONLY)"
    tried = subprocess.run(["/usr/bin/python3", "-c", inside], cwd=folder, user=user, group=user, extra_groups=[],
                           capture_output=True, text=True, check=False)
    assert "PermissionError" in tried.stderr


@pytest.mark.parametrize("copy", [{}, {"post_copy": True}], ids=["hot", "post-copy"])
def test_moves_between_users(vm, copy):
    """With disks, over TLS. Images that the target makes are its user's; nobody keeps the key's copy."""
    moved_well(vm, copy=copy)
    user = user_of(vm.one)
    is_user(vm.one, user)
    for disk in DISKS:
        image = os.stat(f"{vm.one.dir}/disks/{disk['path']}")
        assert (image.st_uid, image.st_gid, image.st_mode & 0o777) == (user, user, 0o600)
    assert os.path.isdir(f"{vm.one.dir}/state/vm/{VM}/tls") and not keys_lent(vm.bed)
    assert not {"tls0", "authz0"} & set(objects_of(vm.one))


def test_a_move_that_comes_to_nothing_leaves_no_key(vm):
    """Its disks were copied by the emulator itself, over TLS, and the cut was never made."""
    one, two = vm.one, vm.two
    one.nve.go()
    name = vm.start_move(cut_deadline_ms=100)
    assert wait_for("given up", lambda: one.event("move-failed", move=name), 60)["running"]
    one.nve.come()
    wait_for("the other side is forgotten", lambda: two.vm() is None)
    wait_for("taken back", lambda: one.nve.made("/uncut"))
    vm.epoch += 2
    assert "tls0" not in objects_of(one) and not keys_lent(vm.bed)
    moved_well(vm)


def refused(host, path, body, *words):
    before = host.get("/v1/vms")
    status, answer = host.call("POST", path, body)
    assert status in (400, 409), (status, answer, host.log_tail())
    for word in words:
        assert word in answer["error"]["text"], (word, answer)
    wait_for("nothing of it is left", lambda: host.get("/v1/vms") == before)
    return answer["error"]["field"]


def test_what_its_user_cannot_get_at_is_refused(vm, images):
    """Before anything is started, with the file, the user and what to do."""
    host, definition = vm.one, {**vm.definition, "name": "web2", "disks": [{"path": "three.raw", "format": "raw"}]}
    user, image, kernel = user_of(host), f"{host.dir}/disks/three.raw", f"{host.dir}/vmlinuz"
    shutil.copy(f"{images}/vmlinuz", kernel)
    os.chmod(kernel, 0o600)
    with open(image, "wb") as file:
        file.truncate(MIB)
    try:
        start = {"definition": {**definition, "kernel": kernel}, "epoch": 1}
        assert refused(host, "/v1/vms", start, kernel, f"user {user}:", "cannot read", "chown") == "kernel"
        start = {"definition": definition, "epoch": 1}
        assert refused(host, "/v1/vms", start, image, f"user {user}:", "read and write", "chown") == "disks"
        os.chown(image, user, user)
        os.chmod(f"{host.dir}/disks", 0o700)
        assert refused(host, "/v1/vms", start, image, "read and write", "x on its folders") == "disks"
    finally:
        os.chmod(f"{host.dir}/disks", 0o711)
        os.unlink(image)


def test_shared_images_must_be_both_users(vm):
    """Refused where the VM would arrive, and it stays; with access for both it moves. One link each is storage that is shared."""
    one, two = vm.one, vm.two
    survey = one.post(f"/v1/vms/{VM}/survey", {"move": "none"})["disks"]
    links = [disk["mark"] for disk in survey] + [disk["path"] for disk in DISKS]
    with contextlib.ExitStack() as undo:
        for name in links:
            os.link(f"{one.dir}/disks/{name}", f"{two.dir}/disks/{name}")
            undo.callback(os.unlink, f"{two.dir}/disks/{name}")
        refused(two, f"/v1/vms/{VM}/incoming",
                {"definition": vm.definition, "move": "m", "epoch": vm.epoch + 1, "from": one.ip, "source": one.name,
                 "options": {}, "disks": survey}, f"{two.dir}/disks/one.raw", f"user {user_of(two)}:", "read and write")
        assert one.vm()["state"] == "running"
        for disk in DISKS:
            os.chmod(f"{one.dir}/disks/{disk['path']}", 0o666)
        two.post(f"/v1/vms/{VM}/incoming",
                 {"definition": vm.definition, "move": "m", "epoch": vm.epoch + 1, "from": one.ip, "source": one.name,
                  "options": {}, "disks": survey})
        two.post(f"/v1/vms/{VM}/abandon", {"move": "m"})
        wait_for("nothing of it is left", lambda: two.vm() is None)


def test_post_copy_that_could_not_be_is_refused(vm):
    """Nobody gives this host's emulators what the kernel keeps from them."""
    with open("/proc/sys/vm/unprivileged_userfaultfd", encoding="ascii") as allowed:
        if allowed.read().strip() != "0":
            pytest.skip("vm.unprivileged_userfaultfd is set: everybody may")
    order = {"definition": {**vm.definition, "disks": []}, "move": "m", "epoch": vm.epoch + 1, "from": vm.one.ip,
             "source": vm.one.name, "options": {"post_copy": True}}
    with set_up_anew(vm.two, {"tap-gate": "/nowhere"}):
        refused(vm.two, f"/v1/vms/{VM}/incoming", order, "post-copy", f"user {user_of(vm.two)}:", "unprivileged_userfaultfd")
        order["options"] = {}       # nor does any QEMU run that others of that user could look into
        refused(vm.two, f"/v1/vms/{VM}/incoming", order, "godwit-tapgate.so", f"user {user_of(vm.two)}:", "tap-gate")
    assert vm.one.vm()["state"] == "running"


def test_started_by_an_agent_without_a_user(life):
    """As before an upgrade: it was found, was still root's, and left. Where it arrived it was nobody."""
    facts = life.facts
    assert facts["before"]["uid"] == 0 and facts["real"] == "0"
    assert facts["after"]["pid"] == facts["before"]["pid"] and facts["after"]["uid"] == 0
    assert facts["after"]["state"] == "running"
    is_user(life.one, user_of(life.one))


def test_found_again_by_an_agent_with_another_user(vm):
    """Whose it is is known of the VM, not of the agent: also a copy that its own emulator encrypts goes well."""
    one, user = vm.one, user_of(vm.one)
    pid = one.vm()["pid"]
    with set_up_anew(one, {"qemu-user": ""}):
        assert one.vm()["pid"] == pid and one.vm()["uid"] == user
        is_user(one, user)
        moved_well(vm, copy={"multifd": 2})
    assert not keys_lent(vm.bed)


@pytest.mark.skipif(not os.path.exists("/dev/kvm"), reason="needs /dev/kvm")
def test_what_kvm_cannot_be_tried_with_is_no_verdict(life, tmp_path):
    """Nobody but root may read this host's kernel: that says nothing of KVM to other agents, nor after a restart."""
    for folder in ("boot", "run"):
        (tmp_path / folder).mkdir()
    shutil.copy("/bin/true", tmp_path / "boot/vmlinuz-9.9")
    os.chmod(tmp_path / "boot/vmlinuz-9.9", 0o600)
    pki, settings = f"{life.bed.dir}/pki/{life.one.name}", {"id": life.one.name, "migration-address": life.one.ip, "nva": "127.0.0.1:9",
                                                            "qemu-user": f"{USER}:{os.stat('/dev/kvm').st_gid}"}
    for key, value in {"state-dir": "state", "api-socket": "hv.sock", "agent-socket": "nve.sock", "disk-dir": "disks"}.items():
        settings[key] = f"{tmp_path}/{value}"
    settings.update({"tls-ca": f"{life.bed.dir}/pki/ca.pem", "tls-cert": f"{pki}.pem", "tls-key": f"{pki}.key"})
    words = [word for pair in settings.items() for word in ("--set", "=".join(pair))]
    mounts = f'mount --bind {tmp_path}/boot /boot && mount --bind {tmp_path}/run /run && exec "$@"'
    agent = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sh", "-c", mounts, "sh", HV, "--config", "/dev/null", *words],
                             stderr=subprocess.PIPE, text=True)
    try:
        said = next(line for line in agent.stderr if "accelerator=" in line)
        assert "tcg: /boot/vmlinuz-9.9" in said and f"cannot be read by {USER}:" in said
        with open(tmp_path / "run/godwit/accelerator.lock", "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert os.listdir(tmp_path / "run/godwit") == ["accelerator.lock"] and agent.poll() is None
        assert os.stat(tmp_path / "disks").st_mode & 0o777 == 0o711
    finally:
        agent.terminate()
        agent.communicate()


def test_an_unknown_user_is_refused_at_once(vm):
    del vm
    for wrong in ("no-such-user", "root", "0:0", "59400"):
        done = subprocess.run([HV, "--config", "/dev/null", "--check", "--set", "nva=127.0.0.1:9", "--set", "id=h1", "--set",
                               "migration-address=10.0.0.1", "--set", f"qemu-user={wrong}"], capture_output=True, text=True,
                              check=False)
        assert done.returncode and "qemu-user" in done.stderr and "UID:GID" in done.stderr, done.stderr
