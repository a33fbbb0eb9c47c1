/* SPDX-License-Identifier: Apache-2.0 */
/* A journal's file: batches, one after the other, each whole or not there. Private to src/store. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct gw_segment {
        int fd; /* -1: none */
        uint64_t number;
        size_t octets;
};

/* All negative errno. `folder` is the directory's descriptor. */
int gw_segment_create(struct gw_segment *segment, int folder, uint64_t number);
void gw_segment_close(struct gw_segment *segment);
/* On disk when it returns 0. The payload is what follows after GW_SEGMENT_HEAD free octets of `batch`. */
enum { GW_SEGMENT_HEAD = 24 };
int gw_segment_append(struct gw_segment *segment, uint64_t batch_number, uint8_t *batch, size_t size);
/* Gone for good when it returns 0. */
int gw_segment_remove(int folder, uint64_t number);
/* Numbers of all there are, ascending, to be freed. */
ssize_t gw_segment_list(int folder, uint64_t **numbers);
/* Each batch in order, from batch *next on (0: whichever is first), which is left at the one that must follow. The
 * newest segment may end in the middle of a batch, as a crash leaves it; another one that does is -EBADMSG. */
int gw_segment_read(int folder, uint64_t number, bool newest, uint64_t *next,
                    int (*each)(const uint8_t *payload, size_t size, void *user), void *user);
