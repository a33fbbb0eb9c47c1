/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line against the table. A flag may stand anywhere after noun and
 * verb, as `--flag value` or `--flag=value`, and one of every command also before
 * them; "--" ends the flags. Every value is
 * checked here, so that a handler only sees what its row allows; an error names the
 * flag, the value and what is allowed.
 */
#include "cli/command.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct gw_flag gw_global_flags[] = {
        {"json", GW_FLAG_SWITCH, .help = "print what the API answered, as JSON"},
        {"api", GW_FLAG_TEXT, "SOCKET-OR-URL",
         "the authority: a unix socket's path or https://address:port (GODWIT_API)"},
        {"lab", GW_FLAG_NAME, "NAME", "the authority of that lab; not needed when exactly one is up"},
        {"tls-ca", GW_FLAG_PATH, "FILE", "for https: the certificate of the authority that signed the daemons'"},
        {"tls-cert", GW_FLAG_PATH, "FILE", "for https: your certificate"},
        {"tls-key", GW_FLAG_PATH, "FILE", "for https: the key of your certificate"},
        {"no-color", GW_FLAG_SWITCH, .help = "no colours (also when NO_COLOR is set, or the output is no terminal)"},
        {"help", GW_FLAG_SWITCH, .help = "tell about the command instead of running it"},
        {0},
};

static const struct gw_flag *find_in(const struct gw_flag *flags, const char *name, size_t n) {
        for (const struct gw_flag *f = flags; f && f->name; f++)
                if (strlen(f->name) == n && !strncmp(f->name, name, n))
                        return f;
        return NULL;
}

static int not_allowed(const struct gw_flag *flag, const char *text, const char *allowed, struct gw_error *error) {
        return gw_fail(error, GW_E_INVALID, flag->name, "--%s is \"%s\"; it must be %s", flag->name, text, allowed);
}

static int check_int(const struct gw_flag *flag, const char *text, struct gw_error *error) {
        char allowed[96], *end;
        long long value;

        errno = 0;
        value = strtoll(text, &end, 10);
        if (!errno && end != text && !*end && value >= flag->min && value <= flag->max)
                return 0;
        snprintf(allowed, sizeof allowed, "a whole number from %lld to %lld%s%s", flag->min, flag->max,
                 flag->unit ? ", in " : "", flag->unit ? flag->unit : "");
        return not_allowed(flag, text, allowed, error);
}

static int check_choice(const struct gw_flag *flag, const char *text, struct gw_error *error) {
        size_t n = strlen(text);
        char allowed[128];

        for (const char *at = flag->choices; n && (at = strstr(at, text)); at += n)
                if ((at == flag->choices || at[-1] == ' ') && (at[n] == ' ' || !at[n]))
                        return 0;
        snprintf(allowed, sizeof allowed, "one of: %s", flag->choices);
        return not_allowed(flag, text, allowed, error);
}

int gw_flag_check(const struct gw_flag *flag, const char *text, struct gw_error *error) {
        struct gw_endpoint endpoint;
        struct gw_prefix prefix;
        struct gw_name name;
        struct gw_mac mac;
        struct gw_ip ip;

        switch (flag->type) {
        case GW_FLAG_SWITCH:
                return 0;
        case GW_FLAG_TEXT:
        case GW_FLAG_PATH:
                return *text ? 0 : not_allowed(flag, text, "something that is not empty", error);
        case GW_FLAG_INT:
                return check_int(flag, text, error);
        case GW_FLAG_CHOICE:
                return check_choice(flag, text, error);
        case GW_FLAG_NAME:
                return !gw_name_parse(text, &name) ? 0
                                                   : not_allowed(flag, text, "a name: a-z, 0-9 and - inside", error);
        case GW_FLAG_ID:
                return !gw_id_parse(text, &name) ? 0 : not_allowed(flag, text, "a name, or name@tenant", error);
        case GW_FLAG_IP:
                return !gw_ip_parse(text, &ip) ? 0 : not_allowed(flag, text, "an IPv4 or IPv6 address", error);
        case GW_FLAG_MAC:
                return !gw_mac_parse(text, &mac) ? 0 : not_allowed(flag, text, "a MAC like 52:54:00:12:34:56", error);
        case GW_FLAG_PREFIX:
                return !gw_prefix_parse(text, &prefix)
                               ? 0
                               : not_allowed(flag, text, "a subnet without host bits, like 10.1.0.0/24 or fd00:1::/64",
                                             error);
        case GW_FLAG_ENDPOINT:
                return !gw_endpoint_parse(text, &endpoint)
                               ? 0
                               : not_allowed(flag, text, "address:port, like 192.0.2.1:80 or [2001:db8::1]:80", error);
        }
        return not_allowed(flag, text, "of a known type", error);
}

/* Daemons do not share our working directory, so a path is made absolute here. The copy lives in given[]. */
static int keep(struct gw_args *args, const struct gw_flag *flag, const char *text, struct gw_error *error) {
        char here[PATH_MAX], path[PATH_MAX];
        int r = gw_flag_check(flag, text, error);
        char *copy;

        if (r)
                return r;
        if (args->n_given == GW_GIVEN_MAX)
                return gw_fail(error, GW_E_FULL, flag->name, "more than %d flags", GW_GIVEN_MAX);
        if (!flag->repeat && gw_args_has(args, flag->name))
                return gw_fail(error, GW_E_INVALID, flag->name, "--%s is given twice; once is allowed", flag->name);
        if (flag->type == GW_FLAG_PATH && *text != '/' && getcwd(here, sizeof here)) {
                if ((size_t)snprintf(path, sizeof path, "%s/%s", here, text) >= sizeof path)
                        return not_allowed(flag, text, "a path of less than 4096 octets", error);
                text = path;
        }
        copy = strdup(text);
        if (!copy)
                return gw_fail(error, -ENOMEM, flag->name, "no memory");
        args->given[args->n_given].flag = flag;
        args->given[args->n_given++].text = copy;
        return 0;
}

static int unknown(const struct gw_command *command, const char *flag, int n, struct gw_error *error) {
        return gw_fail(error, GW_E_INVALID, "", "unknown flag %.*s%s; `godwit help%s%s%s%s` lists them", n, flag,
                       *command->noun ? "" : ": before the command only those of every command may stand",
                       *command->noun ? " " : "", command->noun, *command->verb ? " " : "", command->verb);
}

/* Takes the flag at argv[*i], and its value. */
static int take_flag(struct gw_args *args, const struct gw_command *command, int argc, char **argv, int *i,
                     struct gw_error *error) {
        const char *name = argv[*i] + 2, *equals = strchr(name, '=');
        size_t n = equals ? (size_t)(equals - name) : strlen(name);
        const struct gw_flag *flag = find_in(command->flags, name, n);

        if (!flag)
                flag = find_in(gw_global_flags, name, n);
        if (!flag)
                return unknown(command, argv[*i], (int)n + 2, error);
        if (flag->type == GW_FLAG_SWITCH) {
                if (equals)
                        return gw_fail(error, GW_E_INVALID, flag->name, "--%s takes no value, and \"%s\" was given",
                                       flag->name, equals + 1);
                return keep(args, flag, "", error);
        }
        if (equals)
                return keep(args, flag, equals + 1, error);
        if (*i + 1 >= argc)
                return gw_fail(error, GW_E_INVALID, flag->name, "--%s needs a value: --%s %s", flag->name, flag->name,
                               flag->value);
        return keep(args, flag, argv[++*i], error);
}

/* How many words of argv a flag of every command takes; 0: it is none, or its value is missing. */
static int global_width(char *const *argv, int argc) {
        const char *name = *argv + 2, *equals = strchr(name, '=');
        const struct gw_flag *flag;

        if (strncmp(*argv, "--", 2) != 0)
                return 0;
        flag = find_in(gw_global_flags, name, equals ? (size_t)(equals - name) : strlen(name));
        if (!flag)
                return 0;
        if (flag->type == GW_FLAG_SWITCH || equals)
                return 1;
        return argc > 1 ? 2 : 0;
}

void gw_args_words_first(int argc, char **argv) {
        int words = 0, at = 0;

        while (words < 2 && at < argc) {
                int width = global_width(argv + at, argc - at);
                char *word = argv[at];

                if (!width && *word == '-')
                        return;
                if (width) {
                        at += width;
                        continue;
                }
                memmove(argv + words + 1, argv + words, (size_t)(at - words) * sizeof *argv);
                argv[words++] = word;
                at++;
        }
}

static int check_counts(const struct gw_args *args, const struct gw_command *command, struct gw_error *error) {
        char usage[160];

        snprintf(usage, sizeof usage, "godwit %s%s%s%s%s", command->noun, *command->verb ? " " : "", command->verb,
                 *command->words ? " " : "", command->words);
        if (args->n_words < command->min_words)
                return gw_fail(error, GW_E_INVALID, "", "%s is missing; usage: %s", command->words, usage);
        if (args->n_words > command->max_words)
                return gw_fail(error, GW_E_INVALID, "", "\"%s\" is one word too many: usage: %s",
                               args->words[command->max_words], usage);
        if (args->rest && !command->rest)
                return gw_fail(error, GW_E_INVALID, "", "nothing may follow --: usage: %s", usage);
        for (const struct gw_flag *f = command->flags; f && f->name; f++)
                if (f->required && !gw_args_has(args, f->name))
                        return gw_fail(error, GW_E_INVALID, f->name, "--%s is missing: --%s %s, %s", f->name, f->name,
                                       f->value, f->help);
        return 0;
}

int gw_args_parse(struct gw_args *args, const struct gw_command *command, int argc, char **argv,
                  struct gw_error *error) {
        int r = 0;

        *args = (struct gw_args){.flags = command->flags};
        for (int i = 0; !r && i < argc; i++) {
                if (!strcmp(argv[i], "--")) {
                        args->rest = argv + i + 1;
                        break;
                }
                if (!strcmp(argv[i], "-h"))
                        r = keep(args, find_in(gw_global_flags, "help", 4), "", error);
                else if (argv[i][0] == '-' && argv[i][1] && argv[i][1] != '-')
                        r = unknown(command, argv[i], (int)strlen(argv[i]), error);
                else if (!strncmp(argv[i], "--", 2))
                        r = take_flag(args, command, argc, argv, &i, error);
                else if (args->n_words < GW_ARGS_MAX)
                        args->words[args->n_words++] = argv[i];
                else
                        r = gw_fail(error, GW_E_FULL, "", "more than %d words", GW_ARGS_MAX);
        }
        if (!r && !gw_args_has(args, "help"))
                r = check_counts(args, command, error);
        if (r)
                gw_args_deinit(args);
        return r;
}

void gw_args_deinit(struct gw_args *args) {
        for (size_t i = 0; i < args->n_given; i++)
                free((char *)args->given[i].text);
        args->n_given = 0;
}

const char *gw_args_nth(const struct gw_args *args, const char *flag, size_t n) {
        for (size_t i = 0; i < args->n_given; i++)
                if (!strcmp(args->given[i].flag->name, flag) && !n--)
                        return args->given[i].text;
        return NULL;
}

bool gw_args_has(const struct gw_args *args, const char *flag) {
        return gw_args_nth(args, flag, 0) != NULL;
}

size_t gw_args_count(const struct gw_args *args, const char *flag) {
        size_t n = 0;

        while (gw_args_nth(args, flag, n))
                n++;
        return n;
}

const char *gw_args_text(const struct gw_args *args, const char *flag) {
        const char *text = gw_args_nth(args, flag, 0);
        const struct gw_flag *f;

        if (text)
                return text;
        f = find_in(args->flags, flag, strlen(flag));
        return f ? f->fallback : NULL;
}

long long gw_args_int(const struct gw_args *args, const char *flag) {
        const char *text = gw_args_text(args, flag);

        return text ? strtoll(text, NULL, 10) : 0;
}
