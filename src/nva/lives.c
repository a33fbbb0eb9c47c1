/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of lives, by VM. Lost with this process: what must outlast it is in the directory, and an agent's inventory
 * says the rest. Those that are to be started again are in a list of their own (nva->restarts), since that is looked at in every
 * turn of the loop.
 */
#include "nva/lives.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "nva/life.h"

static bool life_match(const struct gw_table_node *node, const void *key) {
        return !strcmp(gw_container_of(node, struct life, node)->vm.s, key);
}

int life_init(struct nva *nva, const uint64_t seed[2]) {
        return gw_table_init(&nva->lives, seed, life_match);
}

static void free_life(struct gw_table_node *node, void *user) {
        (void)user;
        free(gw_container_of(node, struct life, node));
}

void life_deinit(struct nva *nva) {
        if (!nva->lives.buckets)
                return;
        gw_table_each(&nva->lives, free_life, NULL);
        gw_table_deinit(&nva->lives);
}

struct life *life_find(const struct nva *nva, const char *vm) {
        struct gw_table_node *node = gw_table_find(&nva->lives, gw_table_hash(&nva->lives, vm, strlen(vm)), vm);

        return node ? gw_container_of(node, struct life, node) : NULL;
}

struct life *life_of(struct nva *nva, const char *vm) {
        struct life *life = life_find(nva, vm);

        if (life)
                return life;
        life = calloc(1, sizeof *life);
        if (!life)
                return NULL;
        snprintf(life->vm.s, sizeof life->vm.s, "%s", vm);
        if (gw_table_insert(&nva->lives, &life->node, gw_table_hash(&nva->lives, vm, strlen(vm)))) {
                free(life);
                return NULL;
        }
        return life;
}

void life_forget(struct nva *nva, const char *vm) {
        struct life *life = life_find(nva, vm);

        if (!life)
                return;
        gw_table_remove(&nva->lives, &life->node);
        gw_list_remove(&life->due);
        free(life);
}

void life_start_at(struct nva *nva, struct life *life, struct gw_mono at) {
        life->start_at = at;
        gw_list_remove(&life->due);
        if (at.ns)
                gw_list_append(&nva->restarts, &life->due);
}

const char *life_reason(const struct nva *nva, const char *vm) {
        const struct life *life = life_find(nva, vm);

        return life ? life->reason : "";
}

void life_say(struct nva *nva, const char *vm, const char *reason) {
        struct life *life = life_of(nva, vm);

        if (!life)
                return;
        snprintf(life->reason, sizeof life->reason, "%s", reason ? reason : "");
        gw_text_mend(life->reason);
}
