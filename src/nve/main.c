/* SPDX-License-Identifier: Apache-2.0 */
/*
 * godwit-nve: the edge daemon. Everything is in nve.c and its neighbours.
 *
 * Besides the flags of every daemon: --flush takes the data plane away (programs,
 * pins, both devices), which ending the daemon does not.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "nve/nve.h"

/* Takes the flag out of the arguments. */
static bool flush_wanted(int *argc, char **argv) {
        bool wanted = false;
        int n = 1;

        for (int i = 1; i < *argc; i++)
                if (strcmp(argv[i], "--flush") == 0)
                        wanted = true;
                else
                        argv[n++] = argv[i];
        argv[n] = NULL;
        *argc = n;
        return wanted;
}

static int flush(const struct nve_config *config) {
        struct gw_datapath_config dp = nve_datapath_config(config);
        int r = gw_datapath_remove(&dp);

        if (r)
                fprintf(stderr, "godwit-nve: the data plane at %s could not be removed: %s\n", config->pin_dir,
                        gw_error_word(r));
        return r ? 1 : 0;
}

static int run(const struct nve_config *config) {
        struct gw_error error = {0};
        struct nve *nve = calloc(1, sizeof *nve);
        int exit_code = 1;

        if (!nve)
                return 1;
        if (nve_init(nve, config, &error)) {
                gw_log(GW_ERR, "%s%s%s", error.field, error.field[0] ? ": " : "", error.text);
        } else {
                gw_log(GW_NOTICE, "ready: version=" GW_VERSION " id=%s start=%llu", config->common.id.s,
                       (unsigned long long)nve->restart_count);
                exit_code = gw_loop_run(&nve->loop);
        }
        nve_deinit(nve);
        free(nve);
        return exit_code;
}

int main(int argc, char **argv) {
        struct nve_config config;
        bool flushing = flush_wanted(&argc, argv);
        int exit_code = 1;

        if (!gw_conf_start(&nve_schema, &config, argc, argv, &exit_code))
                return exit_code;
        gw_log_init("godwit-nve", config.common.log_level);
        return flushing ? flush(&config) : run(&config);
}
