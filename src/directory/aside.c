/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One object beside a binding, as long as the places in it, and only while there is a move or a former place. It is
 * made anew to become longer; nobody keeps a pointer into it over a change of the binding.
 */
#include "directory/aside.h"

#include <errno.h>
#include <string.h>

#include "directory/directory.h"

static size_t size_of(unsigned n_previous) {
        return sizeof(struct gw_binding_aside) + n_previous * sizeof(struct gw_previous);
}

/* There, with room for n former places, which are at least as many as it has. */
static struct gw_binding_aside *aside_get(struct gw_slab *slab, struct gw_binding *b, unsigned n) {
        struct gw_binding_aside *old = gw_binding_aside(b), *aside;

        if (old && old->n_previous == n)
                return old;
        aside = gw_slab_new(slab, size_of(n));
        if (!aside)
                return NULL;
        if (old)
                memcpy(aside, old, size_of(old->n_previous));
        gw_aside_free(slab, b);
        aside->n_previous = (uint8_t)n;
        gw_ref_set(&b->aside, aside);
        return aside;
}

int gw_aside_move(struct gw_slab *slab, struct gw_binding *b, const struct gw_reservation *move) {
        struct gw_binding_aside *aside = aside_get(slab, b, gw_binding_n_previous(b));

        if (!aside)
                return -ENOMEM;
        aside->move = *move;
        aside->moving = true;
        return 0;
}

void gw_aside_move_end(struct gw_slab *slab, struct gw_binding *b) {
        struct gw_binding_aside *aside = gw_binding_aside(b);

        if (!aside)
                return;
        aside->moving = false;
        if (!aside->n_previous)
                gw_aside_free(slab, b);
}

void gw_aside_remember(struct gw_slab *slab, struct gw_binding *b, const struct gw_previous *place) {
        unsigned n = gw_binding_n_previous(b);
        struct gw_binding_aside *aside = aside_get(slab, b, n < GW_PREVIOUS_MAX ? n + 1 : n);

        if (!aside)
                return;
        if (n == GW_PREVIOUS_MAX)
                memmove(aside->previous, aside->previous + 1, (GW_PREVIOUS_MAX - 1) * sizeof *aside->previous);
        aside->previous[aside->n_previous - 1] = *place;
}

void gw_aside_free(struct gw_slab *slab, struct gw_binding *b) {
        if (b->aside.place)
                gw_slab_free(slab, gw_binding_aside(b), size_of(gw_binding_n_previous(b)));
        gw_ref_set(&b->aside, NULL);
}
