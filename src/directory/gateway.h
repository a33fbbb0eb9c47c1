/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gateways and policies: which VNs may be routed to which, and by whom.
 *
 * Nothing is routed without a policy. A policy names a VN and another one, or the
 * outside. A VN that has gateway addresses and is named by a policy is routed, by
 * every NVE that has the role of a gateway: each is a member of it, and the other
 * members are told which of them are gateways, which live, and what each costs.
 */
#pragma once

#include "directory/directory.h"

enum {
        GW_POLICIES_MAX = 4096,
        GW_SITE_COST = 1000,   /* of a gateway at another site than the host's */
        GW_PIN_COST = 1000000, /* of any other than the one that the VN is pinned to */
        GW_UNREACHED_MAX = 64,
        GW_WAYS_MAX = 8192, /* in the list that a gateway is told, which one frame must hold */
};

struct gw_policy {
        struct gw_name name;
        struct gw_vn *from, *to; /* to NULL: the outside */
        bool one_way;            /* only packets from `from`; else also back */
};

struct gw_policy *gw_directory_policy(const struct gw_directory *d, const char *name);
struct gw_policy *gw_directory_policy_after(const struct gw_directory *d, const char *name);
/* to NULL: the outside. GW_E_CONFLICT when two VNs that can be reached from one would have the same addresses. */
int gw_directory_policy_create(struct gw_directory *d, const char *name, struct gw_vn *from, struct gw_vn *to,
                               bool one_way, struct gw_now now, struct gw_policy **out, struct gw_error *error);
void gw_directory_policy_delete(struct gw_directory *d, struct gw_policy *policy, struct gw_now now);

/* It is routed: it has gateway addresses, and a policy names it. */
bool gw_directory_vn_is_routed(const struct gw_vn *vn);
/* The gateway that hosts at nve use for the VN; NULL: none. */
const struct gw_nve *gw_directory_gateway_of(const struct gw_vn *vn, const struct gw_nve *nve);
/* The hosts that use a gateway, and for which VNs: those that fit, by VN and host. */
struct gw_gateway_user {
        const struct gw_vn *vn;
        const struct gw_nve *nve;
};
struct gw_gateway_users {
        struct gw_gateway_user *list; /* the caller's, of max */
        size_t max, n;
        size_t looks; /* members that may be looked at; what is left of that */
        bool more;    /* there may be others */
};
void gw_directory_gateway_users(const struct gw_nve *gateway, struct gw_gateway_users *users);
/* What hosts at nve reckon that gateway's cost for the VN to be. */
uint32_t gw_directory_gateway_cost(const struct gw_vn *vn, const struct gw_nve *gateway, const struct gw_nve *nve);
bool gw_directory_gateway_lives(const struct gw_nve *gateway);
/* It is being told something new. */
void gw_directory_gateway_told(struct gw_directory *d, struct gw_nve *nve, struct gw_now now);
/* It routes by what it was told last; false: it has refused that, or not answered. */
void gw_directory_gateway_took(struct gw_directory *d, struct gw_nve *nve, bool took, struct gw_now now);
/* It lives, and does not serve a VN yet that it routes. */
bool gw_directory_gateway_arrives(const struct gw_nve *gateway);
/* It has arrived: it and the members of its VNs have confirmed each other. Before that nobody uses it who has another. */
bool gw_directory_gateway_serves(const struct gw_directory *d, const struct gw_vn *vn, const struct gw_nve *gateway);
/* It answers hosts at nve, or nobody says otherwise. */
bool gw_directory_gateway_answers(const struct gw_nve *gateway, const struct gw_nve *nve);
/* What a GW_REPORT_PATHS says; nothing with each new session. */
void gw_directory_unreached(struct gw_nve *nve, const struct gw_ip *locators, size_t n);
/* The policy by which packets of the VN may go to an address that is in none of its own subnets, and where: *to is the
 * VN, NULL the outside. NULL: no policy leads there. */
const struct gw_policy *gw_directory_way(const struct gw_directory *d, const struct gw_vn *from, struct gw_ip ip,
                                         const struct gw_vn **to);
/* All hosts use this one while it lives, wherever they are; NULL: each uses its nearest. */
void gw_directory_gateway_pin(struct gw_directory *d, struct gw_vn *vn, const struct gw_nve *nve, struct gw_now now);
