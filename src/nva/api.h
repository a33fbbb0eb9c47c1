/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP API's routes, one file a noun; docs/openapi.yaml describes them. */
#pragma once

#include "io/api.h"
#include "nva/nva.h"

extern const struct gw_route nva_routes[];

/* NVEs have certificates of the same authority as people. */
bool api_admit(struct gw_request *request, void *user);

void api_tenants_list(struct gw_request *request, void *user);
void api_tenants_create(struct gw_request *request, void *user);
void api_tenants_show(struct gw_request *request, void *user);
void api_tenants_delete(struct gw_request *request, void *user);
void api_tenants_update(struct gw_request *request, void *user);

void api_rules_list(struct gw_request *request, void *user);
void api_rules_create(struct gw_request *request, void *user);
void api_rules_show(struct gw_request *request, void *user);
void api_rules_update(struct gw_request *request, void *user);
void api_rules_delete(struct gw_request *request, void *user);

void api_vns_list(struct gw_request *request, void *user);
void api_vns_create(struct gw_request *request, void *user);
void api_vns_show(struct gw_request *request, void *user);
void api_vns_delete(struct gw_request *request, void *user);
void api_vns_update(struct gw_request *request, void *user);
void api_vns_flush(struct gw_request *request, void *user);

void api_bindings_list(struct gw_request *request, void *user);
void api_bindings_show(struct gw_request *request, void *user);

void api_nves_list(struct gw_request *request, void *user);
void api_nves_create(struct gw_request *request, void *user);
void api_nves_show(struct gw_request *request, void *user);
void api_nves_update(struct gw_request *request, void *user);
void api_nves_delete(struct gw_request *request, void *user);

void api_nves_lost(struct gw_request *request, void *user);
void api_drain_show(struct gw_request *request, void *user);
void api_drain_begin(struct gw_request *request, void *user);
void api_drain_end(struct gw_request *request, void *user);

void api_vms_list(struct gw_request *request, void *user);
void api_vms_create(struct gw_request *request, void *user);
void api_vms_show(struct gw_request *request, void *user);
void api_vms_delete(struct gw_request *request, void *user);
void api_vms_start(struct gw_request *request, void *user);
void api_vms_stop(struct gw_request *request, void *user);
void api_vms_set(struct gw_request *request, void *user);
void api_vms_suspend(struct gw_request *request, void *user);
void api_vms_resume(struct gw_request *request, void *user);
void api_vms_move(struct gw_request *request, void *user);
void api_vms_plan(struct gw_request *request, void *user);

void api_ports_list(struct gw_request *request, void *user);
void api_ports_create(struct gw_request *request, void *user);
void api_ports_show(struct gw_request *request, void *user);
void api_ports_delete(struct gw_request *request, void *user);

void api_moves_list(struct gw_request *request, void *user);
void api_moves_show(struct gw_request *request, void *user);
void api_moves_cancel(struct gw_request *request, void *user);

void api_policies_list(struct gw_request *request, void *user);
void api_policies_create(struct gw_request *request, void *user);
void api_policies_show(struct gw_request *request, void *user);
void api_policies_delete(struct gw_request *request, void *user);
void api_gateways_list(struct gw_request *request, void *user);
void api_vns_pin(struct gw_request *request, void *user);

void api_audit_run(struct gw_request *request, void *user);
void api_audit_show(struct gw_request *request, void *user);
void api_trace(struct gw_request *request, void *user);

void api_events(struct gw_request *request, void *user);
void api_status(struct gw_request *request, void *user);

/* What handlers share (api.c). A look-up that fails has answered the request and gives NULL. */
struct gw_vm *api_vm(struct nva *nva, struct gw_request *request);
struct gw_vn *api_vn(struct nva *nva, struct gw_request *request);
struct gw_nve *api_nve(struct nva *nva, struct gw_request *request);
/* name or name@tenant from the path; false: answered. */
bool api_id(struct gw_request *request, const char *param, struct gw_name *out);
/* For requests whose body must be empty; false: answered. */
bool api_no_body(struct gw_request *request);
void api_not_found(struct gw_request *request, const char *what, const char *id, const char *hint);
