/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What outlives the agent has a control group of its own, a scope of systemd. In
 * that of the agent's service `systemctl kill godwit-hv` would end every VM, one
 * VM out of memory would be the service's failure, and each start would warn of
 * processes that are left over.
 *
 * A process is born in the agent's control group and moved by systemd when it is
 * asked to over D-Bus, a few milliseconds later. Nobody waits for that: a process
 * that stays (no D-Bus, systemd refuses) lives as well, KillMode=process leaves it
 * alone at stop and restart, and the next agent that adopts it asks again.
 *
 * Only a process that systemd itself has started asks (SYSTEMD_EXEC_PID is its pid):
 * neither in a laboratory nor under another supervisor is there anything to do.
 *
 * The scope is ordered before the service, so that at a shutdown the agent ends
 * first, and does not take the VMs that are ended then for crashed ones. The name ends in the
 * pid: the scope of an emulator that has just ended may not have gone yet.
 */
#include "hv/scope.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-login.h>
#include <unistd.h>

#include "base/log.h"
#include "io/file.h"

enum { CALL_US = 10 * 1000 * 1000, LOG_BURST = 5, GROUP_MAX = 16384 };

struct hv_scopes {
        sd_event *event;
        sd_bus *bus; /* opened when needed; NULL: not now */
        char *unit;  /* our own */
};

char *hv_scopes_unit(void) {
        const char *started = getenv("SYSTEMD_EXEC_PID");
        char *unit = NULL;

        if (started && strtol(started, NULL, 10) == getpid())
                (void)sd_pid_get_unit(0, &unit);
        return unit;
}

int hv_scopes_new(struct hv_scopes **out, sd_event *event, const char *unit) {
        struct hv_scopes *scopes;

        *out = NULL;
        if (!unit)
                return 0;
        scopes = calloc(1, sizeof *scopes);
        if (!scopes || !(scopes->unit = strdup(unit))) {
                free(scopes);
                return -ENOMEM;
        }
        scopes->event = sd_event_ref(event);
        *out = scopes;
        return 0;
}

static void hang_up(struct hv_scopes *scopes) {
        if (scopes->bus)
                sd_bus_detach_event(scopes->bus);
        scopes->bus = sd_bus_close_unref(scopes->bus);
}

void hv_scopes_free(struct hv_scopes *scopes) {
        if (!scopes)
                return;
        hang_up(scopes);
        sd_event_unref(scopes->event);
        free(scopes->unit);
        free(scopes);
}

void hv_scope_name(char out[static HV_SCOPE_NAME], const char *kind, const char *id, pid_t pid) {
        char escaped[HV_SCOPE_NAME - 64];
        size_t n = 0;

        for (const char *at = id; *at && n + sizeof "\\x00" <= sizeof escaped; at++) {
                if (isalnum((unsigned char)*at) || *at == '-' || *at == '_' || *at == '.')
                        escaped[n++] = *at;
                else
                        n += (size_t)snprintf(escaped + n, sizeof escaped - n, "\\x%02x", (unsigned char)*at);
        }
        escaped[n] = 0;
        snprintf(out, HV_SCOPE_NAME, "godwit-%.8s-%s-%d.scope", kind, escaped, (int)pid);
}

/* ---- one request ---- */

static char *group_of(pid_t pid) {
        char path[64], *text = NULL;

        snprintf(path, sizeof path, "/proc/%d/cgroup", (int)pid);
        return gw_file_read(path, GROUP_MAX, &text, NULL) ? NULL : text;
}

static bool is_with_us(pid_t pid) {
        char *theirs = group_of(pid), *ours = group_of(getpid());
        bool is = theirs && ours && !strcmp(theirs, ours);

        free(theirs);
        free(ours);
        return is;
}

static int connected(struct hv_scopes *scopes) {
        int r;

        if (scopes->bus && sd_bus_is_open(scopes->bus) > 0)
                return 0;
        hang_up(scopes);
        r = sd_bus_open_system(&scopes->bus);
        if (r >= 0)
                r = sd_bus_attach_event(scopes->bus, scopes->event, SD_EVENT_PRIORITY_NORMAL);
        if (r < 0)
                hang_up(scopes);
        return r;
}

static void refused(const char *name, const char *reason) {
        gw_log_limited(
                GW_WARNING, LOG_BURST,
                "%s was not made: %s; the process stays in the agent's control group, and systemctl kill would end it",
                name, reason);
}

static int on_answer(sd_bus_message *answer, void *name, sd_bus_error *ignored) {
        const sd_bus_error *error = sd_bus_message_get_error(answer);

        (void)ignored;
        if (error)
                refused(name, error->message ? error->message : error->name);
        return 0;
}

static int compose(struct hv_scopes *scopes, sd_bus_message **out, const char *name, const char *id, pid_t pid) {
        sd_bus_message *m = NULL;
        int r = sd_bus_message_new_method_call(scopes->bus, &m, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                                               "org.freedesktop.systemd1.Manager", "StartTransientUnit");

        if (r >= 0)
                r = sd_bus_message_append(m, "ssa(sv)a(sa(sv))", name, "fail", 6,   /* properties: */
                                          "Description", "s", id,                   /**/
                                          "Slice", "s", "machine.slice",            /**/
                                          "Before", "as", 1, scopes->unit,          /**/
                                          "CollectMode", "s", "inactive-or-failed", /**/
                                          "TasksMax", "t", UINT64_MAX,              /**/
                                          "PIDs", "au", 1, (uint32_t)pid, 0 /* other units */);
        if (r < 0)
                sd_bus_message_unref(m);
        else
                *out = m;
        return r;
}

/* Takes over the name. */
static int ask(struct hv_scopes *scopes, sd_bus_message *m, char *name) {
        sd_bus_slot *slot = NULL;
        int r = sd_bus_call_async(scopes->bus, &slot, m, on_answer, name, CALL_US);

        if (r < 0) {
                free(name);
                return r;
        }
        sd_bus_slot_set_destroy_callback(slot, free);
        sd_bus_slot_set_floating(slot, true);
        sd_bus_slot_unref(slot);
        return 0;
}

void hv_scopes_put(struct hv_scopes *scopes, const char *kind, const char *id, pid_t pid) {
        char name[HV_SCOPE_NAME];
        sd_bus_message *m = NULL;
        char *copy;
        int r;

        if (!scopes || !is_with_us(pid))
                return;
        hv_scope_name(name, kind, id, pid);
        r = connected(scopes);
        if (r >= 0)
                r = compose(scopes, &m, name, id, pid);
        if (r >= 0) {
                copy = strdup(name);
                r = copy ? ask(scopes, m, copy) : -ENOMEM;
        }
        if (r < 0)
                refused(name, strerror(-r));
        sd_bus_message_unref(m);
}
