/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/moves: moves under way and, as evidence, those that have ended. The newest is listed first. */
#include <string.h>

#include "nva/api.h"
#include "nva/mover.h"

void api_moves_list(struct gw_request *request, void *user) {
        struct nva *nva = user;
        const char *wanted = gw_request_query(request, "vm");
        struct gw_error error;
        struct gw_name vm;
        json_t *list;

        if (wanted && gw_id_parse(wanted, &vm)) {
                gw_fail(&error, GW_E_INVALID, "vm", "vm is \"%.80s\"; an id is a name or name@tenant", wanted);
                return gw_request_fail(request, &error);
        }
        list = json_array();
        for (struct gw_list *link = nva->moves.prev; link != &nva->moves; link = link->prev) {
                const struct nva_move *move = gw_list_entry(link, struct nva_move, link);

                if (!wanted || gw_name_eq(&move->core.vm, &vm))
                        json_array_append_new(list, mover_json(move));
        }
        api_answer_list(request, "moves", list);
}

static struct nva_move *move_of(struct nva *nva, struct gw_request *request) {
        const char *id = gw_request_param(request, "move");
        struct nva_move *move = mover_find(nva, id);

        if (!move)
                api_not_found(request, "move", id, "`godwit move list` shows them");
        return move;
}

void api_moves_show(struct gw_request *request, void *user) {
        const struct nva_move *move = move_of(user, request);

        if (move)
                gw_request_answer(request, 200, mover_json(move));
}

void api_moves_cancel(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct nva_move *move = move_of(nva, request);
        struct gw_error error = {0};

        if (!move || !api_no_body(request))
                return;
        if (mover_cancel(nva, move, &error))
                return gw_request_fail(request, &error);
        gw_request_answer(request, 202, mover_json(move));
}
