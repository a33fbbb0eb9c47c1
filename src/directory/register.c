/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registrations: D2's Request, judged by RFC 5213 section 5 (order of checks,
 * status codes) and by what management decided. An NVE may register
 * only VMs that were placed on it or are moving to or back to it, with exactly
 * the epoch that it was given.
 *
 * Order of two requests (RFC 5213 5.5): the epoch decides between places.
 * Within one place a time stamp must grow, or, without time stamps, the sequence
 * number (RFC 6275 9.5.1). Stamps of different NVEs are not compared: their
 * clocks differ, and the epoch has decided already. The window around our own
 * clock bounds replay, so it is the carrier's to ask for: a session's TLS
 * excludes replay, a datagram's authentication does not.
 *
 * The other end of a reserved move may bring the cut about by registering, since
 * the authority may have been away. But where the shell knows that no cut can have
 * been made yet (effects->arrived), such a registration is not answered: it is
 * early, or a lie, and the sender asks again (RFC 5213 5.4.1 lets an anchor wait
 * like that before it takes a session over).
 *
 * A request may carry part of a VM's addresses, since ports are attached one by
 * one; so 159 (other prefix set) is never answered. What it does carry must be
 * the VM's: 155, for IPv4 171. An older epoch gets 157, with the one that counts
 * in our epoch option; an epoch nobody was given gets 129.
 *
 * A deregistration from elsewhere than the current place is not answered at all
 * (RFC 5213 5.3.5). One that is honoured makes the VM unreachable at once; its
 * entry stays until management releases it, so that a registration that follows
 * (MinDelayBeforeBCEDelete and longer) continues it. An answer repeats what was
 * asked; its lifetime is at most the lease.
 */
#include "directory/internal.h"

static bool has_mac(const struct gw_vm *vm, struct gw_mac mac) {
        for (const struct gw_port *port = gw_vm_ports(vm); port; port = gw_port_next(port))
                if (gw_mac_eq(port->mac, mac))
                        return true;
        return false;
}

static bool has_ip(const struct gw_vm *vm, struct gw_ip ip) {
        for (const struct gw_port *port = gw_vm_ports(vm); port; port = gw_port_next(port))
                for (unsigned i = 0; i < port->n_ips; i++)
                        if (gw_ip_eq(gw_port_ip(port, i), ip))
                                return true;
        return false;
}

static uint8_t check_form(const struct gw_registration *request) {
        if (request->kind != GW_REG_REQUEST || !(request->flags & GW_MH_REQUEST_PROXY))
                return GW_MH_PROHIBITED;
        if (!(request->has & GW_REG_HAS_VM))
                return GW_MH_MISSING_IDENTIFIER;
        if (!(request->has & GW_REG_HAS_HANDOFF))
                return GW_MH_MISSING_HANDOFF;
        if (!(request->has & GW_REG_HAS_ACCESS))
                return GW_MH_MISSING_ACCESS_TYPE;
        return GW_MH_ACCEPTED;
}

/* Has the VM addresses of this family at all? */
static bool has_family(const struct gw_vm *vm, bool v4) {
        for (const struct gw_port *port = gw_vm_ports(vm); port; port = gw_port_next(port))
                for (unsigned i = 0; i < port->n_ips; i++)
                        if (gw_ip_is_v4(gw_port_ip(port, i)) == v4)
                                return true;
        return false;
}

/* A request without any address is whole only when the ports that it names (all, when it names none) have none. */
static bool names_addresses(const struct gw_vm *vm, const struct gw_registration *request) {
        if (request->n_addrs6 || request->n_addrs4)
                return true;
        for (const struct gw_port *port = gw_vm_ports(vm); port; port = gw_port_next(port)) {
                bool named = !request->n_macs;

                for (unsigned i = 0; i < request->n_macs; i++)
                        named |= gw_mac_eq(port->mac, request->macs[i]);
                if (named && port->n_ips)
                        return false;
        }
        return true;
}

static uint8_t check_addresses(const struct gw_vm *vm, const struct gw_registration *request) {
        for (unsigned i = 0; i < request->n_macs; i++)
                if (!has_mac(vm, request->macs[i]))
                        return GW_MH_PREFIX_NOT_AUTHORIZED;
        if (!names_addresses(vm, request))
                return GW_MH_MISSING_PREFIX;
        if (request->n_addrs6 && !has_family(vm, false))
                return GW_MH_IPV6_NOT_AUTHORIZED;
        for (unsigned i = 0; i < request->n_addrs6; i++)
                if (request->addrs6[i].bits != 128 || !has_ip(vm, request->addrs6[i].ip))
                        return GW_MH_PREFIX_NOT_AUTHORIZED;
        if (request->n_addrs4 && !has_family(vm, true))
                return GW_MH_IPV4_NOT_AUTHORIZED;
        for (unsigned i = 0; i < request->n_addrs4; i++)
                if (!has_ip(vm, request->addrs4[i].ip))
                        return GW_MH_IPV4_ADDRESS_NOT_AUTHORIZED;
        return GW_MH_ACCEPTED;
}

/* The epoch that this NVE may register the VM with: the newest it was given; 0 when none. */
static uint64_t given_epoch(const struct gw_vm *vm, const struct gw_nve *nve) {
        const struct gw_binding *b = &vm->binding;
        uint64_t epoch = nve == gw_binding_nve(b) ? b->epoch : 0;

        if (gw_binding_move(b) && nve == gw_binding_move(b)->to && gw_binding_move(b)->epoch > epoch)
                epoch = gw_binding_move(b)->epoch;
        return epoch;
}

/* Without the option the NVE can only mean where it is, not that it took the VM back. */
static uint8_t check_epoch(const struct gw_vm *vm, const struct gw_nve *nve, const struct gw_registration *request,
                           uint64_t *epoch) {
        const struct gw_binding *b = &vm->binding;
        uint64_t given = given_epoch(vm, nve);

        if (!gw_binding_nve(b) && !gw_binding_move(b))
                return GW_MH_PROXY_NOT_ENABLED;
        *epoch = request->has & GW_REG_HAS_EPOCH ? request->epoch : given;
        if (gw_binding_move(b) && nve == gw_binding_move(b)->from && *epoch == gw_binding_move(b)->back_epoch)
                return GW_MH_ACCEPTED;
        if (*epoch && *epoch < b->epoch)
                return GW_MH_TIMESTAMP_LOWER;
        return given && *epoch == given ? GW_MH_ACCEPTED : GW_MH_PROHIBITED;
}

/* Is the stamp within `window` of our clock? 0: no window. */
static bool is_timely(const struct gw_directory *d, const struct gw_registration *request, struct gw_duration window) {
        uint64_t at = gw_registration_stamp_wall(request->timestamp).ns, now = d->now.wall.ns;

        return !window.ns || !(request->has & GW_REG_HAS_TIMESTAMP) || (at > now ? at - now : now - at) <= window.ns;
}

static uint8_t check_order(const struct gw_binding *b, const struct gw_registration *request) {
        uint16_t ahead = (uint16_t)(request->sequence - b->sequence);

        if (!b->heard)
                return GW_MH_ACCEPTED;
        if (!(request->has & GW_REG_HAS_TIMESTAMP) || !b->timestamp)
                return ahead == 0 || ahead >= 0x8000 ? GW_MH_SEQUENCE_OUT_OF_WINDOW : GW_MH_ACCEPTED;
        if (request->timestamp == b->timestamp)
                return GW_MH_TIMESTAMP_MISMATCH;
        return request->timestamp < b->timestamp ? GW_MH_TIMESTAMP_LOWER : GW_MH_ACCEPTED;
}

static uint16_t grant(const struct gw_directory *d, uint16_t asked_units) {
        uint32_t most = d->lease_ms / (GW_MH_LIFETIME_UNIT_S * 1000);

        if (most == 0)
                most = 1;
        return asked_units < most ? asked_units : (uint16_t)most;
}

static void heard(struct gw_directory *d, struct gw_binding *b, const struct gw_registration *request) {
        b->heard = true;
        b->sequence = request->sequence;
        b->timestamp = request->has & GW_REG_HAS_TIMESTAMP ? request->timestamp : 0;
        b->registered_s = (uint32_t)(d->now.wall.ns / GW_NS_PER_S);
}

/* Would this registration, if accepted, be a cut or its taking back, when neither can have been made? */
static bool is_early(const struct gw_directory *d, const struct gw_vm *vm, uint64_t epoch) {
        const struct gw_binding *b = &vm->binding;

        return gw_binding_move(b) && epoch > b->epoch && d->effects->arrived &&
               !d->effects->arrived(vm, epoch == gw_binding_move(b)->back_epoch, d->user);
}

static int deregister(struct gw_directory *d, const struct gw_nve *nve, struct gw_vm *vm,
                      const struct gw_registration *request, uint64_t epoch) {
        struct gw_binding *b = &vm->binding;

        if (nve != gw_binding_nve(b) || epoch != b->epoch || check_order(b, request))
                return GW_E_REFUSED;
        heard(d, b, request);
        if (gw_dir_reachable(b))
                gw_dir_binding_lapse(d, vm, "it was deregistered");
        else
                gw_dir_store_binding(d, vm); /* what came last, for the order of the next */
        return 0;
}

static void accept(struct gw_directory *d, struct gw_vm *vm, const struct gw_registration *request, uint64_t epoch,
                   struct gw_registration *reply) {
        struct gw_binding *b = &vm->binding;
        bool news, refresh;

        if (gw_binding_move(b) && epoch == gw_binding_move(b)->epoch && b->epoch < epoch)
                gw_directory_commit(d, vm, d->now);
        else if (gw_binding_move(b) && epoch == gw_binding_move(b)->back_epoch && b->epoch < epoch)
                gw_directory_take_back(d, vm, d->now);
        news = !gw_dir_reachable(b);
        reply->lifetime_units = grant(d, request->lifetime_units);
        b->lifetime_s = reply->lifetime_units * (uint64_t)GW_MH_LIFETIME_UNIT_S;
        heard(d, b, request);
        refresh = b->state == GW_BINDING_SERVING;
        b->state = GW_BINDING_SERVING;
        gw_dir_binding_timer(d, vm);
        if (news) {
                gw_dir_binding_changed(d, vm);
                return;
        }
        gw_dir_store_binding(d, vm);
        if (!refresh)
                gw_dir_changed(d, GW_OBJECT_BINDING, gw_vm_name(vm).s, false);
}

/* The answer to a refusal says what would have been right. */
static void explain(struct gw_directory *d, const struct gw_vm *vm, struct gw_registration *reply) {
        reply->lifetime_units = 0;
        if (reply->status == GW_MH_SEQUENCE_OUT_OF_WINDOW)
                reply->sequence = vm->binding.sequence;
        if (reply->status != GW_MH_TIMESTAMP_MISMATCH && reply->status != GW_MH_TIMESTAMP_LOWER)
                return;
        reply->has |= GW_REG_HAS_TIMESTAMP | GW_REG_HAS_EPOCH;
        reply->timestamp = gw_registration_stamp(d->now.wall);
        reply->epoch = vm->binding.epoch;
}

static void refuse(struct gw_directory *d, const struct gw_nve *nve, const struct gw_vm *vm,
                   struct gw_registration *reply) {
        const struct gw_binding *b = vm ? &vm->binding : NULL;

        gw_dir_note(d, GW_NOTE_REFUSED,
                    "nve=%s registration of vm=%s refused: status=%u (%s) epoch=%llu; it is at %s, epoch %llu",
                    nve->id.s, reply->vm.s, reply->status, gw_registration_status_word(reply->status),
                    (unsigned long long)reply->epoch, b && gw_binding_nve(b) ? gw_binding_nve(b)->id.s : "no place",
                    b ? (unsigned long long)b->epoch : 0ULL);
        if (vm)
                explain(d, vm, reply);
        else
                reply->lifetime_units = 0;
}

int gw_directory_register_within(struct gw_directory *d, struct gw_nve *nve, const struct gw_registration *request,
                                 struct gw_duration window, struct gw_now now, struct gw_registration *reply) {
        struct gw_vm *vm = NULL;
        uint64_t epoch = 0;
        int r = 0;

        d->now = now;
        gw_registration_answer(request, check_form(request), reply);
        if (!reply->status) {
                vm = gw_directory_vm(d, request->vm.s);
                reply->status = vm ? check_addresses(vm, request) : GW_MH_NOT_SERVED_HERE;
        }
        if (!reply->status)
                reply->status = check_epoch(vm, nve, request, &epoch);
        if (!reply->status && !is_timely(d, request, window))
                reply->status = GW_MH_TIMESTAMP_MISMATCH;
        if (!request->lifetime_units && vm)
                r = deregister(d, nve, vm, request, reply->status ? 0 : epoch);
        else if (!reply->status && nve == gw_vm_nve(vm) && epoch == vm->binding.epoch)
                reply->status = check_order(&vm->binding, request);
        if (!r && !reply->status && is_early(d, vm, epoch)) {
                gw_dir_note(d, GW_NOTE_REFUSED, "nve=%s registers vm=%s before a cut can have been made", nve->id.s,
                            gw_vm_name(vm).s);
                r = GW_E_AGAIN;
        }
        if (reply->status == GW_MH_TIMESTAMP_LOWER && vm && request->has & GW_REG_HAS_EPOCH &&
            request->epoch < vm->binding.epoch)
                gw_dir_nve_conflict(d, nve, vm, request->epoch);
        if (reply->status && !r)
                refuse(d, nve, vm, reply);
        else if (!r && request->lifetime_units)
                accept(d, vm, request, epoch, reply);
        gw_dir_updates_flush(d);
        return r;
}

int gw_directory_register(struct gw_directory *d, struct gw_nve *nve, const struct gw_registration *request,
                          struct gw_now now, struct gw_registration *reply) {
        return gw_directory_register_within(d, nve, request, (struct gw_duration){0}, now, reply);
}
