/* SPDX-License-Identifier: Apache-2.0 */
/*
 * etcd-load PORT put|get CONNECTIONS DEPTH SECONDS KEYS VALUE_OCTETS
 *
 * Asks an etcd on 127.0.0.1 as its own clients do: gRPC over HTTP/2, `DEPTH`
 * calls under way on each connection all the time. Prints {"per_s": N}.
 *
 * Only what that needs: the two requests are written by hand (protocol buffers:
 * field 1 the key, field 2 the value), and of an answer only its end and its
 * status are looked at. bench/stores.py compiles it, with libnghttp2.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 64, VALUE_MAX = 1024, REQUEST_MAX = VALUE_MAX + 64, READ_OCTETS = 256 << 10 };

struct call {
        struct connection *connection;
        size_t size, at;
        uint8_t request[REQUEST_MAX];
        bool failed;
};

struct connection {
        nghttp2_session *session;
        struct call *calls;
        int fd;
};

static struct {
        bool put, counting;
        unsigned n_connections, depth, keys, value_octets;
        uint64_t answered, failed, random;
} load;

static double now_s(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t put_field(uint8_t *out, uint8_t number, const void *bytes, size_t size) {
        size_t n = 0;

        out[n++] = (uint8_t)(number << 3 | 2);
        if (size > 127)
                out[n++] = (uint8_t)(size & 127) | 128;
        out[n++] = (uint8_t)(size > 127 ? size >> 7 : size);
        memcpy(out + n, bytes, size);
        return n + size;
}

static void build(struct call *call) {
        uint8_t value[VALUE_MAX];
        size_t n = 5;
        char key[32];

        load.random ^= load.random << 13;
        load.random ^= load.random >> 7;
        load.random ^= load.random << 17;
        snprintf(key, sizeof key, "key:%012u", (unsigned)(load.random % load.keys));
        n += put_field(call->request + n, 1, key, strlen(key));
        memset(value, 'x', load.value_octets);
        if (load.put)
                n += put_field(call->request + n, 2, value, load.value_octets);
        call->request[0] = 0;
        for (int i = 0; i < 4; i++)
                call->request[1 + i] = (uint8_t)((n - 5) >> (24 - 8 * i));
        call->size = n;
        call->at = 0;
        call->failed = false;
}

static ssize_t on_body(nghttp2_session *session, int32_t stream, uint8_t *out, size_t room, uint32_t *flags,
                       nghttp2_data_source *source, void *user) {
        struct call *call = source->ptr;
        size_t n = call->size - call->at < room ? call->size - call->at : room;

        (void)session, (void)stream, (void)user;
        memcpy(out, call->request + call->at, n);
        call->at += n;
        if (call->at == call->size)
                *flags |= NGHTTP2_DATA_FLAG_EOF;
        return (ssize_t)n;
}

#define FIELD(name, value)                                                                                             \
        { (uint8_t *)(name), (uint8_t *)(value), sizeof(name) - 1, strlen(value), 0 }

static void submit(struct call *call) {
        const char *path = load.put ? "/etcdserverpb.KV/Put" : "/etcdserverpb.KV/Range";
        nghttp2_nv head[] = {FIELD(":method", "POST"),
                             FIELD(":scheme", "http"),
                             FIELD(":path", path),
                             FIELD(":authority", "127.0.0.1"),
                             FIELD("content-type", "application/grpc"),
                             FIELD("te", "trailers")};
        nghttp2_data_provider body = {.source.ptr = call, .read_callback = on_body};

        build(call);
        if (nghttp2_submit_request(call->connection->session, NULL, head, sizeof head / sizeof *head, &body, call) < 0)
                exit(1);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                     const uint8_t *value, size_t value_size, uint8_t flags, void *user) {
        struct call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

        (void)flags, (void)user;
        if (call && name_size == 11 && !memcmp(name, "grpc-status", 11) && (value_size != 1 || *value != '0'))
                call->failed = true;
        return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t error, void *user) {
        struct call *call = nghttp2_session_get_stream_user_data(session, stream);

        (void)user;
        if (!call)
                return 0;
        if (load.counting) {
                load.answered++;
                load.failed += error || call->failed;
        }
        submit(call);
        return 0;
}

static int connection_open(struct connection *c, uint16_t port) {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
        nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 24}};
        nghttp2_session_callbacks *callbacks;

        c->fd = socket(AF_INET, SOCK_STREAM, 0);
        if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0)
                return -errno;
        nghttp2_session_callbacks_new(&callbacks);
        nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
        nghttp2_session_client_new(&c->session, callbacks, c);
        nghttp2_session_callbacks_del(callbacks);
        nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, 1);
        nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, 1 << 30);
        c->calls = calloc(load.depth, sizeof *c->calls);
        for (unsigned i = 0; c->calls && i < load.depth; i++) {
                c->calls[i].connection = c;
                submit(&c->calls[i]);
        }
        return c->calls ? 0 : -ENOMEM;
}

/* All that is queued, in few writes. */
static void connection_write(struct connection *c) {
        static uint8_t out[READ_OCTETS];
        const uint8_t *bytes;
        size_t held = 0;
        ssize_t n;

        while ((n = nghttp2_session_mem_send(c->session, &bytes)) > 0) {
                if (held + (size_t)n > sizeof out) {
                        if (send(c->fd, out, held, MSG_NOSIGNAL) != (ssize_t)held)
                                exit(1);
                        held = 0;
                }
                memcpy(out + held, bytes, (size_t)n);
                held += (size_t)n;
        }
        if (held && send(c->fd, out, held, MSG_NOSIGNAL) != (ssize_t)held)
                exit(1);
}

static void connection_read(struct connection *c) {
        static uint8_t in[READ_OCTETS];
        ssize_t n = recv(c->fd, in, sizeof in, MSG_DONTWAIT);

        if (n == 0 || (n < 0 && errno != EAGAIN) ||
            (n > 0 && nghttp2_session_mem_recv(c->session, in, (size_t)n) < 0)) {
                fprintf(stderr, "the connection to etcd has ended\n");
                exit(1);
        }
        connection_write(c);
}

static void run(struct connection *connections, double seconds) {
        struct pollfd fds[CONNECTIONS_MAX];
        double began = now_s(), count_from = began + 1;

        for (unsigned i = 0; i < load.n_connections; i++) {
                connection_write(&connections[i]);
                fds[i] = (struct pollfd){.fd = connections[i].fd, .events = POLLIN};
        }
        while (now_s() < count_from + seconds) {
                poll(fds, load.n_connections, 100);
                for (unsigned i = 0; i < load.n_connections; i++)
                        if (fds[i].revents)
                                connection_read(&connections[i]);
                load.counting = now_s() >= count_from;
        }
        printf("{\"per_s\": %.0f, \"failed\": %llu}\n", (double)load.answered / (now_s() - count_from),
               (unsigned long long)load.failed);
}

int main(int argc, char **argv) {
        static struct connection connections[CONNECTIONS_MAX];

        if (argc != 8)
                return 2;
        load.put = !strcmp(argv[2], "put");
        load.n_connections = (unsigned)atoi(argv[3]);
        load.depth = (unsigned)atoi(argv[4]);
        load.keys = (unsigned)atoi(argv[6]);
        load.value_octets = (unsigned)atoi(argv[7]);
        load.random = 88172645463325252u;
        if (!load.n_connections || load.n_connections > CONNECTIONS_MAX || !load.depth || !load.keys ||
            load.value_octets > VALUE_MAX)
                return 2;
        for (unsigned i = 0; i < load.n_connections; i++)
                if (connection_open(&connections[i], (uint16_t)atoi(argv[1])) < 0) {
                        fprintf(stderr, "no connection to etcd\n");
                        return 1;
                }
        run(connections, atof(argv[5]));
        return 0;
}
