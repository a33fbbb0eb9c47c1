/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream owns its socket, its TLS state, what was received and not yet taken,
 * and a queue of chunks to be written. It writes only in the loop's flush step:
 * a socket that becomes writable merely asks for one.
 *
 * Descriptors travel in SCM_RIGHTS with the first octet of a chunk, and so a
 * chunk with descriptors begins where a frame begins. The kernel never joins the
 * data of two messages that both carry descriptors, but may put data without any
 * before one that has some; the receiver therefore knows their place only as a range.
 *
 * Reading stops after READ_TURN octets, so that one peer cannot keep the loop.
 * Inside OpenSSL nothing may stay behind then, as no event would come for it.
 */
#include "io/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "io/session.h"
#include "io/socket.h"
#include "io/tls.h"

enum {
        READ_STEP = 16 << 10,
        READ_TURN = 256 << 10,
        CHUNK_FIRST = 2 << 10,
        CHUNK_NEXT = 16 << 10,
        LINGER_MS = 1000,
};

struct chunk {
        struct gw_list link;
        size_t capacity, size, at;
        size_t n_fds;
        int fds[GW_SESSION_FDS_MAX];
        uint8_t bytes[];
};

static void end(struct gw_stream *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void end(struct gw_stream *s, const char *format, ...) {
        va_list args;

        if (s->ended)
                return;
        s->ended = true;
        va_start(args, format);
        vsnprintf(s->reason, sizeof s->reason, format, args);
        va_end(args);
        gw_watch_stop(&s->watch);
}

static void set_events(struct gw_stream *s, uint32_t events) {
        if (s->held && !s->finishing)
                events &= ~(uint32_t)EPOLLIN;
        gw_watch_change(&s->watch, events);
}

/* Says it in the words of the certificate check when that was the cause. */
static void end_tls(struct gw_stream *s, const char *doing, int outcome) {
        unsigned long code = ERR_peek_error();
        long verify = SSL_get_verify_result(s->ssl);
        int fault = errno;

        if (outcome == SSL_ERROR_ZERO_RETURN)
                end(s, "the peer closed");
        else if (code && ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
                end(s, "the peer ended without saying so");
        else if (verify != X509_V_OK)
                end(s, "%s: the peer's certificate is refused: %s", doing, X509_verify_cert_error_string(verify));
        else if (code)
                end(s, "%s: %s", doing, ERR_reason_error_string(code) ? ERR_reason_error_string(code) : "TLS failure");
        else
                end(s, "%s: %s", doing, fault ? strerror(fault) : "the peer ended without saying so");
        ERR_clear_error();
}

/* True when the operation has to be tried again later. */
static bool tls_waits(struct gw_stream *s, int outcome) {
        if (outcome == SSL_ERROR_WANT_WRITE)
                s->want_write = true;
        return outcome == SSL_ERROR_WANT_READ || outcome == SSL_ERROR_WANT_WRITE;
}

int gw_stream_reserve(struct gw_stream *s, size_t size) {
        uint8_t *grown;

        if (s->in_at) {
                memmove(s->in, s->in + s->in_at, s->in_size - s->in_at);
                s->in_size -= s->in_at;
                s->in_at = 0;
        }
        if (s->in_capacity >= size)
                return 0;
        grown = realloc(s->in, size);
        if (!grown)
                return -ENOMEM;
        s->in = grown;
        s->in_capacity = size;
        return 0;
}

void gw_stream_consume(struct gw_stream *s, size_t n) {
        s->in_at += n;
        s->consumed += n;
        if (s->in_at < s->in_size)
                return;
        s->in_at = s->in_size = 0;
        /* An idle session keeps no buffer. */
        free(s->in);
        s->in = NULL;
        s->in_capacity = 0;
}

void gw_stream_hold(struct gw_stream *s, bool hold) {
        if (s->held == hold)
                return;
        s->held = hold;
        set_events(s, s->watch.events | EPOLLIN);
}

/* Takes the descriptors out of a received message; it ends the stream when there are too many. */
static void take_control(struct gw_stream *s, struct msghdr *message, size_t n) {
        for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
                size_t n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                int fds[GW_SESSION_FDS_MAX];

                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || n_fds > GW_SESSION_FDS_MAX)
                        continue;
                memcpy(fds, CMSG_DATA(c), n_fds * sizeof(int));
                for (size_t i = 0; i < n_fds; i++) {
                        if (s->n_fds == GW_STREAM_FDS_MAX) {
                                close(fds[i]);
                                end(s, "more than %d descriptors that no call asked for", GW_STREAM_FDS_MAX);
                        } else {
                                s->fds[s->n_fds++] = (struct gw_stream_fd){s->received, s->received + n, fds[i]};
                        }
                }
        }
        if (message->msg_flags & MSG_CTRUNC)
                end(s, "more than %d descriptors with one message", GW_SESSION_FDS_MAX);
}

static ssize_t read_unix(struct gw_stream *s, void *bytes, size_t size) {
        char control[CMSG_SPACE(GW_SESSION_FDS_MAX * sizeof(int))];
        struct iovec io = {bytes, size};
        struct msghdr message = {
                .msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        ssize_t n = recvmsg(s->fd, &message, MSG_CMSG_CLOEXEC);

        if (n < 0) {
                if (errno != EAGAIN && errno != EINTR)
                        end(s, "reading: %s", strerror(errno));
                return -1;
        }
        take_control(s, &message, (size_t)n);
        if (n == 0)
                end(s, "the peer closed");
        return n;
}

static ssize_t read_tls(struct gw_stream *s, void *bytes, size_t size) {
        int n, outcome;

        ERR_clear_error();
        errno = 0;
        n = SSL_read(s->ssl, bytes, (int)size);
        if (n > 0)
                return n;
        outcome = SSL_get_error(s->ssl, n);
        if (!tls_waits(s, outcome))
                end_tls(s, "reading", outcome);
        return -1;
}

static void read_some(struct gw_stream *s) {
        size_t total = 0;

        while (!s->ended && (total < READ_TURN || (s->ssl && SSL_has_pending(s->ssl)))) {
                size_t filled = s->in_size - s->in_at, more = filled > 2 * READ_STEP ? filled : 2 * READ_STEP;
                ssize_t n;

                if (s->in_capacity - s->in_size < READ_STEP && gw_stream_reserve(s, filled + more) < 0) {
                        end(s, "out of memory");
                        return;
                }
                n = s->ssl ? read_tls(s, s->in + s->in_size, s->in_capacity - s->in_size)
                           : read_unix(s, s->in + s->in_size, s->in_capacity - s->in_size);
                if (n <= 0)
                        return;
                s->received += (size_t)n;
                total += (size_t)n;
                if (s->finishing)
                        gw_stream_consume(s, s->in_size - s->in_at);
                else
                        s->in_size += (size_t)n;
                /* The end of a record that is not full, and nothing behind it: to ask the socket would be in vain. */
                if (s->ssl && n < SSL3_RT_MAX_PLAIN_LENGTH && !SSL_has_pending(s->ssl))
                        return;
        }
}

static void learn_peer(struct gw_stream *s) {
        X509 *cert = SSL_get0_peer_certificate(s->ssl);
        char name[sizeof s->peer + 1]; /* one more, to see that a name is too long */
        struct tm tm;
        int n = cert ? X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name, sizeof name) : -1;

        if (cert && ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm))
                s->peer_until.ns = (uint64_t)timegm(&tm) * GW_NS_PER_S;
        /* A 0 inside a name would make two names look the same. */
        if (n > 0 && n <= GW_NAME_MAX && strlen(name) == (size_t)n)
                memcpy(s->peer, name, (size_t)n + 1);
        else
                end(s, "the peer's certificate has no common name of 1 to %d characters", GW_NAME_MAX);
}

static void shake_hands(struct gw_stream *s) {
        int r, outcome;

        ERR_clear_error();
        errno = 0;
        r = SSL_do_handshake(s->ssl);
        if (r == 1) {
                learn_peer(s);
                s->up = !s->ended;
                return;
        }
        outcome = SSL_get_error(s->ssl, r);
        if (!tls_waits(s, outcome))
                end_tls(s, "TLS handshake", outcome);
}

static void connected(struct gw_stream *s) {
        int r = gw_socket_outcome(s->fd);

        if (r < 0) {
                end(s, "connecting: %s", strerror(-r));
                return;
        }
        s->connecting = false;
        if (s->ssl)
                gw_socket_tune(s->fd);
        else
                s->up = true;
}

static void on_io(struct gw_watch *watch, uint32_t revents) {
        struct gw_stream *s = gw_container_of(watch, struct gw_stream, watch);

        if (revents & EPOLLOUT)
                s->want_write = false;
        if (s->connecting && (revents & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
                connected(s);
        if (!s->ended && !s->connecting && !s->up && s->ssl)
                shake_hands(s);
        if (!s->ended && s->up && (!s->held || s->finishing))
                read_some(s);
        if (!s->ended && s->up && !s->want_write && !gw_list_empty(&s->out))
                gw_loop_flush_later(s->loop, &s->flush);
        set_events(s, EPOLLIN | (s->want_write || s->connecting ? EPOLLOUT : 0));
        s->changed(s->user);
}

static void free_chunk(struct chunk *chunk) {
        gw_list_remove(&chunk->link);
        for (size_t i = 0; i < chunk->n_fds; i++)
                close(chunk->fds[i]);
        free(chunk);
}

static ssize_t write_unix(struct gw_stream *s, struct chunk *chunk) {
        union {
                char room[CMSG_SPACE(GW_SESSION_FDS_MAX * sizeof(int))];
                struct cmsghdr header;
        } control = {0};
        struct iovec io = {chunk->bytes + chunk->at, chunk->size - chunk->at};
        struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1};
        size_t size = chunk->n_fds * sizeof(int);
        ssize_t n;

        if (chunk->n_fds) {
                message.msg_control = &control;
                message.msg_controllen = CMSG_SPACE(size);
                control.header = (struct cmsghdr){CMSG_LEN(size), SOL_SOCKET, SCM_RIGHTS};
                memcpy(CMSG_DATA(&control.header), chunk->fds, size);
        }
        n = sendmsg(s->fd, &message, MSG_NOSIGNAL);
        if (n < 0) {
                if (errno == EAGAIN)
                        s->want_write = true;
                else if (errno != EINTR)
                        end(s, "writing: %s", strerror(errno));
                return -1;
        }
        for (size_t i = 0; i < chunk->n_fds; i++)
                close(chunk->fds[i]);
        chunk->n_fds = 0;
        return n;
}

static ssize_t write_tls(struct gw_stream *s, struct chunk *chunk) {
        int n, outcome;

        ERR_clear_error();
        errno = 0;
        n = SSL_write(s->ssl, chunk->bytes + chunk->at, (int)(chunk->size - chunk->at));
        if (n > 0)
                return n;
        outcome = SSL_get_error(s->ssl, n);
        if (!tls_waits(s, outcome))
                end_tls(s, "writing", outcome);
        return -1;
}

static void write_some(struct gw_stream *s) {
        while (!s->ended && !gw_list_empty(&s->out)) {
                struct chunk *chunk = gw_list_entry(s->out.next, struct chunk, link);
                ssize_t n = s->ssl ? write_tls(s, chunk) : write_unix(s, chunk);

                if (n < 0)
                        return;
                chunk->at += (size_t)n;
                s->queued -= (size_t)n;
                if (chunk->at == chunk->size)
                        free_chunk(chunk);
        }
}

/* Only the octets' direction to the peer is closed: reading goes on until the peer closes too, because closing a
 * socket that has unread octets would take away from the peer what it has not read yet. */
static void say_goodbye(struct gw_stream *s) {
        if (s->ssl && s->up) {
                ERR_clear_error();
                SSL_shutdown(s->ssl);
        }
        shutdown(s->fd, SHUT_WR);
}

static void on_flush(struct gw_flush *flush) {
        struct gw_stream *s = gw_container_of(flush, struct gw_stream, flush);

        if (s->ended || !s->up)
                return;
        s->want_write = false;
        write_some(s);
        set_events(s, EPOLLIN | (s->want_write ? EPOLLOUT : 0));
        if (s->finishing && gw_list_empty(&s->out))
                say_goodbye(s);
        if (s->ended)
                s->changed(s->user);
}

/* Small frames share a chunk; one with descriptors begins its own. */
static struct chunk *room_for(struct gw_stream *s, size_t size, size_t n_fds) {
        struct chunk *last = gw_list_empty(&s->out) ? NULL : gw_list_entry(s->out.prev, struct chunk, link);
        size_t capacity = last ? CHUNK_NEXT : CHUNK_FIRST;
        struct chunk *chunk;

        if (last && n_fds == 0 && last->capacity - last->size >= size)
                return last;
        if (capacity < size)
                capacity = size;
        chunk = malloc(sizeof *chunk + capacity);
        if (!chunk)
                return NULL;
        chunk->capacity = capacity;
        chunk->size = chunk->at = chunk->n_fds = 0;
        chunk->link = (struct gw_list){0};
        return chunk;
}

static int duplicate_fds(struct chunk *chunk, const int *fds, size_t n_fds) {
        for (size_t i = 0; i < n_fds; i++) {
                int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);

                if (fd < 0)
                        return -errno;
                chunk->fds[chunk->n_fds++] = fd;
        }
        return 0;
}

int gw_stream_write(struct gw_stream *s, const struct iovec *parts, size_t n_parts, const int *fds, size_t n_fds) {
        struct chunk *chunk;
        size_t size = 0;
        int r;

        if (s->ended)
                return -ENOTCONN;
        if (n_fds && (s->ssl || n_fds > GW_SESSION_FDS_MAX))
                return -EINVAL;
        for (size_t i = 0; i < n_parts; i++)
                size += parts[i].iov_len;
        chunk = room_for(s, size, n_fds);
        if (!chunk)
                return -ENOMEM;
        r = duplicate_fds(chunk, fds, n_fds);
        if (r < 0) {
                free_chunk(chunk);
                return r;
        }
        for (size_t i = 0; i < n_parts; i++) {
                if (parts[i].iov_len)
                        memcpy(chunk->bytes + chunk->size, parts[i].iov_base, parts[i].iov_len);
                chunk->size += parts[i].iov_len;
        }
        s->queued += size;
        if (!gw_list_linked(&chunk->link))
                gw_list_append(&s->out, &chunk->link);
        /* While the socket is full, its becoming writable asks for the flush. */
        if (!(s->watch.events & EPOLLOUT))
                gw_loop_flush_later(s->loop, &s->flush);
        return 0;
}

int gw_stream_take_fd(struct gw_stream *s, uint64_t at) {
        int fd;

        if (s->n_fds == 0 || s->fds[0].from > at || s->fds[0].to <= at)
                return -1;
        fd = s->fds[0].fd;
        memmove(s->fds, s->fds + 1, --s->n_fds * sizeof s->fds[0]);
        return fd;
}

bool gw_stream_has_stray_fd(const struct gw_stream *s, uint64_t at) {
        return s->n_fds > 0 && s->fds[0].to <= at;
}

int gw_stream_new(struct gw_stream **out, struct gw_loop *loop, int fd, bool connecting, struct gw_tls *tls,
                  bool server, const char *server_name, void (*changed)(void *user), void *user) {
        struct gw_stream *s = calloc(1, sizeof *s);
        int r = -ENOMEM;

        if (!s) {
                close(fd);
                return r;
        }
        gw_list_init(&s->out);
        s->loop = loop;
        s->fd = fd;
        s->connecting = connecting;
        s->changed = changed;
        s->user = user;
        s->flush.run = on_flush;
        s->watch.run = on_io;
        if (tls) {
                r = gw_tls_start(tls, fd, server, server_name, &s->ssl);
                if (r < 0)
                        goto fail;
                if (!connecting)
                        gw_socket_tune(fd);
        } else {
                strcpy(s->peer, "unix");
                s->up = !connecting;
        }
        r = gw_watch_start(&s->watch, &loop->poll, fd, EPOLLIN | (connecting || (tls && !server) ? EPOLLOUT : 0));
        if (r < 0)
                goto fail;
        *out = s;
        return 0;
fail:
        gw_stream_free(s);
        return r;
}

void gw_stream_free(struct gw_stream *s) {
        if (!s)
                return;
        if (s->up && !s->ended)
                say_goodbye(s);
        gw_loop_cancel_flush(s->loop, &s->flush);
        gw_loop_release(&s->orphan);
        gw_timer_free(s->linger);
        gw_watch_stop(&s->watch);
        SSL_free(s->ssl);
        gw_list_for_each (link, &s->out)
                free_chunk(gw_list_entry(link, struct chunk, link));
        for (size_t i = 0; i < s->n_fds; i++)
                close(s->fds[i].fd);
        free(s->in);
        close(s->fd);
        free(s);
}

static void finish_changed(void *user) {
        struct gw_stream *s = user;

        if (s->ended)
                gw_stream_free(s);
}

static void finish_late(void *user) {
        gw_stream_free(user);
}

static void finish_drop(struct gw_orphan *orphan) {
        gw_stream_free(gw_container_of(orphan, struct gw_stream, orphan));
}

void gw_stream_finish(struct gw_stream *s) {
        s->changed = finish_changed;
        s->user = s;
        s->finishing = true;
        s->orphan.drop = finish_drop;
        if (s->ended || !s->up ||
            gw_timer_new(&s->linger, s->loop, gw_ms(LINGER_MS), (struct gw_duration){0}, finish_late, s) < 0) {
                gw_stream_free(s);
                return;
        }
        gw_stream_consume(s, s->in_size - s->in_at);
        gw_loop_adopt(s->loop, &s->orphan);
        if (!(s->watch.events & EPOLLOUT))
                gw_loop_flush_later(s->loop, &s->flush);
}
