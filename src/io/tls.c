/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates for OpenSSL, and the same as PEM text for the HTTP server.
 *
 * One SSL_CTX serves both roles. Each side verifies the other's chain up to our
 * authority only (the system's authorities are not loaded), with the purpose
 * that fits its role: a certificate without "server" use cannot pose as an NVA.
 * Reload builds a whole new set and swaps it in; an SSL holds its own reference
 * to the context that it was made from.
 */
#include "io/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/error.h"
#include "io/file.h"

enum {
        PEM_MAX = 256 << 10,
        READ_BUFFER_OCTETS = 64 << 10, /* a read of the socket may bring several records; given back when empty */
};

struct set {
        SSL_CTX *context;
        char *pem[3];               /* by enum gw_tls_part */
        char name[GW_NAME_MAX + 2]; /* one more, to see that it is too long */
        struct gw_wall until[2];    /* by enum gw_tls_part */
};

struct gw_tls {
        struct set set;
        char *path[3];
};

static const char *const part_word[] = {"tls-ca", "tls-cert", "tls-key"};

static void set_deinit(struct set *set) {
        SSL_CTX_free(set->context);
        for (int i = 0; i < 3; i++) {
                if (set->pem[i])
                        OPENSSL_cleanse(set->pem[i], strlen(set->pem[i]));
                free(set->pem[i]);
        }
        memset(set, 0, sizeof *set);
}

static const char *fault_text(void) {
        const char *text = ERR_reason_error_string(ERR_peek_last_error());

        ERR_clear_error();
        return text ? text : "no usable content";
}

static int read_name(struct set *set, const char *path, struct gw_error *error) {
        X509 *cert = SSL_CTX_get0_certificate(set->context);
        int n = X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, set->name, sizeof set->name);

        if (n <= 0 || n > GW_NAME_MAX || strlen(set->name) != (size_t)n)
                return gw_fail(error, GW_E_INVALID, "tls-cert", "%s has no common name of 1 to %d characters", path,
                               GW_NAME_MAX);
        return 0;
}

static SSL_CTX *new_context(void) {
        SSL_CTX *context = SSL_CTX_new(TLS_method());

        if (!context)
                return NULL;
        SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_num_tickets(context, 0);
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                          SSL_MODE_RELEASE_BUFFERS);
        SSL_CTX_set_read_ahead(context, 1);
        SSL_CTX_set_default_read_buffer_len(context, READ_BUFFER_OCTETS);
        return context;
}

/* The first end among the certificates of a PEM text; 0 when one has none that can be read. */
static struct gw_wall first_end(const char *pem) {
        struct gw_wall first = {UINT64_MAX};
        BIO *bio = BIO_new_mem_buf(pem, -1);
        struct tm tm;
        X509 *cert;

        while (bio && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
                uint64_t ns = ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) ? (uint64_t)timegm(&tm) * GW_NS_PER_S : 0;

                first.ns = ns < first.ns ? ns : first.ns;
                X509_free(cert);
        }
        ERR_clear_error();
        BIO_free(bio);
        if (first.ns == UINT64_MAX)
                first.ns = 0;
        return first;
}

static int set_load(struct set *set, char *const path[3], struct gw_error *error) {
        int r;

        for (int i = 0; i < 3; i++) {
                r = gw_file_read(path[i], PEM_MAX, &set->pem[i], NULL);
                if (r < 0)
                        return gw_fail(error, r, part_word[i], "cannot read %s: %s", path[i], strerror(-r));
        }
        set->context = new_context();
        if (!set->context)
                return gw_fail(error, -ENOMEM, "", "cannot make a TLS context");
        ERR_clear_error();
        if (SSL_CTX_load_verify_file(set->context, path[GW_TLS_CA]) != 1)
                return gw_fail(error, GW_E_INVALID, "tls-ca", "%s is not a PEM certificate: %s", path[GW_TLS_CA],
                               fault_text());
        if (SSL_CTX_use_certificate_chain_file(set->context, path[GW_TLS_CERT]) != 1)
                return gw_fail(error, GW_E_INVALID, "tls-cert", "%s is not a PEM certificate: %s", path[GW_TLS_CERT],
                               fault_text());
        if (SSL_CTX_use_PrivateKey_file(set->context, path[GW_TLS_KEY], SSL_FILETYPE_PEM) != 1 ||
            SSL_CTX_check_private_key(set->context) != 1)
                return gw_fail(error, GW_E_INVALID, "tls-key", "%s is not the PEM private key of %s: %s",
                               path[GW_TLS_KEY], path[GW_TLS_CERT], fault_text());
        set->until[GW_TLS_CA] = first_end(set->pem[GW_TLS_CA]);
        set->until[GW_TLS_CERT] = first_end(set->pem[GW_TLS_CERT]);
        return read_name(set, path[GW_TLS_CERT], error);
}

int gw_tls_new(struct gw_tls **out, const char *ca_path, const char *cert_path, const char *key_path,
               struct gw_error *error) {
        struct gw_tls *tls;
        int r;

        tls = calloc(1, sizeof *tls);
        if (!tls)
                return gw_fail(error, -ENOMEM, "", "out of memory");
        tls->path[GW_TLS_CA] = strdup(ca_path);
        tls->path[GW_TLS_CERT] = strdup(cert_path);
        tls->path[GW_TLS_KEY] = strdup(key_path);
        if (tls->path[0] && tls->path[1] && tls->path[2])
                r = set_load(&tls->set, tls->path, error);
        else
                r = gw_fail(error, -ENOMEM, "", "out of memory");
        if (r != 0) {
                gw_tls_free(tls);
                return r;
        }
        *out = tls;
        return 0;
}

void gw_tls_free(struct gw_tls *tls) {
        if (!tls)
                return;
        set_deinit(&tls->set);
        for (int i = 0; i < 3; i++)
                free(tls->path[i]);
        free(tls);
}

int gw_tls_reload(struct gw_tls *tls, struct gw_error *error) {
        struct set fresh = {0};
        int r;

        r = set_load(&fresh, tls->path, error);
        if (r == 0 && strcmp(fresh.name, tls->set.name) != 0)
                r = gw_fail(error, GW_E_INVALID, "tls-cert", "%s is now the certificate of %s, not of %s",
                            tls->path[GW_TLS_CERT], fresh.name, tls->set.name);
        if (r != 0) {
                set_deinit(&fresh);
                return r;
        }
        set_deinit(&tls->set);
        tls->set = fresh;
        return 0;
}

const char *gw_tls_name(const struct gw_tls *tls) {
        return tls->set.name;
}

const char *gw_tls_path(const struct gw_tls *tls, enum gw_tls_part part) {
        return tls->path[part];
}

struct gw_wall gw_tls_until(const struct gw_tls *tls, enum gw_tls_part part) {
        return tls->set.until[part];
}

const char *gw_tls_pem(const struct gw_tls *tls, enum gw_tls_part part) {
        return tls->set.pem[part];
}

static int expect_name(SSL *ssl, const char *name) {
        struct gw_ip ip;

        if (gw_ip_parse(name, &ip) == 0)
                return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name);
        return SSL_set1_host(ssl, name) && SSL_set_tlsext_host_name(ssl, name);
}

int gw_tls_start(struct gw_tls *tls, int fd, bool server, const char *server_name, struct ssl_st **out) {
        SSL *ssl = SSL_new(tls->set.context);

        if (!ssl)
                return -ENOMEM;
        if (SSL_set_fd(ssl, fd) != 1 || (!server && server_name && !expect_name(ssl, server_name))) {
                ERR_clear_error();
                SSL_free(ssl);
                return -ENOMEM;
        }
        if (server)
                SSL_set_accept_state(ssl);
        else
                SSL_set_connect_state(ssl);
        *out = ssl;
        return 0;
}
