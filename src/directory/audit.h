/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does an entry of an edge's caches contradict the directory? Pure; one entry at
 * a time, as edges and gateways show them (docs/audit.md).
 */
#pragma once

#include "directory/directory.h"

enum gw_audit_kind { GW_AUDIT_LOCAL = 1, GW_AUDIT_REMOTE, GW_AUDIT_MOVED, GW_AUDIT_ARRIVING };

struct gw_audit_forward {
        uint32_t vni;
        struct gw_mac mac;
        uint8_t kind; /* enum gw_audit_kind */
        struct gw_ip locator;
        uint64_t epoch;
};
struct gw_audit_neighbour {
        uint32_t vni;
        struct gw_ip ip;
        struct gw_mac mac;
};

enum gw_audit_verdict {
        GW_AUDIT_FITS,
        GW_AUDIT_SETTLING,    /* it differs, and what the edge is about to be told may end that */
        GW_AUDIT_CONTRADICTS, /* it differs, and nothing is on the way */
};
enum { GW_AUDIT_TEXT = 200, GW_AUDIT_SETTLE_MS = 3000 };
struct gw_audit_finding {
        uint8_t verdict;    /* enum gw_audit_verdict */
        const char *why;    /* a word: "unknown", "elsewhere", "nowhere", "epoch", "not-here", "no-move", "other-mac" */
        struct gw_vm *vm;   /* whose entry it is; NULL: nobody's */
        struct gw_ip truth; /* where it is; unspecified: nowhere */
        struct gw_mac mac;  /* of an address: whose it is; zero: nobody's */
        char text[GW_AUDIT_TEXT];
};

void gw_directory_audit_forward(const struct gw_directory *d, const struct gw_nve *nve,
                                const struct gw_audit_forward *entry, struct gw_now now, struct gw_audit_finding *out);
void gw_directory_audit_neighbour(const struct gw_directory *d, const struct gw_nve *nve,
                                  const struct gw_audit_neighbour *entry, struct gw_now now,
                                  struct gw_audit_finding *out);

/* Tells the NVE where the VM is, also when it was told before: it has just forgotten. */
void gw_directory_tell_again(struct gw_directory *d, struct gw_vm *vm, struct gw_nve *nve, struct gw_now now);
