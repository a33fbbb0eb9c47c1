/* SPDX-License-Identifier: Apache-2.0 */
#include "base/addr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"

static const uint8_t v4_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool gw_ip_is_v4(struct gw_ip ip) {
        return memcmp(ip.b, v4_mapped, sizeof v4_mapped) == 0;
}

struct gw_ip gw_ip_from_v4(uint32_t be) {
        struct gw_ip ip;

        memcpy(ip.b, v4_mapped, sizeof v4_mapped);
        memcpy(ip.b + 12, &be, 4);
        return ip;
}

uint32_t gw_ip_v4(struct gw_ip ip) {
        uint32_t be = 0;

        if (gw_ip_is_v4(ip))
                memcpy(&be, ip.b + 12, 4);
        return be;
}

bool gw_ip_is_unspecified(struct gw_ip ip) {
        static const struct gw_ip zero;

        return gw_ip_eq(ip, zero) || (gw_ip_is_v4(ip) && gw_ip_v4(ip) == 0);
}

bool gw_ip_is_unicast(struct gw_ip ip) {
        static const struct gw_ip loopback6 = {{[15] = 1}};

        if (gw_ip_is_unspecified(ip) || gw_ip_eq(ip, loopback6))
                return false;
        if (gw_ip_is_v4(ip))
                return ip.b[12] != 0 && ip.b[12] != 127 && ip.b[12] < 224;
        return ip.b[0] != 0xff;
}

/* The first `bits` bits of a and b are the same. */
static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits) {
        unsigned octets = bits / 8, rest = bits % 8;

        if (memcmp(a, b, octets) != 0)
                return false;
        return rest == 0 || ((a[octets] ^ b[octets]) >> (8 - rest)) == 0;
}

bool gw_prefix_contains(const struct gw_prefix *p, struct gw_ip ip) {
        return same_bits(p->ip.b, ip.b, p->bits);
}

bool gw_prefix_overlap(const struct gw_prefix *a, const struct gw_prefix *b) {
        return same_bits(a->ip.b, b->ip.b, a->bits < b->bits ? a->bits : b->bits);
}

static int hex_digit(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        c |= 0x20;
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int gw_mac_parse(const char *text, struct gw_mac *out) {
        struct gw_mac m;
        int high, low;

        if (strlen(text) != 17)
                return GW_E_INVALID;
        for (size_t i = 0; i < sizeof m.b; i++, text += 3) {
                high = hex_digit(text[0]);
                low = hex_digit(text[1]);
                if (high < 0 || low < 0 || text[2] != (i < 5 ? ':' : 0))
                        return GW_E_INVALID;
                m.b[i] = (uint8_t)(high << 4 | low);
        }
        *out = m;
        return 0;
}

int gw_ip_parse(const char *text, struct gw_ip *out) {
        struct gw_ip ip;
        uint32_t be;

        if (inet_pton(AF_INET, text, &be) == 1)
                ip = gw_ip_from_v4(be);
        else if (inet_pton(AF_INET6, text, ip.b) != 1)
                return GW_E_INVALID;
        *out = ip;
        return 0;
}

size_t gw_ip_parse_list(const char *text, struct gw_ip *out, size_t max) {
        char word[GW_IP_TEXT];
        size_t n = 0, size;

        for (text += strspn(text, " "); *text && n < max; text += size, text += strspn(text, " ")) {
                size = strcspn(text, " ");
                if (size >= sizeof word)
                        return SIZE_MAX;
                memcpy(word, text, size);
                word[size] = 0;
                if (gw_ip_parse(word, &out[n]) || !gw_ip_is_unicast(out[n]))
                        return SIZE_MAX;
                n++;
        }
        return *text ? SIZE_MAX : n;
}

/* A decimal number 0..max with nothing around it. */
static int number_parse(const char *text, unsigned long max, unsigned long *out) {
        char *end;
        unsigned long n;

        if (*text < '0' || *text > '9' || strlen(text) > 9)
                return GW_E_INVALID;
        n = strtoul(text, &end, 10);
        if (*end || n > max)
                return GW_E_INVALID;
        *out = n;
        return 0;
}

int gw_prefix_parse(const char *text, struct gw_prefix *out) {
        char copy[GW_PREFIX_TEXT], *slash;
        struct gw_prefix p;
        unsigned long bits;

        if (strlen(text) >= sizeof copy)
                return GW_E_INVALID;
        strcpy(copy, text);
        slash = strchr(copy, '/');
        if (!slash)
                return GW_E_INVALID;
        *slash = 0;
        if (gw_ip_parse(copy, &p.ip) || number_parse(slash + 1, gw_ip_is_v4(p.ip) ? 32 : 128, &bits))
                return GW_E_INVALID;
        p.bits = (uint8_t)(gw_ip_is_v4(p.ip) ? bits + 96 : bits);
        for (unsigned bit = p.bits; bit < 128; bit++)
                if (p.ip.b[bit / 8] & (0x80 >> bit % 8))
                        return GW_E_INVALID;
        *out = p;
        return 0;
}

int gw_endpoint_parse(const char *text, struct gw_endpoint *out) {
        char copy[GW_ENDPOINT_TEXT], *host = copy, *colon;
        struct gw_endpoint e;
        unsigned long port;

        if (strlen(text) >= sizeof copy)
                return GW_E_INVALID;
        strcpy(copy, text);
        colon = strrchr(copy, ':');
        if (!colon || number_parse(colon + 1, 65535, &port))
                return GW_E_INVALID;
        *colon = 0;
        if (*host == '[' && colon[-1] == ']') {
                host++;
                colon[-1] = 0;
        } else if (strchr(host, ':')) {
                return GW_E_INVALID;
        }
        if (gw_ip_parse(host, &e.ip))
                return GW_E_INVALID;
        e.port = (uint16_t)port;
        *out = e;
        return 0;
}

static bool name_ok(const char *s, size_t n) {
        if (n == 0 || n > GW_NAME_MAX || s[0] == '-' || s[n - 1] == '-')
                return false;
        for (size_t i = 0; i < n; i++)
                if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9') || s[i] == '-'))
                        return false;
        return true;
}

int gw_name_parse(const char *text, struct gw_name *out) {
        size_t n = strlen(text);

        if (!name_ok(text, n))
                return GW_E_INVALID;
        memset(out, 0, sizeof *out);
        memcpy(out->s, text, n);
        return 0;
}

int gw_id_parse(const char *text, struct gw_name *out) {
        const char *at = strchr(text, '@'), *tenant = at ? at + 1 : "default";
        size_t n = at ? (size_t)(at - text) : strlen(text), m = strlen(tenant);

        if (!name_ok(text, n) || !name_ok(tenant, m) || n + 1 + m > GW_NAME_MAX)
                return GW_E_INVALID;
        memset(out, 0, sizeof *out);
        memcpy(out->s, text, n);
        out->s[n] = '@';
        memcpy(out->s + n + 1, tenant, m);
        return 0;
}

const char *gw_mac_text(struct gw_mac m, char out[static GW_MAC_TEXT]) {
        snprintf(out, GW_MAC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", m.b[0], m.b[1], m.b[2], m.b[3], m.b[4], m.b[5]);
        return out;
}

const char *gw_ip_text(struct gw_ip ip, char out[static GW_IP_TEXT]) {
        if (gw_ip_is_v4(ip))
                inet_ntop(AF_INET, ip.b + 12, out, GW_IP_TEXT);
        else
                inet_ntop(AF_INET6, ip.b, out, GW_IP_TEXT);
        return out;
}

const char *gw_prefix_text(const struct gw_prefix *p, char out[static GW_PREFIX_TEXT]) {
        char ip[GW_IP_TEXT];

        snprintf(out, GW_PREFIX_TEXT, "%s/%d", gw_ip_text(p->ip, ip), gw_ip_is_v4(p->ip) ? p->bits - 96 : p->bits);
        return out;
}

const char *gw_endpoint_text(const struct gw_endpoint *e, char out[static GW_ENDPOINT_TEXT]) {
        char ip[GW_IP_TEXT];

        snprintf(out, GW_ENDPOINT_TEXT, gw_ip_is_v4(e->ip) ? "%s:%u" : "[%s]:%u", gw_ip_text(e->ip, ip), e->port);
        return out;
}
