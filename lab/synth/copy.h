/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A move between two synthetic emulators, as QEMU does one: its statuses, its
 * events and their order, and its ways to fail.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <systemd/sd-event.h>

struct copy;

/* What a copy does to its emulator. */
struct copy_ops {
        void (*event)(const char *name, json_t *data, void *user); /* data is taken over */
        void (*stop)(void *user);                                  /* the guest, with a STOP event */
        void (*go)(void *user);                                    /* the guest, with a RESUME event */
        void (*arrived)(bool run, void *user);                     /* destination: all is here; as it left */
        void (*left)(void *user);                                  /* source: all is over there */
        void (*lost)(void *user);                                  /* destination: it failed; end */
};

int copy_new(struct copy **out, sd_event *event, const struct copy_ops *ops, void *user, unsigned pause_ms,
             unsigned copy_ms);
void copy_set_pause_before_switchover(struct copy *copy, bool on);
/* NULL, or what is wrong. */
const char *copy_listen(struct copy *copy, const char *uri);
const char *copy_send(struct copy *copy, const char *uri, bool running);
const char *copy_continue(struct copy *copy);
void copy_cancel(struct copy *copy);
json_t *copy_query(const struct copy *copy);
void copy_free(struct copy *copy);
