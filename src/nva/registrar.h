/* SPDX-License-Identifier: Apache-2.0 */
/* Registrations, whichever way they came: judged by the directory, told to the mover, counted by their status. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/time.h"
#include "wire/registration.h"

struct gw_nve;
struct nva;

struct registrar {
        uint64_t by_status[256]; /* of the Replies */
        uint64_t unanswered;     /* no Reply was due */
        uint64_t early;          /* of these: before a cut can have been made */
};

/* 0: *reply is due. GW_E_REFUSED, GW_E_AGAIN: none is. window: see gw_directory_register_within. */
int registrar_take(struct nva *nva, struct gw_nve *nve, const struct gw_registration *request,
                   struct gw_duration window, struct gw_registration *reply);
/* A Reply that was decided before the directory saw the Request. */
void registrar_refuse(struct nva *nva, const struct gw_registration *request, uint8_t status, const char *who,
                      struct gw_registration *reply);
json_t *registrar_json(const struct nva *nva);
