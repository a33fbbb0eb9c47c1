/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl behind two functions. An answer is bounded by ANSWER_MAX; what is not JSON
 * is told as such, with the first octets, since the usual cause is that --api names
 * something that is not a Godwit daemon.
 *
 * Reasons and names in an answer may be words of a host's, which the authority hands
 * on as they are. Those that will be shown as they are are tamed here, once.
 */
#include "cli/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

enum { ANSWER_MAX = 64 << 20, CONNECT_MS = 5000, CALL_MS = 120000 };

struct gw_client {
        CURL *curl;
        bool is_unix, exact;
        char *api;
        char why[CURL_ERROR_SIZE];
};

struct buffer {
        char *bytes;
        size_t n, room;
        /* Streams only. */
        gw_client_event each;
        void *user;
        char event[64];
        bool stopped, exact;
};

static int check_file(const char *flag, const char *path, struct gw_error *error) {
        if (!path || !access(path, R_OK))
                return 0;
        return gw_fail(error, GW_E_INVALID, flag, "--%s is \"%s\", which cannot be read: %s", flag, path,
                       strerror(errno));
}

/* Told apart here, since libcurl's words for them name no flag. */
static int check_tls(const struct gw_client_options *options, struct gw_error *error) {
        int r = check_file("tls-ca", options->tls_ca, error);

        if (!r)
                r = check_file("tls-cert", options->tls_cert, error);
        if (!r)
                r = check_file("tls-key", options->tls_key, error);
        if (!r && !options->tls_cert != !options->tls_key)
                return gw_fail(error, GW_E_INVALID, "tls-cert", "--tls-cert and --tls-key go together; one is missing");
        return r;
}

int gw_client_new(struct gw_client **out, const struct gw_client_options *options, struct gw_error *error) {
        int r = *options->api == '/' ? 0 : check_tls(options, error);
        struct gw_client *c;

        if (r)
                return r;
        c = calloc(1, sizeof *c);
        if (!c)
                return gw_fail(error, -ENOMEM, "", "no memory");
        c->api = strdup(options->api);
        c->curl = curl_easy_init();
        if (!c->api || !c->curl) {
                gw_client_free(c);
                return gw_fail(error, -ENOMEM, "", "no memory");
        }
        c->is_unix = *options->api == '/';
        c->exact = options->exact;
        if (c->is_unix)
                curl_easy_setopt(c->curl, CURLOPT_UNIX_SOCKET_PATH, options->api);
        if (options->tls_ca)
                curl_easy_setopt(c->curl, CURLOPT_CAINFO, options->tls_ca);
        if (options->tls_cert)
                curl_easy_setopt(c->curl, CURLOPT_SSLCERT, options->tls_cert);
        if (options->tls_key)
                curl_easy_setopt(c->curl, CURLOPT_SSLKEY, options->tls_key);
        curl_easy_setopt(c->curl, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_3);
        curl_easy_setopt(c->curl, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(c->curl, CURLOPT_NOPROXY, "*");
        curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
        curl_easy_setopt(c->curl, CURLOPT_ERRORBUFFER, c->why);
        *out = c;
        return 0;
}

void gw_client_free(struct gw_client *c) {
        if (!c)
                return;
        if (c->curl)
                curl_easy_cleanup(c->curl);
        free(c->api);
        free(c);
}

static bool grow(struct buffer *b, size_t more) {
        size_t room = b->room ? b->room : 4096;
        char *bytes;

        while (room < b->n + more + 1)
                room *= 2;
        if (room > ANSWER_MAX)
                return false;
        if (room == b->room)
                return true;
        bytes = realloc(b->bytes, room);
        if (!bytes)
                return false;
        b->bytes = bytes;
        b->room = room;
        return true;
}

static size_t append(char *bytes, size_t size, size_t n, void *user) {
        struct buffer *b = user;

        n *= size;
        if (!grow(b, n))
                return 0;
        memcpy(b->bytes + b->n, bytes, n);
        b->n += n;
        b->bytes[b->n] = 0;
        return n;
}

static void set_url(struct gw_client *c, const char *path) {
        char url[2048];

        snprintf(url, sizeof url, "%s%s", c->is_unix ? "http://localhost" : c->api, path);
        curl_easy_setopt(c->curl, CURLOPT_URL, url);
}

/* The daemon is there, and we do not get on. 0: that is not what it is. */
static int tls_trouble(const struct gw_client *c, CURLcode code, const char *why, struct gw_error *error) {
        switch (code) {
        case CURLE_SSL_CACERT_BADFILE:
        case CURLE_SSL_CERTPROBLEM:
                return gw_fail(error, GW_E_INVALID, "tls", "--tls-ca, --tls-cert or --tls-key is of no use: %s", why);
        case CURLE_PEER_FAILED_VERIFICATION:
                return gw_fail(
                        error, GW_E_REFUSED, "tls-ca",
                        "%s is not trusted: %s; --tls-ca names the certificate of the authority that signed its own",
                        c->api, why);
        case CURLE_SSL_CONNECT_ERROR: /* also when it is being restarted: it may be tried again */
                return gw_fail(error, -ECONNREFUSED, "tls-cert",
                               "%s does not let us in: %s; --tls-cert and --tls-key name a certificate that it trusts",
                               c->api, why);
        default:
                return 0;
        }
}

static int unreachable(struct gw_client *c, CURLcode code, struct gw_error *error) {
        const char *why = *c->why ? c->why : curl_easy_strerror(code);
        int r = tls_trouble(c, code, why, error);

        /* libcurl speaks of a host and a port, which a unix socket has not. */
        if (c->is_unix && code == CURLE_COULDNT_CONNECT)
                why = access(c->api, F_OK) < 0 ? strerror(errno) : "nobody listens there";
        if (r)
                return r;
        return gw_fail(error, -ECONNREFUSED, "api",
                       "no answer from %s: %s; is the daemon running there? --api, --lab or GODWIT_API name another",
                       c->api, why);
}

/* Error codes travel as words. */
static int code_of(const char *word, long status) {
        for (int code = GW_E_NOT_FOUND; code <= GW_E_MALFORMED; code++)
                if (word && !strcmp(word, gw_error_word(code)))
                        return code;
        return status == 404 ? GW_E_NOT_FOUND : GW_E_REFUSED;
}

void gw_client_tame(char *text) {
        for (unsigned char *c = (unsigned char *)text; *c; c++) {
                bool high = c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0; /* U+0080 to U+009F control, too */

                if (*c < ' ' || *c == 0x7f || high)
                        *c = ' ';
                if (high)
                        *++c = ' ';
        }
}

static void tame(json_t *value) {
        json_t *member;
        const char *key;
        char *text;
        size_t i;

        json_object_foreach (value, key, member)
                tame(member);
        json_array_foreach (value, i, member)
                tame(member);
        if (!json_is_string(value) || !(text = strdup(json_string_value(value))))
                return;
        gw_client_tame(text);
        json_string_set(value, text);
        free(text);
}

static int read_answer(struct gw_client *c, long status, const struct buffer *b, json_t **out, struct gw_error *error) {
        json_t *body = b->n ? json_loadb(b->bytes, b->n, 0, NULL) : json_object(), *e;
        const char *text, *field;
        int r;

        if (!body)
                return gw_fail(error, GW_E_MALFORMED, "api", "%s answered %ld with what is not JSON: %.60s", c->api,
                               status, b->bytes);
        if (!c->exact)
                tame(body);
        if (status >= 200 && status < 300) {
                if (out)
                        *out = body;
                else
                        json_decref(body);
                return 0;
        }
        e = json_object_get(body, "error");
        text = json_string_value(json_object_get(e, "text"));
        field = json_string_value(json_object_get(e, "field"));
        r = code_of(json_string_value(json_object_get(e, "code")), status);
        gw_fail(error, r, field ? field : "", "%s", text ? text : "refused without a reason");
        json_decref(body);
        return r;
}

static struct curl_slist *set_body(struct gw_client *c, const char *method, const char *text) {
        struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");

        headers = curl_slist_append(headers, "Expect:");
        curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, method);
        curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, headers);
        if (text)
                curl_easy_setopt(c->curl, CURLOPT_COPYPOSTFIELDS, text);
        else
                curl_easy_setopt(c->curl, CURLOPT_HTTPGET, 1L);
        curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, method);
        return headers;
}

int gw_client_call(struct gw_client *c, const char *method, const char *path, json_t *body, json_t **out,
                   struct gw_error *error) {
        char *text = body ? json_dumps(body, JSON_COMPACT) : strcmp(method, "POST") != 0 ? NULL : strdup("{}");
        struct curl_slist *headers = set_body(c, method, text);
        struct buffer answer = {0};
        long status = 0;
        CURLcode code;
        int r;

        json_decref(body);
        free(text);
        set_url(c, path);
        *c->why = 0;
        curl_easy_setopt(c->curl, CURLOPT_TIMEOUT_MS, (long)CALL_MS);
        curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, append);
        curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, &answer);
        code = curl_easy_perform(c->curl);
        if (code == CURLE_OK) {
                curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
                r = read_answer(c, status, &answer, out, error);
        } else {
                r = unreachable(c, code, error);
        }
        free(answer.bytes);
        curl_slist_free_all(headers);
        curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, NULL);
        return r;
}

/* One line of a stream: "event: name", "data: {json}", a comment, or the empty line after an event. */
static bool stream_line(struct buffer *b, const char *line) {
        json_t *data;
        bool more;

        if (!strncmp(line, "event:", 6)) {
                line += 6 + (line[6] == ' ');
                snprintf(b->event, sizeof b->event, "%s", line);
                return true;
        }
        if (strncmp(line, "data:", 5) != 0)
                return true;
        data = json_loads(line + 5, 0, NULL);
        if (!b->exact)
                tame(data);
        more = !data || b->each(*b->event ? b->event : "message", data, b->user);
        json_decref(data);
        return more;
}

static size_t stream_octets(char *bytes, size_t size, size_t n, void *user) {
        struct buffer *b = user;
        char *line, *end;

        if (append(bytes, size, n, b) != n * size)
                return 0;
        for (line = b->bytes; (end = strchr(line, '\n')); line = end + 1) {
                *end = 0;
                if (end > line && end[-1] == '\r')
                        end[-1] = 0;
                if (!stream_line(b, line)) {
                        b->stopped = true;
                        return 0;
                }
        }
        b->n = strlen(line);
        memmove(b->bytes, line, b->n + 1);
        return n * size;
}

int gw_client_stream(struct gw_client *c, const char *path, gw_client_event each, void *user, struct gw_error *error) {
        struct buffer b = {.each = each, .user = user, .exact = c->exact};
        struct curl_slist *headers = set_body(c, "GET", NULL);
        long status = 0;
        CURLcode code;
        int r = 0;

        set_url(c, path);
        *c->why = 0;
        curl_easy_setopt(c->curl, CURLOPT_TIMEOUT_MS, 0L);
        curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, stream_octets);
        curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, &b);
        code = curl_easy_perform(c->curl);
        curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
        if (status && status != 200)
                r = read_answer(c, status, &b, NULL, error);
        else if (code != CURLE_OK && !b.stopped)
                r = unreachable(c, code, error);
        free(b.bytes);
        curl_slist_free_all(headers);
        curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, NULL);
        return r;
}

const char *gw_client_segment(const char *text, char *out, size_t size) {
        static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~@:";
        size_t at = 0;

        for (; *text && at + 4 <= size; text++) {
                if (strchr(plain, *text))
                        out[at++] = *text;
                else
                        at += (size_t)snprintf(out + at, size - at, "%%%02X", (unsigned char)*text);
        }
        out[at < size ? at : size - 1] = 0;
        return out;
}
