/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The witness: numbered packets and records to one or more targets, and what
 * became of each of them.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/addr.h"

struct gw_error;

enum { GW_PROBE_TARGETS_MAX = 32 };

struct gw_probe_options {
        struct gw_endpoint targets[GW_PROBE_TARGETS_MAX];
        size_t n_targets;
        unsigned udp_rate;    /* packets/s to each target; 0: no UDP */
        unsigned size;        /* octets of UDP payload */
        unsigned tcp_rate;    /* records/s; 0: no TCP */
        unsigned duration_ms; /* 0: until SIGINT or SIGTERM */
        unsigned wait_ms;     /* how long a target may take to answer at all before the start; 0: do not ask */
        unsigned gaps_max;    /* how many of the longest gaps are told */
        bool one_way;         /* targets are peers (gw_probe_serve) */
        bool json;            /* one JSON document at the end, one line at each SIGUSR1 */
        const char *netns;    /* name of a network namespace to work in, or NULL */
};

/* Runs the probe to its end and prints the report. 0: nothing lost, duplicated or
 * broken. GW_E_REFUSED: something was. Other errors are in *error. */
int gw_probe_run(const struct gw_probe_options *options, FILE *out, struct gw_error *error);

/* Echoes, and answers one-way streams, on UDP and TCP until SIGINT or SIGTERM. */
int gw_probe_serve(uint16_t port, const char *netns, FILE *out, struct gw_error *error);
