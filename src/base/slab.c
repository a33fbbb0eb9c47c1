/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A slab is one range of addresses whose beginning has memory behind it. Objects are cut off there, one after the
 * other; memory is added in small pieces at first, then in huge pages, so that of very many objects entered at random
 * fewer have to be looked up in the processor's table of pages. Each size has a list of holes, through the holes
 * themselves. Nothing is at place 0, which is no reference.
 *
 * AddressSanitizer knows nothing of what happens inside of the range. Under it all that is not given out is poisoned,
 * and between two objects there is a gap that never is.
 */
#include "base/slab.h"

#include <errno.h>
#include <string.h>

#include "base/pages.h"
#include "base/ref.h"

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define SLAB_IS_WATCHED 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define SLAB_IS_WATCHED 1
#endif
#ifdef SLAB_IS_WATCHED
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
enum { GAP = 16 };
#else
#define ASAN_POISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#define __lsan_register_root_region(at, size) ((void)(at))
#define __lsan_unregister_root_region(at, size) ((void)(at))
enum { GAP = 0 };
#endif

enum { SMALL_STEP = 64 * 1024, EXACT_CLASSES = GW_SLAB_EXACT / GW_SLAB_ALIGN };

struct slab_hole {
        struct gw_ref next;
};

static unsigned class_of(size_t size) {
        unsigned class = EXACT_CLASSES;

        if (size <= GW_SLAB_EXACT)
                return size ? (unsigned)((size - 1) / GW_SLAB_ALIGN) : 0;
        while (size > (size_t)GW_SLAB_EXACT << (class - EXACT_CLASSES + 1))
                class ++;
        return class;
}

static size_t size_of(unsigned class) {
        return class < EXACT_CLASSES ? (class + 1u) * GW_SLAB_ALIGN
                                     : (size_t)GW_SLAB_EXACT << (class - EXACT_CLASSES + 1);
}

int gw_slab_init(struct gw_slab *slab) {
        *slab = (struct gw_slab){.base = gw_pages_new(GW_SLAB_SPAN, GW_SLAB_SPAN, false), .used = GW_SLAB_ALIGN};
        if (!slab->base)
                return -ENOMEM;
        __lsan_register_root_region(slab->base, GW_SLAB_SPAN); /* what objects point to is not lost */
        return 0;
}

void gw_slab_deinit(struct gw_slab *slab) {
        if (slab->base) {
                ASAN_UNPOISON_MEMORY_REGION(slab->base, slab->backed); /* whoever has these addresses next */
                __lsan_unregister_root_region(slab->base, GW_SLAB_SPAN);
        }
        gw_pages_free(slab->base, GW_SLAB_SPAN);
        *slab = (struct gw_slab){0};
}

static int back_more(struct gw_slab *slab) {
        uint64_t step = slab->backed < GW_PAGES_HUGE ? SMALL_STEP : GW_PAGES_HUGE;

        if (slab->backed + step > GW_SLAB_SPAN || gw_pages_back(slab->base + slab->backed, step) < 0)
                return -ENOMEM;
        ASAN_POISON_MEMORY_REGION(slab->base + slab->backed, step);
        slab->backed += step;
        return 0;
}

static void *cut(struct gw_slab *slab, size_t size) {
        void *object = slab->base + slab->used;

        while (slab->backed < slab->used + size + GAP)
                if (back_more(slab) < 0)
                        return NULL;
        slab->used += size + GAP;
        return object;
}

void *gw_slab_new(struct gw_slab *slab, size_t size) {
        unsigned class = class_of(size);
        struct slab_hole *hole;

        if (size > GW_SLAB_MAX)
                return NULL;
        if (!slab->holes[class]) {
                hole = cut(slab, size_of(class));
                if (hole)
                        ASAN_UNPOISON_MEMORY_REGION(hole, size);
                return hole; /* as zeroed as it came from the system */
        }
        hole = gw_ref_at(slab->base, slab->holes[class]);
        ASAN_UNPOISON_MEMORY_REGION(hole, size > sizeof *hole ? size : sizeof *hole);
        slab->holes[class] = hole->next.place;
        return memset(hole, 0, size);
}

void gw_slab_free(struct gw_slab *slab, void *object, size_t size) {
        unsigned class = class_of(size);
        struct slab_hole *hole = object;

        if (!object)
                return;
        ASAN_UNPOISON_MEMORY_REGION(hole, sizeof *hole);
        hole->next.place = slab->holes[class];
        ASAN_POISON_MEMORY_REGION(hole, size_of(class));
        slab->holes[class] = gw_ref_place(hole);
}
