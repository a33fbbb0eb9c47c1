/* SPDX-License-Identifier: Apache-2.0 */
/* What carries a copy over TLS, from this agent's side. */
#pragma once

#include <stdbool.h>

#include "hypervisor/argv.h"

enum { HV_CARRIER_URI = GW_QMP_PATH_MAX + 8 };

struct gw_error;
struct hv;
struct hv_vm;

typedef void (*hv_carrier_done)(struct hv_vm *vm, const struct gw_error *error);

/* Starts one for the copy that the record tells of. Negative errno, or `done` is called once: it waits for the emulator
 * at hv_carrier_path, or says why it cannot. Not called after hv_carrier_drop. */
int hv_carrier_start(struct hv_vm *vm, hv_carrier_done done);
/* Ends one that is not ready yet. */
void hv_carrier_drop(struct hv_vm *vm);
/* The copy has failed, so it is about to end: `over` is called when it has, and has said why (carrier_error), or after
 * two seconds, unless the VM is gone or in another move by then. False: there is none, and nothing is called. */
bool hv_carrier_await_end(struct hv_vm *vm, void (*over)(struct hv_vm *vm));
int hv_carrier_path(const struct hv_vm *vm, char out[static GW_QMP_PATH_MAX + 1]);
/* The same for the emulator: one with a user of its own sees no more than the folder that it works in. */
void hv_carrier_uri(const struct hv_vm *vm, char out[static HV_CARRIER_URI]);
void hv_carriers_deinit(struct hv *hv); /* those that carry go on */
