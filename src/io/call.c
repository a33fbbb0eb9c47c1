/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls over sessions, both directions.
 *
 * A call of ours is in exactly one list: `calls` while the peer owes an answer,
 * `lost` when it will not come (session down, frame not sent) until the post has
 * said so. It leaves the list before `done` runs, and so is answered once. An
 * answer that comes after its deadline finds no call and is dropped.
 *
 * A call of the peer becomes a gw_request. It remembers the connection's
 * generation: an answer given after a reconnect goes nowhere. At most SERVED_MAX
 * requests of one peer are open; further ones get 503.
 */
#include "io/call.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cursor.h"
#include "base/error.h"
#include "base/log.h"
#include "io/api.h"
#include "io/request.h"
#include "io/session_impl.h"
#include "wire/frame.h"

enum { SERVED_MAX = 1024, TLV_HEADER = 6, BODY_MAX = GW_FRAME_MAX - GW_FRAME_HEADER_SIZE };

struct call {
        struct gw_list link;
        uint32_t id;
        int status; /* of a lost one */
        struct gw_mono deadline;
        gw_call_done done;
        void *user;
};

/* A request of the peer. */
struct served {
        struct gw_session *session;
        uint32_t generation, id;
};

/* The TLVs of one body. Pointers into it; NULL when absent. */
struct message {
        const char *method, *path, *json;
        size_t method_size, path_size, json_size;
        bool has_status, has_fds;
        uint16_t status, n_fds;
};

static bool once(const char **field, size_t *field_size, const uint8_t *value, size_t size) {
        if (*field)
                return false;
        *field = (const char *)value;
        *field_size = size;
        return true;
}

static bool once_u16(bool *has, uint16_t *field, const uint8_t *value, size_t size) {
        struct gw_reader r = gw_reader(value, size);

        if (*has || size != 2)
                return false;
        *has = true;
        *field = gw_get_u16(&r);
        return true;
}

static bool decode_tlv(struct message *m, uint16_t type, const uint8_t *value, size_t size) {
        switch (type) {
        case GW_CALL_TLV_METHOD:
                return once(&m->method, &m->method_size, value, size);
        case GW_CALL_TLV_PATH:
                return once(&m->path, &m->path_size, value, size);
        case GW_CALL_TLV_JSON:
                return once(&m->json, &m->json_size, value, size);
        case GW_CALL_TLV_STATUS:
                return once_u16(&m->has_status, &m->status, value, size);
        case GW_CALL_TLV_FDS:
                return once_u16(&m->has_fds, &m->n_fds, value, size);
        default:
                return true;
        }
}

static bool decode(struct message *m, const uint8_t *body, size_t size) {
        struct gw_reader r = gw_reader(body, size);

        memset(m, 0, sizeof *m);
        while (r.ok && gw_reader_left(&r) > 0) {
                uint16_t type = gw_get_u16(&r);
                uint32_t length = gw_get_u32(&r);
                const uint8_t *value = gw_get_span(&r, length);

                if (!r.ok || !decode_tlv(m, type, value, length))
                        return false;
        }
        return r.ok;
}

static void put_tlv(struct gw_writer *w, uint16_t type, const void *value, size_t size) {
        gw_put_u16(w, type);
        gw_put_u32(w, (uint32_t)size);
        gw_put_bytes(w, value, size);
}

static void put_u16(struct gw_writer *w, uint16_t type, uint16_t value) {
        gw_put_u16(w, type);
        gw_put_u32(w, 2);
        gw_put_u16(w, value);
}

/* Encodes and queues. status 0: none. -EMSGSIZE when no frame holds it. */
static int send_message(struct gw_session *s, uint8_t frame, uint32_t id, const char *method, const char *path,
                        int status, json_t *json, const int *fds, size_t n_fds) {
        char *text = json ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
        size_t text_size = text ? strlen(text) : 0, room;
        struct gw_writer w;
        uint8_t *body;
        int r;

        if (json && !text)
                return -EINVAL;
        room = text_size + strlen(method) + strlen(path) + 5 * TLV_HEADER + 4;
        body = room <= BODY_MAX ? malloc(room) : NULL;
        if (!body) {
                free(text);
                return room <= BODY_MAX ? -ENOMEM : -EMSGSIZE;
        }
        w = gw_writer(body, room);
        if (*method)
                put_tlv(&w, GW_CALL_TLV_METHOD, method, strlen(method));
        if (*path)
                put_tlv(&w, GW_CALL_TLV_PATH, path, strlen(path));
        if (status)
                put_u16(&w, GW_CALL_TLV_STATUS, (uint16_t)status);
        if (text)
                put_tlv(&w, GW_CALL_TLV_JSON, text, text_size);
        if (n_fds)
                put_u16(&w, GW_CALL_TLV_FDS, (uint16_t)n_fds);
        r = gw_session_send_with_fds(s, frame, id, body, w.at, fds, n_fds);
        free(body);
        free(text);
        return r;
}

int gw_session_send_event(struct gw_session *s, json_t *event) {
        int r = send_message(s, GW_FRAME_EVENT, 0, "", "", 0, event, NULL, 0);

        json_decref(event);
        return r;
}

static void lose(struct gw_session *s, struct call *call, int status) {
        gw_list_remove(&call->link);
        call->status = status;
        gw_list_append(&s->lost, &call->link);
}

void gw_call(struct gw_session *s, const char *method, const char *path, json_t *body, struct gw_duration deadline,
             gw_call_done done, void *user) {
        gw_call_with_fds(s, method, path, body, NULL, 0, deadline, done, user);
}

void gw_call_with_fds(struct gw_session *s, const char *method, const char *path, json_t *body, const int *fds,
                      size_t n_fds, struct gw_duration deadline, gw_call_done done, void *user) {
        struct call *call = calloc(1, sizeof *call);
        int r;

        if (!call) {
                gw_log(GW_ERR, "out of memory for a call");
                abort(); /* `done` could be called neither later nor now: the caller would wait for ever */
        }
        call->id = gw_session_next_id(s);
        call->done = done;
        call->user = user;
        if (deadline.ns)
                call->deadline = gw_mono_after(gw_mono_now(), deadline);
        gw_list_append(&s->calls, &call->link);
        r = send_message(s, GW_FRAME_CALL, call->id, method, path, 0, body, fds, n_fds);
        json_decref(body);
        if (r < 0) {
                lose(s, call, r == -EMSGSIZE ? 413 : r == -EINVAL ? 400 : 503);
                gw_loop_post(s->loop, &s->post);
        } else if (deadline.ns && (!s->calls_due.ns || call->deadline.ns < s->calls_due.ns)) {
                s->calls_due = call->deadline;
                gw_session_arm(s);
        }
}

static void answer(struct call *call, int status, json_t *body) {
        gw_call_done done = call->done;
        void *user = call->user;

        gw_list_remove(&call->link);
        free(call);
        if (done)
                done(status, body, user);
}

/* An answer leaves calls_due as it is, so that many calls cost no walk each: a tick that comes too early sets it right. */
void gw_session_calls_tick(struct gw_session *s, struct gw_mono now) {
        bool due = gw_mono_reached(now, s->calls_due);

        if (due)
                s->calls_due.ns = 0;
        gw_list_for_each (link, &s->calls) {
                struct call *call = gw_list_entry(link, struct call, link);

                if (!due)
                        break;
                if (gw_mono_reached(now, call->deadline))
                        lose(s, call, 504);
                else if (call->deadline.ns && (!s->calls_due.ns || call->deadline.ns < s->calls_due.ns))
                        s->calls_due = call->deadline;
        }
        gw_session_calls_answer_lost(s);
}

void gw_session_calls_lose(struct gw_session *s) {
        s->calls_due.ns = 0;
        while (!gw_list_empty(&s->calls))
                lose(s, gw_list_entry(s->calls.next, struct call, link), 503);
}

/* Only those that are lost now: what `done` calls again while the session is down is answered in the next post. */
void gw_session_calls_answer_lost(struct gw_session *s) {
        struct gw_list now;

        gw_list_init(&now);
        while (!gw_list_empty(&s->lost)) {
                struct gw_list *link = s->lost.next;

                gw_list_remove(link);
                gw_list_append(&now, link);
        }
        gw_list_for_each (link, &now) {
                struct call *call = gw_list_entry(link, struct call, link);

                answer(call, call->status, NULL);
        }
}

void gw_session_calls_drop(struct gw_session *s) {
        gw_session_calls_lose(s);
        gw_list_for_each (link, &s->lost) {
                gw_list_remove(link);
                free(gw_list_entry(link, struct call, link));
        }
}

/* An event and an answer may be any JSON; *out stays NULL when there is none. */
static bool load(const struct message *m, json_t **out, json_error_t *fault) {
        *out = NULL;
        if (!m->json)
                return true;
        *out = json_loadb(m->json, m->json_size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, fault);
        return *out != NULL;
}

bool gw_session_on_event(struct gw_session *s, const uint8_t *body, size_t size) {
        struct message m;
        json_error_t fault;
        json_t *event;

        if (!decode(&m, body, size) || !load(&m, &event, &fault) || !event)
                return false;
        if (s->ops->event)
                s->ops->event(s, event, s->user);
        json_decref(event);
        return true;
}

bool gw_session_on_answer(struct gw_session *s, uint32_t id, const uint8_t *body, size_t size) {
        struct message m;
        json_error_t fault;
        json_t *json;

        if (!decode(&m, body, size) || !m.has_status || m.status < 100 || m.status > 599 || !load(&m, &json, &fault))
                return false;
        gw_list_for_each (link, &s->calls) {
                struct call *call = gw_list_entry(link, struct call, link);

                if (call->id == id) {
                        answer(call, m.status, json);
                        break;
                }
        }
        json_decref(json);
        return true;
}

static void answer_peer(struct gw_session *s, uint32_t id, int status, json_t *body) {
        int r = send_message(s, GW_FRAME_ANSWER, id, "", "", status, body, NULL, 0);

        if (r == -EMSGSIZE || r == -EINVAL) {
                struct gw_error error;
                json_t *text;

                gw_fail(&error, r, "", "the answer does not fit into a frame of %d octets; ask over HTTP",
                        GW_FRAME_MAX);
                text = gw_api_error_body(&error);
                r = send_message(s, GW_FRAME_ANSWER, id, "", "", 500, text, NULL, 0);
                json_decref(text);
        }
        if (r < 0)
                gw_log_debug("an answer to %s is lost: %s", s->peer, gw_error_word(r));
}

static void answer_fault(struct gw_session *s, uint32_t id, int code, const char *text) {
        struct gw_error error;
        json_t *body;

        gw_fail(&error, code, "", "%s", text);
        body = gw_api_error_body(&error);
        answer_peer(s, id, gw_api_status(code), body);
        json_decref(body);
}

static void on_answer(void *transport, int status, json_t *body) {
        struct served *served = transport;
        struct gw_session *s = served->session;

        if (s->generation == served->generation && s->stream)
                answer_peer(s, served->id, status, body);
        json_decref(body);
        s->served--;
        free(served);
        gw_session_unref(s);
}

static const struct gw_request_ops request_ops = {.answer = on_answer};

static struct gw_request *new_request(struct gw_session *s, uint32_t id, const struct message *m, json_t *json) {
        struct served *served = calloc(1, sizeof *served);
        char method[16], path[GW_REQUEST_TARGET_MAX];
        struct gw_request *request;

        if (!served) {
                json_decref(json);
                return NULL;
        }
        *served = (struct served){s, s->generation, id};
        snprintf(method, sizeof method, "%.*s", (int)m->method_size, m->method);
        snprintf(path, sizeof path, "%.*s", (int)m->path_size, m->path);
        request = gw_request_new(&request_ops, served, method, path, s->peer, json);
        if (!request) {
                free(served);
                return NULL;
        }
        request->session = s;
        gw_session_ref(s);
        s->served++;
        return request;
}

static void close_fds(const int *fds, size_t n) {
        while (n > 0)
                close(fds[--n]);
}

/* The descriptors of this frame, in order. False when fewer came than were said. */
static bool take_fds(struct gw_session *s, const struct message *m, int fds[static GW_SESSION_FDS_MAX]) {
        size_t n = 0;

        if (m->n_fds > GW_SESSION_FDS_MAX)
                return false;
        while (n < m->n_fds && (fds[n] = gw_stream_take_fd(s->stream, s->stream->consumed)) >= 0)
                n++;
        if (n == m->n_fds)
                return true;
        close_fds(fds, n);
        return false;
}

bool gw_session_on_call(struct gw_session *s, uint32_t id, const uint8_t *body, size_t size) {
        struct gw_request *request;
        struct message m;
        json_error_t fault;
        json_t *json;
        int fds[GW_SESSION_FDS_MAX];
        char text[200];

        if (!decode(&m, body, size) || !m.method || m.method_size == 0 || m.method_size > 15 || !m.path ||
            m.path_size == 0 || m.path_size >= GW_REQUEST_TARGET_MAX || memchr(m.path, 0, m.path_size) ||
            !take_fds(s, &m, fds))
                return false;
        request = NULL;
        if (!load(&m, &json, &fault)) {
                snprintf(text, sizeof text, "the body is not JSON: line %d, column %d: %s", fault.line, fault.column,
                         fault.text);
                answer_fault(s, id, GW_E_MALFORMED, text);
        } else if (s->served >= SERVED_MAX || !s->api) {
                json_decref(json);
                answer_fault(s, id, s->api ? GW_E_AGAIN : GW_E_NOT_FOUND,
                             s->api ? "too many calls are open" : "no calls are served here");
        } else {
                request = new_request(s, id, &m, json);
        }
        if (!request) {
                close_fds(fds, m.n_fds);
                return true;
        }
        memcpy(request->fds, fds, m.n_fds * sizeof fds[0]);
        request->n_fds = m.n_fds;
        gw_api_dispatch(s->api, request);
        return true;
}
