/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A post-copy that is torn ends in a crash of its VM. Its local disks are then in two
 * places, or were: until the cut both images are the same, from there on the VM wrote
 * to the target's alone. So the newest is the target's, always; the source's is what it
 * was at the cut, and all there is should the target be lost for good. So `finish` of such a
 * move says that images stay: they are put aside as FILE.moved when the source's
 * agent has answered to it; with its emulator or its host gone they have kept their names.
 *
 * That is written down with the move when it ends, while the VM's definition, which has
 * the paths, is there to be asked. An agent that comes back with the copy later is
 * told to end it, and puts the images aside then.
 *
 * Other failures leave nothing in doubt: what did not run has written nothing.
 */
#include "nva/remains.h"

#include <stdio.h>

#include "hypervisor/definition.h"
#include "nva/json.h"
#include "nva/mover.h"

enum { REMAINS_PATH = 256 + sizeof ".moved" };

/* Once its source may be told to end what it has left. */
bool remains_is_torn(const struct nva_move *move) {
        return move->core.mode == GW_MOVE_POST_COPY && move->core.target_ran && !move->core.sent_all;
}

static void add(json_t *list, size_t disk, const char *path, const struct gw_name *nve, const char *state) {
        json_array_append_new(list, json_pack("{s:I, s:s, s:s, s:s}", "disk", (json_int_t)disk, "path", path, "nve",
                                              nve->s, "state", state));
}

/* One that went along. */
static void add_both(json_t *list, const struct nva_move *move, size_t disk, const char *path) {
        char aside[REMAINS_PATH];

        add(list, disk, path, &move->core.to, "current");
        snprintf(aside, sizeof aside, "%.255s.moved", path);
        add(list, disk, move->ways.cleared ? aside : path, &move->core.from, "old");
}

void remains_note(struct nva_move *move) {
        uint64_t along = (uint64_t)json_integer_value(json_object_get(move->ways.landing, "disks"));
        const struct gw_vm *vm = mover_vm(move);
        json_t *definition, *list, *disk;
        size_t i;

        if (move->ways.images || mover_is_open(move) || !remains_is_torn(move) || !vm || !along ||
            move->core.result != GW_MOVE_FAILED || gw_move_place(&move->core) != GW_MOVE_TARGET)
                return;
        definition = nva_json_definition(vm);
        list = json_array();
        json_array_foreach (json_object_get(definition, "disks"), i, disk)
                if (i < GW_DEFINITION_DISKS_MAX && along & 1U << i)
                        add_both(list, move, i, nva_json_text(disk, "path"));
        json_decref(definition);
        move->ways.images = list;
}
