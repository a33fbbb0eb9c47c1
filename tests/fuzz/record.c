/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzing the records of the directory's store. An input is a store's content:
 * u8 table, u8 octets of the key, u16 octets of the value, key, value, and so on.
 * It is loaded as at a start, up to the first record that is refused; what was
 * loaded must be found, hold together, outlive its lifetimes, and go.
 */
#include <string.h>

#include "base/cursor.h"
#include "base/error.h"
#include "directory/directory.h"
#include "fuzz.h"

static void on_store(enum gw_record table, const void *key, size_t key_size, const void *value, size_t value_size,
                     void *user) {
        (void)value, (void)user;
        must(table <= GW_RECORD_BINDING && key && key_size && value_size);
}
static void on_unstore(enum gw_record table, const void *key, size_t key_size, void *user) {
        (void)table, (void)user;
        must(key && key_size);
}
static void on_send(struct gw_nve *to, uint8_t type, uint32_t id, const uint8_t *body, size_t size, void *user) {
        (void)to, (void)type, (void)id, (void)body, (void)size, (void)user;
}
static void on_drop(struct gw_nve *nve, const char *reason, void *user) {
        (void)nve, (void)reason, (void)user;
}
static void on_changed(enum gw_object kind, const char *id, bool gone, void *user) {
        (void)kind, (void)gone, (void)user;
        must(*id);
}
static void on_note(enum gw_note kind, const char *text, void *user) {
        (void)kind, (void)user;
        must(text);
}

static const struct gw_directory_effects effects = {.store = on_store,
                                                    .unstore = on_unstore,
                                                    .send = on_send,
                                                    .drop = on_drop,
                                                    .changed = on_changed,
                                                    .note = on_note};
static const struct gw_now start = {{GW_NS_PER_S}, {UINT64_C(1700000000) * GW_NS_PER_S}};

static void load_all(struct gw_directory *d, struct gw_reader *in) {
        uint8_t last = 0;

        while (gw_reader_left(in)) {
                uint8_t table = gw_get_u8(in), key_size = gw_get_u8(in);
                uint16_t value_size = gw_get_u16(in);
                const uint8_t *key = gw_get_span(in, key_size), *value = gw_get_span(in, value_size);
                struct gw_error error = {0};
                int r;

                if (!in->ok || table < last) /* tables come in the order of their numbers */
                        break;
                last = table;
                gw_directory_load_ahead(d, (enum gw_record)table, &(struct gw_stored){key, value, key_size, value_size},
                                        1);
                r = gw_directory_load(d, (enum gw_record)table, key, key_size, value, value_size, start, &error);
                must(r >= 0 && (r == 0 || *error.text));
                if (r)
                        break;
        }
        gw_directory_loaded(d);
}

static void check_port(struct gw_directory *d, const struct gw_vm *vm, const struct gw_port *port) {
        struct gw_mapping mapping;

        must(gw_port_vm(port) == vm && gw_port_vn(port) && port->n_ips <= GW_PORT_IPS_MAX);
        must(gw_directory_port_by_mac(d, gw_port_vn(port)->vni, port->mac) == port);
        for (unsigned i = 0; i < port->n_ips; i++)
                must(gw_directory_port_by_ip(d, gw_port_vn(port)->vni, gw_port_ip(port, i)));
        gw_directory_mapping(port, &mapping);
        must(mapping.state == GW_MAPPING_SERVING || mapping.state == GW_MAPPING_ABSENT);
}

static void check_all(struct gw_directory *d) {
        for (struct gw_vm *vm = NULL; (vm = gw_directory_vm_after(d, vm ? gw_vm_name(vm).s : NULL));) {
                unsigned n = 0;

                must(gw_directory_vm(d, gw_vm_name(vm).s) == vm && gw_vm_tenant(vm) &&
                     strlen(gw_vm_name(vm).s) <= GW_NAME_MAX);
                must(vm->binding.epoch <= vm->binding.reserved &&
                     gw_binding_n_previous(&vm->binding) <= GW_PREVIOUS_MAX);
                for (const struct gw_port *port = gw_vm_ports(vm); port; port = gw_port_next(port), n++)
                        check_port(d, vm, port);
                must(n == vm->n_ports && n <= GW_VM_PORTS_MAX);
        }
        for (struct gw_nve *nve = NULL; (nve = gw_directory_nve_after(d, nve ? nve->id.s : NULL));)
                for (struct gw_vm *vm = NULL; (vm = gw_directory_vm_at_after(nve, vm));)
                        must(gw_vm_nve(vm) == nve);
}

static void live_on(struct gw_directory *d) {
        struct gw_now later = start;
        struct gw_mono due;

        for (int i = 0; i < 100 && (due = gw_directory_deadline(d)).ns; i++) {
                must(due.ns >= later.mono.ns);
                later.mono = due;
                gw_directory_tick(d, later);
        }
        for (struct gw_vm *vm = gw_directory_vm_after(d, NULL), *next; vm; vm = next) {
                next = gw_directory_vm_after(d, gw_vm_name(vm).s);
                gw_directory_release(d, vm, later);
                must(gw_directory_vm_delete(d, vm, NULL) == 0);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const uint64_t seed[2] = {1, 2};
        struct gw_reader in = gw_reader(data, size);
        struct gw_directory d;

        must(gw_directory_init(&d, seed, 3600, &effects, NULL) == 0);
        load_all(&d, &in);
        check_all(&d);
        live_on(&d);
        check_all(&d);
        gw_directory_deinit(&d);
        return 0;
}
