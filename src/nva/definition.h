/* SPDX-License-Identifier: Apache-2.0 */
/* A VM's definition as an operator gives it, checked member by member. */
#pragma once

#include <jansson.h>

#include "directory/directory.h"

enum {
        NVA_MEMORY_MIN_MIB = 16,
        NVA_MEMORY_MAX_MIB = 4 << 20,
        NVA_VCPUS_MAX = 255,
        NVA_DISKS_MAX = 8,
        NVA_PORTS_MAX = 8,
        NVA_PATH_MAX = 255,     /* octets */
        NVA_CMDLINE_MAX = 1023, /* octets */
        NVA_MODEL_MAX = 63,     /* octets */
};

/* Everything that gw_directory_vm_create needs. Holds the text it points to. */
struct nva_definition {
        struct gw_vm_spec spec;
        struct gw_name id;
        struct gw_name vns[NVA_PORTS_MAX];
        struct gw_port_spec ports[NVA_PORTS_MAX];
        char *text; /* canonical JSON without ports */
};

/* 0, or a code with *error naming the member, its value and what is allowed. Deinit in either case. */
int nva_definition_read(struct nva_definition *out, json_t *body, struct gw_error *error);
void nva_definition_deinit(struct nva_definition *definition);

/* name and tenant (default "default") of a body into an id. */
void nva_read_id(struct gw_json_reader *r, const char *key, struct gw_name *out);
/* vn, mac, addresses of a port. A VN without a tenant is of the tenant of `owner` (name@tenant). */
void nva_read_port(struct gw_json_reader *r, const struct gw_name *owner, struct gw_name *vn, struct gw_port_spec *out);
