/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The serving side of QMP: one client at a time, as QEMU's socket has it; the
 * next one is served when the first has gone.
 */
#pragma once

#include <jansson.h>
#include <systemd/sd-event.h>

struct qmpd;

/* Handles a command. Answers by qmpd_return or qmpd_error, exactly once, before it returns. */
typedef void (*qmpd_handler)(struct qmpd *qmpd, const char *command, json_t *arguments, void *user);

/* Takes over the listening socket, also when it fails. */
int qmpd_new(struct qmpd **out, sd_event *event, int listener, qmpd_handler handler, void *user);
void qmpd_return(struct qmpd *qmpd, json_t *value); /* takes over; NULL: {} */
void qmpd_error(struct qmpd *qmpd, const char *class, const char *text);
void qmpd_event(struct qmpd *qmpd, const char *name, json_t *data); /* takes over; NULL: none. Lost without a client */
void qmpd_free(struct qmpd *qmpd);
