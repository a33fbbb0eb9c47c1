/* SPDX-License-Identifier: Apache-2.0 */
/* Building one frame within a writer that may hold others before it. Private to wire. */
#pragma once

#include <stdbool.h>

#include "wire/frame.h"

struct gw_frame_build {
        size_t at; /* where the frame begins */
        bool ok;   /* of the writer, before */
};

struct gw_frame_build gw_frame_begin(struct gw_writer *w, uint8_t type, uint32_t id);
/* The frame's size with its length filled in; or 0, with the writer as it was,
 * when it did not fit or was not valid. */
size_t gw_frame_end(struct gw_writer *w, const struct gw_frame_build *build, bool valid);
/* A NAME TLV; false when the name cannot be sent. */
bool gw_frame_put_name(struct gw_writer *w, const struct gw_name *name);
