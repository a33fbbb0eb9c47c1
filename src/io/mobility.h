/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mobility Headers, received and sent at one local address of each family, or
 * of one of them: as IPv6 protocol 135, which needs CAP_NET_RAW, and in UDP over
 * IPv4, which needs nothing (io/mobility_link.h). Which of the two a message
 * takes follows from the family of its receiver.
 *
 * What comes in has passed the checks of RFC 6275 section 9.2 (wire/header.h);
 * what did not was answered as that section says, and counted. What is sent
 * waits for the loop's flush step, so that nothing leaves before it is durable.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "io/loop.h"

enum gw_mobility_counter {
        GW_MOBILITY_RECEIVED,
        GW_MOBILITY_SENT,
        GW_MOBILITY_BAD_SIZE, /* not as long as its header says, or too long for one */
        GW_MOBILITY_BAD_CHECKSUM,
        GW_MOBILITY_UNKNOWN_TYPE,
        GW_MOBILITY_BAD_PAYLOAD,
        GW_MOBILITY_BAD_HEADER_LENGTH,
        GW_MOBILITY_ERRORS_SENT,   /* Binding Errors */
        GW_MOBILITY_PROBLEMS_SENT, /* ICMPv6 Parameter Problems */
        GW_MOBILITY_UNANSWERED,    /* of either, kept back by the rate limit */
        GW_MOBILITY_QUEUE_FULL,    /* could not be queued for sending */
        GW_MOBILITY_SEND_FAILED,
        GW_MOBILITY_BAD_PORT, /* in UDP, and not from port 5436 */
        GW_MOBILITY_COUNTERS,
};

struct gw_mobility;

/* bytes are good until it returns; it may call gw_mobility_send, not gw_mobility_free. */
typedef void gw_mobility_taken(struct gw_ip from, const uint8_t *bytes, size_t size, void *user);

int gw_mobility_new(struct gw_mobility **out, struct gw_loop *loop, gw_mobility_taken *taken, void *user);
/* At most one address of each family. ifindex: only through that interface; 0 through any. Negative errno. */
int gw_mobility_open(struct gw_mobility *m, struct gw_ip address, unsigned ifindex);
void gw_mobility_free(struct gw_mobility *m); /* NULL-safe; what is queued is not sent any more */

/* A whole message, its checksum made for the addresses (gw_mobility_address, to). Copied.
 * GW_E_INVALID: too long, or `to` is no unicast address, or none of its family is open. GW_E_FULL: too many are waiting. */
int gw_mobility_send(struct gw_mobility *m, struct gw_ip to, const uint8_t *bytes, size_t size);

/* Our address for those of that peer's family; :: when none is open. */
struct gw_ip gw_mobility_address(const struct gw_mobility *m, struct gw_ip peer);
bool gw_mobility_reaches(const struct gw_mobility *m, struct gw_ip peer);
uint64_t gw_mobility_count(const struct gw_mobility *m, enum gw_mobility_counter counter);
const char *gw_mobility_counter_word(enum gw_mobility_counter counter);
