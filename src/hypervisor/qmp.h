/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A QMP client on the event loop: JSON objects, one per line, over a unix
 * socket. Commands carry ids and deadlines and are answered exactly once, also
 * when the connection is lost; events are handed up in the order of arrival.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "base/error.h"
#include "base/time.h"

enum {
        GW_QMP_LINE_MAX = 1 << 20, /* octets of one message; longer ends the connection */
        GW_QMP_CONNECT_MS = 20000, /* how long the socket may take to appear */
        GW_QMP_COMMAND_DEADLINE_MS = 10000,
};

/* Cuts a stream into lines of JSON. Pure; also used by those who serve QMP. */
struct gw_qmp_lines {
        char *buffer;
        size_t used, size;
};
/* Takes octets and calls `each` for every whole object. 0, or -EBADMSG (not JSON, not an object), -EMSGSIZE,
 * -ENOMEM, or what `each` returned other than 0. */
int gw_qmp_lines_feed(struct gw_qmp_lines *lines, const char *octets, size_t n, int (*each)(json_t *object, void *user),
                      void *user);
void gw_qmp_lines_deinit(struct gw_qmp_lines *lines);

struct gw_qmp;

struct gw_qmp_ops {
        void (*ready)(struct gw_qmp *qmp, void *user); /* greeted, commands are accepted */
        void (*event)(struct gw_qmp *qmp, const char *name, json_t *data, struct gw_wall at, void *user);
        /* Lost, or never came about. No callback afterwards; free it, also from here. */
        void (*closed)(struct gw_qmp *qmp, const char *reason, void *user);
};

/* value is the "return" member, borrowed; NULL when error is set. */
typedef void (*gw_qmp_done)(const struct gw_error *error, json_t *value, void *user);

/* Keeps trying to connect for GW_QMP_CONNECT_MS: an emulator makes its socket a little after its start. */
int gw_qmp_new(struct gw_qmp **out, sd_event *event, const char *path, const struct gw_qmp_ops *ops, void *user);
void gw_qmp_free(struct gw_qmp *qmp); /* commands under way are dropped without an answer */

/* Takes over arguments (may be NULL). done may be NULL. */
/* "now": also when the emulator is stuck in another command, where it offers that. For the few that it allows it for. */
void gw_qmp_execute_now(struct gw_qmp *qmp, const char *command, json_t *arguments, gw_qmp_done done, void *user);
void gw_qmp_execute(struct gw_qmp *qmp, const char *command, json_t *arguments, gw_qmp_done done, void *user);
