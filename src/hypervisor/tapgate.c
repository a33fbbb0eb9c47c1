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
 * At the target the frames likewise wait in the tap's long queue.
 *
 * QEMU's main loop would spin on a tap that is readable and never read, and hardly
 * leave its lock to the thread that migrates: on a busy host for minutes. So while
 * the VM stands still ppoll(2) does not look at taps either. It returns after a
 * millisecond at most then, because another thread may start the VM meanwhile.
 *
 * Without that symbol (another emulator) everything is passed through.
 * GODWIT_TAP_FDS lists the descriptors: "5,6".
 *
 * Two more things that only QEMU's own process can do, where it runs as a user without privileges (decision 94):
 *
 * - it is made undumpable, so that no other process of that user, another VM's QEMU above all, may look into its memory or
 *   at its descriptors (ptrace(2), /proc/PID/mem, /proc/PID/fd);
 * - post-copy's target asks the kernel for userfaultfd(2), which such a user does not get. The same is to be had, by whoever
 *   could open it, from /dev/userfaultfd, for the memory of the process that asks: GODWIT_USERFAULT_FD is that device. QEMU 7.2
 *   makes the call through syscall(3).
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TAP_FDS_MAX = 1024, STANDING_NS = 1000000 };

static bool is_tap[TAP_FDS_MAX];
static bool (*is_running)(void);
static int userfault = -1;

__attribute__((constructor)) static void gate_init(void) {
        const char *list = getenv("GODWIT_TAP_FDS"), *device = getenv("GODWIT_USERFAULT_FD");
        char *end;

        if (geteuid() != 0)
                prctl(PR_SET_DUMPABLE, 0);
        if (device)
                userfault = atoi(device);

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
        unsetenv("GODWIT_USERFAULT_FD");
}

/* All that a system call can take is passed on, as the C library's own function does. */
__attribute__((visibility("default"))) long syscall(long number, ...) {
        static long (*next)(long number, ...);
        long args[6];
        va_list list;

        va_start(list, number);
        for (int i = 0; i < 6; i++)
                args[i] = va_arg(list, long);
        va_end(list);
        if (number == SYS_userfaultfd && userfault >= 0)
                return ioctl(userfault, USERFAULTFD_IOC_NEW, args[0]);
        if (!next)
                next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
        return next(number, args[0], args[1], args[2], args[3], args[4], args[5]);
}

static bool is_shut(int fd) {
        return fd >= 0 && fd < TAP_FDS_MAX && is_tap[fd] && is_running && !is_running();
}

__attribute__((visibility("default"))) ssize_t read(int fd, void *buffer, size_t size) {
        if (is_shut(fd)) {
                errno = EAGAIN;
                return -1;
        }
        return syscall(SYS_read, fd, buffer, size);
}

static long wait_for(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask) {
        struct timespec left = timeout ? *timeout : (struct timespec){0}; /* the system call writes to it */

        return syscall(SYS_ppoll, fds, n, timeout ? &left : NULL, mask, _NSIG / 8);
}

/* Descriptors below zero are passed over; ~ turns them back. */
__attribute__((visibility("default"))) int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
                                                 const sigset_t *mask) {
        static const struct timespec standing = {.tv_nsec = STANDING_NS};
        bool is_long = !timeout || timeout->tv_sec || timeout->tv_nsec > STANDING_NS;
        nfds_t shut = 0;
        int result;

        for (nfds_t i = 0; i < n; i++)
                if (is_shut(fds[i].fd)) {
                        fds[i].fd = ~fds[i].fd;
                        shut++;
                }
        result = (int)wait_for(fds, n, shut && is_long ? &standing : timeout, mask);
        for (nfds_t i = 0; shut && i < n; i++)
                if (fds[i].fd < 0 && ~fds[i].fd < TAP_FDS_MAX && is_tap[~fds[i].fd]) {
                        fds[i].fd = ~fds[i].fd;
                        fds[i].revents = 0;
                }
        return result;
}
