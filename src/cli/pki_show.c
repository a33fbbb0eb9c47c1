/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What certificates say, and for how long: for people, and with --within for a
 * job that is to shout before a daemon loses its session. Only the first
 * certificate of a file is looked at, the daemon's own; those after it are its
 * chain. Private keys are never opened.
 */
#include "cli/pki_show.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/output.h"

enum { FILE_SIZE = 4200, NAME_SIZE = 128, HOSTS_SIZE = 512, DAY_S = 86400, FILES_MAX = 4096 };

const struct gw_flag gw_pki_show_flags[] = {
        {"dir", GW_FLAG_PATH, "DIR", "the folder of the authority, when no file is named",
         .fallback = "/etc/godwit/pki"},
        {"within", GW_FLAG_INT, "DAYS", "fail when one of them ends within so many days", 0, 36500, "days"},
        {0},
};

struct facts {
        char file[FILE_SIZE], name[NAME_SIZE], issuer[NAME_SIZE], hosts[HOSTS_SIZE];
        const char *use; /* "authority", "server", "client" */
        time_t from, until;
};

static void common_name(const X509_NAME *name, char out[static NAME_SIZE]) {
        if (X509_NAME_get_text_by_NID((X509_NAME *)name, NID_commonName, out, NAME_SIZE) < 0)
                out[0] = 0;
        for (char *c = out; *c; c++)
                if (*c < ' ' || *c > '~')
                        *c = '?';
}

static time_t time_of(const ASN1_TIME *at) {
        struct tm tm;

        return ASN1_TIME_to_tm(at, &tm) ? timegm(&tm) : 0;
}

static void add_host(char out[static HOSTS_SIZE], const char *host) {
        size_t at = strlen(out);

        snprintf(out + at, HOSTS_SIZE - at, "%s%s", at ? " " : "", host);
}

/* One subject alternative name: a DNS name, or an address of either family. */
static void read_host(const GENERAL_NAME *name, char out[static HOSTS_SIZE]) {
        struct gw_ip ip;
        char text[GW_IP_TEXT];
        int size;

        if (name->type == GEN_DNS) {
                char host[256];

                snprintf(host, sizeof host, "%.*s", ASN1_STRING_length(name->d.dNSName),
                         (const char *)ASN1_STRING_get0_data(name->d.dNSName));
                add_host(out, host);
                return;
        }
        if (name->type != GEN_IPADD)
                return;
        size = ASN1_STRING_length(name->d.iPAddress);
        if (size == 16) {
                memcpy(ip.b, ASN1_STRING_get0_data(name->d.iPAddress), sizeof ip.b);
        } else if (size == 4) {
                uint32_t v4;

                memcpy(&v4, ASN1_STRING_get0_data(name->d.iPAddress), sizeof v4);
                ip = gw_ip_from_v4(v4);
        } else {
                return;
        }
        add_host(out, gw_ip_text(ip, text));
}

static void read_hosts(X509 *cert, char out[static HOSTS_SIZE]) {
        GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

        out[0] = 0;
        for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
                read_host(sk_GENERAL_NAME_value(names, i), out);
        GENERAL_NAMES_free(names);
}

static const char *use_of(X509 *cert) {
        if (X509_check_ca(cert))
                return "authority";
        return X509_get_extended_key_usage(cert) & XKU_SSL_SERVER ? "server" : "client";
}

/* 0, or the exit code; said already. */
static int read_facts(const char *path, struct facts *out) {
        FILE *file = fopen(path, "re");
        X509 *cert = file ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;

        *out = (struct facts){0};
        if (!file)
                return gw_cli_fail(GW_EXIT_NOT_FOUND, "cannot open %s: %s", path, strerror(errno));
        fclose(file);
        if (!cert)
                return gw_cli_fail(GW_EXIT_FAILED, "%s is not a certificate in PEM form", path);
        snprintf(out->file, sizeof out->file, "%s", path);
        common_name(X509_get_subject_name(cert), out->name);
        common_name(X509_get_issuer_name(cert), out->issuer);
        read_hosts(cert, out->hosts);
        out->use = use_of(cert);
        out->from = time_of(X509_get0_notBefore(cert));
        out->until = time_of(X509_get0_notAfter(cert));
        X509_free(cert);
        return 0;
}

/* Whole days; below 0 once it has ended. */
static long days_left(const struct facts *f, time_t now) {
        return f->until <= now ? -1 - (long)((now - f->until) / DAY_S) : (long)((f->until - now) / DAY_S);
}

static void time_text(time_t at, char out[static 32]) {
        struct tm tm;

        strftime(out, 32, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&at, &tm));
}

static const char *left_text(const struct facts *f, time_t now, char out[static 48]) {
        if (now < f->from)
                snprintf(out, 48, "not good yet");
        else if (f->until <= now)
                snprintf(out, 48, "expired");
        else
                snprintf(out, 48, "expires in %ld days", days_left(f, now));
        return out;
}

static json_t *facts_json(const struct facts *f, time_t now) {
        char from[32], until[32];

        time_text(f->from, from);
        time_text(f->until, until);
        return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:b}", "file", f->file, "name", f->name, "issuer",
                         f->issuer, "use", f->use, "hosts", f->hosts, "from", from, "until", until, "days_left",
                         (json_int_t)days_left(f, now), "expired", f->until <= now);
}

static void print_facts(const struct gw_cli *cli, const struct facts *f, time_t now) {
        char from[32], until[32], left[48];
        bool good = now >= f->from && f->until > now;

        time_text(f->from, from);
        time_text(f->until, until);
        printf("%-8s %s\n%-8s %s\n%-8s %s\n%-8s %s\n%-8s %s\n%-8s %s\n", "file", f->file, "name", f->name, "issuer",
               f->issuer, "use", f->use, "hosts", f->hosts, "from", from);
        printf("%-8s %s, %s%s%s\n", "until", until, gw_colour(cli, good ? GW_PLAIN : GW_RED), left_text(f, now, left),
               gw_colour(cli, GW_PLAIN));
}

/* --- which files --- */

static int is_certificate(const struct dirent *entry) {
        size_t n = strlen(entry->d_name);

        return n > 4 && entry->d_name[0] != '.' && !strcmp(entry->d_name + n - 4, ".pem");
}

struct show {
        struct gw_cli *cli;
        json_t *list;
        time_t now;
        long long within; /* -1: not asked */
        size_t n;
        bool ending;
};

static int show_one(struct show *show, const char *path) {
        struct facts facts = {0};
        int r = read_facts(path, &facts);

        if (r)
                return r;
        if (show->within >= 0 && days_left(&facts, show->now) < show->within)
                show->ending = true;
        if (show->cli->json)
                json_array_append_new(show->list, facts_json(&facts, show->now));
        else
                printf("%s", show->n ? "\n" : ""), print_facts(show->cli, &facts, show->now);
        show->n++;
        return 0;
}

static int show_folder(struct show *show, const char *folder) {
        struct dirent **entries;
        char path[FILE_SIZE];
        int n = scandir(folder, &entries, is_certificate, alphasort), r = 0;

        if (n < 0)
                return gw_cli_fail(GW_EXIT_NOT_FOUND, "cannot open %s: %s", folder, strerror(errno));
        for (int i = 0; i < n; i++) {
                snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
                if (!r && i < FILES_MAX)
                        r = show_one(show, path);
                free(entries[i]);
        }
        free(entries);
        return r || n ? r : gw_cli_fail(GW_EXIT_NOT_FOUND, "no certificates in %s", folder);
}

int gw_pki_show(struct gw_cli *cli, const struct gw_args *args) {
        struct show show = {.cli = cli,
                            .list = json_array(),
                            .now = time(NULL),
                            .within = gw_args_has(args, "within") ? gw_args_int(args, "within") : -1};
        int r = 0;

        if (!args->n_words)
                r = show_folder(&show, gw_args_text(args, "dir"));
        for (size_t i = 0; !r && i < args->n_words; i++)
                r = show_one(&show, args->words[i]);
        if (!r && cli->json)
                gw_print_json(show.list);
        json_decref(show.list);
        if (!r && show.ending)
                return gw_cli_fail(GW_EXIT_FAILED, "a certificate ends within %lld days", show.within);
        return r;
}
