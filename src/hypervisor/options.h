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

/* Ways to move a VM, as hosts and data centres declare that they know them, and as VMs forbid them. */
enum { GW_MODE_HOT = 1 << 0, GW_MODE_POST_COPY = 1 << 1, GW_MODE_COLD = 1 << 2, GW_MODE_ALL = 7 };

/* Words with spaces between; 0: one of them is no mode, or there is none. */
unsigned gw_modes_parse(const char *words);
json_t *gw_modes_json(unsigned modes);
const char *gw_modes_text(unsigned modes, char out[static 64]); /* "hot, cold"; "none" */
/* A list of words; GW_MODE_ALL when it is absent. What is no mode is passed over: a later agent may know more. */
unsigned gw_modes_read(const json_t *list);

struct gw_copy_options {
        bool cold;          /* stopped before the copy begins, started when all is there */
        bool stay;          /* cold, of a VM that does not run: it is not stopped before, and not started there */
        bool post_copy;     /* run at the target before everything is there */
        bool xbzrle;        /* send differences of pages that were sent before */
        bool auto_converge; /* slow a VM down that writes faster than can be sent */
        unsigned multifd;   /* connections that carry memory; 0: the one that carries all else too */
};

/* Takes the members cold, stay, post_copy, xbzrle, auto_converge and multifd; all of them may be absent. What does not go together
 * is an error of the reader. */
void gw_copy_options_read(struct gw_json_reader *r, struct gw_copy_options *out);
/* An object with those that are set. */
json_t *gw_copy_options_encode(const struct gw_copy_options *options);
