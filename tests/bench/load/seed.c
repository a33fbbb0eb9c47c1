/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A population straight into a store: the directory's own core makes the
 * objects and stages the records, as in the authority, without its API between.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "directory/directory.h"
#include "load.h"
#include "store/store.h"

enum { COMMIT_EVERY = 20000 }; /* VMs */

struct seeder {
        struct gw_store *store;
        struct gw_directory directory;
        const struct population *population;
        int failed;
};

static void on_store(enum gw_record table, const void *key, size_t key_size, const void *value, size_t value_size,
                     void *user) {
        struct seeder *s = user;
        int r = gw_store_put(s->store, (enum gw_store_table)table, key, key_size, value, value_size);

        if (r < 0)
                s->failed = r;
}

static void on_unstore(enum gw_record table, const void *key, size_t key_size, void *user) {
        struct seeder *s = user;

        gw_store_del(s->store, (enum gw_store_table)table, key, key_size);
}

static size_t on_fetch(enum gw_record table, const void *key, size_t key_size, void *out, size_t room, void *user) {
        struct seeder *s = user;
        ssize_t n = gw_store_get(s->store, (enum gw_store_table)table, key, key_size, out, room);

        return n > 0 ? (size_t)n : 0;
}

static void on_send(struct gw_nve *to, uint8_t type, uint32_t id, const uint8_t *body, size_t size, void *user) {
        (void)to, (void)type, (void)id, (void)body, (void)size, (void)user; /* nobody has subscribed */
}

static void on_drop(struct gw_nve *nve, const char *reason, void *user) {
        (void)nve, (void)reason, (void)user;
}

static void on_changed(enum gw_object kind, const char *id, bool gone, void *user) {
        (void)kind, (void)id, (void)gone, (void)user;
}

static void on_note(enum gw_note kind, const char *text, void *user) {
        (void)kind, (void)user;
        fprintf(stderr, "%s\n", text);
}

static const struct gw_directory_effects effects = {.store = on_store,
                                                    .unstore = on_unstore,
                                                    .fetch = on_fetch,
                                                    .send = on_send,
                                                    .drop = on_drop,
                                                    .changed = on_changed,
                                                    .note = on_note};

static struct gw_now now(void) {
        return (struct gw_now){gw_mono_now(), gw_wall_now()};
}

static int make_nves(struct seeder *s, struct gw_nve **nves, struct gw_error *error) {
        for (uint32_t n = 0; n < s->population->nves; n++) {
                struct gw_hello hello = {.role = GW_ROLE_NVE, .locator = population_locator(n), .restart_count = 1};
                int r;

                hello.id = population_nve(n);
                r = gw_directory_hello(&s->directory, &hello, now(), &nves[n], error);
                if (r)
                        return r;
                gw_directory_nve_hv(&s->directory, nves[n], true);
                gw_directory_nve_capacity(&s->directory, nves[n], UINT32_MAX, UINT32_MAX);
        }
        return 0;
}

static int make_vns(struct seeder *s, struct gw_error *error) {
        for (uint32_t v = 0; v < s->population->vns; v++) {
                struct gw_prefix subnet = {.ip = {{[10] = 0xff, [11] = 0xff, [12] = 10, [13] = (uint8_t)v}},
                                           .bits = 96 + 16};
                struct gw_vn_spec spec = {.vni = LOAD_VNI_FIRST + v, .n_subnets = 1, .subnets = &subnet};
                char id[32];
                int r;

                snprintf(id, sizeof id, "bench-%u@default", v);
                spec.id = id;
                r = gw_directory_vn_create(&s->directory, &spec, NULL, error);
                if (r)
                        return r;
        }
        return 0;
}

static int make_vm(struct seeder *s, uint32_t i, struct gw_vm **out, struct gw_error *error) {
        struct gw_name name = population_vm(s->population, i);
        char vn[32], definition[400];
        struct gw_port_spec port = {.vn = vn, .has_mac = true, .mac = population_mac(i), .n_ips = 1};
        struct gw_vm_spec spec = {.id = name.s, .memory_mib = 1024, .vcpus = 2, .n_ports = 1, .ports = &port};
        const uint8_t *m = port.mac.b;

        snprintf(vn, sizeof vn, "bench-%u@default", i % s->population->vns);
        port.ips[0] = population_ip(s->population, i);
        spec.definition = definition;
        spec.definition_size = (size_t)snprintf(
                definition, sizeof definition,
                "{\"name\":\"vm-%07u\",\"tenant\":\"default\",\"memory_mib\":1024,\"vcpus\":2,\"cpu_model\":"
                "\"Nehalem\","
                "\"emulator\":\"qemu\",\"disks\":[{\"path\":\"/var/lib/images/vm-%07u.qcow2\",\"format\":\"qcow2\"}],"
                "\"ports\":[{\"vn\":\"%s\",\"mac\":\"%02x:%02x:%02x:%02x:%02x:%02x\"}],\"on_crash\":\"restart\"}",
                i, i, vn, m[0], m[1], m[2], m[3], m[4], m[5]);
        return gw_directory_vm_create(&s->directory, &spec, out, error);
}

static int serve(struct seeder *s, uint32_t i, struct gw_vm *vm, struct gw_nve *nve, struct gw_error *error) {
        struct gw_registration request = {.kind = GW_REG_REQUEST,
                                          .flags = GW_MH_REQUEST_USUAL,
                                          .sequence = 1,
                                          .lifetime_units = gw_registration_lifetime(LOAD_LIFETIME_S),
                                          .has = GW_REG_HAS_VM | GW_REG_HAS_HANDOFF | GW_REG_HAS_ACCESS |
                                                 GW_REG_HAS_TIMESTAMP | GW_REG_HAS_EPOCH,
                                          .handoff = GW_MH_HANDOFF_NEW,
                                          .access = GW_MH_ACCESS_VIRTUAL,
                                          .timestamp = gw_registration_stamp(gw_wall_now())};
        struct gw_registration reply;
        int r = gw_directory_place(&s->directory, vm, nve, now(), &request.epoch, error);

        if (r)
                return r;
        request.vm = population_vm(s->population, i);
        request.n_macs = request.n_addrs4 = 1;
        request.macs[0] = population_mac(i);
        request.addrs4[0] = (struct gw_reg_addr4){.ip = population_ip(s->population, i), .bits = 32};
        r = gw_directory_register(&s->directory, nve, &request, now(), &reply);
        if (!r && reply.status)
                r = gw_fail(error, GW_E_REFUSED, "", "registration refused: status %u", reply.status);
        gw_directory_vm_set_desired(&s->directory, vm, GW_VM_RUN);
        gw_directory_vm_set_state(&s->directory, vm, GW_VM_RUNNING);
        return r;
}

static int make_all(struct seeder *s, struct gw_error *error) {
        struct gw_nve **nves = calloc(s->population->nves, sizeof(struct gw_nve *));
        int r = nves ? make_nves(s, nves, error) : -ENOMEM;

        if (!r)
                r = make_vns(s, error);
        for (uint32_t i = 0; i < s->population->vms && !r && !s->failed; i++) {
                struct gw_vm *vm;

                r = make_vm(s, i, &vm, error);
                if (!r)
                        r = serve(s, i, vm, nves[population_place(s->population, i)], error);
                if (!r && i % COMMIT_EVERY == COMMIT_EVERY - 1)
                        r = gw_store_commit(s->store);
        }
        free(nves);
        if (!r)
                r = s->failed ? s->failed : gw_store_commit(s->store);
        return r;
}

int load_seed(const struct population *p, const char *state_dir) {
        static const uint64_t seed[2] = {1, 2};
        struct seeder s = {.population = p};
        struct gw_error error = {0};
        char path[4096];
        int r;

        mkdir(state_dir, 0700);
        snprintf(path, sizeof path, "%s/store", state_dir);
        r = gw_store_lmdb_new(&s.store, path);
        if (!r)
                r = gw_directory_init(&s.directory, seed, LOAD_LIFETIME_S, &effects, &s);
        if (!r)
                r = make_all(&s, &error);
        if (r)
                fprintf(stderr, "the population could not be made in %s: %s\n", path,
                        *error.text ? error.text : strerror(-r));
        gw_directory_deinit(&s.directory);
        gw_store_free(s.store);
        return r ? 1 : 0;
}
