/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One audit: every edge (or one) is asked for its caches page by page, each entry
 * is judged by the directory as it arrives, and what contradicts it is listed.
 *
 * With repair, an edge that has contradictions is told to forget those entries,
 * then where the VMs are, and is then read once more: what is still there in the
 * second reading was not repaired. All three go over one session, in order, so
 * the second reading sees what the first two did.
 *
 * Audits under way are in nva->audits; each edge of one is read by its own chain of
 * calls, which ends by itself when the edge does not answer, or answers without end.
 * What an edge says is a stranger's: of its entries the known members are kept, and
 * no more findings than can be repaired at once; the others are counted. The report of the
 * last full audit is kept in memory for GET /v1/audit. A periodic audit repairs
 * nothing: it says what it saw in the log.
 */
#include "nva/audit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "directory/audit.h"
#include "nva/api.h"
#include "nva/json.h"

enum {
        CALL_S = 10,
        CHAIN_S = 300,         /* for one reading of an edge */
        FINDINGS_MAX = 10000,  /* listed; more are counted */
        REPAIRS_MAX = 1000,    /* in one call to an edge; so many findings of it are kept */
        ENTRIES_MAX = 2000000, /* of one edge: more than it has room for, counted twice */
        RESTARTS_MAX = 3,      /* of one table, when it changes while it is read */
        PATH_SIZE = 160,
        TEXT_MAX = 64, /* of a member of an entry */
};

enum reading { FORWARDING, NEIGHBOURS, READINGS };
static const char *const tables[READINGS] = {"forwarding", "neighbours"};

struct audit {
        struct gw_list link; /* nva->audits */
        struct nva *nva;
        struct gw_request *request; /* NULL: a periodic one */
        bool repair, whole;
        struct gw_list hosts; /* edges whose chain has not ended */
        bool beginning;
        json_t *findings, *silent;
        json_int_t nves, entries, contradictions, settling, repaired, unlisted;
        struct gw_wall at;
};

/* The chain of calls to one edge. */
struct host {
        struct gw_list link; /* audit->hosts */
        struct audit *audit;
        struct gw_name nve;
        uint8_t table;
        unsigned restarts;
        size_t entries;
        struct gw_mono until;
        bool again;     /* the reading after a repair */
        json_t *found;  /* what differs in this reading */
        json_t *before; /* and in the one before the repair */
        /* Of what differs and is not kept: contradictions, settling. After a repair: of the reading before it. */
        json_int_t beyond[2];
        bool hidden; /* after a repair: something differs that is not kept, and may be what was to be repaired */
        char after[96];
};

static void host_next(struct host *host);

/* --- the report --- */

static json_t *report(const struct audit *a) {
        return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:O, s:O}", "at_ns", (json_int_t)a->at.ns, "nves",
                         a->nves, "entries", a->entries, "contradictions", a->contradictions, "settling", a->settling,
                         "repaired", a->repaired, "unlisted", a->unlisted, "clean",
                         a->contradictions == a->repaired && !json_array_size(a->silent), "silent", a->silent,
                         "findings", a->findings);
}

static void host_free(struct host *host) {
        gw_list_remove(&host->link);
        json_decref(host->found);
        json_decref(host->before);
        free(host);
}

static void audit_free(struct audit *a) {
        gw_list_for_each (link, &a->hosts)
                host_free(gw_list_entry(link, struct host, link));
        gw_list_remove(&a->link);
        json_decref(a->findings);
        json_decref(a->silent);
        free(a);
}

static void audit_ended(struct audit *a) {
        struct nva *nva = a->nva;
        json_t *out = report(a);

        if (a->contradictions || json_array_size(a->silent))
                gw_log(GW_WARNING, "audit: entries=%lld contradictions=%lld repaired=%lld silent=%zu",
                       (long long)a->entries, (long long)a->contradictions, (long long)a->repaired,
                       json_array_size(a->silent));
        if (a->whole) {
                json_decref(nva->last_audit);
                nva->last_audit = json_incref(out);
        }
        if (a->request)
                gw_request_answer(a->request, 200, out);
        else
                json_decref(out);
        audit_free(a);
}

static void host_ended(struct host *host) {
        struct audit *a = host->audit;

        host_free(host);
        if (gw_list_empty(&a->hosts) && !a->beginning)
                audit_ended(a);
}

static void list_findings(struct host *host, json_t *findings);

/* What it had before a repair, after which it was not heard any more, is still what is known of it. */
static void host_silent(struct host *host) {
        if (host->again)
                list_findings(host, host->before);
        json_array_append_new(host->audit->silent, json_string(host->nve.s));
        host_ended(host);
}

/* --- one entry --- */

static const char *vn_of(const struct host *host, json_int_t vni) {
        const struct gw_vn *vn = gw_directory_vn_by_vni(&host->audit->nva->directory, (uint32_t)vni);

        return vn ? vn->id.s : "";
}

static json_t *truth(const struct gw_audit_finding *f) {
        char ip[GW_IP_TEXT] = "", mac[GW_MAC_TEXT] = "";

        if (!gw_ip_is_unspecified(f->truth))
                gw_ip_text(f->truth, ip);
        if (!gw_mac_eq(f->mac, (struct gw_mac){{0}}))
                gw_mac_text(f->mac, mac);
        return json_pack("{s:s, s:s, s:I, s:s}", "vm", f->vm ? gw_vm_name(f->vm).s : "", "locator", ip, "epoch",
                         f->vm ? (json_int_t)f->vm->binding.epoch : 0, "mac", mac);
}

/* What is kept of an entry, as it came. */
static json_t *entry_of(const json_t *entry) {
        static const char *const keys[] = {"vni", "mac", "address", "kind", "locator", "epoch", "origin", "age_ms"};
        json_t *out = json_object();

        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
                json_t *value = json_object_get(entry, keys[i]);

                if (json_is_null(value) || json_is_integer(value) ||
                    (json_is_string(value) && json_string_length(value) <= TEXT_MAX))
                        json_object_set(out, keys[i], value);
        }
        return out;
}

static void found(struct host *host, json_t *entry, const struct gw_audit_finding *f) {
        json_int_t vni = json_integer_value(json_object_get(entry, "vni"));

        if (f->verdict == GW_AUDIT_FITS)
                return;
        if (json_array_size(host->found) >= REPAIRS_MAX) {
                if (host->again)
                        host->hidden = true;
                else
                        host->beyond[f->verdict == GW_AUDIT_SETTLING]++;
                return;
        }
        json_array_append_new(host->found,
                              json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:b}", "nve", host->nve.s, "table",
                                        tables[host->table], "vn", vn_of(host, vni), "verdict",
                                        f->verdict == GW_AUDIT_SETTLING ? "settling" : "contradiction", "why", f->why,
                                        "text", f->text, "entry", entry_of(entry), "truth", truth(f), "repaired",
                                        false));
}

static uint8_t kind_of(const char *word) {
        static const char *const words[] = {[GW_AUDIT_LOCAL] = "local",
                                            [GW_AUDIT_REMOTE] = "remote",
                                            [GW_AUDIT_MOVED] = "moved",
                                            [GW_AUDIT_ARRIVING] = "arriving"};

        for (unsigned i = GW_AUDIT_LOCAL; i <= GW_AUDIT_ARRIVING; i++)
                if (!strcmp(words[i], word))
                        return (uint8_t)i;
        return 0;
}

static void judge_forward(struct host *host, const struct gw_nve *nve, json_t *entry) {
        struct gw_audit_forward e = {.vni = (uint32_t)json_integer_value(json_object_get(entry, "vni")),
                                     .epoch = (uint64_t)json_integer_value(json_object_get(entry, "epoch")),
                                     .kind = kind_of(nva_json_text(entry, "kind"))};
        struct gw_audit_finding finding;

        if (gw_mac_parse(nva_json_text(entry, "mac"), &e.mac) || !e.kind)
                return;
        if (e.kind != GW_AUDIT_LOCAL && gw_ip_parse(nva_json_text(entry, "locator"), &e.locator))
                return;
        gw_directory_audit_forward(&host->audit->nva->directory, nve, &e, nva_now(), &finding);
        found(host, entry, &finding);
}

static void judge_neighbour(struct host *host, const struct gw_nve *nve, json_t *entry) {
        struct gw_audit_neighbour e = {.vni = (uint32_t)json_integer_value(json_object_get(entry, "vni"))};
        struct gw_audit_finding finding;

        if (gw_mac_parse(nva_json_text(entry, "mac"), &e.mac) || gw_ip_parse(nva_json_text(entry, "address"), &e.ip))
                return;
        gw_directory_audit_neighbour(&host->audit->nva->directory, nve, &e, nva_now(), &finding);
        found(host, entry, &finding);
}

/* --- after the last page --- */

static bool is_settling(const json_t *finding) {
        return !strcmp(nva_json_text(finding, "verdict"), "settling");
}

static void list_findings(struct host *host, json_t *findings) {
        struct audit *a = host->audit;
        json_t *finding;
        size_t i;

        json_array_foreach (findings, i, finding) {
                if (is_settling(finding))
                        a->settling++;
                else
                        a->contradictions++;
                if (json_is_true(json_object_get(finding, "repaired")))
                        a->repaired++;
                if (json_array_size(a->findings) < FINDINGS_MAX)
                        json_array_append(a->findings, finding);
                else
                        a->unlisted++;
        }
        a->contradictions += host->beyond[false];
        a->settling += host->beyond[true];
        a->unlisted += host->beyond[false] + host->beyond[true];
}

static bool same_entry(const json_t *a, const json_t *b) {
        const json_t *x = json_object_get(a, "entry"), *y = json_object_get(b, "entry");

        return !strcmp(nva_json_text(a, "table"), nva_json_text(b, "table")) &&
               json_equal(json_object_get(x, "vni"), json_object_get(y, "vni")) &&
               (strcmp(nva_json_text(a, "table"), tables[FORWARDING])
                        ? json_equal(json_object_get(x, "address"), json_object_get(y, "address"))
                        : json_equal(json_object_get(x, "mac"), json_object_get(y, "mac")));
}

static bool is_among(const json_t *list, const json_t *finding) {
        json_t *other;
        size_t i;

        json_array_foreach ((json_t *)list, i, other)
                if (same_entry(other, finding) && !is_settling(other))
                        return true;
        return false;
}

static void compare_with_before(struct host *host) {
        json_t *finding;
        size_t i;

        json_array_foreach (host->before, i, finding)
                if (!is_settling(finding) && !host->hidden && !is_among(host->found, finding))
                        json_object_set_new(finding, "repaired", json_true());
        list_findings(host, host->before);
        host_ended(host);
}

static void read_again(struct host *host) {
        host->again = true;
        host->before = host->found;
        host->found = json_array();
        host->table = FORWARDING;
        host->restarts = 0;
        host->entries = 0;
        host->until = gw_mono_after(gw_mono_now(), gw_s(CHAIN_S));
        host->after[0] = 0;
        host_next(host);
}

static void on_repaired(int status, json_t *body, void *user) {
        struct host *host = user;
        struct gw_directory *d = &host->audit->nva->directory;
        struct gw_nve *nve = gw_directory_nve(d, host->nve.s);
        struct gw_error error = {0};
        json_t *finding;
        size_t i;

        if (gw_api_error(status, body, &error))
                gw_log(GW_WARNING, "audit: nve=%s repairs nothing: %s", host->nve.s, error.text);
        json_array_foreach (host->found, i, finding) {
                struct gw_vm *vm = gw_directory_vm(d, nva_json_text(json_object_get(finding, "truth"), "vm"));

                if (vm && nve && !is_settling(finding))
                        gw_directory_tell_again(d, vm, nve, nva_now());
        }
        read_again(host);
}

static json_t *repairs(const struct host *host) {
        json_t *list = json_array(), *finding;
        size_t i;

        json_array_foreach (host->found, i, finding) {
                json_t *entry = json_object_get(finding, "entry");
                bool forward = !strcmp(nva_json_text(finding, "table"), tables[FORWARDING]);
                const char *key = forward ? "mac" : "address";

                if (!is_settling(finding) && json_array_size(list) < REPAIRS_MAX)
                        json_array_append_new(list, json_pack("{s:O, s:O}", "vni", json_object_get(entry, "vni"), key,
                                                              json_object_get(entry, key)));
        }
        return list;
}

static void host_read(struct host *host) {
        struct gw_nve *nve = gw_directory_nve(&host->audit->nva->directory, host->nve.s);
        struct gw_session *session = nve ? nve->nve_session : NULL;
        json_t *list;

        if (host->again)
                return compare_with_before(host);
        host->audit->nves++;
        list = host->audit->repair && session ? repairs(host) : NULL;
        if (json_array_size(list)) {
                gw_call(session, "POST", "/v1/repair", json_pack("{s:o}", "entries", list), gw_s(CALL_S), on_repaired,
                        host);
                return;
        }
        json_decref(list);
        list_findings(host, host->found);
        host_ended(host);
}

/* --- reading --- */

/* It goes on for ever, or says that it does. */
static bool is_endless(const struct host *host, const json_t *body) {
        bool more = *nva_json_text(body, "next");

        return host->entries > ENTRIES_MAX || gw_mono_reached(gw_mono_now(), host->until) ||
               (more && !json_array_size(json_object_get(body, "entries")));
}

static void take_page(struct host *host, const struct gw_nve *nve, json_t *body) {
        json_t *entry;
        size_t i;

        host->entries += json_array_size(json_object_get(body, "entries"));
        json_array_foreach (json_object_get(body, "entries"), i, entry) {
                if (!host->again)
                        host->audit->entries++;
                if (host->table == FORWARDING)
                        judge_forward(host, nve, entry);
                else
                        judge_neighbour(host, nve, entry);
        }
        snprintf(host->after, sizeof host->after, "%s", nva_json_text(body, "next"));
        if (!host->after[0])
                host->table++;
}

static void on_page(int status, json_t *body, void *user) {
        struct host *host = user;
        const struct gw_nve *nve = gw_directory_nve(&host->audit->nva->directory, host->nve.s);

        if (status == 409 && host->restarts < RESTARTS_MAX) { /* the table changed under the reader */
                host->restarts++;
                host->after[0] = 0;
                host->table = FORWARDING;
                json_array_clear(host->found);
                if (!host->again)
                        memset(host->beyond, 0, sizeof host->beyond);
        } else if (!nve || status / 100 != 2 || is_endless(host, body)) {
                host_silent(host);
                return;
        } else {
                take_page(host, nve, body);
        }
        if (host->table < READINGS)
                host_next(host);
        else
                host_read(host);
}

static void host_next(struct host *host) {
        const struct gw_nve *nve = gw_directory_nve(&host->audit->nva->directory, host->nve.s);
        char path[PATH_SIZE];

        if (!nve || !nve->nve_session) {
                host_silent(host);
                return;
        }
        snprintf(path, sizeof path, "/v1/caches?table=%s%s%s", tables[host->table], host->after[0] ? "&after=" : "",
                 host->after);
        gw_call(nve->nve_session, "GET", path, NULL, gw_s(CALL_S), on_page, host);
}

static void ask(struct audit *a, const struct gw_nve *nve) {
        struct host *host = calloc(1, sizeof *host);

        if (!host)
                return;
        host->audit = a;
        host->nve = nve->id;
        host->found = json_array();
        host->until = gw_mono_after(gw_mono_now(), gw_s(CHAIN_S));
        gw_list_append(&a->hosts, &host->link);
        host_next(host);
}

/* only: NULL for all. */
static int audit_begin(struct nva *nva, struct gw_nve *only, bool repair, struct gw_request *request) {
        struct audit *a = calloc(1, sizeof *a);

        if (!a)
                return -ENOMEM;
        *a = (struct audit){.nva = nva,
                            .request = request,
                            .repair = repair,
                            .whole = !only,
                            .beginning = true,
                            .findings = json_array(),
                            .silent = json_array(),
                            .at = gw_wall_now()};
        gw_list_init(&a->hosts);
        gw_list_append(&nva->audits, &a->link);
        if (only)
                ask(a, only);
        for (struct gw_nve *nve = NULL;
             !only && (nve = gw_directory_nve_after(&nva->directory, nve ? nve->id.s : NULL));)
                if (nve->nve_connected || request)
                        ask(a, nve);
        a->beginning = false;
        if (gw_list_empty(&a->hosts))
                audit_ended(a);
        return 0;
}

/* --- the API --- */

void api_audit_run(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_error error = {0};
        struct gw_json_reader r = gw_json_reader(gw_request_body(request), &error);
        bool repair = gw_json_bool(&r, "repair", false);
        struct gw_name id = {""};
        struct gw_nve *nve = NULL;

        if (gw_json_name(&r, "nve", GW_JSON_OPTIONAL, &id) && !(nve = gw_directory_nve(&nva->directory, id.s)))
                gw_fail(&error, GW_E_NOT_FOUND, "nve", "there is no NVE \"%s\"; `godwit nve list` shows them", id.s);
        if (gw_json_done(&r))
                return gw_request_fail(request, &error);
        if (audit_begin(nva, nve, repair, request)) {
                gw_fail(&error, -ENOMEM, "", "out of memory");
                gw_request_fail(request, &error);
        }
}

void api_audit_show(struct gw_request *request, void *user) {
        const struct nva *nva = user;
        struct gw_error error;

        if (nva->last_audit)
                return gw_request_answer(request, 200, json_incref(nva->last_audit));
        gw_fail(&error, GW_E_NOT_FOUND, "", "there has been no audit since the start; `godwit audit` makes one");
        gw_request_fail(request, &error);
}

/* --- life --- */

static void on_period(void *user) {
        struct nva *nva = user;

        if (gw_list_empty(&nva->audits))
                audit_begin(nva, NULL, false, NULL);
}

int audit_init(struct nva *nva, struct gw_error *error) {
        struct gw_duration period = gw_s(nva->config.audit_interval_s);
        int r = period.ns ? gw_timer_new(&nva->audit_timer, &nva->loop, period, period, on_period, nva) : 0;

        return r < 0 ? gw_fail(error, r, "audit-interval-s", "no timer: %s", strerror(-r)) : 0;
}

/* After the loop: answers do not come any more. */
void audit_deinit(struct nva *nva) {
        gw_timer_free(nva->audit_timer);
        json_decref(nva->last_audit);
        if (!nva->audits.next)
                return;
        gw_list_for_each (link, &nva->audits)
                audit_free(gw_list_entry(link, struct audit, link));
}
