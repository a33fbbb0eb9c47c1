/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions of NVEs and hypervisor agents. */
#pragma once

#include "nva/nva.h"

int peers_listen(struct nva *nva); /* negative errno */
void peers_close(struct nva *nva);
void peers_drop(struct gw_nve *nve, const char *reason); /* the session of its edge, if it has one */
/* A registration that this NVE's session has brought: decided, and answered when an answer is due. */
void peers_register(struct nva *nva, struct gw_nve *nve, uint32_t id, struct gw_ip locator,
                    const struct gw_registration *request);
