/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must survive the daemon: one JSON file a port in state-dir/ports, and the
 * number of starts.
 *
 * A file is written before its port is attached. It must survive the daemon, not
 * the machine (no VM does), so that nothing waits for a disk. Later changes
 * (cut, activate, redirect ended) are written some time after they were made:
 * the pinned forwarding entry, which carries role and epoch as well, is the newer
 * truth and wins at the next start. After a reboot there are neither pins nor
 * devices, and the files of ports without a device are dropped, but for a
 * redirect that had no device any more. What was being written when the daemon was
 * killed is removed at the next start; a file of a later version is left out, and said so.
 *
 * A host may have thousands of ports, and a start touches all of them. What a file has already is not
 * written again, and of the rest FILES_AT_ONCE in a turn of the loop.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "io/file.h"
#include "nve/nve.h"

enum {
        STATE_VERSION = 1,
        STATE_FILE_MAX = 64 << 10,
        STATE_PATH_SIZE = GW_CONF_PATH_SIZE + GW_NAME_MAX + 16,
        SAVE_AFTER_MS = 50,
        SAVE_ON_MS = 1, /* the rest, when the others had their turn */
        FILES_AT_ONCE = 64,
        STATE_MODE = 0600,
};

struct nve_saved {
        struct gw_list link;
        struct gw_table_node node;
        struct gw_name id, vm;
        char device[NVE_DEVICE_SIZE];
        uint64_t content; /* of the file, as a hash; 0: not known */
        bool dirty;       /* its port has changed, or is gone */
        bool is_there;    /* in a flush: its port is */
};

static const char *const role_words[] = {
        [GW_EDGE_SERVING] = "serving", [GW_EDGE_ARRIVING] = "arriving", [GW_EDGE_MOVED] = "moved"};

static void port_path(const struct nve *nve, const struct gw_name *id, char out[static STATE_PATH_SIZE]) {
        snprintf(out, STATE_PATH_SIZE, "%s/ports/%s.json", nve->config.common.state_dir, id->s);
}

/* ---- one port ---- */

static json_t *port_json(const struct gw_edge_attach *port, const char *device) {
        char mac[GW_MAC_TEXT], ip[GW_IP_TEXT];
        json_t *ips = json_array(), *value;

        for (size_t i = 0; i < port->n_ips; i++)
                json_array_append_new(ips, json_string(gw_ip_text(port->ips[i], ip)));
        value = json_pack("{s:s, s:s, s:I, s:s, s:o, s:I, s:s, s:s, s:I, s:s}", "id", port->id.s, "vm", port->vm.s,
                          "vni", (json_int_t)port->vni, "mac", gw_mac_text(port->mac, mac), "addresses", ips, "mtu",
                          (json_int_t)port->mtu, "device", device, "role", role_words[port->role], "epoch",
                          (json_int_t)port->epoch, "peer", gw_ip_text(port->peer, ip));
        if (!value)
                return NULL;
        json_object_set_new(value, "version", json_integer(STATE_VERSION));
        nve_rules_write(value, port);
        if (port->task)
                json_object_set_new(value, "task", json_true());
        return value;
}

static uint8_t role_of_word(const char *word) {
        for (int role = GW_EDGE_SERVING; role <= GW_EDGE_MOVED; role++)
                if (strcmp(word, role_words[role]) == 0)
                        return (uint8_t)role;
        return 0;
}

static int port_of_json(json_t *value, struct gw_edge_attach *out, char device[static NVE_DEVICE_SIZE],
                        struct gw_error *error) {
        struct gw_json_reader r = gw_json_reader(value, error);
        size_t n_ips;

        *out = (struct gw_edge_attach){0};
        /* The first files had no version, and are of the first. */
        if (gw_json_int(&r, "version", 1, INT32_MAX, STATE_VERSION) > STATE_VERSION)
                gw_json_fault(&r, "version",
                              "this file is of a later version of godwit-nve than this one, which reads %d",
                              STATE_VERSION);
        gw_json_id(&r, "id", GW_JSON_NEEDED, &out->id);
        gw_json_id(&r, "vm", GW_JSON_NEEDED, &out->vm);
        out->vni = (uint32_t)gw_json_int(&r, "vni", 1, GW_VNI_MAX, GW_JSON_REQUIRED);
        gw_json_mac(&r, "mac", GW_JSON_NEEDED, &out->mac);
        gw_json_ips(&r, "addresses", out->ips, GW_MAPPING_IPS_MAX, &n_ips);
        out->n_ips = (uint8_t)n_ips;
        out->mtu = (uint32_t)gw_json_int(&r, "mtu", 68, 65535, GW_JSON_REQUIRED);
        snprintf(device, NVE_DEVICE_SIZE, "%s", gw_json_string(&r, "device", ""));
        out->role = role_of_word(gw_json_string(&r, "role", "serving"));
        out->epoch = (uint64_t)gw_json_int(&r, "epoch", 0, INT64_MAX, GW_JSON_REQUIRED);
        gw_json_ip(&r, "peer", GW_JSON_OPTIONAL, &out->peer);
        out->task = gw_json_bool(&r, "task", false);
        nve_rules_read(&r, out);
        if (!out->role)
                gw_json_fault(&r, "role", "role is serving, arriving or moved");
        return gw_json_done(&r);
}

/* A crash of the daemon leaves the old content or the new; after one of the machine neither matters. */
static int write_whole(const char *path, const char *text) {
        char beside[STATE_PATH_SIZE + 8];
        FILE *file;
        int r;

        snprintf(beside, sizeof beside, "%s.new", path);
        file = fopen(beside, "we");
        if (!file)
                return -errno;
        r = fputs(text, file) < 0 ? -EIO : 0;
        if (fclose(file) && !r)
                r = -errno;
        return r ? r : rename(beside, path) ? -errno : 0;
}

static uint64_t content_of(const struct nve *nve, const char *text) {
        return text ? gw_table_hash(&nve->saved_by_id, text, strlen(text)) : 0;
}

/* What is in the file already is not written again. */
static int port_write(struct nve *nve, struct nve_saved *saved, const struct gw_edge_attach *port) {
        json_t *value = port_json(port, saved->device);
        char path[STATE_PATH_SIZE], *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
        uint64_t content = content_of(nve, text);
        int r = text ? 0 : -ENOMEM;

        json_decref(value);
        port_path(nve, &saved->id, path);
        if (!r && content != saved->content)
                r = write_whole(path, text);
        saved->content = r ? 0 : content;
        free(text);
        if (r)
                gw_log(GW_ERR, "%s: cannot be written: %s", path, gw_error_word(r));
        return r;
}

/* ---- which ports have a file ---- */

static bool saved_match(const struct gw_table_node *node, const void *id) {
        return !strcmp(gw_container_of(node, struct nve_saved, node)->id.s, id);
}

static struct nve_saved *saved_find(const struct nve *nve, const struct gw_name *id) {
        const struct gw_table *table = &nve->saved_by_id;
        struct gw_table_node *node = gw_table_find(table, gw_table_hash(table, id->s, strlen(id->s)), id->s);

        return node ? gw_container_of(node, struct nve_saved, node) : NULL;
}

static struct nve_saved *saved_note(struct nve *nve, const struct gw_edge_attach *port, const char *device) {
        struct nve_saved *saved = saved_find(nve, &port->id);
        struct gw_table *table = &nve->saved_by_id;

        if (!saved) {
                saved = calloc(1, sizeof *saved);
                if (!saved)
                        return NULL;
                saved->id = port->id;
                if (gw_table_insert(table, &saved->node, gw_table_hash(table, port->id.s, strlen(port->id.s)))) {
                        free(saved);
                        return NULL;
                }
                gw_list_append(&nve->saved, &saved->link);
        }
        saved->vm = port->vm;
        snprintf(saved->device, sizeof saved->device, "%s", device);
        return saved;
}

static void saved_free(struct nve *nve, struct nve_saved *saved) {
        gw_table_remove(&nve->saved_by_id, &saved->node);
        gw_list_remove(&saved->link);
        free(saved);
}

const char *nve_state_device(struct nve *nve, const struct gw_name *port) {
        const struct nve_saved *saved = saved_find(nve, port);

        return saved ? saved->device : "";
}

/* Two files that name one device would be one too many at the next start: that of a port which is gone goes first. */
static void device_passes_on(struct nve *nve, const struct gw_name *port, const char *device) {
        bool named = false;

        gw_list_for_each (link, &nve->saved) {
                const struct nve_saved *saved = gw_list_entry(link, struct nve_saved, link);

                named |= !gw_name_eq(&saved->id, port) && !strcmp(saved->device, device);
        }
        if (named)
                nve_state_flush(nve);
}

int nve_state_save_port(struct nve *nve, const struct gw_edge_attach *port, const char *device) {
        struct nve_saved *saved;

        device_passes_on(nve, &port->id, device);
        saved = saved_note(nve, port, device);
        return saved ? port_write(nve, saved, port) : -ENOMEM;
}

/* ---- changes ---- */

struct flush {
        struct nve *nve;
        size_t left; /* files that may be touched */
};

static void flush_port(const struct gw_edge_port_view *view, void *user) {
        struct flush *flush = user;
        struct nve_saved *saved = saved_find(flush->nve, &view->port->id);

        if (!saved || !saved->dirty)
                return;
        saved->is_there = true;
        if (!flush->left)
                return;
        flush->left--;
        saved->dirty = false;
        saved->vm = view->port->vm;
        port_write(flush->nve, saved, view->port);
}

static void remove_file(struct nve *nve, struct nve_saved *saved) {
        char path[STATE_PATH_SIZE];
        int r;

        port_path(nve, &saved->id, path);
        r = unlink(path) && errno != ENOENT ? -errno : 0;
        if (r)
                gw_log(GW_ERR, "%s: cannot be removed: %s", path, gw_error_word(r));
        saved_free(nve, saved);
}

/* At most so many files; true: more are due. */
static bool flush(struct nve *nve, size_t files) {
        struct flush flush = {nve, files};
        bool more = false;

        gw_edge_each_port(nve->edge, flush_port, &flush);
        gw_list_for_each (link, &nve->saved) {
                struct nve_saved *saved = gw_list_entry(link, struct nve_saved, link);

                if (saved->dirty && !saved->is_there && flush.left) {
                        flush.left--;
                        remove_file(nve, saved);
                        continue;
                }
                more |= saved->dirty;
                saved->is_there = false;
        }
        return more;
}

void nve_state_flush(struct nve *nve) {
        gw_timer_free(nve->save_timer);
        nve->save_timer = NULL;
        flush(nve, SIZE_MAX);
}

static void save_due(void *user);

static void save_in(struct nve *nve, uint32_t ms) {
        if (!nve->save_timer && gw_timer_new(&nve->save_timer, &nve->loop, gw_ms(ms), gw_ms(0), save_due, nve))
                gw_log(GW_ERR, "no timer for saving; the state is written at the end");
}

static void save_due(void *user) {
        struct nve *nve = user;

        gw_timer_free(nve->save_timer);
        nve->save_timer = NULL;
        if (flush(nve, FILES_AT_ONCE))
                save_in(nve, SAVE_ON_MS);
}

void nve_state_refused(struct nve *nve, const struct gw_name *port, const char *device) {
        struct nve_saved *saved = saved_find(nve, port);

        if (!saved)
                return;
        memmove(saved->device, device, strlen(device) + 1);
        saved->dirty = true;
        nve_state_flush(nve);
}

void nve_state_changed(struct nve *nve, const struct gw_name *vm) {
        if (nve->restoring) /* each port is looked at then */
                return;
        gw_list_for_each (link, &nve->saved) {
                struct nve_saved *saved = gw_list_entry(link, struct nve_saved, link);

                if (!gw_name_eq(&saved->vm, vm))
                        continue;
                saved->dirty = true;
                save_in(nve, SAVE_AFTER_MS);
        }
}

int nve_state_init(struct nve *nve) {
        uint64_t seed[2];

        gw_list_init(&nve->saved);
        if (getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed)
                return -errno;
        return gw_table_init(&nve->saved_by_id, seed, saved_match);
}

void nve_state_close(struct nve *nve) {
        if (nve->edge)
                nve_state_flush(nve);
        gw_list_for_each (link, &nve->saved)
                saved_free(nve, gw_list_entry(link, struct nve_saved, link));
        gw_table_deinit(&nve->saved_by_id);
}

/* ---- at the start ---- */

static int count_start(struct nve *nve, struct gw_error *error) {
        char path[STATE_PATH_SIZE];
        json_t *value = NULL;
        int r;

        snprintf(path, sizeof path, "%s/start.json", nve->config.common.state_dir);
        r = gw_file_read_json(path, STATE_FILE_MAX, &value, error);
        if (r && r != -ENOENT)
                return r;
        nve->restart_count = (uint64_t)json_integer_value(json_object_get(value, "count")) + 1;
        json_decref(value);
        value = json_pack("{s:I}", "count", (json_int_t)nve->restart_count);
        r = value ? gw_file_write_json(path, value, STATE_MODE) : -ENOMEM;
        json_decref(value);
        if (r)
                return gw_fail(error, r, "state-dir", "%s cannot be written: %s", path, gw_error_word(r));
        return 0;
}

/* NAME.json.new, or NAME.json. and six characters: what a daemon that was killed was writing. */
static bool is_unfinished(const char *name) {
        const char *end = strstr(name, ".json.");

        return end && (strcmp(end, ".json.new") == 0 || strlen(end) == strlen(".json.XXXXXX"));
}

static void sweep(const char *folder) {
        char path[STATE_PATH_SIZE + sizeof(((struct dirent *)0)->d_name)];
        DIR *dir = opendir(folder);
        struct dirent *entry;

        while (dir && (entry = readdir(dir))) {
                if (!is_unfinished(entry->d_name))
                        continue;
                snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
                if (unlink(path) == 0)
                        gw_log(GW_NOTICE, "%s: removed, it was never finished", path);
        }
        if (dir)
                closedir(dir);
}

int nve_state_open(struct nve *nve, struct gw_error *error) {
        char path[STATE_PATH_SIZE];
        int r = gw_dir_make(nve->config.common.state_dir, 0700);

        snprintf(path, sizeof path, "%s/ports", nve->config.common.state_dir);
        if (!r)
                r = gw_dir_make(path, 0700);
        if (r)
                return gw_fail(error, r, "state-dir", "%s cannot be made: %s", path, gw_error_word(r));
        sweep(path);
        sweep(nve->config.common.state_dir);
        return count_start(nve, error);
}

/* The pinned entry is newer than the file, or the same. */
static void port_catch_up(struct nve *nve, struct gw_edge_attach *port) {
        struct gw_forward forward;

        if (gw_datapath_fdb_get(nve->dp, port->vni, port->mac, &forward) || forward.epoch < port->epoch)
                return;
        if (forward.kind == GW_FORWARD_LOCAL) {
                port->role = GW_EDGE_SERVING;
                port->peer = (struct gw_ip){{0}};
        } else if (forward.kind == GW_FORWARD_MOVED) {
                port->role = GW_EDGE_MOVED;
                port->peer = forward.locator;
        } else {
                return;
        }
        port->epoch = forward.epoch;
}

/* In the pinned port, too: the file does not say it. */
static bool was_returning(const struct nve *nve, const struct gw_edge_attach *port, const char *device) {
        int index = port->role == GW_EDGE_ARRIVING && device[0] ? gw_link_index(device) : 0;
        struct gw_datapath_port pinned;

        return index > 0 && !gw_datapath_port_get(nve->dp, (uint32_t)index, &pinned) && pinned.vni == port->vni &&
               pinned.flags & GW_PORT_RETURNING;
}

struct found {
        struct gw_edge_attach port;
        uint64_t content;
        char device[NVE_DEVICE_SIZE];
};
struct restoring {
        struct nve *nve;
        struct found *found;
        size_t n, room;
};

static int found_room(struct restoring *all) {
        struct found *more;

        if (all->n < all->room)
                return 0;
        more = realloc(all->found, (all->room + 64) * 2 * sizeof *more);
        if (!more)
                return -ENOMEM;
        all->found = more;
        all->room = (all->room + 64) * 2;
        return 0;
}

static uint64_t json_content(const struct nve *nve, const json_t *value) {
        char *text = json_dumps(value, JSON_COMPACT);
        uint64_t content = content_of(nve, text);

        free(text);
        return content;
}

static void port_find(struct restoring *all, const char *path) {
        struct gw_error error = {0};
        json_t *value = NULL;
        struct found *f;
        int r = found_room(all);

        if (r) {
                gw_log(GW_ERR, "%s: left out: %s", path, gw_error_word(r));
                return;
        }
        f = &all->found[all->n];
        r = gw_file_read_json(path, STATE_FILE_MAX, &value, &error);
        if (!r)
                r = port_of_json(value, &f->port, f->device, &error);
        f->content = r ? 0 : json_content(all->nve, value);
        json_decref(value);
        if (r) {
                gw_log(GW_ERR, "%s: left out: %s: %s", path, error.field, error.text);
                return;
        }
        port_catch_up(all->nve, &f->port);
        f->port.returning = was_returning(all->nve, &f->port, f->device);
        all->n++;
}

static int by_vm(const void *a, const void *b) {
        return strcmp(((const struct found *)a)->port.vm.s, ((const struct found *)b)->port.vm.s);
}

static bool is_newer(const struct gw_edge_attach *a, const struct gw_edge_attach *than) {
        return a->epoch != than->epoch ? a->epoch > than->epoch : a->role < than->role;
}

/* A VM with several ports is cut, taken back or activated port by port, and the daemon may have been killed in between: what
 * was begun counts for all of them, and so is a return. With one epoch, one that serves has been activated. */
static void ports_agree(struct found *first, size_t n) {
        const struct gw_edge_attach *newest = &first->port;
        bool returning = false;

        for (size_t i = 1; i < n; i++)
                if (is_newer(&first[i].port, newest))
                        newest = &first[i].port;
        for (size_t i = 0; i < n; i++)
                returning |= first[i].port.returning && first[i].port.epoch == newest->epoch;
        for (size_t i = 0; i < n; i++) {
                first[i].port.returning = returning && newest->role == GW_EDGE_ARRIVING;
                first[i].port.role = newest->role;
                first[i].port.epoch = newest->epoch;
                first[i].port.peer = newest->peer;
        }
}

static void port_restore(struct nve *nve, struct found *f) {
        struct gw_error error = {0};
        struct nve_saved *saved;
        struct gw_link device;
        int r;

        if (f->device[0] && !gw_link_get(f->device, &device)) {
                f->port.ifindex = (uint32_t)device.index;
                f->port.queues = strcmp(device.kind, "tun") == 0;
        }
        saved = saved_note(nve, &f->port, f->device);
        r = f->port.ifindex || f->port.role == GW_EDGE_MOVED ? gw_edge_attach(nve->edge, nve_now(), &f->port, &error)
                                                             : -ENODEV;
        if (r)
                gw_log(GW_NOTICE, "port=%s is not restored: %s", f->port.id.s, r == -ENODEV ? "no device" : error.text);
        if (!saved) /* as if it had no file */
                return;
        saved->content = f->content;
        saved->dirty = true;
        save_in(nve, SAVE_AFTER_MS);
}

static void ports_restore(struct restoring *all) {
        size_t n;

        if (all->n)
                qsort(all->found, all->n, sizeof *all->found, by_vm);
        for (size_t i = 0; i < all->n; i += n) {
                for (n = 1; i + n < all->n && !by_vm(&all->found[i], &all->found[i + n]); n++)
                        ;
                ports_agree(&all->found[i], n);
                for (size_t j = i; j < i + n; j++)
                        port_restore(all->nve, &all->found[j]);
        }
        free(all->found);
}

static int adopt_port(const struct gw_datapath_port *port, void *user) {
        struct nve *nve = user;

        if (!gw_edge_has_device(nve->edge, port->ifindex))
                gw_datapath_port_del(nve->dp, port->ifindex);
        return 0;
}

static int adopt_member(uint32_t vni, struct gw_ip locator, uint32_t flags, void *user) {
        gw_edge_adopt_member(((struct nve *)user)->edge, nve_now(), vni, locator,
                             flags & GW_MEMBER_GATEWAY ? GW_MEMBER_ROUTES : 0);
        return 0;
}

static int adopt_fdb(uint32_t vni, struct gw_mac mac, const struct gw_forward *forward, void *user) {
        static const uint8_t places[] = {[GW_FORWARD_LOCAL] = GW_EDGE_TO_LOCAL,
                                         [GW_FORWARD_REMOTE] = GW_EDGE_TO_REMOTE,
                                         [GW_FORWARD_MOVED] = GW_EDGE_TO_MOVED,
                                         [GW_FORWARD_ARRIVING] = GW_EDGE_TO_ARRIVING,
                                         [GW_FORWARD_GATEWAY] = GW_EDGE_TO_GATEWAY};
        struct gw_edge_fdb entry = {.place = forward->kind <= GW_FORWARD_GATEWAY ? places[forward->kind] : 0,
                                    .ifindex = forward->ifindex,
                                    .locator = forward->locator,
                                    .epoch = forward->epoch};

        gw_edge_adopt_fdb(((struct nve *)user)->edge, nve_now(), vni, mac, &entry);
        return 0;
}

static int adopt_neigh(uint32_t vni, struct gw_ip ip, struct gw_mac mac, uint8_t flags, void *user) {
        (void)flags;
        gw_edge_adopt_neigh(((struct nve *)user)->edge, nve_now(), vni, ip, mac);
        return 0;
}

static int restore_files(struct nve *nve, struct gw_error *error) {
        char path[STATE_PATH_SIZE + sizeof(((struct dirent *)0)->d_name)];
        struct restoring all = {.nve = nve};
        struct dirent *entry;
        DIR *dir;

        snprintf(path, sizeof path, "%s/ports", nve->config.common.state_dir);
        dir = opendir(path);
        if (!dir)
                return gw_fail(error, -errno, "state-dir", "%s cannot be read: %m", path);
        while ((entry = readdir(dir)) && all.n < GW_EDGE_PORTS_MAX) {
                size_t n = strlen(entry->d_name);

                if (n < 6 || strcmp(entry->d_name + n - 5, ".json") != 0)
                        continue;
                snprintf(path, sizeof path, "%s/ports/%s", nve->config.common.state_dir, entry->d_name);
                port_find(&all, path);
        }
        closedir(dir);
        ports_restore(&all);
        return nve_gateway_restore(nve, error);
}

int nve_state_restore(struct nve *nve, struct gw_error *error) {
        int r;

        nve->restoring = true;
        r = restore_files(nve, error);
        if (!r) {
                gw_datapath_port_each(nve->dp, adopt_port, nve);
                gw_datapath_member_each(nve->dp, adopt_member, nve);
                gw_datapath_fdb_each(nve->dp, adopt_fdb, nve);
                gw_datapath_neigh_each(nve->dp, adopt_neigh, nve);
        }
        nve->restoring = false;
        return r;
}
