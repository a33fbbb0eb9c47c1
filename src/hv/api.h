/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the agent's API share. */
#pragma once

#include <stdbool.h>

struct gw_json_reader;
struct gw_request;
struct hv_move;
struct hv_vm;
struct hv;

void hv_api_fail(struct gw_request *request, int code, const char *field, const char *format, ...)
        __attribute__((format(printf, 4, 5)));
/* The VM that a route names. NULL: answered already. */
struct hv_vm *hv_api_named(struct gw_request *request, struct hv *hv);
/* May it be told so? Orders must not act on what a VM was before we were restarted; one that `ends` its emulator in any
 * case may, once that has had its time to speak. False: answered already. */
bool hv_api_may_order(struct gw_request *request, struct hv_vm *vm, bool ends);
/* Both, for orders that do not. */
struct hv_vm *hv_api_ordered(struct gw_request *request, struct hv *hv);
/* What both sides of a copy are told alike: who the other one is (the member `peer`), and how to copy. */
void hv_api_read_ways(struct gw_json_reader *r, const char *peer, struct hv_move *move);

/* suspend.c: routes */
void hv_api_suspend(struct gw_request *request, void *user);
void hv_api_continue(struct gw_request *request, void *user);

/* api_moves.c: routes, POST /v1/vms/{vm}/... */
void hv_api_migrate(struct gw_request *request, void *user);
void hv_api_cancel(struct gw_request *request, void *user);
void hv_api_finish(struct gw_request *request, void *user);
void hv_api_abandon(struct gw_request *request, void *user);
void hv_api_resume(struct gw_request *request, void *user);
void hv_api_survey(struct gw_request *request, void *user);
void hv_api_recover(struct gw_request *request, void *user);
void hv_api_reconnect(struct gw_request *request, void *user);
