/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The binding update list: for each VM that serves here, its registration with
 * the NVA (D2; RFC 5213 section 6.9, this end being the MAG).
 *
 * Sent when a VM begins to serve (HI 1), has moved here (HI 3), at three quarters
 * of the granted lifetime and after each reconnect (HI 5). Not answered: again
 * after 1 s, doubled up to 32 s, each time with a larger sequence number and a
 * fresh time stamp. Refused for a reason that passes (135: sequence, taken from
 * the answer; 156, 157: clock, its offset taken from the answer; 128, 130):
 * again in the same way. Refused otherwise: not again before something changes;
 * the VM goes on, since what ends it is a newer epoch elsewhere, not a refusal.
 *
 * A deregistration is sent once and nothing waits for its answer. Sequence
 * numbers are of this NVE, not of one VM. While the NVA is away registrations wait.
 */
#include "base/error.h"
#include "base/log.h"
#include "edge/core.h"
#include "wire/registration.h"

enum {
        FIRST_TIMEOUT_MS = 1000, /* INITIAL_BINDACK_TIMEOUT */
        LAST_TIMEOUT_MS = 32000, /* MAX_BINDACK_TIMEOUT */
        LIFETIME_DEFAULT_S = 3600,
        REFRESH_MIN_MS = 1000,
        MESSAGE_SIZE = 1024,
};

static const struct gw_ip nobody; /* the session stands for the NVA's address */

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

static void registration_build(struct gw_edge *edge, struct gw_edge_now now, const struct edge_vm *vm,
                               uint32_t lifetime_s, struct gw_registration *reg) {
        struct gw_wall wall = {now.wall.ns + (uint64_t)edge->clock_offset_ns};

        *reg = (struct gw_registration){
                .kind = GW_REG_REQUEST,
                .flags = GW_MH_REQUEST_USUAL,
                .sequence = vm->reg.sequence,
                .lifetime_units = gw_registration_lifetime(lifetime_s),
                .has = GW_REG_HAS_VM | GW_REG_HAS_HANDOFF | GW_REG_HAS_ACCESS | GW_REG_HAS_TIMESTAMP | GW_REG_HAS_EPOCH,
                .vm = vm->name,
                .handoff = vm->reg.handoff,
                .access = GW_MH_ACCESS_VIRTUAL,
                .timestamp = gw_registration_stamp(wall),
                .epoch = vm->epoch,
        };
        if (gw_ip_is_v4(edge->config.locator)) { /* D2: becomes the IPv4 proxy care-of address */
                reg->has |= GW_REG_HAS_DEFAULT_ROUTER4;
                reg->default_router4 = edge->config.locator;
        }
        registration_addresses(vm, reg);
}

static void registration_write(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm, uint32_t lifetime_s) {
        uint8_t message[MESSAGE_SIZE];
        struct gw_writer m = gw_writer(message, sizeof message), w = gw_writer(edge->out, sizeof edge->out);
        struct gw_register frame = {.locator = edge->config.locator, .message = message};
        struct gw_registration reg;

        vm->reg.sequence = ++edge->sequence;
        registration_build(edge, now, vm, lifetime_s, &reg);
        if (gw_registration_encode(&m, edge->config.locator, nobody, &reg)) {
                gw_edge_log(edge, GW_ERR, "vm=%s cannot be registered: its ids and addresses do not fit a message",
                            vm->name.s);
                return;
        }
        frame.message_size = m.at;
        gw_edge_send_written(edge, gw_register_encode(&w, GW_FRAME_REGISTER, vm->reg.sequence, &frame));
}

static void registration_send(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm) {
        uint32_t lifetime_s = edge->config.lifetime_s ? edge->config.lifetime_s : LIFETIME_DEFAULT_S;

        gw_edge_timer_stop(&edge->timers, &vm->reg.timer);
        if (!edge->welcome)
                return;
        edge->counters[GW_EDGE_C_REGISTRATIONS]++;
        vm->reg.outstanding = true;
        registration_write(edge, now, vm, lifetime_s);
        gw_edge_timer_set(&edge->timers, &vm->reg.timer, gw_mono_after(now.mono, gw_ms(vm->reg.timeout_ms)));
}

void gw_edge_register(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm, uint8_t handoff) {
        /* What was never accepted keeps its reason: a refresh of nothing is a creation. */
        if (handoff != GW_MH_HANDOFF_UNCHANGED || vm->reg.state == GW_EDGE_REG_ACCEPTED || !vm->reg.handoff)
                vm->reg.handoff = handoff;
        vm->reg.state = GW_EDGE_REG_PENDING;
        vm->reg.timeout_ms = FIRST_TIMEOUT_MS;
        registration_send(edge, now, vm);
}

void gw_edge_deregister(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm) {
        if (edge->welcome && vm->reg.state != GW_EDGE_REG_NONE)
                registration_write(edge, now, vm, 0);
        gw_edge_unregistered(edge, vm);
}

void gw_edge_unregistered(struct gw_edge *edge, struct edge_vm *vm) {
        gw_edge_timer_stop(&edge->timers, &vm->reg.timer);
        vm->reg.state = GW_EDGE_REG_NONE;
        vm->reg.outstanding = false;
        vm->reg.handoff = 0;
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

void gw_edge_register_all(struct gw_edge *edge, struct gw_edge_now now) {
        gw_table_each(&edge->vms, register_each, &(struct visit){edge, now});
}

void gw_edge_registration_timer(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm) {
        struct edge_registration *reg = &vm->reg;

        if (reg->state == GW_EDGE_REG_ACCEPTED && !reg->outstanding) {
                gw_edge_register(edge, now, vm, GW_MH_HANDOFF_UNCHANGED);
                return;
        }
        edge->counters[GW_EDGE_C_REGISTRATION_RETRIES]++;
        reg->timeout_ms = reg->timeout_ms * 2 < LAST_TIMEOUT_MS ? reg->timeout_ms * 2 : LAST_TIMEOUT_MS;
        registration_send(edge, now, vm);
}

static void registration_accepted(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm,
                                  const struct gw_registration *reply) {
        uint64_t ms = (uint64_t)reply->lifetime_units * GW_MH_LIFETIME_UNIT_S * 1000 * 3 / 4;

        vm->reg.state = GW_EDGE_REG_ACCEPTED;
        vm->reg.handoff = GW_MH_HANDOFF_UNCHANGED;
        gw_edge_timer_set(&edge->timers, &vm->reg.timer,
                          gw_mono_after(now.mono, gw_ms(ms > REFRESH_MIN_MS ? ms : REFRESH_MIN_MS)));
}

/* Takes from the answer what makes the next try succeed. False: it would be refused again. */
static bool refusal_passes(struct gw_edge *edge, struct gw_edge_now now, const struct gw_registration *reply) {
        switch (reply->status) {
        case GW_MH_SEQUENCE_OUT_OF_WINDOW:
                edge->sequence = reply->sequence;
                return true;
        case GW_MH_TIMESTAMP_MISMATCH:
        case GW_MH_TIMESTAMP_LOWER:
                if (reply->has & GW_REG_HAS_TIMESTAMP)
                        edge->clock_offset_ns =
                                (int64_t)(gw_registration_stamp_wall(reply->timestamp).ns - now.wall.ns);
                return true;
        case GW_MH_REJECTED:
        case GW_MH_NO_RESOURCES:
                return true;
        default:
                return false;
        }
}

static void registration_refused(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm,
                                 const struct gw_registration *reply) {
        edge->counters[GW_EDGE_C_REGISTRATIONS_REFUSED]++;
        gw_edge_log(edge, GW_WARNING, "vm=%s epoch=%llu registration refused, status=%u", vm->name.s,
                    (unsigned long long)vm->epoch, reply->status);
        if (refusal_passes(edge, now, reply)) { /* the time-out that is set sends it again */
                gw_edge_timer_set(&edge->timers, &vm->reg.timer,
                                  gw_mono_after(now.mono, gw_ms(vm->reg.timeout_ms / 10)));
                return;
        }
        gw_edge_timer_stop(&edge->timers, &vm->reg.timer);
        vm->reg.state = GW_EDGE_REG_REFUSED;
}

/* A refusal for its sequence carries the NVA's number instead of ours. */
static bool reply_is_due(const struct edge_vm *vm, const struct gw_registration *reply) {
        return vm && vm->reg.outstanding &&
               (reply->sequence == vm->reg.sequence || reply->status == GW_MH_SEQUENCE_OUT_OF_WINDOW);
}

int gw_edge_registered(struct gw_edge *edge, struct gw_edge_now now, const uint8_t *body, size_t size) {
        struct gw_register frame;
        struct gw_registration reply;
        struct edge_vm *vm;

        if (gw_register_decode(body, size, &frame) ||
            gw_registration_decode(frame.message, frame.message_size, nobody, edge->config.locator, &reply) ||
            reply.kind != GW_REG_REPLY)
                return GW_E_MALFORMED;
        vm = reply.has & GW_REG_HAS_VM ? gw_edge_vm_find(edge, &reply.vm) : NULL;
        if (!reply_is_due(vm, &reply))
                return 0;
        vm->reg.outstanding = false;
        vm->reg.status = reply.status;
        if (reply.status < GW_MH_REJECTED)
                registration_accepted(edge, now, vm, &reply);
        else
                registration_refused(edge, now, vm, &reply);
        return 0;
}
