/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why not QEMU's own TLS: QEMU 7.2 hands each page, and the eight octets before it, to GnuTLS by itself. Each becomes a
 * record and a system call of its own, two for four kilobytes, and as many again at the other end; that costs several
 * times what the encryption does (decision 53). Here records are full. What goes over the wire is the same: a TLS 1.3
 * connection with the copy in it, so the receiver is any QEMU that is set up for TLS, and need not know.
 *
 * In order: connect, see who is there, listen for the emulator, say that all is ready, take one connection, and pass on
 * what comes. One direction only: a copy that talks back (post-copy) does not go this way.
 *
 * How it ends, as it would without us between them. The emulator closes: what it has written is sent, the end is said,
 * and the receiver's closing waited for, since closing earlier could throw away what is on its way. The receiver closes
 * or is lost: the emulator's connection is closed, and it notices at its next write. The emulator is gone and the receiver
 * takes nothing: after LINGER_MS nobody waits for it any more. While the emulator is there no time limit holds; whether a copy
 * that stands still is given up is others' matter.
 *
 * Until the emulator has come, the end of whoever started us is ours: nobody would send it here any more, and the
 * receiver would take us for its source.
 */
#include "hypervisor/carrier.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/error.h"
#include "base/time.h"
#include "io/socket.h"
#include "io/tls.h"

enum { BUFFER_OCTETS = 128 << 10, CONNECT_MS = 20000, ACCEPT_MS = 10000, LINGER_MS = 60000 };

/* What costs least where processors have AES first. */
static const char CIPHERS[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

struct carrier {
        int report, tcp, emulator;
        SSL *ssl;
        struct gw_mono give_up; /* 0: never */
        bool has_hung_up;       /* the emulator; what it wrote before may still be unread */
        bool is_alone;          /* the receiver has closed */
        unsigned char buffer[BUFFER_OCTETS];
        size_t from, used;
};

__attribute__((format(printf, 2, 3))) static int complain(const struct carrier *c, const char *format, ...) {
        va_list args;

        va_start(args, format);
        vdprintf(c->report, format, args);
        va_end(args);
        return -1;
}

static int ms_left(const struct carrier *c) {
        struct gw_mono now = gw_mono_now();

        if (c->give_up.ns == 0)
                return -1;
        return gw_mono_reached(now, c->give_up) ? 0 : (int)(gw_mono_between(now, c->give_up).ns / GW_NS_PER_MS) + 1;
}

static void allow_ms(struct carrier *c, uint32_t ms) {
        c->give_up = gw_mono_after(gw_mono_now(), gw_ms(ms));
}

/* False when the time is up, or nobody listens to our reports while we are got ready. */
static bool wait_for(const struct carrier *c, int fd, short events) {
        struct pollfd p[2] = {{.fd = fd, .events = events}, {.fd = c->emulator < 0 ? c->report : -1}};
        int n;

        do
                n = poll(p, 2, ms_left(c));
        while (n < 0 && errno == EINTR);
        return n > 0 && !(p[1].revents & (POLLERR | POLLHUP | POLLNVAL));
}

/* What to wait for before an operation is tried again; 0: it has failed. */
static short wanted(const struct carrier *c, int result) {
        switch (SSL_get_error(c->ssl, result)) {
        case SSL_ERROR_WANT_READ:
                return POLLIN;
        case SSL_ERROR_WANT_WRITE:
                return POLLOUT;
        default:
                return 0;
        }
}

static const char *tls_fault(const struct carrier *c) {
        long verdict = SSL_get_verify_result(c->ssl);
        const char *text = ERR_reason_error_string(ERR_peek_last_error());

        if (verdict != X509_V_OK)
                return X509_verify_cert_error_string(verdict);
        return text ? text : "it closed the connection";
}

/* ---- before the copy ---- */

static int connect_to(struct carrier *c, const char *to) {
        struct gw_endpoint endpoint;
        int on = 1, r;

        if (gw_endpoint_parse(to, &endpoint))
                return complain(c, "%s is not an address with a port\n", to);
        c->tcp = gw_socket_connect_tcp(&endpoint);
        if (c->tcp < 0)
                return complain(c, "cannot connect to %s: %s\n", to, strerror(-c->tcp));
        r = wait_for(c, c->tcp, POLLOUT) ? gw_socket_outcome(c->tcp) : -ETIMEDOUT;
        if (r < 0)
                return complain(c, "cannot connect to %s: %s\n", to, strerror(-r));
        setsockopt(c->tcp, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        return 0;
}

static int start_tls(struct carrier *c, const char *peer, const char *folder) {
        static const char *const names[] = {"ca-cert.pem", "client-cert.pem", "client-key.pem"};
        struct gw_error error = {0};
        struct gw_tls *tls = NULL;
        char path[3][4096];
        int r;

        for (int i = 0; i < 3; i++)
                snprintf(path[i], sizeof path[i], "%s/%s", folder, names[i]);
        if (gw_tls_new(&tls, path[0], path[1], path[2], &error))
                return complain(c, "%s\n", error.text);
        r = gw_tls_start(tls, c->tcp, false, peer, &c->ssl);
        gw_tls_free(tls);
        /* A host's certificate is for connecting to the authority; among hosts it serves both ways, and names are what counts. */
        if (r < 0 || SSL_set_ciphersuites(c->ssl, CIPHERS) != 1 ||
            SSL_set_purpose(c->ssl, X509_PURPOSE_SSL_CLIENT) != 1)
                return complain(c, "cannot set up TLS\n");
        SSL_clear_mode(c->ssl, SSL_MODE_RELEASE_BUFFERS); /* they are needed again at once */
        return 0;
}

static int shake_hands(struct carrier *c, const char *peer) {
        short events;
        int r;

        while ((r = SSL_connect(c->ssl)) != 1) {
                events = wanted(c, r);
                if (!events)
                        return complain(c, "%s is not reached over TLS: %s\n", peer, tls_fault(c));
                if (!wait_for(c, c->tcp, events))
                        return complain(c, "%s is not reached over TLS: no answer in time\n", peer);
        }
        return 0;
}

/* A socket of that name is one that an earlier carrier has left, or waits at in vain; ours may become a later one's. */
static int take_emulator(struct carrier *c, const char *path) {
        struct stat own = {0}, now;
        int listener;

        unlink(path);
        listener = gw_socket_listen_unix(path, 0600);
        if (listener < 0 || stat(path, &own) < 0)
                return complain(c, "cannot listen on %s: %s\n", path, strerror(listener < 0 ? -listener : errno));
        dprintf(c->report, GW_CARRIER_READY "\n");
        allow_ms(c, ACCEPT_MS);
        c->emulator = wait_for(c, listener, POLLIN) ? gw_socket_accept(listener) : -ETIMEDOUT;
        if (stat(path, &now) == 0 && now.st_ino == own.st_ino)
                unlink(path);
        close(listener);
        if (c->emulator < 0)
                return complain(c, "the emulator has not connected: %s\n", strerror(-c->emulator));
        c->give_up = (struct gw_mono){0};
        return 0;
}

/* ---- the copy ---- */

/* What the receiver says is nothing but TLS's own affairs. One that has everything may close before the emulator does. */
static int hear_receiver(struct carrier *c) {
        unsigned char ignored[4096];
        int n;

        do
                n = SSL_read(c->ssl, ignored, sizeof ignored);
        while (n > 0);
        c->is_alone = !wanted(c, n);
        return c->is_alone && c->from < c->used ? -ECONNRESET : 0;
}

static void hang_up(struct carrier *c) {
        if (c->has_hung_up)
                return;
        c->has_hung_up = true;
        allow_ms(c, LINGER_MS);
}

/* 0: nothing there yet; < 0: that was all. */
static ssize_t fill(struct carrier *c) {
        ssize_t n = read(c->emulator, c->buffer, sizeof c->buffer);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n <= 0)
                return -1;
        c->from = 0;
        c->used = (size_t)n;
        return n;
}

/* As much as goes: events to wait for before the rest, 0 when nothing is left, < 0 when the receiver is gone. */
static int send_some(struct carrier *c) {
        if (c->is_alone)
                return -ECONNRESET;
        while (c->from < c->used) {
                int n = SSL_write(c->ssl, c->buffer + c->from, (int)(c->used - c->from));

                if (n <= 0) {
                        short events = wanted(c, n);

                        return events ? events : -ECONNRESET;
                }
                c->from += (size_t)n;
        }
        return 0;
}

/* Waits until there is something to do. */
static int look(struct carrier *c, int sending) {
        struct pollfd p[2] = {{.fd = c->is_alone ? -1 : c->tcp, .events = (short)(POLLIN | sending)},
                              {.fd = c->has_hung_up ? -1 : c->emulator, .events = sending ? 0 : POLLIN}};
        int n = poll(p, 2, ms_left(c));

        if (n == 0)
                return -ETIMEDOUT;
        if (n > 0 && p[1].revents & (POLLHUP | POLLERR))
                hang_up(c);
        return n > 0 && p[0].revents & (POLLIN | POLLHUP | POLLERR) ? hear_receiver(c) : 0;
}

static int pass_on(struct carrier *c) {
        int sending = 0, r = 0;
        ssize_t n;

        while (r >= 0) {
                n = c->from < c->used ? 1 : fill(c);
                if (n < 0)
                        return 0;
                sending = n > 0 ? send_some(c) : 0;
                if (sending < 0)
                        return sending;
                if (sending || n == 0)
                        r = look(c, sending);
        }
        return r;
}

/* Says that this is all, and waits until the receiver closes. */
static void finish(struct carrier *c) {
        unsigned char ignored[4096];
        ssize_t n;
        int r;

        if (c->is_alone)
                return;
        allow_ms(c, LINGER_MS);
        while ((r = SSL_shutdown(c->ssl)) < 0 && wanted(c, r) == POLLOUT && wait_for(c, c->tcp, POLLOUT))
                ;
        shutdown(c->tcp, SHUT_WR);
        do
                n = wait_for(c, c->tcp, POLLIN) ? read(c->tcp, ignored, sizeof ignored) : 0;
        while (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)));
}

int gw_carrier_main(int argc, char **argv) {
        static struct carrier c = {.tcp = -1, .emulator = -1};
        int r;

        if (argc != 6)
                return 2;
        signal(SIGPIPE, SIG_IGN);
        c.report = atoi(argv[5]);
        allow_ms(&c, CONNECT_MS);
        if (connect_to(&c, argv[1]) || start_tls(&c, argv[2], argv[3]) || shake_hands(&c, argv[2]) ||
            take_emulator(&c, argv[4]))
                return 1;
        r = pass_on(&c);
        close(c.emulator);
        if (r == 0)
                finish(&c);
        else
                complain(&c, "the copy to %s was broken off: %s\n", argv[2],
                         r == -ETIMEDOUT ? "it takes nothing any more" : "it closed the connection");
        return r < 0;
}
