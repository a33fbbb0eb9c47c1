/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole files. The temporary file stands in the same folder (a rename is atomic
 * only within one file system) and has a random end, so that two writers of one
 * path cannot mix their octets; the last rename wins.
 */
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

static int write_all(int fd, const char *bytes, size_t size) {
        while (size > 0) {
                ssize_t n = write(fd, bytes, size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                bytes += n;
                size -= (size_t)n;
        }
        return 0;
}

static int sync_parent(const char *path) {
        char copy[PATH_MAX];
        int fd, r = 0;

        if (strlen(path) >= sizeof copy)
                return -ENAMETOOLONG;
        strcpy(copy, path);
        fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (fsync(fd) < 0)
                r = -errno;
        close(fd);
        return r;
}

int gw_file_write(const char *path, const void *bytes, size_t size, mode_t mode) {
        char temporary[PATH_MAX];
        int fd, r;

        if ((size_t)snprintf(temporary, sizeof temporary, "%s.XXXXXX", path) >= sizeof temporary)
                return -ENAMETOOLONG;
        fd = mkostemp(temporary, O_CLOEXEC);
        if (fd < 0)
                return -errno;
        r = write_all(fd, bytes, size);
        if (r == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0))
                r = -errno;
        if (close(fd) < 0 && r == 0)
                r = -errno;
        if (r == 0 && rename(temporary, path) < 0)
                r = -errno;
        if (r < 0) {
                unlink(temporary);
                return r;
        }
        return sync_parent(path);
}

int gw_file_check_regular(int fd) {
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        return S_ISREG(st.st_mode) ? 0 : GW_E_INVALID;
}

/* What is held by a descriptor that opens nothing (open(2), O_PATH) is what is looked at, and what is opened then. */
int gw_file_open_regular(const char *path, int *out) {
        char self[32];
        int fd, held = open(path, O_PATH | O_CLOEXEC), r;

        if (held < 0)
                return -errno;
        r = gw_file_check_regular(held);
        if (r == 0) {
                snprintf(self, sizeof self, "/proc/self/fd/%d", held);
                fd = open(self, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
                if (fd < 0)
                        r = -errno;
                else
                        *out = fd;
        }
        close(held);
        return r;
}

/* Files of /proc say size 0, so the size is found by reading. */
static int read_all(int fd, size_t max, char **out, size_t *out_size) {
        size_t size = 0, room = 4096;
        char *bytes = malloc(room + 1), *grown;
        ssize_t n;

        for (;;) {
                if (!bytes)
                        return -ENOMEM;
                n = read(fd, bytes + size, room - size);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        break;
                size += (size_t)n;
                if (size > max) {
                        free(bytes);
                        return -EFBIG;
                }
                if (size < room)
                        continue;
                room *= 2;
                grown = realloc(bytes, room + 1);
                if (!grown)
                        free(bytes);
                bytes = grown;
        }
        if (n < 0) {
                n = -errno;
                free(bytes);
                return (int)n;
        }
        bytes[size] = 0;
        *out = bytes;
        *out_size = size;
        return 0;
}

int gw_file_read(const char *path, size_t max, char **bytes, size_t *size) {
        size_t ignored;
        int fd, r;

        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        r = read_all(fd, max, bytes, size ? size : &ignored);
        close(fd);
        return r;
}

/* The umask is for what nobody has given a mode; and what is there already is whoever's made it. So one that others may enter
 * gets its mode before it gets its name: who is killed in between would leave it shut for good. */
static int make_open(const char *path, mode_t mode) {
        char temporary[PATH_MAX];
        int r;

        if ((size_t)snprintf(temporary, sizeof temporary, "%s.XXXXXX", path) >= sizeof temporary)
                return -ENAMETOOLONG;
        if (!mkdtemp(temporary))
                return -errno;
        r = chmod(temporary, mode) < 0 ? -errno : 0;
        if (r == 0 && renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) < 0)
                r = -errno;
        if (r == -EINVAL) /* a file system that does not know the flag */
                r = rename(temporary, path) == 0 ? 0 : errno == ENOTEMPTY ? -EEXIST : -errno;
        if (r < 0)
                rmdir(temporary);
        return r;
}

static int make_one(const char *path, mode_t mode) {
        struct stat st;

        if (lstat(path, &st) == 0)
                return -EEXIST;
        if (mode & ~(mode_t)S_IRWXU)
                return make_open(path, mode);
        return mkdir(path, mode) < 0 || chmod(path, mode) < 0 ? -errno : 0;
}

int gw_dir_make(const char *path, mode_t mode) {
        int r;
        char copy[PATH_MAX];
        struct stat st;

        if (strlen(path) >= sizeof copy)
                return -ENAMETOOLONG;
        strcpy(copy, path);
        for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
                *slash = 0;
                r = make_one(copy, 0755);
                if (r < 0 && r != -EEXIST)
                        return r;
                *slash = '/';
        }
        r = make_one(copy, mode);
        if (r != -EEXIST)
                return r;
        if (stat(copy, &st) < 0)
                return -errno;
        return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int gw_dir_make_above(const char *path, mode_t mode) {
        char copy[PATH_MAX];

        if (strlen(path) >= sizeof copy)
                return -ENAMETOOLONG;
        strcpy(copy, path);
        return gw_dir_make(dirname(copy), mode);
}

int gw_file_remove(const char *path) {
        if (unlink(path) < 0)
                return errno == ENOENT ? 0 : -errno;
        return sync_parent(path);
}

int gw_file_write_json(const char *path, const json_t *value, mode_t mode) {
        char *text;
        int r;

        text = json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY);
        if (!text)
                return -ENOMEM;
        r = gw_file_write(path, text, strlen(text), mode);
        free(text);
        return r;
}

int gw_file_read_json(const char *path, size_t max, json_t **out, struct gw_error *error) {
        json_error_t fault;
        json_t *value;
        char *text = NULL;
        size_t size = 0;
        int r;

        r = gw_file_read(path, max, &text, &size);
        if (r == -EFBIG)
                return gw_fail(error, r, "", "%s has more than %zu octets", path, max);
        if (r < 0)
                return gw_fail(error, r, "", "cannot read %s: %s", path, strerror(-r));
        value = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &fault);
        free(text);
        if (!value)
                return gw_fail(error, GW_E_MALFORMED, "", "%s:%d:%d is not JSON: %s", path, fault.line, fault.column,
                               fault.text);
        *out = value;
        return 0;
}
