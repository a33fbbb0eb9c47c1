/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The look at the files is a stat of each: device, inode, size and time of change.
 * A pair that is replaced one file after the other does not fit together for a
 * moment; that attempt fails, and the next look finds both.
 *
 * Warnings are of the earlier end of our own certificate and of the authority's:
 * either ends all sessions that begin later. A stage is told once; a new
 * certificate begins anew.
 */
#include "io/renew.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/log.h"

enum { LOOK_MS = 2000, DAY_S = 86400 };

struct seen {
        dev_t device;
        ino_t inode;
        off_t size;
        struct timespec changed;
};

struct gw_renewal {
        struct gw_loop *loop;
        struct gw_tls *tls;
        void (*renewed)(void *user);
        void *user;
        struct gw_timer *timer;
        struct seen seen[3];
        bool failing;
        char fault[256];
        unsigned stage; /* told */
        uint64_t reloads, failures, warnings;
        struct gw_wall reloaded;
};

unsigned gw_renewal_stage(struct gw_wall now, struct gw_wall until) {
        static const unsigned days[] = {30, 7, 1, 0};
        unsigned stage = 0;

        for (; stage < sizeof days / sizeof *days; stage++)
                if (now.ns + gw_s((uint64_t)days[stage] * DAY_S).ns < until.ns)
                        break;
        return stage;
}

static struct gw_wall first_end(const struct gw_tls *tls) {
        struct gw_wall own = gw_tls_until(tls, GW_TLS_CERT), ca = gw_tls_until(tls, GW_TLS_CA);

        return ca.ns < own.ns ? ca : own;
}

static void warn(struct gw_renewal *r) {
        struct gw_wall now = gw_wall_now(), until = first_end(r->tls);
        unsigned stage = gw_renewal_stage(now, until);
        const char *which = gw_tls_until(r->tls, GW_TLS_CA).ns == until.ns ? "the authority's certificate"
                                                                           : "the certificate of this daemon";

        if (stage <= r->stage)
                return;
        r->stage = stage;
        r->warnings++;
        if (until.ns <= now.ns)
                gw_log(GW_ERR, "%s has ended; no new session will be accepted until it is replaced", which);
        else
                gw_log(GW_WARNING, "%s ends in %llu hours; replace it: it is read while this daemon runs", which,
                       (unsigned long long)((until.ns - now.ns) / gw_s(3600).ns));
}

static bool look(const struct gw_renewal *r, struct seen seen[3]) {
        struct stat st;

        memset(seen, 0, 3 * sizeof *seen);
        for (int i = 0; i < 3; i++) {
                if (stat(gw_tls_path(r->tls, (enum gw_tls_part)i), &st) < 0)
                        continue; /* it is being replaced */
                seen[i].device = st.st_dev;
                seen[i].inode = st.st_ino;
                seen[i].size = st.st_size;
                seen[i].changed = st.st_mtim;
        }
        return memcmp(seen, r->seen, sizeof r->seen) != 0;
}

static void reload(struct gw_renewal *r) {
        struct gw_error error = {0};

        if (gw_tls_reload(r->tls, &error)) {
                r->failures++;
                if (!r->failing || strcmp(r->fault, error.text) != 0)
                        gw_log(GW_ERR, "the new certificates cannot be used, the old ones stay: %s: %s", error.field,
                               error.text);
                snprintf(r->fault, sizeof r->fault, "%s", error.text);
                r->failing = true;
                return;
        }
        r->failing = false;
        r->fault[0] = 0;
        r->reloads++;
        r->reloaded = gw_wall_now();
        r->stage = 0;
        gw_log(GW_NOTICE, "certificates are read again: name=%s", gw_tls_name(r->tls));
        if (r->renewed)
                r->renewed(r->user);
}

static void on_look(void *user) {
        struct gw_renewal *r = user;
        struct seen seen[3];

        if (look(r, seen) || r->failing) {
                memcpy(r->seen, seen, sizeof seen);
                reload(r);
        }
        warn(r);
}

int gw_renewal_new(struct gw_renewal **out, struct gw_loop *loop, struct gw_tls *tls, void (*renewed)(void *user),
                   void *user) {
        struct gw_renewal *r = calloc(1, sizeof *r);
        struct seen seen[3];
        int e;

        if (!r)
                return -ENOMEM;
        r->loop = loop;
        r->tls = tls;
        r->renewed = renewed;
        r->user = user;
        look(r, seen);
        memcpy(r->seen, seen, sizeof seen);
        warn(r);
        e = gw_timer_new(&r->timer, loop, gw_ms(LOOK_MS), gw_ms(LOOK_MS), on_look, r);
        if (e < 0) {
                free(r);
                return e;
        }
        *out = r;
        return 0;
}

void gw_renewal_free(struct gw_renewal *r) {
        if (!r)
                return;
        gw_timer_free(r->timer);
        free(r);
}

void gw_renewal_now(struct gw_renewal *r) {
        struct seen seen[3];

        if (!r)
                return;
        look(r, seen);
        memcpy(r->seen, seen, sizeof seen);
        reload(r);
        warn(r);
}

json_t *gw_renewal_json(const struct gw_renewal *r) {
        struct gw_wall until = first_end(r->tls), now = gw_wall_now();
        json_int_t left_s = ((json_int_t)until.ns - (json_int_t)now.ns) / (json_int_t)GW_NS_PER_S;

        return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:I}", "name", gw_tls_name(r->tls), "until_ns",
                         (json_int_t)gw_tls_until(r->tls, GW_TLS_CERT).ns, "authority_until_ns",
                         (json_int_t)gw_tls_until(r->tls, GW_TLS_CA).ns, "days_left", left_s / DAY_S, "reloads",
                         (json_int_t)r->reloads, "reloaded_ns", (json_int_t)r->reloaded.ns, "failures",
                         (json_int_t)r->failures, "fault", r->fault, "warnings", (json_int_t)r->warnings);
}
