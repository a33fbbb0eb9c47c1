/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registering the VMs that serve here with the NVA (D2; RFC 5213 section 6.9,
 * this end being the MAG), entry by entry of the binding update list.
 *
 * Sent when a VM begins to serve (HI 1), has moved here (HI 3), at three quarters
 * of the granted lifetime and after each reconnect (HI 5). Not answered: again
 * after 1 s (the first of a VM after 1.5 s), doubled up to 32 s, each time with a
 * larger sequence number and a later time stamp. Sequence numbers are of one VM.
 *
 * Refused for a reason that passes (135: sequence, taken from the answer; 156,
 * 157: clock, its offset taken from the answer; 128, 130): again in the same way.
 * Refused otherwise: no longer claimed, and not again before something changes; see
 * docs/decisions/0015. Refused with 157 and a newer epoch: the VM has another
 * place; the directory is asked for it, and its answer ends the service here. So
 * it is with 152, a VM that has no place: it may get another one. As long as the
 * VM serves here both are asked again, in the slower way: nobody else may know that
 * it has to be told.
 *
 * A deregistration is sent once; its entry ends with the answer, or after 1 s.
 * An answer counts only when it is to the last Request and, accepting, repeats what
 * that said. While the NVA is away registrations wait, unless they have a transport
 * of their own: then they are sent again and again.
 */
#include "base/error.h"
#include "base/log.h"
#include "edge/core.h"
#include "wire/registration.h"

enum {
        FIRST_TIMEOUT_MS = 1000,     /* INITIAL_BINDACK_TIMEOUT */
        FIRST_REG_TIMEOUT_MS = 1500, /* InitialBindackTimeoutFirstReg */
        LAST_TIMEOUT_MS = 32000,     /* MAX_BINDACK_TIMEOUT */
        LIFETIME_DEFAULT_S = 3600,
        REFRESH_MIN_MS = 1000,
        MESSAGE_SIZE = 1024,
        ECHO_SIZE = 1024,
};

static const struct gw_ip nobody; /* the session stands for the NVA's address */

static bool may_send(const struct gw_edge *edge) {
        return edge->config.own_transport || edge->welcome;
}

/* ---- a Request ---- */

static void registration_addresses(const struct edge_vm *vm, struct gw_registration *reg) {
        gw_list_for_each (link, &vm->ports) {
                const struct gw_edge_attach *a = &gw_list_entry(link, struct edge_port, of_vm)->a;

                if (reg->n_macs < GW_REG_MACS_MAX)
                        reg->macs[reg->n_macs++] = a->mac;
                for (size_t i = 0; i < a->n_ips; i++) {
                        if (gw_ip_is_v4(a->ips[i]) && reg->n_addrs4 < GW_REG_ADDRS_MAX)
                                reg->addrs4[reg->n_addrs4++] = (struct gw_reg_addr4){.ip = a->ips[i], .bits = 32};
                        else if (!gw_ip_is_v4(a->ips[i]) && reg->n_addrs6 < GW_REG_ADDRS_MAX)
                                reg->addrs6[reg->n_addrs6++] = (struct gw_prefix){.ip = a->ips[i], .bits = 128};
                }
        }
}

static void registration_build(struct gw_edge *edge, const struct edge_vm *vm, uint32_t lifetime_s,
                               struct gw_registration *reg) {
        *reg = (struct gw_registration){
                .kind = GW_REG_REQUEST,
                .flags = GW_MH_REQUEST_USUAL,
                .sequence = vm->reg->sequence,
                .lifetime_units = gw_registration_lifetime(lifetime_s),
                .has = GW_REG_HAS_VM | GW_REG_HAS_HANDOFF | GW_REG_HAS_ACCESS | GW_REG_HAS_TIMESTAMP | GW_REG_HAS_EPOCH,
                .vm = vm->name,
                .handoff = lifetime_s ? vm->reg->handoff : GW_MH_HANDOFF_UNKNOWN, /* RFC 5213 6.9.1.3 */
                .access = GW_MH_ACCESS_VIRTUAL,
                .timestamp = vm->reg->stamp,
                .epoch = vm->epoch,
        };
        if (gw_ip_is_v4(edge->config.locator)) { /* D2: becomes the IPv4 proxy care-of address */
                reg->has |= GW_REG_HAS_DEFAULT_ROUTER4;
                reg->default_router4 = edge->config.locator;
        }
        registration_addresses(vm, reg);
}

/* A digest of what RFC 5213 (6.9.1.2) wants an accepting answer to repeat. */
static uint64_t echo_of(const struct gw_edge *edge, const struct gw_registration *reg) {
        uint8_t bytes[ECHO_SIZE];
        struct gw_writer w = gw_writer(bytes, sizeof bytes);

        gw_put_bytes(&w, reg->vm.s, strlen(reg->vm.s));
        for (size_t i = 0; i < reg->n_addrs6; i++) {
                gw_put_u8(&w, reg->addrs6[i].bits);
                gw_put_bytes(&w, reg->addrs6[i].ip.b, sizeof reg->addrs6[i].ip.b);
        }
        for (size_t i = 0; i < reg->n_macs; i++)
                gw_put_bytes(&w, reg->macs[i].b, sizeof reg->macs[i].b);
        gw_put_u8(&w, reg->has & GW_REG_HAS_HANDOFF ? reg->handoff : 0);
        gw_put_u8(&w, reg->has & GW_REG_HAS_ACCESS ? reg->access : 0);
        gw_put_u64(&w, reg->has & GW_REG_HAS_TIMESTAMP ? reg->timestamp : 0);
        return gw_table_hash(&edge->bindings, bytes, w.at);
}

static void frame_send(struct gw_edge *edge, const struct gw_registration *reg) {
        uint8_t message[MESSAGE_SIZE];
        struct gw_writer m = gw_writer(message, sizeof message), w = gw_writer(edge->out, sizeof edge->out);
        struct gw_register frame = {.locator = edge->config.locator, .message = message};

        if (gw_registration_encode(&m, edge->config.locator, nobody, reg)) {
                gw_edge_log(edge, GW_ERR, "vm=%s cannot be registered: its ids and addresses do not fit a message",
                            reg->vm.s);
                return;
        }
        frame.message_size = m.at;
        gw_edge_send_written(edge, gw_register_encode(&w, GW_FRAME_REGISTER, reg->sequence, &frame));
}

static uint64_t stamp_after(const struct gw_edge *edge, struct gw_edge_now now, uint64_t last) {
        uint64_t stamp = gw_registration_stamp((struct gw_wall){now.wall.ns + (uint64_t)edge->clock_offset_ns});

        return stamp > last ? stamp : last + 1;
}

static void request_send(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm, uint32_t lifetime_s) {
        struct edge_binding *b = vm->reg;
        struct gw_registration reg;

        b->sequence++;
        b->stamp = stamp_after(edge, now, b->stamp);
        b->epoch = vm->epoch;
        b->sent_at = now.mono;
        b->tries++;
        b->outstanding = true;
        registration_build(edge, vm, lifetime_s, &reg);
        b->echo = echo_of(edge, &reg);
        if (edge->config.own_transport)
                edge->fx->request(edge->user, &reg);
        else
                frame_send(edge, &reg);
}

/* ---- what is sent, and when again ---- */

static void registration_send(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm) {
        uint32_t lifetime_s = edge->config.lifetime_s ? edge->config.lifetime_s : LIFETIME_DEFAULT_S;

        gw_edge_timer_stop(&edge->timers, &vm->reg->timer);
        if (!may_send(edge))
                return;
        edge->counters[GW_EDGE_C_REGISTRATIONS]++;
        request_send(edge, now, vm, lifetime_s);
        gw_edge_timer_set(&edge->timers, &vm->reg->timer, gw_mono_after(now.mono, gw_ms(vm->reg->timeout_ms)));
}

void gw_edge_register(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm, uint8_t handoff) {
        struct edge_binding *b = vm->reg;

        /* What was never accepted keeps its reason: a refresh of nothing is a creation. */
        if (handoff != GW_MH_HANDOFF_UNCHANGED || b->state == GW_EDGE_REG_ACCEPTED || !b->handoff)
                b->handoff = handoff;
        b->state = GW_EDGE_REG_PENDING;
        b->tries = 0;
        b->timeout_ms = b->handoff == GW_MH_HANDOFF_NEW ? FIRST_REG_TIMEOUT_MS : FIRST_TIMEOUT_MS;
        registration_send(edge, now, vm);
}

void gw_edge_unregistered(struct gw_edge *edge, struct edge_vm *vm) {
        struct edge_binding *b = vm->reg;

        gw_edge_timer_stop(&edge->timers, &b->timer);
        b->state = GW_EDGE_REG_NONE;
        b->outstanding = false;
        b->handoff = 0;
        b->granted_ms = 0;
        b->expires = b->keep_until = (struct gw_mono){0};
}

void gw_edge_deregister(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm) {
        bool wanted = may_send(edge) && vm->reg->state != GW_EDGE_REG_NONE;

        gw_edge_unregistered(edge, vm);
        if (!wanted)
                return;
        edge->counters[GW_EDGE_C_DEREGISTRATIONS]++;
        vm->reg->tries = 0;
        vm->reg->timeout_ms = FIRST_TIMEOUT_MS;
        request_send(edge, now, vm, 0);
        gw_edge_timer_set(&edge->timers, &vm->reg->timer, gw_mono_after(now.mono, gw_ms(FIRST_TIMEOUT_MS)));
}

struct visit {
        struct gw_edge *edge;
        struct gw_edge_now now;
};

static void register_each(struct gw_table_node *node, void *user) {
        struct visit *visit = user;
        struct edge_vm *vm = gw_container_of(node, struct edge_vm, node);

        if (vm->role == GW_EDGE_SERVING)
                gw_edge_register(visit->edge, visit->now, vm, GW_MH_HANDOFF_UNCHANGED);
}

void gw_edge_register_again(struct gw_edge *edge, struct gw_edge_now now, const struct gw_name *name) {
        struct edge_vm *vm = name ? gw_edge_vm_find(edge, name) : NULL;

        if (!name)
                gw_table_each(&edge->vms, register_each, &(struct visit){edge, now});
        else if (vm && vm->role == GW_EDGE_SERVING)
                gw_edge_register(edge, now, vm, GW_MH_HANDOFF_UNCHANGED);
}

void gw_edge_registration_timer(struct gw_edge *edge, struct gw_edge_now now, struct edge_binding *b) {
        if (!b->vm) {
                edge->counters[GW_EDGE_C_DEREGISTRATIONS_UNANSWERED]++;
                gw_edge_binding_free(edge, b);
                return;
        }
        if (b->state == GW_EDGE_REG_ACCEPTED && !b->outstanding) {
                gw_edge_register(edge, now, b->vm, GW_MH_HANDOFF_UNCHANGED);
                return;
        }
        edge->counters[GW_EDGE_C_REGISTRATION_RETRIES]++;
        b->timeout_ms = b->timeout_ms * 2 < LAST_TIMEOUT_MS ? b->timeout_ms * 2 : LAST_TIMEOUT_MS;
        registration_send(edge, now, b->vm);
}

/* ---- an answer ---- */

static void registration_accepted(struct gw_edge *edge, struct gw_edge_now now, struct edge_binding *b,
                                  const struct gw_registration *reply) {
        uint64_t ms;

        b->state = GW_EDGE_REG_ACCEPTED;
        b->handoff = GW_MH_HANDOFF_UNCHANGED;
        b->granted_ms = reply->lifetime_units * (GW_MH_LIFETIME_UNIT_S * UINT32_C(1000));
        b->expires = gw_mono_after(b->sent_at, gw_ms(b->granted_ms));
        ms = (uint64_t)b->granted_ms * 3 / 4;
        gw_edge_timer_set(&edge->timers, &b->timer,
                          gw_mono_after(now.mono, gw_ms(ms > REFRESH_MIN_MS ? ms : REFRESH_MIN_MS)));
}

static bool is_superseded(const struct edge_binding *b, const struct gw_registration *reply) {
        return reply->status == GW_MH_TIMESTAMP_LOWER && (reply->has & GW_REG_HAS_EPOCH) && reply->epoch > b->vm->epoch;
}

/* Takes from the answer what makes the next try succeed. False: it would be refused again, as far as can be known. */
static bool refusal_passes(struct gw_edge *edge, struct gw_edge_now now, struct edge_binding *b,
                           const struct gw_registration *reply) {
        switch (reply->status) {
        case GW_MH_SEQUENCE_OUT_OF_WINDOW:
                b->sequence = reply->sequence;
                return true;
        case GW_MH_TIMESTAMP_MISMATCH:
        case GW_MH_TIMESTAMP_LOWER:
                if (is_superseded(b, reply))
                        return false;
                if (reply->has & GW_REG_HAS_TIMESTAMP) {
                        edge->clock_offset_ns =
                                (int64_t)(gw_registration_stamp_wall(reply->timestamp).ns - now.wall.ns);
                        if (reply->timestamp < b->stamp) /* ours were ahead of the NVA's clock */
                                b->stamp = 0;
                }
                return true;
        case GW_MH_REJECTED:
        case GW_MH_NO_RESOURCES:
                return true;
        default:
                return false;
        }
}

/* The VM has a newer place. Which, only the directory can say; what it says fences the VM here (cache.c). */
static void superseded(struct gw_edge *edge, struct gw_edge_now now, const struct edge_vm *vm) {
        edge->counters[GW_EDGE_C_SUPERSEDED]++;
        gw_list_for_each (link, &vm->ports) {
                const struct edge_port *port = gw_list_entry(link, struct edge_port, of_vm);
                struct edge_key key = gw_edge_key_mac(port->a.vni, port->a.mac);

                gw_edge_query_ask(edge, now, &key, GW_EDGE_ITSELF);
        }
}

static void registration_refused(struct gw_edge *edge, struct gw_edge_now now, struct edge_binding *b,
                                 const struct gw_registration *reply) {
        edge->counters[GW_EDGE_C_REGISTRATIONS_REFUSED]++;
        gw_edge_log(edge, GW_WARNING, "vm=%s epoch=%llu registration refused, status=%u", b->name.s,
                    (unsigned long long)b->vm->epoch, reply->status);
        if (refusal_passes(edge, now, b, reply)) { /* soon; the time-out, doubled each time, bounds how often */
                gw_edge_timer_set(&edge->timers, &b->timer, gw_mono_after(now.mono, gw_ms(b->timeout_ms / 10)));
                return;
        }
        gw_edge_timer_stop(&edge->timers, &b->timer);
        b->state = GW_EDGE_REG_REFUSED;
        b->granted_ms = 0;
        b->expires = (struct gw_mono){0};
        if (is_superseded(b, reply) || reply->status == GW_MH_PROXY_NOT_ENABLED)
                gw_edge_timer_set(&edge->timers, &b->timer, gw_mono_after(now.mono, gw_ms(b->timeout_ms)));
        if (is_superseded(b, reply))
                superseded(edge, now, b->vm);
}

/* A refusal for its sequence carries the NVA's number instead of ours. */
static bool reply_is_due(const struct edge_binding *b, const struct gw_registration *reply) {
        return b && b->outstanding &&
               (reply->sequence == b->sequence || (b->vm && reply->status == GW_MH_SEQUENCE_OUT_OF_WINDOW));
}

void gw_edge_reply(struct gw_edge *edge, struct gw_edge_now now, const struct gw_registration *reply) {
        struct edge_binding *b = reply->has & GW_REG_HAS_VM ? gw_edge_binding_find(edge, &reply->vm) : NULL;

        if (!reply_is_due(b, reply)) {
                edge->counters[GW_EDGE_C_REPLIES_LATE]++;
                return;
        }
        if (reply->status < GW_MH_REJECTED && echo_of(edge, reply) != b->echo) {
                edge->counters[GW_EDGE_C_REPLIES_DIFFER]++;
                return;
        }
        b->outstanding = false;
        b->tries = 0;
        b->status = reply->status;
        if (!b->vm)
                gw_edge_binding_free(edge, b);
        else if (reply->status < GW_MH_REJECTED)
                registration_accepted(edge, now, b, reply);
        else
                registration_refused(edge, now, b, reply);
}

int gw_edge_registered(struct gw_edge *edge, struct gw_edge_now now, const uint8_t *body, size_t size) {
        struct gw_register frame;
        struct gw_registration reply;

        if (gw_register_decode(body, size, &frame) ||
            gw_registration_decode(frame.message, frame.message_size, nobody, edge->config.locator, &reply) ||
            reply.kind != GW_REG_REPLY)
                return GW_E_MALFORMED;
        gw_edge_reply(edge, now, &reply);
        return 0;
}
