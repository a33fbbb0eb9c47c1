/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's command line from a definition. Pure: the same start gives the same
 * arguments, on both ends of a move, which is what makes the two devices alike.
 */
#pragma once

#include <stddef.h>

struct gw_vm_start;

struct gw_argv {
        char **v; /* ends with NULL */
        size_t n, size;
        int failed; /* sticky: -ENOMEM, -ENAMETOOLONG */
};

enum { GW_QMP_PATH_MAX = 107 }; /* a unix socket's path */

/* Files of a VM inside its directory. */
#define GW_QEMU_QMP_FILE "qmp"
#define GW_QEMU_CONSOLE_FILE "console.log"
#define GW_QEMU_LOG_FILE "emulator.log"

#define GW_QEMU_USERFAULT "/dev/userfaultfd"

/* Descriptors that the emulator is given besides its taps. */
struct gw_argv_fds {
        int qmp;       /* its control socket, listening */
        int console;   /* what the guest says goes there */
        int userfault; /* /dev/userfaultfd; < 0: none */
};

/* 0 or argv->failed. The caller must gw_argv_deinit in either case. */
int gw_argv_build(struct gw_argv *argv, const struct gw_vm_start *start, const struct gw_argv_fds *fds);
/* A file that we have opened, for the emulator to write to as /dev/fdset/SET; `path` is what it is called by those who look
 * for its process. */
void gw_argv_add_file(struct gw_argv *argv, int fd, int set, const char *path);
void gw_argv_add(struct gw_argv *argv, const char *format, ...) __attribute__((format(printf, 2, 3)));
void gw_argv_deinit(struct gw_argv *argv);
