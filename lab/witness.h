/* SPDX-License-Identifier: Apache-2.0 */
/* A probe that runs beside something else, and what it says of a stretch of time. */
#pragma once

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

struct gw_error;

struct gw_witness {
        pid_t pid;
        FILE *reports;
};

/* Starts `godwit probe` with these arguments (NULL-terminated) and waits until it has begun to send. */
int gw_witness_start(struct gw_witness *w, const char *const *args, struct gw_error *error);
/* The figures so far, or (end) those of the whole run; the probe is gone then. The caller's. */
int gw_witness_report(struct gw_witness *w, int end, json_t **out, struct gw_error *error);
void gw_witness_deinit(struct gw_witness *w);

/* The longest silence of any stream of that protocol that touches the stretch; 0 when none was long enough to be kept. */
double gw_witness_gap_ms(json_t *report, const char *protocol, int family, uint64_t from_ns, uint64_t to_ns);
