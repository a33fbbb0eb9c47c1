# SPDX-License-Identifier: Apache-2.0
"""What a hostile VM, and a hostile host on the underlay, send: one row an attack.

A row names the attack, makes its frames, and names the counter of the victim's edge that must tell of each of them.
EVE sends from her own port; ALICE is her neighbour on the same host, BOB is on the other one, CAROL at a third locator
that nobody plays. In another tenant's VN ALICE and BOB have twins with the same MACs and addresses.
"""
import struct

from scapy.all import (ARP, BOOTP, DHCP, IP, IPv6, TCP, UDP, VXLAN, Dot1AD, Dot1Q, DNS, Ether, GRE, ICMP, ICMPv6EchoRequest,
                       ICMPv6MLDone, ICMPv6MLQuery, ICMPv6MLReport, ICMPv6MLReport2, ICMPv6ND_NA, ICMPv6ND_NS,
                       ICMPv6ND_RA, ICMPv6ND_Redirect, ICMPv6ND_RS,
                       ICMPv6NDOptDstLLAddr, ICMPv6NDOptPrefixInfo, ICMPv6NDOptSrcLLAddr, IPv6ExtHdrDestOpt,
                       IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, LLC, SNAP, Raw)
from scapy.layers.dhcp6 import DHCP6_Advertise, DHCP6_Reply


class Who:
    def __init__(self, number):
        self.mac = "52:54:00:00:00:%02x" % number
        self.ip = f"10.1.0.{number}"
        self.ip6 = f"fd00:1::{number:x}"
        self.link = "fe80::5054:ff:fe00:%x" % number


ALICE, BOB, CAROL, EVE, NOBODY = Who(0xa), Who(0xb), Who(0xc), Who(0xe), Who(0x77)
ALL, ALL_NODES, ALL_NODES_MAC = "ff:ff:ff:ff:ff:ff", "ff02::1", "33:33:00:00:00:01"
SOLICITED_ALICE, SOLICITED_ALICE_MAC = "ff02::1:ff00:a", "33:33:ff:00:00:0a"


def ether(to=ALICE.mac, source=EVE.mac, **more):
    return Ether(dst=to, src=source, **more)


def mark(name):
    """What is looked for at other ports."""
    return Raw(b"attack:" + name.encode().ljust(24, b"."))


def arp(op, sha, spa, tha, tpa, to=ALICE.mac, source=EVE.mac):
    return ether(to, source) / ARP(op=op, hwsrc=sha, psrc=spa, hwdst=tha, pdst=tpa)


def rarp(op, sha, tha, tpa="0.0.0.0", to=ALL):
    return ether(to, type=0x8035) / ARP(op=op, hwsrc=sha, psrc="0.0.0.0", hwdst=tha, pdst=tpa)


def nd(body, source=EVE.ip6, to=ALICE.ip6, mac=ALICE.mac, hops=255):
    return ether(mac) / IPv6(src=source, dst=to, hlim=hops) / body


def ra(source=EVE.link):
    return ICMPv6ND_RA(routerlifetime=1800) / ICMPv6NDOptPrefixInfo(prefix="fd66::", prefixlen=64) / \
        ICMPv6NDOptSrcLLAddr(lladdr=EVE.mac)


def na(target, lladdr=EVE.mac, solicited=1):
    return ICMPv6ND_NA(tgt=target, S=solicited, O=1) / ICMPv6NDOptDstLLAddr(lladdr=lladdr)


def dhcp_offer():
    return BOOTP(op=2, yiaddr="10.1.0.99", siaddr=EVE.ip, chaddr=bytes(16)) / \
        DHCP(options=[("message-type", "offer"), ("router", EVE.ip), ("server_id", EVE.ip), "end"])


def fragments6(inner_next, payload, extension=None, cut=8, hops=255, to=(ALICE.ip6, ALICE.mac)):
    """`payload` (octets) in two fragments; extension (octets, its own next header inside) comes first."""
    whole = (extension or b"") + payload
    first_next = 60 if extension else inner_next
    head = ether(to[1]) / IPv6(src=EVE.ip6, dst=to[0], hlim=hops)
    return [head / IPv6ExtHdrFragment(nh=first_next, m=1, offset=0, id=7) / Raw(whole[:cut]),
            head / IPv6ExtHdrFragment(nh=first_next, m=0, offset=cut // 8, id=7) / Raw(whole[cut:])]


def destination_options(next_header, octets=8):
    return bytes([next_header, octets // 8 - 1, 1, octets - 4]) + bytes(octets - 4)


def chain(body, headers, hops=255):
    """`body` behind that many headers of destination options."""
    packet = ether() / IPv6(src=EVE.ip6, dst=ALICE.ip6, hlim=hops)
    for _ in range(headers):
        packet = packet / IPv6ExtHdrDestOpt()
    return packet / body


def icmp6(body):
    """ICMPv6 octets, with the checksum that they would have towards Alice."""
    return bytes(IPv6(src=EVE.ip6, dst=ALICE.ip6) / body)[40:]


def nested(vni, inner, to=BOB):
    return ether(to.mac) / IP(src=EVE.ip, dst=to.ip) / UDP(sport=5000, dport=4789) / VXLAN(vni=vni, flags=8) / inner


def short(packet, octets):
    return bytes(packet)[:octets]


def poke(packet, at, value):
    octets = bytearray(bytes(packet))
    octets[at] = value
    return bytes(octets)


def first_fragment_and_more(behind, hops=64):
    """A first fragment that ends within its extension headers, in a frame that goes on: the rest of the frame looks
    like a harmless header, and a receiver takes the next fragment's octets instead."""
    inside = destination_options(behind[0])
    return ether() / IPv6(src=EVE.ip6, dst=ALICE.ip6, hlim=hops, plen=8 + len(inside)) / \
        IPv6ExtHdrFragment(nh=60, m=1, offset=0, id=7) / Raw(inside + behind[1])


def mld(body, options=8, hops=1):
    """What a host says of its groups, behind that many octets of hop-by-hop options; 0: none."""
    packet = ether("33:33:00:00:00:16") / IPv6(src=EVE.link, dst="ff02::16", hlim=hops) / body
    octets = bytes(packet)
    said = octets[54:]
    before = bytes([58, options // 8 - 1, 5, 2, 0, 0, 1, options - 8]) + bytes(options - 8) if options else b""
    head = octets[:18] + struct.pack(">H", len(before + said)) + (b"\0" if options else b"\x3a") + octets[21:54]
    return head + before + said


GUEST = [
    # ---- who sends ----
    ("mac-of-neighbour", "drop-guard-mac", [ether(source=ALICE.mac, to=BOB.mac) / IP(src=ALICE.ip, dst=BOB.ip) / UDP()]),
    ("mac-of-remote", "drop-guard-mac", [ether(source=BOB.mac) / IP(src=BOB.ip, dst=ALICE.ip) / UDP()]),
    ("mac-flooding", "drop-guard-mac", [ether(source="02:66:00:00:%02x:%02x" % (n >> 8, n & 255)) / IP(src=EVE.ip, dst=ALICE.ip)
                                        for n in range(500)]),
    ("mac-broadcast-source", "drop-guard-mac", [ether(source=ALL) / IP(src=EVE.ip, dst=ALICE.ip) / UDP()]),
    ("mac-zero-source", "drop-guard-mac", [ether(source="00:00:00:00:00:00") / IP(src=EVE.ip, dst=ALICE.ip) / UDP()]),
    ("ip-of-remote", "drop-guard-ipv4", [ether() / IP(src=BOB.ip, dst=ALICE.ip) / UDP() / mark("ip-of-remote")]),
    ("ip-of-victim-to-itself", "drop-guard-ipv4", [ether() / IP(src=ALICE.ip, dst=ALICE.ip) / UDP() / mark("land")]),
    ("ip-of-nobody", "drop-guard-ipv4", [ether() / IP(src="192.0.2.1", dst=ALICE.ip) / ICMP() / mark("smurf")]),
    ("ip-loopback", "drop-guard-ipv4", [ether() / IP(src="127.0.0.1", dst=ALICE.ip) / UDP() / mark("loopback")]),
    ("ip-broadcast-source", "drop-guard-ipv4", [ether() / IP(src="255.255.255.255", dst=ALICE.ip) / UDP() / mark("bcast")]),
    ("ip-multicast-source", "drop-guard-ipv4", [ether() / IP(src="224.0.0.5", dst=ALICE.ip) / UDP() / mark("mcast")]),
    ("ip-zero-to-one", "drop-guard-ipv4", [ether() / IP(src="0.0.0.0", dst=ALICE.ip) / UDP() / mark("zero")]),
    ("ip-reset-of-others-connection", "drop-guard-ipv4",
     [ether() / IP(src=BOB.ip, dst=ALICE.ip) / TCP(sport=80, dport=40000 + n, flags="R") for n in range(20)]),
    ("ip6-of-remote", "drop-guard-ipv6", [ether() / IPv6(src=BOB.ip6, dst=ALICE.ip6) / UDP() / mark("ip6-of-remote")]),
    ("ip6-of-nobody", "drop-guard-ipv6", [ether() / IPv6(src="2001:db8::1", dst=ALICE.ip6) / UDP() / mark("ip6-nobody")]),
    ("ip6-link-local-of-neighbour", "drop-guard-ipv6",
     [ether() / IPv6(src=ALICE.link, dst=ALICE.ip6) / UDP() / mark("ip6-link")]),
    ("ip6-loopback", "drop-guard-ipv6", [ether() / IPv6(src="::1", dst=ALICE.ip6) / UDP() / mark("ip6-loopback")]),
    ("ip6-mapped", "drop-guard-ipv6", [ether() / IPv6(src=f"::ffff:{BOB.ip}", dst=ALICE.ip6) / UDP() / mark("mapped")]),
    ("ip6-own-mapped", "drop-guard-ipv6", [ether() / IPv6(src=f"::ffff:{EVE.ip}", dst=ALICE.ip6) / UDP() / mark("mapped2")]),
    ("ip6-multicast-source", "drop-guard-ipv6", [ether() / IPv6(src="ff02::5", dst=ALICE.ip6) / UDP() / mark("mcast6")]),
    ("ip6-nobody-to-one", "drop-guard-ipv6", [ether() / IPv6(src="::", dst=ALICE.ip6) / UDP() / mark("unspecified")]),
    ("ip6-nobody-to-one-as-group", "drop-guard-ipv6", [ether() / IPv6(src="::", dst=ALL_NODES) / UDP() / mark("as-group")]),
    # ---- ARP ----
    ("arp-reply-poisons-neighbour", "drop-guard-arp", [arp(2, EVE.mac, BOB.ip, ALICE.mac, ALICE.ip)]),
    ("arp-reply-poisons-remote", "drop-guard-arp", [arp(2, EVE.mac, ALICE.ip, BOB.mac, BOB.ip, to=BOB.mac)]),
    ("arp-request-poisons", "drop-guard-arp", [arp(1, EVE.mac, BOB.ip, "00:00:00:00:00:00", ALICE.ip)]),
    ("arp-claim-request", "drop-guard-arp", [arp(1, EVE.mac, ALICE.ip, "00:00:00:00:00:00", ALICE.ip, to=ALL)]),
    ("arp-claim-reply", "drop-guard-arp", [arp(2, EVE.mac, ALICE.ip, ALL, ALICE.ip, to=ALL)]),
    ("arp-claim-of-gateway", "drop-guard-arp", [arp(2, EVE.mac, "10.1.0.1", ALL, "10.1.0.1", to=ALL)]),
    ("arp-others-mac-inside", "drop-guard-arp", [arp(2, BOB.mac, EVE.ip, ALICE.mac, ALICE.ip)]),
    ("arp-broadcast-mac-inside", "drop-guard-arp", [arp(2, ALL, EVE.ip, ALICE.mac, ALICE.ip)]),
    ("arp-probe-at-owner", "drop-guard-arp", [arp(1, EVE.mac, "0.0.0.0", "00:00:00:00:00:00", ALICE.ip)]),
    ("arp-reply-from-nobody", "drop-guard-arp", [arp(2, EVE.mac, "0.0.0.0", ALICE.mac, ALICE.ip)]),
    ("arp-odd-operation", "drop-guard-arp", [arp(9, EVE.mac, EVE.ip, ALICE.mac, ALICE.ip)]),
    ("arp-odd-lengths", "drop-malformed", [poke(arp(2, EVE.mac, EVE.ip, ALICE.mac, ALICE.ip), 18, 8)]),
    ("arp-odd-hardware", "drop-malformed", [poke(arp(2, EVE.mac, EVE.ip, ALICE.mac, ALICE.ip), 15, 6)]),
    ("arp-cut-short", "drop-short", [short(arp(2, EVE.mac, EVE.ip, ALICE.mac, ALICE.ip), 30)]),
    # ---- RARP ----
    ("rarp-server", "drop-guard-rarp", [rarp(4, EVE.mac, ALICE.mac, "10.1.0.99", to=ALICE.mac)]),
    ("rarp-about-another", "drop-guard-rarp", [rarp(3, EVE.mac, ALICE.mac)]),
    ("rarp-as-another", "drop-guard-rarp", [rarp(3, ALICE.mac, ALICE.mac)]),
    # ---- neighbour discovery ----
    ("na-poisons-neighbour", "drop-guard-nd", [nd(na(BOB.ip6))]),
    ("na-poisons-remote", "drop-guard-nd", [nd(na(ALICE.ip6), to=BOB.ip6, mac=BOB.mac)]),
    ("na-claims-to-all", "drop-guard-nd", [nd(na(ALICE.ip6, solicited=0), to=ALL_NODES, mac=ALL_NODES_MAC)]),
    ("na-denies-dad", "drop-guard-nd", [nd(na("fd00:1::1234", solicited=0), to=ALL_NODES, mac=ALL_NODES_MAC)]),
    ("na-of-neighbours-link-local", "drop-guard-nd", [nd(na(ALICE.link), to=BOB.ip6, mac=BOB.mac)]),
    ("na-own-address-others-mac", "drop-guard-nd", [nd(na(EVE.ip6, lladdr=BOB.mac))]),
    ("ns-others-mac-inside", "drop-guard-nd", [nd(ICMPv6ND_NS(tgt=ALICE.ip6) / ICMPv6NDOptSrcLLAddr(lladdr=BOB.mac))]),
    ("ns-others-mac-in-second-option", "drop-guard-nd",
     [nd(ICMPv6ND_NS(tgt=ALICE.ip6) / ICMPv6NDOptSrcLLAddr(lladdr=EVE.mac) / ICMPv6NDOptSrcLLAddr(lladdr=BOB.mac))]),
    ("ns-dad-at-owner", "drop-guard-ipv6", [nd(ICMPv6ND_NS(tgt=ALICE.ip6), source="::", to=SOLICITED_ALICE)]),
    ("ns-option-without-length", "drop-malformed", [nd(ICMPv6ND_NS(tgt=ALICE.ip6) / Raw(bytes(8)))]),
    ("ns-many-options", "drop-guard-headers", [nd(ICMPv6ND_NS(tgt=ALICE.ip6) / Raw(bytes([14, 1, 0, 0, 0, 0, 0, 0]) * 14))]),
    ("rs-others-mac-inside", "drop-guard-nd",
     [nd(ICMPv6ND_RS() / ICMPv6NDOptSrcLLAddr(lladdr=BOB.mac), to="ff02::2", mac="33:33:00:00:00:02")]),
    # ---- routers and servers ----
    ("ra-to-all", "drop-guard-router", [nd(ra(), source=EVE.link, to=ALL_NODES, mac=ALL_NODES_MAC)]),
    ("ra-to-one", "drop-guard-router", [nd(ra(), source=EVE.link)]),
    ("ra-that-ends-the-router", "drop-guard-router", [nd(ICMPv6ND_RA(routerlifetime=0), source=EVE.link)]),
    ("redirect", "drop-guard-router", [nd(ICMPv6ND_Redirect(tgt=EVE.link, dst="2001:db8::1"), source=EVE.link)]),
    ("dhcp-server", "drop-guard-dhcp",
     [ether(ALL) / IP(src=EVE.ip, dst="255.255.255.255") / UDP(sport=67, dport=68) / dhcp_offer()]),
    ("dhcp-server-to-one", "drop-guard-dhcp", [ether() / IP(src=EVE.ip, dst=ALICE.ip) / UDP(sport=67, dport=68) / dhcp_offer()]),
    ("dhcp-server-from-odd-port", "drop-guard-dhcp",
     [ether() / IP(src=EVE.ip, dst=ALICE.ip) / UDP(sport=4000, dport=68) / dhcp_offer()]),
    ("dhcp-server-behind-ip-options", "drop-guard-dhcp",
     [ether() / IP(src=EVE.ip, dst=ALICE.ip, options=b"\x01\x01\x01\x00") / UDP(sport=67, dport=68) / dhcp_offer()]),
    ("dhcp-server-in-fragments", "drop-guard-dhcp",
     [ether() / IP(src=EVE.ip, dst=ALICE.ip, flags="MF", id=9) / UDP(sport=67, dport=68, len=308) / Raw(bytes(64))]),
    ("dhcp6-server", "drop-guard-dhcp",
     [ether() / IPv6(src=EVE.link, dst=ALICE.link) / UDP(sport=547, dport=546) / DHCP6_Reply(trid=1)]),
    ("dhcp6-server-behind-options", "drop-guard-dhcp",
     [ether() / IPv6(src=EVE.link, dst=ALICE.link) / IPv6ExtHdrDestOpt() / UDP(sport=547, dport=546) / DHCP6_Advertise(trid=1)]),
    # ---- what hides ----
    ("ra-behind-hop-by-hop", "drop-guard-nd", [ether() / IPv6(src=EVE.ip6, dst=ALICE.ip6, hlim=255) / IPv6ExtHdrHopByHop() / ra()]),
    ("ra-behind-destination-options", "drop-guard-nd", [chain(ra(), 1)]),
    ("ra-behind-routing-header", "drop-guard-nd",
     [ether() / IPv6(src=EVE.ip6, dst=ALICE.ip6, hlim=255) / IPv6ExtHdrRouting(type=0, addresses=[]) / ra()]),
    ("na-behind-four-headers", "drop-guard-nd", [chain(na(BOB.ip6), 4)]),
    ("na-behind-nine-headers", "drop-guard-headers", [chain(na(BOB.ip6), 9)]),
    ("na-in-atomic-fragment", "drop-guard-nd",
     [ether() / IPv6(src=EVE.ip6, dst=ALICE.ip6, hlim=255) / IPv6ExtHdrFragment(nh=58, m=0, offset=0) / Raw(icmp6(na(BOB.ip6)))]),
    ("na-in-fragments", "drop-guard-nd", fragments6(58, icmp6(na(BOB.ip6)))[:1]),
    ("ra-in-fragments", "drop-guard-nd", fragments6(58, icmp6(ra()), cut=16)[:1]),
    ("ra-in-second-fragment", "drop-guard-headers", fragments6(58, icmp6(ra()), destination_options(58), cut=8)[:1]),
    ("ipv4-fragment-too-short-to-tell", "drop-guard-headers",
     [short(ether() / IP(src=EVE.ip, dst=ALICE.ip, flags="MF", proto=17, len=22) / Raw(b"\0C"), 36)]),
    ("vlan-tag", "drop-vlan", [ether() / Dot1Q(vlan=200) / IP(src=EVE.ip, dst=ALICE.ip) / UDP() / mark("vlan")]),
    ("vlan-zero-hides-ra", "drop-vlan",
     [ether(ALL_NODES_MAC) / Dot1Q(vlan=0) / IPv6(src=EVE.link, dst=ALL_NODES, hlim=255) / ra()]),
    ("vlan-stack", "drop-vlan", [ether() / Dot1AD(vlan=5) / Dot1Q(vlan=200) / IP(src=EVE.ip, dst=ALICE.ip) / UDP()]),
    ("vlan-old-type", "drop-vlan", [ether(type=0x9100) / Raw(b"\0\5\x08\0" + bytes(46))]),
    ("llc-snap-hides-arp", "drop-guard-llc",
     [Ether(dst=ALICE.mac, src=EVE.mac, type=36) / LLC(dsap=0xaa, ssap=0xaa, ctrl=3) / SNAP(code=0x806) /
      ARP(op=2, hwsrc=EVE.mac, psrc=BOB.ip, hwdst=ALICE.mac, pdst=ALICE.ip)]),
    ("llc-spanning-tree", "drop-l2-control|drop-guard-llc",
     [Ether(dst="01:80:c2:00:00:00", src=EVE.mac, type=38) / LLC(dsap=0x42, ssap=0x42, ctrl=3) / Raw(bytes(35))]),
    ("lldp", "drop-l2-control", [ether("01:80:c2:00:00:0e", type=0x88cc) / Raw(bytes(46))]),
    ("pause-frame", "drop-l2-control", [ether("01:80:c2:00:00:01", type=0x8808) / Raw(b"\0\1\xff\xff" + bytes(42))]),
    # ---- what follows the packet in its frame ----
    ("dhcp6-behind-a-first-fragment", "drop-guard-headers",
     [first_fragment_and_more((17, bytes(UDP(sport=53, dport=53) / mark("behind-udp"))))]),
    ("ra-behind-a-first-fragment", "drop-guard-headers",
     [first_fragment_and_more((58, bytes(ICMPv6EchoRequest()) + bytes(24)), hops=255)]),
    ("ipv4-ends-before-its-ports", "drop-guard-headers", [ether() / IP(src=EVE.ip, dst=ALICE.ip, len=20) / UDP() / mark("noports")]),
    ("jumbogram", "drop-guard-headers",
     [ether() / IPv6(src=EVE.ip6, dst=ALICE.ip6, nh=0, plen=0) / Raw(b"\x11\0\xc2\4\0\1\0\0" + bytes(60))]),
    # ---- groups: MLD in forms that a switch does not know and a host does ----
    ("mld-report-without-options", "drop-malformed", [mld(ICMPv6MLReport(mladdr="ff05::1234"), options=0)]),
    ("mld-done-without-options", "drop-malformed", [mld(ICMPv6MLDone(mladdr="ff05::1234"), options=0)]),
    ("mld-report2-behind-more-options", "drop-malformed", [mld(ICMPv6MLReport2(), options=16)]),
    ("mld-query-without-options", "drop-guard-querier", [mld(ICMPv6MLQuery(), options=0)]),
    ("mld-query-from-the-link", "drop-guard-querier", [mld(ICMPv6MLQuery(), options=0, hops=255)]),
    # ---- sizes ----
    ("ipv4-longer-than-it-is", "drop-malformed", [ether() / IP(src=EVE.ip, dst=ALICE.ip, len=1400) / UDP() / mark("long4")]),
    ("ipv6-longer-than-it-is", "drop-malformed", [ether() / IPv6(src=EVE.ip6, dst=ALICE.ip6, plen=1300) / UDP() / mark("long6")]),
    ("ipv4-header-too-short", "drop-malformed", [poke(ether() / IP(src=EVE.ip, dst=ALICE.ip) / UDP() / mark("ihl"), 14, 0x44)]),
    ("ipv4-that-is-not", "drop-malformed", [poke(ether() / IP(src=EVE.ip, dst=ALICE.ip) / UDP() / mark("version"), 14, 0x65)]),
    ("ipv6-that-is-not", "drop-malformed", [poke(ether() / IPv6(src=EVE.ip6, dst=ALICE.ip6) / UDP() / mark("version6"), 14, 0x45)]),
    ("ipv4-cut-short", "drop-short", [short(ether() / IP(src=EVE.ip, dst=ALICE.ip) / UDP(), 28)]),
    ("ipv6-cut-short", "drop-short", [short(ether() / IPv6(src=EVE.ip6, dst=ALICE.ip6) / UDP(), 40)]),
    ("to-itself", "drop-self", [ether(EVE.mac) / IP(src=EVE.ip, dst=EVE.ip) / UDP() / mark("self")]),
]

# Everything here is honest one by one; it is how many there are.
FLOODS = [
    ("arp-flood", "drop-limit-neighbours", [arp(1, EVE.mac, EVE.ip, "00:00:00:00:00:00", ALICE.ip, to=ALL)], 1000),
    ("ns-flood", "drop-limit-neighbours",
     [nd(ICMPv6ND_NS(tgt=ALICE.ip6) / ICMPv6NDOptSrcLLAddr(lladdr=EVE.mac), to=SOLICITED_ALICE, mac=SOLICITED_ALICE_MAC)], 1000),
    ("na-flood", "drop-limit-neighbours", [nd(na(EVE.ip6, solicited=0), to=ALL_NODES, mac=ALL_NODES_MAC)], 1000),
    ("miss-flood", "drop-limit-misses",
     [ether("02:77:00:00:%02x:%02x" % (n >> 8, n & 255)) / IP(src=EVE.ip, dst=NOBODY.ip) / UDP() for n in range(1000)], 1000),
    ("oversize-flood", "drop-limit-misses", [ether() / IP(src=EVE.ip, dst=ALICE.ip) / UDP() / Raw(bytes(1450))], 1000),
    ("broadcast-storm", "drop-limit-group", [ether(ALL) / IP(src=EVE.ip, dst="10.1.0.255") / UDP() / Raw(bytes(20))], 1000),
    ("multicast-storm", "drop-limit-group",
     [ether("33:33:00:00:12:34") / IPv6(src=EVE.ip6, dst="ff05::1234") / UDP() / Raw(bytes(20))], 1000),
]

# These reach whom they are sent to, as what they are, and nobody else.
HARMLESS = [
    ("nested-vxlan-into-another-tenant", BOB,
     [nested(200, Ether(dst=BOB.mac, src=ALICE.mac) / IP(src=ALICE.ip, dst=BOB.ip) / UDP() / mark("nested-tenant"))]),
    ("nested-vxlan-in-own-vn", BOB,
     [nested(100, Ether(dst=BOB.mac, src=ALICE.mac) / IP(src=ALICE.ip, dst=BOB.ip) / UDP() / mark("nested-own"))]),
    ("nested-gre", ALICE, [ether() / IP(src=EVE.ip, dst=ALICE.ip) / GRE() / IP(src=BOB.ip, dst=ALICE.ip) / UDP() / mark("gre")]),
    ("underlay-address-inside", BOB,
     [ether(BOB.mac) / IP(src=EVE.ip, dst="10.98.0.2") / UDP(dport=4789) / VXLAN(vni=200, flags=8) /
      Ether(dst=BOB.mac, src=ALICE.mac) / IP(src=ALICE.ip, dst=BOB.ip) / UDP() / mark("underlay-inside")]),
    ("second-fragment-of-nothing", ALICE, fragments6(58, icmp6(ra()) + bytes(8), destination_options(58), cut=8)[1:]),
]
