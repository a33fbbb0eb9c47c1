/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a VM's definition. The authority has checked it before; it is read
 * here as strictly where a wrong value would reach a command line or a device,
 * and members nobody here knows are passed over, so that a newer authority can
 * speak to an older agent.
 *
 * Errors of a member of a list are named by their place: `ports[1].mac`.
 */
#include "hypervisor/definition.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "io/allow.h"
#include "io/api.h"

enum { MEMORY_MIB_MAX = 16 << 20, VCPUS_MAX = 1024, MTU_MIN_OCTETS = 68, MTU_MAX_OCTETS = 65535 };

static bool is_plain(const char *text) {
        for (; *text; text++)
                if ((unsigned char)*text < ' ' || *text == 0x7f)
                        return false;
        return true;
}

static void copy_text(struct gw_json_reader *r, const char *key, char *out, size_t size) {
        const char *text = gw_json_string(r, key, "");

        if (gw_json_failed(r))
                return;
        if (strlen(text) >= size)
                gw_json_fault(r, key, "%s has %zu octets; at most %zu are allowed", key, strlen(text), size - 1);
        else if (!is_plain(text))
                gw_json_fault(r, key, "%s holds control characters", key);
        else
                strcpy(out, text);
}

static void copy_path(struct gw_json_reader *r, const char *key, char *out) {
        copy_text(r, key, out, GW_DEFINITION_PATH_MAX);
        if (!gw_json_failed(r) && out[0] && out[0] != '/')
                gw_json_fault(r, key, "%s is \"%s\"; it must be an absolute path", key, out);
}

static void parse_port(struct gw_json_reader *r, struct gw_definition_port *port) {
        gw_json_id(r, "id", GW_JSON_NEEDED, &port->id);
        gw_json_id(r, "vn", GW_JSON_OPTIONAL, &port->vn);
        gw_json_mac(r, "mac", GW_JSON_NEEDED, &port->mac);
        gw_json_ips(r, "addresses", port->ips, GW_DEFINITION_PORT_IPS_MAX, &port->n_ips);
        port->vni = (uint32_t)gw_json_int(r, "vni", 1, GW_VNI_MAX, GW_JSON_REQUIRED);
        gw_json_allow(r, "allow", &port->allow);
        port->mtu_octets = (unsigned)gw_json_int(r, "mtu", MTU_MIN_OCTETS, MTU_MAX_OCTETS, 0);
        if (!gw_json_failed(r) && gw_mac_is_group(port->mac))
                gw_json_fault(r, "mac", "mac is a group address; a VM needs an individual one");
}

static void parse_disk(struct gw_json_reader *r, struct gw_definition_disk *disk) {
        const char *format = gw_json_string(r, "format", "raw");

        copy_text(r, "path", disk->path, sizeof disk->path);
        if (gw_json_failed(r))
                return;
        if (!disk->path[0])
                gw_json_fault(r, "path", "a disk needs a path");
        else if (disk->path[0] != '/' && (disk->path[0] == '.' || strchr(disk->path, '/')))
                gw_json_fault(r, "path", "path is \"%s\"; it must be an absolute path, or a name without slashes",
                              disk->path);
        else if (strcmp(format, "raw") && strcmp(format, "qcow2"))
                gw_json_fault(r, "format", "format is \"%s\"; allowed are raw and qcow2", format);
        else
                strcpy(disk->format, format);
}

static void parse_lists(struct gw_json_reader *r, struct gw_definition *d) {
        json_t *ports = gw_json_array(r, "ports"), *disks = gw_json_array(r, "disks"), *item;
        size_t i;

        if (gw_json_failed(r))
                return;
        if (json_array_size(ports) > GW_DEFINITION_PORTS_MAX || json_array_size(disks) > GW_DEFINITION_DISKS_MAX) {
                gw_json_fault(r, "ports", "a VM has at most %d ports and %d disks", GW_DEFINITION_PORTS_MAX,
                              GW_DEFINITION_DISKS_MAX);
                return;
        }
        json_array_foreach (ports, i, item) {
                struct gw_json_reader inner = gw_json_reader_at(r, item, "ports[%zu].", i);

                parse_port(&inner, &d->ports[i]);
                d->n_ports = i + 1;
        }
        json_array_foreach (disks, i, item) {
                struct gw_json_reader inner = gw_json_reader_at(r, item, "disks[%zu].", i);

                parse_disk(&inner, &d->disks[i]);
                d->n_disks = i + 1;
        }
}

static void parse_id(struct gw_json_reader *r, struct gw_definition *d) {
        const char *name = gw_json_string(r, "name", NULL), *tenant = gw_json_string(r, "tenant", "default");
        char text[2 * sizeof d->id.s];

        if (gw_json_failed(r))
                return;
        snprintf(text, sizeof text, strchr(name, '@') ? "%.63s" : "%.63s@%.63s", name, tenant);
        if (gw_id_parse(text, &d->id))
                gw_json_fault(r, "name", "name and tenant make \"%s\"; an id looks like web@tenant", text);
}

static void parse_nic_model(struct gw_json_reader *r, struct gw_definition *d) {
        const char *model = gw_json_string(r, "nic_model", GW_NIC_VIRTIO);

        if (gw_json_failed(r))
                return;
        if (strcmp(model, GW_NIC_VIRTIO) && strcmp(model, GW_NIC_E1000) && strcmp(model, GW_NIC_VMXNET3))
                gw_json_fault(r, "nic_model", "nic_model is \"%.32s\"; allowed are virtio, e1000 and vmxnet3", model);
        else
                strcpy(d->nic_model, model);
}

static void parse_emulator(struct gw_json_reader *r, struct gw_definition *d) {
        const char *emulator = gw_json_string(r, "emulator", "qemu");

        if (gw_json_failed(r))
                return;
        if (strcmp(emulator, "qemu") == 0)
                strcpy(d->emulator, emulator);
        else
                copy_path(r, "emulator", d->emulator);
}

int gw_definition_parse(json_t *object, struct gw_definition *out, struct gw_error *error) {
        struct gw_error mine = {0};
        struct gw_json_reader r;
        struct gw_definition d = {0};

        if (!json_is_object(object))
                return gw_fail(error, GW_E_INVALID, "definition", "the definition must be a JSON object");
        r = gw_json_reader(object, &mine);
        parse_id(&r, &d);
        parse_emulator(&r, &d);
        d.memory_mib = (unsigned)gw_json_int(&r, "memory_mib", 1, MEMORY_MIB_MAX, 128);
        d.vcpus = (unsigned)gw_json_int(&r, "vcpus", 1, VCPUS_MAX, 1);
        copy_text(&r, "cpu_model", d.cpu_model, sizeof d.cpu_model);
        parse_nic_model(&r, &d);
        copy_text(&r, "cmdline", d.cmdline, sizeof d.cmdline);
        copy_path(&r, "kernel", d.kernel);
        copy_path(&r, "initrd", d.initrd);
        parse_lists(&r, &d);
        if (mine.code) {
                if (error)
                        *error = mine;
                return GW_E_INVALID;
        }
        *out = d;
        return 0;
}
