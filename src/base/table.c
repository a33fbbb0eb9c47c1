/* SPDX-License-Identifier: Apache-2.0 */
#include "base/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE_FIRST_SIZE = 16 };

static inline uint64_t rotl(uint64_t x, int n) {
        return x << n | x >> (64 - n);
}

static inline __attribute__((always_inline)) void sip_round(uint64_t v[4]) {
        v[0] += v[1];
        v[1] = rotl(v[1], 13);
        v[1] ^= v[0];
        v[0] = rotl(v[0], 32);
        v[2] += v[3];
        v[3] = rotl(v[3], 16);
        v[3] ^= v[2];
        v[0] += v[3];
        v[3] = rotl(v[3], 21);
        v[3] ^= v[0];
        v[2] += v[1];
        v[1] = rotl(v[1], 17);
        v[1] ^= v[2];
        v[2] = rotl(v[2], 32);
}

/* The last 0 to 7 octets, as a little-endian word. */
static uint64_t rest_of(const uint8_t *p, size_t n) {
        uint64_t word = 0, at = 0;

        if (n & 4) {
                uint32_t four;

                memcpy(&four, p, 4);
                word = four;
                at = 4;
        }
        for (; at < n; at++)
                word |= (uint64_t)p[at] << at * 8;
        return word;
}

static inline __attribute__((always_inline)) void sip_word(uint64_t v[4], uint64_t word) {
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
}

/* SipHash (Aumasson and Bernstein, 2012) with one round a word and three at the end, enough where nobody
 * sees the hashes; on a little-endian machine. */
uint64_t gw_hash(const uint64_t key[2], const void *bytes, size_t n) {
        const uint8_t *p = bytes;
        uint64_t k0 = key[0], k1 = key[1], word;
        uint64_t v[4] = {k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261,
                         k1 ^ 0x7465646279746573};
        size_t left = n;

        for (; left >= 8; left -= 8, p += 8) {
                memcpy(&word, p, 8);
                sip_word(v, word);
        }
        sip_word(v, rest_of(p, left) | (uint64_t)n << 56);
        v[2] ^= 0xff;
        for (int i = 0; i < 3; i++)
                sip_round(v);
        return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t gw_table_hash(const struct gw_table *table, const void *bytes, size_t n) {
        return gw_hash(table->key, bytes, n);
}

int gw_table_init(struct gw_table *table, const uint64_t seed[2],
                  bool (*match)(const struct gw_table_node *node, const void *key)) {
        *table = (struct gw_table){.mask = TABLE_FIRST_SIZE - 1, .key = {seed[0], seed[1]}, .match = match};
        table->buckets = calloc(TABLE_FIRST_SIZE, sizeof *table->buckets);
        return table->buckets ? 0 : -ENOMEM;
}

void gw_table_deinit(struct gw_table *table) {
        free(table->buckets);
        *table = (struct gw_table){0};
}

struct gw_table_node *gw_table_find(const struct gw_table *table, uint64_t hash, const void *key) {
        struct gw_table_node *node = table->buckets[hash & table->mask];

        while (node && !(node->hash == hash && table->match(node, key)))
                node = node->next;
        return node;
}

void gw_table_expect(const struct gw_table *table, uint64_t hash) {
        __builtin_prefetch(&table->buckets[hash & table->mask]);
}

const struct gw_table_node *gw_table_expect_node(const struct gw_table *table, uint64_t hash) {
        const struct gw_table_node *node = table->buckets[hash & table->mask];

        __builtin_prefetch(node);
        return node;
}

static int table_grow(struct gw_table *table) {
        size_t size = (table->mask + 1) * 2;
        struct gw_table_node **buckets = calloc(size, sizeof *buckets), *node, *next;

        if (!buckets)
                return -ENOMEM;
        for (size_t i = 0; i <= table->mask; i++)
                for (node = table->buckets[i]; node; node = next) {
                        next = node->next;
                        node->next = buckets[node->hash & (size - 1)];
                        buckets[node->hash & (size - 1)] = node;
                }
        free(table->buckets);
        table->buckets = buckets;
        table->mask = size - 1;
        return 0;
}

int gw_table_insert(struct gw_table *table, struct gw_table_node *node, uint64_t hash) {
        int r;

        if (table->count > table->mask) {
                r = table_grow(table);
                if (r < 0)
                        return r;
        }
        node->hash = hash;
        node->next = table->buckets[hash & table->mask];
        table->buckets[hash & table->mask] = node;
        table->count++;
        return 0;
}

void gw_table_remove(struct gw_table *table, struct gw_table_node *node) {
        struct gw_table_node **at = &table->buckets[node->hash & table->mask];

        while (*at && *at != node)
                at = &(*at)->next;
        if (!*at)
                return;
        *at = node->next;
        node->next = NULL;
        table->count--;
}

void gw_table_each(struct gw_table *table, void (*each)(struct gw_table_node *node, void *user), void *user) {
        struct gw_table_node *node, *next;

        for (size_t i = 0; i <= table->mask; i++)
                for (node = table->buckets[i]; node; node = next) {
                        next = node->next;
                        each(node, user);
                }
}
