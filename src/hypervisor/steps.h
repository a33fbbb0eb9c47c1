/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What QEMU is told, in which order, for a copy that leaves or arrives: lists of
 * commands, each {"execute", "arguments", "may_fail", "at_once", "now"}, carried out one
 * after the other (hypervisor/qemu.c) until one fails that may not; "at_once" is not
 * kept waiting for the answers to those before it. Pure.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

struct gw_vm_landing;
struct gw_vm_migration;
struct gw_vm_mirror;

json_t *gw_qemu_landing_steps(const struct gw_vm_landing *landing);
json_t *gw_qemu_forget_keys_steps(void);
json_t *gw_qemu_migrate_steps(const struct gw_vm_migration *to);
json_t *gw_qemu_mirror_steps(const struct gw_vm_mirror *mirror);
/* Ends the mirrors of these disks where they are: a consistent copy when they were in step, else nothing of use. */
json_t *gw_qemu_mirror_end_steps(unsigned disks, bool force);
json_t *gw_qemu_hang_up_steps(unsigned disks);
/* The connections that mirrors have left behind. */
json_t *gw_qemu_mirror_clear_steps(unsigned disks);
json_t *gw_qemu_break_off_steps(void);
json_t *gw_qemu_recover_steps(const char *uri);
json_t *gw_qemu_reconnect_steps(const char *uri);
