/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One process per synthetic guest, started by the laboratory and ended with a
 * signal. Its namespace is its own and nameless, unless one is given, and goes
 * with it; so do the taps and the child that serves echo.
 *
 * The taps' queues are long: frames that the guest's stack sends while no
 * emulator runs must wait there, as they would inside a stopped machine.
 */
#include "synth/keeper.h"

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/addr.h"
#include "guest/echo.h"
#include "io/netlink.h"
#include "synth/ahead.h"
#include "synth/args.h"

enum { QUEUE_FRAMES = 16384, IPS_MAX = 8, GATEWAYS_MAX = 2 };

const char synth_keeper_usage[] =
        "godwit-synth --keeper NAME --socket PATH [--netns NAME] [--gateway IP]...\n"
        "             --port mac=MAC,ip=IP/LEN[,ip=IP/LEN...][,mtu=N] [--port ...]\n"
        "  keeps the network stack of the synthetic guest NAME and hands its taps out at PATH;\n"
        "  prints \"ready\" when it does. Without --netns the namespace is a nameless one.\n";

struct address {
        struct gw_ip ip;
        uint8_t bits;
};

struct port {
        struct gw_mac mac;
        unsigned mtu;
        struct address ips[IPS_MAX];
        size_t n_ips;
        int fd;
};

struct keeper {
        const char *name, *path, *netns;
        struct port ports[SYNTH_PORTS_MAX];
        size_t n_ports;
        struct gw_ip gateways[GATEWAYS_MAX];
        size_t n_gateways;
};

static bool complain(const char *what, const char *value) {
        fprintf(stderr, "godwit-synth: %s: %s\n%s", what, value, synth_keeper_usage);
        return false;
}

/* IP/LEN, host bits allowed: an interface's address. */
static bool parse_address(char *text, struct address *out) {
        char *slash = strchr(text, '/'), *end;
        unsigned long bits;

        if (!slash)
                return false;
        *slash = '\0';
        bits = strtoul(slash + 1, &end, 10);
        if (*end || end == slash + 1 || gw_ip_parse(text, &out->ip))
                return false;
        out->bits = (uint8_t)bits;
        return bits <= (gw_ip_is_v4(out->ip) ? 32 : 128);
}

static bool parse_port(struct keeper *k, char *text) {
        struct port *port = &k->ports[k->n_ports];
        char *save = NULL;

        if (k->n_ports == SYNTH_PORTS_MAX)
                return complain("too many ports", text);
        for (char *part = strtok_r(text, ",", &save); part; part = strtok_r(NULL, ",", &save)) {
                if (strncmp(part, "mac=", 4) == 0) {
                        if (gw_mac_parse(part + 4, &port->mac))
                                return complain("not a MAC address", part);
                } else if (strncmp(part, "mtu=", 4) == 0) {
                        port->mtu = (unsigned)strtoul(part + 4, NULL, 10);
                } else if (strncmp(part, "ip=", 3) == 0 && port->n_ips < IPS_MAX) {
                        if (!parse_address(part + 3, &port->ips[port->n_ips++]))
                                return complain("not an address with its length, like 10.1.0.10/24", part);
                } else {
                        return complain("--port does not know", part);
                }
        }
        k->n_ports++;
        return true;
}

static bool parse(struct keeper *k, int argc, char **argv) {
        static const struct option options[] = {
                {"keeper", required_argument, NULL, 'k'}, {"socket", required_argument, NULL, 's'},
                {"netns", required_argument, NULL, 'n'},  {"gateway", required_argument, NULL, 'g'},
                {"port", required_argument, NULL, 'p'},   {0},
        };

        for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
                if (c == 'k')
                        k->name = optarg;
                else if (c == 's')
                        k->path = optarg;
                else if (c == 'n')
                        k->netns = optarg;
                else if (c == 'p' && !parse_port(k, optarg))
                        return false;
                else if (c == 'g' &&
                         (k->n_gateways == GATEWAYS_MAX || gw_ip_parse(optarg, &k->gateways[k->n_gateways++])))
                        return complain("--gateway is not an address", optarg);
                else if (c == '?')
                        return complain("see", "usage");
        }
        if (!k->path || !k->name || !k->n_ports)
                return complain("needed", "--keeper, --socket and --port");
        if (strlen(k->path) >= sizeof((struct sockaddr_un *)0)->sun_path)
                return complain("--socket is too long", k->path);
        return true;
}

static int enter(const struct keeper *k) {
        if (k->netns)
                return gw_netns_enter(k->netns, NULL);
        if (unshare(CLONE_NEWNET) < 0)
                return -errno;
        return gw_link_up("lo");
}

static int open_port(struct port *port, size_t index) {
        char name[32];
        int r;

        snprintf(name, sizeof name, "eth%zu", index);
        port->fd = gw_tap_open(name, true, false);
        if (port->fd < 0)
                return port->fd;
        r = gw_link_set_queue(name, QUEUE_FRAMES);
        if (r == 0)
                r = gw_link_set_mac(name, port->mac);
        if (r == 0 && port->mtu)
                r = gw_link_set_mtu(name, port->mtu);
        if (r == 0)
                r = gw_link_up(name);
        for (size_t i = 0; r == 0 && i < port->n_ips; i++)
                r = gw_addr_add(name, port->ips[i].ip, port->ips[i].bits);
        return r;
}

static int set_up(struct keeper *k) {
        int r = enter(k);

        if (r < 0)
                return r;
        /* The address is the guest's for sure; detecting duplicates would cost a second. */
        gw_sysctl_write("net/ipv6/conf/default/accept_dad", "0");
        gw_sysctl_write("net/ipv6/conf/all/accept_dad", "0");
        for (size_t i = 0; r == 0 && i < k->n_ports; i++)
                r = open_port(&k->ports[i], i);
        for (size_t i = 0; r == 0 && i < k->n_gateways; i++)
                r = gw_route_add(NULL, &k->gateways[i], "eth0");
        return r;
}

static int start_echo(void) {
        pid_t pid = fork();

        if (pid != 0)
                return pid < 0 ? -errno : 0;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(guest_echo_run(false));
}

static int listen_at(const char *path) {
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        strcpy(at.sun_path, path);
        unlink(path);
        if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 8) < 0 || chmod(path, 0666) < 0)
                return -errno;
        return fd;
}

static void hand_out(const struct keeper *k, int peer) {
        char control[CMSG_SPACE(sizeof(int) * SYNTH_PORTS_MAX)] = {0};
        uint8_t n = (uint8_t)k->n_ports;
        struct iovec iov = {&n, 1};
        struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control};
        struct cmsghdr *cmsg;

        message.msg_controllen = CMSG_SPACE(sizeof(int) * k->n_ports);
        cmsg = CMSG_FIRSTHDR(&message);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * k->n_ports);
        for (size_t i = 0; i < k->n_ports; i++)
                memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &k->ports[i].fd, sizeof(int));
        if (sendmsg(peer, &message, MSG_NOSIGNAL) < 0)
                fprintf(stderr, "godwit-synth: %s: cannot hand out the taps: %s\n", k->name, strerror(errno));
}

static void lift(int peer) {
        struct ucred asker = {0};
        socklen_t size = sizeof asker;

        if (getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &asker, &size) == 0 && asker.pid > 0)
                synth_run_ahead(asker.pid);
}

int synth_keeper_run(int argc, char **argv) {
        struct keeper k = {0};
        int r, listener;

        if (!parse(&k, argc, argv))
                return 2;
        r = set_up(&k);
        if (r == 0)
                r = start_echo();
        listener = r < 0 ? r : listen_at(k.path);
        if (listener < 0) {
                fprintf(stderr, "godwit-synth: cannot keep %s: %s\n", k.name, strerror(-listener));
                return 1;
        }
        printf("ready\n");
        fflush(stdout);
        for (;;) {
                int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

                if (peer < 0)
                        continue;
                lift(peer);
                hand_out(&k, peer);
                close(peer);
        }
}

static size_t take_fds(struct msghdr *message, int *fds, size_t max) {
        size_t n = 0;

        for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(message); cmsg; cmsg = CMSG_NXTHDR(message, cmsg)) {
                if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
                        continue;
                for (size_t i = 0; i < (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
                        int fd;

                        memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof fd, sizeof fd);
                        if (n < max)
                                fds[n++] = fd;
                        else
                                close(fd);
                }
        }
        return n;
}

int synth_keeper_ask(const char *path, int *fds, size_t max) {
        char control[CMSG_SPACE(sizeof(int) * SYNTH_PORTS_MAX)];
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        uint8_t n;
        struct iovec iov = {&n, 1};
        struct msghdr message = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

        if (fd < 0)
                return -errno;
        strncpy(at.sun_path, path, sizeof at.sun_path - 1);
        if (connect(fd, (struct sockaddr *)&at, sizeof at) < 0 || recvmsg(fd, &message, MSG_CMSG_CLOEXEC) < 0)
                r = -errno;
        else
                r = (int)take_fds(&message, fds, max);
        close(fd);
        return r;
}
