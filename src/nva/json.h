/* SPDX-License-Identifier: Apache-2.0 */
/* Objects as people and agents see them (docs/architecture.md, "Objects"). New references throughout. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "nva/nva.h"

json_t *nva_json_tenant(const struct gw_tenant *tenant);
enum { NVA_VN_LIMIT_MAX = 1000000 };
extern const char *const nva_vn_limit_words[GW_VN_LIMITS]; /* members of "limits" of a VN */
enum { NVA_VN_ABSENT = 3 };
extern const char *const nva_vn_absent_words[NVA_VN_ABSENT]; /* "absent" of a VN */
extern const uint32_t nva_vn_absent_flags[NVA_VN_ABSENT];    /* their enum gw_vn_flag */
json_t *nva_json_vn(const struct gw_vn *vn);
extern const char *const nva_permit_words[GW_PERMITS]; /* "gateway" and "claims" of an NVE */
json_t *nva_json_nve(const struct gw_nve *nve);
json_t *nva_json_port(const struct gw_port *port);
json_t *nva_json_addresses(const struct gw_port *port);
json_t *nva_json_binding(const struct gw_vm *vm);
json_t *nva_json_vm(const struct nva *nva, const struct gw_vm *vm);
/* What an agent gets: the definition with each port's id, vni and mtu. */
json_t *nva_json_definition(const struct gw_vm *vm);

/* A member's text; "" when it is absent or not a text. */
const char *nva_json_text(const json_t *object, const char *key);
/* The peer went or did not answer in time: nobody knows whether the call was carried out. */
bool nva_json_no_answer(int status, const json_t *body);
