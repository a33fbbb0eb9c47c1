/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs have seen: counters, talkers, stale senders, frames in flight.
 *
 * Talkers and stale senders are LRU maps filled by packets, so they are bounded
 * whatever strangers send. They are read in batches: a cut waits for the talkers of
 * its VM, and one system call per element would take tens of milliseconds.
 */
#include "datapath/private.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/time.h"

enum { BATCH = 4096 }; /* elements; a hash bucket must fit */

int gw_datapath_counters(struct gw_datapath *dp, uint64_t out[static GW_COUNT_MAX]) {
        for (uint32_t i = 0; i < GW_COUNT_MAX; i++) {
                int r = bpf_map_lookup_elem(dp->maps[MAP_COUNTERS], &i, dp->per_cpu);
                if (r)
                        return r;
                out[i] = 0;
                for (int cpu = 0; cpu < dp->cpus; cpu++)
                        out[i] += dp->per_cpu[cpu];
        }
        return 0;
}

int gw_datapath_flight(struct gw_datapath *dp, uint32_t vni, struct gw_mac mac, uint64_t *frames, uint64_t *last_ns) {
        struct gw_abi_mac_key key = gw_mac_key(vni, mac);
        struct gw_abi_seen seen;
        int r = bpf_map_lookup_elem(dp->maps[MAP_FLIGHTS], &key, &seen);

        if (r)
                return r == -ENOENT ? GW_E_NOT_FOUND : r;
        *frames = seen.packets;
        *last_ns = seen.last_ns;
        return 0;
}

struct batch {
        struct gw_abi_peer_key keys[BATCH];
        struct gw_abi_seen values[BATCH];
};

typedef int (*batch_call)(int fd, void *in, void *out, void *keys, void *values, __u32 *count,
                          const struct bpf_map_batch_opts *opts);

/* Runs `call` over the whole map; non-zero from `each` ends it and is returned. */
static int in_batches(int fd, batch_call call,
                      int (*each)(const struct gw_abi_peer_key *key, const struct gw_abi_seen *value, void *user),
                      void *user) {
        struct batch *b = malloc(sizeof *b);
        uint32_t place = 0;
        bool first = true;
        int r = 0, done = 0;

        if (!b)
                return -ENOMEM;
        while (!r && !done) {
                uint32_t n = BATCH;
                r = call(fd, first ? NULL : &place, &place, b->keys, b->values, &n, NULL);
                done = r == -ENOENT;
                if (r && !done)
                        break;
                r = 0;
                first = false;
                for (uint32_t i = 0; i < n && !r; i++)
                        r = each(&b->keys[i], &b->values[i], user);
        }
        free(b);
        return r;
}

static uint64_t since(uint32_t within_ms) {
        uint64_t now = gw_mono_now().ns, within_ns = within_ms * GW_NS_PER_MS;

        return now > within_ns ? now - within_ns : 0;
}

struct talkers {
        uint32_t vni;
        struct gw_mac mac;
        uint64_t since_ns;
        struct gw_ip *out;
        size_t n, max;
};

static int talkers_one(const struct gw_abi_peer_key *key, const struct gw_abi_seen *value, void *user) {
        struct talkers *t = user;

        if (key->vni == t->vni && !memcmp(key->mac, t->mac.b, sizeof key->mac) && value->last_ns >= t->since_ns &&
            t->n < t->max)
                t->out[t->n++] = gw_abi_ip(key->locator);
        return 0;
}

int gw_datapath_talkers_of(struct gw_datapath *dp, uint32_t vni, struct gw_mac mac, uint32_t within_ms,
                           struct gw_ip *out, size_t max) {
        struct talkers t = {.vni = vni, .mac = mac, .since_ns = since(within_ms), .out = out, .max = max};
        int r = in_batches(dp->maps[MAP_TALKERS], bpf_map_lookup_batch, talkers_one, &t);

        return r ? r : (int)t.n;
}

struct talkers_walk {
        uint64_t since_ns;
        int (*each)(uint32_t vni, struct gw_ip locator, void *user);
        void *user;
};

static int talker_each(const struct gw_abi_peer_key *key, const struct gw_abi_seen *value, void *user) {
        const struct talkers_walk *w = user;

        return value->last_ns >= w->since_ns ? w->each(key->vni, gw_abi_ip(key->locator), w->user) : 0;
}

int gw_datapath_talkers_each(struct gw_datapath *dp, uint32_t within_ms,
                             int (*each)(uint32_t vni, struct gw_ip locator, void *user), void *user) {
        struct talkers_walk w = {since(within_ms), each, user};

        return in_batches(dp->maps[MAP_TALKERS], bpf_map_lookup_batch, talker_each, &w);
}

static int lookup_and_delete(int fd, void *in, void *out, void *keys, void *values, __u32 *count,
                             const struct bpf_map_batch_opts *opts) {
        return bpf_map_lookup_and_delete_batch(fd, in, out, keys, values, count, opts);
}

struct stale_walk {
        int (*each)(const struct gw_stale *stale, void *user);
        void *user;
};

static int stale_one(const struct gw_abi_peer_key *key, const struct gw_abi_seen *value, void *user) {
        const struct stale_walk *w = user;
        struct gw_stale stale = {.vni = key->vni,
                                 .mac = gw_abi_mac(key->mac),
                                 .sender = gw_abi_ip(key->locator),
                                 .packets = value->packets,
                                 .last_ns = value->last_ns};

        return w->each(&stale, w->user);
}

int gw_datapath_stale_drain(struct gw_datapath *dp, int (*each)(const struct gw_stale *stale, void *user), void *user) {
        struct stale_walk w = {each, user};

        return in_batches(dp->maps[MAP_STALE], lookup_and_delete, stale_one, &w);
}
