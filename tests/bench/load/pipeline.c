/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Look-ups or registrations, `depth` under way in each session all the time: an
 * answer is followed by the next request. The first second is not counted. What
 * was answered otherwise than asked for is counted as failed.
 *
 * Look-ups are of random VMs. Registrations are refreshes of the VMs that the
 * NVE serves, each in its turn, so that none overtakes itself.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "load.h"
#include "wire/frame.h"

enum { SAMPLE_EVERY = 8, WARM_UP_MS = 1000 }; /* latencies of one request in so many */

struct pipeline {
        struct fleet *fleet;
        const struct pipeline_spec *spec;
        struct gw_timer *begin, *end;
        struct gw_mono *sent; /* [node][slot] */
        uint32_t *next;       /* [node]: VM of its share */
        struct histogram latencies;
        uint64_t random, answered, failed;
        struct gw_mono began, ended;
        double cpu_s;
        bool counting;
};

static uint64_t draw(struct pipeline *p) {
        p->random ^= p->random << 13;
        p->random ^= p->random >> 7;
        p->random ^= p->random << 17;
        return p->random;
}

static void request(struct pipeline *p, struct node *node, uint32_t slot) {
        const struct population *population = &p->fleet->population;

        if (slot % SAMPLE_EVERY == 0)
                p->sent[node->index * p->spec->depth + slot] = gw_mono_now();
        if (p->spec->registers)
                node_register(node, slot + 1,
                              population_of_nve(population, node->index,
                                                p->next[node->index]++ % population_share(population)),
                              LOAD_LIFETIME_S);
        else
                node_query(node, slot + 1, (uint32_t)(draw(p) % p->spec->reach));
}

static void on_begin(void *user) {
        struct pipeline *p = user;

        p->counting = true;
        p->cpu_s = load_cpu_s();
        p->began = gw_mono_now();
}

static void on_end(void *user) {
        struct pipeline *p = user;

        p->ended = gw_mono_now();
        p->cpu_s = load_cpu_s() - p->cpu_s;
        p->counting = false;
        gw_loop_quit(&p->fleet->loop, EXIT_SUCCESS);
}

static void on_ready(struct fleet *fleet) {
        struct pipeline *p = fleet->user;

        gw_timer_new(&p->begin, &fleet->loop, gw_ms(WARM_UP_MS), gw_ms(0), on_begin, p);
        gw_timer_new(&p->end, &fleet->loop, gw_ms(WARM_UP_MS + p->spec->seconds * UINT64_C(1000)), gw_ms(0), on_end, p);
        for (uint32_t n = 0; n < fleet->n_nodes; n++)
                for (uint32_t slot = 0; slot < p->spec->depth; slot++)
                        request(p, &fleet->nodes[n], slot);
}

static void on_frame(struct node *node, uint8_t type, uint32_t id, const uint8_t *body, size_t size) {
        struct pipeline *p = node->fleet->user;
        uint32_t slot = id - 1;
        bool good;

        if (type == GW_FRAME_UPDATE || type == GW_FRAME_FLUSH) {
                node_ack(node, id);
                return;
        }
        if (type != (p->spec->registers ? GW_FRAME_REGISTERED : GW_FRAME_RESPONSE) || slot >= p->spec->depth)
                return;
        good = p->spec->registers ? answer_status(body, size) == 0 : answer_is_serving(body, size);
        if (p->counting) {
                p->answered++;
                p->failed += !good;
                if (slot % SAMPLE_EVERY == 0)
                        histogram_add(&p->latencies,
                                      gw_mono_between(p->sent[node->index * p->spec->depth + slot], gw_mono_now()).ns);
        }
        request(p, node, slot);
}

const struct fleet_ops pipeline_ops = {.ready = on_ready, .frame = on_frame};

static void print(const struct pipeline *p) {
        double seconds = (double)gw_mono_between(p->began, p->ended).ns / 1e9;

        printf("{\"per_s\": %.0f, \"failed\": %" PRIu64 ", \"seconds\": %.3f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
               "\"generator_share\": %.3f}\n",
               (double)p->answered / seconds, p->failed, seconds, histogram_us(&p->latencies, 0.5),
               histogram_us(&p->latencies, 0.99), p->cpu_s / seconds);
}

int load_pipeline(struct fleet *fleet, const struct pipeline_spec *spec) {
        struct pipeline *p = calloc(1, sizeof *p);
        int r = 1;

        if (!p)
                return 1;
        p->fleet = fleet;
        p->spec = spec;
        p->random = 88172645463325252u;
        p->sent = calloc((size_t)fleet->n_nodes * spec->depth, sizeof *p->sent);
        p->next = calloc(fleet->n_nodes, sizeof *p->next);
        fleet->user = p;
        if (p->sent && p->next)
                r = fleet_run(fleet);
        if (r == 0)
                print(p);
        gw_timer_free(p->begin);
        gw_timer_free(p->end);
        free(p->next);
        free(p->sent);
        free(p);
        return r;
}
