/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests that are namespaces: eth0 inside, the other end of the veth pair in the host's
 * namespace, attached as a task's port through the authority's API, as anybody would.
 * MAC and addresses are what the authority answers, so that it may choose them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/client.h"
#include "cli/output.h"
#include "io/netlink.h"
#include "lab/lab.h"
#include "lab/topology.h"

static const char *device_of(const char *name, char out[static 16]) {
        snprintf(out, 16, "gwg-%.11s", name);
        return out;
}

/* In the host's namespace: eth0 goes into the guest's. */
static int make_device(struct gw_lab *lab, const struct gw_lab_guest *g, struct gw_error *error) {
        char name[64], host[64], device[16];
        int r, back, netns = gw_netns_open(gw_lab_netns(lab, g->name, name));

        if (netns < 0)
                return gw_fail(error, netns, "", "cannot open the namespace %s: %s", name, strerror(-netns));
        r = gw_netns_enter(gw_lab_netns(lab, g->host, host), &back);
        if (!r) {
                r = gw_veth_add(device_of(g->name, device), "eth0", netns);
                if (!r)
                        r = gw_link_no_addrgen(device);
                if (!r)
                        r = gw_link_up(device);
                gw_netns_leave(back);
        }
        close(netns);
        return r < 0 ? gw_fail(error, r, "", "cannot make the device of %s: %s", g->name, strerror(-r)) : 0;
}

static int attach(struct gw_client *client, const struct gw_lab_guest *g, json_t **port, struct gw_error *error) {
        json_t *addresses = json_array(), *body;
        char device[16];

        for (size_t i = 0; i < g->n_ips; i++)
                json_array_append_new(addresses, json_string(g->ips[i]));
        body = json_pack("{s:s, s:s, s:s, s:s, s:o}", "vm", g->name, "vn", g->vn, "nve", g->host, "device",
                         device_of(g->name, device), "addresses", addresses);
        if (g->mac)
                json_object_set_new(body, "mac", json_string(g->mac));
        return gw_client_call(client, "POST", "/v1/ports", body, port, error);
}

uint8_t gw_lab_subnet_bits(struct gw_ip ip, json_t *vn) {
        struct gw_prefix prefix;
        json_t *subnet;
        size_t i;

        json_array_foreach (json_object_get(vn, "subnets"), i, subnet) {
                const char *text =
                        json_is_string(subnet) ? json_string_value(subnet) : gw_member_text(subnet, "prefix");

                if (!gw_prefix_parse(text, &prefix) && gw_prefix_contains(&prefix, ip))
                        return (uint8_t)(gw_ip_is_v4(ip) ? prefix.bits - 96 : prefix.bits);
        }
        return gw_ip_is_v4(ip) ? 32 : 128;
}

static int set_addresses(json_t *port, json_t *vn) {
        json_t *address;
        struct gw_ip ip;
        size_t i;
        int r = 0;

        json_array_foreach (json_object_get(port, "addresses"), i, address)
                if (!r && !gw_ip_parse(json_string_value(address), &ip))
                        r = gw_addr_add("eth0", ip, gw_lab_subnet_bits(ip, vn));
        return r;
}

static int configure(struct gw_lab *lab, const struct gw_lab_guest *g, json_t *port, json_t *vn,
                     struct gw_error *error) {
        uint32_t mtu = (uint32_t)gw_member_int(vn, "mtu");
        struct gw_mac mac;
        char netns[64];
        int back, r;

        if (gw_mac_parse(gw_member_text(port, "mac"), &mac))
                return gw_fail(error, GW_E_MALFORMED, "", "the authority's answer has no MAC for %s", g->name);
        r = gw_netns_enter(gw_lab_netns(lab, g->name, netns), &back);
        if (!r) {
                r = gw_link_no_addrgen("eth0");
                if (!r)
                        r = gw_link_set_mac("eth0", mac);
                if (!r && mtu)
                        r = gw_link_set_mtu("eth0", mtu);
                if (!r)
                        r = gw_link_up("eth0");
                if (!r)
                        r = set_addresses(port, vn);
                gw_netns_leave(back);
        }
        return r < 0 ? gw_fail(error, r, "", "cannot set the addresses of %s: %s", g->name, strerror(-r)) : 0;
}

static int check(const struct gw_lab *lab, const struct gw_lab_guest *g, struct gw_error *error) {
        static const char *const taken[] = {"nva", "net"};
        struct gw_name name;
        bool bad = gw_name_parse(g->name, &name) || strlen(g->name) > GW_LAB_GUEST_NAME_MAX;

        for (size_t i = 0; i < 2; i++)
                bad = bad || !strcmp(g->name, taken[i]);
        if (bad || (g->name[0] == 'h' && g->name[1] >= '0' && g->name[1] <= '9'))
                return gw_fail(error, GW_E_INVALID, "NAME",
                               "the guest's name is \"%s\"; it must be a-z, 0-9 and - inside, at most %d, and not nva, "
                               "net or like a host's",
                               g->name, GW_LAB_GUEST_NAME_MAX);
        if (!gw_lab_has_host(lab, g->host))
                return gw_fail(error, GW_E_INVALID, "host", "--host is \"%s\"; it must be h1 to h%u", g->host,
                               lab->hosts);
        return 0;
}

/* Writes the port's id down, so that deleting finds it. */
static int remember(struct gw_lab *lab, const struct gw_lab_guest *g, json_t *port, struct gw_error *error) {
        return gw_manifest_add(&lab->manifest,
                               json_pack("{s:s, s:s, s:s, s:s}", "kind", "guest", "name", g->name, "host", g->host,
                                         "port", gw_member_text(port, "id")),
                               error);
}

static int add(struct gw_lab *lab, struct gw_client *client, const struct gw_lab_guest *g, struct gw_error *error) {
        json_t *port = NULL, *vn = NULL;
        char path[256], segment[200];
        int r = attach(client, g, &port, error);

        if (!r)
                r = remember(lab, g, port, error);
        snprintf(path, sizeof path, "/v1/vns/%s", gw_client_segment(g->vn, segment, sizeof segment));
        if (!r)
                r = gw_client_call(client, "GET", path, NULL, &vn, error);
        if (!r)
                r = configure(lab, g, port, vn, error);
        json_decref(vn);
        json_decref(port);
        return r;
}

int gw_lab_guest_add(struct gw_lab *lab, const struct gw_lab_guest *g, struct gw_error *error) {
        struct gw_client *client;
        int r = check(lab, g, error);

        if (r)
                return r;
        if (gw_manifest_find(&lab->manifest, "guest", "name", g->name, NULL, NULL))
                return gw_fail(error, GW_E_EXISTS, "NAME", "a guest named %s is there already", g->name);
        r = gw_lab_client(lab, &client, error);
        if (r)
                return r;
        r = gw_topology_netns(lab, g->name, error);
        if (!r)
                r = make_device(lab, g, error);
        if (!r)
                r = add(lab, client, g, error);
        gw_client_free(client);
        if (r)
                gw_lab_guest_delete(lab, g->name, NULL);
        return r;
}

int gw_lab_guest_delete(struct gw_lab *lab, const char *name, struct gw_error *error) {
        json_t *guest = gw_manifest_find(&lab->manifest, "guest", "name", name, NULL, NULL), *netns;
        char path[256], segment[200], full[64];
        struct gw_client *client;
        int r = 0;

        gw_lab_netns(lab, name, full);
        netns = gw_manifest_find(&lab->manifest, "netns", "name", full, NULL, NULL);
        if (!netns && !guest)
                return gw_fail(error, GW_E_NOT_FOUND, "NAME", "there is no guest named %s", name);
        if (guest && !gw_lab_client(lab, &client, error)) {
                snprintf(path, sizeof path, "/v1/ports/%s",
                         gw_client_segment(gw_member_text(guest, "port"), segment, sizeof segment));
                r = gw_client_call(client, "DELETE", path, NULL, NULL, error);
                gw_client_free(client);
        }
        gw_lab_process_kill_in_netns(full);
        gw_netns_del(full);
        gw_manifest_remove(&lab->manifest, guest);
        gw_manifest_remove(&lab->manifest, netns);
        gw_manifest_save(&lab->manifest, NULL);
        return r == GW_E_NOT_FOUND ? 0 : r;
}
