/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVEs that are only sessions: each says HELLO with a certificate of its own and
 * subscribes to the VNs of the population; it is ready when a question that it
 * asked behind that is answered, for then the first part of what it is told has come.
 * What comes later is the measurement's.
 *
 * Hosts of a data centre connect all at once, each with a processor of its own. Here
 * one serves all of them, and so a next one connects when one before it is ready.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "io/pki.h"
#include "io/tls.h"
#include "load.h"
#include "wire/frame.h"
#include "wire/registration.h"

enum { AT_ONCE = 64, QUESTION_READY = 0x7fffffff };
enum { FRAME_OCTETS = 2048, SERVING_AT = 6 + 8 + 4 + 4 + 16 + 6, STATUS_AT = 6 + 16 + 6 + 6 };

void fleet_fail(struct fleet *fleet, const char *why) {
        fprintf(stderr, "%s\n", why);
        gw_loop_quit(&fleet->loop, EXIT_FAILURE);
}

static void send_frame(struct node *node, uint8_t type, uint32_t id, const uint8_t *frame, size_t size) {
        if (!size ||
            gw_session_send(node->session, type, id, frame + GW_FRAME_HEADER_SIZE, size - GW_FRAME_HEADER_SIZE) < 0)
                fleet_fail(node->fleet, "a frame could not be sent");
}

void node_query(struct node *node, uint32_t id, uint32_t vm) {
        const struct population *p = &node->fleet->population;
        struct gw_query query = {.vni = population_vni(p, vm), .ip = population_ip(p, vm)};
        uint8_t frame[FRAME_OCTETS];
        struct gw_writer w = gw_writer(frame, sizeof frame);

        send_frame(node, GW_FRAME_QUERY, id, frame, gw_query_encode(&w, id, &query));
}

void node_ack(struct node *node, uint32_t id) {
        uint8_t frame[FRAME_OCTETS];
        struct gw_writer w = gw_writer(frame, sizeof frame);

        send_frame(node, GW_FRAME_UPDATE_ACK, id, frame, gw_empty_encode(&w, GW_FRAME_UPDATE_ACK, id));
}

void node_register(struct node *node, uint32_t id, uint32_t vm, uint32_t lifetime_s) {
        const struct population *p = &node->fleet->population;
        uint8_t message[GW_MH_SIZE_MAX], frame[FRAME_OCTETS];
        struct gw_writer m = gw_writer(message, sizeof message), w = gw_writer(frame, sizeof frame);
        struct gw_register reg = {.locator = population_locator(node->index), .message = message};
        struct gw_registration request;

        memset(&request, 0, offsetof(struct gw_registration, macs));
        request.kind = GW_REG_REQUEST;
        request.status = 0;
        request.flags = GW_MH_REQUEST_USUAL;
        request.sequence = ++node->sequence;
        request.lifetime_units = gw_registration_lifetime(lifetime_s);
        request.has = GW_REG_HAS_VM | GW_REG_HAS_HANDOFF | GW_REG_HAS_ACCESS | GW_REG_HAS_TIMESTAMP | GW_REG_HAS_EPOCH;
        request.vm = population_vm(p, vm);
        request.n_macs = request.n_addrs4 = 1;
        request.macs[0] = population_mac(vm);
        request.addrs4[0] = (struct gw_reg_addr4){.ip = population_ip(p, vm), .bits = 32};
        request.handoff = GW_MH_HANDOFF_UNCHANGED;
        request.access = GW_MH_ACCESS_VIRTUAL;
        request.timestamp = gw_registration_stamp(gw_wall_now());
        request.epoch = 1;
        if (gw_registration_encode(&m, reg.locator, (struct gw_ip){{0}}, &request)) {
                fleet_fail(node->fleet, "a registration could not be encoded");
                return;
        }
        reg.message_size = m.at;
        send_frame(node, GW_FRAME_REGISTER, id, frame, gw_register_encode(&w, GW_FRAME_REGISTER, id, &reg));
}

/* The first TLV is the mapping; a whole decoder here would be measured too. */
bool answer_is_serving(const uint8_t *body, size_t size) {
        return size > SERVING_AT && body[SERVING_AT] == GW_MAPPING_SERVING;
}

int answer_status(const uint8_t *body, size_t size) {
        return size > STATUS_AT ? body[STATUS_AT] : -1;
}

static void subscribe(struct node *node) {
        const struct population *p = &node->fleet->population;
        uint32_t vnis[LOAD_VNS_MAX];
        uint8_t frame[FRAME_OCTETS];
        struct gw_writer w = gw_writer(frame, sizeof frame);

        for (uint32_t v = 0; v < p->vns; v++)
                vnis[v] = LOAD_VNI_FIRST + v;
        send_frame(node, GW_FRAME_SUBSCRIBE, 0, frame, gw_subscribe_encode(&w, 0, vnis, p->vns));
}

/* For somebody who does not exist, so that nothing is remembered of it. */
static void ask_for_nobody(struct node *node) {
        struct gw_query query = {.vni = LOAD_VNI_FIRST, .by_mac = true, .mac = {{0x02}}};
        uint8_t frame[FRAME_OCTETS];
        struct gw_writer w = gw_writer(frame, sizeof frame);

        send_frame(node, GW_FRAME_QUERY, QUESTION_READY, frame, gw_query_encode(&w, QUESTION_READY, &query));
}

static void dial_next(struct fleet *fleet);

static void on_ready(struct node *node) {
        struct fleet *fleet = node->fleet;

        node->ready = true;
        dial_next(fleet);
        if (++fleet->n_ready == fleet->n_nodes)
                fleet->ops->ready(fleet);
}

static void on_opened(struct gw_session *session, void *user) {
        struct node *node = user;
        struct gw_hello hello = {.role = GW_ROLE_NVE,
                                 .id = population_nve(node->index),
                                 .locator = population_locator(node->index),
                                 .restart_count = 2,
                                 .underlay_mtu = 1500};
        uint8_t frame[FRAME_OCTETS];
        struct gw_writer w = gw_writer(frame, sizeof frame);

        (void)session;
        send_frame(node, GW_FRAME_HELLO, 1, frame, gw_hello_encode(&w, 1, &hello));
}

static void on_frame(struct gw_session *session, uint8_t type, uint32_t id, const uint8_t *body, size_t size,
                     void *user) {
        struct node *node = user;

        (void)session;
        if (type == GW_FRAME_WELCOME) {
                subscribe(node);
                ask_for_nobody(node);
        } else if (type == GW_FRAME_RESPONSE && id == QUESTION_READY) {
                on_ready(node);
        } else {
                node->fleet->ops->frame(node, type, id, body, size);
        }
}

static void on_closed(struct gw_session *session, const char *reason, void *user) {
        struct node *node = user;

        (void)session;
        fprintf(stderr, "n%u: ", node->index);
        fleet_fail(node->fleet, reason);
}

static const struct gw_session_ops session_ops = {.opened = on_opened, .frame = on_frame, .closed = on_closed};

static int read_certificates(struct node *node, const char *pki_dir, struct gw_error *error) {
        struct gw_name name = population_nve(node->index);
        char ca[4096], ca_key[4096], cert[4096], key[4096];

        snprintf(ca, sizeof ca, "%s/ca.pem", pki_dir);
        snprintf(ca_key, sizeof ca_key, "%s/ca.key", pki_dir);
        snprintf(cert, sizeof cert, "%s/%s.pem", pki_dir, name.s);
        snprintf(key, sizeof key, "%s/%s.key", pki_dir, name.s);
        if (access(cert, R_OK) < 0) {
                struct gw_pki_request request = {.name = name.s, .days = 7};
                int r = gw_pki_issue(ca, ca_key, cert, key, &request, error);

                if (r)
                        return r;
        }
        return gw_tls_new(&node->tls, ca, cert, key, error);
}

static void dial_next(struct fleet *fleet) {
        struct node *node = &fleet->nodes[fleet->n_dialled];

        if (fleet->n_dialled == fleet->n_nodes)
                return;
        fleet->n_dialled++;
        if (gw_session_dial_tls(&node->session, &fleet->loop, &fleet->to, 1, NULL, node->tls, &session_ops, NULL,
                                node) < 0)
                fleet_fail(fleet, "a session cannot be made");
}

int fleet_init(struct fleet *fleet, const struct population *p, uint32_t n_nodes, const struct gw_endpoint *to,
               const char *pki_dir, const struct fleet_ops *ops, void *user) {
        struct gw_error error = {0};
        int r = gw_loop_init(&fleet->loop);

        fleet->population = *p;
        fleet->ops = ops;
        fleet->user = user;
        fleet->to = *to;
        fleet->nodes = calloc(n_nodes, sizeof *fleet->nodes);
        if (r < 0 || !fleet->nodes)
                return -ENOMEM;
        for (fleet->n_nodes = 0; fleet->n_nodes < n_nodes; fleet->n_nodes++) {
                struct node *node = &fleet->nodes[fleet->n_nodes];

                *node = (struct node){.fleet = fleet, .index = fleet->n_nodes};
                r = read_certificates(node, pki_dir, &error);
                if (r) {
                        fprintf(stderr, "n%u: %s\n", node->index, *error.text ? error.text : strerror(-r));
                        return -EIO;
                }
        }
        return 0;
}

int fleet_run(struct fleet *fleet) {
        for (unsigned i = 0; i < AT_ONCE; i++)
                dial_next(fleet);
        return gw_loop_run(&fleet->loop);
}

void fleet_deinit(struct fleet *fleet) {
        for (uint32_t i = 0; fleet->nodes && i < fleet->n_nodes; i++) {
                gw_session_free(fleet->nodes[i].session);
                gw_tls_free(fleet->nodes[i].tls);
        }
        gw_loop_deinit(&fleet->loop);
        free(fleet->nodes);
}
