/* SPDX-License-Identifier: Apache-2.0 */
/* Where the tap gate (hypervisor/tapgate.c) lies: as configured, or beside the agent, as built or as installed. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "hv/hv.h"

#define GATE_FILE "godwit-tapgate.so"

/* The loader of an emulator that cannot read it goes on without. */
static bool can_read(const struct hv *hv) {
        int fd = gw_user_open(&hv->user, hv->tap_gate, O_RDONLY);

        if (fd >= 0)
                close(fd);
        return fd >= 0;
}

static bool found(struct hv *hv, const char *format, const char *folder) {
        snprintf(hv->tap_gate, sizeof hv->tap_gate, format, folder);
        return can_read(hv);
}

void hv_find_tap_gate(struct hv *hv) {
        char program[sizeof hv->tap_gate / 2] = "", *slash;
        ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);

        if (hv->config->tap_gate[0]) {
                if (found(hv, "%s", hv->config->tap_gate))
                        return;
        } else if (n > 0 && (slash = strrchr(program, '/'))) {
                *slash = '\0';
                if (found(hv, "%s/" GATE_FILE, program) || found(hv, "%s/../hypervisor/" GATE_FILE, program) ||
                    found(hv, "%s/../lib/godwit/" GATE_FILE, program) ||
                    found(hv, "%s/../lib/x86_64-linux-gnu/godwit/" GATE_FILE, program))
                        return;
        }
        hv->tap_gate[0] = '\0';
        gw_log(GW_WARNING, "no " GATE_FILE "%s%s that %s may read: %s; set tap-gate",
               hv->config->tap_gate[0] ? " at " : "", hv->config->tap_gate, hv->user.uid ? hv->user.name : "the agent",
               hv->user.uid ? "no QEMU is started, for a VM of this host or one that arrives"
                            : "a moving VM may lose a frame at its stop");
}

/* It is what keeps emulators of one user from each other's memory (decision 94): none of them runs without. */
int hv_gate_check(const struct hv_vm *vm, struct gw_error *error) {
        const struct hv *hv = vm->hv;

        if (!hv_vm_is_qemu(vm) || (hv->tap_gate[0] && can_read(hv)))
                return 0;
        return gw_fail(error, GW_E_CONFLICT, "emulator",
                       "emulators run as user %s here, who cannot read " GATE_FILE
                       ", which keeps them apart: %s; install it where that user can, or set tap-gate",
                       hv->user.name, hv->tap_gate[0] ? hv->tap_gate : "it was not found when the agent started");
}
