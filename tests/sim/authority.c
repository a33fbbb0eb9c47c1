/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nva/nva.c and nva/peers.c do, without their sockets: the directory's
 * effects staged in the store, frames that wait for the commit, frames of edges
 * handed to the directory. A frame that does not decode, or that an edge may
 * not send, ends the test: both ends are ours.
 */
#include "sim/authority.h"

#include <stdlib.h>
#include <string.h>

enum { VNIS_MAX = 64 };

static const struct gw_ip nobody; /* the session stands for the authority's address */

struct gw_nve *authority_nve(struct authority *a, int link) {
        char id[16];

        snprintf(id, sizeof id, "n%d", link);
        return gw_directory_nve(&a->d, id);
}

int authority_link(const struct gw_nve *nve) {
        return nve ? atoi(nve->id.s + 1) : -1;
}

/* --- effects --- */

static void effect_store(enum gw_record table, const void *key, size_t nkey, const void *val, size_t nval, void *user) {
        if (gw_store_put(((struct authority *)user)->store, (enum gw_store_table)table, key, nkey, val, nval))
                abort();
}

static void effect_unstore(enum gw_record table, const void *key, size_t nkey, void *user) {
        if (gw_store_del(((struct authority *)user)->store, (enum gw_store_table)table, key, nkey))
                abort();
}

void authority_answer(struct authority *a, int link, const void *frame, size_t size) {
        struct net_message *m = net_message(link, NET_DOWN, frame, size);

        m->how = a->net->sessions;
        a->outbox[a->n_outbox++] = m;
}

void authority_datagram(struct authority *a, int link, const void *bytes, size_t size) {
        authority_answer(a, link, bytes, size);
        a->outbox[a->n_outbox - 1]->how = NET_DATAGRAM;
}

static void effect_send(struct gw_nve *to, uint8_t type, uint32_t id, const uint8_t *body, size_t size, void *user) {
        struct gw_frame_header header = {
                .length = (uint32_t)size + GW_FRAME_HEADER_SIZE, .version = GW_FRAME_VERSION, .type = type, .id = id};
        uint8_t *frame = malloc(header.length);
        struct gw_writer w = gw_writer(frame, header.length);

        gw_frame_header_encode(&w, &header);
        gw_put_bytes(&w, body, size);
        authority_answer(user, authority_link(to), frame, header.length);
        free(frame);
}

static void effect_drop(struct gw_nve *nve, const char *reason, void *user) {
        (void)reason;
        ((struct authority *)user)->drops[authority_link(nve)] = true;
}

static void effect_changed(enum gw_object kind, const char *id, bool gone, void *user) {
        (void)kind, (void)id, (void)gone, (void)user;
}

static void effect_note(enum gw_note kind, const char *text, void *user) {
        (void)kind;
        net_trace(((struct authority *)user)->net, "directory: %s", text);
}

static bool effect_notice(struct gw_ip to, enum gw_notice_kind kind, const struct gw_registration *request,
                          void *user) {
        struct authority *a = user;

        (void)kind;
        return a->notice && a->notice(a, to, request);
}

static const struct gw_directory_effects effects = {.store = effect_store,
                                                    .unstore = effect_unstore,
                                                    .send = effect_send,
                                                    .drop = effect_drop,
                                                    .changed = effect_changed,
                                                    .note = effect_note,
                                                    .notice = effect_notice};

/* --- turns, commits, crashes --- */

static void directory_begin(struct authority *a) {
        uint64_t seed[2] = {dice_u64(&a->net->dice), dice_u64(&a->net->dice)};

        if (gw_directory_init(&a->d, seed, a->lease_s, &effects, a))
                abort();
        a->started_ns = a->net->now_ns;
        a->restarts++;
        a->up = true;
}

void authority_init(struct authority *a, struct net *net, uint32_t lease_s) {
        *a = (struct authority){.net = net, .lease_s = lease_s};
        if (gw_store_memory_new(&a->store))
                abort();
        directory_begin(a);
}

void authority_deinit(struct authority *a) {
        authority_post(a, 0);
        if (a->up)
                gw_directory_deinit(&a->d);
        gw_store_free(a->store);
}

void authority_commit(struct authority *a) {
        if (gw_store_commit(a->store))
                abort();
}

void authority_post(struct authority *a, size_t n) {
        for (size_t i = 0; i < a->n_outbox; i++) {
                if (i < n)
                        net_post(a->net, a->outbox[i], a->outbox[i]->how);
                else
                        free(a->outbox[i]);
        }
        a->n_outbox = 0;
}

void authority_crash(struct authority *a) {
        net_trace(a->net, "authority crashes");
        authority_post(a, 0);
        gw_store_memory_crash(a->store);
        a->up = false;
        gw_directory_deinit(&a->d);
        memset(a->drops, 0, sizeof a->drops);
        memset(a->hello, 0, sizeof a->hello);
}

struct loading {
        struct authority *a;
        enum gw_record table;
};

static int load_one(const void *key, size_t nkey, const void *val, size_t nval, void *user) {
        const struct loading *at = user;
        struct gw_error error;

        if (gw_directory_load(&at->a->d, at->table, key, nkey, val, nval, net_now(at->a->net), &error))
                net_die(at->a->net, "%s", error.text);
        return 0;
}

void authority_start(struct authority *a) {
        struct loading at = {a, GW_RECORD_META};

        net_trace(a->net, "authority starts");
        directory_begin(a);
        for (; at.table <= GW_RECORD_HISTORY; at.table++)
                gw_store_each(a->store, (enum gw_store_table)at.table, load_one, &at);
        gw_directory_loaded(&a->d);
        for (int n = 0; n < NET_LINKS_MAX; n++)
                if (authority_nve(a, n))
                        gw_directory_nve_hv(&a->d, authority_nve(a, n), true);
}

/* --- frames of edges --- */

static void on_hello(struct authority *a, int n, uint32_t id, const uint8_t *body, size_t size) {
        static const struct gw_name self = {"nva"};
        struct gw_hello hello;
        struct gw_nve *nve;
        struct gw_error error;
        uint8_t frame[256];
        struct gw_writer w = gw_writer(frame, sizeof frame);

        if (gw_hello_decode(body, size, &hello) || gw_directory_hello(&a->d, &hello, net_now(a->net), &nve, &error))
                net_die(a->net, "hello of n%d refused", n);
        gw_directory_nve_hv(&a->d, nve, true);
        gw_directory_nve_capacity(&a->d, nve, 1000, 1000);
        a->hello[n] = true;
        authority_answer(a, n, frame, gw_welcome_encode(&w, id, &self, a->restarts));
}

static void on_register(struct authority *a, int n, uint32_t id, const uint8_t *body, size_t size) {
        struct gw_registration request, reply;
        struct gw_register reg;
        uint8_t message[GW_MH_SIZE_MAX], frame[GW_MH_SIZE_MAX + 64];
        struct gw_writer out = gw_writer(message, sizeof message), w = gw_writer(frame, sizeof frame);

        if (gw_register_decode(body, size, &reg) ||
            gw_registration_decode(reg.message, reg.message_size, reg.locator, nobody, &request))
                net_die(a->net, "a registration of n%d does not decode", n);
        if (gw_directory_register(&a->d, authority_nve(a, n), &request, net_now(a->net), &reply))
                return;
        if (a->answered)
                a->answered(a, n, &reply);
        if (gw_registration_encode(&out, nobody, reg.locator, &reply))
                net_die(a->net, "an answer does not encode");
        reg.message = message;
        reg.message_size = out.at;
        authority_answer(a, n, frame, gw_register_encode(&w, GW_FRAME_REGISTERED, id, &reg));
}

static void on_query(struct authority *a, int n, uint32_t id, const uint8_t *body, size_t size) {
        struct gw_query query;
        struct gw_mapping mapping;
        uint8_t frame[2048];
        struct gw_writer w = gw_writer(frame, sizeof frame);

        if (gw_query_decode(body, size, &query))
                net_die(a->net, "a query does not decode");
        gw_directory_query(&a->d, authority_nve(a, n), &query, net_now(a->net), &mapping);
        authority_answer(a, n, frame, gw_batch_encode(&w, GW_FRAME_RESPONSE, id, &mapping, 1, NULL, 0));
}

static int on_other(struct authority *a, int n, const struct gw_frame_header *header, const uint8_t *body,
                    size_t size) {
        static struct gw_report report;
        static struct gw_digest digest;
        static struct gw_held held;
        struct gw_nve *nve = authority_nve(a, n);
        struct gw_now now = net_now(a->net);
        struct gw_absence absence;
        uint32_t vnis[VNIS_MAX];
        size_t count;

        if (header->type == GW_FRAME_DIGEST && !gw_digest_decode(body, size, &digest))
                gw_directory_digest(&a->d, nve, header->id, &digest, now);
        else if (header->type == GW_FRAME_HELD && !gw_held_decode(body, size, &held))
                gw_directory_held(&a->d, nve, header->id, &held, now);
        else if (header->type == GW_FRAME_ABSENCE && !gw_absence_decode(body, size, &absence))
                gw_directory_absence(&a->d, nve, &absence, now);
        else if (header->type == GW_FRAME_SUBSCRIBE && !gw_subscribe_decode(body, size, vnis, VNIS_MAX, &count))
                gw_directory_subscribe(&a->d, nve, vnis, count, now);
        else if (header->type == GW_FRAME_UPDATE_ACK)
                gw_directory_ack(&a->d, nve, header->id, now);
        else if (header->type == GW_FRAME_REPORT && !gw_report_decode(body, size, &report))
                gw_directory_report(&a->d, nve, &report, now);
        else
                return GW_E_INVALID;
        return 0;
}

void authority_frame(struct authority *a, int n, const struct net_message *m) {
        const uint8_t *body = m->bytes + GW_FRAME_HEADER_SIZE;
        size_t size = m->size - GW_FRAME_HEADER_SIZE;
        struct gw_frame_header header;

        if (gw_frame_header_decode(m->bytes, m->size, &header))
                net_die(a->net, "a frame does not decode");
        if (header.type == GW_FRAME_HELLO)
                on_hello(a, n, header.id, body, size);
        else if (header.type == GW_FRAME_REGISTER)
                on_register(a, n, header.id, body, size);
        else if (header.type == GW_FRAME_QUERY)
                on_query(a, n, header.id, body, size);
        else if (on_other(a, n, &header, body, size))
                net_die(a->net, "frame of type %u from n%d", header.type, n);
}

void authority_bye(struct authority *a, int link) {
        if (a->up && a->hello[link])
                gw_directory_bye(&a->d, authority_nve(a, link), net_now(a->net));
        a->hello[link] = false;
}
