/* SPDX-License-Identifier: Apache-2.0 */
/* `godwit pki show`. */
#pragma once

#include "cli/command.h"

extern const struct gw_flag gw_pki_show_flags[];
int gw_pki_show(struct gw_cli *cli, const struct gw_args *args);
