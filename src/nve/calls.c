/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the NVE can be told: the routes, served alike to the hypervisor agent
 * (unix session, which may bring tap descriptors), the NVA, and people (HTTP).
 * docs/architecture.md has the contract.
 *
 * In a cut nothing slow comes before the map writes, and no disk before the answer.
 */
#include <errno.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "nve/nve.h"

enum {
        MTU_MIN = 576,
        MTU_MAX = 65535,
        MTU_DEFAULT = 1430,
        OVERHEAD_V4 = 50,
        OVERHEAD_V6 = 70,
};

static void fail(struct gw_request *request, struct gw_error *error, int code) {
        if (!error->code)
                gw_fail(error, code, "", "%s", gw_error_word(code));
        gw_request_fail(request, error);
}

static int vm_param(const struct gw_request *request, struct gw_name *out, struct gw_error *error) {
        const char *text = gw_request_param(request, "vm");

        if (gw_id_parse(text, out))
                return gw_fail(error, GW_E_INVALID, "vm", "\"%s\" is not the id of a VM; an id looks like web@default",
                               text);
        return 0;
}

static uint64_t read_epoch(struct gw_json_reader *r) {
        return (uint64_t)gw_json_int(r, "epoch", 1, INT64_MAX, GW_JSON_REQUIRED);
}

/* A tap says which device it is; 0: this is none. */
static uint32_t tap_device(int fd) {
        struct ifreq tap = {0};
        int index = ioctl(fd, TUNGETIFF, &tap) == 0 ? gw_link_index(tap.ifr_name) : 0;

        return index > 0 ? (uint32_t)index : 0;
}

/* ---- POST /v1/ports ---- */

/* What the underlay carries less the encapsulation; a larger port would only make frames that cannot leave. */
static uint32_t mtu_limit(const struct nve *nve) {
        uint32_t underlay = nve_underlay_mtu(nve),
                 overhead = gw_ip_is_v4(nve->config.locator) ? OVERHEAD_V4 : OVERHEAD_V6;

        return underlay > overhead ? underlay - overhead : MTU_MAX;
}

static int read_device(const struct nve *nve, struct gw_json_reader *r, struct gw_link *device,
                       struct gw_error *error) {
        const char *name = gw_json_string(r, "device", NULL);

        if (gw_json_failed(r))
                return error->code;
        if (gw_link_get(name, device))
                gw_json_fault(r, "device", "there is no device \"%.64s\" on this host", name);
        else if (nve_is_own_device(nve, device))
                gw_json_fault(r, "device", "%.64s is this host's own; a port is a tap or veth of a VM or task", name);
        return error->code;
}

static int read_role(struct gw_json_reader *r, struct gw_edge_attach *out) {
        const char *mode = gw_json_string(r, "mode", "serve");

        if (gw_json_failed(r))
                return GW_E_INVALID;
        if (strcmp(mode, "serve") == 0)
                out->role = GW_EDGE_SERVING;
        else if (strcmp(mode, "arrive") == 0)
                out->role = GW_EDGE_ARRIVING;
        else if (strcmp(mode, "claim") == 0)
                out->role = GW_EDGE_CLAIMING;
        else
                gw_json_fault(r, "mode", "mode is \"%s\"; allowed are \"serve\", \"arrive\" and \"claim\"", mode);
        gw_json_ip(r, "from", out->role == GW_EDGE_ARRIVING ? GW_JSON_NEEDED : GW_JSON_OPTIONAL, &out->peer);
        if (out->role != GW_EDGE_ARRIVING)
                out->peer = (struct gw_ip){{0}};
        return 0;
}

static int read_port(const struct nve *nve, struct gw_request *request, struct gw_edge_attach *out,
                     struct gw_link *device, struct gw_error *error) {
        struct gw_json_reader r = gw_json_reader(gw_request_body(request), error);
        uint32_t limit = mtu_limit(nve);
        size_t n_ips = 0;

        *out = (struct gw_edge_attach){0};
        gw_json_id(&r, "id", GW_JSON_NEEDED, &out->id);
        gw_json_id(&r, "vm", GW_JSON_NEEDED, &out->vm);
        out->vni = (uint32_t)gw_json_int(&r, "vni", 1, GW_VNI_MAX, GW_JSON_REQUIRED);
        gw_json_mac(&r, "mac", GW_JSON_NEEDED, &out->mac);
        gw_json_ips(&r, "addresses", out->ips, GW_MAPPING_IPS_MAX, &n_ips);
        out->n_ips = (uint8_t)n_ips;
        out->mtu = (uint32_t)gw_json_int(&r, "mtu", MTU_MIN, MTU_MAX, MTU_DEFAULT);
        read_role(&r, out);
        /* who claims a VM has no epoch yet */
        out->epoch = out->role == GW_EDGE_CLAIMING ? 0 : read_epoch(&r);
        out->task = gw_json_bool(&r, "task", out->role == GW_EDGE_CLAIMING);
        nve_rules_read(&r, out);
        if (out->mtu > limit) {
                gw_log(GW_WARNING, "port=%s mtu=%u is more than the underlay carries; %u it is", out->id.s, out->mtu,
                       limit);
                out->mtu = limit;
        }
        if (!read_device(nve, &r, device, error)) {
                out->ifindex = (uint32_t)device->index;
                out->queues = strcmp(device->kind, "tun") == 0;
        }
        return gw_json_done(&r);
}

/* The host itself has no business on a VM's device: no addresses, no router solicitations into the VM. */
static void device_prepare(const struct gw_link *device) {
        char path[64];

        snprintf(path, sizeof path, "net/ipv6/conf/%s/disable_ipv6", device->name);
        gw_sysctl_write(path, "1");
        if (!device->up && gw_link_up(device->name))
                gw_log(GW_WARNING, "device=%s: cannot be brought up", device->name);
}

/* POST /v1/ports with mode "claim": nothing is saved, whoever claims does so again after a restart. */
static void attach_claim(struct gw_request *request, struct nve *nve, const struct gw_edge_attach *port,
                         const struct gw_link *device) {
        struct gw_error error = {0};
        int r;

        device_prepare(device);
        r = gw_edge_claim(nve->edge, port, &error);
        if (r)
                return fail(request, &error, r);
        gw_request_answer(request, 200, json_pack("{s:s, s:i}", "id", port->id.s, "ifindex", (int)port->ifindex));
}

/* The queue of a VM that arrives must outlive its emulator and its agent, should both end before it has come. */
static void keep_tap(struct nve *nve, struct gw_request *request, const struct gw_edge_attach *port) {
        for (size_t i = 0; i < gw_request_n_fds(request); i++) {
                int fd = gw_request_take_fd(request, i);

                if (fd >= 0 && port->role == GW_EDGE_ARRIVING && tap_device(fd) == port->ifindex)
                        nve_drain_keep(nve, &port->vm, port->ifindex, fd);
                else if (fd >= 0)
                        close(fd);
        }
}

static void call_attach(struct gw_request *request, void *user) {
        struct nve *nve = user;
        struct gw_error error = {0};
        struct gw_edge_attach port;
        struct gw_link device = {0};
        char before[NVE_DEVICE_SIZE] = "";
        int r = read_port(nve, request, &port, &device, &error);

        if (!r && port.role == GW_EDGE_CLAIMING)
                return attach_claim(request, nve, &port, &device);
        if (!r)
                snprintf(before, sizeof before, "%s", nve_state_device(nve, &port.id));
        if (!r && (r = nve_state_save_port(nve, &port, device.name)))
                gw_fail(&error, r, "", "port %s cannot be written to state-dir", port.id.s);
        if (!r) {
                device_prepare(&device);
                r = gw_edge_attach(nve->edge, nve_now(), &port, &error);
                if (r)
                        nve_state_refused(nve, &port.id, before);
        }
        if (!r && port.role == GW_EDGE_SERVING)
                nve_drain_stop(nve, &port.vm);
        if (!r)
                keep_tap(nve, request, &port);
        if (r)
                fail(request, &error, r);
        else
                gw_request_answer(request, 200,
                                  json_pack("{s:s, s:i, s:i}", "id", port.id.s, "ifindex", (int)port.ifindex, "mtu",
                                            (int)port.mtu));
}

static void call_detach(struct gw_request *request, void *user) {
        struct nve *nve = user;
        struct gw_error error = {0};
        struct gw_name id;
        const char *text = gw_request_param(request, "port");
        int r = gw_id_parse(text, &id);

        if (r)
                gw_fail(&error, r, "port", "\"%s\" is not the id of a port", text);
        else
                r = gw_edge_detach(nve->edge, nve_now(), &id, &error);
        if (r)
                fail(request, &error, r);
        else
                gw_request_answer(request, 200, json_object());
}

/* ---- the cut ---- */

struct find_port {
        const struct gw_name *vm;
        size_t skip;
        uint32_t ifindex;
        bool found;
};

static void find_nth(const struct gw_edge_port_view *view, void *user) {
        struct find_port *find = user;

        if (!find->found && view->attached && gw_name_eq(&view->port->vm, find->vm) && find->skip-- == 0) {
                find->ifindex = view->port->ifindex;
                find->found = true;
        }
}

/* For whatever does not say which device it is, the order in which they came decides. */
static uint32_t tap_ifindex(struct nve *nve, const struct gw_name *vm, size_t i, int fd) {
        struct find_port find = {.vm = vm, .skip = i};
        uint32_t ifindex = tap_device(fd);

        if (ifindex)
                return ifindex;
        gw_edge_each_port(nve->edge, find_nth, &find);
        return find.ifindex;
}

/* Each tap that came with the call goes to `take`, which owns it from then on. */
static void take_taps(struct nve *nve, struct gw_request *request, const struct gw_name *vm,
                      void (*take)(struct nve *nve, const struct gw_name *vm, uint32_t ifindex, int fd)) {
        nve_drain_stop(nve, vm);
        for (size_t i = 0; i < gw_request_n_fds(request); i++) {
                int fd = gw_request_take_fd(request, i);
                uint32_t ifindex = fd >= 0 ? tap_ifindex(nve, vm, i, fd) : 0;

                if (ifindex && gw_edge_has_device(nve->edge, ifindex))
                        take(nve, vm, ifindex, fd);
                else if (fd >= 0)
                        close(fd);
        }
}

static json_t *talkers_json(struct nve *nve, const struct gw_name *vm) {
        struct gw_ip *talkers = calloc(GW_EDGE_TALKERS_MAX, sizeof *talkers);
        json_t *list = json_array();
        char text[GW_IP_TEXT];
        size_t n = talkers ? gw_edge_talkers(nve->edge, vm, talkers, GW_EDGE_TALKERS_MAX) : 0;

        for (size_t i = 0; i < n; i++)
                json_array_append_new(list, json_string(gw_ip_text(talkers[i], text)));
        free(talkers);
        return list;
}

static void call_cut(struct gw_request *request, void *user) {
        struct nve *nve = user;
        struct gw_error error = {0};
        struct gw_name vm;
        int r = vm_param(request, &vm, &error);
        struct gw_json_reader body = gw_json_reader(gw_request_body(request), &error);
        struct gw_ip to = {{0}};
        uint64_t epoch = read_epoch(&body);
        struct gw_wall at;
        uint64_t before;

        gw_json_ip(&body, "to", GW_JSON_NEEDED, &to);
        if (!r)
                r = gw_json_done(&body);
        if (!r)
                r = gw_edge_cut(nve->edge, nve_now(), &vm, to, epoch, &error);
        if (r) {
                fail(request, &error, r);
                return;
        }
        at = gw_wall_now();
        before = nve->drained;
        take_taps(nve, request, &vm, nve_drain_add);
        gw_request_answer(request, 200,
                          json_pack("{s:I, s:o, s:I}", "drained", (json_int_t)(nve->drained - before), "talkers",
                                    talkers_json(nve, &vm), "at_ns", (json_int_t)at.ns));
}

/* ---- the others ---- */

typedef int (*vm_call)(struct gw_edge *edge, struct gw_edge_now now, const struct gw_name *vm, uint64_t epoch,
                       struct gw_error *error);

static int call_with_epoch(struct gw_request *request, struct nve *nve, vm_call call, struct gw_name *vm) {
        struct gw_error error = {0};
        struct gw_json_reader body = gw_json_reader(gw_request_body(request), &error);
        uint64_t epoch = read_epoch(&body);
        int r = gw_json_done(&body);

        if (!r)
                r = vm_param(request, vm, &error);
        if (!r)
                r = call(nve->edge, nve_now(), vm, epoch, &error);
        if (r)
                fail(request, &error, r);
        return r;
}

static void answer_done(struct gw_request *request) {
        gw_request_answer(request, 200, json_pack("{s:I}", "at_ns", (json_int_t)gw_wall_now().ns));
}

static void call_uncut(struct gw_request *request, void *user) {
        struct nve *nve = user;
        struct gw_name vm;

        if (call_with_epoch(request, nve, gw_edge_uncut, &vm))
                return;
        nve_drain_stop(nve, &vm);
        answer_done(request);
}

static void call_hold(struct gw_request *request, void *user) {
        struct nve *nve = user;
        struct gw_error error = {0};
        struct gw_json_reader body = gw_json_reader(gw_request_body(request), &error);
        uint32_t max_ms = (uint32_t)gw_json_int(&body, "max_ms", 1, GW_EDGE_HOLD_SERVING_MS, GW_EDGE_HOLD_SERVING_MS);
        struct gw_name vm;
        int r = gw_json_done(&body);

        if (!r)
                r = vm_param(request, &vm, &error);
        if (!r)
                r = gw_edge_hold(nve->edge, nve_now(), &vm, max_ms, &error);
        if (r)
                fail(request, &error, r);
        else
                answer_done(request);
}

static void call_unhold(struct gw_request *request, void *user) {
        struct nve *nve = user;
        struct gw_error error = {0};
        struct gw_name vm;
        int r = vm_param(request, &vm, &error);

        if (!r)
                r = gw_edge_unhold(nve->edge, nve_now(), &vm, &error);
        if (r)
                fail(request, &error, r);
        else
                answer_done(request);
}

static void call_still(struct gw_request *request, void *user) {
        struct nve *nve = user;
        struct gw_error error = {0};
        struct gw_json_reader body = gw_json_reader(gw_request_body(request), &error);
        bool still = gw_json_bool(&body, "still", true);
        struct gw_name vm;
        int r = gw_json_done(&body);

        if (!r)
                r = vm_param(request, &vm, &error);
        if (!r)
                r = gw_edge_still(nve->edge, &vm, still, &error);
        if (r)
                fail(request, &error, r);
        else
                answer_done(request);
}

static void call_activate(struct gw_request *request, void *user) {
        struct gw_name vm;

        if (call_with_epoch(request, user, gw_edge_activate, &vm))
                return;
        nve_drain_stop(user, &vm); /* it has come, and reads its taps itself */
        answer_done(request);
}

/* The taps of a VM that does not arrive: the agent lets go of them with the answer. */
static void call_return(struct gw_request *request, void *user) {
        struct nve *nve = user;
        struct gw_error error = {0};
        struct gw_json_reader body = gw_json_reader(gw_request_body(request), &error);
        uint64_t epoch = read_epoch(&body);
        struct gw_name vm;
        int r = gw_json_done(&body);

        if (!r)
                r = vm_param(request, &vm, &error);
        if (!r)
                r = gw_edge_may_return(nve->edge, &vm, epoch, &error);
        if (!r) {
                if (gw_request_n_fds(request)) /* a repetition without them does not close those that came before */
                        take_taps(nve, request, &vm, nve_drain_keep);
                r = gw_edge_return(nve->edge, nve_now(), &vm, epoch, &error);
        }
        if (r)
                fail(request, &error, r);
        else
                answer_done(request);
}

static void call_delete(struct gw_request *request, void *user) {
        struct nve *nve = user;
        struct gw_error error = {0};
        const char *keep = gw_request_query(request, "keep");
        struct gw_name vm;
        int r = vm_param(request, &vm, &error);

        if (!r && keep && strcmp(keep, "redirect") != 0)
                r = gw_fail(&error, GW_E_INVALID, "keep", "keep is \"%s\"; allowed is \"redirect\"", keep);
        if (!r)
                r = gw_edge_delete(nve->edge, nve_now(), &vm, keep != NULL, &error);
        if (r) {
                fail(request, &error, r);
                return;
        }
        nve_drain_stop(nve, &vm);
        answer_done(request);
}

const struct gw_route nve_routes[] = {
        {"POST", "/v1/ports", call_attach},
        {"DELETE", "/v1/ports/{port}", call_detach},
        {"POST", "/v1/vms/{vm}/presence", nve_call_presence},
        {"POST", "/v1/vms/{vm}/claimed", nve_call_claimed},
        {"POST", "/v1/vms/{vm}/hold", call_hold},
        {"POST", "/v1/vms/{vm}/unhold", call_unhold},
        {"POST", "/v1/vms/{vm}/still", call_still},
        {"POST", "/v1/vms/{vm}/cut", call_cut},
        {"POST", "/v1/vms/{vm}/uncut", call_uncut},
        {"POST", "/v1/vms/{vm}/activate", call_activate},
        {"POST", "/v1/vms/{vm}/return", call_return},
        {"DELETE", "/v1/vms/{vm}", call_delete},
        {"GET", "/v1/ports", nve_show_ports},
        {"GET", "/v1/fdb", nve_show_fdb},
        {"GET", "/v1/neighbours", nve_show_neighbours},
        {"GET", "/v1/members", nve_show_members},
        {"GET", "/v1/bindings", nve_show_bindings},
        {"GET", "/v1/bindings/{vm}", nve_show_binding},
        {"GET", "/v1/host-routes", nve_show_host_routes},
        {"GET", "/v1/counters", nve_show_counters},
        {"GET", "/v1/status", nve_show_status},
        {"GET", "/v1/gateway", nve_gateway_show},
        {"PUT", "/v1/gateway", nve_gateway_put},
        {"GET", "/v1/caches", nve_caches},
        {"POST", "/v1/repair", nve_repair},
        {"POST", "/v1/trace", nve_trace},
        {0},
};
