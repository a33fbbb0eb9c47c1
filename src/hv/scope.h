/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that outlive the agent, in control groups of their own. */
#pragma once

#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

enum { HV_SCOPE_NAME = 256, HV_SCOPES_PAUSE_MS = 3000 };

struct hv_scopes;

char *hv_scopes_unit(
        void); /* of the agent: "godwit-hv.service"; NULL when systemd did not start this process. The caller's */
/* No unit: no scopes. pause_ms: before what came to nothing is asked again. */
int hv_scopes_new(struct hv_scopes **out, sd_event *event, const char *unit, uint32_t pause_ms);
void hv_scopes_free(struct hv_scopes *scopes); /* the control groups stay */
/* Asks for it, and does not wait. `kind` is "vm" or "copy", `id` the VM's. Nothing when scopes is NULL, or the process is in
 * another control group than the agent. */
void hv_scopes_put(struct hv_scopes *scopes, const char *kind, const char *id, pid_t pid);

/* "godwit-vm-web\x40default-4711.scope": as systemd writes what a unit's name may not hold. Cut off when too long. */
void hv_scope_name(char out[static HV_SCOPE_NAME], const char *kind, const char *id, pid_t pid);
