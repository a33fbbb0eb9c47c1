/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A load on the authority: a population of VMs in its store, and NVEs that talk
 * to it over real TLS sessions. What bench/directory.py and bench/fanout.py run.
 *
 * VM i is vm-<i>, with one port with one IPv4 address, in VN bench-<i % vns>, at
 * NVE n<(i / vns) % nves>, registered there with epoch 1.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/time.h"
#include "io/loop.h"
#include "io/session.h"

enum { LOAD_VNI_FIRST = 5000, LOAD_VNS_MAX = 250, LOAD_VN_PORTS_MAX = 65000, LOAD_LIFETIME_S = 3600 };

struct population {
        uint32_t vms, nves, vns;
};

struct gw_name population_vm(const struct population *p, uint32_t i);
struct gw_name population_nve(uint32_t n);
struct gw_ip population_locator(uint32_t n);
struct gw_ip population_ip(const struct population *p, uint32_t i);
struct gw_mac population_mac(uint32_t i);
uint32_t population_vni(const struct population *p, uint32_t i);
uint32_t population_place(const struct population *p, uint32_t i);
/* The k-th VM of NVE n, k below population_share. */
uint32_t population_of_nve(const struct population *p, uint32_t n, uint32_t k);
uint32_t population_share(const struct population *p);

/* --- seed.c: writes a population into the store of a state-dir that holds none --- */
int load_seed(const struct population *p, const char *state_dir);

/* --- histogram.c: latencies, to 3% --- */
struct histogram {
        uint64_t count, buckets[64 * 32];
};
void histogram_add(struct histogram *h, uint64_t ns);
double histogram_us(const struct histogram *h, double share);

/* --- fleet.c: NVEs with a session each --- */
struct fleet;
struct node {
        struct fleet *fleet;
        struct gw_session *session;
        struct gw_tls *tls;
        uint32_t index; /* of the NVE */
        bool ready;     /* welcomed, subscribed, and answered since */
        uint16_t sequence;
        void *user;
};
struct fleet_ops {
        void (*ready)(struct fleet *fleet); /* all are */
        void (*frame)(struct node *node, uint8_t type, uint32_t id, const uint8_t *body, size_t size);
};
struct fleet {
        struct gw_loop loop;
        struct population population;
        const struct fleet_ops *ops;
        struct gw_endpoint to;
        struct node *nodes;
        uint32_t n_nodes, n_dialled, n_ready;
        void *user;
};
/* Certificates are read from pki_dir (ca.pem, <name>.pem, <name>.key); one of a missing name is issued. */
int fleet_init(struct fleet *fleet, const struct population *p, uint32_t n_nodes, const struct gw_endpoint *to,
               const char *pki_dir, const struct fleet_ops *ops, void *user);
int fleet_run(struct fleet *fleet);
void fleet_deinit(struct fleet *fleet);
void fleet_fail(struct fleet *fleet, const char *why); /* says why and ends it with status 1 */

void node_query(struct node *node, uint32_t id, uint32_t vm);
void node_register(struct node *node, uint32_t id, uint32_t vm, uint32_t lifetime_s);
void node_ack(struct node *node, uint32_t id);
bool answer_is_serving(const uint8_t *body, size_t size); /* of a RESPONSE */
int answer_status(const uint8_t *body, size_t size);      /* of a REGISTERED; -1: not one */

/* --- pipeline.c, fanout.c: what is measured; each prints one JSON object --- */
struct pipeline_spec {
        bool registers; /* else looks up */
        uint32_t depth; /* requests under way in each session */
        uint32_t reach; /* look-ups: of VMs 0 .. reach */
        uint32_t seconds;
};
int load_pipeline(struct fleet *fleet, const struct pipeline_spec *spec);
extern const struct fleet_ops pipeline_ops;
int load_fanout(struct fleet *fleet, uint32_t rounds, uint32_t pid); /* pid: the authority's */
extern const struct fleet_ops fanout_ops;

/* --- usage.c: until now --- */
double load_cpu_s(void);               /* of this process */
double process_cpu_s(uint32_t pid);    /* all its threads */
uint64_t process_octets(uint32_t pid); /* memory of its own */
