/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the probe says. The JSON report is the truth; the text is drawn from it.
 *
 * {"started_ns", "ended_ns", "streams": [{"target", "port", "family", "protocol",
 *   "mode": "echo"|"to-peer"|"from-peer", "sent", "received", "lost", "duplicated",
 *   "reordered", "longest_gap_ms", "rtt_ms": {min, mean, max}, "gaps": [{start_ns,
 *   end_ns}], "lost_ranges": [{first, count, sent_ns}], ...}], "total": {...}}
 *
 * A TCP stream has "alive", "reason", "records_sent", "records_verified",
 * "octets_verified", "longest_stall_ms" and "gaps" (its stalls) instead.
 */
#include "lab/probe/stream.h"

#include <string.h>

#include "base/time.h"

static json_t *ms(uint64_t ns) {
        return json_real((double)ns / (double)GW_NS_PER_MS);
}

static json_t *gaps_json(struct gw_gaps *gaps) {
        json_t *list = json_array();

        gw_gaps_sort(gaps);
        for (size_t i = 0; i < gaps->n; i++)
                json_array_append_new(list, json_pack("{s:I, s:I}", "start_ns", (json_int_t)gaps->kept[i].start_ns,
                                                      "end_ns", (json_int_t)gaps->kept[i].end_ns));
        return list;
}

static json_t *ranges_json(const struct gw_track *track) {
        json_t *list = json_array();

        for (size_t i = 0; i < track->n_ranges; i++)
                json_array_append_new(list, json_pack("{s:I, s:I, s:I}", "first", (json_int_t)track->ranges[i].first,
                                                      "count", (json_int_t)track->ranges[i].count, "sent_ns",
                                                      (json_int_t)track->ranges[i].sent_ns));
        return list;
}

static json_t *rtt_json(uint64_t min_ns, uint64_t sum_ns, uint64_t max_ns, uint64_t count) {
        return json_pack("{s:o, s:o, s:o}", "min", ms(min_ns), "mean", ms(count ? sum_ns / count : 0), "max",
                         ms(max_ns));
}

static json_t *head(const struct gw_stream *s, const char *mode) {
        char text[GW_IP_TEXT];

        return json_pack("{s:s, s:i, s:i, s:s, s:s}", "target", gw_ip_text(s->to.ip, text), "port", (int)s->to.port,
                         "family", gw_ip_is_v4(s->to.ip) ? 4 : 6, "protocol", s->ops->protocol, "mode", mode);
}

static void put_counts(json_t *stream, uint64_t sent, uint64_t received, uint64_t duplicated, uint64_t reordered) {
        json_object_set_new(stream, "sent", json_integer((json_int_t)sent));
        json_object_set_new(stream, "received", json_integer((json_int_t)received));
        json_object_set_new(stream, "lost", json_integer((json_int_t)(sent > received ? sent - received : 0)));
        json_object_set_new(stream, "duplicated", json_integer((json_int_t)duplicated));
        json_object_set_new(stream, "reordered", json_integer((json_int_t)reordered));
}

static json_t *echo_json(struct gw_stream *s) {
        struct gw_track *t = &s->track;
        json_t *stream = head(s, "echo");

        put_counts(stream, t->next, t->received, t->duplicated, t->reordered);
        json_object_set_new(stream, "send_errors", json_integer((json_int_t)s->send_errors));
        json_object_set_new(stream, "dropped_here", json_integer((json_int_t)s->dropped_here));
        json_object_set_new(stream, "rtt_ms", rtt_json(t->rtt_min_ns, t->rtt_sum_ns, t->rtt_max_ns, t->rtt_count));
        json_object_set_new(stream, "longest_gap_ms", ms(t->gaps.longest_ns));
        json_object_set_new(stream, "gaps", gaps_json(&t->gaps));
        json_object_set_new(stream, "lost_ranges", ranges_json(t));
        return stream;
}

static json_t *to_peer_json(struct gw_stream *s) {
        json_t *stream = head(s, "to-peer");

        put_counts(stream, s->one_way_sent, s->result.received, s->result.duplicated, s->result.reordered);
        json_object_set_new(stream, "send_errors", json_integer((json_int_t)s->send_errors));
        json_object_set_new(stream, "peer_told", json_boolean(s->have_result));
        json_object_set_new(stream, "longest_gap_ms", ms(s->result.longest_ns));
        return stream;
}

static json_t *from_peer_json(struct gw_stream *s) {
        struct gw_track *t = &s->track;
        json_t *stream = head(s, "from-peer");

        put_counts(stream, s->have_result ? s->result.sent : t->next, t->received, t->duplicated, t->reordered);
        json_object_set_new(stream, "dropped_here", json_integer((json_int_t)s->dropped_here));
        json_object_set_new(stream, "longest_gap_ms", ms(t->gaps.longest_ns));
        json_object_set_new(stream, "gaps", gaps_json(&t->gaps));
        json_object_set_new(stream, "lost_ranges", ranges_json(t));
        return stream;
}

static json_t *tcp_json(struct gw_stream *s) {
        struct gw_tcp_state *t = &s->tcp;
        json_t *stream = head(s, "echo");

        json_object_set_new(stream, "alive", json_boolean(!t->broken));
        json_object_set_new(stream, "reason", json_string(t->reason));
        json_object_set_new(stream, "records_sent", json_integer((json_int_t)t->sent));
        json_object_set_new(stream, "records_verified", json_integer((json_int_t)t->verified));
        json_object_set_new(stream, "octets_verified", json_integer((json_int_t)t->verified * GW_PROBE_RECORD));
        json_object_set_new(stream, "held_back", json_integer((json_int_t)t->held_back));
        json_object_set_new(stream, "rtt_ms", rtt_json(t->rtt_min_ns, t->rtt_sum_ns, t->rtt_max_ns, t->verified));
        json_object_set_new(stream, "longest_stall_ms", ms(t->stalls.longest_ns));
        json_object_set_new(stream, "gaps", gaps_json(&t->stalls));
        return stream;
}

static json_int_t sum(json_t *streams, const char *key) {
        json_int_t total = 0;
        json_t *stream;
        size_t i;

        json_array_foreach (streams, i, stream)
                total += json_integer_value(json_object_get(stream, key));
        return total;
}

static json_t *total_json(json_t *streams) {
        int tcp = 0, alive = 0;
        json_t *stream;
        size_t i;

        json_array_foreach (streams, i, stream) {
                tcp += json_object_get(stream, "alive") != NULL;
                alive += json_is_true(json_object_get(stream, "alive"));
        }
        return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:i}", "sent", sum(streams, "sent"), "received",
                         sum(streams, "received"), "lost", sum(streams, "lost"), "duplicated",
                         sum(streams, "duplicated"), "reordered", sum(streams, "reordered"), "dropped_here",
                         sum(streams, "dropped_here"), "tcp_streams", tcp, "tcp_alive", alive);
}

json_t *gw_probe_report(struct gw_stream *streams, size_t n, uint64_t started_ns, uint64_t ended_ns) {
        json_t *list = json_array();

        for (size_t i = 0; i < n; i++) {
                struct gw_stream *s = &streams[i];

                if (s->ops == &gw_tcp_stream_ops) {
                        json_array_append_new(list, tcp_json(s));
                } else if (s->one_way) {
                        json_array_append_new(list, to_peer_json(s));
                        json_array_append_new(list, from_peer_json(s));
                } else {
                        json_array_append_new(list, echo_json(s));
                }
        }
        return json_pack("{s:I, s:I, s:o, s:o}", "started_ns", (json_int_t)started_ns, "ended_ns", (json_int_t)ended_ns,
                         "total", total_json(list), "streams", list);
}

static json_int_t count(json_t *object, const char *key) {
        return json_integer_value(json_object_get(object, key));
}

static double number(json_t *object, const char *key) {
        return json_number_value(json_object_get(object, key));
}

static void text_udp(json_t *s, FILE *out) {
        json_t *rtt = json_object_get(s, "rtt_ms");

        fprintf(out, "  %-28s UDP %-9s  %9lld %9lld %6lld %6lld %9lld %11.1f ms",
                json_string_value(json_object_get(s, "target")), json_string_value(json_object_get(s, "mode")),
                count(s, "sent"), count(s, "received"), count(s, "lost"), count(s, "duplicated"), count(s, "reordered"),
                number(s, "longest_gap_ms"));
        if (rtt)
                fprintf(out, "   round trip %.2f/%.2f/%.2f ms", number(rtt, "min"), number(rtt, "mean"),
                        number(rtt, "max"));
        fputc('\n', out);
        if (count(s, "dropped_here"))
                fprintf(out, "  %-28s     note: this machine was too busy to take %lld packets that did arrive\n", "",
                        count(s, "dropped_here"));
        if (count(s, "send_errors"))
                fprintf(out, "  %-28s     note: %lld packets could not be sent (no route, or nobody answers ARP/ND)\n",
                        "", count(s, "send_errors"));
        if (json_is_false(json_object_get(s, "peer_told")))
                fprintf(out, "  %-28s     note: the peer did not tell what it received\n", "");
}

static void text_tcp(json_t *s, FILE *out) {
        bool alive = json_is_true(json_object_get(s, "alive"));

        fprintf(out, "  %-28s TCP %-9s  %lld octets verified, %s%s, longest stall %.1f ms\n",
                json_string_value(json_object_get(s, "target")), "", count(s, "octets_verified"),
                alive ? "alive" : "BROKEN: ", alive ? "" : json_string_value(json_object_get(s, "reason")),
                number(s, "longest_stall_ms"));
}

void gw_probe_report_text(json_t *report, FILE *out) {
        json_t *total = json_object_get(report, "total"), *stream;
        size_t i;

        fprintf(out, "  %-28s %-13s  %9s %9s %6s %6s %9s %14s\n", "target", "stream", "sent", "received", "lost", "dup",
                "reordered", "longest gap");
        json_array_foreach (json_object_get(report, "streams"), i, stream) {
                if (json_object_get(stream, "alive"))
                        text_tcp(stream, out);
                else
                        text_udp(stream, out);
        }
        fprintf(out, "  %.1f s: %lld sent, %lld lost, %lld duplicated, %lld reordered",
                (double)(count(report, "ended_ns") - count(report, "started_ns")) / (double)GW_NS_PER_S,
                count(total, "sent"), count(total, "lost"), count(total, "duplicated"), count(total, "reordered"));
        if (count(total, "tcp_streams"))
                fprintf(out, "; %lld of %lld TCP streams alive", count(total, "tcp_alive"),
                        count(total, "tcp_streams"));
        fputc('\n', out);
}

bool gw_probe_report_clean(json_t *report) {
        json_t *total = json_object_get(report, "total");

        return !count(total, "lost") && !count(total, "duplicated") &&
               count(total, "tcp_alive") == count(total, "tcp_streams");
}
