/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves as JSON. One text serves the API and the journal, so that what is kept as
 * evidence is what people are shown; the journal has one member more, the facts
 * of the state machine. Numbers of 64 bits fit JSON's integers here: jansson keeps
 * them whole, and epochs are small.
 */
#include "nva/move_json.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"

static json_t *timeline(const struct gw_move *m) {
        json_t *list = json_array();

        for (size_t i = 0; i < m->n_timeline; i++)
                json_array_append_new(list, json_pack("{s:s, s:I}", "phase", gw_move_phase_word(m->timeline[i].phase),
                                                      "at_ns", (json_int_t)m->timeline[i].at.ns));
        return list;
}

static json_t *progress(const struct gw_move_progress *p) {
        return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "transferred",
                         (json_int_t)p->transferred_octets, "remaining", (json_int_t)p->remaining_octets, "total",
                         (json_int_t)p->total_octets, "rate_bytes_s", (json_int_t)p->rate_octets_s, "dirty_pages_s",
                         (json_int_t)p->dirty_pages_s, "iteration", (json_int_t)p->iteration, "disk_done",
                         (json_int_t)p->disk_done_octets, "disk_total", (json_int_t)p->disk_total_octets, "disk_left",
                         (json_int_t)p->disk_left_octets, "waits_for_disks", p->waits_for_disks);
}

static void put_time(json_t *object, const char *key, struct gw_wall at) {
        if (at.ns)
                json_object_set_new(object, key, json_integer((json_int_t)at.ns));
}

static json_t *evidence(const struct gw_move *m) {
        const struct gw_move_evidence *e = &m->evidence;
        json_t *object = json_object();

        put_time(object, "stopped_ns", e->stopped);
        put_time(object, "cut_ns", e->cut);
        put_time(object, "committed_ns", e->committed);
        put_time(object, "resumed_ns", e->resumed);
        put_time(object, "registered_ns", e->registered);
        put_time(object, "converged_ns", e->converged);
        if (gw_move_pause(m).ns)
                json_object_set_new(object, "vm_pause_ns", json_integer((json_int_t)gw_move_pause(m).ns));
        if (e->committed.ns && e->converged.ns >= e->committed.ns)
                json_object_set_new(object, "last_ack_ns",
                                    json_integer((json_int_t)(e->converged.ns - e->committed.ns)));
        if (m->switched)
                json_object_set_new(object, "switched", json_true());
        if (e->cut.ns) {
                json_object_set_new(object, "drained", json_integer((json_int_t)e->drained));
                json_object_set_new(object, "talkers", json_integer(e->talkers));
        }
        return object;
}

json_t *move_to_json(const struct gw_move *m) {
        const struct gw_name *place = gw_move_place(m) == GW_MOVE_TARGET ? &m->to : &m->from;

        return json_pack(
                "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:{s:I, s:I, s:I}, s:o, s:o, s:o}", "id",
                m->id.s, "vm", m->vm.s, "from", m->from.s, "to", m->to.s, "mode", gw_move_mode_word(m->mode), "as",
                gw_move_as_word(m->as), "phase", gw_move_phase_word(m->phase), "result", gw_move_result_word(m->result),
                "reason", m->reason, "place", place->s, "bandwidth_mib_s", (json_int_t)m->bandwidth_mib_s,
                "downtime_ms", (json_int_t)m->downtime_ms, "epochs", "before", (json_int_t)m->epoch, "target",
                (json_int_t)m->epoch_to, "take_back", (json_int_t)m->epoch_back, "timeline", timeline(m), "progress",
                progress(&m->evidence.progress), "evidence", evidence(m));
}

/* --- the journal --- */

struct fact {
        const char *key;
        size_t offset;
};
#define FACT(field)                                                                                                    \
        { #field, offsetof(struct gw_move, field) }

static const struct fact facts[] = {
        FACT(touched),    FACT(migrate_asked), FACT(members_acked), FACT(cut_seen),     FACT(committed),
        FACT(target_ran), FACT(registered),    FACT(converged),     FACT(abandoned),    FACT(taken_back),
        FACT(resumed),    FACT(finished),      FACT(cancel_asked),  FACT(failed),       FACT(sent_all),
        FACT(switched),   FACT(has_disks),     FACT(loaded),        FACT(ended_itself), FACT(source_failed),
};

json_t *move_to_journal(const struct gw_move *m) {
        json_t *journal = move_to_json(m), *object = json_object();
        char text[GW_ENDPOINT_TEXT];

        for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
                if (*(const bool *)((const char *)m + facts[i].offset))
                        json_object_set_new(object, facts[i].key, json_true());
        if (m->address.port)
                json_object_set_new(object, "address", json_string(gw_endpoint_text(&m->address, text)));
        json_object_set_new(journal, "facts", object);
        return journal;
}

static const char *text_of(const json_t *object, const char *key) {
        const char *text = json_string_value(json_object_get(object, key));

        return text ? text : "";
}

static uint64_t number_of(const json_t *object, const char *key) {
        return (uint64_t)json_integer_value(json_object_get(object, key));
}

static void read_name(struct gw_name *out, const json_t *object, const char *key) {
        snprintf(out->s, sizeof out->s, "%s", text_of(object, key));
}

static void read_timeline(struct gw_move *m, const json_t *list) {
        json_t *entry;
        size_t i;

        json_array_foreach ((json_t *)list, i, entry) {
                int phase = gw_move_phase_parse(text_of(entry, "phase"));

                if (phase < 0 || m->n_timeline == GW_MOVE_TIMELINE_MAX)
                        continue;
                m->timeline[m->n_timeline].phase = (enum gw_move_phase)phase;
                m->timeline[m->n_timeline++].at.ns = number_of(entry, "at_ns");
        }
}

static void read_evidence(struct gw_move *m, const json_t *e, const json_t *p) {
        m->evidence.stopped.ns = number_of(e, "stopped_ns");
        m->evidence.cut.ns = number_of(e, "cut_ns");
        m->evidence.committed.ns = number_of(e, "committed_ns");
        m->evidence.resumed.ns = number_of(e, "resumed_ns");
        m->evidence.registered.ns = number_of(e, "registered_ns");
        m->evidence.converged.ns = number_of(e, "converged_ns");
        m->evidence.drained = number_of(e, "drained");
        m->evidence.talkers = (uint32_t)number_of(e, "talkers");
        m->evidence.progress = (struct gw_move_progress){
                .transferred_octets = number_of(p, "transferred"),
                .remaining_octets = number_of(p, "remaining"),
                .total_octets = number_of(p, "total"),
                .rate_octets_s = number_of(p, "rate_bytes_s"),
                .dirty_pages_s = number_of(p, "dirty_pages_s"),
                .iteration = (uint32_t)number_of(p, "iteration"),
                .disk_done_octets = number_of(p, "disk_done"),
                .disk_total_octets = number_of(p, "disk_total"),
                .disk_left_octets = number_of(p, "disk_left"),
                .waits_for_disks = json_is_true(json_object_get(p, "waits_for_disks")),
        };
}

static void read_facts(struct gw_move *m, const json_t *object) {
        for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
                *(bool *)((char *)m + facts[i].offset) = json_is_true(json_object_get(object, facts[i].key));
        if (*text_of(object, "address"))
                gw_endpoint_parse(text_of(object, "address"), &m->address);
}

int move_from_journal(struct gw_move *m, const json_t *journal, struct gw_error *error) {
        const json_t *epochs = json_object_get(journal, "epochs");
        int phase = gw_move_phase_parse(text_of(journal, "phase"));
        int result = gw_move_result_parse(text_of(journal, "result"));

        memset(m, 0, sizeof *m);
        if (phase < 0 || result < 0 || !*text_of(journal, "id") || !*text_of(journal, "vm"))
                return gw_fail(error, GW_E_MALFORMED, "", "a journalled move cannot be read");
        read_name(&m->id, journal, "id");
        read_name(&m->vm, journal, "vm");
        read_name(&m->from, journal, "from");
        read_name(&m->to, journal, "to");
        m->phase = (enum gw_move_phase)phase;
        if (gw_move_mode_parse(text_of(journal, "mode")) > 0)
                m->mode = (enum gw_move_mode)gw_move_mode_parse(text_of(journal, "mode"));
        if (gw_move_as_parse(text_of(journal, "as")) > 0) /* journals of before there were others lack it */
                m->as = (enum gw_move_as)gw_move_as_parse(text_of(journal, "as"));
        m->result = (enum gw_move_result)result;
        snprintf(m->reason, sizeof m->reason, "%s", text_of(journal, "reason"));
        m->bandwidth_mib_s = (uint32_t)number_of(journal, "bandwidth_mib_s");
        m->downtime_ms = (uint32_t)number_of(journal, "downtime_ms");
        m->epoch = number_of(epochs, "before");
        m->epoch_to = number_of(epochs, "target");
        m->epoch_back = number_of(epochs, "take_back");
        read_timeline(m, json_object_get(journal, "timeline"));
        read_evidence(m, json_object_get(journal, "evidence"), json_object_get(journal, "progress"));
        read_facts(m, json_object_get(journal, "facts"));
        return 0;
}
