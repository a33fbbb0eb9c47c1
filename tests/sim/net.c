/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network of the simulations. Messages under way are timers in one heap. Order
 * is kept by never letting an ordered message arrive before the last one posted on
 * its link and way. A frame carries the generation of its session; one of an older
 * generation is dropped when it would arrive.
 */
#include "sim/net.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t wall_at_start_s = UINT64_C(1700000000);

void net_init(struct net *net, const char *test) {
        *net = (struct net){.test = test,
                            .now_ns = GW_NS_PER_S,
                            .trace = getenv("GW_TRACE") != NULL,
                            .sessions = NET_ORDERED | NET_SURE};
        net->dice = dice_new();
        net->seed = net->dice.state;
}

void net_deinit(struct net *net) {
        struct gw_deadline *timer;

        while ((timer = gw_heap_first(&net->messages))) {
                gw_heap_forget(&net->messages, timer);
                free(gw_container_of(timer, struct net_message, timer));
        }
        gw_heap_deinit(&net->messages);
}

void net_again(struct net *net, uint64_t seed) {
        net_deinit(net);
        *net = (struct net){.test = net->test,
                            .now_ns = GW_NS_PER_S,
                            .trace = net->trace,
                            .sessions = net->sessions,
                            .seed = seed,
                            .dice = {seed}};
}

void net_die(const struct net *net, const char *format, ...) {
        va_list args;

        va_start(args, format);
        printf("not ok 1 - %s\n# GW_SEED=%llu at %.3f s: ", net->test, (unsigned long long)net->seed,
               (double)net->now_ns / 1e9);
        vprintf(format, args);
        printf("\n");
        va_end(args);
        exit(1);
}

void net_trace(const struct net *net, const char *format, ...) {
        va_list args;

        if (!net->trace)
                return;
        va_start(args, format);
        printf("# %9.3f ", (double)net->now_ns / 1e9);
        vprintf(format, args);
        printf("\n");
        va_end(args);
}

uint64_t net_below(struct net *net, uint64_t n) {
        return dice_below(&net->dice, n);
}

bool net_chance(struct net *net, unsigned percent) {
        return dice_below(&net->dice, 100) < percent;
}

struct gw_now net_now(const struct net *net) {
        return (struct gw_now){{net->now_ns}, {net->now_ns + wall_at_start_s * GW_NS_PER_S}};
}

void net_open(struct net *net, int link) {
        struct net_link *l = &net->links[link];

        l->session = true;
        l->generation++;
        l->arrives_ns[NET_UP] = l->arrives_ns[NET_DOWN] = 0;
}

void net_close(struct net *net, int link) {
        net->links[link].session = false;
        net->links[link].generation++;
}

struct net_message *net_message(int link, enum net_way way, const void *bytes, size_t size) {
        struct net_message *m = calloc(1, sizeof *m + size);

        if (!m)
                abort();
        m->link = link;
        m->way = way;
        m->size = size;
        memcpy(m->bytes, bytes, size);
        return m;
}

static void post_once(struct net *net, struct net_message *m) {
        struct net_link *l = &net->links[m->link];
        const struct net_weather *w = &net->weather;
        unsigned most_ms = net_chance(net, w->late) ? w->late_ms : w->delay_ms;
        uint64_t at = net->now_ns + net_below(net, most_ms) * GW_NS_PER_MS + net_below(net, GW_NS_PER_MS);

        if (m->how & NET_ORDERED) {
                at = at > l->arrives_ns[m->way] ? at : l->arrives_ns[m->way] + 1;
                l->arrives_ns[m->way] = at;
        }
        m->generation = l->generation;
        if (gw_heap_promise(&net->messages) < 0)
                abort();
        gw_heap_set(&net->messages, &m->timer, (struct gw_mono){at});
        net->n_posted++;
}

void net_post(struct net *net, struct net_message *m, unsigned how) {
        const struct net_link *l = &net->links[m->link];
        struct net_message *twice;

        m->how = how;
        if (how & NET_DATAGRAM ? l->cut : !l->session) {
                free(m);
                return;
        }
        if (!(how & NET_SURE) && net_chance(net, net->weather.loss)) {
                net->n_lost++;
                free(m);
                return;
        }
        if (!(how & NET_SURE) && net_chance(net, net->weather.twice)) {
                net->n_twice++;
                twice = net_message(m->link, m->way, m->bytes, m->size);
                twice->how = how;
                post_once(net, twice);
        }
        post_once(net, m);
}

static bool arrives(const struct net *net, const struct net_message *m) {
        const struct net_link *l = &net->links[m->link];

        return m->how & NET_DATAGRAM ? !l->cut : l->session && l->generation == m->generation;
}

struct net_message *net_next(struct net *net, uint64_t until_ns) {
        struct gw_deadline *timer;

        while ((timer = gw_heap_first(&net->messages)) && timer->at.ns <= until_ns) {
                struct net_message *m = gw_container_of(timer, struct net_message, timer);

                net->now_ns = timer->at.ns > net->now_ns ? timer->at.ns : net->now_ns;
                gw_heap_forget(&net->messages, timer);
                if (arrives(net, m))
                        return m;
                free(m);
        }
        net->now_ns = until_ns > net->now_ns ? until_ns : net->now_ns;
        return NULL;
}

void net_lose(struct net *net, bool (*which)(const struct net_message *m)) {
        for (uint32_t i = net->messages.count; i > 0; i--) {
                struct net_message *m = gw_container_of(net->messages.timers[i], struct net_message, timer);

                if (!which(m))
                        continue;
                gw_heap_forget(&net->messages, &m->timer);
                free(m);
                i = net->messages.count + 1;
        }
}
