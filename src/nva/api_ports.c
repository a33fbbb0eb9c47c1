/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /v1/ports: all ports; and tasks, which are made and unmade by attaching and
 * detaching their one port. Ports of VMs are part of the VM.
 */
#include <stdio.h>
#include <string.h>

#include "nva/api.h"
#include "nva/definition.h"
#include "nva/json.h"
#include "nva/life.h"
#include "nva/page.h"

enum { TASK_MEMORY_MIB = 0 };

void api_ports_list(struct gw_request *request, void *user) {
        const struct nva *nva = user;
        const struct gw_port *port;
        struct nva_page page;

        if (!page_begin(&page, request))
                return;
        while ((port = gw_directory_port_after(&nva->directory, page_after(&page))) && page_has_room(&page))
                page_add(&page, gw_port_id(port).s, nva_json_port(port));
        page_answer(&page, request, "ports", port);
}

static struct gw_port *port_of(struct nva *nva, struct gw_request *request) {
        struct gw_name id;
        struct gw_port *port;

        if (!api_id(request, "port", &id))
                return NULL;
        port = gw_directory_port(&nva->directory, id.s);
        if (!port)
                api_not_found(request, "port", id.s, "`godwit port list` shows them");
        return port;
}

void api_ports_show(struct gw_request *request, void *user) {
        const struct gw_port *port = port_of(user, request);

        if (port)
                gw_request_answer(request, 200, nva_json_port(port));
}

static bool device_name_good(const char *name) {
        if (!*name || strlen(name) > GW_DEVICE_MAX || !strcmp(name, ".") || !strcmp(name, ".."))
                return false;
        for (; *name; name++)
                if (*name <= ' ' || *name > '~' || *name == '/' || *name == ':')
                        return false;
        return true;
}

struct task {
        struct gw_name id, vn;
        struct gw_port_spec port;
        struct gw_nve *nve;
};

static int read_place(struct nva *nva, struct gw_json_reader *r, struct task *task) {
        struct gw_name nve = {""};

        gw_json_name(r, "nve", GW_JSON_NEEDED, &nve);
        if (gw_json_done(r))
                return r->error->code;
        task->nve = gw_directory_nve(&nva->directory, nve.s);
        if (!task->nve)
                return gw_fail(r->error, GW_E_NOT_FOUND, "nve",
                               "nve is \"%s\"; there is no such NVE; `godwit nve list` shows them", nve.s);
        if (!task->nve->nve_session)
                return gw_fail(r->error, GW_E_CONFLICT, "nve", "%s is not connected", nve.s);
        return 0;
}

static int read_task(struct nva *nva, struct gw_request *request, struct task *task, struct gw_error *error) {
        struct gw_json_reader r = gw_json_reader(gw_request_body(request), error);
        const char *device;

        memset(task, 0, sizeof *task);
        gw_json_id(&r, "vm", GW_JSON_NEEDED, &task->id);
        nva_read_port(&r, &task->id, &task->vn, &task->port);
        device = gw_json_string(&r, "device", NULL);
        if (!gw_json_failed(&r) && !device_name_good(device))
                gw_json_fault(&r, "device",
                              "device is \"%.32s\"; it must be the name of a network device, at most %d characters",
                              device, GW_DEVICE_MAX);
        task->port.device = device;
        return read_place(nva, &r, task);
}

void api_ports_create(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_error error = {0};
        struct gw_vm_spec spec;
        struct task task;
        struct gw_vm *vm;
        uint64_t epoch;

        if (read_task(nva, request, &task, &error))
                return gw_request_fail(request, &error);
        spec = (struct gw_vm_spec){
                .id = task.id.s, .kind = GW_VM_TASK, .memory_mib = TASK_MEMORY_MIB, .ports = &task.port, .n_ports = 1};
        if (gw_directory_vm_create(&nva->directory, &spec, &vm, &error))
                return gw_request_fail(request, &error);
        if (gw_directory_place(&nva->directory, vm, task.nve, nva_now(), &epoch, &error)) {
                gw_directory_vm_delete(&nva->directory, vm, NULL);
                return gw_request_fail(request, &error);
        }
        gw_directory_vm_set_desired(&nva->directory, vm, GW_VM_RUN);
        life_attach(nva, vm, request);
}

void api_ports_delete(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_port *port = port_of(nva, request);
        struct gw_error error = {0};

        if (!port)
                return;
        if (gw_port_vm(port)->kind != GW_VM_TASK) {
                gw_fail(&error, GW_E_CONFLICT, "port", "the port is part of the VM %s; it goes with it",
                        gw_vm_name(gw_port_vm(port)).s);
                return gw_request_fail(request, &error);
        }
        life_detach(nva, gw_port_vm(port));
        gw_request_answer(request, 204, NULL);
}
