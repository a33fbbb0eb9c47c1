/* SPDX-License-Identifier: Apache-2.0 */
/* godwit-hv. VMs outlive it: it may be restarted or replaced at any time. So do the carriers of their copies, which are this
 * program in another part. */
#include <string.h>

#include "base/log.h"
#include "hv/hv.h"
#include "hypervisor/carrier.h"
#include "io/descriptors.h"

int main(int argc, char **argv) {
        struct hv_config config;
        struct gw_loop loop;
        struct hv hv;
        int code;

        if (argc > 1 && strcmp(argv[1], GW_CARRIER_WORD) == 0)
                return gw_carrier_main(argc - 1, argv + 1);
        if (!gw_conf_start(&hv_config_schema, &config, argc, argv, &code))
                return code;
        gw_log_init("godwit-hv", config.common.log_level);
        gw_descriptors_raise(); /* a VM takes one for each port, and three */
        if (gw_loop_init(&loop) < 0)
                return 1;
        code = hv_init(&hv, &loop, &config) == 0 ? gw_loop_run(&loop) : 1;
        hv_deinit(&hv);
        gw_loop_deinit(&loop);
        return code;
}
