/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's words for run states and migration statuses, and what they mean to an
 * agent. Several of QEMU's are one of ours; a word that is not known is treated
 * as unknown, never as running.
 */
#include "hypervisor/status.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

enum gw_vm_run gw_qemu_run(const char *word) {
        static const struct {
                const char *word;
                enum gw_vm_run run;
        } words[] = {
                {"running", GW_VM_RUN_RUNNING},    {"paused", GW_VM_RUN_PAUSED},
                {"prelaunch", GW_VM_RUN_PAUSED},   {"finish-migrate", GW_VM_RUN_PAUSED},
                {"inmigrate", GW_VM_RUN_INCOMING}, {"postmigrate", GW_VM_RUN_LEFT},
                {"shutdown", GW_VM_RUN_DOWN},      {"guest-panicked", GW_VM_RUN_DOWN},
                {"suspended", GW_VM_RUN_RUNNING},  {"internal-error", GW_VM_RUN_PAUSED},
                {"io-error", GW_VM_RUN_PAUSED},    {"watchdog", GW_VM_RUN_PAUSED},
        };

        for (size_t i = 0; word && i < sizeof words / sizeof *words; i++)
                if (strcmp(words[i].word, word) == 0)
                        return words[i].run;
        return GW_VM_RUN_UNKNOWN;
}

enum gw_vm_copy gw_qemu_copy(const char *word) {
        static const struct {
                const char *word;
                enum gw_vm_copy copy;
        } words[] = {
                {"setup", GW_VM_COPY_ACTIVE},
                {"active", GW_VM_COPY_ACTIVE},
                {"device", GW_VM_COPY_DEVICE},
                {"pre-switchover", GW_VM_COPY_PRE_SWITCHOVER},
                {"failed", GW_VM_COPY_FAILED},
                {"completed", GW_VM_COPY_COMPLETED},
                {"cancelling", GW_VM_COPY_ACTIVE},
                {"cancelled", GW_VM_COPY_CANCELLED},
                {"postcopy-active", GW_VM_COPY_POSTCOPY},
                {"postcopy-paused", GW_VM_COPY_BROKEN},
                {"postcopy-recover", GW_VM_COPY_POSTCOPY},
        };

        for (size_t i = 0; word && i < sizeof words / sizeof *words; i++)
                if (strcmp(words[i].word, word) == 0)
                        return words[i].copy;
        return GW_VM_COPY_NONE;
}

static uint64_t number(json_t *object, const char *key) {
        json_t *value = json_object_get(object, key);
        double d = json_number_value(value);

        return d > 0 ? (uint64_t)d : 0;
}

void gw_qemu_read_copy(struct gw_vm_status *status, json_t *value) {
        json_t *ram = json_object_get(value, "ram");
        const char *reason = json_string_value(json_object_get(value, "error-desc"));

        status->copy = gw_qemu_copy(json_string_value(json_object_get(value, "status")));
        status->progress = (struct gw_vm_progress){
                .transferred_octets = number(ram, "transferred"),
                .remaining_octets = number(ram, "remaining"),
                .total_octets = number(ram, "total"),
                .rate_octets_s = number(ram, "mbps") * 125000,
                .dirty_pages_s = number(ram, "dirty-pages-rate"),
                .iteration = number(ram, "dirty-sync-count"),
        };
        snprintf(status->reason, sizeof status->reason, "%s", reason ? reason : "");
        gw_text_mend(status->reason);
}

static unsigned disk_of(const char *job) {
        unsigned disk;

        return job && sscanf(job, "mirror%u", &disk) == 1 && disk < GW_DEFINITION_DISKS_MAX ? disk : UINT_MAX;
}

void gw_qemu_read_jobs(struct gw_vm_status *status, json_t *value) {
        json_t *job;
        size_t i;

        status->mirrors = status->mirrors_ready = 0;
        status->disk_done_octets = status->disk_total_octets = 0;
        json_array_foreach (value, i, job) {
                unsigned disk = disk_of(json_string_value(json_object_get(job, "device")));

                if (disk == UINT_MAX)
                        continue;
                status->mirrors |= 1U << disk;
                if (json_is_true(json_object_get(job, "ready")))
                        status->mirrors_ready |= 1U << disk;
                status->disk_done_octets += number(job, "offset");
                status->disk_total_octets += number(job, "len");
        }
}

bool gw_qemu_read_mirror(const char *event, json_t *data, unsigned *disk, enum gw_vm_mirror_state *state) {
        static const struct {
                const char *event;
                enum gw_vm_mirror_state state;
        } events[] = {{"BLOCK_JOB_READY", GW_VM_MIRROR_READY},
                      {"BLOCK_JOB_COMPLETED", GW_VM_MIRROR_ENDED},
                      {"BLOCK_JOB_CANCELLED", GW_VM_MIRROR_ENDED}};

        *disk = disk_of(json_string_value(json_object_get(data, "device")));
        for (size_t i = 0; *disk != UINT_MAX && i < sizeof events / sizeof *events; i++) {
                if (strcmp(events[i].event, event))
                        continue;
                *state = json_object_get(data, "error") ? GW_VM_MIRROR_FAILED : events[i].state;
                return true;
        }
        return false;
}
