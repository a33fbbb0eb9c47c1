/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM goes round three hosts (A -> B -> C -> A ...) while guests on all of them send to
 * it and to everybody: what it gets is counted, frame by frame. A move begins before
 * the redirect of the last one has ended; cut and activation fall anywhere between frames.
 *
 * Kinds of frames: broadcast (IPv4), multicast (IPv6), and to the VM alone in both
 * families. The VM itself sends right before its cut and right after its activation.
 * Each frame comes once: nothing is missing, nothing doubled, and no VM hears itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/time.h"
#include "io/netlink.h"
#include "streams.h"
#include "world.h"

#define ok(expression) assert_int_equal(expression, 0)

enum {
        ROUNDS = 9,
        FRAMES = 120, /* of each kind and sender in a round */
        OWN_FRAMES = 10,
        CUT_AFTER = FRAMES / 4,
        CUT_BEFORE = FRAMES / 2, /* what comes after it tells that what came before has passed */
        QUIET_MS = 100,
        VM = 1,
        TALKERS = 2, /* the first one's number */
        SENDERS = TALKERS + WORLD_HOSTS,
};
enum kind { TO_ALL_V4, TO_GROUP_V6, TO_VM_V4, TO_VM_V6, KINDS };
static const char *const kind_names[] = {"broadcast", "IPv6 multicast", "IPv4 unicast", "IPv6 unicast"};
static const char group6[] = "ff05::77";

struct payload {
        uint32_t number;
        uint8_t sender, kind;
};

struct party {
        struct guest *guest;
        int v4, v6;
        uint16_t got[SENDERS][KINDS][FRAMES * 2];
};

static struct world world;
static struct party copies[WORLD_HOSTS], talkers[WORLD_HOSTS];

/* ---- sockets ---- */

static void sized(int fd) {
        int octets = 8 << 20;

        ok(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &octets, sizeof octets));
}

static void open_v4(struct party *p) {
        struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(WORLD_PORT)};
        int one = 1;

        p->v4 = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_true(p->v4 >= 0);
        sized(p->v4);
        ok(setsockopt(p->v4, SOL_SOCKET, SO_BROADCAST, &one, sizeof one));
        ok(bind(p->v4, (struct sockaddr *)&any, sizeof any));
}

static void open_v6(struct party *p) {
        struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(WORLD_PORT)};
        struct ipv6_mreq join = {.ipv6mr_interface = if_nametoindex("eth0")};
        int one = 1, none = 0, index = (int)join.ipv6mr_interface;

        p->v6 = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_true(p->v6 >= 0);
        sized(p->v6);
        assert_int_equal(inet_pton(AF_INET6, group6, &join.ipv6mr_multiaddr), 1);
        ok(setsockopt(p->v6, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one));
        ok(setsockopt(p->v6, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &join, sizeof join));
        ok(setsockopt(p->v6, IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof index));
        ok(setsockopt(p->v6, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, &none, sizeof none));
        ok(bind(p->v6, (struct sockaddr *)&any, sizeof any));
}

static void party_open(struct party *p, struct guest *guest) {
        int back;

        *p = (struct party){.guest = guest};
        ok(gw_netns_enter_fd(guest->netns, &back));
        open_v4(p);
        open_v6(p);
        ok(gw_netns_leave(back));
}

/* Answers whether it was sent; asserts nothing, since threads send, too. */
static bool say(const struct party *p, uint8_t sender, enum kind kind, uint32_t number) {
        struct sockaddr_in to4 = {.sin_family = AF_INET, .sin_port = htons(WORLD_PORT)};
        struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_port = htons(WORLD_PORT)};
        struct payload payload = {.number = number, .sender = sender, .kind = kind};

        if (kind == TO_ALL_V4)
                inet_pton(AF_INET, "10.1.0.255", &to4.sin_addr);
        else if (kind == TO_VM_V4)
                to4.sin_addr.s_addr = gw_ip_v4(copies[0].guest->ip4);
        else if (kind == TO_GROUP_V6)
                inet_pton(AF_INET6, group6, &to6.sin6_addr);
        else
                memcpy(&to6.sin6_addr, copies[0].guest->ip6.b, 16);
        if (kind == TO_ALL_V4 || kind == TO_VM_V4)
                return sendto(p->v4, &payload, sizeof payload, 0, (void *)&to4, sizeof to4) == sizeof payload;
        return sendto(p->v6, &payload, sizeof payload, 0, (void *)&to6, sizeof to6) == sizeof payload;
}

static bool hear(struct party *p, int fd) {
        struct payload payload;
        ssize_t size = recv(fd, &payload, sizeof payload, 0);

        if (size != sizeof payload)
                return false;
        assert_true(payload.sender < SENDERS && payload.kind < KINDS && payload.number < FRAMES * 2);
        p->got[payload.sender][payload.kind][payload.number]++;
        return true;
}

static bool hear_all(struct party *p) {
        bool any = false;

        while (hear(p, p->v4))
                any = true;
        while (hear(p, p->v6))
                any = true;
        return any;
}

static void hear_everybody(void) {
        for (uint64_t quiet = gw_mono_now().ns; gw_mono_now().ns - quiet < gw_ms(QUIET_MS).ns; usleep(1000)) {
                bool any = false;

                for (int i = 0; i < WORLD_HOSTS; i++) {
                        any |= hear_all(&copies[i]);
                        any |= hear_all(&talkers[i]);
                }
                if (any)
                        quiet = gw_mono_now().ns;
        }
}

/* ---- the move ---- */

struct move {
        int from, to, third;
        volatile uint32_t sent;
        volatile bool cut;
        bool failed;
        const char *why;
};

static void own_frames(struct move *m, int at, uint32_t first) {
        for (uint32_t i = first; i < first + OWN_FRAMES; i++)
                m->failed |= !say(&copies[at], VM, TO_ALL_V4, i) || !say(&copies[at], VM, TO_GROUP_V6, i);
}

/* A broadcast that was sent later than number n has come. */
static bool arrived_later(struct party *p, uint32_t n) {
        uint64_t until = gw_mono_now().ns + gw_ms(SOON_MS).ns;

        while (gw_mono_now().ns < until) {
                hear_all(p);
                for (uint32_t i = n + 1; i < FRAMES; i++)
                        if (p->got[TALKERS][TO_ALL_V4][i])
                                return true;
                usleep(100);
        }
        return false;
}

static int set_forward(int host, uint8_t kind, uint32_t ifindex, int where) {
        struct gw_forward f = {.kind = kind, .ifindex = ifindex, .locator = world.hosts[where].locator, .epoch = 1};

        return gw_datapath_fdb_set(world.hosts[host].dp, WORLD_VNI, copies[0].guest->mac, &f);
}

/* Between cut and activation a real move transfers what is left of the VM: longer than any frame is under way. Here a
 * frame that was sent on says that those before it have come. */
static void *move_vm(void *user) {
        struct move *m = user;
        uint32_t from = copies[m->from].guest->ifindex, to = copies[m->to].guest->ifindex, sent;

        run_on(1);
        while (m->sent < CUT_AFTER)
                usleep(50);
        own_frames(m, m->from, 0);
        m->failed |= gw_datapath_cut(world.hosts[m->from].dp, from, world.hosts[m->to].locator, 2, false) != 0;
        sent = m->sent;
        m->cut = true;
        if (!arrived_later(&copies[m->to], sent + 1))
                m->why = "nothing was sent on";
        usleep((useconds_t)(gw_mono_now().ns % 3000));
        m->failed |= set_forward(m->to, GW_FORWARD_LOCAL, to, m->to) ||
                     gw_datapath_port_flags(world.hosts[m->to].dp, to, 0, GW_PORT_ARRIVING) ||
                     set_forward(m->third, GW_FORWARD_MOVED, 0, m->to);
        own_frames(m, m->to, OWN_FRAMES);
        return NULL;
}

static void expect_once(const struct party *p, const char *who, int round, int sender, int kind, uint32_t n) {
        for (uint32_t i = 0; i < n; i++)
                if (p->got[sender][kind][i] != 1)
                        fail_msg("round %d: %s got %s %u of sender %d %u times", round, who, kind_names[kind], i,
                                 sender, p->got[sender][kind][i]);
}

static void judge(int round) {
        static struct party vm;

        memset(vm.got, 0, sizeof vm.got);
        for (int i = 0; i < WORLD_HOSTS; i++)
                for (size_t j = 0; j < sizeof vm.got / sizeof(uint16_t); j++)
                        ((uint16_t *)vm.got)[j] = (uint16_t)(((uint16_t *)vm.got)[j] + ((uint16_t *)copies[i].got)[j]);
        for (int t = 0; t < WORLD_HOSTS; t++) {
                for (int kind = 0; kind < KINDS; kind++)
                        expect_once(&vm, "the VM", round, TALKERS + t, kind, FRAMES);
                for (int kind = TO_ALL_V4; kind <= TO_GROUP_V6; kind++) {
                        expect_once(&talkers[t], "a talker", round, VM, kind, 2 * OWN_FRAMES);
                        expect_once(&talkers[t], "a talker", round, TALKERS + (t + 1) % WORLD_HOSTS, kind, FRAMES);
                }
        }
        for (uint32_t i = 0; i < 2 * OWN_FRAMES; i++) { /* a kernel hears its own broadcasts */
                assert_int_equal(vm.got[VM][TO_ALL_V4][i], 1);
                assert_int_equal(vm.got[VM][TO_GROUP_V6][i], 0);
        }
}

static void one_round(int round) {
        struct move m = {.from = round % 3, .to = (round + 1) % 3, .third = (round + 2) % 3};
        struct guest *to = copies[m.to].guest;
        pthread_t mover;

        ok(gw_datapath_port_flags(world.hosts[m.to].dp, to->ifindex, GW_PORT_ARRIVING, GW_PORT_MOVED));
        ok(set_forward(m.to, GW_FORWARD_ARRIVING, to->ifindex, m.from));
        for (int i = 0; i < WORLD_HOSTS; i++) {
                memset(copies[i].got, 0, sizeof copies[i].got);
                memset(talkers[i].got, 0, sizeof talkers[i].got);
        }
        ok(pthread_create(&mover, NULL, move_vm, &m));
        for (uint32_t i = 0; i < FRAMES || pthread_tryjoin_np(mover, NULL) == EBUSY; i++) {
                if (i >= FRAMES) { /* all are sent, and the move goes on */
                        usleep(1000);
                        continue;
                }
                while (i == CUT_BEFORE && !m.cut)
                        usleep(100);
                for (int t = 0; t < WORLD_HOSTS; t++)
                        for (enum kind kind = 0; kind < KINDS; kind++)
                                assert_true(say(&talkers[t], (uint8_t)(TALKERS + t), kind, i));
                m.sent = i + 1;
                usleep(100);
        }
        if (m.why)
                fail_msg("round %d: %s", round, m.why);
        assert_false(m.failed);
        hear_everybody();
        judge(round);
}

static void each_frame_once_round_three_hosts(void **state) {
        (void)state;
        for (int round = 0; round < ROUNDS; round++)
                one_round(round);
}

/* ---- life ---- */

static void up(bool v6) {
        struct guest *vm;

        world_up(&world, v6);
        vm = guest_add(&world, &world.hosts[0], VM, false, false);
        party_open(&copies[0], vm);
        for (int i = 0; i < WORLD_HOSTS; i++)
                party_open(&talkers[i], guest_add(&world, &world.hosts[i], TALKERS + i, false, false));
        for (int i = 1; i < WORLD_HOSTS; i++) {
                party_open(&copies[i], guest_arrive(&world, vm, &world.hosts[i], 0));
                ok(gw_datapath_cut(world.hosts[i].dp, copies[i].guest->ifindex, world.hosts[0].locator, 1, false));
                ok(gw_datapath_port_flags(world.hosts[i].dp, copies[i].guest->ifindex, 0, GW_PORT_ARRIVING));
        }
}
static int up_v4(void **state) {
        (void)state;
        up(false);
        return 0;
}
static int up_v6(void **state) {
        (void)state;
        up(true);
        return 0;
}
static int down(void **state) {
        (void)state;
        if (getenv("WORLD_PRINT"))
                world_print(&world);
        for (int i = 0; i < WORLD_HOSTS; i++) {
                close(copies[i].v4), close(copies[i].v6);
                close(talkers[i].v4), close(talkers[i].v6);
        }
        world_down(&world);
        return 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(each_frame_once_round_three_hosts, up_v4, down),
                {"each_frame_once_round_three_hosts over IPv6", each_frame_once_round_three_hosts, up_v6, down, NULL},
        };
        const char *why_not;
        int r;

        if (!world_possible(&why_not)) {
                printf("1..0 # SKIP %s\n", why_not);
                return 0;
        }
        run_on(0);
        r = cmocka_run_group_tests(tests, NULL, NULL);
        world_down(&world);
        return r;
}
