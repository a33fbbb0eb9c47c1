/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lab writes the files an administrator would write, and starts the daemons as
 * an init would. Nothing else: whatever works here works with these files elsewhere.
 */
#include "lab/daemons.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/time.h"
#include "cli/client.h"
#include "cli/output.h"
#include "io/file.h"
#include "io/pki.h"
#include "lab/lab.h"
#include "lab/topology.h"

enum { NVA_PORT = 7460, CONFIG_MAX = 4096, PKI_DAYS = 90, POLL_MS = 50, TAIL_OCTETS = 600, KILL_MS = 5000 };

static const char *folder(const struct gw_lab *lab, const char *host, char *out) {
        if (!strcmp(host, "nva"))
                snprintf(out, GW_LAB_PATH, "%s/nva", lab->dir);
        else
                snprintf(out, GW_LAB_PATH, "%s/hosts/%s", lab->dir, host);
        return out;
}

const char *gw_daemons_log(const struct gw_lab *lab, const char *host, const char *daemon, char *out) {
        char dir[GW_LAB_PATH];

        snprintf(out, GW_LAB_PATH, "%.200s/%s.log", folder(lab, host, dir), daemon);
        return out;
}

void gw_daemons_log_tail(const char *path, char *out, unsigned long size) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        struct stat st;
        ssize_t n = 0;

        if (fd >= 0 && !fstat(fd, &st))
                n = pread(fd, out, size - 1, st.st_size > (off_t)size - 1 ? st.st_size - (off_t)size + 1 : 0);
        out[n > 0 ? n : 0] = 0;
        if (fd >= 0)
                close(fd);
}

static int write_config(const char *path, struct gw_error *error, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
static int write_config(const char *path, struct gw_error *error, const char *format, ...) {
        char text[CONFIG_MAX];
        va_list args;
        int n, r;

        va_start(args, format);
        n = vsnprintf(text, sizeof text, format, args);
        va_end(args);
        r = n < CONFIG_MAX ? gw_file_write(path, text, (size_t)n, 0640) : -EFBIG;
        return r < 0 ? gw_fail(error, r, "", "cannot write %s: %s", path, strerror(-r)) : 0;
}

/* What every daemon's file begins with. */
static const char *common(const struct gw_lab *lab, const struct gw_lab_options *o, const char *host,
                          const char *daemon, char *out) {
        char dir[GW_LAB_PATH];

        folder(lab, host, dir);
        snprintf(out, CONFIG_MAX / 2,
                 "id = %s\nstate-dir = %s/state/%s\nlog-level = %s\napi-socket = %s/%s.sock\n"
                 "tls-ca = %s/pki/ca.pem\ntls-cert = %s/pki/%s.pem\ntls-key = %s/pki/%s.key\n",
                 host, dir, daemon, o->log_level, dir, !strcmp(daemon, "nva") ? "api" : daemon, lab->dir, lab->dir,
                 host, lab->dir, host);
        return out;
}

static const char *nva_endpoint(const struct gw_lab *lab, char out[static GW_ENDPOINT_TEXT]) {
        char ip[GW_IP_TEXT];

        snprintf(out, GW_ENDPOINT_TEXT, lab->underlay == 4 ? "%.40s:%d" : "[%.40s]:%d", gw_lab_locator(lab, "nva", ip),
                 NVA_PORT);
        return out;
}

static int config_nva(const struct gw_lab *lab, const struct gw_lab_options *o, struct gw_error *error) {
        char path[GW_LAB_PATH], head[CONFIG_MAX / 2], endpoint[GW_ENDPOINT_TEXT];

        snprintf(path, sizeof path, "%s/nva/nva.conf", lab->dir);
        return write_config(path, error, "%slisten = %s\n", common(lab, o, "nva", "nva", head),
                            nva_endpoint(lab, endpoint));
}

static int config_host(const struct gw_lab *lab, const struct gw_lab_options *o, const char *host,
                       struct gw_error *error) {
        char dir[GW_LAB_PATH], path[GW_LAB_PATH + 16], head[CONFIG_MAX / 2], endpoint[GW_ENDPOINT_TEXT];
        char locator[GW_IP_TEXT];
        int r;

        folder(lab, host, dir);
        gw_lab_locator(lab, host, locator);
        nva_endpoint(lab, endpoint);
        snprintf(path, sizeof path, "%s/nve.conf", dir);
        r = write_config(path, error,
                         "%snva = %s\nlocator = %s\nunderlay-device = eth0\npin-dir = %s/bpf\n"
                         "agent-socket = %s/agent.sock\n",
                         common(lab, o, host, "nve", head), endpoint, locator, dir, dir);
        if (r)
                return r;
        snprintf(path, sizeof path, "%s/hv.conf", dir);
        return write_config(path, error,
                            "%snva = %s\nagent-socket = %s/agent.sock\nmigration-address = %s\naccelerator = %s\n"
                            "memory-mib = %u\nvcpus = %u\ndisk-dir = %s/disks\n%s%s\n",
                            common(lab, o, host, "hv", head), endpoint, dir, locator, o->accelerator, o->memory_mib,
                            o->vcpus, dir, *lab->user ? "qemu-user = " : "", lab->user);
}

static int issue(const struct gw_lab *lab, const char *host, struct gw_error *error) {
        char ca[GW_LAB_PATH], ca_key[GW_LAB_PATH], cert[GW_LAB_PATH], key[GW_LAB_PATH], locator[GW_IP_TEXT];
        const char *hosts[] = {gw_lab_locator(lab, host, locator)};
        struct gw_pki_request request = {
                .name = host, .hosts = hosts, .n_hosts = 1, .days = PKI_DAYS, .server = !strcmp(host, "nva")};

        snprintf(ca, sizeof ca, "%s/pki/ca.pem", lab->dir);
        snprintf(ca_key, sizeof ca_key, "%s/pki/ca.key", lab->dir);
        snprintf(cert, sizeof cert, "%s/pki/%s.pem", lab->dir, host);
        snprintf(key, sizeof key, "%s/pki/%s.key", lab->dir, host);
        if (!strcmp(host, "nva")) {
                int r = gw_pki_make_ca(ca, ca_key, "godwit-lab", PKI_DAYS, error);

                if (r)
                        return r;
        }
        return gw_pki_issue(ca, ca_key, cert, key, &request, error);
}

static int make_folders(const struct gw_lab *lab, const char *host, const char *const *daemons,
                        struct gw_error *error) {
        char dir[GW_LAB_PATH], path[GW_LAB_PATH + 32];
        int r = 0;

        for (size_t i = 0; !r && daemons[i]; i++) {
                snprintf(path, sizeof path, "%s/state/%s", folder(lab, host, dir), daemons[i]);
                r = gw_dir_make(path, 0700);
        }
        return r < 0 ? gw_fail(error, r, "", "cannot make %s: %s", path, strerror(-r)) : 0;
}

int gw_daemons_prepare(struct gw_lab *lab, const struct gw_lab_options *o, struct gw_error *error) {
        static const char *const of_nva[] = {"nva", NULL}, *const of_host[] = {"nve", "hv", NULL};
        char path[GW_LAB_PATH], host[16];
        int r;

        snprintf(path, sizeof path, "%s/pki", lab->dir);
        r = gw_dir_make(path, 0700);
        if (r < 0)
                return gw_fail(error, r, "", "cannot make %s: %s", path, strerror(-r));
        r = make_folders(lab, "nva", of_nva, error);
        if (!r)
                r = issue(lab, "nva", error);
        if (!r)
                r = config_nva(lab, o, error);
        for (unsigned i = 1; !r && i <= lab->hosts; i++) {
                snprintf(host, sizeof host, "h%u", i);
                r = make_folders(lab, host, of_host, error);
                if (!r)
                        r = issue(lab, host, error);
                if (!r)
                        r = config_host(lab, o, host, error);
                if (!r)
                        r = gw_topology_mount_bpf(lab, host, error);
        }
        return r;
}

static int check_daemon(const struct gw_lab *lab, const char *host, const char *daemon, struct gw_error *error) {
        bool nva = !strcmp(host, "nva");

        if (!nva && !gw_lab_has_host(lab, host))
                return gw_fail(error, GW_E_INVALID, "HOST", "there is no host \"%s\"; lab %s has nva and h1 to h%u",
                               host, lab->name, lab->hosts);
        if (strcmp(daemon, "nva") != 0 && strcmp(daemon, "nve") != 0 && strcmp(daemon, "hv") != 0)
                return gw_fail(error, GW_E_INVALID, "DAEMON", "\"%s\" is no daemon; it must be nva, nve or hv", daemon);
        if (nva != !strcmp(daemon, "nva"))
                return gw_fail(error, GW_E_INVALID, "DAEMON",
                               "%s does not run at %s; nva runs at nva, nve and hv at "
                               "hosts",
                               daemon, host);
        return 0;
}

/* Whether the process has ended, which who signalled it need not have waited for: the kernel takes its time with what an edge holds. */
static bool wait_gone(const json_t *item) {
        for (unsigned waited_ms = 0; waited_ms < KILL_MS && gw_lab_process_alive(item); waited_ms++)
                usleep(1000);
        return !gw_lab_process_alive(item);
}

int gw_lab_start(struct gw_lab *lab, const char *host, const char *daemon, struct gw_error *error) {
        char name[32], program[GW_LAB_PATH], dir[GW_LAB_PATH], config[GW_LAB_PATH + 16], log[GW_LAB_PATH], netns[64];
        char *argv[] = {program, (char *)"--config", config, NULL};
        const json_t *item;
        int r = check_daemon(lab, host, daemon, error);

        if (r)
                return r;
        item = gw_manifest_find(&lab->manifest, "process", "host", host, "daemon", daemon);
        if (item && !wait_gone(item))
                return gw_fail(error, GW_E_CONFLICT, "", "%s runs at %s already", daemon, host);
        snprintf(name, sizeof name, "godwit-%s", daemon);
        r = gw_lab_program(name, program, error);
        if (r)
                return r;
        snprintf(config, sizeof config, "%s/%s.conf", folder(lab, host, dir), daemon);
        return gw_lab_process_start(&lab->manifest, host, daemon, gw_lab_netns(lab, host, netns), argv,
                                    gw_daemons_log(lab, host, daemon, log), error);
}

int gw_lab_kill(struct gw_lab *lab, const char *host, const char *daemon, int signal, struct gw_error *error) {
        const json_t *item;
        int r = check_daemon(lab, host, daemon, error);

        if (r)
                return r;
        item = gw_manifest_find(&lab->manifest, "process", "host", host, "daemon", daemon);
        if (!item || !gw_lab_process_alive(item))
                return gw_fail(error, GW_E_CONFLICT, "", "%s does not run at %s", daemon, host);
        r = gw_lab_process_signal(item, signal);
        /* Killed is gone. */
        if (r == 0 && signal == SIGKILL)
                wait_gone(item);
        return r < 0 ? gw_fail(error, r, "", "cannot signal %s at %s: %s", daemon, host, strerror(-r)) : 0;
}

int gw_daemons_start_all(struct gw_lab *lab, struct gw_error *error) {
        char host[16];
        int r = gw_lab_start(lab, "nva", "nva", error);

        for (unsigned i = 1; !r && i <= lab->hosts; i++) {
                snprintf(host, sizeof host, "h%u", i);
                r = gw_lab_start(lab, host, "nve", error);
                if (!r)
                        r = gw_lab_start(lab, host, "hv", error);
        }
        return r;
}

/* GW_E_CONFLICT when a daemon has ended, with the end of its log. */
static int check_alive(const struct gw_lab *lab, struct gw_error *error) {
        char tail[160];
        json_t *item;
        size_t i;

        json_array_foreach (gw_manifest_items(&lab->manifest), i, item) {
                if (strcmp(gw_member_text(item, "kind"), "process") != 0 || gw_lab_process_alive(item))
                        continue;
                gw_daemons_log_tail(gw_member_text(item, "log"), tail, sizeof tail);
                return gw_fail(error, GW_E_CONFLICT, "", "%s at %s has ended: ...%s", gw_member_text(item, "daemon"),
                               gw_member_text(item, "host"), tail);
        }
        return 0;
}

/* How many hosts have both sessions; the first that has not is named in *missing. */
static unsigned connected(struct gw_client *client, const struct gw_lab *lab, char missing[static 64]) {
        json_t *answer = NULL, *nve;
        unsigned n = 0;
        size_t i;

        snprintf(missing, 64, "the authority");
        if (gw_client_call(client, "GET", "/v1/nves?limit=1000", NULL, &answer, NULL))
                return 0;
        *missing = 0;
        json_array_foreach (gw_answer_list(answer), i, nve) {
                bool edge = json_is_true(json_object_get(nve, "nve_connected"));
                bool agent = json_is_true(json_object_get(nve, "hv_connected"));

                n += edge && agent;
                if (!*missing && !(edge && agent))
                        snprintf(missing, 64, "%s of %.20s", edge ? "the hypervisor agent" : "the edge",
                                 gw_member_text(nve, "id"));
        }
        if (!*missing && n < lab->hosts)
                snprintf(missing, 64, "%u of %u hosts", lab->hosts - n, lab->hosts);
        json_decref(answer);
        return n;
}

int gw_lab_wait(struct gw_lab *lab, unsigned limit_ms, struct gw_error *error) {
        struct gw_mono end = gw_mono_after(gw_mono_now(), gw_ms(limit_ms));
        struct gw_client *client;
        char missing[64];
        int r = gw_lab_client(lab, &client, error);

        while (!r && connected(client, lab, missing) < lab->hosts) {
                r = check_alive(lab, error);
                if (!r && gw_mono_reached(gw_mono_now(), end))
                        r = gw_fail(error, GW_E_AGAIN, "",
                                    "still not connected after %u s: %s; the logs are %s/nva/nva.log "
                                    "and %s/hosts/*/*.log",
                                    limit_ms / 1000, missing, lab->dir, lab->dir);
                if (!r)
                        usleep(POLL_MS * 1000);
        }
        gw_client_free(client);
        return r;
}
