/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands as data. `godwit NOUN VERB [ARG...] [--flag value...]`: one row of a
 * table says everything about a command, and the parser, the help, the completion
 * and the checks of every flag are read from it.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/addr.h"
#include "base/error.h"

/* What a script may rely on; `godwit help` prints them. */
enum gw_exit {
        GW_EXIT_OK = 0,
        GW_EXIT_FAILED = 1,      /* refused, or it did not work; nothing was changed unless the text says so */
        GW_EXIT_USAGE = 2,       /* the command line is wrong */
        GW_EXIT_UNREACHABLE = 3, /* the authority does not answer */
        GW_EXIT_NOT_FOUND = 4,   /* no such object */
        GW_EXIT_MOVE_FAILED = 5, /* the move ended and the VM is where it was, or was restarted */
        GW_EXIT_NOT_CLEAN = 6,   /* the audit found what contradicts the authority, or an edge did not answer */
};

enum gw_flag_type {
        GW_FLAG_SWITCH = 1, /* no value */
        GW_FLAG_TEXT,
        GW_FLAG_INT,    /* from .min to .max in .unit */
        GW_FLAG_CHOICE, /* one of the words of .choices */
        GW_FLAG_NAME,
        GW_FLAG_ID, /* name[@tenant] */
        GW_FLAG_IP,
        GW_FLAG_MAC,
        GW_FLAG_PREFIX,
        GW_FLAG_ENDPOINT,
        GW_FLAG_PATH, /* made absolute: the daemons run in another directory */
};

/* In the order in which a row is written, whatever that costs in padding. */
struct gw_flag {          /* NOLINT(clang-analyzer-optin.performance.Padding) */
        const char *name; /* without "--"; NULL ends the table */
        enum gw_flag_type type;
        const char *value; /* its name in the help: "MIB" */
        const char *help;
        long long min, max;
        const char *unit;
        const char *choices;
        const char *fallback; /* the default, as text; NULL: none */
        bool repeat, required;
};

enum { GW_ARGS_MAX = 64, GW_GIVEN_MAX = 128, GW_FLAGS_MAX = 48 };

struct gw_args {
        const struct gw_flag *flags;
        const char *words[GW_ARGS_MAX]; /* what is not a flag, after noun and verb */
        size_t n_words;
        char **rest; /* what follows "--"; NULL-terminated */
        struct {
                const struct gw_flag *flag;
                const char *text;
        } given[GW_GIVEN_MAX];
        size_t n_given;
};

struct gw_cli;

struct gw_command {
        const char *noun, *verb; /* verb "" when the noun stands alone; noun NULL ends the table */
        const char *words;       /* "NAME", "TARGET..." as the help shows them; may be empty */
        size_t min_words, max_words;
        const char *help;
        const struct gw_flag *flags;                                /* may be NULL */
        int (*run)(struct gw_cli *cli, const struct gw_args *args); /* enum gw_exit */
        bool rest;                                                  /* takes a command after "--" */
};

/* What every command is given. */
struct gw_cli {
        bool json, colour, live; /* live: standard output is a terminal, lines may be redrawn */
        const char *api, *lab, *tls_ca, *tls_cert, *tls_key;
        const struct gw_command *const *groups; /* every table, NULL-terminated */
        struct gw_client *client;               /* made when first needed */
};

extern const struct gw_flag gw_global_flags[];
/* rules.c: a row of the tenants' table */
extern const struct gw_flag gw_tenant_update_flags[];
int gw_tenant_update(struct gw_cli *cli, const struct gw_args *args);

/* The tables. gw_lab_commands belongs to the folder lab. */
extern const struct gw_command gw_object_commands[], gw_vm_commands[], gw_move_commands[], gw_binding_commands[],
        gw_pki_commands[], gw_audit_commands[], gw_rule_commands[], gw_drain_commands[], gw_gateway_commands[],
        gw_lab_commands[];

/* Parses argv (after noun and verb) against the command's flags and the global ones.
 * GW_E_INVALID with *error naming the flag, the value and what is allowed. argv may be changed. */
int gw_args_parse(struct gw_args *args, const struct gw_command *command, int argc, char **argv,
                  struct gw_error *error);
/* Puts noun and verb before the flags of every command that stand in front of them. */
void gw_args_words_first(int argc, char **argv);
void gw_args_deinit(struct gw_args *args);

/* Values; the default of the table when the flag was not given. */
bool gw_args_has(const struct gw_args *args, const char *flag); /* given on the command line */
const char *gw_args_text(const struct gw_args *args, const char *flag);
long long gw_args_int(const struct gw_args *args, const char *flag); /* 0 when there is no default */
size_t gw_args_count(const struct gw_args *args, const char *flag);
const char *gw_args_nth(const struct gw_args *args, const char *flag, size_t n); /* NULL past the end */

/* Checks one value as if it were that flag's. Used for the parts of --port. */
int gw_flag_check(const struct gw_flag *flag, const char *text, struct gw_error *error);

void gw_help_all(const struct gw_cli *cli, FILE *out);
void gw_help_noun(const struct gw_cli *cli, const char *noun, FILE *out);
void gw_help_command(const struct gw_command *command, FILE *out);
void gw_completion_bash(const struct gw_cli *cli, FILE *out);

/* One call to the authority; what went wrong is printed. GW_EXIT_OK: *out (may be NULL) is the caller's. body is
 * taken over and may be NULL. The path is a format; its strings must be path segments (gw_client_segment). */
int gw_cli_call(struct gw_cli *cli, const char *method, json_t *body, json_t **out, const char *path, ...)
        __attribute__((format(printf, 5, 6)));
/* The same, without printing: the codes of gw_client_call. */
int gw_cli_try(struct gw_cli *cli, const char *method, json_t *body, json_t **out, struct gw_error *error,
               const char *path, ...) __attribute__((format(printf, 6, 7)));
/* Splits name[@tenant] (checked: NULL when it is not one, and the error is printed). Out are gw_name. */
bool gw_cli_id(const char *text, struct gw_name *name, struct gw_name *tenant);

/* Prints `godwit: text` to standard error and returns the exit code. */
int gw_cli_fail(int exit_code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for an error; its exit code follows from error->code. */
int gw_cli_error(const struct gw_error *error);
