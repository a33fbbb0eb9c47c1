/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU's states in words and in JSON, as ours. Pure. */
#pragma once

#include <jansson.h>

#include "hypervisor/driver.h"

enum gw_vm_run gw_qemu_run(const char *word);   /* of query-status; word may be NULL */
enum gw_vm_copy gw_qemu_copy(const char *word); /* of query-migrate and MIGRATION; word may be NULL */
/* Fills in copy, progress and reason from what query-migrate returned. */
void gw_qemu_read_copy(struct gw_vm_status *status, json_t *value);
/* The same of mirrors, from what query-block-jobs returned. */
void gw_qemu_read_jobs(struct gw_vm_status *status, json_t *value);
/* Whether an event tells of the mirror of a disk. */
bool gw_qemu_read_mirror(const char *event, json_t *data, unsigned *disk, enum gw_vm_mirror_state *state);
