/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The history of claims to one VM.
 *
 * Any host may claim any VM as often as it likes, so what is kept is bounded, and
 * what is alike is one record: the same claimant with the same verdict counts up. A
 * host that repeats itself so takes one place, and does not wash away what others
 * said. Where the VM really was is another history, that of its binding, and on disk;
 * this one is for whoever asks why a claim was not followed, and starts anew with
 * the authority.
 */
#include "nva/claimlog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned find(const struct claim_log *log, const char *nve, const char *verdict) {
        unsigned i = 0;

        while (i < log->n && (strcmp(log->records[i].nve.s, nve) != 0 || strcmp(log->records[i].verdict, verdict) != 0))
                i++;
        return i;
}

/* Takes a record out, leaving its place at the end free. */
static struct claim_record take(struct claim_log *log, unsigned i) {
        struct claim_record record = log->records[i];

        memmove(log->records + i, log->records + i + 1, (--log->n - i) * sizeof *log->records);
        return record;
}

static bool grow(struct claim_log *log) {
        struct claim_record *more = reallocarray(log->records, log->n + 1u, sizeof *more);

        if (more)
                log->records = more;
        return more != NULL;
}

void claim_log_add(struct claim_log *log, struct gw_wall now, const char *nve, const char *verdict) {
        struct claim_record record = {.verdict = verdict, .first = now};
        unsigned i = find(log, nve, verdict);

        snprintf(record.nve.s, sizeof record.nve.s, "%s", nve);
        if (i < log->n)
                record = take(log, i);
        else if (log->n == NVA_CLAIM_LOG_MAX)
                take(log, 0);
        else if (!grow(log))
                return;
        record.times++;
        record.last = now;
        log->records[log->n++] = record;
}

void claim_log_free(struct claim_log *log) {
        free(log->records);
        *log = (struct claim_log){0};
}

json_t *claim_log_json(const struct claim_log *log) {
        json_t *list = json_array();

        for (unsigned i = 0; log && i < log->n; i++) {
                const struct claim_record *r = &log->records[i];
                json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:I, s:I}", "nve", r->nve.s, "verdict",
                                                      r->verdict, "times", (json_int_t)r->times, "first_ns",
                                                      (json_int_t)r->first.ns, "last_ns", (json_int_t)r->last.ns));
        }
        return list;
}
