/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/moves: moves under way and, as evidence, those that have ended. The newest is listed first. */
#include <stdlib.h>
#include <string.h>

#include "nva/api.h"
#include "nva/mover.h"
#include "nva/page.h"

/* The newest, or the newest that is older than the one of that id, which may be gone by now. */
static const struct gw_list *first_after(const struct nva *nva, const char *id) {
        const struct gw_list *link = nva->moves.prev;
        uint64_t number = id ? strtoull(id + 1, NULL, 10) : UINT64_MAX;

        while (link != &nva->moves && mover_number(gw_list_entry(link, const struct nva_move, link)) >= number)
                link = link->prev;
        return link;
}

static int read_query(struct gw_request *request, struct gw_name *vm, struct gw_error *error) {
        const char *wanted = gw_request_query(request, "vm"), *after = gw_request_query(request, "after");

        vm->s[0] = 0;
        if (wanted && gw_id_parse(wanted, vm))
                return gw_fail(error, GW_E_INVALID, "vm", "vm is \"%.80s\"; an id is a name or name@tenant", wanted);
        if (after && (*after != 'm' || !after[1] || after[1 + strspn(after + 1, "0123456789")]))
                return gw_fail(error, GW_E_INVALID, "after", "after is \"%.80s\"; it must be the id of a move", after);
        return 0;
}

void api_moves_list(struct gw_request *request, void *user) {
        const struct nva *nva = user;
        const struct gw_list *link;
        struct nva_page page;
        struct gw_error error;
        struct gw_name vm;

        if (read_query(request, &vm, &error))
                return gw_request_fail(request, &error);
        if (!page_begin(&page, request))
                return;
        for (link = first_after(nva, page_after(&page)); link != &nva->moves; link = link->prev) {
                const struct nva_move *move = gw_list_entry(link, const struct nva_move, link);

                if (vm.s[0] && !gw_name_eq(&move->core.vm, &vm))
                        continue;
                if (!page_has_room(&page))
                        break;
                page_add(&page, mover_id(move), mover_json(move));
        }
        page_answer(&page, request, "moves", link != &nva->moves);
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
