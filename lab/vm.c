/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMs of a lab, made through the authority's API as anybody would.
 *
 * Real: QEMU with the kernel and RAM disk under images/, which takes its addresses from
 * the kernel's command line. Synthetic: godwit-synth as the emulator; its network
 * stack is kept by a process of its own, which every emulator of that VM (at the
 * source and at the target of a move) asks for the taps at guests/NAME.sock.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/time.h"
#include "cli/client.h"
#include "cli/output.h"
#include "io/file.h"
#include "lab/daemons.h"
#include "lab/lab.h"

enum { CMDLINE = 900, PORT_TEXT = 600, READY_MS = 10000, POLL_MS = 20 };

struct maker {
        struct gw_lab *lab;
        const struct gw_lab_vm *vm;
        struct gw_client *client;
        json_t *vn;
        char socket[GW_LAB_PATH];
        struct gw_error *error;
};

static int call(struct maker *m, const char *method, const char *path, const char *id, const char *verb, json_t *body,
                json_t **out) {
        char segment[200], full[320];

        snprintf(full, sizeof full, "%s%s%s%s", path, *id ? "/" : "", gw_client_segment(id, segment, sizeof segment),
                 verb);
        return gw_client_call(m->client, method, full, body, out, m->error);
}

/* "10.1.0.10/24,..." of one family, of what was asked for. */
static void join(const struct maker *m, bool v4, char *out, size_t size) {
        size_t at = 0;

        *out = 0;
        for (size_t i = 0; i < m->vm->n_ips; i++) {
                struct gw_ip ip;

                if (gw_ip_parse(m->vm->ips[i], &ip) || gw_ip_is_v4(ip) != v4 || at >= size)
                        continue;
                at += (size_t)snprintf(out + at, size - at, "%s%s/%u", at ? "," : "", m->vm->ips[i],
                                       gw_lab_subnet_bits(ip, m->vn));
        }
}

static int describe_real(struct maker *m, json_t *definition) {
        char kernel[GW_LAB_PATH + 16], initrd[GW_LAB_PATH + 16], cmdline[CMDLINE], ip4[200], ip6[400];
        int r = gw_lab_images(m->lab, m->error);

        if (r)
                return r;
        if (!m->vm->n_ips)
                return gw_fail(m->error, GW_E_INVALID, "ip", "--ip is missing; a real guest is told its addresses");
        join(m, true, ip4, sizeof ip4);
        join(m, false, ip6, sizeof ip6);
        snprintf(cmdline, sizeof cmdline, "console=ttyS0 quiet mitigations=off gw.ip4=%s gw.ip6=%s", ip4, ip6);
        snprintf(kernel, sizeof kernel, "%s/images/vmlinuz", m->lab->dir);
        snprintf(initrd, sizeof initrd, "%s/images/initrd", m->lab->dir);
        json_object_set_new(definition, "kernel", json_string(kernel));
        json_object_set_new(definition, "initrd", json_string(initrd));
        json_object_set_new(definition, "cmdline", json_string(cmdline));
        return 0;
}

static int describe_synthetic(struct maker *m, json_t *definition) {
        char program[GW_LAB_PATH], cmdline[CMDLINE], dir[GW_LAB_PATH];
        int r = gw_lab_program("godwit-synth", program, m->error);

        if (r)
                return r;
        snprintf(dir, sizeof dir, "%s/guests", m->lab->dir);
        r = gw_dir_make(dir, 0711);
        if (r < 0)
                return gw_fail(m->error, r, "", "cannot make %s: %s", dir, strerror(-r));
        snprintf(m->socket, sizeof m->socket, "%s/guests/%.63s.sock", m->lab->dir, m->vm->name);
        snprintf(cmdline, sizeof cmdline, "guest=%s pause_ms=%u copy_ms=%u", m->socket, m->vm->pause_ms,
                 m->vm->copy_ms);
        json_object_set_new(definition, "emulator", json_string(program));
        /* Like QEMU's, its command line has -append only together with -kernel, which it does not read. */
        json_object_set_new(definition, "kernel", json_string(program));
        json_object_set_new(definition, "cmdline", json_string(cmdline));
        return 0;
}

static int create(struct maker *m, json_t **answer) {
        json_t *addresses = json_array(), *port, *definition;
        int r;

        for (size_t i = 0; i < m->vm->n_ips; i++)
                json_array_append_new(addresses, json_string(m->vm->ips[i]));
        port = json_pack("{s:s, s:o}", "vn", m->vm->vn, "addresses", addresses);
        if (m->vm->mac)
                json_object_set_new(port, "mac", json_string(m->vm->mac));
        definition = json_pack("{s:s, s:i, s:i, s:[o]}", "name", m->vm->name, "memory_mib", (int)m->vm->memory_mib,
                               "vcpus", 1, "ports", port);
        r = m->vm->synthetic ? describe_synthetic(m, definition) : describe_real(m, definition);
        if (r) {
                json_decref(definition);
                return r;
        }
        return call(m, "POST", "/v1/vms", "", "", definition, answer);
}

/* The VM's first port, wherever the answer has it. */
static json_t *first_port(json_t *vm) {
        json_t *ports = json_object_get(vm, "ports");

        if (!ports)
                ports = json_object_get(json_object_get(vm, "definition"), "ports");
        return json_array_get(ports, 0);
}

static void port_text(const struct maker *m, json_t *port, char *out, size_t size) {
        size_t at = (size_t)snprintf(out, size, "mac=%s", gw_member_text(port, "mac"));
        long long mtu = gw_member_int(m->vn, "mtu");
        json_t *address;
        size_t i;

        json_array_foreach (json_object_get(port, "addresses"), i, address) {
                struct gw_ip ip;

                if (at < size && !gw_ip_parse(json_string_value(address), &ip))
                        at += (size_t)snprintf(out + at, size - at, ",ip=%s/%u", json_string_value(address),
                                               gw_lab_subnet_bits(ip, m->vn));
        }
        if (mtu && at < size)
                snprintf(out + at, size - at, ",mtu=%lld", mtu);
}

static int keep_stack(struct maker *m, json_t *vm) {
        char program[GW_LAB_PATH], port[PORT_TEXT], log[GW_LAB_PATH + 8], daemon[80];
        char *argv[] = {
                program, (char *)"--keeper", (char *)m->vm->name, (char *)"--socket", m->socket, (char *)"--port", port,
                NULL};
        struct gw_mono end;
        int r = gw_lab_program("godwit-synth", program, m->error);

        if (r)
                return r;
        port_text(m, first_port(vm), port, sizeof port);
        snprintf(log, sizeof log, "%s/guests/%.63s.log", m->lab->dir, m->vm->name);
        snprintf(daemon, sizeof daemon, "keeper-%.63s", m->vm->name);
        r = gw_lab_process_start(&m->lab->manifest, "guests", daemon, NULL, argv, log, m->error);
        end = gw_mono_after(gw_mono_now(), gw_ms(READY_MS));
        while (!r && access(m->socket, F_OK) < 0) {
                char tail[160];

                gw_daemons_log_tail(log, tail, sizeof tail);
                if (gw_mono_reached(gw_mono_now(), end) ||
                    !gw_lab_process_alive(
                            gw_manifest_find(&m->lab->manifest, "process", "host", "guests", "daemon", daemon)))
                        r = gw_fail(m->error, GW_E_AGAIN, "", "the stack of %s does not come up: ...%s", m->vm->name,
                                    tail);
                usleep(POLL_MS * 1000);
        }
        return r;
}

static int make(struct maker *m) {
        json_t *vm = NULL;
        int r = call(m, "GET", "/v1/vns", m->vm->vn, "", NULL, &m->vn);

        if (!r)
                r = create(m, &vm);
        if (!r && m->vm->synthetic)
                r = keep_stack(m, vm);
        if (!r)
                r = call(m, "POST", "/v1/vms", m->vm->name, "/start",
                         m->vm->on ? json_pack("{s:s}", "nve", m->vm->on) : json_object(), NULL);
        json_decref(vm);
        json_decref(m->vn);
        return r;
}

int gw_lab_vm_add(struct gw_lab *lab, const struct gw_lab_vm *vm, struct gw_error *error) {
        struct maker m = {.lab = lab, .vm = vm, .error = error};
        int r = gw_lab_client(lab, &m.client, error);

        if (r)
                return r;
        r = make(&m);
        gw_client_free(m.client);
        return r;
}
