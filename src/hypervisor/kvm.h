/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether KVM runs a stock kernel here. The device file alone says nothing:
 * there are machines where it exists and guests hang in their first instructions.
 */
#pragma once

#include <stdbool.h>
#include <systemd/sd-event.h>

struct gw_kvm_probe;
struct gw_user;

enum { GW_KVM_PROBE_MS = 15000 };

/* Boots `kernel` under KVM, in `directory`, until it speaks on its serial
 * console or the time is over. run_as: see gw_process_setting. `done` is called once, later, never after
 * gw_kvm_probe_free. Negative errno when the probe cannot be run. */
int gw_kvm_probe_new(struct gw_kvm_probe **out, sd_event *event, const char *qemu, const char *kernel,
                     const char *directory, const struct gw_user *run_as,
                     void (*done)(bool works, const char *reason, void *user), void *user);
void gw_kvm_probe_free(struct gw_kvm_probe *probe);
