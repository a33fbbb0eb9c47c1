/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects are cut off chunks, which are in a list through their first words.
 * The first chunks are small; who needs more gets huge pages, so that of very
 * many objects entered at random fewer have to be looked up in the processor's
 * table of pages. A size is rounded up to a multiple of 16; each such class has a
 * list of holes, through the holes themselves. The rest of a chunk that is too
 * small for an object is lost, at most GW_SLAB_MAX of its octets.
 *
 * AddressSanitizer would see nothing of what happens inside of a chunk. Under
 * it each object is malloc's.
 */
#include "base/slab.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define SLAB_IS_MALLOC 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define SLAB_IS_MALLOC 1
#endif
#ifndef SLAB_IS_MALLOC
#define SLAB_IS_MALLOC 0
#endif

enum { SMALL_CHUNKS = 32, SMALL_OCTETS = 64 * 1024, HUGE_PAGE_OCTETS = 2 << 20 };

struct slab_chunk {
        struct slab_chunk *next;
        char pad[GW_SLAB_ALIGN - sizeof(struct slab_chunk *)];
        char octets[];
};

struct slab_hole {
        struct slab_hole *next;
};

static size_t class_of(size_t size) {
        return size ? (size - 1) / GW_SLAB_ALIGN : 0;
}

void gw_slab_deinit(struct gw_slab *slab) {
        struct slab_chunk *next;

        for (struct slab_chunk *chunk = slab->chunks; chunk; chunk = next) {
                next = chunk->next;
                free(chunk);
        }
        *slab = (struct gw_slab){0};
}

static int add_chunk(struct gw_slab *slab) {
        bool small = slab->n_chunks < SMALL_CHUNKS;
        size_t octets = small ? SMALL_OCTETS : HUGE_PAGE_OCTETS;
        struct slab_chunk *chunk = small ? malloc(octets) : aligned_alloc(HUGE_PAGE_OCTETS, octets);

        if (!chunk)
                return -ENOMEM;
        if (!small)
                madvise(chunk, octets, MADV_HUGEPAGE); /* a hint */
        chunk->next = slab->chunks;
        slab->chunks = chunk;
        slab->n_chunks++;
        slab->next = chunk->octets;
        slab->end = (char *)chunk + octets;
        return 0;
}

static void *cut(struct gw_slab *slab, size_t size) {
        void *object;

        if ((!slab->chunks || (size_t)(slab->end - slab->next) < size) && add_chunk(slab) < 0)
                return NULL;
        object = slab->next;
        slab->next += size;
        return object;
}

void *gw_slab_new(struct gw_slab *slab, size_t size) {
        size_t class = class_of(size);
        void *object;

        if (SLAB_IS_MALLOC || size > GW_SLAB_MAX)
                return calloc(1, size);
        object = slab->holes[class];
        if (object)
                slab->holes[class] = slab->holes[class]->next;
        else
                object = cut(slab, (class + 1) * GW_SLAB_ALIGN);
        return object ? memset(object, 0, size) : NULL;
}

void gw_slab_free(struct gw_slab *slab, void *object, size_t size) {
        struct slab_hole *hole = object;

        if (SLAB_IS_MALLOC || size > GW_SLAB_MAX || !object) {
                free(object);
                return;
        }
        hole->next = slab->holes[class_of(size)];
        slab->holes[class_of(size)] = hole;
}
