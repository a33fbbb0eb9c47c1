/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The probe's octets, big-endian: magic 4, kind 1, zero 3, stream 4, rate 4,
 * sequence 8, sending time 8, zero 8, then zeroes up to the size asked for. A
 * RESULT has its figures after the header. Anything else on the port is ignored.
 */
#include "lab/probe/packet.h"

#include "base/cursor.h"

static void put_header(struct gw_writer *w, const struct gw_probe_packet *packet) {
        gw_put_u32(w, GW_PROBE_MAGIC);
        gw_put_u8(w, packet->kind);
        gw_put_zero(w, 3);
        gw_put_u32(w, packet->stream);
        gw_put_u32(w, packet->rate);
        gw_put_u64(w, packet->sequence);
        gw_put_u64(w, packet->sent_ns);
        gw_put_zero(w, 8);
}

void gw_probe_packet_encode(void *bytes, size_t size, const struct gw_probe_packet *packet) {
        struct gw_writer w = gw_writer(bytes, size);

        put_header(&w, packet);
        gw_put_zero(&w, size - w.at);
}

bool gw_probe_packet_decode(const void *bytes, size_t size, struct gw_probe_packet *out) {
        struct gw_reader r = gw_reader(bytes, size);
        struct gw_probe_packet packet = {0};
        uint32_t magic = gw_get_u32(&r);

        packet.kind = gw_get_u8(&r);
        gw_get_span(&r, 3);
        packet.stream = gw_get_u32(&r);
        packet.rate = gw_get_u32(&r);
        packet.sequence = gw_get_u64(&r);
        packet.sent_ns = gw_get_u64(&r);
        gw_get_span(&r, 8);
        if (!r.ok || magic != GW_PROBE_MAGIC || !packet.kind || packet.kind >= GW_PROBE_KINDS)
                return false;
        *out = packet;
        return true;
}

size_t gw_probe_result_encode(void *bytes, size_t size, const struct gw_probe_packet *packet,
                              const struct gw_probe_result *result) {
        struct gw_writer w = gw_writer(bytes, size);

        put_header(&w, packet);
        gw_put_u64(&w, result->sent);
        gw_put_u64(&w, result->received);
        gw_put_u64(&w, result->duplicated);
        gw_put_u64(&w, result->reordered);
        gw_put_u64(&w, result->longest_ns);
        gw_put_u64(&w, result->longest_start_ns);
        gw_put_u64(&w, result->longest_end_ns);
        return w.ok ? w.at : 0;
}

bool gw_probe_result_decode(const void *bytes, size_t size, struct gw_probe_result *out) {
        struct gw_reader r = gw_reader(bytes, size);
        struct gw_probe_result result;

        gw_get_span(&r, GW_PROBE_HEADER);
        result.sent = gw_get_u64(&r);
        result.received = gw_get_u64(&r);
        result.duplicated = gw_get_u64(&r);
        result.reordered = gw_get_u64(&r);
        result.longest_ns = gw_get_u64(&r);
        result.longest_start_ns = gw_get_u64(&r);
        result.longest_end_ns = gw_get_u64(&r);
        if (!r.ok)
                return false;
        *out = result;
        return true;
}

static uint8_t pattern(uint64_t sequence, size_t at) {
        return (uint8_t)(sequence * 31 + at * 7 + (sequence >> 8));
}

void gw_probe_record_encode(uint8_t record[static GW_PROBE_RECORD], uint64_t sequence, uint64_t sent_ns) {
        struct gw_writer w = gw_writer(record, GW_PROBE_RECORD);

        gw_put_u64(&w, sequence);
        gw_put_u64(&w, sent_ns);
        while (w.at < GW_PROBE_RECORD)
                gw_put_u8(&w, pattern(sequence, w.at));
}

bool gw_probe_record_check(const uint8_t record[static GW_PROBE_RECORD], uint64_t sequence, uint64_t *sent_ns) {
        struct gw_reader r = gw_reader(record, GW_PROBE_RECORD);

        if (gw_get_u64(&r) != sequence)
                return false;
        *sent_ns = gw_get_u64(&r);
        for (size_t at = r.at; at < GW_PROBE_RECORD; at++)
                if (record[at] != pattern(sequence, at))
                        return false;
        return true;
}
