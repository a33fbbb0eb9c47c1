/* SPDX-License-Identifier: Apache-2.0 */
/*
 * godwit: the command line. Finds the row of the command in the tables, parses the
 * flags, runs the handler; its answer is the exit code. A SIGPIPE (`| head`) ends
 * it silently, as it should.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/client.h"
#include "cli/command.h"

static int run_help(struct gw_cli *cli, const struct gw_args *args);

static int run_version(struct gw_cli *cli, const struct gw_args *args) {
        (void)cli, (void)args;
        puts("godwit " GW_VERSION);
        return GW_EXIT_OK;
}

static int run_completion(struct gw_cli *cli, const struct gw_args *args) {
        (void)args;
        gw_completion_bash(cli, stdout);
        return GW_EXIT_OK;
}

static const struct gw_command own_commands[] = {
        {"help", "", "[NOUN [VERB]]", 0, 2, "this text, or more about one command", .run = run_help},
        {"version", "", "", 0, 0, "the version", .run = run_version},
        {"completion", "bash", "", 0, 0, "completion for bash: source <(godwit completion bash)",
         .run = run_completion},
        {0},
};

static const struct gw_command *const groups[] = {
        gw_object_commands,  gw_vm_commands,    gw_move_commands,    gw_pki_commands,
        gw_rule_commands,    gw_audit_commands, gw_binding_commands, gw_drain_commands,
        gw_gateway_commands, gw_lab_commands,   own_commands,        NULL,
};

static const struct gw_command *find(const char *noun, const char *verb, bool *noun_known) {
        *noun_known = false;
        for (size_t g = 0; groups[g]; g++)
                for (const struct gw_command *c = groups[g]; c->noun; c++) {
                        if (strcmp(c->noun, noun) != 0)
                                continue;
                        *noun_known = true;
                        if (!*c->verb || !strcmp(c->verb, verb))
                                return c;
                }
        return NULL;
}

static int run_help(struct gw_cli *cli, const struct gw_args *args) {
        const struct gw_command *c;
        bool known = true;

        if (!args->n_words) {
                gw_help_all(cli, stdout);
                return GW_EXIT_OK;
        }
        c = find(args->words[0], args->n_words > 1 ? args->words[1] : "", &known);
        if (c)
                gw_help_command(c, stdout);
        else if (known && args->n_words == 1)
                gw_help_noun(cli, args->words[0], stdout);
        else
                return gw_cli_fail(GW_EXIT_USAGE, "no command \"%s%s%s\"; `godwit help` lists them", args->words[0],
                                   args->n_words > 1 ? " " : "", args->n_words > 1 ? args->words[1] : "");
        return GW_EXIT_OK;
}

static void set_globals(struct gw_cli *cli, const struct gw_args *args) {
        const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");

        cli->json = gw_args_has(args, "json");
        cli->api = gw_args_text(args, "api");
        cli->lab = gw_args_text(args, "lab");
        cli->tls_ca = gw_args_text(args, "tls-ca");
        cli->tls_cert = gw_args_text(args, "tls-cert");
        cli->tls_key = gw_args_text(args, "tls-key");
        cli->live = isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") != 0;
        cli->colour = cli->live && !gw_args_has(args, "no-color") && !(no_color && *no_color);
}

static int run(struct gw_cli *cli, const struct gw_command *command, int argc, char **argv) {
        struct gw_error error = {0};
        struct gw_args args;
        int r;

        if (gw_args_parse(&args, command, argc, argv, &error))
                return gw_cli_fail(GW_EXIT_USAGE, "%s", error.text);
        if (gw_args_has(&args, "help")) {
                gw_help_command(command, stdout);
                r = GW_EXIT_OK;
        } else {
                set_globals(cli, &args);
                r = command->run(cli, &args);
        }
        gw_client_free(cli->client);
        gw_args_deinit(&args);
        return r;
}

static bool wants_help(int argc, char **argv) {
        for (int i = 1; i < argc; i++)
                if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
                        return true;
        return false;
}

/* No noun is there, only flags. */
static int run_nothing(struct gw_cli *cli, int argc, char **argv) {
        static const struct gw_command none = {.noun = "", .verb = "", .words = ""};
        struct gw_error error = {0};
        struct gw_args args;

        if (argc < 2 || wants_help(argc, argv)) {
                gw_help_all(cli, argc < 2 ? stderr : stdout);
                return argc < 2 ? GW_EXIT_USAGE : GW_EXIT_OK;
        }
        if (gw_args_parse(&args, &none, argc - 1, argv + 1, &error))
                return gw_cli_fail(GW_EXIT_USAGE, "%s", error.text);
        gw_args_deinit(&args);
        return gw_cli_fail(GW_EXIT_USAGE, "a command is missing after \"%s\"; `godwit help` lists them",
                           argv[argc - 1]);
}

/* The noun alone, or a verb that it does not have. */
static int run_noun(struct gw_cli *cli, int argc, char **argv, const char *verb) {
        bool help = wants_help(argc, argv);

        if (*verb && !help)
                return gw_cli_fail(GW_EXIT_USAGE, "%s cannot \"%s\"; `godwit help %s` lists what it can", argv[1], verb,
                                   argv[1]);
        gw_help_noun(cli, argv[1], help ? stdout : stderr);
        return help ? GW_EXIT_OK : GW_EXIT_USAGE;
}

int main(int argc, char **argv) {
        struct gw_cli cli = {.groups = groups};
        const struct gw_command *command;
        const char *verb;
        bool noun_known;
        int skip;

        gw_log_init("godwit", GW_WARNING);
        gw_args_words_first(argc - 1, argv + 1);
        if (argc > 1 && !strcmp(argv[1], "--version"))
                argv[1] += 2;
        if (argc < 2 || *argv[1] == '-')
                return run_nothing(&cli, argc, argv);
        verb = argc > 2 && *argv[2] != '-' ? argv[2] : "";
        command = find(argv[1], verb, &noun_known);
        if (!command && !noun_known)
                return gw_cli_fail(GW_EXIT_USAGE, "no command \"%s\"; `godwit help` lists them", argv[1]);
        if (!command)
                return run_noun(&cli, argc, argv, verb);
        skip = *command->verb ? 3 : 2;
        return run(&cli, command, argc - skip, argv + skip);
}
