/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses and names. All octets are in network order, as on the wire.
 *
 * struct gw_ip holds both families in 16 octets: an IPv4 address a.b.c.d is
 * ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2), so that every map, record and
 * comparison has one shape. A locator is a gw_ip: the underlay address of an NVE.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct gw_error;

struct gw_mac {
        uint8_t b[6];
};
struct gw_ip {
        uint8_t b[16];
};
struct gw_prefix {
        struct gw_ip ip;
        uint8_t bits;
}; /* bits 0..128, of the 16-octet form */
struct gw_endpoint {
        struct gw_ip ip;
        uint16_t port;
}; /* port in host order */

enum {
        GW_VNI_MAX = 0xffffff,
        GW_NAME_MAX = 63, /* octets of a name or of name@tenant, without the final 0 */
        GW_MAC_TEXT = 18,
        GW_IP_TEXT = 46,
        GW_PREFIX_TEXT = 50,
        GW_ENDPOINT_TEXT = 56,
};

/* A name is [a-z0-9]([a-z0-9-]*[a-z0-9])?, at most 63 octets; an id of a VM or
 * VN is "name@tenant" and keeps to the same total bound. */
struct gw_name {
        char s[GW_NAME_MAX + 1];
};

static inline bool gw_ip_eq(struct gw_ip a, struct gw_ip b) {
        return memcmp(&a, &b, sizeof a) == 0;
}
static inline bool gw_mac_eq(struct gw_mac a, struct gw_mac b) {
        return memcmp(&a, &b, sizeof a) == 0;
}
static inline bool gw_name_eq(const struct gw_name *a, const struct gw_name *b) {
        return strcmp(a->s, b->s) == 0;
}
static inline bool gw_mac_is_group(struct gw_mac m) {
        return m.b[0] & 1;
}

bool gw_ip_is_v4(struct gw_ip ip);
bool gw_ip_is_unspecified(struct gw_ip ip); /* ::, or 0.0.0.0 in its mapped form */
bool gw_ip_is_unicast(struct gw_ip ip);     /* neither unspecified, loopback, multicast nor broadcast */
struct gw_ip gw_ip_from_v4(uint32_t be);    /* be: network order */
uint32_t gw_ip_v4(struct gw_ip ip);         /* network order; 0 when ip is not IPv4 */
bool gw_prefix_contains(const struct gw_prefix *p, struct gw_ip ip);
bool gw_prefix_overlap(const struct gw_prefix *a, const struct gw_prefix *b);

/* Parsers: 0, or GW_E_INVALID with *out untouched. A prefix must have no host bits set. */
int gw_mac_parse(const char *text, struct gw_mac *out);
int gw_ip_parse(const char *text, struct gw_ip *out);
/* Unicast addresses, separated by spaces: how many. SIZE_MAX: one is none, or there are more than `max`. */
size_t gw_ip_parse_list(const char *text, struct gw_ip *out, size_t max);
int gw_prefix_parse(const char *text, struct gw_prefix *out);
int gw_endpoint_parse(const char *text, struct gw_endpoint *out); /* 192.0.2.1:80, [2001:db8::1]:80 */
int gw_name_parse(const char *text, struct gw_name *out);         /* a plain name */
int gw_id_parse(const char *text, struct gw_name *out);           /* name[@tenant]; @default is added */

/* Formatters write into a caller's buffer of at least GW_*_TEXT octets and return it. */
const char *gw_mac_text(struct gw_mac m, char out[static GW_MAC_TEXT]);
const char *gw_ip_text(struct gw_ip ip, char out[static GW_IP_TEXT]);
const char *gw_prefix_text(const struct gw_prefix *p, char out[static GW_PREFIX_TEXT]);
const char *gw_endpoint_text(const struct gw_endpoint *e, char out[static GW_ENDPOINT_TEXT]);
