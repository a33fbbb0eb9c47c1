/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of the management node to this edge (D2 section 5: to a source
 * hypervisor): a VM that is or was here has its place elsewhere now.
 *
 * Who may send them is the shell's to know: only what the NVA said through its
 * session, or signed, comes here. What is checked here, in this order, and the
 * status that answers it: form 129, VM id 160, epoch and order 157 (156 for the same
 * stamp again, 135 for sequence numbers without stamps), a VM that serves here
 * and no word of where it went 128.
 *
 * What is done: a VM that serves here with an older epoch is fenced, its packets
 * go on to the place named. One that was cut here keeps its redirect, for the
 * lifetime asked at most; lifetime 0 (a cold move) ends it as soon as the hypervisor
 * agent has let go of the VM. The answer's lifetime says how long something is kept, 0 that
 * nothing is. A VM that nobody here knows needs nothing.
 */
#include "base/log.h"
#include "base/error.h"
#include "edge/core.h"
#include "wire/registration.h"

static const struct gw_ip nobody; /* the session stands for the NVA's address */

static uint8_t notice_order(const struct edge_binding *b, const struct gw_registration *request) {
        uint16_t ahead = (uint16_t)(request->sequence - b->notice_sequence);

        if (!b->noticed)
                return GW_MH_ACCEPTED;
        if (!(request->has & GW_REG_HAS_TIMESTAMP))
                return ahead == 0 || ahead >= 0x8000 ? GW_MH_SEQUENCE_OUT_OF_WINDOW : GW_MH_ACCEPTED;
        if (request->timestamp == b->notice_stamp)
                return GW_MH_TIMESTAMP_MISMATCH;
        return request->timestamp < b->notice_stamp ? GW_MH_TIMESTAMP_LOWER : GW_MH_ACCEPTED;
}

static bool notice_place(const struct gw_edge *edge, const struct gw_registration *request, struct gw_ip *out) {
        *out = (struct gw_ip){{0}};
        if (request->has & GW_REG_HAS_SERVING)
                *out = request->serving;
        else if (request->has & GW_REG_HAS_DEFAULT_ROUTER4)
                *out = request->default_router4;
        return gw_ip_is_unicast(*out) && !gw_ip_eq(*out, edge->config.locator);
}

static uint8_t notice_check(const struct gw_edge *edge, const struct gw_registration *request, struct edge_vm **vm) {
        struct gw_ip place;
        uint8_t status;

        *vm = NULL;
        if (request->kind != GW_REG_REQUEST || !(request->flags & GW_MH_REQUEST_PROXY))
                return GW_MH_PROHIBITED;
        if (!(request->has & GW_REG_HAS_VM))
                return GW_MH_MISSING_IDENTIFIER;
        *vm = gw_edge_vm_find(edge, &request->vm);
        if (!*vm)
                return GW_MH_ACCEPTED;
        if ((request->has & GW_REG_HAS_EPOCH) && request->epoch < (*vm)->epoch)
                return GW_MH_TIMESTAMP_LOWER;
        status = notice_order((*vm)->reg, request);
        if (status || (*vm)->role != GW_EDGE_SERVING)
                return status;
        if (!(request->has & GW_REG_HAS_EPOCH) || request->epoch == (*vm)->epoch)
                return GW_MH_PROHIBITED; /* it serves here, with that very epoch as far as anybody says */
        return notice_place(edge, request, &place) ? GW_MH_ACCEPTED : GW_MH_REJECTED;
}

static void notice_act(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm,
                       const struct gw_registration *request) {
        uint64_t epoch = request->has & GW_REG_HAS_EPOCH ? request->epoch : vm->epoch;
        struct gw_ip place;
        bool placed = notice_place(edge, request, &place);

        if (vm->role == GW_EDGE_SERVING) {
                edge->counters[GW_EDGE_C_FENCED]++;
                gw_edge_log(edge, GW_ERR, "vm=%s epoch=%llu is stale: the authority moved it, epoch=%llu; fenced",
                            vm->name.s, (unsigned long long)vm->epoch, (unsigned long long)epoch);
                gw_edge_vm_moved(edge, now, vm, place, epoch);
        } else if (vm->role == GW_EDGE_MOVED && placed && epoch > vm->epoch) {
                vm->peer = place;
                vm->epoch = epoch;
                gw_edge_vm_program(edge, vm);
                gw_list_for_each (link, &vm->ports)
                        gw_edge_member_add(edge, gw_list_entry(link, struct edge_port, of_vm)->vn, place, false);
                edge->fx->vm_changed(edge->user, &vm->name);
        }
}

/* How long the redirect may last yet: the Request's lifetime; after 0 it ends with the next look at it. */
static void notice_keep(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm, uint16_t lifetime_units) {
        uint64_t ms = (uint64_t)lifetime_units * GW_MH_LIFETIME_UNIT_S * 1000;

        vm->reg->keep_until = gw_mono_after(now.mono, gw_ms(ms));
        if (!ms)
                gw_edge_timer_set(&edge->timers, &vm->redirect, now.mono);
}

static void notice_refused(struct gw_edge *edge, struct gw_edge_now now, const struct edge_vm *vm,
                           struct gw_registration *reply) {
        edge->counters[GW_EDGE_C_NOTICES_REFUSED]++;
        gw_edge_log(edge, GW_WARNING, "vm=%s epoch=%llu notice of the authority refused, status=%u", reply->vm.s,
                    (unsigned long long)reply->epoch, reply->status);
        if (!vm) /* nobody here: neither order nor clock is in question */
                return;
        if (reply->status == GW_MH_SEQUENCE_OUT_OF_WINDOW)
                reply->sequence = vm->reg->notice_sequence;
        if (reply->status != GW_MH_TIMESTAMP_MISMATCH && reply->status != GW_MH_TIMESTAMP_LOWER)
                return;
        reply->has |= GW_REG_HAS_TIMESTAMP | GW_REG_HAS_EPOCH;
        reply->timestamp = gw_registration_stamp(now.wall);
        reply->epoch = vm->epoch;
}

static void notice_take(struct gw_edge *edge, struct gw_edge_now now, const struct gw_registration *request,
                        struct gw_registration *reply) {
        struct edge_vm *vm;
        uint8_t status = notice_check(edge, request, &vm);

        gw_registration_answer(request, status, reply);
        if (status)
                return notice_refused(edge, now, vm, reply);
        edge->counters[GW_EDGE_C_NOTICES]++;
        if (!vm) {
                reply->lifetime_units = 0;
                return;
        }
        vm->reg->noticed = true;
        vm->reg->notice_sequence = request->sequence;
        vm->reg->notice_stamp = request->has & GW_REG_HAS_TIMESTAMP ? request->timestamp : 0;
        notice_act(edge, now, vm, request);
        if (vm->role == GW_EDGE_MOVED)
                notice_keep(edge, now, vm, request->lifetime_units);
        else
                reply->lifetime_units = 0; /* it arrives here: nothing is kept of before */
}

void gw_edge_notice(struct gw_edge *edge, struct gw_edge_now now, const struct gw_registration *request,
                    struct gw_registration *reply) {
        notice_take(edge, now, request, reply);
        if (edge->fx->noticed)
                edge->fx->noticed(edge->user, request, reply);
}

int gw_edge_notice_frame(struct gw_edge *edge, struct gw_edge_now now, uint32_t id, const uint8_t *body, size_t size) {
        uint8_t message[GW_MH_SIZE_MAX];
        struct gw_writer m = gw_writer(message, sizeof message), w = gw_writer(edge->out, sizeof edge->out);
        struct gw_registration request, reply;
        struct gw_register frame;

        if (gw_register_decode(body, size, &frame) ||
            gw_registration_decode(frame.message, frame.message_size, nobody, edge->config.locator, &request))
                return GW_E_MALFORMED;
        gw_edge_notice(edge, now, &request, &reply);
        if (gw_registration_encode(&m, edge->config.locator, nobody, &reply))
                return GW_E_MALFORMED;
        frame = (struct gw_register){.locator = edge->config.locator, .message = message, .message_size = m.at};
        gw_edge_send_written(edge, gw_register_encode(&w, GW_FRAME_REGISTERED, id, &frame));
        return 0;
}
