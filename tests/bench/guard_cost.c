/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard_cost: what the guards cost a frame, by the kernel's test-run, as JSON.
 *
 * The same frame of a port goes to a neighbour on the same host many thousand times,
 * while the port is guarded and limited and while it is trusted and has no limits; the
 * difference is the guards'. Rounds of the two take turns, and medians are compared, so
 * that what else the machine does falls on both. Tables are filled as on a host with many
 * ports, so that look-ups are not all of one entry. The port has as many addresses as there
 * is room for. "last": from the one that is compared last; all others, from the first or second.
 * ARP and ND are questions to a VM that is asked itself.
 *
 * `guards` is from one call of the kernel for all frames, as a device hands them to the
 * program in batches. `singly` is the same difference with a call for each frame, from the
 * kernel's statistics: what the call itself does to the processor's caches and
 * predictions comes on top of it, for guards as for all else.
 *
 *      {"guard_ns_per_packet": worst of all forms, "guard_ns_singly": likewise,
 *       "forms": {"ipv4_udp": {"guarded": ns, "trusted": ns, "guards": ns, "singly": ns}, ...}}
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "../bpf/frames.h"
#include "datapath/datapath.h"
#include "datapath/godwit.skel.h"

enum {
        VNI = 77,
        SENDER = 1,
        TARGET = 3,
        REPEAT = 100000,
        SINGLY = 4000,
        ROUNDS = 21,
        PORTS = 1000,
        PER_S = 500000000 /* more than it can be, so that nothing is dropped */
};
enum form { IPV4_UDP, IPV4_TCP, IPV4_LAST, IPV6_UDP, IPV6_TCP, IPV6_LAST, ARP_ASKS, ARP_LAST, ND_ASKS, ND_LAST, FORMS };
static const char *const form_names[FORMS] = {"ipv4_udp",  "ipv4_tcp", "ipv4_last", "ipv6_udp", "ipv6_tcp",
                                              "ipv6_last", "arp",      "arp_last",  "nd",       "nd_last"};

static struct godwit_bpf *bpf;

static void die(const char *what, int r) {
        fprintf(stderr, "guard_cost: %s: %s\n", what, strerror(-r));
        exit(1);
}

static void put(struct bpf_map *map, const void *key, const void *value) {
        int r = bpf_map_update_elem(bpf_map__fd(map), key, value, BPF_ANY);

        if (r)
                die(bpf_map__name(map), r);
}

static void port_put(uint32_t ifindex, int vm, uint32_t flags) {
        struct gw_abi_port port = {.vni = VNI, .mtu = 1500, .flags = flags};

        memcpy(port.mac, mac_of(vm).b, 6);
        for (int i = 0; i < GW_OWN4_MAX; i++)
                port.own4[i] = htonl(0x0a010001 + (uint32_t)i);
        memcpy(port.own6[0], ip_of(vm == 1 ? "fe80::ff:fe00:101" : "fe80::ff:fe00:102").b, 16);
        for (int i = 1; i < GW_OWN6_MAX; i++) {
                memcpy(port.own6[i], ip_of("fd01::").b, 16);
                port.own6[i][15] = (uint8_t)i;
        }
        for (int i = 0; i < GW_LIMIT_MAX && !(flags & GW_PORT_TRUSTED); i++)
                port.limits[i] = (struct gw_abi_limit){.per_s = PER_S, .burst = PER_S};
        put(bpf->maps.gw_ports, &ifindex, &port);
}

/* Ports of others. */
static void crowd(void) {
        for (uint32_t port = 100; port < 100 + PORTS; port++)
                port_put(port, 9, 0);
}

static void load(void) {
        struct gw_abi_config config = {.abi = GW_ABI_VERSION, .vxlan_ifindex = 1, .punt_ifindex = 1};
        struct gw_abi_forward local = {.kind = GW_FORWARD_LOCAL, .ifindex = TARGET, .epoch = 1};
        struct gw_abi_mac_key key = {.vni = VNI};
        struct bpf_map *map;
        uint32_t zero = 0;
        int r;

        bpf = godwit_bpf__open();
        if (!bpf)
                die("open", -errno);
        bpf_object__for_each_map(map, bpf->obj) bpf_map__set_pin_path(map, NULL);
        r = godwit_bpf__load(bpf);
        if (r)
                die("load", r);
        put(bpf->maps.gw_config, &zero, &config);
        port_put(TARGET, 2, 0);
        memcpy(key.mac, mac_of(2).b, 6);
        put(bpf->maps.gw_fdb, &key, &local);
        crowd();
}

static void frame_of(enum form form, struct frame *f) {
        uint8_t l4 = form == IPV4_TCP || form == IPV6_TCP ? 6 : 17;

        bool last = form == IPV4_LAST || form == IPV6_LAST || form == ARP_LAST || form == ND_LAST;
        const char *own4 = last ? "10.1.0.16" : "10.1.0.1", *own6 = last ? "fd01::10" : "fd01::1";

        if (form >= ND_ASKS)
                nd(f, mac_of(2), mac_of(1), own6, "fd01::99", 135, "fd01::99", 1, mac_of(1));
        else if (form >= ARP_ASKS)
                arp(f, mac_of(2), 1, mac_of(1), own4, "10.1.0.99");
        else if (form < IPV6_UDP)
                ipv4(f, mac_of(2), mac_of(1), own4, "10.1.0.99", l4, 100);
        else
                ipv6(f, mac_of(2), mac_of(1), own6, "fd01::99", l4, 100);
}

static uint32_t call(const struct frame *f, int repeat) {
        struct __sk_buff context = {.ifindex = SENDER};
        LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->b, .data_size_in = (uint32_t)f->size, .ctx_in = &context,
                    .ctx_size_in = sizeof context, .repeat = repeat);
        int r = bpf_prog_test_run_opts(bpf_program__fd(bpf->progs.from_guest), &opts);

        if (r)
                die("test-run", r);
        if (opts.retval != 7) /* TC_ACT_REDIRECT */
                die("a frame did not reach its neighbour", -EPROTO);
        return opts.duration;
}

static uint32_t together(const struct frame *f) {
        return call(f, REPEAT);
}

static uint32_t singly(const struct frame *f) {
        struct bpf_prog_info before = {0}, after = {0};
        uint32_t size = sizeof before;
        int fd = bpf_program__fd(bpf->progs.from_guest), r = bpf_obj_get_info_by_fd(fd, &before, &size);

        for (int i = 0; i < SINGLY; i++)
                call(f, 1);
        size = sizeof after;
        if (!r)
                r = bpf_obj_get_info_by_fd(fd, &after, &size);
        if (r || after.run_cnt == before.run_cnt)
                die("statistics", r);
        return (uint32_t)((after.run_time_ns - before.run_time_ns) / (after.run_cnt - before.run_cnt));
}

static int compare(const void *a, const void *b) {
        uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

        return (x > y) - (x < y);
}

static uint32_t median(uint32_t *values) {
        qsort(values, ROUNDS, sizeof *values, compare);
        return values[ROUNDS / 2];
}

struct cost {
        uint32_t guarded, trusted, guards;
};

static struct cost measure(const struct frame *f, uint32_t (*run)(const struct frame *f)) {
        uint32_t guarded[ROUNDS], trusted[ROUNDS];
        struct cost cost;

        for (int round = 0; round < ROUNDS; round++) {
                port_put(SENDER, 1, 0);
                guarded[round] = run(f);
                port_put(SENDER, 1, GW_PORT_TRUSTED);
                trusted[round] = run(f);
        }
        cost.guarded = median(guarded);
        cost.trusted = median(trusted);
        cost.guards = cost.guarded > cost.trusted ? cost.guarded - cost.trusted : 0;
        return cost;
}

int main(void) {
        uint32_t worst = 0, worst_singly = 0;
        struct frame f;
        int stats;

        if (if_nametoindex("lo") != SENDER || geteuid() != 0) {
                fprintf(stderr, "guard_cost: needs root\n");
                return 1;
        }
        load();
        printf("{\"forms\": {");
        for (int form = 0; form < FORMS; form++) {
                struct cost cost, one;

                frame_of((enum form)form, &f);
                cost = measure(&f, together);
                stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
                if (stats < 0)
                        die("statistics", stats);
                one = measure(&f, singly);
                close(stats);
                worst = cost.guards > worst ? cost.guards : worst;
                worst_singly = one.guards > worst_singly ? one.guards : worst_singly;
                printf("%s\"%s\": {\"guarded\": %u, \"trusted\": %u, \"guards\": %u, \"singly\": %u}", form ? ", " : "",
                       form_names[form], cost.guarded, cost.trusted, cost.guards, one.guards);
        }
        printf("}, \"guard_ns_per_packet\": %u, \"guard_ns_singly\": %u}\n", worst, worst_singly);
        godwit_bpf__destroy(bpf);
        return 0;
}
