/* SPDX-License-Identifier: Apache-2.0 */
/* io/netlink: links, addresses, routes and namespaces, in two namespaces of the test's own. Needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io/netlink.h"

#define ok(expression) assert_int_equal(expression, 0)

static char names[2][32];
static int back = -1, other = -1;

static int leave(void **state) {
        (void)state;
        if (other >= 0)
                close(other);
        if (back >= 0)
                (void)gw_netns_leave(back);
        back = other = -1;
        for (int i = 0; i < 2; i++)
                (void)gw_netns_del(names[i]);
        return 0;
}

static int enter(void **state) {
        (void)leave(state);
        for (int i = 0; i < 2; i++) {
                snprintf(names[i], sizeof names[i], "gwn-%d-%d", getpid(), i);
                ok(gw_netns_add(names[i]));
        }
        ok(gw_netns_enter(names[0], &back));
        other = gw_netns_open(names[1]);
        assert_true(other >= 0);
        return 0;
}

static struct gw_ip ip(const char *text) {
        struct gw_ip out;
        ok(gw_ip_parse(text, &out));
        return out;
}

static void namespaces(void **state) {
        struct gw_link link;

        (void)state;
        assert_int_equal(gw_netns_add(names[0]), -EEXIST);
        assert_int_equal(gw_netns_add("a/b"), -EINVAL);
        assert_int_equal(gw_netns_open("gwn-none"), -ENOENT);
        ok(gw_link_get("lo", &link));
        assert_true(link.up);
        assert_int_equal(link.index, 1);
        ok(gw_netns_del("gwn-none"));
}

static void links(void **state) {
        struct gw_mac mac = {{2, 0, 0, 0, 0, 9}};
        struct gw_link link;
        int tap;

        (void)state;
        ok(gw_bridge_add("br0"));
        ok(gw_veth_add("v0", "v1", other));
        ok(gw_link_set_master("v0", "br0"));
        ok(gw_link_set_mtu("v0", 1600));
        ok(gw_link_set_queue("v0", 777));
        ok(gw_link_set_mac("v0", mac));
        ok(gw_link_no_addrgen("v0"));
        ok(gw_link_up("v0"));
        ok(gw_link_get("v0", &link));
        assert_string_equal(link.kind, "veth");
        assert_true(link.up && link.peer_elsewhere && !link.carrier);
        assert_int_equal(link.mtu, 1600);
        assert_int_equal(link.qlen, 777);
        assert_int_equal(link.master, gw_link_index("br0"));
        assert_memory_equal(&link.mac, &mac, 6);
        ok(gw_link_set_master("v0", NULL));
        ok(gw_link_down("v0"));
        ok(gw_link_rename("v0", "v9"));
        assert_int_equal(gw_link_index("v0"), -ENODEV);
        ok(gw_link_set_netns("v9", other));
        assert_int_equal(gw_link_delete("v9"), -ENODEV);
        assert_int_equal(gw_link_index("a-name-of-16-oct"), -EINVAL);

        tap = gw_tap_open("t0", true, true);
        assert_true(tap >= 0);
        assert_int_equal(gw_tap_open("t0", true, true), -EBUSY);
        close(tap);
        ok(gw_link_delete("t0"));
        ok(gw_vxlan_add("vx0", 4789, false));
        assert_int_equal(gw_vxlan_add("vx0", 4789, false), -EEXIST);
        ok(gw_link_up("vx0"));
        ok(gw_vxlan_add("vx1", 4790, true));
        ok(gw_link_up("vx1"));
}

static void routes(void **state) {
        struct gw_ip via4 = ip("10.0.0.254"), via6 = ip("fd00::fe");
        struct gw_mac mac = {{2, 0, 0, 0, 0, 9}};
        struct gw_prefix to;

        (void)state;
        ok(gw_bridge_add("br0"));
        ok(gw_link_up("br0"));
        ok(gw_addr_add("br0", ip("10.0.0.1"), 24));
        ok(gw_addr_add("br0", ip("10.0.0.1"), 24));
        ok(gw_addr_add("br0", ip("fd00::1"), 64));
        ok(gw_route_add(NULL, &via4, NULL));
        ok(gw_route_add(NULL, &via6, "br0"));
        ok(gw_route_add(NULL, &via6, "br0"));
        ok(gw_prefix_parse("10.5.0.0/16", &to));
        ok(gw_route_add(&to, &via4, NULL));
        ok(gw_route_del(&to, &via4, NULL));
        assert_int_equal(gw_route_del(&to, &via4, NULL), -ESRCH);
        assert_int_equal(gw_route_add(NULL, NULL, "br0"), -EINVAL);
        ok(gw_neigh_add("br0", via4, mac));
        ok(gw_neigh_add("br0", via6, mac));
        ok(gw_neigh_del("br0", via6));
        assert_int_equal(gw_neigh_del("br0", via6), -ENOENT);
        ok(gw_addr_del("br0", ip("10.0.0.1"), 24));
        assert_int_equal(gw_addr_del("br0", ip("10.0.0.1"), 24), -EADDRNOTAVAIL);
        ok(gw_sysctl_write("net/ipv4/ip_forward", "1"));
        assert_int_equal(gw_sysctl_write("../version", "1"), -EINVAL);
}

struct seen {
        int made, gone;
        uint32_t mtu;
};

static void event(const struct gw_link *link, bool gone, void *user) {
        struct seen *seen = user;

        if (strcmp(link->name, "v0") != 0)
                return;
        seen->made += !gone;
        seen->gone += gone;
        seen->mtu = link->mtu;
}

static void events(void **state) {
        struct gw_link_watch *watch;
        struct seen seen = {0};

        (void)state;
        ok(gw_link_watch_new(&watch));
        ok(gw_link_watch_read(watch, event, &seen));
        assert_int_equal(seen.made, 0);
        ok(gw_veth_add("v0", "v1", -1));
        ok(gw_link_set_mtu("v0", 1400));
        ok(gw_link_watch_read(watch, event, &seen));
        assert_true(seen.made >= 2);
        assert_int_equal(seen.mtu, 1400);
        ok(gw_link_delete("v0"));
        ok(gw_link_watch_read(watch, event, &seen));
        assert_int_equal(seen.gone, 1);
        gw_link_watch_free(watch);
        gw_link_watch_free(NULL);
}

/* With that privilege, or for now without it. */
static void set_sys_admin(bool on) {
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

        ok(syscall(SYS_capget, &header, data));
        if (on)
                data[0].effective |= 1U << CAP_SYS_ADMIN;
        else
                data[0].effective &= ~(1U << CAP_SYS_ADMIN);
        ok(syscall(SYS_capset, &header, data));
}

/* As the edge does where its unit gives it no more than it needs. */
static void the_present_namespace_without_privilege(void **state) {
        int here = gw_netns_open(NULL), old = -1, r, elsewhere;

        (void)state;
        assert_true(here >= 0);
        set_sys_admin(false);
        r = gw_netns_enter_fd(here, &old);
        if (!r)
                r = gw_netns_leave(old);
        elsewhere = gw_netns_enter_fd(other, NULL);
        set_sys_admin(true);
        close(here);
        assert_int_equal(r, 0);
        assert_int_equal(elsewhere, -EPERM);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(the_present_namespace_without_privilege, enter, leave),
                cmocka_unit_test_setup_teardown(namespaces, enter, leave),
                cmocka_unit_test_setup_teardown(links, enter, leave),
                cmocka_unit_test_setup_teardown(routes, enter, leave),
                cmocka_unit_test_setup_teardown(events, enter, leave),
        };

        if (geteuid() != 0) {
                printf("1..0 # SKIP needs root\n");
                return 0;
        }
        return cmocka_run_group_tests(tests, NULL, NULL);
}
