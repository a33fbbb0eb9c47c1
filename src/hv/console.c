/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serial consoles are kept in a file for each VM, which the emulator appends to
 * and the guest fills as it likes. So is what the emulator itself has to say, of which a
 * guest that misuses its devices can make as many lines. What is beyond the bound is thrown away, so
 * that no guest can fill its host's disk; appending goes on from the new end.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "hv/hv.h"
#include "hypervisor/argv.h"

enum { CONSOLE_MAX_OCTETS = 4 << 20, LOOK_EVERY_S = 5 };

static void trim(const struct hv *hv, const struct hv_vm *vm, const char *name) {
        char path[600];
        struct stat file;

        snprintf(path, sizeof path, "%s/vm/%s/%s", hv->config->common.state_dir, vm->record.id.s, name);
        if (stat(path, &file) < 0 || file.st_size <= CONSOLE_MAX_OCTETS)
                return;
        gw_log_limited(GW_NOTICE, 3, "vm=%s %s has %lld octets; they are thrown away", vm->record.id.s, name,
                       (long long)file.st_size);
        if (truncate(path, 0) < 0)
                gw_log_limited(GW_WARNING, 3, "vm=%s cannot truncate %s: %s", vm->record.id.s, path, strerror(errno));
}

void hv_consoles_trim(struct hv *hv) {
        gw_list_for_each (link, &hv->vms) {
                const struct hv_vm *vm = gw_list_entry(link, struct hv_vm, link);

                trim(hv, vm, GW_QEMU_CONSOLE_FILE);
                trim(hv, vm, GW_QEMU_LOG_FILE);
        }
}

static void on_look(void *user) {
        hv_consoles_trim(user);
}

int hv_consoles_watch(struct hv *hv) {
        return gw_timer_new(&hv->consoles, hv->loop, gw_s(LOOK_EVERY_S), gw_s(LOOK_EVERY_S), on_look, hv);
}
