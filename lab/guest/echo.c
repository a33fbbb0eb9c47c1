/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service of the laboratory's guests: echo over UDP and TCP (RFC 862, port
 * 7), IPv4 and IPv6 on one dual-stack socket each, and a heartbeat line per
 * second on standard output (the serial console), which shows in the log whether
 * and when a guest ran.
 *
 * Uses nothing but the C library, because it is linked into the real guest's
 * static program too. System calls are what an emulated CPU is slow at, so there
 * are as few of them as can be: one process for UDP and one for each connection,
 * each in plain blocking calls, two for a datagram or record and none to ask
 * whether there is one. The counters are in memory that all of them share.
 * Every process ends with its parent.
 */
#include "echo.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
        ECHO_PORT = 7,
        BUFFER_OCTETS = 65536,
        BATCH = 16, /* datagrams that one call takes */
        CONNECTIONS_MAX = 256,
        RECEIVE_BUFFER_OCTETS = 16 << 20, /* some 14,000 datagrams: what came in many seconds in which nobody ran */
};

struct counters {
        unsigned long udp, tcp_octets, connections;
};

static int listen_on(int type) {
        struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_port = htons(ECHO_PORT)};
        int fd = socket(AF_INET6, type | SOCK_CLOEXEC, 0);
        int off = 0, on = 1, octets = RECEIVE_BUFFER_OCTETS;

        if (fd < 0)
                return -1;
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &octets, sizeof octets);
        /* The answer must leave from the address that was asked. */
        setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
        if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || (type == SOCK_STREAM && listen(fd, 64) < 0)) {
                close(fd);
                return -1;
        }
        return fd;
}

/* Forks; the child ends with us. As fork. */
static pid_t branch(void) {
        pid_t parent = getpid(), pid = fork();

        if (pid != 0)
                return pid;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(1);
        return 0;
}

struct batch {
        struct mmsghdr messages[BATCH];
        struct iovec parts[BATCH];
        struct sockaddr_in6 peers[BATCH];
        char controls[BATCH][CMSG_SPACE(sizeof(struct in6_pktinfo))];
        char buffers[BATCH][BUFFER_OCTETS];
};

static void batch_prepare(struct batch *batch) {
        for (int i = 0; i < BATCH; i++) {
                batch->parts[i] = (struct iovec){batch->buffers[i], BUFFER_OCTETS};
                batch->messages[i].msg_hdr = (struct msghdr){
                        .msg_name = &batch->peers[i],
                        .msg_namelen = sizeof batch->peers[i],
                        .msg_iov = &batch->parts[i],
                        .msg_iovlen = 1,
                        .msg_control = batch->controls[i],
                        .msg_controllen = sizeof batch->controls[i],
                };
        }
}

/* What was received goes back as it is; the control data holds the local address, which becomes the sender's. */
static void batch_turn(struct batch *batch, int n) {
        for (int i = 0; i < n; i++) {
                struct msghdr *message = &batch->messages[i].msg_hdr;
                struct cmsghdr *cmsg = CMSG_FIRSTHDR(message);

                if (cmsg && cmsg->cmsg_type == IPV6_PKTINFO && IN6_IS_ADDR_V4MAPPED(&batch->peers[i].sin6_addr))
                        ((struct in6_pktinfo *)CMSG_DATA(cmsg))->ipi6_ifindex = 0;
                batch->parts[i].iov_len = batch->messages[i].msg_len;
                message->msg_flags = 0;
        }
}

static void serve_udp(int fd, struct counters *counters) {
        struct batch *batch = calloc(1, sizeof *batch);

        while (batch) {
                int n, sent = 0;

                batch_prepare(batch);
                n = recvmmsg(fd, batch->messages, BATCH, MSG_WAITFORONE, NULL);
                batch_turn(batch, n);
                while (sent < n) {
                        int some = sendmmsg(fd, batch->messages + sent, (unsigned)(n - sent), 0);

                        counters->udp += some > 0 ? (unsigned long)some : 0;
                        sent += some > 0 ? some : 1; /* one that cannot be sent is left out */
                }
        }
}

static void serve_connection(int fd, struct counters *counters) {
        static char buffer[BUFFER_OCTETS];
        ssize_t n;

        while ((n = read(fd, buffer, sizeof buffer)) > 0)
                for (ssize_t at = 0, some; at < n; at += some) {
                        some = send(fd, buffer + at, (size_t)(n - at), MSG_NOSIGNAL);
                        if (some <= 0)
                                return;
                        __atomic_add_fetch(&counters->tcp_octets, (unsigned long)some, __ATOMIC_RELAXED);
                }
}

static void serve_tcp(int fd, struct counters *counters) {
        for (;;) {
                int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC), on = 1;

                while (waitpid(-1, NULL, WNOHANG) > 0)
                        counters->connections--;
                if (peer < 0)
                        continue;
                setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                if (counters->connections < CONNECTIONS_MAX) {
                        pid_t pid = branch();

                        if (pid == 0) {
                                serve_connection(peer, counters);
                                _exit(0);
                        }
                        counters->connections += pid > 0;
                }
                close(peer);
        }
}

/* Datagrams that came and found the socket full: lost in the guest, not on the way to it. */
static unsigned dropped(int fd) {
        unsigned memory[SK_MEMINFO_VARS] = {0};
        socklen_t size = sizeof memory;

        return getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &size) == 0 ? memory[SK_MEMINFO_DROPS] : 0;
}

static void beat(const struct counters *counters, int udp) {
        struct timespec now;

        clock_gettime(CLOCK_BOOTTIME, &now);
        printf("guest: up=%ld.%03ld udp=%lu udp_dropped=%u tcp_octets=%lu connections=%lu\n", (long)now.tv_sec,
               now.tv_nsec / 1000000, counters->udp, dropped(udp), counters->tcp_octets, counters->connections);
        fflush(stdout);
}

/* Has a child serve the socket. */
static bool start(int fd, void (*serve)(int fd, struct counters *counters), struct counters *counters) {
        pid_t pid = branch();

        if (pid == 0) {
                serve(fd, counters);
                _exit(1);
        }
        return pid > 0;
}

int guest_echo_run(bool with_beat) {
        struct counters *counters =
                mmap(NULL, sizeof *counters, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        int udp = listen_on(SOCK_DGRAM), tcp = listen_on(SOCK_STREAM);

        /* Both listen before either is served: who is answered by one may use the other. */
        if (counters == MAP_FAILED || udp < 0 || tcp < 0 || !start(udp, serve_udp, counters) ||
            !start(tcp, serve_tcp, counters)) {
                fprintf(stderr, "guest-echo: %s\n", strerror(errno));
                return 1;
        }
        if (!with_beat)
                for (;;)
                        pause();
        printf("guest: ready\n");
        fflush(stdout);
        for (;;) {
                sleep(1);
                beat(counters, udp);
        }
}
