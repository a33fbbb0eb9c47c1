/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of a VM beside its definition, and is no agent's business: where its disks are, which moves it forbids. */
#pragma once

#include <jansson.h>

#include "nva/nva.h"

struct nva_terms {
        struct gw_name home; /* where it last ran: what is its own on a host is there. Empty: it never ran */
        unsigned forbid;     /* GW_MODE_..: ways in which it must not be moved while it runs */
};

void terms_of(const struct gw_vm *vm, struct nva_terms *out);
/* Durable with this turn; nothing is written when nothing changes. */
int terms_set(struct nva *nva, struct gw_vm *vm, const struct nva_terms *terms, struct gw_error *error);
void terms_set_home(struct nva *nva, struct gw_vm *vm, const char *nve);
struct gw_nve *terms_home(const struct nva *nva, const struct gw_vm *vm); /* NULL: none, or deleted since */
/* It cannot be started on that host, as *error says: adds where its own disks are, and what to do, where it has any. */
void terms_tell_disks(const struct nva *nva, const struct gw_vm *vm, const char *tried, struct gw_error *error);

/* `forbid` of a body: a list of modes; into->forbid stays when it is absent. */
struct gw_json_reader;
void terms_read_forbid(struct gw_json_reader *r, unsigned *forbid);

void terms_strip(json_t *definition);                    /* for an agent */
void terms_show(const struct gw_vm *vm, json_t *object); /* for people: members home and forbid */
