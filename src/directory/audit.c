/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An edge's entry against the truth, which is the binding.
 *
 *      local     the VM is placed there, with that epoch
 *      remote    the VM is reachable at that locator, with that epoch
 *      moved     the VM was there, and is at that locator now
 *      arriving  a move brings it there
 *      address   the port with that address has that MAC
 *
 * An edge learns later than the directory. So an entry that differs is only said
 * to be settling while the VM moves, for GW_AUDIT_SETTLE_MS after its binding
 * changed, and while updates to that edge are on the way. After that it is wrong.
 */
#include "directory/audit.h"

#include <stdarg.h>
#include <stdio.h>

#include "directory/internal.h"

static bool settles(const struct gw_nve *nve, const struct gw_vm *vm, struct gw_now now) {
        if (!gw_list_empty(&nve->dirty) || !gw_list_empty(&nve->lists) || !gw_list_empty(&nve->updates))
                return true;
        return vm &&
               (gw_vm_move(vm) || gw_binding_since(&vm->binding).ns + GW_AUDIT_SETTLE_MS * GW_NS_PER_MS > now.wall.ns);
}

static __attribute__((format(printf, 3, 4))) void differs(struct gw_audit_finding *out, const char *why,
                                                          const char *format, ...) {
        va_list args;

        out->verdict = GW_AUDIT_CONTRADICTS;
        out->why = why;
        va_start(args, format);
        vsnprintf(out->text, sizeof out->text, format, args);
        va_end(args);
}

static void check_local(const struct gw_nve *nve, const struct gw_binding *b, uint64_t epoch,
                        struct gw_audit_finding *out) {
        if (!gw_binding_nve(b))
                differs(out, "nowhere", "%s is held as served here, but is nowhere", gw_vm_name(out->vm).s);
        else if (gw_binding_nve(b) != nve)
                differs(out, "not-here", "%s is held as served here, but is at %s", gw_vm_name(out->vm).s,
                        gw_binding_nve(b)->id.s);
        else if (b->epoch != epoch)
                differs(out, "epoch", "%s is served with epoch %llu, but has %llu", gw_vm_name(out->vm).s,
                        (unsigned long long)epoch, (unsigned long long)b->epoch);
}

static void check_remote(const struct gw_nve *nve, const struct gw_audit_forward *e, struct gw_audit_finding *out) {
        const struct gw_binding *b = &out->vm->binding;
        char text[GW_IP_TEXT];

        gw_ip_text(e->locator, text);
        if (!gw_dir_reachable(b) && !(e->kind == GW_AUDIT_MOVED && gw_binding_nve(b)))
                differs(out, "nowhere", "%s is sent to %s, but is not reachable anywhere", gw_vm_name(out->vm).s, text);
        else if (!gw_ip_eq(e->locator, gw_binding_nve(b)->locator))
                differs(out, "elsewhere", "%s is sent to %s, but is at %s", gw_vm_name(out->vm).s, text,
                        gw_binding_nve(b)->id.s);
        else if (e->kind == GW_AUDIT_MOVED && !gw_directory_vm_was_at(out->vm, nve))
                differs(out, "elsewhere", "%s is redirected here, but was never here", gw_vm_name(out->vm).s);
        else if (e->kind == GW_AUDIT_REMOTE && e->epoch != b->epoch)
                differs(out, "epoch", "%s is held with epoch %llu, but has %llu", gw_vm_name(out->vm).s,
                        (unsigned long long)e->epoch, (unsigned long long)b->epoch);
}

static void set_vm(struct gw_audit_finding *out, struct gw_vm *vm) {
        out->vm = vm;
        if (gw_vm_nve(vm) && gw_dir_reachable(&vm->binding))
                out->truth = gw_vm_nve(vm)->locator;
}

static void settle(const struct gw_nve *nve, struct gw_now now, struct gw_audit_finding *out) {
        if (out->verdict == GW_AUDIT_CONTRADICTS && settles(nve, out->vm, now))
                out->verdict = GW_AUDIT_SETTLING;
}

/* The virtual gateway is at any NVE that is a gateway of the VN. */
static void check_gateway(const struct gw_directory *d, const struct gw_nve *nve, const struct gw_audit_forward *e,
                          struct gw_audit_finding *out) {
        const struct gw_vn *vn = gw_directory_vn_by_vni(d, e->vni);
        const struct gw_nve *at = gw_directory_nve_by_locator(d, e->locator);
        const struct directory_member *m = vn && at ? gw_dir_member_find(d, vn, at) : NULL;
        char text[GW_IP_TEXT];

        (void)nve;
        if (e->kind != GW_AUDIT_REMOTE || !m || !m->routes)
                differs(out, "elsewhere", "the gateway is sent to %s, which is none of this VN",
                        gw_ip_text(e->locator, text));
}

void gw_directory_audit_forward(const struct gw_directory *d, const struct gw_nve *nve,
                                const struct gw_audit_forward *e, struct gw_now now, struct gw_audit_finding *out) {
        const struct gw_port *port = gw_directory_port_by_mac(d, e->vni, e->mac);
        char mac[GW_MAC_TEXT];

        *out = (struct gw_audit_finding){.verdict = GW_AUDIT_FITS, .why = ""};
        if (gw_mac_eq(e->mac, GW_GATEWAY_MAC)) {
                check_gateway(d, nve, e, out);
                return settle(nve, now, out);
        }
        if (!port) {
                differs(out, "unknown", "no port of VNI %u has the MAC %s", e->vni, gw_mac_text(e->mac, mac));
                return settle(nve, now, out);
        }
        set_vm(out, gw_port_vm(port));
        if (e->kind == GW_AUDIT_LOCAL)
                check_local(nve, &gw_port_vm(port)->binding, e->epoch, out);
        else if (e->kind != GW_AUDIT_ARRIVING)
                check_remote(nve, e, out);
        else if (!gw_directory_move_ends_at(&gw_port_vm(port)->binding, nve))
                differs(out, "no-move", "%s is held as arriving here, but no move brings it",
                        gw_vm_name(gw_port_vm(port)).s);
        settle(nve, now, out);
}

/* The gateway's addresses, and the link-local one that is made of its MAC. */
static bool is_gateways(const struct gw_directory *d, const struct gw_audit_neighbour *e) {
        const struct gw_vn *vn = gw_directory_vn_by_vni(d, e->vni);
        struct gw_mac mac = GW_GATEWAY_MAC;
        struct gw_ip own = {{0xfe, 0x80, 0, 0, 0, 0, 0, 0, mac.b[0] ^ 2, mac.b[1], mac.b[2], 0xff, 0xfe, mac.b[3],
                             mac.b[4], mac.b[5]}};

        if (!vn || !vn->settings.n_gateways || !gw_mac_eq(e->mac, GW_GATEWAY_MAC))
                return false;
        for (unsigned i = 0; i < vn->settings.n_gateways; i++)
                if (gw_ip_eq(vn->settings.gateways[i], e->ip))
                        return true;
        return gw_ip_eq(own, e->ip);
}

void gw_directory_audit_neighbour(const struct gw_directory *d, const struct gw_nve *nve,
                                  const struct gw_audit_neighbour *e, struct gw_now now, struct gw_audit_finding *out) {
        const struct gw_port *port = gw_directory_port_by_ip(d, e->vni, e->ip);
        char ip[GW_IP_TEXT], mac[GW_MAC_TEXT];

        *out = (struct gw_audit_finding){.verdict = GW_AUDIT_FITS, .why = ""};
        if (is_gateways(d, e))
                return;
        gw_ip_text(e->ip, ip);
        if (!port) {
                differs(out, "unknown", "no port of VNI %u has the address %s", e->vni, ip);
                return settle(nve, now, out);
        }
        set_vm(out, gw_port_vm(port));
        out->mac = port->mac;
        if (!gw_mac_eq(port->mac, e->mac))
                differs(out, "other-mac", "%s is answered with %s, but belongs to %s", ip, gw_mac_text(e->mac, mac),
                        gw_vm_name(gw_port_vm(port)).s);
        settle(nve, now, out);
}

void gw_directory_tell_again(struct gw_directory *d, struct gw_vm *vm, struct gw_nve *nve, struct gw_now now) {
        d->now = now;
        gw_dir_holder_tell(d, vm, nve, true);
        gw_dir_updates_flush(d);
}
