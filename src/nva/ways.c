/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two agents never talk to each other but through the authority, and most of
 * what they have to say is no business of its own: on which ports the target
 * listens, whether it wants TLS, which disks the source has. It is kept as it came
 * and handed on. Agents bound and check what they are told; what they tell is
 * bounded here before it is kept (members of known names, lists of a known length).
 *
 * The rest is the operator's wish, read once, kept with the move and told to both.
 */
#include "nva/ways.h"

#include <string.h>

#include "hypervisor/definition.h"
#include "io/api.h"
#include "nva/json.h"
#include "nva/mover.h"
#include "nva/remains.h"

bool ways_read(struct gw_json_reader *r, enum gw_move_mode *mode, struct nva_ways *out) {
        const char *given = gw_json_string(r, "mode", ""), *word = given && *given ? given : "hot";
        int number;

        gw_copy_options_read(r, &out->options);
        out->keep_disks = gw_json_bool(r, "keep_disks", 0);
        if (!gw_json_failed(r) && out->options.stay)
                gw_json_fault(r, "stay", "stay is not for you to say; it follows from what the VM does");
        if (gw_json_failed(r))
                return false;
        number = gw_move_mode_parse(word);
        if (number < 0) {
                gw_json_fault(r, "mode", "mode is \"%.32s\"; allowed are hot, post-copy and cold", word);
                return false;
        }
        *mode = (enum gw_move_mode)number;
        out->options.post_copy = out->options.post_copy || *mode == GW_MOVE_POST_COPY;
        if (out->options.post_copy && out->options.multifd)
                gw_json_fault(r, "multifd", "multifd is %u; post-copy uses one connection", out->options.multifd);
        out->options.cold = out->options.cold || *mode == GW_MOVE_COLD;
        if (out->options.post_copy && out->options.cold)
                gw_json_fault(r, "mode", "mode is \"%.32s\"; a move is cold or by post-copy, not both", word);
        if (out->options.post_copy)
                *mode = GW_MOVE_POST_COPY;
        else if (out->options.cold)
                *mode = GW_MOVE_COLD;
        return word == given || *mode != GW_MOVE_HOT;
}

bool ways_has_disks(const struct gw_vm *vm) {
        json_t *definition = nva_json_definition(vm);
        bool has = json_array_size(json_object_get(definition, "disks")) > 0;

        json_decref(definition);
        return has;
}

void ways_deinit(struct nva_ways *ways) {
        json_decref(ways->landing);
        json_decref(ways->disks);
        json_decref(ways->images);
        ways->landing = ways->disks = ways->images = NULL;
}

static void keep(json_t **slot, json_t *value) {
        json_decref(*slot);
        *slot = value;
}

/* The members of an answer that the other side reads, and no others. */
static json_t *pick(const json_t *from, const char *const *keys) {
        json_t *out = json_object(), *value;

        for (; *keys; keys++)
                if ((value = json_object_get(from, *keys)) && !json_is_object(value) && !json_is_array(value))
                        json_object_set(out, *keys, value);
        return out;
}

static json_t *pick_disks(const json_t *answer) {
        static const char *const keys[] = {"disk", "format", "virtual_octets", "allocated_octets", "mark", NULL};
        json_t *list = json_array(), *disk;
        size_t i;

        json_array_foreach (json_object_get(answer, "disks"), i, disk)
                if (i < GW_DEFINITION_DISKS_MAX && json_is_object(disk))
                        json_array_append_new(list, pick(disk, keys));
        return list;
}

void ways_learn(struct nva_move *move, enum gw_move_order order, const json_t *answer) {
        static const char *const landing_keys[] = {"tls", "disks", "nbd_port", NULL};

        if (order == GW_ORDER_INCOMING)
                keep(&move->ways.landing, pick(answer, landing_keys));
        else if (order == GW_ORDER_SURVEY)
                keep(&move->ways.disks, pick_disks(answer));
        else if (order == GW_ORDER_FINISH)
                move->ways.cleared = true;
}

void ways_tell(const struct nva_move *move, enum gw_move_order order, json_t *body) {
        const struct nva_ways *ways = &move->ways;
        json_t *value;
        const char *key;

        if (order == GW_ORDER_FINISH && remains_is_torn(move))
                json_object_set_new(body, "keep_disks", json_true());
        if (order != GW_ORDER_INCOMING && order != GW_ORDER_MIGRATE)
                return;
        json_object_set_new(body, "options", gw_copy_options_encode(&ways->options));
        if (order == GW_ORDER_INCOMING) {
                json_object_set_new(body, "source", json_string(move->core.from.s));
                if (json_array_size(ways->disks))
                        json_object_set(body, "disks", ways->disks);
                return;
        }
        json_object_set_new(body, "target", json_string(move->core.to.s));
        if (ways->keep_disks)
                json_object_set_new(body, "keep_disks", json_true());
        json_object_foreach (ways->landing, key, value)
                json_object_set(body, key, value);
}

void ways_write(const struct nva_ways *ways, json_t *journal) {
        json_object_set_new(journal, "options", gw_copy_options_encode(&ways->options));
        if (ways->keep_disks)
                json_object_set_new(journal, "keep_disks", json_true());
        if (ways->landing)
                json_object_set(journal, "landing", ways->landing);
        if (ways->disks)
                json_object_set(journal, "disks", ways->disks);
        if (ways->cleared)
                json_object_set_new(journal, "cleared", json_true());
        if (ways->images)
                json_object_set(journal, "images", ways->images);
}

void ways_load(struct nva_ways *ways, const json_t *journal) {
        json_t *options = json_object_get(journal, "options");
        struct gw_error error = {0};

        if (options) {
                struct gw_json_reader r = gw_json_reader(options, &error);

                gw_copy_options_read(&r, &ways->options);
        }
        ways->keep_disks = json_is_true(json_object_get(journal, "keep_disks"));
        ways->landing = json_incref(json_object_get(journal, "landing"));
        ways->disks = json_incref(json_object_get(journal, "disks"));
        ways->cleared = json_is_true(json_object_get(journal, "cleared"));
        ways->images = json_incref(json_object_get(journal, "images"));
}
