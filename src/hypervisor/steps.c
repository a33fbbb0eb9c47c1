/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lists. What is chosen, and why:
 *
 * Every capability is set or unset each time, on both sides: an emulator may have
 * been through a move before, with other options.
 *
 * TLS: the objects are made anew for each copy, so that certificates which were
 * renewed meanwhile are read. The sender expects the receiver's id as the name in
 * its certificate, not its address; the receiver lets in only the id that it was
 * told, by the subject's first part ("CN=id", alone or before others; a comma in a
 * name is escaped and cannot pretend to end it). QEMU's own check of the
 * certificate it is given (sanity-check) is off: it wants key encipherment
 * permitted, which a certificate with an elliptic curve's key has no use for.
 *
 * Disks: the receiver serves its images over NBD before the copy starts, under the
 * names disk0, disk1, ..; the sender mirrors into them, in the background: a mirror
 * that has caught up once follows the guest's writes, and what it lacks at the cut
 * it sends while the VM stands still, as fast as it can. Not write-blocking: QEMU 7.2
 * does not live through the early end of such a mirror (decision 71).
 */
#include "hypervisor/steps.h"

#include <stdio.h>

#include "hypervisor/driver.h"

/* TLS 1.3 only, and of its ciphers the one that costs least where processors have AES (decision 53). */
#define PRIORITY "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305"
/* The guest waits while its emulator connects; without a limit that is as long as TCP tries. */
enum { OPEN_TIMEOUT_S = 3 };

#define CREDENTIALS "tls0"
#define WHO_MAY "authz0"

static void step(json_t *steps, bool may_fail, const char *command, json_t *arguments) {
        json_t *one = json_pack("{s:s}", "execute", command);

        if (arguments)
                json_object_set_new(one, "arguments", arguments);
        if (may_fail)
                json_object_set_new(one, "may_fail", json_true());
        json_array_append_new(steps, one);
}

/* Not the last one: what begins something is to find all before it done. */
static void at_once(json_t *steps) {
        json_object_set_new(json_array_get(steps, json_array_size(steps) - 1), "at_once", json_true());
}

/* Also when the emulator is stuck in another command. */
static void step_now(json_t *steps, bool may_fail, const char *command, json_t *arguments) {
        step(steps, may_fail, command, arguments);
        json_object_set_new(json_array_get(steps, json_array_size(steps) - 1), "now", json_true());
}

static void remove_object(json_t *steps, const char *id) {
        step(steps, true, "object-del", json_pack("{s:s}", "id", id));
        at_once(steps);
}

static void add_credentials(json_t *steps, const struct gw_vm_security *security, bool server) {
        remove_object(steps, CREDENTIALS);
        if (!security->tls_dir)
                return;
        step(steps, false, "object-add",
             json_pack("{s:s, s:s, s:s, s:s, s:b, s:b, s:s}", "qom-type", "tls-creds-x509", "id", CREDENTIALS, "dir",
                       security->tls_dir, "endpoint", server ? "server" : "client", "verify-peer", 1, "sanity-check", 0,
                       "priority", PRIORITY));
        at_once(steps);
}

static void add_who_may(json_t *steps, const struct gw_vm_security *security) {
        char exact[80], glob[80];

        remove_object(steps, WHO_MAY);
        if (!security->tls_dir)
                return;
        snprintf(exact, sizeof exact, "CN=%.70s", security->peer);
        snprintf(glob, sizeof glob, "CN=%.70s,*", security->peer);
        step(steps, false, "object-add",
             json_pack("{s:s, s:s, s:s, s:[{s:s, s:s, s:s}, {s:s, s:s, s:s}]}", "qom-type", "authz-list", "id", WHO_MAY,
                       "policy", "deny", "rules", "match", exact, "policy", "allow", "format", "exact", "match", glob,
                       "policy", "allow", "format", "glob"));
        at_once(steps);
}

static json_t *capability(const char *name, bool state) {
        return json_pack("{s:s, s:b}", "capability", name, "state", state);
}

static void set_capabilities(json_t *steps, const struct gw_copy_options *o) {
        json_t *list = json_array();

        json_array_append_new(list, capability("events", true));
        json_array_append_new(list, capability("pause-before-switchover", true));
        json_array_append_new(list, capability("xbzrle", o->xbzrle));
        json_array_append_new(list, capability("auto-converge", o->auto_converge));
        json_array_append_new(list, capability("multifd", o->multifd > 0));
        json_array_append_new(list, capability("postcopy-ram", o->post_copy));
        step(steps, false, "migrate-set-capabilities", json_pack("{s:o}", "capabilities", list));
        at_once(steps);
}

static json_t *parameters(const struct gw_copy_options *o, const struct gw_vm_security *security) {
        json_t *object = json_pack("{s:s}", "tls-creds", security->tls_dir ? CREDENTIALS : "");

        if (o->multifd)
                json_object_set_new(object, "multifd-channels", json_integer(o->multifd));
        return object;
}

static json_t *inet(const struct gw_endpoint *at) {
        char ip[GW_IP_TEXT], port[8];

        snprintf(port, sizeof port, "%u", at->port);
        return json_pack("{s:s, s:s}", "host", gw_ip_text(at->ip, ip), "port", port);
}

static void serve_disks(json_t *steps, const struct gw_vm_landing *landing) {
        json_t *server = json_pack("{s:{s:s, s:o}}", "addr", "type", "inet", "data", inet(&landing->nbd));
        char name[16];

        if (landing->security.tls_dir) {
                json_object_set_new(server, "tls-creds", json_string(CREDENTIALS));
                json_object_set_new(server, "tls-authz", json_string(WHO_MAY));
        }
        step(steps, true, "nbd-server-stop", NULL);
        step(steps, false, "nbd-server-start", server);
        for (unsigned i = 0; i < GW_DEFINITION_DISKS_MAX; i++) {
                if (!(landing->disks & 1U << i))
                        continue;
                snprintf(name, sizeof name, "disk%u", i);
                step(steps, false, "block-export-add",
                     json_pack("{s:s, s:s, s:s, s:s, s:b}", "type", "nbd", "id", name, "node-name", name, "name", name,
                               "writable", 1));
        }
}

json_t *gw_qemu_landing_steps(const struct gw_vm_landing *landing) {
        json_t *steps = json_array(), *p = parameters(&landing->options, &landing->security);

        step(steps, true, "migrate-set-parameters", json_pack("{s:s}", "tls-creds", ""));
        add_credentials(steps, &landing->security, true);
        add_who_may(steps, &landing->security);
        if (landing->security.tls_dir)
                json_object_set_new(p, "tls-authz", json_string(WHO_MAY));
        set_capabilities(steps, &landing->options);
        step(steps, false, "migrate-set-parameters", p);
        at_once(steps);
        if (landing->disks)
                serve_disks(steps, landing);
        step(steps, false, "migrate-incoming", json_pack("{s:s}", "uri", landing->uri));
        return steps;
}

json_t *gw_qemu_forget_keys_steps(void) {
        json_t *steps = json_array();

        step(steps, true, "migrate-set-parameters", json_pack("{s:s}", "tls-creds", ""));
        remove_object(steps, CREDENTIALS);
        remove_object(steps, WHO_MAY);
        return steps;
}

json_t *gw_qemu_migrate_steps(const struct gw_vm_migration *to) {
        json_t *steps = json_array(), *p = parameters(&to->options, &to->security);

        json_object_set_new(p, "max-bandwidth", json_integer((json_int_t)to->bandwidth_octets_s));
        json_object_set_new(p, "max-postcopy-bandwidth", json_integer((json_int_t)to->bandwidth_octets_s));
        json_object_set_new(p, "downtime-limit", json_integer((json_int_t)to->downtime_ms));
        json_object_set_new(p, "tls-hostname", json_string(to->security.tls_dir ? to->security.peer : ""));
        if (!to->disks) /* else the mirrors use them already */
                add_credentials(steps, &to->security, false);
        set_capabilities(steps, &to->options);
        step(steps, false, "migrate-set-parameters", p);
        at_once(steps);
        step(steps, false, "migrate", json_pack("{s:s}", "uri", to->uri));
        return steps;
}

static void mirror_disk(json_t *steps, const struct gw_vm_mirror *mirror, unsigned i) {
        char away[16], job[16], disk[16];
        json_t *server = inet(&mirror->to), *node;

        snprintf(away, sizeof away, "away%u", i);
        snprintf(job, sizeof job, "mirror%u", i);
        snprintf(disk, sizeof disk, "disk%u", i);
        json_object_set_new(server, "type", json_string("inet"));
        node = json_pack("{s:s, s:s, s:s, s:o, s:i}", "driver", "nbd", "node-name", away, "export", disk, "server",
                         server, "open-timeout", OPEN_TIMEOUT_S);
        if (mirror->security.tls_dir) {
                json_object_set_new(node, "tls-creds", json_string(CREDENTIALS));
                json_object_set_new(node, "tls-hostname", json_string(mirror->security.peer));
        }
        step(steps, false, "blockdev-add", node);
        step(steps, false, "blockdev-mirror",
             json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:s}", "job-id", job, "device", disk, "target", away,
                       "sync", "full", "copy-mode", "background", "speed", (json_int_t)mirror->bandwidth_octets_s,
                       "on-source-error", "report", "on-target-error", "report"));
}

json_t *gw_qemu_mirror_steps(const struct gw_vm_mirror *mirror) {
        json_t *steps = gw_qemu_mirror_clear_steps(mirror->disks);

        add_credentials(steps, &mirror->security, false);
        for (unsigned i = 0; i < GW_DEFINITION_DISKS_MAX; i++)
                if (mirror->disks & 1U << i)
                        mirror_disk(steps, mirror, i);
        return steps;
}

/* What was sent and is not answered, because the link or the other host is dead, would be waited for: by the mirror's end,
 * and by whatever has all of QEMU's disks come to rest. */
static void hang_up(json_t *steps, unsigned disk) {
        char away[16];

        snprintf(away, sizeof away, "away%u", disk);
        step_now(steps, true, "yank",
                 json_pack("{s:[{s:s, s:s}]}", "instances", "type", "block-node", "node-name", away));
}

json_t *gw_qemu_hang_up_steps(unsigned disks) {
        json_t *steps = json_array();

        for (unsigned i = 0; i < GW_DEFINITION_DISKS_MAX; i++)
                if (disks & 1U << i)
                        hang_up(steps, i);
        return steps;
}

json_t *gw_qemu_mirror_end_steps(unsigned disks, bool force) {
        json_t *steps = json_array();
        char job[16];

        for (unsigned i = 0; i < GW_DEFINITION_DISKS_MAX; i++) {
                if (!(disks & 1U << i))
                        continue;
                snprintf(job, sizeof job, "mirror%u", i);
                if (force)
                        hang_up(steps, i);
                else /* what is left goes while the VM stands still */
                        step(steps, true, "block-job-set-speed", json_pack("{s:s, s:i}", "device", job, "speed", 0));
                step(steps, force, "block-job-cancel", json_pack("{s:s, s:b}", "device", job, "force", force));
        }
        return steps;
}

json_t *gw_qemu_mirror_clear_steps(unsigned disks) {
        json_t *steps = json_array();
        char away[16];

        for (unsigned i = 0; i < GW_DEFINITION_DISKS_MAX; i++) {
                if (!(disks & 1U << i))
                        continue;
                snprintf(away, sizeof away, "away%u", i);
                step(steps, true, "blockdev-del", json_pack("{s:s}", "node-name", away));
        }
        return steps;
}

/* A target whose VM waits for a page that does not come answers nothing else than what passes by. migrate-pause: a side
 * that has written nothing does not know yet that the connection is lost. */
json_t *gw_qemu_break_off_steps(void) {
        json_t *steps = json_array();

        step_now(steps, false, "migrate-pause", NULL);
        return steps;
}

json_t *gw_qemu_recover_steps(const char *uri) {
        json_t *steps = json_array();

        step_now(steps, true, "migrate-pause", NULL);
        step_now(steps, false, "migrate-recover", json_pack("{s:s}", "uri", uri));
        return steps;
}

json_t *gw_qemu_reconnect_steps(const char *uri) {
        json_t *steps = json_array();

        step(steps, false, "migrate", json_pack("{s:s, s:b}", "uri", uri, "resume", 1));
        return steps;
}
