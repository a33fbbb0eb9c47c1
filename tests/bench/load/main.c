/* SPDX-License-Identifier: Apache-2.0 */
/*
 * godwit-load pki DIR
 * godwit-load VMS NVES VNS seed STATE_DIR
 * godwit-load VMS NVES VNS lookup|register ENDPOINT PKI SESSIONS DEPTH SECONDS REACH
 * godwit-load VMS NVES VNS fanout ENDPOINT PKI ROUNDS PID
 *
 * For the benches, which know what they want: a wrong argument ends it with a line of use.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/error.h"
#include "base/log.h"
#include "io/pki.h"
#include "load.h"

static uint32_t number(const char *text) {
        return (uint32_t)strtoul(text, NULL, 10);
}

static int usage(void) {
        fprintf(stderr, "usage: godwit-load pki DIR\n"
                        "       godwit-load VMS NVES VNS seed STATE_DIR\n"
                        "       godwit-load VMS NVES VNS lookup|register ENDPOINT PKI SESSIONS DEPTH SECONDS REACH\n"
                        "       godwit-load VMS NVES VNS fanout ENDPOINT PKI ROUNDS PID\n");
        return 2;
}

/* A throwaway authority, and the certificate of the NVA; those of the NVEs are issued when they are needed. */
static int make_pki(const char *folder) {
        struct gw_pki_request request = {.name = "nva", .days = 7, .server = true};
        char ca[4096], ca_key[4096], cert[4096], key[4096];
        struct gw_error error = {0};
        int r;

        snprintf(ca, sizeof ca, "%s/ca.pem", folder);
        snprintf(ca_key, sizeof ca_key, "%s/ca.key", folder);
        snprintf(cert, sizeof cert, "%s/nva.pem", folder);
        snprintf(key, sizeof key, "%s/nva.key", folder);
        r = gw_pki_make_ca(ca, ca_key, "bench", 7, &error);
        if (!r)
                r = gw_pki_issue(ca, ca_key, cert, key, &request, &error);
        if (r)
                fprintf(stderr, "%s\n", error.text);
        return r ? 1 : 0;
}

static bool population_ok(const struct population *p) {
        return p->vms && p->nves && p->vns && p->vns <= LOAD_VNS_MAX && p->vms / p->vns < LOAD_VN_PORTS_MAX &&
               population_share(p);
}

static void more_descriptors(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
                limit.rlim_cur = limit.rlim_max;
                setrlimit(RLIMIT_NOFILE, &limit);
        }
}

static int run_pipeline(char **argv, const struct population *p, const struct gw_endpoint *to) {
        struct pipeline_spec spec = {.registers = !strcmp(argv[4], "register"),
                                     .depth = number(argv[8]),
                                     .seconds = number(argv[9]),
                                     .reach = number(argv[10])};
        uint32_t sessions = number(argv[7]);
        struct fleet fleet = {0};
        int r = 1;

        if (!spec.depth || !spec.seconds || !spec.reach || !sessions || sessions > p->nves)
                return usage();
        if (fleet_init(&fleet, p, sessions, to, argv[6], &pipeline_ops, NULL) == 0)
                r = load_pipeline(&fleet, &spec);
        fleet_deinit(&fleet);
        return r;
}

static int run_fanout(char **argv, const struct population *p, const struct gw_endpoint *to) {
        struct fleet fleet = {0};
        uint32_t rounds = number(argv[7]);
        int r = 1;

        if (!rounds || p->nves < 2)
                return usage();
        if (fleet_init(&fleet, p, p->nves, to, argv[6], &fanout_ops, NULL) == 0)
                r = load_fanout(&fleet, rounds, number(argv[8]));
        fleet_deinit(&fleet);
        return r;
}

int main(int argc, char **argv) {
        struct population p;
        struct gw_endpoint to;

        gw_log_init("godwit-load", GW_WARNING);
        if (argc == 3 && !strcmp(argv[1], "pki"))
                return make_pki(argv[2]);
        if (argc < 6)
                return usage();
        p = (struct population){number(argv[1]), number(argv[2]), number(argv[3])};
        if (!population_ok(&p))
                return usage();
        if (!strcmp(argv[4], "seed"))
                return argc == 6 ? load_seed(&p, argv[5]) : usage();
        more_descriptors();
        if (gw_endpoint_parse(argv[5], &to))
                return usage();
        if (argc == 11 && (!strcmp(argv[4], "lookup") || !strcmp(argv[4], "register")))
                return run_pipeline(argv, &p, &to);
        return argc == 9 && !strcmp(argv[4], "fanout") ? run_fanout(argv, &p, &to) : usage();
}
