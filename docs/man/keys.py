#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Fills a manual page's line ".\\" keys" in with what the daemon's --help says of its keys: they are told in one place.

Usage: keys.py PAGE DAEMON
"""
import re
import subprocess
import sys


def keys_of(help_text):
    """[(key, meaning, what is allowed)], from two lines each."""
    lines = help_text.split("\nkeys:\n", 1)[1].splitlines()
    for told, allowed in zip(lines[::2], lines[1::2], strict=True):
        key, meaning = re.fullmatch(r"  (\S+) +(\S.*)", told).groups()
        yield key, meaning, re.fullmatch(r" +\((.*)\)", allowed).group(1)


def plain(text):
    """Text as roff prints it: a dot or a quote at the beginning of a line would be a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


def main():
    page, daemon = sys.argv[1:]
    told = subprocess.run([daemon, "--help"], capture_output=True, text=True, check=True).stdout
    items = [".Bl -tag -width Ds"]
    for key, meaning, allowed in keys_of(told):
        items += [".It Cm " + plain(key), plain(meaning), "(" + plain(allowed) + ")"]
    items.append(".El")
    with open(page, encoding="utf-8") as file:
        before, after = file.read().split('.\\" keys\n')
    sys.stdout.write(before + "\n".join(items) + "\n" + after)


main()
