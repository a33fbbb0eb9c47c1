/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dialled sessions: which endpoint next, and when.
 *
 * All endpoints are tried in turn without a pause; after such a round it waits
 * BACKOFF_FIRST_MS, doubled each round up to BACKOFF_MAX_MS, of which the upper
 * half is random so that the sessions of a whole site do not come back at once.
 * A session that was open for STEADY_S starts afresh, at once and with the same
 * endpoint; one that ended sooner (a peer that accepts and then refuses) goes on
 * with the longer pauses.
 *
 * A peer on this host is another matter: nobody else dials it, a try costs some
 * microseconds, and while it is away a VM may be without its network. Pauses are short
 * there, and stay so.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/error.h"
#include "base/log.h"
#include "io/session_impl.h"
#include "io/socket.h"
#include "io/tls.h"

enum { BACKOFF_FIRST_MS = 100, BACKOFF_MAX_MS = 5000, BACKOFF_LOCAL_MS = 50, STEADY_S = 5 };

void gw_dial_free(struct gw_dial *dial) {
        if (!dial)
                return;
        free(dial->path);
        free(dial->to);
        free(dial->server_name);
        free(dial);
}

static const char *target_text(const struct gw_dial *dial, char out[static GW_ENDPOINT_TEXT]) {
        return dial->path ? dial->path : gw_endpoint_text(&dial->to[dial->next], out);
}

static struct gw_duration pause_ms(uint32_t whole_ms) {
        uint32_t random = 0;

        if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
                random = (uint32_t)gw_mono_now().ns;
        return gw_ms(whole_ms / 2 + random % (whole_ms / 2 + 1));
}

static uint32_t first_ms(const struct gw_dial *dial) {
        return dial->path ? BACKOFF_LOCAL_MS : BACKOFF_FIRST_MS;
}

static uint32_t longer_ms(const struct gw_dial *dial) {
        uint32_t most = dial->path ? BACKOFF_LOCAL_MS : BACKOFF_MAX_MS;

        return dial->backoff_ms * 2 > most ? most : dial->backoff_ms * 2;
}

void gw_dial_again(struct gw_session *s, bool was_open, struct gw_duration open_for, const char *reason) {
        struct gw_dial *dial = s->dial;
        struct gw_mono now = gw_mono_now();
        char text[GW_ENDPOINT_TEXT];

        if (was_open && open_for.ns >= gw_s(STEADY_S).ns) {
                dial->backoff_ms = first_ms(dial);
                dial->tries = 0;
                dial->due = now;
                dial->last_reason[0] = 0;
                return;
        }
        if (!was_open && strcmp(dial->last_reason, reason) != 0) {
                gw_log(GW_NOTICE, "cannot reach %s, trying on: %s", target_text(dial, text), reason);
                snprintf(dial->last_reason, sizeof dial->last_reason, "%s", reason);
        }
        dial->next = dial->n_to ? (dial->next + 1) % dial->n_to : 0;
        if (++dial->tries < dial->n_to) {
                dial->due = now;
                return;
        }
        dial->tries = 0;
        dial->due = gw_mono_after(now, pause_ms(dial->backoff_ms));
        dial->backoff_ms = longer_ms(dial);
}

void gw_dial_attempt(struct gw_session *s) {
        struct gw_dial *dial = s->dial;
        int fd, r;

        fd = dial->path ? gw_socket_connect_unix(dial->path) : gw_socket_connect_tcp(&dial->to[dial->next]);
        r = fd < 0 ? fd : 0;
        if (r == 0 && dial->path && (r = gw_socket_permit(fd)) < 0)
                close(fd);
        else if (r == 0)
                r = gw_session_attach(s, fd, !dial->path, dial->tls, dial->server_name);
        if (r < 0)
                gw_dial_again(s, false, (struct gw_duration){0}, strerror(-r));
}

static int dial(struct gw_session **out, struct gw_loop *loop, struct gw_dial *to, const struct gw_session_ops *ops,
                const struct gw_api *api, void *user) {
        struct gw_session *s;
        int r = gw_session_new(&s, loop, ops, api, user);

        if (r < 0) {
                gw_dial_free(to);
                return r;
        }
        to->due = gw_mono_now();
        to->backoff_ms = first_ms(to);
        s->dial = to;
        gw_session_arm(s);
        *out = s;
        return 0;
}

int gw_session_dial_tls(struct gw_session **out, struct gw_loop *loop, const struct gw_endpoint *to, size_t n_to,
                        const char *server_name, struct gw_tls *tls, const struct gw_session_ops *ops,
                        const struct gw_api *api, void *user) {
        struct gw_dial *d;

        if (n_to == 0 || !tls)
                return -EINVAL;
        d = calloc(1, sizeof *d);
        if (!d)
                return -ENOMEM;
        d->tls = tls;
        d->n_to = n_to;
        d->to = calloc(n_to, sizeof *to);
        d->server_name = server_name ? strdup(server_name) : NULL;
        if (!d->to || (server_name && !d->server_name)) {
                gw_dial_free(d);
                return -ENOMEM;
        }
        memcpy(d->to, to, n_to * sizeof *to);
        return dial(out, loop, d, ops, api, user);
}

int gw_session_dial_unix(struct gw_session **out, struct gw_loop *loop, const char *path,
                         const struct gw_session_ops *ops, const struct gw_api *api, void *user) {
        struct gw_dial *d = calloc(1, sizeof *d);

        if (!d)
                return -ENOMEM;
        d->path = strdup(path);
        if (!d->path) {
                gw_dial_free(d);
                return -ENOMEM;
        }
        return dial(out, loop, d, ops, api, user);
}
