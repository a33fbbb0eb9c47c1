#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Lists of godwit-nva's API: pages that are bounded and miss nothing, and what people see of them.

Usage: nva_lists.py GODWIT-NVA GODWIT SOURCE-ROOT [NAME...]
"""
import http.client
import json
import os
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from nva_harness import UnixConnection, run_all, wait  # noqa: E402

DEFAULT, MOST = 256, 1000


class Kept:
    """One connection for many requests."""

    def __init__(self, nva):
        self.connection = UnixConnection(nva.api)

    def __call__(self, method, path, body=None):
        try:
            self.connection.request(method, path, json.dumps(body) if body is not None else None)
        except http.client.HTTPException:
            self.connection.close()
            self.connection.request(method, path, json.dumps(body) if body is not None else None)
        response = self.connection.getresponse()
        text = response.read()
        assert response.status // 100 == 2, (method, path, response.status, text)
        return json.loads(text) if text else None


def vms(nva, names, **more):
    ask = Kept(nva)
    nva.post("/v1/vns", {"name": "blue", "subnets": ["10.1.0.0/16"]}, 201)
    for name in names:
        ask("POST", "/v1/vms", dict(name=name, kernel="/boot/vmlinuz", memory_mib=128, ports=[{"vn": "blue"}] * 2, **more))


def pages(nva, noun, limit, query="", between=lambda page: None):
    after, items = "", []
    while True:
        page = nva.get("/v1/%s?limit=%d%s%s" % (noun, limit, "&after=" + after if after else "", query))
        assert 0 < len(page[noun]) <= limit, page
        items += page[noun]
        between(page)
        if "next" not in page:
            return items
        after = page["next"]


def listed(nva, *words):
    return subprocess.run([nva.cli, "--api", nva.api, *words], check=True, capture_output=True, text=True).stdout


# --- tests ---


def pages_have_all_of_it(nva):
    vms(nva, ["v%02d" % i for i in range(11)])
    for noun in ("vms", "bindings", "ports"):
        key = "vm" if noun == "bindings" else "id"
        whole = nva.get("/v1/" + noun)
        assert "next" not in whole and len(whole[noun]) == (22 if noun == "ports" else 11), whole
        for limit in (1, 2, 3, 10, 11, 22, 23):
            assert [i[key] for i in pages(nva, noun, limit)] == [i[key] for i in whole[noun]], (noun, limit)
    for i in range(5):
        nva.post("/v1/nves", {"id": "h%d" % i, "locator": "10.99.0.%d" % (i + 1)}, 201)
        nva.post("/v1/tenants", {"name": "t%d" % i}, 201)
        nva.post("/v1/vns", {"name": "n%d" % i, "tenant": "t%d" % i, "subnets": ["10.2.0.0/24"]}, 201)
        nva.post("/v1/policies", {"name": "p%d" % i, "from": "n%d@t%d" % (i, i), "to": "blue@default", "one_way": True}, 201)
        nva.post("/v1/rules", {"name": "r%d" % i, "kind": "apart", "vms": ["v0%d" % i, "v10"]}, 201)
    for noun, n in (("nves", 5), ("tenants", 6), ("vns", 6), ("policies", 5), ("rules", 5)):
        whole = nva.get("/v1/" + noun)[noun]
        assert len(whole) == n and pages(nva, noun, 2) == whole, (noun, whole)
    assert nva.get("/v1/gateways?limit=1") == {"gateways": []}


def moves_go_back_in_time(nva):
    vms(nva, ["web", "db"])
    h1, h2 = nva.host("h1", "10.99.0.1"), nva.host("h2", "10.99.0.2")
    for name in ("web", "db"):
        nva.post("/v1/vms/%s/start" % name, {"nve": "h1"}, 200)
        wait(lambda: nva.get("/v1/vms/" + name)["binding"]["state"] == "serving", "not registered")
    for to in ("h2", "h1", "h2"):
        for name in ("web", "db"):
            ident = nva.post("/v1/vms/%s/move" % name, {"to": to}, 202)["id"]
            wait(lambda: nva.get("/v1/moves/" + ident)["phase"] == "done", "the move does not end")
    assert [m["id"] for m in nva.get("/v1/moves")["moves"]] == ["m6", "m5", "m4", "m3", "m2", "m1"]
    for limit in (1, 2, 5, 6):
        assert [m["id"] for m in pages(nva, "moves", limit)] == ["m6", "m5", "m4", "m3", "m2", "m1"], limit
        assert [m["id"] for m in pages(nva, "moves", limit, "&vm=db")] == ["m6", "m4", "m2"], limit
    assert [m["id"] for m in nva.get("/v1/moves?after=m4")["moves"]] == ["m3", "m2", "m1"]
    assert nva.get("/v1/moves?after=m1")["moves"] == [] and len(nva.get("/v1/moves?after=m99")["moves"]) == 6
    assert {h1.name, h2.name} == {"h1", "h2"}


def change_between_pages(nva):
    """What is there all the time is told once; what the next page begins after may be gone, with all of its VM."""
    vms(nva, ["v%02d" % i for i in range(10)])
    gone = iter(("v01", "v03"))

    def disturb(page):
        if page.get("next"):
            name = next(gone, None)
            if name:
                assert page["next"].startswith(name), page["next"]
                nva.delete("/v1/vms/" + name)
                nva.post("/v1/vms", {"name": "a-" + name, "kernel": "/boot/vmlinuz", "memory_mib": 128}, 201)

    assert [v["id"] for v in pages(nva, "vms", 2, between=disturb)] == ["v%02d@default" % i for i in range(10)]
    gone = iter(("v04",))
    ports = [p["id"] for p in pages(nva, "ports", 5, between=disturb)]
    assert ports == ["v%02d-%d@default" % (i, k) for i in (0, 2, 4, 5, 6, 7, 8, 9) for k in (0, 1) if (i, k) != (4, 1)], ports
    assert [p["id"] for p in nva.get("/v1/ports?after=v05-0@default&limit=1")["ports"]] == ["v05-1@default"]
    assert [p["id"] for p in nva.get("/v1/ports?after=v05-1@default&limit=1")["ports"]] == ["v06-0@default"]
    assert nva.get("/v1/ports?after=v99-0@default") == {"ports": []}


def people_see_one_list(nva, names):
    """As a table and as JSON."""
    rows = listed(nva, "vm", "list").splitlines()
    assert rows[0].split()[0] == "VM" and [r.split()[0] for r in rows[1:]] == [n + "@default" for n in names]
    assert len({r.index(" vm ") for r in rows[1:]}) == 1
    answer = json.loads(listed(nva, "vm", "list", "--json"))
    assert list(answer) == ["vms"] and [v["id"] for v in answer["vms"]] == [n + "@default" for n in names]
    assert len(json.loads(listed(nva, "port", "list", "--json"))["ports"]) == 2 * len(names)
    assert len(listed(nva, "binding", "list").splitlines()) == 1 + len(names)
    assert json.loads(listed(nva, "move", "list", "--json")) == {"moves": []}
    assert listed(nva, "move", "list").startswith("no moves")
    assert json.loads(listed(nva, "move", "list", "--vm", "v001", "--json")) == {"moves": []}


def more_than_a_page(nva):
    """Bounded in items when nobody says so, and in octets, however many are asked for."""
    names = ["v-of-a-name-that-is-longer"] + ["v%03d" % i for i in range(DEFAULT + 3)]
    vms(nva, names)
    first = nva.get("/v1/bindings")
    assert len(first["bindings"]) == DEFAULT and first["next"] == names[DEFAULT - 1] + "@default"
    assert len(nva.get("/v1/ports?limit=%d" % MOST)["ports"]) == 2 * len(names)
    first = nva.get("/v1/vms")
    assert 50 < len(first["vms"]) <= DEFAULT and first["next"] == first["vms"][-1]["id"]
    people_see_one_list(nva, names)
    ask = Kept(nva)
    disks = [{"path": "/disks/" + "d" * 240 + str(i)} for i in range(8)]
    for i in range(60):
        ask("POST", "/v1/vms", {"name": "w%03d" % i, "memory_mib": 128, "disks": disks, "cmdline": "x" * 1000,
                                "kernel": "/boot/vmlinuz"})
    text = json.dumps(nva.get("/v1/vms?limit=%d&after=v999@default" % MOST), separators=(",", ":"))
    assert 128 << 10 < len(text) < 136 << 10, len(text)
    assert len(pages(nva, "vms", MOST)) == len(names) + 60


def bad_queries(nva):
    for noun in ("vms", "bindings", "ports", "nves", "vns", "tenants", "rules", "policies", "gateways", "moves"):
        for query, field in (("limit=0", "limit"), ("limit=1001", "limit"), ("limit=", "limit"), ("limit=1x", "limit"),
                             ("limit=-1", "limit"), ("limit=99999999999999999999", "limit"), ("after=" + "m" * 64, "after")):
            status, answer = nva.request("GET", "/v1/%s?%s" % (noun, query))
            assert status == 400 and answer["error"]["field"] == field, (noun, query, answer)
    for after in ("", "x", "m", "m1x", "1", "m%201"):
        assert nva.request("GET", "/v1/moves?after=" + after)[0] == 400, after
    for after in ("@", "-@", "zzz", "A@B", "%ff"):
        assert nva.get("/v1/ports?after=" + after) == {"ports": []}


TESTS = [pages_have_all_of_it, moves_go_back_in_time, change_between_pages, more_than_a_page, bad_queries]

run_all(TESTS)
