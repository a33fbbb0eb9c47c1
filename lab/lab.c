/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Up and down. The lab's folder /run/godwit/lab/NAME is there from the first step to
 * the last one; a lock beside it (.NAME.lock) keeps two commands apart. Down needs
 * nothing but the manifest: processes by number and time of start, then everything
 * in reverse order, then the folder.
 */
#include "lab/lab.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/client.h"
#include "cli/output.h"
#include "io/file.h"
#include "io/netlink.h"
#include "lab/daemons.h"
#include "lab/topology.h"

enum { END_MS = 3000, UP_MS = 60000 };

static void manifest_path(const struct gw_lab *lab, char out[static GW_LAB_PATH]) {
        snprintf(out, GW_LAB_PATH, "%s/manifest.json", lab->dir);
}

static int set_name(struct gw_lab *lab, const char *name, struct gw_error *error) {
        struct gw_name checked;

        if (gw_name_parse(name, &checked) || strlen(name) > GW_LAB_NAME_MAX)
                return gw_fail(error, GW_E_INVALID, "name",
                               "the lab's name is \"%s\"; it must be a-z, 0-9 and - inside, at most %d", name,
                               GW_LAB_NAME_MAX);
        *lab = (struct gw_lab){.lock = -1};
        snprintf(lab->name, sizeof lab->name, "%.*s", GW_LAB_NAME_MAX, name);
        snprintf(lab->dir, sizeof lab->dir, GW_LAB_ROOT "/%s", lab->name);
        return 0;
}

/* Waits for the others. The file may have been removed by the last owner meanwhile: then once more. */
static int take_lock(struct gw_lab *lab, struct gw_error *error) {
        char path[GW_LAB_PATH];
        struct stat ours, there;
        int r = gw_dir_make(GW_LAB_ROOT, 0755);

        if (r < 0)
                return gw_fail(error, r, "", "cannot make %s: %s; are you root?", GW_LAB_ROOT, strerror(-r));
        snprintf(path, sizeof path, GW_LAB_ROOT "/.%s.lock", lab->name);
        for (;;) {
                lab->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
                if (lab->lock < 0 || flock(lab->lock, LOCK_EX) < 0)
                        return gw_fail(error, -errno, "", "cannot lock %s: %s; are you root?", path, strerror(errno));
                if (!fstat(lab->lock, &ours) && !stat(path, &there) && ours.st_ino == there.st_ino)
                        return 0;
                close(lab->lock);
        }
}

void gw_lab_close(struct gw_lab *lab) {
        gw_manifest_deinit(&lab->manifest);
        if (lab->lock >= 0)
                close(lab->lock);
        lab->lock = -1;
}

static int only_lab(char name[static GW_LAB_NAME_MAX + 1], struct gw_error *error) {
        char names[1][GW_LAB_NAME_MAX + 1];
        size_t n = gw_lab_list(names, 1);

        if (!n)
                return gw_fail(error, GW_E_NOT_FOUND, "name", "no lab is up; `godwit lab up` builds one");
        if (n > 1)
                return gw_fail(error, GW_E_CONFLICT, "name", "%zu labs are up; say which with --name", n);
        memcpy(name, names[0], GW_LAB_NAME_MAX + 1);
        return 0;
}

static int load(struct gw_lab *lab, struct gw_error *error) {
        char path[GW_LAB_PATH];
        int r;

        manifest_path(lab, path);
        r = gw_manifest_load(&lab->manifest, path, error);
        if (r)
                return r;
        lab->hosts = (unsigned)gw_member_int(lab->manifest.object, "hosts");
        lab->underlay = (unsigned)gw_member_int(lab->manifest.object, "underlay");
        lab->mtu = (unsigned)gw_member_int(lab->manifest.object, "mtu");
        return 0;
}

static int find(struct gw_lab *lab, const char *name, struct gw_error *error) {
        char only[GW_LAB_NAME_MAX + 1];
        int r = name ? 0 : only_lab(only, error);

        if (!r)
                r = set_name(lab, name ? name : only, error);
        if (!r && access(lab->dir, F_OK) < 0)
                r = gw_fail(error, GW_E_NOT_FOUND, "name", "no lab named %s is up; `godwit lab up --name %s` builds it",
                            lab->name, lab->name);
        return r;
}

int gw_lab_look(struct gw_lab *lab, const char *name, struct gw_error *error) {
        int r = find(lab, name, error);

        return r ? r : load(lab, error);
}

int gw_lab_open(struct gw_lab *lab, const char *name, struct gw_error *error) {
        int r = find(lab, name, error);

        if (r)
                return r;
        r = take_lock(lab, error);
        if (!r)
                r = load(lab, error);
        if (r)
                gw_lab_close(lab);
        return r;
}

static int unlink_one(const char *path, const struct stat *st, int type, struct FTW *at) {
        (void)st, (void)type, (void)at;
        return remove(path) < 0 && errno != ENOENT ? -errno : 0;
}

/* Both may be missing already. */
static int remove_all(struct gw_lab *lab, struct gw_error *error) {
        char path[GW_LAB_PATH];
        int first = 0, r;

        manifest_path(lab, path);
        if (!lab->manifest.object && access(path, F_OK) == 0)
                first = gw_manifest_load(&lab->manifest, path, error);
        if (lab->manifest.object) {
                gw_lab_process_end_all(gw_manifest_items(&lab->manifest), END_MS);
                first = gw_topology_remove(lab, error);
        }
        /* Keep the manifest, and so the means to try again, while something is left. */
        if (first)
                return first;
        r = nftw(lab->dir, unlink_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
        if (r && access(lab->dir, F_OK) == 0)
                return gw_fail(error, -EBUSY, "", "cannot remove %s whole: %s", lab->dir, strerror(errno));
        snprintf(path, sizeof path, GW_LAB_ROOT "/.%s.lock", lab->name);
        unlink(path);
        /* The last one puts out the light: what the agents found out about KVM is theirs, too. */
        if (rmdir(GW_LAB_ROOT) == 0) {
                unlink("/run/godwit/accelerator.json");
                unlink("/run/godwit/accelerator.lock");
                rmdir("/run/godwit");
        }
        return 0;
}

int gw_lab_down(const char *name, struct gw_error *error) {
        char only[GW_LAB_NAME_MAX + 1];
        struct gw_lab lab;
        int r = name ? 0 : only_lab(only, error);

        if (r)
                return r == GW_E_NOT_FOUND ? 0 : r;
        r = set_name(&lab, name ? name : only, error);
        if (r || access(lab.dir, F_OK) < 0)
                return r;
        r = take_lock(&lab, error);
        if (!r)
                r = remove_all(&lab, error);
        gw_lab_close(&lab);
        return r;
}

static json_t *describe(const struct gw_lab *lab) {
        return json_pack("{s:s, s:i, s:i, s:i}", "name", lab->name, "hosts", (int)lab->hosts, "underlay",
                         (int)lab->underlay, "mtu", (int)lab->mtu);
}

static int build(struct gw_lab *lab, const struct gw_lab_options *options, struct gw_error *error) {
        char path[GW_LAB_PATH];
        int r;

        if (mkdir(lab->dir, 0755) < 0 && errno == EEXIST)
                return gw_fail(error, GW_E_EXISTS, "name",
                               "a lab named %s is there already; `godwit lab down --name %s` removes it", lab->name,
                               lab->name);
        if (access(lab->dir, F_OK) < 0)
                return gw_fail(error, -errno, "", "cannot make %s: %s", lab->dir, strerror(errno));
        manifest_path(lab, path);
        r = gw_manifest_new(&lab->manifest, path, describe(lab), error);
        if (!r)
                r = gw_topology_build(lab, error);
        if (!r)
                r = gw_daemons_prepare(lab, options, error);
        if (!r)
                r = gw_daemons_start_all(lab, error);
        return r ? r : gw_lab_wait(lab, UP_MS, error);
}

int gw_lab_up(struct gw_lab *lab, const struct gw_lab_options *options, struct gw_error *error) {
        int r = set_name(lab, options->name, error);

        if (r)
                return r;
        if (geteuid() != 0)
                return gw_fail(error, -EPERM, "", "a lab needs root: it makes network namespaces; use sudo");
        lab->hosts = options->hosts;
        lab->underlay = options->underlay;
        lab->mtu = options->mtu;
        lab->user = gw_lab_user();
        r = take_lock(lab, error);
        if (!r)
                r = build(lab, options, error);
        if (r && lab->manifest.object)
                remove_all(lab, NULL);
        if (r)
                gw_lab_close(lab);
        return r;
}

int gw_lab_exec(struct gw_lab *lab, const char *host, char **argv, struct gw_error *error) {
        char netns[64];
        int r = gw_netns_enter(gw_lab_netns(lab, host, netns), NULL);

        if (r < 0)
                return gw_fail(error, r == -ENOENT ? GW_E_NOT_FOUND : r, "HOST",
                               "cannot enter \"%s\": %s; there are nva, net, h1 to h%u and the guests", host,
                               strerror(-r), lab->hosts);
        gw_lab_close(lab);
        execvp(argv[0], argv);
        return gw_fail(error, -errno, "", "cannot run %s: %s", argv[0], strerror(errno));
}

int gw_lab_images(struct gw_lab *lab, struct gw_error *error) {
        char script[GW_LAB_PATH], command[3 * GW_LAB_PATH];
        int r = gw_lab_program("lab/guest/build.sh", script, error);

        if (r)
                return r;
        snprintf(command, sizeof command, "'%s' '%s/images' >&2", script, lab->dir);
        r = system(command);
        return r ? gw_fail(error, GW_E_REFUSED, "", "the guest's image was not built; what is said above tells why")
                 : 0;
}
