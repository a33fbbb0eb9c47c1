/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions of NVEs and hypervisor agents. */
#pragma once

#include "nva/nva.h"

int peers_listen(struct nva *nva); /* negative errno */
void peers_close(struct nva *nva);
