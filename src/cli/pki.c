/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `godwit pki`: a certificate authority in a folder (ca.pem, ca.key, and NAME.pem
 * and NAME.key for each certificate). Enough for an installation that has none of
 * its own; the daemons only ever read PEM files, whoever made them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/pki_show.h"
#include "io/file.h"
#include "io/pki.h"

enum { FILE_SIZE = 4200, HOSTS_MAX = 32 };

#define DIR_FLAG                                                                                                       \
        { "dir", GW_FLAG_PATH, "DIR", "the folder of the authority", .fallback = "/etc/godwit/pki" }

static const struct gw_flag init_flags[] = {
        DIR_FLAG,
        {"name", GW_FLAG_NAME, "NAME", "the authority's own name", .fallback = "godwit-ca"},
        {"days", GW_FLAG_INT, "DAYS", "how long it is valid", 1, 36500, .fallback = "3650"},
        {0},
};
static const struct gw_flag issue_flags[] = {
        DIR_FLAG,
        {"host", GW_FLAG_TEXT, "ADDRESS", "a name or an address that it is reached at", .repeat = true},
        {"server", GW_FLAG_SWITCH, .help = "may accept sessions: for an NVA"},
        {"overwrite", GW_FLAG_SWITCH, .help = "replace a certificate of that name"},
        {"days", GW_FLAG_INT, "DAYS", "how long it is valid", 1, 36500, .fallback = "825"},
        {0},
};

static char *in_dir(char *out, const struct gw_args *args, const char *name, const char *suffix) {
        snprintf(out, FILE_SIZE, "%s/%s%s", gw_args_text(args, "dir"), name, suffix);
        return out;
}

static int run_init(struct gw_cli *cli, const struct gw_args *args) {
        char cert[FILE_SIZE], key[FILE_SIZE];
        struct gw_error error = {0};
        int r = gw_dir_make(gw_args_text(args, "dir"), 0700);

        (void)cli;
        if (r < 0)
                return gw_cli_fail(GW_EXIT_FAILED, "cannot make %s: %s", gw_args_text(args, "dir"), strerror(-r));
        in_dir(cert, args, "ca", ".pem");
        in_dir(key, args, "ca", ".key");
        if (gw_pki_make_ca(cert, key, gw_args_text(args, "name"), (unsigned)gw_args_int(args, "days"), &error))
                return gw_cli_fail(GW_EXIT_FAILED, "%s", error.text);
        printf("made %s; keep %s safe and off the hosts\n", cert, key);
        return GW_EXIT_OK;
}

static int run_issue(struct gw_cli *cli, const struct gw_args *args) {
        char ca_cert[FILE_SIZE], ca_key[FILE_SIZE], cert[FILE_SIZE], key[FILE_SIZE];
        const char *hosts[HOSTS_MAX], *name = args->words[0];
        struct gw_pki_request request = {.name = name,
                                         .hosts = hosts,
                                         .days = (unsigned)gw_args_int(args, "days"),
                                         .server = gw_args_has(args, "server"),
                                         .overwrite = gw_args_has(args, "overwrite")};
        struct gw_error error = {0};
        struct gw_name checked;

        (void)cli;
        if (gw_name_parse(name, &checked))
                return gw_cli_fail(GW_EXIT_USAGE, "\"%s\" is not a name; a name is a-z, 0-9 and - inside", name);
        if (!strcmp(name, "ca"))
                return gw_cli_fail(GW_EXIT_USAGE, "the name ca is the authority's own here; choose another");
        if (gw_args_count(args, "host") > HOSTS_MAX)
                return gw_cli_fail(GW_EXIT_USAGE, "--host is given more than %d times", HOSTS_MAX);
        while (request.n_hosts < gw_args_count(args, "host")) {
                hosts[request.n_hosts] = gw_args_nth(args, "host", request.n_hosts);
                request.n_hosts++;
        }
        if (gw_pki_issue(in_dir(ca_cert, args, "ca", ".pem"), in_dir(ca_key, args, "ca", ".key"),
                         in_dir(cert, args, name, ".pem"), in_dir(key, args, name, ".key"), &request, &error))
                return gw_cli_fail(GW_EXIT_FAILED, "%s", error.text);
        printf("made %s and %s; bring them, and %s, to the host\n", cert, key, ca_cert);
        return GW_EXIT_OK;
}

const struct gw_command gw_pki_commands[] = {
        {"pki", "init", "", 0, 0, "make a certificate authority", init_flags, run_init},
        {"pki", "issue", "NAME", 1, 1, "make a certificate: NAME is the id of the daemon or person", issue_flags,
         run_issue},
        {"pki", "show", "[FILE...]", 0, GW_ARGS_MAX,
         "what certificates say, and how long they are good; all of the folder", gw_pki_show_flags, gw_pki_show},
        {0},
};
