/* SPDX-License-Identifier: Apache-2.0 */
/* How many members of all its VNs a host has to know, and whether a VM that is placed makes it too many for anybody. */
#pragma once

#include "directory/directory.h"

struct directory_member;

/* A member of its VN has come; or has gone, when it is marked so. After vn->n_members was changed. */
void gw_dir_crowd_joined(struct directory_member *m);
void gw_dir_crowd_left(struct directory_member *m);
/* It is a gateway of its VN from now on, or no longer. */
void gw_dir_crowd_routes(struct directory_member *m, bool routes);
/* All anew: nothing was counted while the directory was loaded. */
void gw_dir_crowd_count(struct gw_directory *d);
/* All members of the VN are marked as gone, at once. */
void gw_dir_crowd_end(struct gw_vn *vn);

/* GW_E_CONFLICT: the VM cannot be on that host. Asked of every host for every VM, so it walks over nobody. */
int gw_dir_crowd_check(const struct gw_directory *d, const struct gw_vm *vm, const struct gw_nve *nve,
                       struct gw_error *error);
