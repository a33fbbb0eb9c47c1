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
 * An agent that starts may find thousands of VMs, and dbus-daemon lets nobody wait for more than 128 answers at once. So
 * UNDERWAY_MAX requests are under way, and the others wait for the answers to those. One that came to nothing (an error, no
 * answer, no bus) is made again after a pause, TRIES times in all. That systemd has such a scope already is an answer: the
 * request before was carried out, and nobody heard of it.
 *
 * A request is in one of the three lists, and lives until it is answered, given up, or its process is no longer with us.
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

#include "base/list.h"
#include "base/log.h"
#include "io/file.h"

enum { CALL_US = 10 * 1000 * 1000, LOG_BURST = 5, GROUP_MAX = 16384, UNDERWAY_MAX = 64, TRIES = 5 };

struct request {
        struct gw_list link;
        struct hv_scopes *scopes;
        sd_bus_slot *slot; /* while it is under way */
        pid_t pid;
        unsigned tries; /* that are left */
        char name[HV_SCOPE_NAME];
        char id[];
};

struct hv_scopes {
        sd_event *event;
        sd_event_source *pause; /* NULL: not running */
        sd_bus *bus;            /* opened when needed; NULL: not now */
        struct gw_list waiting, underway, failed;
        unsigned n_underway;
        uint32_t pause_ms;
        char unit[]; /* our own */
};

char *hv_scopes_unit(void) {
        const char *started = getenv("SYSTEMD_EXEC_PID");
        char *unit = NULL;

        if (started && strtol(started, NULL, 10) == getpid())
                (void)sd_pid_get_unit(0, &unit);
        return unit;
}

int hv_scopes_new(struct hv_scopes **out, sd_event *event, const char *unit, uint32_t pause_ms) {
        struct hv_scopes *scopes;

        *out = NULL;
        if (!unit)
                return 0;
        scopes = calloc(1, sizeof *scopes + strlen(unit) + 1);
        if (!scopes)
                return -ENOMEM;
        strcpy(scopes->unit, unit);
        scopes->pause_ms = pause_ms;
        scopes->event = sd_event_ref(event);
        gw_list_init(&scopes->waiting);
        gw_list_init(&scopes->underway);
        gw_list_init(&scopes->failed);
        *out = scopes;
        return 0;
}

static void request_take(struct request *request) {
        if (request->slot)
                request->scopes->n_underway--;
        request->slot = sd_bus_slot_unref(request->slot);
        gw_list_remove(&request->link);
}

static void request_free(struct request *request) {
        request_take(request);
        free(request);
}

static void free_all(struct gw_list *list) {
        gw_list_for_each (link, list)
                request_free(gw_list_entry(link, struct request, link));
}

static void disconnect(struct hv_scopes *scopes) {
        if (scopes->bus)
                sd_bus_detach_event(scopes->bus);
        scopes->bus = sd_bus_close_unref(scopes->bus);
}

void hv_scopes_free(struct hv_scopes *scopes) {
        if (!scopes)
                return;
        free_all(&scopes->waiting);
        free_all(&scopes->underway);
        free_all(&scopes->failed);
        disconnect(scopes);
        sd_event_source_disable_unref(scopes->pause);
        sd_event_unref(scopes->event);
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

static void serve(struct hv_scopes *scopes);

static int on_pause(sd_event_source *source, uint64_t usec, void *user) {
        struct hv_scopes *scopes = user;

        (void)source, (void)usec;
        scopes->pause = sd_event_source_unref(scopes->pause);
        gw_list_for_each (link, &scopes->failed) {
                gw_list_remove(link);
                gw_list_append(&scopes->waiting, link);
        }
        serve(scopes);
        return 0;
}

/* Without it those that wait are served with the next one that comes. */
static void pause_then_serve(struct hv_scopes *scopes) {
        if (scopes->pause)
                return;
        if (sd_event_add_time_relative(scopes->event, &scopes->pause, CLOCK_MONOTONIC, scopes->pause_ms * 1000ULL, 0,
                                       on_pause, scopes) < 0)
                scopes->pause = NULL;
}

static void come_to_nothing(struct request *request, const char *reason) {
        request_take(request);
        if (--request->tries) {
                gw_list_append(&request->scopes->failed, &request->link);
                pause_then_serve(request->scopes);
                return;
        }
        gw_log_limited(
                GW_WARNING, LOG_BURST,
                "%s was not made: %s; the process stays in the agent's control group, and systemctl kill would end it",
                request->name, reason);
        request_free(request);
}

static int connected(struct hv_scopes *scopes) {
        int r;

        if (scopes->bus && sd_bus_is_open(scopes->bus) > 0)
                return 0;
        gw_list_for_each (link, &scopes->underway)
                come_to_nothing(gw_list_entry(link, struct request, link), "the connection to the system bus ended");
        disconnect(scopes);
        r = sd_bus_open_system(&scopes->bus);
        if (r >= 0)
                r = sd_bus_attach_event(scopes->bus, scopes->event, SD_EVENT_PRIORITY_NORMAL);
        if (r < 0)
                disconnect(scopes);
        return r;
}

static int on_answer(sd_bus_message *answer, void *user, sd_bus_error *ignored) {
        const sd_bus_error *error = sd_bus_message_get_error(answer);
        struct request *request = user;
        struct hv_scopes *scopes = request->scopes;

        (void)ignored;
        if (!error || sd_bus_error_has_name(error, "org.freedesktop.systemd1.UnitExists"))
                request_free(request);
        else
                come_to_nothing(request, error->message ? error->message : error->name);
        if (sd_bus_is_open(scopes->bus) > 0)
                serve(scopes);
        else
                pause_then_serve(scopes); /* a connection that ends is not changed for another in its own callback */
        return 0;
}

static int compose(const struct request *request, sd_bus_message **out) {
        struct hv_scopes *scopes = request->scopes;
        sd_bus_message *m = NULL;
        int r = sd_bus_message_new_method_call(scopes->bus, &m, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                                               "org.freedesktop.systemd1.Manager", "StartTransientUnit");

        if (r >= 0)
                r = sd_bus_message_append(m, "ssa(sv)a(sa(sv))", request->name, "fail", 6, /* properties: */
                                          "Description", "s", request->id,                 /**/
                                          "Slice", "s", "machine.slice",                   /**/
                                          "Before", "as", 1, scopes->unit,                 /**/
                                          "CollectMode", "s", "inactive-or-failed",        /**/
                                          "TasksMax", "t", UINT64_MAX,                     /**/
                                          "PIDs", "au", 1, (uint32_t)request->pid, 0 /* other units */);
        if (r < 0)
                sd_bus_message_unref(m);
        else
                *out = m;
        return r;
}

static int send(struct request *request) {
        struct hv_scopes *scopes = request->scopes;
        sd_bus_message *m = NULL;
        int r = connected(scopes);

        if (r >= 0)
                r = compose(request, &m);
        if (r >= 0)
                r = sd_bus_call_async(scopes->bus, &request->slot, m, on_answer, request, CALL_US);
        sd_bus_message_unref(m);
        if (r < 0)
                return r;
        gw_list_remove(&request->link);
        gw_list_append(&scopes->underway, &request->link);
        scopes->n_underway++;
        return 0;
}

static void serve(struct hv_scopes *scopes) {
        while (!gw_list_empty(&scopes->waiting) && scopes->n_underway < UNDERWAY_MAX) {
                struct request *request = gw_list_entry(scopes->waiting.next, struct request, link);
                int r = 0;

                if (!is_with_us(request->pid))
                        request_free(request);
                else if ((r = send(request)) < 0)
                        come_to_nothing(request, strerror(-r));
        }
}

void hv_scopes_put(struct hv_scopes *scopes, const char *kind, const char *id, pid_t pid) {
        struct request *request;

        if (!scopes || !is_with_us(pid))
                return;
        request = calloc(1, sizeof *request + strlen(id) + 1);
        if (!request) {
                gw_log_limited(GW_WARNING, LOG_BURST, "vm=%s no scope is asked for: no memory", id);
                return;
        }
        strcpy(request->id, id);
        hv_scope_name(request->name, kind, id, pid);
        request->scopes = scopes;
        request->pid = pid;
        request->tries = TRIES;
        gw_list_append(&scopes->waiting, &request->link);
        serve(scopes);
}
