/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose a filter is. libbpf gives an eBPF filter its program's name and id,
 * "from_underlay:[12]", and the kernel tells it to whoever asks about the device.
 * The program itself is opened by its id only with CAP_SYS_ADMIN, which nobody
 * needs to have for the rest of what is done to filters.
 */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <string.h>

#include "io/netlink.h"
#include "io/rtnl.h"

struct wanted {
        const char *program;
        bool is;
};

static int on_option(const struct nlattr *attr, void *user) {
        struct wanted *wanted = user;
        size_t n = strlen(wanted->program);

        if (mnl_attr_get_type(attr) == TCA_BPF_NAME && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
                wanted->is = !strncmp(mnl_attr_get_str(attr), wanted->program, n) && mnl_attr_get_str(attr)[n] == ':';
        return MNL_CB_OK;
}

static int on_attribute(const struct nlattr *attr, void *user) {
        if (mnl_attr_get_type(attr) == TCA_OPTIONS)
                (void)mnl_attr_parse_nested(attr, on_option, user);
        return MNL_CB_OK;
}

static int on_filter(const struct nlmsghdr *message, void *user) {
        (void)mnl_attr_parse(message, sizeof(struct tcmsg), on_attribute, user);
        return 0;
}

bool gw_filter_is(int ifindex, uint16_t priority, uint32_t handle, const char *program) {
        struct wanted wanted = {.program = program};
        struct gw_rtnl_request request;
        struct tcmsg *tc = gw_rtnl_begin(&request, RTM_GETTFILTER, 0, sizeof *tc);

        tc->tcm_ifindex = ifindex;
        tc->tcm_handle = handle;
        tc->tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
        tc->tcm_info = TC_H_MAKE((uint32_t)priority << 16, htons(ETH_P_ALL));
        return gw_rtnl_query(&request, on_filter, &wanted) == 0 && wanted.is;
}
