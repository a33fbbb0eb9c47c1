/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads what an operator says a VM is, before anything is made of it. Form and
 * range are checked here; whether VNs, MACs and addresses are free is the
 * directory's to say. Paths are those of the hosts and are not looked at here, but
 * they must be absolute, since agents run in directories of their own.
 *
 * The canonical text that is kept has every member but the ports: those live in
 * the directory, which may choose their MACs and addresses.
 */
#include "hypervisor/options.h"
#include "io/allow.h"
#include "io/api.h"
#include "nva/definition.h"
#include "nva/terms.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void tenant_of(const struct gw_name *id, struct gw_name *out) {
        const char *at = strchr(id->s, '@');

        snprintf(out->s, sizeof out->s, "%s", at ? at + 1 : "default");
}

void nva_read_id(struct gw_json_reader *r, const char *key, struct gw_name *out) {
        struct gw_name name = {""}, tenant = {"default"};
        char text[2 * sizeof name.s];

        if (!gw_json_name(r, key, GW_JSON_NEEDED, &name))
                return;
        gw_json_name(r, "tenant", GW_JSON_OPTIONAL, &tenant);
        snprintf(text, sizeof text, "%s@%s", name.s, tenant.s);
        if (!gw_json_failed(r) && gw_id_parse(text, out))
                gw_json_fault(r, key, "%s is \"%s\"; together with @%s it may have at most %d characters", key, name.s,
                              tenant.s, GW_NAME_MAX);
}

void nva_read_port(struct gw_json_reader *r, const struct gw_name *owner, struct gw_name *vn,
                   struct gw_port_spec *out) {
        const char *text = gw_json_string(r, "vn", NULL);
        struct gw_name tenant;
        char full[2 * GW_NAME_MAX + 2];

        tenant_of(owner, &tenant);
        if (text)
                snprintf(full, sizeof full, strchr(text, '@') ? "%s" : "%s@%s", text, tenant.s);
        if (text && !gw_json_failed(r) && gw_id_parse(full, vn))
                gw_json_fault(r, "vn", "vn is \"%.64s\"; a VN looks like blue or blue@tenant", text);
        out->vn = vn->s;
        out->has_mac = gw_json_mac(r, "mac", GW_JSON_OPTIONAL, &out->mac);
        if (out->has_mac && gw_mac_is_group(out->mac))
                gw_json_fault(r, "mac", "mac is a group address; the lowest bit of its first octet must be 0");
        size_t n = 0;
        gw_json_ips(r, "addresses", out->ips, GW_PORT_IPS_MAX, &n);
        out->n_ips = (uint8_t)n;
        gw_json_allow(r, "allow", &out->allow);
}

static bool printable(const char *text) {
        for (; *text; text++)
                if (!isprint((unsigned char)*text))
                        return false;
        return true;
}

/* Copies a text member into the canonical definition. */
static const char *take_text(struct gw_json_reader *r, json_t *into, const char *key, size_t max) {
        const char *text = gw_json_string(r, key, "");

        if (gw_json_failed(r) || !*text)
                return "";
        if (strlen(text) > max)
                gw_json_fault(r, key, "%s has %zu characters; at most %zu are allowed", key, strlen(text), max);
        else if (!printable(text))
                gw_json_fault(r, key, "%s holds a character that is not printable ASCII", key);
        else
                json_object_set_new(into, key, json_string(text));
        return text;
}

static bool take_path(struct gw_json_reader *r, json_t *into, const char *key) {
        const char *path = take_text(r, into, key, NVA_PATH_MAX);

        if (*path && *path != '/' && !gw_json_failed(r))
                gw_json_fault(r, key, "%s is \"%.64s\"; it must be an absolute path", key, path);
        return *path;
}

static void take_model(struct gw_json_reader *r, json_t *into) {
        const char *model = take_text(r, into, "cpu_model", NVA_MODEL_MAX);

        if (model[strspn(model, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.,+=-")])
                gw_json_fault(r, "cpu_model", "cpu_model is \"%.64s\"; letters, digits and _ . , + = - are allowed",
                              model);
}

static void take_nic_model(struct gw_json_reader *r, json_t *into) {
        const char *model = take_text(r, into, "nic_model", NVA_MODEL_MAX);

        if (*model && strcmp(model, "virtio") && strcmp(model, "e1000") && strcmp(model, "vmxnet3") &&
            !gw_json_failed(r))
                gw_json_fault(r, "nic_model", "nic_model is \"%.32s\"; allowed are virtio, e1000 and vmxnet3", model);
}

static void take_emulator(struct gw_json_reader *r, json_t *into) {
        const char *emulator = take_text(r, into, "emulator", NVA_PATH_MAX);

        if (!*emulator)
                json_object_set_new(into, "emulator", json_string("qemu"));
        else if (strcmp(emulator, "qemu") && *emulator != '/' && !gw_json_failed(r))
                gw_json_fault(r, "emulator", "emulator is \"%.64s\"; allowed are qemu and an absolute path", emulator);
}

static void take_disk(struct gw_json_reader *r, json_t *disks, size_t i, json_t *object) {
        struct gw_json_reader disk = gw_json_reader_at(r, object, "disks[%zu].", i);
        json_t *into = json_object();
        const char *format, *path;

        path = take_text(&disk, into, "path", NVA_PATH_MAX);
        if (!gw_json_failed(&disk) && *path != '/' && (!*path || *path == '.' || strchr(path, '/')))
                gw_json_fault(&disk, "path",
                              "path is \"%.64s\"; it must be an absolute path, or a name without slashes in the hosts' "
                              "disk-dir",
                              path);
        format = gw_json_string(&disk, "format", "qcow2");
        if (!format)
                format = "qcow2";
        if (!gw_json_failed(&disk) && strcmp(format, "qcow2") && strcmp(format, "raw"))
                gw_json_fault(&disk, "format", "format is \"%.32s\"; allowed are qcow2 and raw", format);
        gw_json_done(&disk);
        json_object_set_new(into, "format", json_string(format));
        json_array_append_new(disks, into);
}

static size_t take_disks(struct gw_json_reader *r, json_t *into) {
        json_t *given = gw_json_array(r, "disks"), *object, *disks;
        size_t i, n = json_array_size(given);

        if (n > NVA_DISKS_MAX)
                gw_json_fault(r, "disks", "disks has %zu members; at most %d are allowed", n, NVA_DISKS_MAX);
        if (!n || gw_json_failed(r))
                return n;
        disks = json_array();
        json_array_foreach (given, i, object)
                take_disk(r, disks, i, object);
        json_object_set_new(into, "disks", disks);
        return n;
}

static void take_ports(struct gw_json_reader *r, struct nva_definition *out) {
        json_t *given = gw_json_array(r, "ports"), *object;
        size_t i, n = json_array_size(given);

        if (n > NVA_PORTS_MAX)
                gw_json_fault(r, "ports", "ports has %zu members; at most %d are allowed", n, NVA_PORTS_MAX);
        if (gw_json_failed(r))
                return;
        json_array_foreach (given, i, object) {
                struct gw_json_reader port = gw_json_reader_at(r, object, "ports[%zu].", i);

                nva_read_port(&port, &out->id, &out->vns[i], &out->ports[i]);
                gw_json_done(&port);
        }
        out->spec.ports = out->ports;
        out->spec.n_ports = n;
}

static void take_boot(struct gw_json_reader *r, json_t *into) {
        bool kernel = take_path(r, into, "kernel"), initrd = take_path(r, into, "initrd");
        bool cmdline = *take_text(r, into, "cmdline", NVA_CMDLINE_MAX);
        size_t disks = take_disks(r, into);
        bool synthetic;

        if (gw_json_failed(r)) /* one that is refused is not in the definition */
                return;
        synthetic = *json_string_value(json_object_get(into, "emulator")) == '/';
        if (!kernel && !disks && !synthetic)
                gw_json_fault(r, "kernel", "neither kernel nor disks is given; a VM needs one of them to boot from");
        if (!kernel && initrd)
                gw_json_fault(r, "initrd", "initrd is given without kernel; they only go together");
        if (!kernel && cmdline && !synthetic)
                gw_json_fault(r, "cmdline", "cmdline is given without kernel; they only go together");
}

static void take_policy(struct gw_json_reader *r, json_t *into, struct gw_vm_spec *spec) {
        const char *policy = gw_json_string(r, "on_crash", "restart");

        if (gw_json_failed(r) || !policy)
                return;
        if (strcmp(policy, "restart") && strcmp(policy, "stop"))
                gw_json_fault(r, "on_crash", "on_crash is \"%.32s\"; allowed are restart and stop", policy);
        spec->on_crash = !strcmp(policy, "stop") ? GW_ON_CRASH_STOP : GW_ON_CRASH_RESTART;
        json_object_set_new(into, "on_crash", json_string(policy));
}

static void take_forbid(struct gw_json_reader *r, json_t *into) {
        unsigned forbid = 0;

        terms_read_forbid(r, &forbid);
        if (forbid)
                json_object_set_new(into, "forbid", gw_modes_json(forbid));
}

int nva_definition_read(struct nva_definition *out, json_t *body, struct gw_error *error) {
        struct gw_json_reader r = gw_json_reader(body, error);
        json_t *into = json_object();
        int code;

        memset(out, 0, sizeof *out);
        nva_read_id(&r, "name", &out->id);
        out->spec.id = out->id.s;
        out->spec.kind = GW_VM_MACHINE;
        out->spec.memory_mib =
                (uint32_t)gw_json_int(&r, "memory_mib", NVA_MEMORY_MIN_MIB, NVA_MEMORY_MAX_MIB, GW_JSON_REQUIRED);
        out->spec.vcpus = (uint32_t)gw_json_int(&r, "vcpus", 1, NVA_VCPUS_MAX, 1);
        json_object_set_new(into, "name", json_stringn(out->id.s, strcspn(out->id.s, "@")));
        json_object_set_new(into, "tenant", json_string(strchr(out->id.s, '@') ? strchr(out->id.s, '@') + 1 : ""));
        json_object_set_new(into, "memory_mib", json_integer(out->spec.memory_mib));
        json_object_set_new(into, "vcpus", json_integer(out->spec.vcpus));
        take_model(&r, into);
        take_nic_model(&r, into);
        take_emulator(&r, into);
        take_boot(&r, into);
        take_policy(&r, into, &out->spec);
        take_forbid(&r, into);
        take_ports(&r, out);
        code = gw_json_done(&r);
        out->text = json_dumps(into, JSON_COMPACT);
        json_decref(into);
        out->spec.definition = out->text;
        out->spec.definition_size = out->text ? strlen(out->text) : 0;
        return code;
}

void nva_definition_deinit(struct nva_definition *definition) {
        free(definition->text);
        definition->text = NULL;
}
