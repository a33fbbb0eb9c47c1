/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest file: small JSON, rewritten whole and atomically at each change. */
#include "lab/manifest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "io/file.h"

enum { MANIFEST_MAX = 4 << 20 };

int gw_manifest_save(const struct gw_manifest *m, struct gw_error *error) {
        int r = gw_file_write_json(m->path, m->object, 0600);

        return r < 0 ? gw_fail(error, r, "", "cannot write %s: %s", m->path, strerror(-r)) : 0;
}

int gw_manifest_new(struct gw_manifest *m, const char *path, json_t *head, struct gw_error *error) {
        if (!head || json_object_set_new(head, "items", json_array()) < 0) {
                json_decref(head);
                return gw_fail(error, -ENOMEM, "", "no memory");
        }
        *m = (struct gw_manifest){.object = head};
        snprintf(m->path, sizeof m->path, "%s", path);
        return gw_manifest_save(m, error);
}

int gw_manifest_load(struct gw_manifest *m, const char *path, struct gw_error *error) {
        json_t *object;
        int r = gw_file_read_json(path, MANIFEST_MAX, &object, error);

        if (r)
                return r;
        if (!json_is_array(json_object_get(object, "items"))) {
                json_decref(object);
                return gw_fail(error, GW_E_MALFORMED, "", "%s is not a lab's manifest", path);
        }
        *m = (struct gw_manifest){.object = object};
        snprintf(m->path, sizeof m->path, "%s", path);
        return 0;
}

void gw_manifest_deinit(struct gw_manifest *m) {
        json_decref(m->object);
        m->object = NULL;
}

json_t *gw_manifest_items(const struct gw_manifest *m) {
        return json_object_get(m->object, "items");
}

int gw_manifest_add(struct gw_manifest *m, json_t *item, struct gw_error *error) {
        if (json_array_append_new(gw_manifest_items(m), item) < 0)
                return gw_fail(error, -ENOMEM, "", "no memory");
        return gw_manifest_save(m, error);
}

static bool has(const json_t *item, const char *key, const char *value) {
        const char *text = json_string_value(json_object_get(item, key));

        return !key || (text && !strcmp(text, value));
}

json_t *gw_manifest_find(const struct gw_manifest *m, const char *kind, const char *key, const char *value,
                         const char *key2, const char *value2) {
        json_t *item;
        size_t i;

        json_array_foreach (gw_manifest_items(m), i, item)
                if (has(item, "kind", kind) && has(item, key, value) && has(item, key2, value2))
                        return item;
        return NULL;
}

void gw_manifest_remove(struct gw_manifest *m, const json_t *item) {
        json_t *each;
        size_t i;

        json_array_foreach (gw_manifest_items(m), i, each)
                if (each == item) {
                        json_array_remove(gw_manifest_items(m), i);
                        return;
                }
}
