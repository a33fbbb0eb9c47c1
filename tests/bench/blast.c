/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blast: sends small UDP datagrams as fast as the machine lets it, over many
 * flows, from one thread per CPU; the receiver's device counts what arrives. It
 * measures the path below it, not itself: sendmmsg, connected sockets, no checks.
 *
 *      blast ADDRESS SECONDS FLOWS PAYLOAD_OCTETS     prints the datagrams handed to the kernel
 *      blast --sink ADDRESS                           binds the ports and reads nothing, until killed
 *
 * A datagram of 18 octets is an Ethernet frame of 64 with its checksum.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_PORT = 9000, BATCH = 64, FLOWS_MAX = 1024, PAYLOAD_MAX = 1400, THREADS_MAX = 64, SINK_PORTS = 64 };

struct blaster {
        pthread_t thread;
        const char *address;
        int cpu, flows, payload;
        struct timespec until;
        unsigned long long sent;
};

static int address_parse(const char *text, int port, struct sockaddr_storage *out, socklen_t *size) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)out;
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

        memset(out, 0, sizeof *out);
        if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
                v4->sin_family = AF_INET;
                v4->sin_port = htons((uint16_t)port);
                *size = sizeof *v4;
                return 0;
        }
        if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1)
                return -1;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        *size = sizeof *v6;
        return 0;
}

/* One connected socket a flow: the flows differ in source port. */
static int flow_open(const char *address, int index) {
        struct sockaddr_storage to;
        socklen_t size;
        int fd, buffer_octets = 4 << 20;

        if (address_parse(address, FIRST_PORT + index % SINK_PORTS, &to, &size) < 0)
                return -1;
        fd = socket(to.ss_family, SOCK_DGRAM, 0);
        if (fd < 0)
                return -1;
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer_octets, sizeof buffer_octets);
        if (connect(fd, (struct sockaddr *)&to, size) < 0) {
                close(fd);
                return -1;
        }
        return fd;
}

static int time_reached(const struct timespec *until) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec > until->tv_sec || (now.tv_sec == until->tv_sec && now.tv_nsec >= until->tv_nsec);
}

static void *blaster_run(void *arg) {
        struct blaster *b = arg;
        char payload[PAYLOAD_MAX] = {0};
        struct iovec part = {.iov_base = payload, .iov_len = (size_t)b->payload};
        struct mmsghdr batch[BATCH] = {0};
        int fds[FLOWS_MAX];
        cpu_set_t cpus;

        CPU_ZERO(&cpus);
        CPU_SET(b->cpu, &cpus);
        pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus);
        for (int i = 0; i < BATCH; i++)
                batch[i].msg_hdr = (struct msghdr){.msg_iov = &part, .msg_iovlen = 1};
        for (int i = 0; i < b->flows; i++)
                fds[i] = flow_open(b->address, i);
        for (int i = 0; !time_reached(&b->until); i = (i + 1) % b->flows) {
                int n = sendmmsg(fds[i], batch, BATCH, MSG_DONTWAIT);

                b->sent += n > 0 ? (unsigned)n : 0;
        }
        for (int i = 0; i < b->flows; i++)
                close(fds[i]);
        return NULL;
}

static int sink(const char *address) {
        struct sockaddr_storage at;
        socklen_t size;

        for (int i = 0; i < SINK_PORTS; i++) {
                int fd, buffer_octets = 1;

                if (address_parse(address, FIRST_PORT + i, &at, &size) < 0)
                        return 2;
                fd = socket(at.ss_family, SOCK_DGRAM, 0);
                setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer_octets, sizeof buffer_octets);
                if (fd < 0 || bind(fd, (struct sockaddr *)&at, size) < 0) {
                        perror("bind");
                        return 1;
                }
        }
        pause();
        return 0;
}

static int in_range(int value, int max) {
        return value > 0 && value <= max;
}

int main(int argc, char **argv) {
        static struct blaster blasters[THREADS_MAX];
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);
        unsigned long long sent = 0;
        struct timespec until;

        if (argc == 3 && !strcmp(argv[1], "--sink"))
                return sink(argv[2]);
        if (argc != 5 || !in_range(atoi(argv[2]), 3600) || !in_range(atoi(argv[3]), FLOWS_MAX) ||
            !in_range(atoi(argv[4]), PAYLOAD_MAX)) {
                fprintf(stderr, "usage: blast ADDRESS SECONDS FLOWS PAYLOAD_OCTETS | blast --sink ADDRESS\n");
                return 2;
        }
        cpus = cpus > THREADS_MAX ? THREADS_MAX : cpus;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += atoi(argv[2]);
        for (int i = 0; i < cpus; i++) {
                blasters[i] = (struct blaster){
                        .address = argv[1], .cpu = i, .flows = atoi(argv[3]), .payload = atoi(argv[4]), .until = until};
                pthread_create(&blasters[i].thread, NULL, blaster_run, &blasters[i]);
        }
        for (int i = 0; i < cpus; i++) {
                pthread_join(blasters[i].thread, NULL);
                sent += blasters[i].sent;
        }
        printf("%llu\n", sent);
        return 0;
}
