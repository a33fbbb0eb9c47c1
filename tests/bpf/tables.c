/* SPDX-License-Identifier: Apache-2.0 */
/* The tables and devices of a data plane as they change over its life: more members than a flood list takes, another port. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include <bpf/bpf.h>
#include <unistd.h>

#include "frames.h"
#include "world.h"

enum { MEMBERS = GW_FLOOD_MAX + 6, VNI = 77 };

static struct world world;

static int up(void **state) {
        *state = &world;
        world_up(&world, false);
        return 0;
}
static int down(void **state) {
        world_down(*state);
        return 0;
}

static struct gw_ip member(int i) {
        char text[GW_IP_TEXT];

        snprintf(text, sizeof text, "10.98.0.%d", i + 1);
        return ip_of(text);
}

/* Who gets the group frames of the VN. */
static struct gw_abi_flood listed(const struct host *h) {
        struct gw_abi_flood list = {0};
        uint32_t vni = VNI;
        char path[96];
        int fd;

        snprintf(path, sizeof path, "%s/gw_flood", h->pins);
        fd = bpf_obj_get(path);
        assert_true(fd >= 0);
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

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(those_who_were_left_out_take_the_places_of_those_who_go),
                cmocka_unit_test(another_port_is_refused),
        };
        const char *why_not;

        if (!world_possible(&why_not)) {
                printf("1..0 # SKIP %s\n", why_not);
                return 0;
        }
        return cmocka_run_group_tests(tests, up, down);
}
