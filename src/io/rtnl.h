/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the netlink files: one rtnetlink request and its answer. */
#pragma once

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <stdint.h>

struct gw_link;

enum { GW_RTNL_REQUEST_MAX = 1024 };

struct gw_rtnl_request {
        union {
                struct nlmsghdr header;
                char bytes[GW_RTNL_REQUEST_MAX];
        };
};

/* Begins a request of that type with `extra` octets of family header, zeroed, which it returns. */
void *gw_rtnl_begin(struct gw_rtnl_request *request, uint16_t type, uint16_t flags, size_t extra);
int gw_rtnl_ask(struct gw_rtnl_request *request); /* sends, waits for the acknowledgement */
/* Sends and calls back with each message of the answer; non-zero from `each` stops it and is returned. */
int gw_rtnl_query(struct gw_rtnl_request *request, int (*each)(const struct nlmsghdr *message, void *user), void *user);

int gw_link_name_check(const char *name);                                /* 0 or -EINVAL */
int gw_link_decode(const struct nlmsghdr *message, struct gw_link *out); /* 0 or -EINVAL */
