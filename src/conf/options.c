/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of a daemon: the flags that all of them have, and nothing
 * else, because whatever can be configured is a key that --set can set.
 *
 * Flags are read first, as a whole, so that their order does not matter; then
 * the file is read, then every --set is applied. --print-config shows what the
 * daemon would run with, and works without the required keys, so that it also
 * makes the first configuration file. --check stops after the last check.
 */
#include "conf/schema.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "conf/parse.h"
#include "conf/value.h"

struct options {
        const char *file;
        bool check, print, help, version;
        int n_sets;
        char **sets; /* "KEY=VALUE", borrowed from argv */
};

/* The value of flag `name` at argv[*i], "--name=value" or the next word. GW_E_NOT_FOUND: it is another flag. */
static int flag_value(const char *name, int argc, char **argv, int *i, const char **value, struct gw_error *error) {
        size_t n = strlen(name);

        if (strncmp(argv[*i], name, n) != 0 || (argv[*i][n] != 0 && argv[*i][n] != '='))
                return GW_E_NOT_FOUND;
        if (argv[*i][n] == '=') {
                *value = argv[*i] + n + 1;
                return 0;
        }
        if (*i + 1 >= argc)
                return gw_fail(error, GW_E_INVALID, name, "%s needs a value; see --help", name);
        *value = argv[++*i];
        return 0;
}

static int flag_config(struct options *options, const char *value, struct gw_error *error) {
        if (options->file)
                return gw_fail(error, GW_E_INVALID, "--config", "--config is given twice; keep one");
        options->file = value;
        return 0;
}

static int flag_plain(struct options *options, const char *flag, struct gw_error *error) {
        if (strcmp(flag, "--check") == 0)
                options->check = true;
        else if (strcmp(flag, "--print-config") == 0)
                options->print = true;
        else if (strcmp(flag, "--help") == 0 || strcmp(flag, "-h") == 0)
                options->help = true;
        else if (strcmp(flag, "--version") == 0)
                options->version = true;
        else
                return gw_fail(error, GW_E_INVALID, flag, "unknown flag \"%.64s\"; see --help", flag);
        return 0;
}

static int options_parse(struct options *options, int argc, char **argv, struct gw_error *error) {
        const char *value = NULL;
        int r = 0;

        for (int i = 1; i < argc && !r; i++) {
                r = flag_value("--config", argc, argv, &i, &value, error);
                if (!r) {
                        r = flag_config(options, value, error);
                        continue;
                }
                if (r == GW_E_NOT_FOUND)
                        r = flag_value("--set", argc, argv, &i, &value, error);
                if (!r)
                        options->sets[options->n_sets++] = (char *)value;
                else if (r == GW_E_NOT_FOUND)
                        r = flag_plain(options, argv[i], error);
        }
        return r;
}

/* Reads at most GW_CONF_FILE_MAX octets; *text is the caller's to free. */
static int file_read(const char *path, char **text, size_t *size) {
        char *buffer = malloc(GW_CONF_FILE_MAX + 1);
        ssize_t n = 0;
        int fd, r = 0;

        if (!buffer)
                return -ENOMEM;
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
                r = -errno;
                goto free_buffer;
        }
        for (*size = 0; *size <= GW_CONF_FILE_MAX; *size += (size_t)n) {
                n = read(fd, buffer + *size, GW_CONF_FILE_MAX + 1 - *size);
                if (n <= 0)
                        break;
        }
        if (n < 0)
                r = -errno;
        else if (*size > GW_CONF_FILE_MAX)
                r = -EFBIG;
        close(fd);
        if (!r) {
                *text = buffer;
                return 0;
        }
free_buffer:
        free(buffer);
        return r;
}

static int apply_file(struct gw_conf_parser *parser, const struct options *options, struct gw_error *error) {
        const char *path = options->file ? options->file : parser->schema->file;
        char *text = NULL;
        size_t size = 0;
        int r;

        r = file_read(path, &text, &size);
        if (r == -ENOENT && !options->file)
                return 0;
        if (r == -EFBIG)
                return gw_fail(error, r, "--config", "%.128s: a configuration has at most %d octets", path,
                               GW_CONF_FILE_MAX);
        if (r)
                return gw_fail(error, r, "--config", "%.128s: cannot be read: %s", path, strerror(-r));
        r = gw_conf_parser_text(parser, text, size, path, error);
        free(text);
        return r;
}

static int apply_sets(struct gw_conf_parser *parser, const struct options *options, struct gw_error *error) {
        char key[64];
        const char *equals;
        int r = 0;

        parser->origin = GW_CONF_ORIGIN_FLAG;
        snprintf(parser->where, sizeof parser->where, "--set");
        for (int i = 0; i < options->n_sets && !r; i++) {
                equals = strchr(options->sets[i], '=');
                if (!equals || equals == options->sets[i] || (size_t)(equals - options->sets[i]) >= sizeof key)
                        return gw_fail(error, GW_E_INVALID, "--set", "--set \"%.64s\" is not of the form KEY=VALUE",
                                       options->sets[i]);
                snprintf(key, sizeof key, "%.*s", (int)(equals - options->sets[i]), options->sets[i]);
                r = gw_conf_parser_set(parser, key, equals + 1, error);
        }
        return r;
}

static void print_help(const struct gw_conf_schema *schema) {
        char allowed[GW_CONF_ALLOWED_SIZE];

        printf("%s: %s\n\n"
               "usage: %s [--config FILE] [--set KEY=VALUE]... [--check | --print-config]\n\n"
               "  --config FILE     read FILE instead of %s\n"
               "  --set KEY=VALUE   set one key; wins over the file; may be repeated\n"
               "  --check           read and check everything, then exit\n"
               "  --print-config    print the configuration in effect, with what each key means, then exit\n"
               "%s  --help, --version\n\nkeys:\n",
               schema->program, schema->summary, schema->program, schema->file, schema->flags ? schema->flags : "");
        for (const struct gw_conf_row *row = schema->rows; row->key; row++)
                printf("  %-22s %s\n  %-22s (%s%s%s%s)\n", row->key, row->help, "", gw_conf_value_allowed(row, allowed),
                       row->required ? "; required" : "", row->fallback && *row->fallback ? "; default " : "",
                       row->fallback ? row->fallback : "");
}

static int load(struct gw_conf_parser *parser, const struct options *options, struct gw_error *error) {
        const char *path = options->file ? options->file : parser->schema->file;
        int r;

        r = apply_file(parser, options, error);
        if (!r)
                r = apply_sets(parser, options, error);
        if (r)
                return r;
        if (options->print) {
                gw_conf_print(parser->schema, parser->config, stdout);
                return GW_CONF_DONE;
        }
        r = gw_conf_parser_check(parser, path, error);
        if (!r && options->check) {
                printf("%s: the configuration is good\n", parser->schema->program);
                return GW_CONF_DONE;
        }
        return r;
}

int gw_conf_load(const struct gw_conf_schema *schema, void *out, int argc, char **argv, struct gw_error *error) {
        struct options options = {.sets = calloc((size_t)argc + 1, sizeof *options.sets)};
        struct gw_conf_parser parser;
        int r;

        if (!options.sets)
                return gw_fail(error, -ENOMEM, "", "out of memory");
        r = options_parse(&options, argc, argv, error);
        if (!r && options.help) {
                print_help(schema);
                r = GW_CONF_DONE;
        } else if (!r && options.version) {
                printf("%s %s\n", schema->program, GW_VERSION);
                r = GW_CONF_DONE;
        }
        if (!r)
                r = gw_conf_parser_init(&parser, schema, out, error);
        if (!r)
                r = load(&parser, &options, error);
        free(options.sets);
        return r;
}

bool gw_conf_start(const struct gw_conf_schema *schema, void *out, int argc, char **argv, int *exit_code) {
        struct gw_error error = {0};
        int r;

        r = gw_conf_load(schema, out, argc, argv, &error);
        if (r == 0)
                return true;
        if (r == GW_CONF_DONE) {
                *exit_code = fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
                return false;
        }
        fprintf(stderr, "%s: %s\n", schema->program, error.text);
        *exit_code = 2;
        return false;
}
