/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key file, and HMAC over OpenSSL.
 *
 * A security association is found by the peer's address and the SPI, as RFC
 * 4285 has it, so entries are kept in that order. A file is read whole and
 * checked whole before one of its keys counts; a reload that fails changes
 * nothing. Errors name the line and the field, never the key. All that held one
 * is wiped before it is freed.
 *
 * A file that others may read is refused: its keys are no secret any more.
 */
#include "io/keys.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "io/file.h"

enum { FIELDS = 5, LINE_MAX_SIZE = 512, DIGEST_MAX = 64 };

struct gw_keys {
        char *path;
        size_t n;
        struct gw_keys_entry *entries; /* by (peer, SPI) */
};

static const struct {
        const char *word;
        uint8_t algorithm;
} algorithms[] = {{"hmac-sha256", GW_AUTH_HMAC_SHA256}, {"hmac-sha1", GW_AUTH_HMAC_SHA1}};

/* --- one line --- */

static bool parse_spi(const char *text, uint32_t *out) {
        char *end;
        unsigned long long value;

        if (!isdigit((unsigned char)text[0]))
                return false;
        errno = 0;
        value = strtoull(text, &end, 0);
        if (errno || *end || value < GW_MH_SPI_MIN || value > UINT32_MAX)
                return false;
        *out = (uint32_t)value;
        return true;
}

static int digit(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        c = (char)tolower((unsigned char)c);
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_key(const char *text, struct gw_auth_key *out) {
        size_t n = strlen(text);

        if (n % 2 || n / 2 < GW_AUTH_KEY_MIN || n / 2 > GW_AUTH_KEY_MAX)
                return false;
        for (size_t i = 0; i < n / 2; i++) {
                int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);

                if (high < 0 || low < 0)
                        return false;
                out->octets[i] = (uint8_t)(high << 4 | low);
        }
        out->size = (uint8_t)(n / 2);
        return true;
}

static bool parse_algorithm(const char *text, uint8_t *out) {
        for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; i++)
                if (!strcmp(text, algorithms[i].word)) {
                        *out = algorithms[i].algorithm;
                        return true;
                }
        return false;
}

/* Whose fields are in another order may have the key there: it is not repeated in a log. */
static const char *spi_text(const char *text) {
        size_t n = strspn(text, "-0123456789");

        return n <= 11 && !text[n] ? text : "no number";
}

static int parse_fields(char *const field[FIELDS], struct gw_keys_entry *out, const char *where,
                        struct gw_error *error) {
        unsigned line = out->line;

        if (!parse_spi(field[0], &out->key.spi))
                return gw_fail(error, GW_E_INVALID, "registration-keys",
                               "%s line %u: the SPI is \"%s\"; allowed are %d to %u", where, line, spi_text(field[0]),
                               GW_MH_SPI_MIN, UINT32_MAX);
        if (!parse_algorithm(field[1], &out->key.algorithm))
                return gw_fail(error, GW_E_INVALID, "registration-keys",
                               "%s line %u: the algorithm must be hmac-sha256 or hmac-sha1", where, line);
        if (gw_ip_parse(field[2], &out->peer) || !gw_ip_is_unicast(out->peer))
                return gw_fail(error, GW_E_INVALID, "registration-keys",
                               "%s line %u: the peer must be an IPv4 or IPv6 unicast address", where, line);
        if (gw_name_parse(field[3], &out->id))
                return gw_fail(error, GW_E_INVALID, "registration-keys",
                               "%s line %u: the peer's id must be a name (a-z, 0-9 and - inside)", where, line);
        if (!parse_key(field[4], &out->key))
                return gw_fail(error, GW_E_INVALID, "registration-keys",
                               "%s line %u: the key must be %d to %d octets in hexadecimal", where, line,
                               GW_AUTH_KEY_MIN, GW_AUTH_KEY_MAX);
        return 0;
}

/* *used: the line had a key. */
static int parse_line(char *text, struct gw_keys_entry *out, bool *used, const char *where, struct gw_error *error) {
        char *field[FIELDS + 1], *rest = text;
        size_t n = 0;

        text[strcspn(text, "#")] = 0;
        while (n <= FIELDS && (field[n] = strtok_r(rest, " \t\r", &rest)))
                n++;
        *used = n > 0;
        if (n == 0)
                return 0;
        if (n != FIELDS)
                return gw_fail(error, GW_E_INVALID, "registration-keys",
                               "%s line %u: a line has five fields: SPI, algorithm, peer's address, peer's id, key",
                               where, out->line);
        return parse_fields(field, out, where, error);
}

/* --- the whole --- */

static int compare(const void *a, const void *b) {
        const struct gw_keys_entry *x = a, *y = b;
        int r = memcmp(x->peer.b, y->peer.b, sizeof x->peer.b);

        return r ? r : (x->key.spi > y->key.spi) - (x->key.spi < y->key.spi);
}

static int check_all(const struct gw_keys *keys, const char *where, struct gw_error *error) {
        const struct gw_keys_entry *e = keys->entries;
        size_t same = 1;

        for (size_t i = 1; i < keys->n; i++) {
                if (!compare(&e[i - 1], &e[i]))
                        return gw_fail(error, GW_E_INVALID, "registration-keys",
                                       "%s lines %u and %u have the same peer and SPI", where, e[i - 1].line,
                                       e[i].line);
                same = gw_ip_eq(e[i - 1].peer, e[i].peer) ? same + 1 : 1;
                if (same > 1 && !gw_name_eq(&e[i - 1].id, &e[i].id))
                        return gw_fail(error, GW_E_INVALID, "registration-keys",
                                       "%s lines %u and %u give one peer two ids", where, e[i - 1].line, e[i].line);
                if (same > GW_KEYS_PER_PEER)
                        return gw_fail(error, GW_E_INVALID, "registration-keys",
                                       "%s line %u: a peer has at most %d keys, the old and the new one", where,
                                       e[i].line, GW_KEYS_PER_PEER);
        }
        return 0;
}

static int add_line(struct gw_keys *keys, const char *text, size_t size, unsigned number, const char *where,
                    struct gw_error *error) {
        struct gw_keys_entry *entry = &keys->entries[keys->n];
        char line[LINE_MAX_SIZE];
        bool used = false;
        int r;

        if (size >= sizeof line)
                return gw_fail(error, GW_E_INVALID, "registration-keys", "%s line %u has more than %d characters",
                               where, number, LINE_MAX_SIZE - 1);
        memcpy(line, text, size);
        line[size] = 0;
        *entry = (struct gw_keys_entry){.line = number};
        r = parse_line(line, entry, &used, where, error);
        OPENSSL_cleanse(line, sizeof line);
        if (!r && used)
                keys->n++;
        return r;
}

static size_t count_lines(const char *text) {
        size_t n = 1;

        for (; *text; text++)
                n += *text == '\n';
        return n;
}

int gw_keys_parse(struct gw_keys **out, const char *text, const char *where, struct gw_error *error) {
        struct gw_keys *keys = calloc(1, sizeof *keys);
        size_t lines = count_lines(text);
        unsigned number = 0;
        int r = 0;

        if (lines > GW_KEYS_MAX) {
                free(keys);
                return gw_fail(error, GW_E_INVALID, "registration-keys", "%s has more than %d lines", where,
                               GW_KEYS_MAX);
        }
        if (keys)
                keys->entries = calloc(lines + 1, sizeof *keys->entries);
        if (!keys || !keys->entries) {
                free(keys);
                return gw_fail(error, -ENOMEM, "", "out of memory");
        }
        while (!r && *text) {
                size_t size = strcspn(text, "\n");

                r = add_line(keys, text, size, ++number, where, error);
                text += size + (text[size] == '\n');
        }
        if (!r) {
                qsort(keys->entries, keys->n, sizeof *keys->entries, compare);
                r = check_all(keys, where, error);
        }
        if (r) {
                gw_keys_free(keys);
                return r;
        }
        *out = keys;
        return 0;
}

static int check_secret(const char *path, struct gw_error *error) {
        struct stat st;

        if (stat(path, &st) < 0)
                return gw_fail(error, -errno, "registration-keys", "cannot read %s: %s", path, strerror(errno));
        if (!S_ISREG(st.st_mode))
                return gw_fail(error, GW_E_REFUSED, "registration-keys", "%s is not a file", path);
        if ((st.st_mode & 077) || (st.st_uid != 0 && st.st_uid != geteuid()))
                return gw_fail(error, GW_E_REFUSED, "registration-keys",
                               "%s has mode %04o and owner %u: others may know its keys; make it 0600 and your own",
                               path, (unsigned)(st.st_mode & 07777), (unsigned)st.st_uid);
        return 0;
}

int gw_keys_new(struct gw_keys **out, const char *path, struct gw_error *error) {
        char *text;
        size_t size;
        int r = check_secret(path, error);

        if (r)
                return r;
        r = gw_file_read(path, GW_KEYS_FILE_MAX, &text, &size);
        if (r < 0)
                return gw_fail(error, r, "registration-keys", "cannot read %s: %s", path, strerror(-r));
        r = gw_keys_parse(out, text, path, error);
        OPENSSL_cleanse(text, size);
        free(text);
        if (r)
                return r;
        (*out)->path = strdup(path);
        if ((*out)->path)
                return 0;
        gw_keys_free(*out);
        return gw_fail(error, -ENOMEM, "", "out of memory");
}

int gw_keys_reload(struct gw_keys *keys, struct gw_error *error) {
        struct gw_keys *fresh, old = *keys;
        int r = gw_keys_new(&fresh, keys->path, error);

        if (r)
                return r;
        *keys = *fresh;
        *fresh = old;
        gw_keys_free(fresh);
        return 0;
}

void gw_keys_free(struct gw_keys *keys) {
        if (!keys)
                return;
        /* Also the entry after the last, of a line that was refused. */
        if (keys->entries)
                OPENSSL_cleanse(keys->entries, (keys->n + 1) * sizeof *keys->entries);
        free(keys->entries);
        free(keys->path);
        free(keys);
}

/* --- look-ups --- */

size_t gw_keys_count(const struct gw_keys *keys) {
        return keys->n;
}

const struct gw_keys_entry *gw_keys_find(const struct gw_keys *keys, struct gw_ip peer, uint32_t spi) {
        const struct gw_keys_entry wanted = {.peer = peer, .key.spi = spi};

        return bsearch(&wanted, keys->entries, keys->n, sizeof wanted, compare);
}

/* The first at or after (peer, 0). */
static size_t first_of(const struct gw_keys *keys, struct gw_ip peer) {
        struct gw_keys_entry wanted = {.peer = peer};
        size_t low = 0, high = keys->n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (compare(&keys->entries[middle], &wanted) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

const struct gw_keys_entry *gw_keys_of(const struct gw_keys *keys, struct gw_ip peer, size_t i) {
        size_t at = first_of(keys, peer) + i;

        return at < keys->n && gw_ip_eq(keys->entries[at].peer, peer) ? &keys->entries[at] : NULL;
}

const struct gw_keys_entry *gw_keys_to_sign(const struct gw_keys *keys, struct gw_ip peer) {
        const struct gw_keys_entry *best = NULL;

        for (size_t i = first_of(keys, peer); i < keys->n && gw_ip_eq(keys->entries[i].peer, peer); i++)
                if (!best || keys->entries[i].line < best->line)
                        best = &keys->entries[i];
        return best;
}

const struct gw_keys_entry *gw_keys_to_sign_for(const struct gw_keys *keys, const char *id) {
        const struct gw_keys_entry *best = NULL;

        for (size_t i = 0; i < keys->n; i++)
                if (!strcmp(keys->entries[i].id.s, id) && (!best || keys->entries[i].line < best->line))
                        best = &keys->entries[i];
        return best;
}

const struct gw_keys_entry *gw_keys_next_peer(const struct gw_keys *keys, const struct gw_keys_entry *last) {
        size_t i = last ? first_of(keys, last->peer) : 0;

        while (last && i < keys->n && gw_ip_eq(keys->entries[i].peer, last->peer))
                i++;
        return i < keys->n ? gw_keys_to_sign(keys, keys->entries[i].peer) : NULL;
}

bool gw_keys_has_peer(const struct gw_keys *keys, struct gw_ip peer) {
        return gw_keys_to_sign(keys, peer) != NULL;
}

int gw_keys_mac(const struct gw_auth_key *key, const uint8_t *bytes, size_t size, uint8_t *out, size_t out_size) {
        const EVP_MD *digest = key->algorithm == GW_AUTH_HMAC_SHA1 ? EVP_sha1() : EVP_sha256();
        uint8_t whole[DIGEST_MAX];
        unsigned whole_size = 0;

        if (!HMAC(digest, key->octets, key->size, bytes, size, whole, &whole_size) || whole_size < out_size)
                return -EIO;
        memcpy(out, whole, out_size);
        return 0;
}
