/* SPDX-License-Identifier: Apache-2.0 */
/* godwit-nva: the authority. Everything is in nva.c and its neighbours. */
#include <inttypes.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/error.h"
#include "base/log.h"
#include "nva/nva.h"

/* A host takes two descriptors; a service that nobody has given more begins with 1024. */
static void more_descriptors(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
                limit.rlim_cur = limit.rlim_max;
                setrlimit(RLIMIT_NOFILE, &limit);
        }
}

int main(int argc, char **argv) {
        struct nva_config config;
        struct gw_error error = {0};
        struct nva *nva;
        int exit_code = 1;

        if (!gw_conf_start(&nva_schema, &config, argc, argv, &exit_code))
                return exit_code;
        gw_log_init("godwit-nva", config.common.log_level);
        more_descriptors();
        nva = calloc(1, sizeof *nva);
        if (!nva)
                return 1;
        if (nva_init(nva, &config, &error)) {
                gw_log(GW_ERR, "%s", error.text);
                exit_code = 1;
        } else {
                gw_log(GW_NOTICE, "ready: version=" GW_VERSION " start=%" PRIu64 " vms=%" PRIu64, nva->restart_count,
                       nva->directory.vms.count);
                exit_code = gw_loop_run(&nva->loop);
        }
        nva_deinit(nva);
        free(nva);
        return exit_code;
}
