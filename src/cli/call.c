/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which authority a command talks to: --api, or GODWIT_API, or that of the lab
 * named with --lab, or that of the only lab which is up, or the one of this machine.
 */
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/command.h"

#define LABS "/run/godwit/lab"
#define LOCAL_API "/run/godwit/nva/api.sock"

enum { PATH_SIZE = 512, QUERY_SIZE = 1024 };

static bool lab_api(const char *lab, char *out) {
        return snprintf(out, PATH_SIZE, LABS "/%s/nva/api.sock", lab) < PATH_SIZE && access(out, F_OK) == 0;
}

/* True when exactly one lab is up. */
static bool only_lab_api(char *out) {
        DIR *labs = opendir(LABS);
        struct dirent *entry;
        char path[PATH_SIZE];
        int n = 0;

        while (labs && (entry = readdir(labs)))
                if (*entry->d_name != '.' && lab_api(entry->d_name, path) && !n++)
                        strcpy(out, path);
        if (labs)
                closedir(labs);
        return n == 1;
}

static int find_api(const struct gw_cli *cli, char *out, struct gw_error *error) {
        const char *given = cli->api ? cli->api : cli->lab ? NULL : getenv("GODWIT_API");

        if (given && !strncmp(given, "unix:", 5))
                given += 5;
        if (given && *given != '/' && strncmp(given, "https://", 8) != 0)
                return gw_fail(error, GW_E_INVALID, "api",
                               "%s is \"%s\"; it must be the path of a socket, or https://address:port",
                               cli->api ? "--api" : "GODWIT_API", given);
        if (given)
                snprintf(out, PATH_SIZE, "%s", given);
        else if (cli->lab && !lab_api(cli->lab, out))
                return gw_fail(error, GW_E_NOT_FOUND, "lab", "no lab named %s is up; `godwit lab status` lists them",
                               cli->lab);
        else if (!cli->lab && !only_lab_api(out))
                strcpy(out, LOCAL_API);
        return 0;
}

static int connect_api(struct gw_cli *cli, struct gw_error *error) {
        struct gw_client_options options = {.tls_ca = cli->tls_ca, .tls_cert = cli->tls_cert, .tls_key = cli->tls_key};
        char api[PATH_SIZE];
        int r;

        if (cli->client)
                return 0;
        r = find_api(cli, api, error);
        options.api = api;
        options.exact = cli->json;
        return r ? r : gw_client_new(&cli->client, &options, error);
}

static int call(struct gw_cli *cli, const char *method, json_t *body, json_t **out, struct gw_error *error,
                const char *format, va_list args) {
        char path[QUERY_SIZE];
        int r = connect_api(cli, error);

        if (r) {
                json_decref(body);
                return r;
        }
        vsnprintf(path, sizeof path, format, args);
        return gw_client_call(cli->client, method, path, body, out, error);
}

int gw_cli_try(struct gw_cli *cli, const char *method, json_t *body, json_t **out, struct gw_error *error,
               const char *path, ...) {
        va_list args;
        int r;

        va_start(args, path);
        r = call(cli, method, body, out, error, path, args);
        va_end(args);
        return r;
}

int gw_cli_call(struct gw_cli *cli, const char *method, json_t *body, json_t **out, const char *path, ...) {
        struct gw_error error = {0};
        va_list args;
        int r;

        va_start(args, path);
        r = call(cli, method, body, out, &error, path, args);
        va_end(args);
        if (!r)
                return GW_EXIT_OK;
        error.code = r;
        return gw_cli_error(&error);
}

int gw_cli_fail(int exit_code, const char *format, ...) {
        char text[1024];
        va_list args;

        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        va_end(args);
        gw_client_tame(text);
        fflush(stdout); /* what was said before comes before */
        fprintf(stderr, "godwit: %s\n", text);
        return exit_code;
}

int gw_cli_error(const struct gw_error *error) {
        int exit_code = error->code == GW_E_NOT_FOUND  ? GW_EXIT_NOT_FOUND
                        : error->code == -ECONNREFUSED ? GW_EXIT_UNREACHABLE
                                                       : GW_EXIT_FAILED;
        /* The API's field is worth saying only where it tells which of several was meant. */
        bool named = !strchr(error->field, '[') || strstr(error->text, error->field);

        return gw_cli_fail(exit_code, "%s%s%s", named ? "" : error->field, named ? "" : ": ", error->text);
}

bool gw_cli_id(const char *text, struct gw_name *name, struct gw_name *tenant) {
        struct gw_name id;
        char *at;

        if (gw_id_parse(text, &id)) {
                gw_cli_fail(GW_EXIT_USAGE, "\"%s\" is not a name; a name is a-z, 0-9 and - inside, or name@tenant",
                            text);
                return false;
        }
        at = strchr(id.s, '@');
        snprintf(tenant->s, sizeof tenant->s, "%s", at ? at + 1 : "default");
        if (at)
                *at = 0;
        *name = id;
        return true;
}
