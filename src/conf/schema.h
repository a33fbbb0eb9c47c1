/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration as data: a daemon describes its keys in one table, and the
 * parser, --help, --print-config and --check are all read from that table.
 *
 *      struct nva_config { struct gw_conf_common common; struct gw_endpoint listen; uint32_t lease_s; };
 *      static const struct gw_conf_row rows[] = {
 *              GW_CONF_COMMON_ROWS(struct nva_config, common, "nva"),
 *              GW_CONF_ROW(struct nva_config, listen, "listen", GW_CONF_ENDPOINT, "[::]:7460", "where NVEs connect"),
 *              GW_CONF_ROW(struct nva_config, lease_s, "lease-s", GW_CONF_INT, "3600", "...", .min = 60, .max = 86400,
 *                          .unit = "s"),
 *              {0},
 *      };
 *      static const struct gw_conf_schema schema = {"godwit-nva", "the authority", "/etc/godwit/nva.conf", rows};
 *      ...
 *      if (!gw_conf_start(&schema, &config, argc, argv, &exit_code))
 *              return exit_code;
 *
 * A configuration is one plain struct: nothing in it is allocated, it may be
 * copied, and there is nothing to free. A key that has neither a value nor a
 * default leaves zeroes in its field.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/addr.h"
#include "base/log.h"

struct gw_error;

enum {
        GW_CONF_ROWS_MAX = 64,
        GW_CONF_FILE_MAX = 64 << 10, /* octets of a configuration file */
        GW_CONF_VALUE_MAX = 1023,    /* octets of one value */
        GW_CONF_ENDPOINTS_MAX = 8,
        GW_CONF_PATH_SIZE = 256,
        GW_CONF_SOCKET_SIZE = 108, /* of sockaddr_un's sun_path */
};

/* The type of a key, and of its field. */
enum gw_conf_type {
        GW_CONF_STRING = 1, /* char [N] */
        GW_CONF_PATH,       /* char [N], absolute; for commands found by PATH use GW_CONF_STRING */
        GW_CONF_CHOICE,     /* char [N], one of the words of .choices */
        GW_CONF_BOOL,       /* bool: yes, no */
        GW_CONF_INT,        /* uint16_t, uint32_t or uint64_t, from .min to .max (0: the type's) in .unit */
        GW_CONF_IP,         /* struct gw_ip; :: is not allowed, so it means "not set" */
        GW_CONF_ENDPOINT,   /* struct gw_endpoint; port 0 is not allowed, so it means "not set" */
        GW_CONF_ENDPOINTS,  /* struct gw_conf_endpoints, separated by spaces */
        GW_CONF_NAME,       /* struct gw_name */
        GW_CONF_LEVEL,      /* enum gw_level: error, warning, notice, info, debug */
};

struct gw_conf_endpoints {
        size_t n;
        struct gw_endpoint at[GW_CONF_ENDPOINTS_MAX];
};

struct gw_conf_row {
        const char *key; /* NULL ends the table */
        enum gw_conf_type type;
        const char *fallback; /* the default, as text; NULL: none */
        const char *help;     /* one line */
        size_t offset, size;  /* of the field */
        bool required;
        uint64_t min, max;
        const char *unit;
        const char *choices; /* words separated by spaces */
        /* Further rules for the parsed field. Answers NULL, or what is allowed: "a unicast address". */
        const char *(*check)(const void *field);
};

/* Further members of the row may follow as designated initialisers: .required = true */
#define GW_CONF_ROW(type_, field_, key_, kind_, fallback_, help_, ...)                                                 \
        {                                                                                                              \
                .key = (key_), .type = (kind_), .fallback = (fallback_), .help = (help_),                              \
                .offset = offsetof(type_, field_), .size = sizeof(((type_ *)0)->field_), __VA_ARGS__                   \
        }

struct gw_conf_schema {
        const char *program; /* "godwit-nva" */
        const char *summary; /* one line for --help */
        const char *file;    /* read when no --config is given, if it is there */
        const struct gw_conf_row *rows;
        /* Rules between keys, run when all values are in. 0, or gw_fail(error, GW_E_INVALID, key, ...). May be NULL. */
        int (*check)(const void *config, struct gw_error *error);
        /* Lines of --help about flags that only this daemon has, and takes out itself. May be NULL. */
        const char *flags;
};

/* What every daemon has. */
struct gw_conf_common {
        struct gw_name id; /* the certificate's common name */
        char state_dir[GW_CONF_PATH_SIZE];
        enum gw_level log_level;
        char api_socket[GW_CONF_SOCKET_SIZE];
        char tls_ca[GW_CONF_PATH_SIZE], tls_cert[GW_CONF_PATH_SIZE], tls_key[GW_CONF_PATH_SIZE];
};

#define GW_CONF_COMMON_ROWS(type_, field_, name_)                                                                      \
        GW_CONF_COMMON_ROWS_AT(type_, field_, name_, "/run/godwit/" name_ ".sock")

/* With a default for api-socket. */
#define GW_CONF_COMMON_ROWS_AT(type_, field_, name_, socket_)                                                          \
        GW_CONF_ROW(type_, field_.id, "id", GW_CONF_NAME, NULL, "this daemon's id: its certificate's common name",     \
                    .required = true),                                                                                 \
                GW_CONF_ROW(type_, field_.state_dir, "state-dir", GW_CONF_PATH, "/var/lib/godwit/" name_,              \
                            "what must survive a restart is kept here"),                                               \
                GW_CONF_ROW(type_, field_.log_level, "log-level", GW_CONF_LEVEL, "info",                               \
                            "the least important kind of line that is logged"),                                        \
                GW_CONF_ROW(type_, field_.api_socket, "api-socket", GW_CONF_PATH, socket_,                             \
                            "unix socket of the HTTP API"),                                                            \
                GW_CONF_ROW(type_, field_.tls_ca, "tls-ca", GW_CONF_PATH, "/etc/godwit/tls/ca.pem",                    \
                            "certificate of the authority that signs every daemon's"),                                 \
                GW_CONF_ROW(type_, field_.tls_cert, "tls-cert", GW_CONF_PATH, "/etc/godwit/tls/" name_ ".pem",         \
                            "this daemon's certificate"),                                                              \
                GW_CONF_ROW(type_, field_.tls_key, "tls-key", GW_CONF_PATH, "/etc/godwit/tls/" name_ ".key",           \
                            "the key that belongs to tls-cert")

/* A ready check for GW_CONF_IP. */
const char *gw_conf_check_unicast(const void *ip);

/* What gw_conf_load answers when a flag asked for output only: end with exit code 0. */
enum { GW_CONF_DONE = 100 };

/*
 * Fills *out from the defaults, the file and --set, in this order. Flags:
 * --config FILE, --set KEY=VALUE (repeatable), --check, --print-config, --help,
 * --version. 0: run. GW_CONF_DONE: something was printed to stdout. GW_E_INVALID
 * or a negative errno: *error says where and what; *out is undefined.
 */
int gw_conf_load(const struct gw_conf_schema *schema, void *out, int argc, char **argv, struct gw_error *error);

/* gw_conf_load for a main(): prints errors to stderr. False: return *exit_code. */
bool gw_conf_start(const struct gw_conf_schema *schema, void *out, int argc, char **argv, int *exit_code);

/* The defaults, then the text of a file, then the checks. `where` names it in errors. 0 or GW_E_INVALID. */
int gw_conf_parse(const struct gw_conf_schema *schema, void *out, const char *text, size_t size, const char *where,
                  struct gw_error *error);

/* Writes a configuration file that parses to the same *config, with the help as comments. */
void gw_conf_print(const struct gw_conf_schema *schema, const void *config, FILE *to);
