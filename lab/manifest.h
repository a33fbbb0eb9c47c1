/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a lab has made: namespaces, processes, mounts, guests. Each entry is on disk
 * before the thing exists, and removing goes through the list backwards.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct gw_error;

struct gw_manifest {
        char path[256];
        json_t *object; /* {name, hosts, underlay, mtu, ..., "items": [{kind, ...}]} */
};

int gw_manifest_new(struct gw_manifest *m, const char *path, json_t *head, struct gw_error *error); /* takes head */
int gw_manifest_load(struct gw_manifest *m, const char *path, struct gw_error *error);
void gw_manifest_deinit(struct gw_manifest *m);

json_t *gw_manifest_items(const struct gw_manifest *m); /* borrowed */
/* Takes item over; written to disk when this returns 0. */
int gw_manifest_add(struct gw_manifest *m, json_t *item, struct gw_error *error);
/* The first item whose members `key` (and `key2`, unless NULL) have these values; borrowed. */
json_t *gw_manifest_find(const struct gw_manifest *m, const char *kind, const char *key, const char *value,
                         const char *key2, const char *value2);
void gw_manifest_remove(struct gw_manifest *m, const json_t *item);
int gw_manifest_save(const struct gw_manifest *m, struct gw_error *error);

/* Processes in a manifest: {"kind": "process", "host", "daemon", "pid", "started"}. */
/* Starts argv in a network namespace, detached, with its output appended to `log`. */
int gw_lab_process_start(struct gw_manifest *m, const char *host, const char *daemon, const char *netns, char **argv,
                         const char *log, struct gw_error *error);
bool gw_lab_process_alive(const json_t *item); /* that very process: pid and time of start */
/* Sends a signal; 0 also when it is gone. */
int gw_lab_process_signal(const json_t *item, int signal);
/* Waits for all of them to be gone; what is left after limit_ms is killed. */
void gw_lab_process_end_all(json_t *items, unsigned limit_ms);
/* Kills whatever still runs in a network namespace (emulators, shells). */
void gw_lab_process_kill_in_netns(const char *netns);
