/* SPDX-License-Identifier: Apache-2.0 */
/* Frames built octet by octet for the tests of the walks. Each function returns the size it wrote. */
#pragma once

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

#include "base/addr.h"
#include "base/cursor.h"

enum { FRAME_MAX = 4096, ARP = 0x0806, RARP = 0x8035, IPV4 = 0x0800, IPV6 = 0x86dd };

struct frame {
        uint8_t b[FRAME_MAX];
        size_t size;
        struct gw_writer w;
};

static inline struct gw_mac mac_of(int n) {
        return n < 0 ? (struct gw_mac){{255, 255, 255, 255, 255, 255}} : (struct gw_mac){{2, 0, 0, 0, 1, (uint8_t)n}};
}
static inline struct gw_ip ip_of(const char *text) {
        struct gw_ip ip = {0};
        (void)gw_ip_parse(text, &ip);
        return ip;
}

static inline void begin(struct frame *f, struct gw_mac to, struct gw_mac from, uint16_t type) {
        memset(f->b, 0, sizeof f->b);
        f->w = gw_writer(f->b, sizeof f->b);
        gw_put_bytes(&f->w, &to, 6);
        gw_put_bytes(&f->w, &from, 6);
        gw_put_u16(&f->w, type);
}
static inline void end(struct frame *f) {
        f->size = f->w.at;
}

static inline void arp(struct frame *f, struct gw_mac to, uint16_t op, struct gw_mac sha, const char *spa,
                       const char *tpa) {
        uint32_t s = gw_ip_v4(ip_of(spa)), t = gw_ip_v4(ip_of(tpa));

        begin(f, to, sha, op > 2 ? RARP : ARP);
        gw_put_u16(&f->w, 1);
        gw_put_u16(&f->w, IPV4);
        gw_put_u8(&f->w, 6);
        gw_put_u8(&f->w, 4);
        gw_put_u16(&f->w, op);
        gw_put_bytes(&f->w, &sha, 6);
        gw_put_bytes(&f->w, &s, 4);
        if (op > 2) /* RARP: whom it is about */
                gw_put_bytes(&f->w, &sha, 6);
        else
                gw_put_zero(&f->w, 6);
        gw_put_bytes(&f->w, &t, 4);
        end(f);
}

static inline void ipv4(struct frame *f, struct gw_mac to, struct gw_mac from, const char *source,
                        const char *destination, uint8_t protocol, size_t payload) {
        uint32_t s = gw_ip_v4(ip_of(source)), d = gw_ip_v4(ip_of(destination));

        begin(f, to, from, IPV4);
        gw_put_u16(&f->w, 0x4500);
        gw_put_u16(&f->w, (uint16_t)(20 + payload));
        gw_put_u32(&f->w, 0x4000);
        gw_put_u8(&f->w, 64);
        gw_put_u8(&f->w, protocol);
        gw_put_u16(&f->w, 0);
        gw_put_bytes(&f->w, &s, 4);
        gw_put_bytes(&f->w, &d, 4);
        gw_put_zero(&f->w, payload);
        end(f);
}

static inline void ipv6_header(struct frame *f, struct gw_mac to, struct gw_mac from, const char *source,
                               const char *destination, uint8_t next, uint8_t hops, size_t payload) {
        struct gw_ip s = ip_of(source), d = ip_of(destination);

        begin(f, to, from, IPV6);
        gw_put_u32(&f->w, 0x60000000);
        gw_put_u16(&f->w, (uint16_t)payload);
        gw_put_u8(&f->w, next);
        gw_put_u8(&f->w, hops);
        gw_put_bytes(&f->w, &s, 16);
        gw_put_bytes(&f->w, &d, 16);
}
static inline void ipv6(struct frame *f, struct gw_mac to, struct gw_mac from, const char *source,
                        const char *destination, uint8_t next, size_t payload) {
        ipv6_header(f, to, from, source, destination, next, 64, payload);
        gw_put_zero(&f->w, payload);
        end(f);
}

/* NS (135) or NA (136); option 0: none. */
static inline void nd(struct frame *f, struct gw_mac to, struct gw_mac from, const char *source,
                      const char *destination, uint8_t type, const char *target, uint8_t option,
                      struct gw_mac option_mac) {
        struct gw_ip t = ip_of(target);

        ipv6_header(f, to, from, source, destination, 58, 255, option ? 32 : 24);
        gw_put_u8(&f->w, type);
        gw_put_u8(&f->w, 0);
        gw_put_u16(&f->w, 0);
        gw_put_u32(&f->w, 0);
        gw_put_bytes(&f->w, &t, 16);
        if (option) {
                gw_put_u8(&f->w, option);
                gw_put_u8(&f->w, 1);
                gw_put_bytes(&f->w, &option_mac, 6);
        }
        end(f);
}

/* The ICMPv6 checksum as a receiver computes it (RFC 4443 section 2.3): 0xffff when right. */
static inline uint16_t icmpv6_sum(const uint8_t *frame, size_t size) {
        uint32_t sum = (uint32_t)(size - 54) + 58;

        for (size_t i = 22; i + 1 < size; i += 2)
                sum += (uint32_t)(frame[i] << 8 | frame[i + 1]);
        while (sum >> 16)
                sum = (sum & 0xffff) + (sum >> 16);
        return (uint16_t)sum;
}
