/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bounds of io/admit.h, kept by counting.
 *
 * Each address and each certificate's name that has a session has an origin,
 * made with its first and freed with its last. A session holds its origins from
 * entering to leaving, whatever becomes of it between.
 *
 * When all handshakes are taken, nobody is turned away at once: what waits in the
 * socket's queue costs nothing, and an honest handshake takes milliseconds. One that has
 * been silent for GIVE_WAY_MS has to give way. So a stranger who opens connections
 * and says nothing slows the others down, and cannot keep them out.
 */
#include "io/admit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { GIVE_WAY_MS = 1000 };

struct gw_origin {
        struct gw_table_node node;
        unsigned sessions, opening;
        size_t key_size;
        uint8_t key[GW_NAME_MAX + 1];
};

struct key {
        const void *bytes;
        size_t size;
};

static bool match(const struct gw_table_node *node, const void *key) {
        const struct gw_origin *o = gw_container_of(node, struct gw_origin, node);
        const struct key *k = key;

        return o->key_size == k->size && memcmp(o->key, k->bytes, k->size) == 0;
}

int gw_admission_init(struct gw_admission *a, const struct gw_listener_limits *limits) {
        uint64_t seed[2];

        *a = (struct gw_admission){.limits = *limits};
        gw_list_init(&a->opening);
        if (getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed)
                return -errno;
        if (gw_table_init(&a->by_address, seed, match) < 0)
                return -ENOMEM;
        if (gw_table_init(&a->by_name, seed, match) == 0)
                return 0;
        gw_table_deinit(&a->by_address);
        return -ENOMEM;
}

void gw_admission_deinit(struct gw_admission *a) {
        gw_table_deinit(&a->by_address);
        gw_table_deinit(&a->by_name);
}

/* Finds or makes it; NULL without memory. size: at most GW_NAME_MAX. */
static struct gw_origin *origin_get(struct gw_table *table, const void *bytes, size_t size) {
        struct key key = {bytes, size};
        uint64_t hash = gw_table_hash(table, bytes, size);
        struct gw_table_node *node = gw_table_find(table, hash, &key);
        struct gw_origin *o;

        if (node)
                return gw_container_of(node, struct gw_origin, node);
        o = calloc(1, sizeof *o);
        if (!o)
                return NULL;
        o->key_size = size;
        memcpy(o->key, bytes, size);
        if (gw_table_insert(table, &o->node, hash) < 0) {
                free(o);
                return NULL;
        }
        return o;
}

static void origin_put(struct gw_table *table, struct gw_origin *o) {
        if (o->sessions)
                return;
        gw_table_remove(table, &o->node);
        free(o);
}

static bool over(unsigned n, unsigned limit) {
        return limit && n >= limit;
}

static bool is_loopback(struct gw_ip ip) {
        static const struct gw_ip v6 = {{[15] = 1}};

        return gw_ip_eq(ip, v6) || (gw_ip_is_v4(ip) && ip.b[12] == 127);
}

bool gw_admission_enter(struct gw_admission *a, struct gw_admitted *s, struct gw_ip from, struct gw_mono now) {
        struct gw_origin *o = origin_get(&a->by_address, from.b, sizeof from.b);

        if (!o)
                return false;
        if (!is_loopback(from) &&
            (over(o->sessions, a->limits.sessions_per_address) || over(o->opening, a->limits.handshakes_per_address))) {
                a->counts.refused_address++;
                origin_put(&a->by_address, o);
                return false;
        }
        o->sessions++;
        o->opening++;
        a->counts.opening++;
        a->counts.sessions++;
        *s = (struct gw_admitted){.since = now, .address = o, .in = true};
        gw_list_append(&a->opening, &s->opening);
        return true;
}

static void opened(struct gw_admission *a, struct gw_admitted *s) {
        if (!gw_list_linked(&s->opening))
                return;
        gw_list_remove(&s->opening);
        s->address->opening--;
        a->counts.opening--;
}

bool gw_admission_named(struct gw_admission *a, struct gw_admitted *s, const char *name) {
        struct gw_origin *o;

        opened(a, s);
        o = origin_get(&a->by_name, name, strnlen(name, GW_NAME_MAX));
        if (!o)
                return false;
        if (over(o->sessions, a->limits.sessions_per_name)) {
                a->counts.refused_name++;
                origin_put(&a->by_name, o);
                return false;
        }
        o->sessions++;
        s->name = o;
        return true;
}

void gw_admission_leave(struct gw_admission *a, struct gw_admitted *s) {
        if (!s->in)
                return;
        if (gw_list_linked(&s->opening))
                a->counts.handshakes_failed++;
        opened(a, s);
        a->counts.sessions--;
        s->address->sessions--;
        origin_put(&a->by_address, s->address);
        if (s->name) {
                s->name->sessions--;
                origin_put(&a->by_name, s->name);
        }
        *s = (struct gw_admitted){0};
}

bool gw_admission_is_full(const struct gw_admission *a) {
        return over((unsigned)a->counts.opening, a->limits.handshakes);
}

struct gw_admitted *gw_admission_slowest(const struct gw_admission *a, struct gw_mono now) {
        struct gw_admitted *s;

        if (gw_list_empty(&a->opening))
                return NULL;
        s = gw_list_entry(a->opening.next, struct gw_admitted, opening);
        return gw_mono_between(s->since, now).ns >= gw_ms(GIVE_WAY_MS).ns ? s : NULL;
}
