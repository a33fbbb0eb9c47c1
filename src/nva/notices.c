/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Request of the management node goes through the receiver's session when it has one
 * and said in its HELLO that it takes them; else as a Mobility Header when there is a
 * key for it; else not now. An NVE is found by its locator and its key by its
 * name, so that one with an IPv4 locator may be reached at the IPv6 address of its key. A
 * router that is no NVE is its address. A key's family says how the message travels: as
 * IPv6 protocol 135, or in UDP over IPv4.
 *
 * Both ways wait for the turn's commit: what is told is durable before.
 */
#include "nva/notices.h"

#include "base/error.h"
#include "base/log.h"
#include "nva/mobility.h"

enum { LOG_BURST = 20 };

static bool send_in_session(struct gw_nve *nve, const struct gw_registration *request) {
        uint8_t message[GW_MH_SIZE_MAX], bytes[GW_MH_SIZE_MAX + 128];
        struct gw_writer m = gw_writer(message, sizeof message), w = gw_writer(bytes, sizeof bytes);
        struct gw_register frame = {.locator = nve->locator, .message = message};

        if (gw_registration_encode(&m, (struct gw_ip){{0}}, nve->locator, request))
                return false;
        frame.message_size = m.at;
        return gw_register_encode(&w, GW_FRAME_REGISTER, request->sequence, &frame) &&
               gw_session_send(nve->nve_session, GW_FRAME_REGISTER, request->sequence, bytes + GW_FRAME_HEADER_SIZE,
                               w.at - GW_FRAME_HEADER_SIZE) >= 0;
}

bool notices_send(struct nva *nva, struct gw_ip to, const struct gw_registration *request) {
        struct gw_nve *nve = gw_directory_nve_by_locator(&nva->directory, to);
        struct gw_registration copy = *request;
        const struct gw_keys_entry *key;
        bool sent;

        if (nve && nve->nve_session && nve->subscribed && (nve->features & GW_FEATURE_NOTICES)) {
                sent = send_in_session(nve, request);
        } else {
                key = nve ? mobility_key(nva, nve) : mobility_key_at(nva, to);
                sent = key && !mobility_send(nva, key, &copy);
        }
        nva->n_notices += sent;
        return sent;
}

void notices_take(struct nva *nva, struct gw_ip from, const struct gw_registration *reply) {
        char text[GW_IP_TEXT];

        if (gw_directory_noticed(&nva->directory, from, reply, nva_now())) {
                nva->n_notices_late++;
                gw_log_limited(GW_INFO, LOG_BURST, "an answer that nothing waits for: from=%s vm=%s status=%u",
                               gw_ip_text(from, text), reply->vm.s, reply->status);
        }
}
