/* SPDX-License-Identifier: Apache-2.0 */
/* Encoding, decoding and keeping of records; no decisions. */
#include "hv/record.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "io/api.h"
#include "io/file.h"

enum { FILE_MAX_OCTETS = 256 << 10 };

static const char *const role_words[HV_ROLES] = {"serve", "source", "target"};
static const char *const state_words[HV_STATES] = {"starting", "running", "paused", "incoming", "stopped", "crashed"};

const char *hv_role_word(enum hv_role role) {
        return role_words[role];
}

const char *hv_state_word(enum hv_state state) {
        return state_words[state];
}

static int word_index(const char *const *words, size_t n, const char *word) {
        for (size_t i = 0; word && i < n; i++)
                if (strcmp(words[i], word) == 0)
                        return (int)i;
        return -1;
}

static json_t *encode_move(const struct hv_move *move) {
        char peer[GW_IP_TEXT], endpoint[GW_ENDPOINT_TEXT], nbd[GW_ENDPOINT_TEXT];

        if (!move->id.s[0])
                return NULL;
        return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:s, s:b, s:I, s:s, s:I, s:b, s:i}", "id",
                         move->id.s, "peer", gw_ip_text(move->peer, peer), "endpoint",
                         move->endpoint.port ? gw_endpoint_text(&move->endpoint, endpoint) : "", "epoch",
                         (json_int_t)move->epoch, "epoch_back", (json_int_t)move->epoch_back, "bandwidth_mib_s",
                         (json_int_t)move->bandwidth_mib_s, "downtime_ms", (json_int_t)move->downtime_ms,
                         "cut_deadline_ms", (json_int_t)move->cut_deadline_ms, "options",
                         gw_copy_options_encode(&move->options), "peer_id", move->peer_id.s, "tls", move->tls, "disks",
                         (json_int_t)move->disks, "nbd", move->nbd.port ? gw_endpoint_text(&move->nbd, nbd) : "",
                         "created", (json_int_t)move->created, "keep_disks", move->keep_disks, "begun",
                         (int)move->begun);
}

json_t *hv_record_encode(const struct hv_record *r) {
        return json_pack("{s:s, s:I, s:s, s:s, s:b, s:b, s:b, s:I, s:I, s:s, s:I, s:I, s:o*, s:O*}", "id", r->id.s,
                         "epoch", (json_int_t)r->epoch, "role", role_words[r->role], "state", state_words[r->state],
                         "uncut_due", r->uncut_due, "activate_due", r->activate_due, "held", r->held, "pid",
                         (json_int_t)r->process.pid, "start_time", (json_int_t)r->process.start_time, "boot", r->boot,
                         "uid", (json_int_t)r->uid, "gid", (json_int_t)r->gid, "move", encode_move(&r->move),
                         "definition", r->definition_json);
}

static uint64_t read_count(struct gw_json_reader *r, const char *key, long long max) {
        return (uint64_t)gw_json_int(r, key, 0, max, 0);
}

/* Members that records of older agents lack. */
static void decode_ways(struct gw_json_reader *r, struct hv_move *move) {
        json_t *options = gw_json_object(r, "options");
        const char *peer_id = gw_json_string(r, "peer_id", ""), *nbd = gw_json_string(r, "nbd", "");

        if (options) {
                struct gw_json_reader inner = gw_json_reader_at(r, options, "options.");

                gw_copy_options_read(&inner, &move->options);
        }
        move->tls = gw_json_bool(r, "tls", 0);
        move->disks = (unsigned)read_count(r, "disks", (1 << GW_DEFINITION_DISKS_MAX) - 1);
        move->created = (unsigned)read_count(r, "created", (1 << GW_DEFINITION_DISKS_MAX) - 1);
        move->keep_disks = gw_json_bool(r, "keep_disks", 0);
        move->begun = (enum hv_begun)read_count(r, "begun", HV_BEGUN_TAKEN);
        if (r->error->code)
                return;
        if (strlen(peer_id) >= sizeof move->peer_id.s || (nbd[0] && gw_endpoint_parse(nbd, &move->nbd))) {
                gw_fail(r->error, GW_E_INVALID, "move", "move has a peer_id or nbd that cannot be read");
                return;
        }
        strcpy(move->peer_id.s, peer_id);
}

static void decode_move(json_t *object, struct hv_move *move, struct gw_error *error) {
        struct gw_json_reader r = gw_json_reader(object, error);
        const char *id = gw_json_string(&r, "id", NULL), *peer = gw_json_string(&r, "peer", NULL);
        const char *endpoint = gw_json_string(&r, "endpoint", "");

        move->epoch = read_count(&r, "epoch", INT64_MAX);
        move->epoch_back = read_count(&r, "epoch_back", INT64_MAX);
        move->bandwidth_mib_s = (uint32_t)read_count(&r, "bandwidth_mib_s", UINT32_MAX);
        move->downtime_ms = (uint32_t)read_count(&r, "downtime_ms", UINT32_MAX);
        move->cut_deadline_ms = (uint32_t)read_count(&r, "cut_deadline_ms", UINT32_MAX);
        decode_ways(&r, move);
        if (error->code)
                return;
        if (strlen(id) >= sizeof move->id.s || gw_ip_parse(peer, &move->peer) ||
            (endpoint[0] && gw_endpoint_parse(endpoint, &move->endpoint))) {
                gw_fail(error, GW_E_INVALID, "move", "move has an id, peer or endpoint that cannot be read");
                return;
        }
        strcpy(move->id.s, id);
}

static void decode_fields(struct gw_json_reader *r, struct hv_record *out) {
        const char *id = gw_json_string(r, "id", NULL), *boot = gw_json_string(r, "boot", "");
        int role = word_index(role_words, HV_ROLES, gw_json_string(r, "role", ""));
        int state = word_index(state_words, HV_STATES, gw_json_string(r, "state", ""));

        out->epoch = read_count(r, "epoch", INT64_MAX);
        out->uncut_due = gw_json_bool(r, "uncut_due", 0);
        out->activate_due = gw_json_bool(r, "activate_due", 0);
        out->held = gw_json_bool(r, "held", 0);
        out->process.pid = (pid_t)read_count(r, "pid", INT32_MAX);
        out->process.start_time = read_count(r, "start_time", INT64_MAX);
        out->uid = (uid_t)read_count(r, "uid", UINT32_MAX - 1); /* not in records of older agents: as root */
        out->gid = (gid_t)read_count(r, "gid", UINT32_MAX - 1);
        if (r->error->code)
                return;
        if (role < 0 || state < 0 || gw_id_parse(id, &out->id) || strlen(boot) >= sizeof out->boot) {
                gw_fail(r->error, GW_E_INVALID, "id", "id, role, state or boot cannot be read");
                return;
        }
        out->role = (enum hv_role)role;
        out->state = (enum hv_state)state;
        strcpy(out->boot, boot);
}

int hv_record_decode(json_t *object, struct hv_record *out, struct gw_error *error) {
        struct gw_error mine = {0};
        struct gw_json_reader r = gw_json_reader(object, &mine);
        struct hv_record record = {0};
        json_t *move = gw_json_object(&r, "move");

        decode_fields(&r, &record);
        record.definition_json = gw_json_object(&r, "definition");
        if (!mine.code && move)
                decode_move(move, &record.move, &mine);
        if (!mine.code)
                gw_definition_parse(record.definition_json, &record.definition, &mine);
        if (mine.code) {
                if (error)
                        *error = mine;
                return mine.code;
        }
        json_incref(record.definition_json);
        *out = record;
        return 0;
}

void hv_record_deinit(struct hv_record *record) {
        json_decref(record->definition_json);
        record->definition_json = NULL;
}

int hv_record_path(char *out, size_t size, const char *state_dir, const struct gw_name *id) {
        int n = snprintf(out, size, "%s/vms/%s.json", state_dir, id->s);

        return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

int hv_record_write(const struct hv_record *record, const char *state_dir) {
        char path[512];
        json_t *object = hv_record_encode(record);
        int r = object ? hv_record_path(path, sizeof path, state_dir, &record->id) : -ENOMEM;

        if (r == 0)
                r = gw_file_write_json(path, object, 0600);
        json_decref(object);
        if (r < 0)
                gw_log(GW_ERR, "vm=%s cannot write its state: %s", record->id.s, strerror(-r));
        return r;
}

int hv_record_remove(const struct hv_record *record, const char *state_dir) {
        char path[512];
        int r = hv_record_path(path, sizeof path, state_dir, &record->id);

        return r < 0 ? r : gw_file_remove(path);
}

static void set_aside(const char *path, const struct gw_error *error) {
        char bad[1100];

        snprintf(bad, sizeof bad, "%s.bad", path);
        gw_log(GW_ERR, "%s; set aside as %s", error->text, bad);
        rename(path, bad);
}

static void read_one(const char *path, void (*each)(struct hv_record *record, void *user), void *user) {
        struct hv_record record;
        struct gw_error error = {0};
        json_t *object = NULL;

        if (gw_file_read_json(path, FILE_MAX_OCTETS, &object, &error) || hv_record_decode(object, &record, &error))
                set_aside(path, &error);
        else
                each(&record, user);
        json_decref(object);
}

int hv_record_each(const char *state_dir, void (*each)(struct hv_record *record, void *user), void *user) {
        char path[1024];
        struct dirent *entry;
        DIR *dir;

        snprintf(path, sizeof path, "%s/vms", state_dir);
        dir = opendir(path);
        if (!dir)
                return -errno;
        while ((entry = readdir(dir))) {
                size_t n = strlen(entry->d_name);

                if (entry->d_name[0] == '.' || n < 6 || strcmp(entry->d_name + n - 5, ".json"))
                        continue;
                snprintf(path, sizeof path, "%s/vms/%s", state_dir, entry->d_name);
                read_one(path, each, user);
        }
        closedir(dir);
        return 0;
}
