/* SPDX-License-Identifier: Apache-2.0 */
/* godwit-nva: the authority. Everything is in nva.c and its neighbours. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "io/descriptors.h"
#include "nva/nva.h"

int main(int argc, char **argv) {
        struct nva_config config;
        struct gw_error error = {0};
        struct nva *nva;
        int exit_code = 1;

        if (!gw_conf_start(&nva_schema, &config, argc, argv, &exit_code))
                return exit_code;
        gw_log_init("godwit-nva", config.common.log_level);
        gw_descriptors_raise(); /* a host takes two */
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
