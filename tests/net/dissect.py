# SPDX-License-Identifier: Apache-2.0
"""Mobility Headers as others see them: captured from a device, dissected by tshark."""
import socket
import struct
import subprocess

import mobility_peer as mp

FIELDS = ["ipv6.src", "ip.src", "mip6.mhtype", "mip6.bu.seqnr", "mip6.bu.lifetime", "mip6.bu.p_flag", "mip6.ba.status",
          "mip6.ba.seqnr", "mip6.ba.lifetime", "mip6.ba.p_flag", "mip6.mnid.identifier", "mip6.hi", "mip6.att",
          "mip6.auth.mobility_spi", "mip6.csum", "mip6.be.status", "mip6.hb.seqnr", "mip6.rc"]
OUTGOING = 4    # PACKET_OUTGOING


def message(frame):
    """(source, destination, Mobility Header) of an Ethernet frame that carries one, else None."""
    if frame[12:14] == b"\x86\xdd" and frame[20] == 135:
        size = struct.unpack_from("!H", frame, 18)[0]
        return tuple(socket.inet_ntop(socket.AF_INET6, frame[at:at + 16]) for at in (22, 38)) + (frame[54:54 + size],)
    if frame[12:15] == b"\x08\0\x45" and frame[23] == socket.IPPROTO_UDP:
        ports = struct.unpack_from("!HHH", frame, 34)
        if mp.UDP_PORT in ports[:2]:
            assert ports[:2] == (mp.UDP_PORT, mp.UDP_PORT), "both ports are 5436"
            return tuple(socket.inet_ntoa(frame[at:at + 4]) for at in (26, 30)) + (frame[42:34 + ports[2]],)
    return None


class Capture:
    """The Mobility Headers of a device of the present namespace, each once, as a pcap file."""

    def __init__(self, device="lo", family=6):
        self.device, self.exchanged = device, []     # (source, destination, octets), after write()
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons({6: 0x86DD, 4: 0x0800}[family] if device == "lo" else 0x0003))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.sock.bind((device, 0))

    def write(self, path):
        """Ends it. Also answers the messages themselves, with their source: [(address, octets)]."""
        found = []
        self.sock.setblocking(False)
        with open(path, "wb") as f:
            f.write(struct.pack("!IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
            while True:
                try:
                    frame, where = self.sock.recvfrom(65535)
                except BlockingIOError:
                    break
                said = message(frame)
                if said is None or self.device == "lo" and where[2] == OUTGOING:
                    continue
                found.append((said[0], said[2]))
                self.exchanged.append(said)
                f.write(struct.pack("!IIII", 0, 0, len(frame), len(frame)) + frame)
        self.sock.close()
        return found


def tshark(path, *args):
    return subprocess.run(["tshark", "-r", path, *args], capture_output=True, text=True, check=True).stdout


def malformed(path, source=None):
    """What tshark finds fault with: nothing, at least of what came from there."""
    faults = "(_ws.malformed || _ws.expert.severity >= error)"
    return tshark(path, "-Y", f"{'ip' if mp.is_v4(source) else 'ipv6'}.src == {source} && {faults}" if source else faults)


def dissect(path):
    out = tshark(path, "-T", "fields", "-E", "separator=|", *[a for f in FIELDS for a in ("-e", f)])
    rows = [dict(zip(FIELDS, line.split("|"))) for line in out.splitlines()]
    for row in rows:
        row["source"] = row["ipv6.src"] or row["ip.src"]
    return rows


SEEN = {mp.BU: {"mip6.bu.seqnr": "sequence", "mip6.bu.lifetime": "lifetime"},
        mp.BA: {"mip6.ba.seqnr": "sequence", "mip6.ba.lifetime": "lifetime", "mip6.ba.status": "status"},
        mp.HEARTBEAT: {"mip6.hb.seqnr": "sequence"}, mp.ERROR: {"mip6.be.status": "status"}}


def agree(row, said):
    """tshark's reading of a message, and mobility_peer's."""
    assert int(row["mip6.mhtype"]) == said.type
    for field, attribute in SEEN.get(said.type, {}).items():
        assert int(row[field], 0) == getattr(said, attribute), (field, said.octets.hex())
    if 8 in said.options:
        assert row["mip6.mnid.identifier"] == said.options[8][0][1:].decode()
    if 23 in said.options:
        assert (int(row["mip6.hi"]), int(row["mip6.att"])) == (said.options[23][0][1], said.options[24][0][1])
    if 9 in said.options and len(said.options[9][0]) == 17 and said.type not in (mp.UPN, mp.UPA):   # others it does not know
        assert int(row["mip6.auth.mobility_spi"], 0) == struct.unpack_from("!I", said.options[9][0], 1)[0]
    if 28 in said.options:
        assert int(row["mip6.rc"]) == said.number(28)
