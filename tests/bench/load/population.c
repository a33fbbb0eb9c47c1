/* SPDX-License-Identifier: Apache-2.0 */
/* Who is where: arithmetic only, so that the store and the NVEs agree without telling each other. */
#include <arpa/inet.h>
#include <stdio.h>

#include "load.h"

struct gw_name population_vm(const struct population *p, uint32_t i) {
        struct gw_name name = {0};

        (void)p;
        snprintf(name.s, sizeof name.s, "vm-%07u@default", i);
        return name;
}

struct gw_name population_nve(uint32_t n) {
        struct gw_name name = {0};

        snprintf(name.s, sizeof name.s, "n%u", n);
        return name;
}

struct gw_ip population_locator(uint32_t n) {
        return gw_ip_from_v4(htonl(UINT32_C(0xac100001) + n)); /* from 172.16.0.1 on */
}

struct gw_ip population_ip(const struct population *p, uint32_t i) {
        return gw_ip_from_v4(htonl(UINT32_C(0x0a000000) | (i % p->vns) << 16 | (i / p->vns + 2)));
}

struct gw_mac population_mac(uint32_t i) {
        return (struct gw_mac){{0x52, 0x54, (uint8_t)(i >> 24), (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i}};
}

uint32_t population_vni(const struct population *p, uint32_t i) {
        return LOAD_VNI_FIRST + i % p->vns;
}

uint32_t population_place(const struct population *p, uint32_t i) {
        return i / p->vns % p->nves;
}

uint32_t population_share(const struct population *p) {
        return p->vms / (p->vns * p->nves) * p->vns;
}

uint32_t population_of_nve(const struct population *p, uint32_t n, uint32_t k) {
        return (k / p->vns * p->nves + n) * p->vns + k % p->vns;
}
