# SPDX-License-Identifier: Apache-2.0
"""A hypervisor that speaks PMIPv6 by itself: its own encoding (scapy), its own decoding, its own HMAC.

Nothing here is taken from src/wire: what the daemons and this peer agree on, they agree on because both follow the RFCs.
An IPv4 address stands for RFC 5844's transport, UDP port 5436 over IPv4; an IPv6 one for protocol 135.
"""
import ctypes
import hashlib
import hmac
import ipaddress
import os
import socket
import struct
import time

from scapy.fields import (BitField, ByteField, FieldLenField, IntField, IP6Field, IPField, LongField, MACField,
                          ShortField, StrLenField, XShortField)
from scapy.layers.inet6 import IPv6, MIP6MH_Generic
from scapy.packet import Packet

BU, BA, ERROR, HEARTBEAT, UPN, UPA = 5, 6, 7, 13, 19, 20
A, H, P = 0x8000, 0x4000, 0x0200
CLONE_NEWNET = 0x40000000
UDP_PORT = 5436
LIBC = ctypes.CDLL(None, use_errno=True)


# --- the two transports ---


def is_v4(address):
    return ":" not in address


def mapped(address):
    return "::ffff:" + address if is_v4(address) else address


def ip16(address):
    return socket.inet_pton(socket.AF_INET6, mapped(address))


def open_socket(address):
    """Bound to that address; where it is an IPv6 one, checksums are the user's, right or wrong."""
    if is_v4(address):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((address, UDP_PORT))
        return sock
    sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 135)
    sock.setsockopt(socket.IPPROTO_IPV6, 7, struct.pack("i", -1))  # IPV6_CHECKSUM
    sock.bind((address, 0))
    return sock


def destination(address):
    return (address, UDP_PORT if is_v4(address) else 0)


# --- a namespace of our own ---


class Namespace:
    """The calling thread, and what it starts, is alone in a new network namespace until leave()."""

    def __init__(self, addresses):
        self.before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        if LIBC.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        os.system("ip link set lo up")
        for address in addresses:
            os.system("ip address add %s dev lo%s" % ((address, "") if is_v4(address) else (address + "/128", " nodad")))

    def leave(self):
        if LIBC.setns(self.before, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(self.before)


# --- options, as RFC 4283, 4285, 5094, 5213, 5844, 5847 draw them ---


class Option(Packet):
    align = (1, 0)  # x n + y


class VmId(Option):
    fields_desc = [ByteField("type", 8), FieldLenField("len", None, "ident", "B", adjust=lambda p, n: n + 1),
                   ByteField("subtype", 1), StrLenField("ident", b"", length_from=lambda p: p.len - 1)]


class Prefix(Option):
    align = (8, 4)
    fields_desc = [ByteField("type", 22), ByteField("len", 18), ByteField("res", 0), ByteField("bits", 128),
                   IP6Field("ip", "::")]


class Handoff(Option):
    fields_desc = [ByteField("type", 23), ByteField("len", 2), ByteField("res", 0), ByteField("hi", 1)]


class Access(Option):
    fields_desc = [ByteField("type", 24), ByteField("len", 2), ByteField("res", 0), ByteField("att", 1)]


class LinkLayer(Option):
    fields_desc = [ByteField("type", 25), ByteField("len", 8), ShortField("res", 0), MACField("mac", "0:0:0:0:0:0")]


class Stamp(Option):
    align = (8, 2)
    fields_desc = [ByteField("type", 27), ByteField("len", 8), LongField("stamp", 0)]


class MessageId(Option):
    align = (8, 2)
    fields_desc = [ByteField("type", 10), ByteField("len", 8), LongField("ntp", 0)]


class Home4(Option):
    align = (4, 0)
    fields_desc = [ByteField("type", 36), ByteField("len", 6), BitField("bits", 32, 6), BitField("res", 0, 10),
                   IPField("ip", "0.0.0.0")]


class Router4(Option):
    align = (4, 0)
    fields_desc = [ByteField("type", 38), ByteField("len", 6), ShortField("res", 0), IPField("ip", "0.0.0.0")]


class Epoch(Option):
    align = (4, 2)
    fields_desc = [ByteField("type", 19), ByteField("len", 13), IntField("vendor", 32473), ByteField("subtype", 1),
                   LongField("epoch", 0)]


def padding(n):
    return b"\0" * n if n < 2 else struct.pack("BB", 1, n - 2) + b"\0" * (n - 2)


def join(options, start=12, aligned=True):
    """Options one after the other; raw octets are taken as they are."""
    out = b""
    for option in options:
        if isinstance(option, bytes):
            out += option
            continue
        x, y = option.align if aligned else (1, 0)
        out += padding((y - start - len(out)) % x) + bytes(option)
    return out


def first_home(message, start):
    at = start
    while at + 1 < len(message):
        if message[at] == 0:
            at += 1
            continue
        if message[at] == 22:
            return message[at + 4:at + 20]
        at += 2 + message[at + 1]
    return bytes(16)


class Key:
    def __init__(self, spi, octets, algorithm="hmac-sha1"):
        self.spi, self.octets, self.algorithm = spi, octets, algorithm
        self.digest, self.size = {"hmac-sha1": (hashlib.sha1, 12), "hmac-sha256": (hashlib.sha256, 16)}[algorithm]

    def line(self, address, ident):
        return "%d %s %s %s %s\n" % (self.spi, self.algorithm, address, ident, self.octets.hex())

    def mac(self, asker, message, start=12):
        """message: from Payload Proto through the SPI, with a zero checksum."""
        covered = ip16(asker) + first_home(message, start) + message
        return hmac.new(self.octets, covered, self.digest).digest()[:self.size]


def checksum(src, dst, message):
    """Between IPv4 addresses the pseudo-header has these, four octets each."""
    if is_v4(src) and is_v4(dst):
        pseudo = socket.inet_aton(src) + socket.inet_aton(dst)
    else:
        pseudo = ip16(src) + ip16(dst)
    data = pseudo + struct.pack("!II", len(message), 135) + message
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def header(src, dst, mh_type, data):
    """Length and checksum by scapy, and the checksum once more by hand."""
    packet = IPv6(src=mapped(src), dst=mapped(dst)) / MIP6MH_Generic(nh=59, mhtype=mh_type, msg=data)
    message = bytes(packet)[40:]
    assert checksum(src, dst, message) == 0
    return message


def message(src, dst, mh_type, fixed, options, key=None, asker=None, aligned=True):
    """fixed: the data before the options; signed when there is a key."""
    data = fixed + join(options, 6 + len(fixed), aligned)
    start = 6 + len(fixed)
    if not key:
        data += padding(-(6 + len(data)) % 8)
        return header(src, dst, mh_type, data)
    whole = 7 + key.size
    data += padding((-whole - 6 - len(data)) % 8)
    data += struct.pack("!BBBI", 9, 5 + key.size, 1, key.spi)
    size = 6 + len(data) + key.size
    head = struct.pack("!BBBBH", 59, size // 8 - 1, mh_type, 0, 0)
    return header(src, dst, mh_type, data + key.mac(asker or src, head + data, start))


def stamp_now(offset_s=0.0):
    return int((time.time() + offset_s) * 65536)


def ntp_now(offset_s=0.0):
    return int((time.time() + offset_s + 2208988800) * (1 << 32)) & ((1 << 64) - 1)


class Reply:
    """Any answer, decoded by hand; options by type, as lists of their data."""

    def __init__(self, octets, src, dst):
        assert len(octets) % 8 == 0 and octets[0] == 59 and octets[1] == len(octets) // 8 - 1, octets.hex()
        assert checksum(src, dst, octets) == 0, "wrong checksum: " + octets.hex()
        self.octets, self.type = octets, octets[2]
        self.options, self.order = {}, []
        at = 24 if self.type == ERROR else 12
        self.start = at
        if self.type == BA:
            self.status, self.flags, self.sequence, self.lifetime = struct.unpack_from("!BBHH", octets, 6)
        elif self.type == BU:
            self.sequence, self.flags, self.lifetime = struct.unpack_from("!HHH", octets, 6)
        elif self.type == ERROR:
            self.status, self.home = octets[6], octets[8:24]
        elif self.type == HEARTBEAT:
            self.flags, self.sequence = struct.unpack_from("!HI", octets, 6)
        while at < len(octets):
            if octets[at] == 0:
                at += 1
                continue
            self.options.setdefault(octets[at], []).append(octets[at + 2:at + 2 + octets[at + 1]])
            self.order.append((octets[at], at))
            at += 2 + octets[at + 1]
        assert at == len(octets)

    def number(self, kind):
        return int.from_bytes(self.options[kind][0], "big")

    @property
    def epoch(self):
        vendor = self.options[19][0]
        assert vendor[:5] == struct.pack("!IB", 32473, 1)
        return int.from_bytes(vendor[5:], "big")

    def signed_by(self, key, asker):
        kind, at = self.order[-1]
        if kind != 9 or at + 7 + key.size != len(self.octets):
            return False
        covered = self.octets[:4] + b"\0\0" + self.octets[6:at + 7]
        return (self.octets[at + 2:at + 7] == struct.pack("!BI", 1, key.spi) and
                self.octets[at + 7:] == key.mac(asker, covered, self.start))


class Hypervisor:
    """One address that registers VMs at `nva`."""

    def __init__(self, address, nva, key=None):
        self.address, self.nva, self.key = address, nva, key
        self.sequence, self.notices, self.asked_again = 0, [], []
        self.sock = open_socket(address)

    def close(self):
        self.sock.close()

    def request(self, vm, macs=(), addresses=(), epoch=None, lifetime=900, hi=1, flags=A | H | P, sequence=None,
                stamp=0.0, ntp=None, key=None, extra=(), without=(), aligned=True, address=None, fixed=None):
        """stamp, ntp: seconds off the clock; None leaves the option out. without: option types to leave out."""
        self.sequence = self.sequence + 1 & 0xFFFF if sequence is None else sequence
        options = [VmId(ident=vm.encode())]
        for ip in addresses:
            options.append(Home4(ip=ip) if ipaddress.ip_address(ip).version == 4 else Prefix(ip=ip))
        options += [Handoff(hi=hi), Access()] + [LinkLayer(mac=mac) for mac in macs]
        if stamp is not None:
            options.append(Stamp(stamp=stamp_now(stamp) if isinstance(stamp, float) else stamp))
        if ntp is not None:
            options.append(MessageId(ntp=ntp_now(ntp) if isinstance(ntp, float) else ntp))
        if epoch is not None:
            options.append(Epoch(epoch=epoch))
        options = [o for o in options if o.type not in without] + list(extra)
        key = self.key if key is None else key
        return message(address or self.address, self.nva, BU,
                       fixed or struct.pack("!HHH", self.sequence, flags, lifetime), options, key or None,
                       aligned=aligned)

    def send(self, octets):
        self.sock.sendto(octets, destination(self.nva))

    def receive(self, timeout_s=5.0):
        """The next answer from the authority. What it asks by itself is answered on the way, and kept in .notices."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.sock.settimeout(max(deadline - time.monotonic(), 0.001))
            octets, peer = self.sock.recvfrom(4096)
            assert peer[0] == self.nva
            reply = Reply(octets, self.nva, self.address)
            if reply.type == BU:
                self.answer(reply)
            elif reply.type == UPN:     # the authority has started
                assert reply.signed_by(self.key, self.nva), octets.hex()
                self.asked_again.append(reply)
            else:
                return reply

    def answer(self, request):
        """As a former place that holds nothing: status 0, lifetime 0, the options as they were."""
        assert request.flags == A | H | P and request.signed_by(self.key, self.nva), request.octets.hex()
        self.notices.append(request)
        options = [bytes([kind, len(data)]) + data for kind, all_of in request.options.items() for data in all_of
                   if kind not in (0, 1, 9, 10)]
        self.send(message(self.address, self.nva, BA, struct.pack("!BBHH", 0, 0x20, request.sequence, 0), options,
                          self.key, asker=self.nva))

    def ask(self, *args, **more):
        self.send(self.request(*args, **more))
        return self.receive()

    def heartbeat(self, sequence=1, key=None):
        key = self.key if key is None else key
        return message(self.address, self.nva, HEARTBEAT, struct.pack("!HI", 0, sequence), [], key or None)

    def quiet(self):
        """What was sent before has been dealt with, and got no answer: a heartbeat is answered in its turn."""
        self.send(self.heartbeat(0xABCD0000 + self.sequence))
        answer = self.receive()
        assert answer.type == HEARTBEAT, "an answer where none is due: status %s" % getattr(answer, "status", "?")
        assert answer.sequence == 0xABCD0000 + self.sequence
