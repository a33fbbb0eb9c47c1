/* SPDX-License-Identifier: Apache-2.0 */
#include "nva/questions.h"

#include "nva/nva.h"

static void answer(struct nva *nva, const struct nva_questions *q, size_t i, struct gw_now now) {
        struct gw_mapping mapping;
        uint8_t bytes[1024];
        struct gw_writer w = gw_writer(bytes, sizeof bytes);

        gw_directory_query(&nva->directory, q->nve, &q->queries[i], now, &mapping);
        if (gw_batch_encode(&w, GW_FRAME_RESPONSE, q->ids[i], &mapping, 1, NULL, 0))
                gw_session_send(q->session, GW_FRAME_RESPONSE, q->ids[i], w.base + GW_FRAME_HEADER_SIZE,
                                w.at - GW_FRAME_HEADER_SIZE);
}

void questions_answer(struct nva *nva) {
        struct nva_questions *q = &nva->questions;
        struct gw_now now;

        if (!q->n)
                return;
        now = nva_now();
        if (q->n > 1)
                gw_directory_ahead(&nva->directory, q->nve, q->queries, q->n);
        for (size_t i = 0; i < q->n; i++)
                answer(nva, q, i, now);
        nva->n_queries += q->n;
        q->n = 0;
}

void questions_add(struct nva *nva, struct gw_session *session, struct gw_nve *nve, uint32_t id,
                   const struct gw_query *query) {
        struct nva_questions *q = &nva->questions;

        q->session = session;
        q->nve = nve;
        q->ids[q->n] = id;
        q->queries[q->n++] = *query;
        if (q->n == GW_DIRECTORY_AHEAD_MAX)
                questions_answer(nva);
}

void questions_drop(struct nva *nva, const struct gw_session *session) {
        if (nva->questions.session == session)
                nva->questions.n = 0;
}
