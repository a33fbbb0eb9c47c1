/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates in the profile of RFC 5280: version 3, a random serial of 127
 * bits, key usage and extended key usage, names as subject alternative names
 * (RFC 6125; the common name is repeated there). Validity starts an hour ago, so
 * that hosts whose clocks differ a little can use a new certificate at once.
 *
 * What is written: the key first, then the certificate, each atomically; a key
 * without its certificate is harmless.
 */
#include "io/pki.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/error.h"
#include "io/file.h"

enum { DAY_S = 86400, CLOCK_SKEW_S = 3600, DAYS_MAX = 36500, NAMES_MAX = 4096, HOSTS_MAX = 64 };

static int openssl_failed(struct gw_error *error, const char *what) {
        const char *reason = ERR_reason_error_string(ERR_peek_last_error());
        int r = gw_fail(error, -EIO, "", "cannot %s: %s", what, reason ? reason : "unknown failure");

        ERR_clear_error();
        return r;
}

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value) {
        X509V3_CTX context;
        X509_EXTENSION *extension;
        int r;

        X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
        extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
        if (!extension)
                return false;
        r = X509_add_ext(cert, extension, -1);
        X509_EXTENSION_free(extension);
        return r == 1;
}

static bool set_serial(X509 *cert) {
        BIGNUM *number = BN_new();
        bool ok = number && BN_rand(number, 127, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) &&
                  BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));

        BN_free(number);
        return ok;
}

/* Everything that the authority's own certificate and the issued ones have in common. */
static X509 *new_certificate(EVP_PKEY *key, const char *name, X509 *issuer, unsigned days) {
        X509 *cert = X509_new();
        X509_NAME *subject;

        if (!cert || !set_serial(cert))
                goto fail;
        subject = X509_get_subject_name(cert);
        if (!X509_set_version(cert, X509_VERSION_3) || !X509_gmtime_adj(X509_getm_notBefore(cert), -CLOCK_SKEW_S) ||
            !X509_gmtime_adj(X509_getm_notAfter(cert), (long)days * DAY_S) || !X509_set_pubkey(cert, key) ||
            !X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0) ||
            !X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : subject) ||
            !add_extension(cert, issuer ? issuer : cert, NID_subject_key_identifier, "hash") ||
            !add_extension(cert, issuer ? issuer : cert, NID_authority_key_identifier, "keyid:always"))
                goto fail;
        return cert;
fail:
        X509_free(cert);
        return NULL;
}

/* Writes what the memory BIO holds. */
static int write_pem(BIO *bio, const char *path, mode_t mode, struct gw_error *error) {
        char *bytes;
        long size = BIO_get_mem_data(bio, &bytes);
        int r = gw_file_write(path, bytes, (size_t)size, mode);

        if (r < 0)
                return gw_fail(error, r, "", "cannot write %s: %s", path, strerror(-r));
        return 0;
}

static int write_pair(EVP_PKEY *key, X509 *cert, const char *key_path, const char *cert_path, struct gw_error *error) {
        BIO *bio = BIO_new(BIO_s_secmem());
        int r;

        if (!bio || !PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL))
                r = openssl_failed(error, "encode a key");
        else
                r = write_pem(bio, key_path, 0600, error);
        BIO_free(bio);
        if (r != 0)
                return r;
        bio = BIO_new(BIO_s_mem());
        if (!bio || !PEM_write_bio_X509(bio, cert))
                r = openssl_failed(error, "encode a certificate");
        else
                r = write_pem(bio, cert_path, 0644, error);
        BIO_free(bio);
        return r;
}

static int check_free(const char *path, struct gw_error *error) {
        if (access(path, F_OK) == 0)
                return gw_fail(error, GW_E_EXISTS, "", "%s exists already", path);
        return 0;
}

static int check_days(unsigned days, struct gw_error *error) {
        if (days == 0 || days > DAYS_MAX)
                return gw_fail(error, GW_E_INVALID, "days", "days is %u; allowed are 1 to %d", days, DAYS_MAX);
        return 0;
}

static int check_name(const char *name, struct gw_error *error) {
        size_t n = strlen(name);

        if (n == 0 || n > GW_NAME_MAX ||
            strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") != n)
                return gw_fail(error, GW_E_INVALID, "name",
                               "the certificate's name \"%s\" must be 1 to %d letters, digits, '-' or '.'", name,
                               GW_NAME_MAX);
        return 0;
}

int gw_pki_make_ca(const char *cert_path, const char *key_path, const char *name, unsigned days,
                   struct gw_error *error) {
        EVP_PKEY *key = NULL;
        X509 *cert = NULL;
        int r;

        if ((r = check_name(name, error)) || (r = check_days(days, error)) || (r = check_free(cert_path, error)) ||
            (r = check_free(key_path, error)))
                return r;
        key = EVP_EC_gen("P-256");
        cert = key ? new_certificate(key, name, NULL, days) : NULL;
        if (!cert || !add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
            !add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") ||
            !X509_sign(cert, key, EVP_sha256()))
                r = openssl_failed(error, "make an authority");
        else
                r = write_pair(key, cert, key_path, cert_path, error);
        X509_free(cert);
        EVP_PKEY_free(key);
        return r;
}

/* "DNS:name,IP:192.0.2.1". A host that is neither an address nor a DNS name would let text slip into OpenSSL's
 * extension syntax, so its characters are checked here. */
static int alternative_names(const struct gw_pki_request *request, char out[static NAMES_MAX], struct gw_error *error) {
        int at = snprintf(out, NAMES_MAX, "DNS:%s", request->name);

        if (request->n_hosts > HOSTS_MAX)
                return gw_fail(error, GW_E_INVALID, "hosts", "%zu hosts; at most %d", request->n_hosts, HOSTS_MAX);
        for (size_t i = 0; i < request->n_hosts && at < NAMES_MAX; i++) {
                const char *host = request->hosts[i];
                struct gw_ip ip;
                bool is_ip = gw_ip_parse(host, &ip) == 0;
                size_t n = strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.*");

                if (!is_ip && (n == 0 || n > 253 || host[n]))
                        return gw_fail(error, GW_E_INVALID, "hosts", "\"%s\" is neither a DNS name nor an IP address",
                                       host);
                at += snprintf(out + at, NAMES_MAX - (size_t)at, ",%s:%s", is_ip ? "IP" : "DNS", host);
        }
        if (at >= NAMES_MAX)
                return gw_fail(error, GW_E_INVALID, "hosts", "the hosts have more than %d characters", NAMES_MAX);
        return 0;
}

static int load_ca(const char *cert_path, const char *key_path, X509 **cert, EVP_PKEY **key, struct gw_error *error) {
        FILE *file;

        file = fopen(cert_path, "re");
        *cert = file ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;
        if (file)
                fclose(file);
        if (!*cert) {
                ERR_clear_error();
                return gw_fail(error, GW_E_INVALID, "ca", "%s is not a readable PEM certificate", cert_path);
        }
        file = fopen(key_path, "re");
        *key = file ? PEM_read_PrivateKey(file, NULL, NULL, NULL) : NULL;
        if (file)
                fclose(file);
        if (!*key || X509_check_private_key(*cert, *key) != 1) {
                ERR_clear_error();
                return gw_fail(error, GW_E_INVALID, "ca", "%s is not the readable PEM key of %s", key_path, cert_path);
        }
        return 0;
}

static int sign(const struct gw_pki_request *request, const char *names, X509 *ca, EVP_PKEY *ca_key,
                const char *cert_path, const char *key_path, struct gw_error *error) {
        EVP_PKEY *key = EVP_EC_gen("P-256");
        X509 *cert = key ? new_certificate(key, request->name, ca, request->days) : NULL;
        int r;

        if (!cert || !add_extension(cert, ca, NID_basic_constraints, "critical,CA:FALSE") ||
            !add_extension(cert, ca, NID_key_usage, "critical,digitalSignature") ||
            !add_extension(cert, ca, NID_ext_key_usage, request->server ? "serverAuth,clientAuth" : "clientAuth") ||
            !add_extension(cert, ca, NID_subject_alt_name, names) || !X509_sign(cert, ca_key, EVP_sha256()))
                r = openssl_failed(error, "make a certificate");
        else
                r = write_pair(key, cert, key_path, cert_path, error);
        X509_free(cert);
        EVP_PKEY_free(key);
        return r;
}

int gw_pki_issue(const char *ca_cert_path, const char *ca_key_path, const char *cert_path, const char *key_path,
                 const struct gw_pki_request *request, struct gw_error *error) {
        char names[NAMES_MAX];
        EVP_PKEY *ca_key = NULL;
        X509 *ca = NULL;
        int r;

        if ((r = check_name(request->name, error)) || (r = check_days(request->days, error)) ||
            (r = alternative_names(request, names, error)))
                return r;
        if (!request->overwrite && ((r = check_free(cert_path, error)) || (r = check_free(key_path, error))))
                return r;
        r = load_ca(ca_cert_path, ca_key_path, &ca, &ca_key, error);
        if (r == 0)
                r = sign(request, names, ca, ca_key, cert_path, key_path, error);
        X509_free(ca);
        EVP_PKEY_free(ca_key);
        return r;
}
