/* SPDX-License-Identifier: Apache-2.0 */
/* Who emulators run as: the agent itself, or a user without any privilege. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct gw_error;

enum { GW_USER_NAME = 64 };

struct gw_user {
        uid_t uid; /* 0: as whoever starts it */
        gid_t gid;
        gid_t extra; /* supplementary group; 0: none */
        char name[GW_USER_NAME];
};

/* A user's name, "UID:GID", or "": as we are. GW_E_INVALID with *error (may be NULL). */
int gw_user_parse(const char *text, struct gw_user *out, struct gw_error *error);
/* Takes the group of a device along, when its mode gives that group anything. */
void gw_user_join_device(struct gw_user *user, const char *device);

/* After fork, for good: ids, groups, no capabilities, and no way to get any. Safe there. Negative errno. */
int gw_user_become(const struct gw_user *user);
/* Opens a file as that user would, with its groups and without our privileges. Negative errno; -ECANCELED: we may not act
 * as that user. */
int gw_user_open(const struct gw_user *user, const char *path, int flags);
