/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How memory is copied while a VM runs: what an operator may choose for a move,
 * what the authority hands on, and what both emulators are set to.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

struct gw_json_reader;

enum { GW_COPY_MULTIFD_MAX = 16 };

struct gw_copy_options {
        bool cold;          /* stopped before the copy begins, started when all is there */
        bool post_copy;     /* run at the target before everything is there */
        bool xbzrle;        /* send differences of pages that were sent before */
        bool auto_converge; /* slow a VM down that writes faster than can be sent */
        unsigned multifd;   /* connections that carry memory; 0: the one that carries all else too */
};

/* Takes the members cold, post_copy, xbzrle, auto_converge and multifd; all of them may be absent. What does not go together
 * is an error of the reader. */
void gw_copy_options_read(struct gw_json_reader *r, struct gw_copy_options *out);
/* An object with those that are set. */
json_t *gw_copy_options_encode(const struct gw_copy_options *options);
