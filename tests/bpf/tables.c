/* SPDX-License-Identifier: Apache-2.0 */
/* The tables and devices of a data plane as they change over its life: more members than a flood list takes, another port. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include <bpf/bpf.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/time.h"
#include "frames.h"
#include "io/netlink.h"
#include "worlds.h"

enum { MEMBERS = GW_FLOOD_MAX + 6, VNI = 77 };

static struct gw_ip member(int i) {
        char text[GW_IP_TEXT];

        snprintf(text, sizeof text, "10.98.0.%d", i + 1);
        return ip_of(text);
}

static int map_open(const struct host *h, const char *name) {
        char path[96];
        int fd;

        snprintf(path, sizeof path, "%s/%s", h->pins, name);
        fd = bpf_obj_get(path);
        assert_true(fd >= 0);
        return fd;
}

/* Who gets the group frames of the VN. */
static struct gw_abi_flood listed(const struct host *h) {
        struct gw_abi_flood list = {0};
        uint32_t vni = VNI;
        int fd = map_open(h, "gw_flood");

        bpf_map_lookup_elem(fd, &vni, &list);
        close(fd);
        return list;
}

static bool is_listed(const struct gw_abi_flood *list, struct gw_ip ip) {
        for (uint32_t i = 0; i < list->n_locators; i++)
                if (!memcmp(list->locators[i], ip.b, sizeof ip.b))
                        return true;
        return false;
}

/* There are as many as have room, whoever they are; and when there is room for all, all of them. */
static void those_who_were_left_out_take_the_places_of_those_who_go(void **state) {
        struct host *h = &((struct world *)*state)->hosts[0];
        struct gw_abi_flood list;

        for (int i = 0; i < MEMBERS; i++)
                assert_int_equal(gw_datapath_member_set(h->dp, VNI, member(i), 0), i < GW_FLOOD_MAX ? 0 : GW_E_FULL);
        for (int gone = 0; gone < MEMBERS; gone++) {
                int left = MEMBERS - gone;

                list = listed(h);
                assert_int_equal(list.n_locators, left < GW_FLOOD_MAX ? left : GW_FLOOD_MAX);
                for (int i = gone; left <= GW_FLOOD_MAX && i < MEMBERS; i++)
                        assert_true(is_listed(&list, member(i)));
                assert_int_equal(gw_datapath_member_del(h->dp, VNI, member(gone)), 0);
        }
        assert_int_equal(listed(h).n_locators, 0);
}

/* A device of another port would take some of the frames to where nobody listens. */
static void another_port_is_refused(void **state) {
        struct host *h = &((struct world *)*state)->hosts[1];
        struct gw_error error = {0};

        host_close(h);
        h->config.vxlan_port = 4790;
        assert_int_equal(host_try_open(h, &error), GW_E_CONFLICT);
        assert_string_equal(error.field, "vxlan-port");
        h->config.vxlan_port = 4789;
        host_open(h);
}

static ino_t netns_of(int fd) {
        struct stat at;

        assert_true(fd >= 0);
        assert_int_equal(fstat(fd, &at), 0);
        return at.st_ino;
}

/* What the supervisor kept is taken when it is this namespace's device, and not another one's of the same name. */
static void the_queue_of_another_namespace_is_not_taken(void **state) {
        struct host *h = &((struct world *)*state)->hosts[0], *other = &((struct world *)*state)->hosts[1];
        int kept = dup(gw_datapath_punt_tap(other->dp)), own = dup(gw_datapath_punt_tap(h->dp)), its;

        assert_true(kept >= 0 && own >= 0);
        host_close(other);
        host_close(h);
        h->config.kept_fd = own;
        host_open(h);
        assert_int_equal(gw_datapath_punt_tap(h->dp), own);
        host_close(h);
        h->config.kept_fd = kept;
        host_open(h);
        assert_int_not_equal(gw_datapath_punt_tap(h->dp), kept);
        its = ioctl(gw_datapath_punt_tap(h->dp), TUNGETDEVNETNS);
        assert_int_equal(netns_of(its), netns_of(h->netns));
        close(its);
        h->config.kept_fd = 0;
        host_open(other); /* nobody has the other one's any more */
}

enum { ENTRIES = 40000, PAGE = 7, SHORT = 12 };

struct reading {
        uint8_t told[ENTRIES];
        struct gw_abi_mac_key last;
        int n;
};

static struct gw_abi_mac_key entry_key(int i) {
        return (struct gw_abi_mac_key){.vni = VNI, .mac = {2, 1, 0, 0, (uint8_t)(i >> 8), (uint8_t)i}};
}

static int take_entry(uint32_t vni, struct gw_mac mac, const struct gw_forward *entry, void *user) {
        struct reading *reading = user;
        int i = mac.b[4] << 8 | mac.b[5];

        (void)entry;
        if (vni != VNI || mac.b[1] != 1)
                return 0;
        reading->told[i]++;
        reading->last = entry_key(i);
        reading->n++;
        return 0;
}

/* What is rewritten between two pages changes its place, and is told once all the same. */
static void pages_tell_what_is_rewritten_once(void **state) {
        struct host *h = &((struct world *)*state)->hosts[0];
        struct gw_abi_forward value = {.kind = 1};
        struct reading *reading = calloc(1, sizeof *reading);
        int fd = map_open(h, "gw_fdb"), pages = 0;
        uint32_t place = 0;
        bool more = true;

        assert_non_null(reading);
        for (int i = 0; i < ENTRIES; i++) {
                struct gw_abi_mac_key key = entry_key(i);

                assert_int_equal(bpf_map_update_elem(fd, &key, &value, BPF_ANY), 0);
        }
        for (; more; pages++) {
                int before = reading->n;

                assert_int_equal(gw_datapath_fdb_page(h->dp, &place, PAGE, &more, take_entry, reading), 0);
                assert_in_range(reading->n - before, more, PAGE + SHORT);
                if (reading->n)
                        assert_int_equal(bpf_map_update_elem(fd, &reading->last, &value, BPF_ANY), 0);
                for (int i = pages % 8; i < ENTRIES; i += ENTRIES / 8) {
                        struct gw_abi_mac_key key = entry_key((i * 31 + pages) % ENTRIES);

                        assert_int_equal(bpf_map_update_elem(fd, &key, &value, BPF_ANY), 0);
                }
        }
        assert_int_equal(reading->n, ENTRIES);
        for (int i = 0; i < ENTRIES; i++)
                assert_int_equal(reading->told[i], 1);
        place = 0;
        assert_int_equal(gw_datapath_fdb_page(h->dp, &place, ENTRIES, &more, take_entry, reading),
                         0); /* as one, nearly */
        assert_true(reading->n > 2 * ENTRIES - SHORT);
        for (int i = 0; i < ENTRIES; i++) {
                struct gw_abi_mac_key key = entry_key(i);

                bpf_map_delete_elem(fd, &key);
        }
        place = UINT32_MAX;
        assert_int_equal(gw_datapath_fdb_page(h->dp, &place, PAGE, &more, take_entry, reading), 0);
        assert_false(more);
        free(reading);
        close(fd);
}

enum { TALKERS = 3000, RECENT_MS = 60000 };

static int count_talker(uint32_t vni, struct gw_ip locator, void *user) {
        int *seen = user;

        assert_int_equal(vni, VNI + locator.b[15] % 3);
        seen[locator.b[14] << 8 | locator.b[15]]++;
        return 0;
}

/* All VMs' at once, and none that is over. */
static void talkers_of_all_are_read_in_one_walk(void **state) {
        struct host *h = &((struct world *)*state)->hosts[2];
        uint64_t now = gw_mono_now().ns, old = now - (RECENT_MS + 1000) * GW_NS_PER_MS;
        int fd = map_open(h, "gw_talkers"), seen[TALKERS] = {0};

        for (int i = 0; i < TALKERS; i++) {
                struct gw_abi_peer_key key = {.vni = VNI + i % 256 % 3,
                                              .mac = {2, 0, 0, 0, (uint8_t)(i >> 8), (uint8_t)i}};
                struct gw_abi_seen value = {.last_ns = i % 2 ? now : old};

                memcpy(key.locator, ip_of("10.98.0.0").b, sizeof key.locator);
                key.locator[14] = (uint8_t)(i >> 8);
                key.locator[15] = (uint8_t)i;
                assert_int_equal(bpf_map_update_elem(fd, &key, &value, BPF_ANY), 0);
        }
        close(fd);
        assert_int_equal(gw_datapath_talkers_each(h->dp, RECENT_MS, count_talker, seen), 0);
        for (int i = 0; i < TALKERS; i++)
                assert_int_equal(seen[i], i % 2);
}

/* ---- next hops ---- */

enum { CHURN = GW_NEXT_HOP_MAX + 500 };

static struct gw_ip churning(int i) {
        struct gw_ip ip = ip_of("10.97.0.0");

        ip.b[14] = (uint8_t)(i >> 8);
        ip.b[15] = (uint8_t)i;
        return ip;
}

static void lead(struct host *h, int vm, int locator, bool gone) {
        struct gw_forward entry = {.kind = GW_FORWARD_REMOTE, .locator = churning(locator), .epoch = 1};
        struct gw_mac mac = {{2, 7, 0, 0, (uint8_t)(vm >> 8), (uint8_t)vm}};

        assert_int_equal(gone ? gw_datapath_fdb_del(h->dp, VNI, mac) : gw_datapath_fdb_set(h->dp, VNI, mac, &entry), 0);
}

static int next_hops(const struct host *h) {
        int fd = map_open(h, "gw_next_hop"), n = 0;
        uint8_t key[16];

        for (int r = bpf_map_get_next_key(fd, NULL, key); !r; r = bpf_map_get_next_key(fd, key, key))
                n++;
        close(fd);
        return n;
}

static bool has_next_hop(const struct host *h, int locator) {
        struct gw_abi_next_hop hop;
        int fd = map_open(h, "gw_next_hop"), r = bpf_map_lookup_elem(fd, churning(locator).b, &hop);

        close(fd);
        return !r;
}

/* Hosts come and go, more than there is room for: those that entries lead to have a next hop, and no others. */
static void next_hops_are_those_in_use(void **state) {
        struct host *h = &((struct world *)*state)->hosts[0];
        int others = next_hops(h);

        for (int i = 0; i < CHURN; i++) {
                lead(h, 1, i, false); /* one VM, from host to host */
                lead(h, 2, i, false);
        }
        assert_int_equal(next_hops(h), others + 1);
        assert_true(has_next_hop(h, CHURN - 1));
        lead(h, 1, 0, true);
        assert_true(has_next_hop(h, CHURN - 1)); /* the other one is still there */
        lead(h, 2, 0, true);
        assert_int_equal(next_hops(h), others);
}

static void a_place_that_is_free_is_taken(void **state) {
        struct host *h = &((struct world *)*state)->hosts[0];
        int last = GW_NEXT_HOP_MAX + 9, back;
        struct gw_punt punt;

        for (int i = 0; i <= last; i++)
                lead(h, i, i, false);
        assert_int_equal(next_hops(h), GW_NEXT_HOP_MAX);
        assert_false(has_next_hop(h, last));
        for (int i = 0; i < last; i++)
                lead(h, i, i, true);
        host_enter(h, &back);
        assert_int_equal(gw_addr_add("lo", ip_of("10.96.0.1"), 32), 0); /* so that the routes are looked at */
        assert_int_equal(gw_netns_leave(back), 0);
        for (int i = 0; i < 500 && !has_next_hop(h, last); i++) {
                assert_int_equal(gw_datapath_punt_read(h->dp, &punt), GW_E_AGAIN);
                usleep(10000);
        }
        assert_true(has_next_hop(h, last));
        host_close(h);
        host_open(h); /* the next daemon counts those that outlived the last one */
        assert_true(has_next_hop(h, last));
        lead(h, last, last, true);
        assert_false(has_next_hop(h, last));
}

static struct gw_datapath_port port_of(struct host *h, const struct guest *g) {
        struct gw_datapath_port port;

        assert_int_equal(gw_datapath_port_get(h->dp, g->ifindex, &port), 0);
        return port;
}

/* Where a VM was cut over to, and did not arrive, counts for a while, also when the daemon begins anew meanwhile. */
static void a_port_that_was_taken_back_is_so_for_a_while(void **state) {
        struct world *w = *state;
        struct host *h = &w->hosts[0];
        struct guest *vm = guest_add(w, h, 1, true, true);
        struct gw_ip there = w->hosts[1].locator;
        struct gw_datapath_port attached = port_of(h, vm), back, again;
        uint64_t now_s = gw_mono_now().ns / GW_NS_PER_S;
        int before;

        assert_int_equal(gw_datapath_cut(h->dp, vm->ifindex, there, 2, false), 0);
        assert_int_equal(gw_datapath_port_flags(h->dp, vm->ifindex, 0, GW_PORT_MOVED), 0);
        back = port_of(h, vm);
        assert_true(back.flags & GW_PORT_BACK);
        assert_in_range(back.back_until_s, now_s + 60, now_s + 600);
        host_close(h);
        host_open(h);
        host_enter(h, &before);
        assert_int_equal(gw_datapath_port_set(h->dp, &attached), 0);
        again = port_of(h, vm);
        assert_true(again.flags & GW_PORT_BACK);
        assert_true(gw_ip_eq(again.moved_to, there));
        assert_int_equal(again.back_until_s, back.back_until_s);
        attached.flags |= GW_PORT_ARRIVING;
        assert_int_equal(gw_datapath_port_set(h->dp, &attached), 0);
        assert_int_equal(gw_netns_leave(before), 0);
        assert_false(port_of(h, vm).flags & GW_PORT_BACK);
}

static void vm_arrives(struct guest *at) {
        forward_set(at->host, at->mac, GW_FORWARD_LOCAL, at->ifindex, at->host->locator, 0);
        assert_int_equal(gw_datapath_port_flags(at->host->dp, at->ifindex, 0, GW_PORT_ARRIVING), 0);
}

static void vm_does_not_arrive(struct guest *at, struct gw_ip is) {
        struct gw_datapath_port port = port_of(at->host, at);
        int before;

        port.flags |= GW_PORT_RETURNING;
        port.moved_to = is;
        host_enter(at->host, &before);
        assert_int_equal(gw_datapath_port_set(at->host->dp, &port), 0);
        assert_int_equal(gw_netns_leave(before), 0);
}

/* `from` sends on, marked, a frame for its VM of one whom `to` knows elsewhere; it comes to the VM. */
static void sent_on_arrives(const struct guest *from, const struct guest *to, struct gw_ip sender_is_at) {
        const struct gw_mac sender = {{2, 0, 0, 0, 9, sender_is_at.b[15]}}; /* which never moves */
        uint64_t delivered = counter(to->host, GW_COUNT_DELIVERED), punted = counter(to->host, GW_COUNT_PUNTED);
        struct virtio_net_hdr vnet = {0};
        uint8_t got[2048];
        struct frame f;

        forward_set(to->host, sender, GW_FORWARD_REMOTE, 0, sender_is_at, 0);
        ipv4(&f, to->mac, sender, "10.1.0.99", "10.1.0.1", 17, 100);
        assert_int_equal(gw_datapath_inject(from->host->dp, GW_INJECT_DRAIN, from->ifindex, false, &vnet, f.b, f.size),
                         0);
        for (int i = 0; i < SOON_MS && counter(to->host, GW_COUNT_DELIVERED) == delivered; i++) {
                assert_int_equal(counter(to->host, GW_COUNT_PUNTED), punted);
                usleep(1000);
        }
        assert_int_equal(counter(to->host, GW_COUNT_DELIVERED), delivered + 1);
        assert_int_equal(counter(to->host, GW_COUNT_SOURCE_ELSEWHERE), 0);
        assert_true(readable(to->tap, SOON_MS));
        assert_int_equal(read(to->tap, got, sizeof got), sizeof vnet + f.size);
        assert_memory_equal(got + sizeof vnet, f.b, f.size);
}

/* From A to B, on to C, and taken back to B: A still redirects for those that have not heard of the first move, and C
 * sends back what followed the VM. */
static void both_former_places_send_on(void **state) {
        struct world *w = *state;
        struct host *A = &w->hosts[0], *B = &w->hosts[1], *C = &w->hosts[2];
        struct guest *at_a = guest_add(w, A, 1, true, false), *at_b = guest_arrive(w, at_a, B, 0), *at_c;
        struct gw_punt punt;

        (void)gw_datapath_punt_read(B->dp, &punt); /* from now on it could ask */
        assert_int_equal(gw_datapath_cut(A->dp, at_a->ifindex, B->locator, 2, false), 0);
        vm_arrives(at_b);
        sent_on_arrives(at_a, at_b, C->locator);
        at_c = guest_arrive(w, at_b, C, 0);
        assert_int_equal(gw_datapath_cut(B->dp, at_b->ifindex, C->locator, 3, false), 0);
        vm_does_not_arrive(at_c, B->locator);
        forward_set(B, at_b->mac, GW_FORWARD_LOCAL, at_b->ifindex, B->locator, 0);
        sent_on_arrives(at_a, at_b, C->locator);
        sent_on_arrives(at_c, at_b, A->locator);
        assert_int_equal(gw_datapath_port_flags(B->dp, at_b->ifindex, 0, GW_PORT_MOVED), 0);
        host_close(B); /* the next daemon finds the same */
        host_open(B);
        sent_on_arrives(at_a, at_b, C->locator);
        sent_on_arrives(at_c, at_b, A->locator);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(those_who_were_left_out_take_the_places_of_those_who_go),
                cmocka_unit_test(another_port_is_refused),
                cmocka_unit_test(the_queue_of_another_namespace_is_not_taken),
                cmocka_unit_test(pages_tell_what_is_rewritten_once),
                cmocka_unit_test(talkers_of_all_are_read_in_one_walk),
                cmocka_unit_test(next_hops_are_those_in_use),
                cmocka_unit_test(a_place_that_is_free_is_taken),
                cmocka_unit_test(a_port_that_was_taken_back_is_so_for_a_while),
                BOTH(both_former_places_send_on),
        };

        if (!worlds_begin(argc, argv))
                return 0;
        return cmocka_run_group_tests(tests, up_v4, worlds_end);
}
