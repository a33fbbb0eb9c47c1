/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Becoming another user, for good in a child, and for one open in ourselves.
 *
 * A child that became the user has its ids as real, effective and saved ones, its one group and the extra one, empty
 * sets of capabilities, and no_new_privs: no program that it executes can give it more. As all ids are equal and the
 * program is not set-uid, the loader still obeys LD_PRELOAD, on which the tap gate depends.
 *
 * Whether the user can open a file only the kernel knows: access lists, mounts and every folder above count. So the file
 * is opened with the user's file-system ids, which take our privileges over files with them (credentials(7)). These ids
 * are the calling thread's alone, and so is what the system call does to the groups; they are put back before anything
 * else happens. A thread that cannot get its own back must not go on.
 */
#include "hypervisor/user.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"

/* The last one says "none" in system calls. */
static const uid_t ID_MAX = UINT32_MAX - 1;
enum { GROUPS_MAX = 256 };

static bool take_id(const char **at, char end, uid_t *out) {
        char *stop;
        unsigned long id;

        if (**at < '0' || **at > '9')
                return false;
        errno = 0;
        id = strtoul(*at, &stop, 10);
        if (errno || *stop != end || id == 0 || id > ID_MAX)
                return false;
        *at = stop + (end != '\0');
        *out = (uid_t)id;
        return true;
}

static bool read_numbers(const char *text, struct gw_user *out) {
        uid_t uid, gid;

        if (!take_id(&text, ':', &uid) || !take_id(&text, '\0', &gid))
                return false;
        *out = (struct gw_user){.uid = uid, .gid = gid};
        return true;
}

int gw_user_parse(const char *text, struct gw_user *out, struct gw_error *error) {
        const struct passwd *entry;
        struct gw_user user = {0};

        if (!text[0]) {
                *out = user;
                return 0;
        }
        if (!read_numbers(text, &user)) {
                entry = getpwnam(text);
                if (!entry)
                        return gw_fail(
                                error, GW_E_INVALID, "",
                                "there is no user \"%s\"; it must be a user of this host, or UID:GID, both above 0",
                                text);
                if (entry->pw_uid == 0 || entry->pw_gid == 0)
                        return gw_fail(error, GW_E_INVALID, "", "\"%s\" has uid or gid 0, which is no restriction",
                                       text);
                if (entry->pw_uid > ID_MAX || entry->pw_gid > ID_MAX)
                        return gw_fail(error, GW_E_INVALID, "", "\"%s\" has %u as uid or gid, which is none", text,
                                       UINT32_MAX);
                user = (struct gw_user){.uid = entry->pw_uid, .gid = entry->pw_gid};
        }
        if (strlen(text) >= sizeof user.name)
                return gw_fail(error, GW_E_INVALID, "", "\"%s\" is too long; at most %zu octets", text,
                               sizeof user.name - 1);
        strcpy(user.name, text);
        *out = user;
        return 0;
}

void gw_user_join_device(struct gw_user *user, const char *device) {
        struct stat st;

        if (user->uid && stat(device, &st) == 0 && st.st_mode & (S_IRGRP | S_IWGRP) && st.st_gid != 0)
                user->extra = st.st_gid;
}

static size_t groups_of(const struct gw_user *user, gid_t out[static 2]) {
        out[0] = user->gid;
        out[1] = user->extra;
        return user->extra ? 2 : 1;
}

/* Sets that were ours and that no change of ids has emptied: the inheritable one, and all when we were not root. */
static int drop_capabilities(void) {
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

int gw_user_become(const struct gw_user *user) {
        gid_t groups[2];

        if (user->uid == 0)
                return 0;
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || setgroups(groups_of(user, groups), groups) < 0 ||
            setresgid(user->gid, user->gid, user->gid) < 0 || setresuid(user->uid, user->uid, user->uid) < 0)
                return -errno;
        return drop_capabilities();
}

/* The kernel answers with what was in force, and says nothing of a refusal but by that. */
static bool set_file_ids(uid_t uid, gid_t gid) {
        setfsgid(gid);
        setfsuid(uid);
        return (uid_t)setfsuid((uid_t)-1) == uid && (gid_t)setfsgid((gid_t)-1) == gid;
}

int gw_user_open(const struct gw_user *user, const char *path, int flags) {
        uid_t own_uid = geteuid();
        gid_t own_gid = getegid(), theirs[2], own[GROUPS_MAX];
        int n = getgroups(GROUPS_MAX, own), fd = -ECANCELED;

        if (user->uid == 0) {
                fd = open(path, flags | O_CLOEXEC);
                return fd < 0 ? -errno : fd;
        }
        if (n < 0 || syscall(SYS_setgroups, groups_of(user, theirs), theirs) < 0)
                return -ECANCELED;
        if (set_file_ids(user->uid, user->gid)) {
                fd = open(path, flags | O_CLOEXEC);
                fd = fd < 0 ? -errno : fd;
        }
        if (!set_file_ids(own_uid, own_gid) || syscall(SYS_setgroups, n, own) < 0)
                abort();
        return fd;
}
