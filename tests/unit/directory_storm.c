/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All edges of a data centre subscribe in one turn, as after the authority's restart, to a VN of which all of them are
 * members: each is to be told all others. The way to them is a model: it carries what the directory itself reckons of a slow
 * machine (decision 74), in order, and whoever has got an update acknowledges it at once. What is on the way is bounded, nobody is
 * told anything twice or taken for dead, whatever is short goes past the lists, and edges that have died hold up nobody.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "directory/directory.h"
#include "directory/internal.h"

enum {
        EDGES = 900, /* GW_EDGES: another number */
        MESSAGE_US = 64,
        OCTETS_PER_US = 64,
        ON_THE_WAY_MAX = 17 << 20, /* octets: a quarter of a second of them, and the last list */
        BLUE = 100,                /* the VN of all */
        RED = 101,                 /* and one of every hundredth */
        RED_EACH = 100,
};

struct frame {
        unsigned to;
        uint32_t id;
        uint64_t size;
        struct gw_mono there;
};

struct edge {
        struct gw_nve *nve;
        bool dead, dropped;
        unsigned blue, red;      /* members that it has been told of */
        struct gw_mono red_when; /* the first of them */
};

struct storm {
        struct gw_directory d;
        struct gw_now now;
        struct gw_mono began, busy_until;
        unsigned n;
        struct edge *edges;
        struct frame *way; /* a queue without end */
        size_t first, end, room;
        uint64_t octets, most;
};

/* ---- the way ---- */

static struct edge *edge_of(struct storm *s, const struct gw_nve *nve) {
        return &s->edges[atoi(nve->id.s + 1)];
}

static void read_members(struct storm *s, struct edge *e, const uint8_t *body, size_t size) {
        struct gw_batch batch = gw_batch_open(body, size);
        struct gw_mapping mapping;
        struct gw_member member;
        int what;

        while ((what = gw_batch_next(&batch, &mapping, &member)) != GW_BATCH_END) {
                assert_int_not_equal(what, GW_BATCH_BAD);
                if (what != GW_BATCH_MEMBER || gw_ip_is_unspecified(member.locator))
                        continue;
                e->blue += member.vni == BLUE;
                e->red += member.vni == RED;
                if (member.vni == RED && !e->red_when.ns)
                        e->red_when = s->busy_until;
        }
}

static void send_frame(struct gw_nve *to, uint8_t type, uint32_t id, const uint8_t *body, size_t size, void *user) {
        struct storm *s = user;
        struct edge *e = edge_of(s, to);

        assert_int_equal(type, GW_FRAME_UPDATE);
        if (s->end == s->room) {
                s->room = s->room ? 2 * s->room : 1024;
                s->way = realloc(s->way, s->room * sizeof *s->way);
                assert_non_null(s->way);
        }
        if (s->busy_until.ns < s->now.mono.ns)
                s->busy_until = s->now.mono;
        s->busy_until.ns += (MESSAGE_US + size / OCTETS_PER_US) * 1000;
        s->way[s->end++] = (struct frame){(unsigned)(e - s->edges), id, size, s->busy_until};
        s->octets += size;
        s->most = s->octets > s->most ? s->octets : s->most;
        read_members(s, e, body, size);
}

static void drop(struct gw_nve *nve, const char *reason, void *user) {
        (void)reason;
        edge_of(user, nve)->dropped = true;
}

static void store(enum gw_record table, const void *key, size_t key_size, const void *value, size_t value_size,
                  void *user) {
        (void)table, (void)key, (void)key_size, (void)value, (void)value_size, (void)user;
}

static void unstore(enum gw_record table, const void *key, size_t key_size, void *user) {
        (void)table, (void)key, (void)key_size, (void)user;
}

static void changed(enum gw_object kind, const char *id, bool gone, void *user) {
        (void)kind, (void)id, (void)gone, (void)user;
}

static void note(enum gw_note kind, const char *text, void *user) {
        (void)kind, (void)text, (void)user;
}

static const struct gw_directory_effects effects = {
        .store = store, .unstore = unstore, .send = send_frame, .drop = drop, .changed = changed, .note = note};

static void reach(struct storm *s, struct gw_mono at) {
        if (at.ns <= s->now.mono.ns)
                return;
        s->now.wall.ns += at.ns - s->now.mono.ns;
        s->now.mono = at;
}

/* The next thing that happens: a frame gets there, or the directory's own time comes. */
static bool step(struct storm *s) {
        struct gw_mono deadline = gw_directory_deadline(&s->d);
        bool arrives = s->first < s->end && (!deadline.ns || s->way[s->first].there.ns <= deadline.ns);

        if (arrives) {
                struct frame f = s->way[s->first++];

                reach(s, f.there);
                s->octets -= f.size;
                if (!s->edges[f.to].dead)
                        gw_directory_ack(&s->d, s->edges[f.to].nve, f.id, s->now);
        } else if (deadline.ns) {
                reach(s, deadline);
                gw_directory_tick(&s->d, s->now);
        }
        return arrives || deadline.ns;
}

/* ---- the data centre ---- */

static void hello(struct storm *s, unsigned i) {
        struct gw_hello hello = {.role = GW_ROLE_NVE, .restart_count = 1};
        struct gw_error error;

        hello.locator = gw_ip_from_v4(htobe32(0x0a000001 + i));
        snprintf(hello.id.s, sizeof hello.id.s, "h%u", i);
        assert_int_equal(gw_directory_hello(&s->d, &hello, s->now, &s->edges[i].nve, &error), 0);
}

static void subscribe(struct storm *s, unsigned i) {
        const uint32_t vnis[] = {BLUE, RED};

        gw_directory_subscribe(&s->d, s->edges[i].nve, vnis, i % RED_EACH ? 1 : 2, s->now);
}

static void make_vn(struct storm *s, const char *id, uint32_t vni, const char *subnet) {
        struct gw_prefix prefix;
        struct gw_vn_spec spec = {.id = id, .vni = vni, .n_subnets = 1, .subnets = &prefix};
        struct gw_error error;
        struct gw_vn *vn;

        assert_int_equal(gw_prefix_parse(subnet, &prefix), 0);
        assert_int_equal(gw_directory_vn_create(&s->d, &spec, &vn, &error), 0);
}

/* All are members, and all sessions have ended. */
static int setup(void **state) {
        static const uint64_t seed[2] = {1, 2};
        const char *wanted = getenv("GW_EDGES");
        struct storm *s = calloc(1, sizeof *s);

        s->n = wanted ? (unsigned)atoi(wanted) : EDGES;
        s->edges = calloc(s->n, sizeof *s->edges);
        s->now = (struct gw_now){{GW_NS_PER_S}, {UINT64_C(1700000000) * GW_NS_PER_S}};
        assert_int_equal(gw_directory_init(&s->d, seed, 3600, &effects, s), 0);
        make_vn(s, "blue", BLUE, "10.0.0.0/8");
        make_vn(s, "red", RED, "11.0.0.0/8");
        for (unsigned i = 0; i < s->n; i++) {
                hello(s, i);
                subscribe(s, i);
        }
        for (unsigned i = 0; i < s->n; i++) {
                gw_directory_bye(&s->d, s->edges[i].nve, s->now);
                s->edges[i] = (struct edge){0};
        }
        assert_int_equal(s->d.on_the_way_us, 0);
        assert_int_equal(s->d.lists_us, 0);
        s->first = s->end = 0;
        s->octets = s->most = 0;
        reach(s, gw_mono_after(s->now.mono, gw_s(10)));
        s->busy_until = s->began = s->now.mono;
        memset(&s->d.counters, 0, sizeof s->d.counters);
        *state = s;
        return 0;
}

static int teardown(void **state) {
        struct storm *s = *state;

        gw_directory_deinit(&s->d);
        free(s->edges);
        free(s->way);
        free(s);
        return 0;
}

static void begin(struct storm *s) {
        for (unsigned i = 0; i < s->n; i++)
                hello(s, i);
        for (unsigned i = 0; i < s->n; i++)
                subscribe(s, i);
}

static uint64_t ms_since(const struct storm *s, struct gw_mono at) {
        return (at.ns - s->began.ns) / GW_NS_PER_MS;
}

/* ---- the storms ---- */

static void all_at_once(void **state) {
        struct storm *s = *state;
        uint64_t red_ms = 0;

        begin(s);
        while (step(s))
                ;
        for (unsigned i = 0; i < s->n; i++) {
                assert_int_equal(s->edges[i].blue, s->n - 1); /* each of them, and once */
                assert_false(s->edges[i].dropped);
                if (s->edges[i].red_when.ns && ms_since(s, s->edges[i].red_when) > red_ms)
                        red_ms = ms_since(s, s->edges[i].red_when);
        }
        assert_int_equal(s->d.counters.retransmissions, 0);
        assert_true(s->d.counters.set_aside > 0);
        assert_in_range(s->most, 1, ON_THE_WAY_MAX);
        assert_in_range(red_ms, 1, ms_since(s, s->now.mono) * 2 / 3); /* the short ones were not last */
        assert_int_equal(s->d.on_the_way_us, 0);
        assert_int_equal(s->d.lists_us, 0);
}

/* A third of them have died since: they cost some time, and are given up one after the other. */
static void some_are_dead(void **state) {
        struct storm *s = *state;
        unsigned living = s->n, dropped = 0;

        for (unsigned i = 0; i < s->n; i += 3)
                s->edges[i].dead = true;
        begin(s);
        while (living && step(s)) {
                living = 0;
                for (unsigned i = 0; i < s->n && !living; i++)
                        living += !s->edges[i].dead && s->edges[i].blue < s->n - 1;
        }
        assert_int_equal(living, 0);
        assert_in_range(ms_since(s, s->now.mono), 1, 10 * 1000); /* long before the dead are given up */
        while (step(s))
                ;
        for (unsigned i = 0; i < s->n; i++) {
                assert_int_equal(s->edges[i].dropped, s->edges[i].dead);
                dropped += s->edges[i].dropped;
        }
        assert_int_equal(s->d.counters.behind, dropped);
        assert_int_equal(s->d.on_the_way_us, 0);
        assert_int_equal(s->d.lists_us, 0);
}

/* Something that all are to be told anew, every 50 ms while lists are on the way: what is in the sockets counts all the same. */
static void touched_meanwhile(void **state) {
        struct storm *s = *state;
        struct gw_mono next;
        unsigned touched = 0;

        begin(s);
        next = gw_mono_after(s->now.mono, gw_ms(50));
        while (touched < 40 && step(s)) {
                if (!gw_mono_reached(s->now.mono, next))
                        continue;
                next = gw_mono_after(s->now.mono, gw_ms(50));
                gw_dir_member_touch(&s->d,
                                    gw_dir_member_find(&s->d, gw_directory_vn_by_vni(&s->d, BLUE), s->edges[0].nve));
                gw_directory_tick(&s->d, s->now);
                touched++;
        }
        assert_int_equal(touched, 40);
        assert_in_range(s->most, 1, ON_THE_WAY_MAX);
        while (step(s))
                ;
        for (unsigned i = 0; i < s->n; i++)
                assert_false(s->edges[i].dropped);
        assert_int_equal(s->d.on_the_way_us, 0);
        assert_int_equal(s->d.lists_us, 0);
}

/* What changes while lists wait is in them when their turn comes; who goes meanwhile has no turn. */
static void changes_meanwhile(void **state) {
        struct storm *s = *state;
        unsigned last = s->n - 1;

        begin(s);
        assert_true(s->d.counters.set_aside > 0);
        assert_int_equal(s->edges[last].blue, 0);
        gw_directory_bye(&s->d, s->edges[last].nve, s->now);
        assert_false(gw_list_linked(&s->edges[last].nve->in_lists));
        hello(s, 1); /* a new session: its list is told anew, at the end of the row */
        s->edges[1].blue = 0;
        subscribe(s, 1);
        while (s->first < s->end && step(s)) /* until nothing is on the way */
                ;
        assert_int_equal(s->edges[1].blue, s->n - 1);
        assert_int_equal(s->edges[last].blue, 0);
        assert_int_equal(s->edges[last - 1].blue, s->n - 1);
        hello(s, last);
        subscribe(s, last);
        while (s->first < s->end && step(s)) /* until nothing is on the way */
                ;
        assert_int_equal(s->edges[last].blue, s->n - 1);
        assert_int_equal(s->d.counters.retransmissions, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(all_at_once, setup, teardown),
                cmocka_unit_test_setup_teardown(some_are_dead, setup, teardown),
                cmocka_unit_test_setup_teardown(touched_meanwhile, setup, teardown),
                cmocka_unit_test_setup_teardown(changes_meanwhile, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
