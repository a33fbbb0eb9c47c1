/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a target can be connected to, before its emulator's client is told to. */
#pragma once

struct gw_error;
struct hv_vm;

typedef void (*hv_reach_done)(struct hv_vm *vm, const struct gw_error *error);

/* Connects to where the record's move sends disks. `done` is called once, perhaps at once; not after hv_reach_drop. */
void hv_reach_nbd(struct hv_vm *vm, hv_reach_done done);
void hv_reach_drop(struct hv_vm *vm);
