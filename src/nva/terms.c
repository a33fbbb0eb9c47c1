/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kept as two members of the stored definition, `home` and `forbid`, since both
 * live and die with it, and a record without them (an older one) means what it
 * always did: not known, and nothing forbidden. They are read from the store when
 * needed, like the definition: moves and stops are rare.
 *
 * home: a stopped VM has no binding, but its images, and what an operator put
 * beside them, are on a host. It is the one that the VM ran on last, and changes
 * when a stopped VM is moved.
 */
#include "nva/terms.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "hypervisor/options.h"
#include "nva/json.h"
#include "nva/ways.h"

static json_t *stored(const struct gw_vm *vm) {
        json_t *definition = NULL;
        void *octets;
        size_t size;

        if (gw_directory_definition(vm, &octets, &size) == 0) {
                definition = json_loadb(octets, size, 0, NULL);
                free(octets);
        }
        return definition ? definition : json_object();
}

void terms_of(const struct gw_vm *vm, struct nva_terms *out) {
        json_t *definition = stored(vm), *forbid = json_object_get(definition, "forbid");

        *out = (struct nva_terms){.forbid = forbid ? gw_modes_read(forbid) : 0};
        snprintf(out->home.s, sizeof out->home.s, "%s", nva_json_text(definition, "home"));
        json_decref(definition);
}

static int write_down(struct nva *nva, struct gw_vm *vm, json_t *definition, struct gw_error *error) {
        char *text = json_dumps(definition, JSON_COMPACT);
        const struct gw_name name = gw_vm_name(vm);
        struct gw_vm_spec spec = {.id = name.s,
                                  .kind = vm->kind,
                                  .on_crash = vm->on_crash,
                                  .memory_mib = vm->memory_mib,
                                  .vcpus = vm->vcpus,
                                  .definition = text,
                                  .definition_size = text ? strlen(text) : 0};
        int r = text ? gw_directory_vm_update(&nva->directory, vm, &spec, error)
                     : gw_fail(error, -ENOMEM, "", "out of memory");

        free(text);
        return r;
}

int terms_set(struct nva *nva, struct gw_vm *vm, const struct nva_terms *terms, struct gw_error *error) {
        struct nva_terms old;
        json_t *definition;
        int r;

        terms_of(vm, &old);
        if (gw_name_eq(&old.home, &terms->home) && old.forbid == terms->forbid)
                return 0;
        definition = stored(vm);
        terms_strip(definition);
        if (terms->home.s[0])
                json_object_set_new(definition, "home", json_string(terms->home.s));
        if (terms->forbid)
                json_object_set_new(definition, "forbid", gw_modes_json(terms->forbid));
        r = write_down(nva, vm, definition, error);
        json_decref(definition);
        return r;
}

void terms_set_home(struct nva *nva, struct gw_vm *vm, const char *nve) {
        struct gw_error error = {0};
        struct nva_terms terms;

        if (vm->kind != GW_VM_MACHINE)
                return;
        terms_of(vm, &terms);
        snprintf(terms.home.s, sizeof terms.home.s, "%s", nve);
        if (terms_set(nva, vm, &terms, &error))
                gw_log(GW_WARNING, "vm=%s where it is cannot be kept: %s", gw_vm_name(vm).s, error.text);
}

struct gw_nve *terms_home(const struct nva *nva, const struct gw_vm *vm) {
        struct nva_terms terms;

        terms_of(vm, &terms);
        return terms.home.s[0] ? gw_directory_nve(&nva->directory, terms.home.s) : NULL;
}

void terms_tell_disks(const struct nva *nva, const struct gw_vm *vm, const char *tried, struct gw_error *error) {
        const struct gw_nve *home = ways_has_disks(vm) ? terms_home(nva, vm) : NULL;
        char tail[sizeof error->text];
        size_t n;

        if (!home)
                return;
        if (strcmp(home->id.s, tried))
                snprintf(tail, sizeof tail, "; it ran last on %s, its own disks are there", home->id.s);
        else
                snprintf(tail, sizeof tail,
                         "; its disks are on %s: bring that back, or start it with --on where they were put",
                         home->id.s);
        n = sizeof error->text - 1 - strlen(tail);
        error->text[n] = '\0'; /* what was said so far may be cut, but not this */
        gw_text_mend(error->text);
        strcat(error->text, tail);
}

void terms_read_forbid(struct gw_json_reader *r, unsigned *forbid) {
        json_t *list = gw_json_array(r, "forbid");
        unsigned modes = 0;

        if (!list || gw_json_failed(r))
                return;
        for (size_t i = 0; i < json_array_size(list); i++) {
                const char *word = json_string_value(json_array_get(list, i));
                unsigned bit = word && !strchr(word, ' ') ? gw_modes_parse(word) : 0;

                if (!bit) {
                        gw_json_fault(r, "forbid", "forbid has \"%.32s\"; allowed are hot, post-copy and cold",
                                      word ? word : "no text");
                        return;
                }
                modes |= bit;
        }
        *forbid = modes;
}

void terms_strip(json_t *definition) {
        json_object_del(definition, "home");
        json_object_del(definition, "forbid");
}

void terms_show(const struct gw_vm *vm, json_t *object) {
        struct nva_terms terms;

        terms_of(vm, &terms);
        terms_strip(json_object_get(object, "definition"));
        json_object_set_new(object, "home", json_string(gw_vm_nve(vm) ? gw_vm_nve(vm)->id.s : terms.home.s));
        json_object_set_new(object, "forbid", gw_modes_json(terms.forbid));
}
