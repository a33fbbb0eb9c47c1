/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gate between QEMU and its taps, loaded into QEMU with LD_PRELOAD: a QEMU
 * that has stopped its VM finds its taps empty.
 *
 * Why. QEMU (7.2 and its neighbours, net/tap.c) reads a tap whenever it is
 * readable, also after STOP. The first frame that it reads then cannot be given
 * to the guest any more, goes into a queue that no migration carries, and is
 * lost: one frame for each NIC in nearly every move under load. The frame is
 * gone before anybody outside could have known that the VM was about to stop.
 *
 * How. read(2) on a tap of ours answers EAGAIN unless the VM runs. QEMU asks its
 * own runstate_is_running(), which its executables export for their modules;
 * reads and run states change under one lock there, so there is no moment in
 * between. What stays in the tap is for the edge to drain and send after the VM.
 * At the target the frames likewise wait in the tap's long queue; QEMU's main
 * loop spins while they do, from the cut to the RESUME.
 *
 * Without that symbol (another emulator) everything is passed through.
 * GODWIT_TAP_FDS lists the descriptors: "5,6".
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TAP_FDS_MAX = 1024 };

static bool is_tap[TAP_FDS_MAX];
static bool (*is_running)(void);

__attribute__((constructor)) static void gate_init(void) {
        const char *list = getenv("GODWIT_TAP_FDS");
        char *end;

        is_running = (bool (*)(void))dlsym(RTLD_DEFAULT, "runstate_is_running");
        while (list && *list) {
                unsigned long fd = strtoul(list, &end, 10);

                if (end == list)
                        break;
                if (fd < TAP_FDS_MAX)
                        is_tap[fd] = true;
                list = *end == ',' ? end + 1 : end;
        }
        unsetenv("LD_PRELOAD");
        unsetenv("GODWIT_TAP_FDS");
}

__attribute__((visibility("default"))) ssize_t read(int fd, void *buffer, size_t size) {
        if (fd >= 0 && fd < TAP_FDS_MAX && is_tap[fd] && is_running && !is_running()) {
                errno = EAGAIN;
                return -1;
        }
        return syscall(SYS_read, fd, buffer, size);
}
