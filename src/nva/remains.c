/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A post-copy that is torn ends in a crash of its VM. Its local disks are then in two
 * places, or were: until the cut both images are the same, from there on the VM wrote
 * to the target's alone. So the newest is the target's, always; the source's is what it
 * was at the cut. It has been removed (or put aside as FILE.moved) if the source's
 * agent has answered to `finish`; with its emulator or its host gone it has not, and
 * nobody else removes it.
 *
 * That is written down with the move when it ends, while the VM's definition, which has
 * the paths, is there to be asked. An agent that comes back with the copy later is
 * told to end it, and removes the images then: an image listed at the source may be gone.
 *
 * Other failures leave nothing in doubt: what did not run has written nothing.
 */
#include "nva/remains.h"

#include <stdio.h>

#include "hypervisor/definition.h"
#include "nva/json.h"
#include "nva/mover.h"

enum { REMAINS_PATH = 256 + sizeof ".moved" };

static bool is_torn(const struct gw_move *m) {
        return m->mode == GW_MOVE_POST_COPY && m->result == GW_MOVE_FAILED && m->target_ran && !m->sent_all &&
               gw_move_place(m) == GW_MOVE_TARGET;
}

static void add(json_t *list, size_t disk, const char *path, const struct gw_name *nve, const char *state) {
        json_array_append_new(list, json_pack("{s:I, s:s, s:s, s:s}", "disk", (json_int_t)disk, "path", path, "nve",
                                              nve->s, "state", state));
}

/* One that went along: nothing is left at the source when its agent has removed it. */
static void add_both(json_t *list, const struct nva_move *move, size_t disk, const char *path) {
        char aside[REMAINS_PATH];

        add(list, disk, path, &move->core.to, "current");
        if (!move->ways.cleared) {
                add(list, disk, path, &move->core.from, "old");
        } else if (move->ways.keep_disks) {
                snprintf(aside, sizeof aside, "%.255s.moved", path);
                add(list, disk, aside, &move->core.from, "old");
        }
}

void remains_note(struct nva_move *move) {
        uint64_t along = (uint64_t)json_integer_value(json_object_get(move->ways.landing, "disks"));
        const struct gw_vm *vm = mover_vm(move);
        json_t *definition, *list, *disk;
        size_t i;

        if (move->ways.images || mover_is_open(move) || !is_torn(&move->core) || !vm || !along)
                return;
        definition = nva_json_definition(vm);
        list = json_array();
        json_array_foreach (json_object_get(definition, "disks"), i, disk)
                if (i < GW_DEFINITION_DISKS_MAX && along & 1U << i)
                        add_both(list, move, i, nva_json_text(disk, "path"));
        json_decref(definition);
        move->ways.images = list;
}
