/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking ahead. A look-up in a large directory is mostly waiting for memory:
 * the slot of the index, the port, its VM, the holder's bucket, the holder, each
 * known only when the one before has come. Queries that came together wait
 * for theirs together: each step is taken for all of them before the next.
 * So do records that are loaded one after the other: they go into the indexes
 * at places that have nothing to do with their order.
 *
 * Nothing here changes or decides anything; without it answers are the same.
 */
#include "directory/internal.h"

enum { AHEAD_MAX = GW_DIRECTORY_AHEAD_MAX, LINE = 64 };

struct step {
        uint64_t hash, pair_hash;
        const struct gw_port *port;
};

static const struct gw_index *index_of(const struct gw_directory *d, const struct gw_query *query) {
        return query->by_mac ? &d->by_mac : &d->by_ip;
}

static uint64_t hash_of(const struct gw_directory *d, const struct gw_query *query) {
        struct mac_key mac = {.vni = query->vni, .mac = query->mac};
        struct ip_key ip = {.vni = query->vni, .ip = query->ip};

        return query->by_mac ? gw_index_hash(&d->by_mac, &mac, sizeof mac) : gw_index_hash(&d->by_ip, &ip, sizeof ip);
}

static void fetch(const void *from, size_t size) {
        uintptr_t end = (uintptr_t)from + size;

        for (uintptr_t line = (uintptr_t)from & ~(uintptr_t)(LINE - 1); line < end; line += LINE)
                __builtin_prefetch((const void *)line);
}

void gw_directory_ahead(const struct gw_directory *d, const struct gw_nve *nve, const struct gw_query *queries,
                        size_t n) {
        struct step steps[AHEAD_MAX];

        n = n < AHEAD_MAX ? n : AHEAD_MAX;
        for (size_t i = 0; i < n; i++) {
                steps[i].hash = hash_of(d, &queries[i]);
                gw_index_fetch(index_of(d, &queries[i]), steps[i].hash);
        }
        for (size_t i = 0; i < n; i++) {
                steps[i].port = gw_index_likely(index_of(d, &queries[i]), steps[i].hash);
                if (steps[i].port)
                        fetch(steps[i].port, sizeof *steps[i].port);
        }
        for (size_t i = 0; i < n; i++) {
                struct pair_key key = {.nve = nve};

                if (!steps[i].port)
                        continue;
                key.about = gw_port_vm(steps[i].port);
                fetch(key.about, sizeof(struct gw_vm));
                steps[i].pair_hash = gw_dir_pair_hash(d, &key);
                gw_table_expect(&d->pairs, steps[i].pair_hash);
        }
        for (size_t i = 0; i < n; i++) {
                const struct gw_table_node *node =
                        steps[i].port ? gw_table_expect_node(&d->pairs, steps[i].pair_hash) : NULL;

                if (node)
                        fetch(node, offsetof(struct directory_holder, in_vm));
        }
}

static void fetch_port(const struct gw_directory *d, const struct gw_stored *record) {
        struct gw_port_spec spec;
        const struct gw_vn *vn = gw_dir_record_keys(d, record, &spec);
        struct gw_query query = {.by_mac = true};

        if (!vn)
                return;
        query.vni = vn->vni;
        query.mac = spec.mac;
        gw_index_fetch(&d->by_mac, hash_of(d, &query));
        query.by_mac = false;
        for (unsigned i = 0; i < spec.n_ips; i++) {
                query.ip = spec.ips[i];
                gw_index_fetch(&d->by_ip, hash_of(d, &query));
        }
}

void gw_directory_load_ahead(const struct gw_directory *d, enum gw_record table, const struct gw_stored *records,
                             size_t n) {
        for (size_t i = 0; i < n; i++) {
                if (table == GW_RECORD_VM)
                        gw_index_fetch(&d->by_id, gw_index_hash(&d->by_id, records[i].key, records[i].key_size));
                else if (table == GW_RECORD_PORT)
                        fetch_port(d, &records[i]);
        }
}
