#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every number of the wire protocol in the headers is in docs/protocol.md, under its own name or meaning.

Looked up: frame types and TLVs (a row of a table that begins with the number), features, kinds of reports, flags
of VNs, types, statuses and options of Mobility Headers that are used, and the constants of section 9.
"""
import re
import sys

PAGE = "docs/protocol.md"


def enum(path, name):
    """[(member, value)] of one enum, in the order of the header."""
    text = re.sub(r"/\*.*?\*/", "", open(path).read(), flags=re.S)
    body = re.search(r"enum " + name + r" \{(.*?)\}", text, re.S).group(1)
    out, value = [], -1
    for member in filter(None, (m.strip() for m in body.split(","))):
        word, _, given = (part.strip() for part in member.partition("="))
        try:
            value = int(given, 0) if given else value + 1
        except ValueError:
            continue    # made of others
        out.append((word, value))
    return out


def rows(text):
    """The first cells of all rows of tables: the numbers in them."""
    found = set()
    for line in text.splitlines():
        cell = re.match(r"\| *([0-9a-fx, ]+?) *\|", line)
        if cell:
            found.update(int(n, 0) for n in re.split(r"[, ]+", cell.group(1)) if re.fullmatch(r"0x[0-9a-f]+|\d+", n))
    return found


def section(page, first, last):
    """From the heading that begins with `first` to the one that begins with `last`."""
    return page[page.index("\n" + first):page.index("\n" + last)]


def main():
    page = open(PAGE).read()
    frames, bodies = section(page, "## 1.", "## 2."), section(page, "## 2.", "## 3.")
    registrations, headers = section(page, "## 3.", "## 4."), section(page, "## 4.", "## 5.")
    missing = []

    def want(path, name, ok, where, skip=()):
        missing.extend(f"{path}: {word} = {value}: not in {where}"
                       for word, value in enum(path, name) if word not in skip and not ok(word, value))

    end = dict(enum("src/wire/frame.h", "gw_frame_type"))["GW_FRAME_END"]
    want("src/wire/frame.h", "gw_frame_type",
         lambda word, value: re.search(rf"^\| {value} \| {word[9:]} \|", frames, re.M), "section 1", ("GW_FRAME_END",))
    if f"Frames of a type from {end} up are" not in frames.replace("\n", " "):
        missing.append(f"src/wire/frame.h: frames from {end} on are skipped: section 1 has another number")
    for name in [word[9:] for word, _ in enum("src/wire/frame.h", "gw_frame_type")][:-1]:
        if not re.search(rf"^\| [A-Z_, ]*\b{name}\b[A-Z_, ]* \|", bodies, re.M) and name not in ("CALL", "ANSWER", "EVENT"):
            missing.append(f"what is in a frame {name}: not in section 2")
    in_bodies = rows(bodies)
    tlvs = "\n" + open("src/wire/tlv.h").read()
    name = re.search(r"enum (\w+) \{\s*GW_TLV_ROLE", tlvs).group(1)
    want("src/wire/tlv.h", name, lambda _, value: value in in_bodies, "section 2")
    want("src/io/call.h", "gw_call_tlv", lambda _, value: value in in_bodies, "section 2")
    want("src/wire/frame.h", "gw_report_kind", lambda _, value: re.search(rf"kind {value}\b", bodies), "section 2")
    want("src/wire/frame.h", "gw_vn_flag", lambda _, value: f"bit {value.bit_length() - 1}" in bodies, "section 2")
    features = re.findall(r"GW_FEATURE_[A-Z]+ =\s*(\d+)", open("src/wire/frame.h").read())
    told = re.search(r"\| features \|.*", bodies).group(0)
    missing.extend(f"feature {n}: not in section 2" for n in features if not re.search(rf"\b{n} \w", told))
    want("src/wire/mobility.h", "gw_mh_type", lambda _, value: value in rows(headers), "section 4", ("GW_MH_REVOCATION",))
    want("src/wire/mobility.h", "gw_mh_status", lambda _, value: re.search(rf"\b{value}\b", registrations), "section 3")
    used = open("src/edge/registration.c").read() + open("src/directory/notice.c").read() + open("src/wire/auth.c").read()
    fields = {"VM": 8, "HANDOFF": 23, "ACCESS": 24, "TIMESTAMP": 27, "EPOCH": 19, "DEFAULT_ROUTER4": 38, "SERVING": 68,
              "MESSAGE_ID": 10, "AUTH": 9, "LINK_LOCAL": 26, "COA4": 32, "GROUP": 50, "DHCP4": 39}
    for field in set(re.findall(r"GW_REG_HAS_([A-Z0-9_]+)", used)):
        if fields.get(field) not in rows(registrations):
            missing.append(f"option of GW_REG_HAS_{field}: not in section 3")
    for line in missing:
        print(f"{PAGE}: {line}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
