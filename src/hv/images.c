/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images of disks: where they are, what they are, and making new ones for a VM that
 * arrives.
 *
 * A disk is a path, or a plain name in `disk-dir`. Whether it has to go along with
 * its VM is found out, not configured: the source puts a marker, an empty file with
 * a name nobody else uses, beside each image (`survey`), and a target that sees the
 * marker beside its own has the same storage. The markers go when the target has
 * looked, at the latest after MARK_MS.
 *
 * A target makes images of the same size and format, never over a file that is
 * there. It writes down each before it makes it, and takes those away again, and no others, when
 * the move comes to nothing: a file of that name may have come from elsewhere since it looked. The source's go when the move is finished, or stay as
 * FILE.moved when its operator wants them kept.
 */
#include "hv/images.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "io/api.h"
#include "io/file.h"

enum { MARK_MS = 60000, QCOW2_HEADER = 32, QCOW2_MAGIC = 0x514649fb };

#define MARK ".godwit-"

static const struct gw_definition_disk *disk_of(const struct hv_vm *vm, unsigned disk) {
        return &vm->record.definition.disks[disk];
}

int hv_image_path(const struct hv *hv, const struct gw_definition_disk *disk, char out[static HV_IMAGE_PATH]) {
        int n = disk->path[0] == '/' ? snprintf(out, HV_IMAGE_PATH, "%s", disk->path)
                                     : snprintf(out, HV_IMAGE_PATH, "%s/%s", hv->config->disk_dir, disk->path);

        return n < HV_IMAGE_PATH ? 0 : -ENAMETOOLONG;
}

static uint64_t be(const uint8_t *from, size_t n) {
        uint64_t value = 0;

        for (size_t i = 0; i < n; i++)
                value = value << 8 | from[i];
        return value;
}

static int look(int fd, const char *path, const char *format, struct hv_image *out, struct gw_error *error) {
        uint8_t header[QCOW2_HEADER] = {0};
        struct stat st;
        bool is_qcow2;

        if (fstat(fd, &st) < 0 || pread(fd, header, sizeof header, 0) < 0)
                return gw_fail(error, -errno, "disks", "cannot read %s: %s", path, strerror(errno));
        is_qcow2 = be(header, 4) == QCOW2_MAGIC;
        if (!strcmp(format, "qcow2") && !is_qcow2)
                return gw_fail(error, GW_E_INVALID, "disks", "%s is declared as qcow2, and is not", path);
        if (strcmp(format, "qcow2") && is_qcow2)
                gw_log(GW_WARNING, "%s is declared as %s and looks like qcow2", path, format);
        out->virtual_octets = strcmp(format, "qcow2") ? (uint64_t)st.st_size : be(header + 24, 8);
        out->allocated_octets = (uint64_t)st.st_blocks * 512;
        return 0;
}

int hv_image_look(const struct hv *hv, const struct gw_definition_disk *disk, struct hv_image *out,
                  struct gw_error *error) {
        char path[HV_IMAGE_PATH];
        int fd, r;

        if (hv_image_path(hv, disk, path))
                return gw_fail(error, GW_E_INVALID, "disks", "the path of %s is too long", disk->path);
        r = gw_file_open_regular(path, &fd);
        if (r == GW_E_INVALID)
                return gw_fail(error, r, "disks", "%s is not a regular file", path);
        if (r != 0)
                return gw_fail(error, r == -ENOENT ? GW_E_INVALID : r, "disks", "cannot open the image %s: %s", path,
                               strerror(-r));
        r = look(fd, path, disk->format, out, error);
        close(fd);
        return r;
}

int hv_images_check(const struct hv_vm *vm, struct gw_error *error) {
        struct hv_image image;

        for (unsigned i = 0; i < vm->record.definition.n_disks; i++) {
                int r = vm->record.move.disks & 1U << i ? 0 : hv_image_look(vm->hv, disk_of(vm, i), &image, error);

                if (r)
                        return r;
        }
        return 0;
}

static uint64_t size_now(const struct hv_vm *vm, unsigned disk, char path[static HV_IMAGE_PATH]) {
        bool is_qcow2 = !strcmp(disk_of(vm, disk)->format, "qcow2");
        uint8_t header[QCOW2_HEADER];
        struct stat st;
        uint64_t octets = 0;
        int fd;

        if (hv_image_path(vm->hv, disk_of(vm, disk), path))
                return 0;
        if (gw_file_open_regular(path, &fd))
                return 0; /* taken away from under its VM, which has it open: all of it can still be sent */
        if (is_qcow2 && pread(fd, header, sizeof header, 0) == sizeof header)
                octets = be(header + 24, 8);
        else if (!is_qcow2 && fstat(fd, &st) == 0)
                octets = (uint64_t)st.st_size;
        close(fd);
        return octets;
}

int hv_images_changed(struct hv_vm *vm, struct gw_error *error) {
        char path[HV_IMAGE_PATH];

        for (unsigned i = 0; i < vm->record.definition.n_disks; i++) {
                uint64_t octets = vm->record.move.disks & 1U << i ? size_now(vm, i, path) : 0;

                if (octets && vm->image_octets[i] && octets != vm->image_octets[i])
                        return gw_fail(error, GW_E_CONFLICT, "disks",
                                       "disk %u, %.100s, has changed its size under way, from %" PRIu64 " to %" PRIu64
                                       " octets",
                                       i, path, vm->image_octets[i], octets);
                if (octets)
                        vm->image_octets[i] = octets; /* also the first time after a restart */
        }
        return 0;
}

/* ---- markers ---- */

/* The folder of an image, with the slash. */
static int folder_of(const struct hv_vm *vm, unsigned disk, char out[static HV_IMAGE_PATH]) {
        int r = hv_image_path(vm->hv, disk_of(vm, disk), out);

        if (r == 0)
                strrchr(out, '/')[1] = '\0';
        return r;
}

static void mark_name(const struct hv_vm *vm, unsigned disk, char out[static HV_MARK_NAME]) {
        snprintf(out, HV_MARK_NAME, MARK "%s-%s-%u-%" PRIu64, vm->hv->config->common.id.s, vm->record.id.s, disk,
                 vm->hv->restart_count);
}

static int mark_path(const struct hv_vm *vm, unsigned disk, const char *name, char out[static HV_IMAGE_PATH]) {
        size_t at;

        if (folder_of(vm, disk, out))
                return -ENAMETOOLONG;
        at = strlen(out);
        return (size_t)snprintf(out + at, HV_IMAGE_PATH - at, "%s", name) < HV_IMAGE_PATH - at ? 0 : -ENAMETOOLONG;
}

void hv_images_unmark(struct hv_vm *vm) {
        char name[HV_MARK_NAME], path[HV_IMAGE_PATH];

        gw_timer_free(vm->unmark);
        vm->unmark = NULL;
        for (unsigned i = 0; i < vm->record.definition.n_disks; i++) {
                mark_name(vm, i, name);
                if (mark_path(vm, i, name, path) == 0)
                        unlink(path);
        }
}

static void on_unmark(void *user) {
        hv_images_unmark(user);
}

static int mark(const struct hv_vm *vm, unsigned disk, char name[static HV_MARK_NAME], struct gw_error *error) {
        char path[HV_IMAGE_PATH];
        int fd, r;

        mark_name(vm, disk, name);
        if (mark_path(vm, disk, name, path))
                return gw_fail(error, GW_E_INVALID, "disks", "the path of %s is too long", disk_of(vm, disk)->path);
        /* The folder may be the emulators' user's: not through a link, and not waiting for what else may be there. */
        fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
        r = fd < 0 ? -errno : gw_file_check_regular(fd);
        if (fd >= 0)
                close(fd);
        if (r != 0)
                return gw_fail(error, r, "disks",
                               "cannot write %s, which tells whether the target has the same storage: %s", path,
                               r < 0 ? strerror(-r) : "it is not a regular file");
        return 0;
}

json_t *hv_images_survey(struct hv_vm *vm, struct gw_error *error) {
        json_t *list = json_array();

        for (unsigned i = 0; i < vm->record.definition.n_disks; i++) {
                const struct gw_definition_disk *disk = disk_of(vm, i);
                char name[HV_MARK_NAME];
                struct hv_image image = {0};

                if (hv_image_look(vm->hv, disk, &image, error) || mark(vm, i, name, error)) {
                        hv_images_unmark(vm);
                        json_decref(list);
                        return NULL;
                }
                vm->image_octets[i] = image.virtual_octets;
                json_array_append_new(list,
                                      json_pack("{s:I, s:s, s:I, s:I, s:s}", "disk", (json_int_t)i, "format",
                                                disk->format, "virtual_octets", (json_int_t)image.virtual_octets,
                                                "allocated_octets", (json_int_t)image.allocated_octets, "mark", name));
        }
        gw_timer_free(vm->unmark);
        vm->unmark = NULL;
        if (gw_timer_new(&vm->unmark, vm->hv->loop, gw_ms(MARK_MS), gw_ms(0), on_unmark, vm) < 0)
                gw_log(GW_WARNING, "vm=%s no timer: markers beside its images may stay", vm->record.id.s);
        return list;
}

/* ---- at the target: what is to come ---- */

static bool has_room(const char *path, uint64_t octets, struct gw_error *error) {
        char folder[HV_IMAGE_PATH];
        struct statvfs st;

        snprintf(folder, sizeof folder, "%s", path);
        strrchr(folder, '/')[1] = '\0';
        if (statvfs(folder, &st) < 0) {
                gw_fail(error, GW_E_CONFLICT, "disks", "cannot make %s: %s", path, strerror(errno));
                return false;
        }
        if ((uint64_t)st.f_bavail * st.f_frsize >= octets)
                return true;
        gw_fail(error, GW_E_FULL, "disks", "no room for %s: %" PRIu64 " MiB are needed, %" PRIu64 " MiB are free", path,
                octets >> 20, ((uint64_t)st.f_bavail * st.f_frsize) >> 20);
        return false;
}

static int plan_one(struct hv_vm *vm, unsigned disk, const char *name, uint64_t allocated_octets,
                    struct gw_error *error) {
        char path[HV_IMAGE_PATH];

        if (mark_path(vm, disk, name, path) == 0 && access(path, F_OK) == 0) {
                gw_log(GW_INFO, "vm=%s disk %u is on shared storage: it stays", vm->record.id.s, disk);
                return 0;
        }
        if (hv_image_path(vm->hv, disk_of(vm, disk), path))
                return gw_fail(error, GW_E_INVALID, "disks", "the path of %s is too long", disk_of(vm, disk)->path);
        if (access(path, F_OK) == 0)
                return gw_fail(error, GW_E_CONFLICT, "disks",
                               "%s exists here already and is not the one that moves; it is not overwritten", path);
        if (!has_room(path, allocated_octets, error))
                return error->code;
        vm->record.move.disks |= 1U << disk;
        return 0;
}

int hv_images_plan(struct hv_vm *vm, json_t *disks, struct gw_error *error) {
        size_t i, n = vm->record.definition.n_disks;
        json_t *object;

        if (n && gw_dir_make(vm->hv->config->disk_dir, 0711) < 0)
                gw_log(GW_WARNING, "cannot make %s", vm->hv->config->disk_dir);
        json_array_foreach (disks, i, object) {
                struct gw_json_reader r = gw_json_reader(object, error);
                unsigned disk = (unsigned)gw_json_int(&r, "disk", 0, GW_DEFINITION_DISKS_MAX - 1, GW_JSON_REQUIRED);
                const char *format = gw_json_string(&r, "format", NULL), *name = gw_json_string(&r, "mark", NULL);
                uint64_t virtual_octets = (uint64_t)gw_json_int(&r, "virtual_octets", 1, INT64_MAX, GW_JSON_REQUIRED);
                uint64_t allocated = (uint64_t)gw_json_int(&r, "allocated_octets", 0, INT64_MAX, 0);

                if (gw_json_done(&r))
                        return error->code;
                if (disk >= n || strcmp(format, disk_of(vm, disk)->format) || strncmp(name, MARK, strlen(MARK)) ||
                    strchr(name, '/'))
                        return gw_fail(error, GW_E_INVALID, "disks", "disk %u is not one of the definition's %zu", disk,
                                       n);
                vm->image_octets[disk] = virtual_octets;
                if (plan_one(vm, disk, name, allocated, error))
                        return error->code;
        }
        return 0;
}

/* ---- at the target: making ---- */

static void make_next(struct hv_vm *vm);

static void made(struct hv_vm *vm, const char *why) {
        struct gw_error error = {0};
        hv_images_done done = vm->images_made;

        gw_process_deinit(&vm->maker);
        if (!why) {
                vm->making++;
                make_next(vm);
                return;
        }
        gw_fail(&error, GW_E_CONFLICT, "disks", "cannot make the image of disk %u: %s", vm->making, why);
        done(vm, &error);
}

static void on_maker_end(struct gw_process *process, int code, int status) {
        struct hv_vm *vm = gw_container_of(process, struct hv_vm, maker);

        made(vm, code == CLD_EXITED && status == 0 ? NULL : "qemu-img failed; its words are in the VM's image.log");
}

/* An empty file that is ours from here on, or none: then it is not in the record either. */
static int make_file(struct hv_vm *vm, const char *path) {
        unsigned bit = 1U << vm->making;
        int fd, r;

        vm->record.move.created |= bit;
        r = hv_vm_write(vm);
        fd = r < 0 ? -1 : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0)
                return fd;
        r = r < 0 ? r : -errno;
        vm->record.move.created &= ~bit;
        hv_vm_write(vm);
        return r;
}

static int make_raw(int fd, uint64_t octets) {
        return ftruncate(fd, (off_t)octets) < 0 ? -errno : 0;
}

static int make_qcow2(struct hv_vm *vm, char *path, uint64_t octets) {
        char log[512], size[24];
        char *argv[] = {(char *)vm->hv->config->qemu_img,
                        (char *)"create",
                        (char *)"-q",
                        (char *)"-f",
                        (char *)"qcow2",
                        path,
                        size,
                        NULL};

        snprintf(size, sizeof size, "%" PRIu64, octets);
        snprintf(log, sizeof log, "%s/vm/%s", vm->hv->config->common.state_dir, vm->record.id.s);
        if (gw_dir_make(log, 0700) < 0)
                return -errno;
        strcat(log, "/image.log");
        vm->maker = GW_PROCESS_NULL;
        vm->maker.ended = on_maker_end;
        return gw_process_spawn(&vm->maker, vm->hv->loop->event, argv,
                                &(struct gw_process_setting){.log_path = log, .user = hv_user(vm->hv)});
}

static void make_next(struct hv_vm *vm) {
        char path[HV_IMAGE_PATH];
        bool qcow2;
        struct gw_error error = {0};
        int fd = -1, r;

        while (vm->making < GW_DEFINITION_DISKS_MAX && !(vm->record.move.disks & 1U << vm->making))
                vm->making++;
        if (vm->making == GW_DEFINITION_DISKS_MAX) {
                vm->images_made(vm, NULL);
                return;
        }
        qcow2 = !strcmp(disk_of(vm, vm->making)->format, "qcow2");
        r = hv_image_path(vm->hv, disk_of(vm, vm->making), path);
        if (r == 0)
                r = fd = make_file(vm, path);
        if (r >= 0) {
                r = hv_user_own(vm, fd);
                if (r == 0 && vm->hv->user.uid)
                        r = hv_user_look(vm->hv, path, &error);
        }
        if (r == 0)
                r = qcow2 ? make_qcow2(vm, path, vm->image_octets[vm->making])
                          : make_raw(fd, vm->image_octets[vm->making]);
        if (fd >= 0)
                close(fd);
        if (r != 0)
                made(vm, r < 0 ? strerror(-r) : error.text);
        else if (!qcow2)
                made(vm, NULL);
}

void hv_images_make(struct hv_vm *vm, hv_images_done done) {
        vm->images_made = done;
        vm->making = 0;
        make_next(vm);
}

/* ---- the end ---- */

/* A VM that runs after a post-copy may have written to them, and has no other place to go back to. */
static bool are_its_own(const struct hv_vm *vm) {
        return vm->record.role == HV_ROLE_SERVE && vm->record.move.options.post_copy;
}

void hv_images_drop(struct hv_vm *vm) {
        char path[HV_IMAGE_PATH];

        if (are_its_own(vm))
                vm->record.move.created = 0;
        for (unsigned i = 0; i < GW_DEFINITION_DISKS_MAX; i++)
                if (vm->record.move.created & 1U << i && hv_image_path(vm->hv, disk_of(vm, i), path) == 0 &&
                    unlink(path) < 0 && errno != ENOENT)
                        gw_log(GW_WARNING, "vm=%s cannot remove %s: %s", vm->record.id.s, path, strerror(errno));
        vm->record.move.created = 0;
}

/* Never over a file that is there: it may be all that is left of another copy. Where the file system has no such rename, a
 * link does the same. */
static int put_aside(const char *path, const char *kept) {
        int r = renameat2(AT_FDCWD, path, AT_FDCWD, kept, RENAME_NOREPLACE);

        if (r < 0 && errno == EINVAL) {
                r = link(path, kept);
                if (r == 0)
                        r = unlink(path);
        }
        return r;
}

void hv_images_left(struct hv_vm *vm) {
        char path[HV_IMAGE_PATH], kept[HV_IMAGE_PATH + 8];

        for (unsigned i = 0; i < GW_DEFINITION_DISKS_MAX; i++) {
                int r;

                if (!(vm->record.move.disks & 1U << i) || hv_image_path(vm->hv, disk_of(vm, i), path))
                        continue;
                snprintf(kept, sizeof kept, "%s.moved", path);
                r = vm->record.move.keep_disks ? put_aside(path, kept) : unlink(path);
                if (r < 0 && errno == EEXIST)
                        gw_log(GW_WARNING, "vm=%s the old image %s keeps its name: there is a %s already",
                               vm->record.id.s, path, kept);
                else if (r < 0 && errno != ENOENT)
                        gw_log(GW_WARNING, "vm=%s the old image %s stays: %s", vm->record.id.s, path, strerror(errno));
                else if (r == 0 && vm->record.move.keep_disks)
                        gw_log(GW_NOTICE, "vm=%s the old image is %s now; it is yours to remove", vm->record.id.s,
                               kept);
        }
}
