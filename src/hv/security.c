/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU takes a folder with files of fixed names for certificates. One is made in
 * state-dir, of links to the files this agent is configured with: a renewed
 * certificate is used by the next copy. The same certificate serves both roles,
 * since every host sends and receives.
 *
 * dh-params.pem holds the group ffdhe2048 of RFC 7919 (appendix A.1). TLS 1.3 has
 * no use for the file, but a QEMU 7.2 that is to receive looks for it, and computes
 * a group of its own when there is none: up to a second and more at each move
 * (decision 53).
 *
 * An emulator that runs as another user gets copies that it alone can reach, for as long as the command takes that reads
 * them; it has the key in its memory from then on (docs/security.md).
 *
 * Both sides must agree. The target says whether it takes TLS only; the source
 * does not send in the clear what its operator wants protected, nor to a host
 * whose certificate has another name than the one the authority said.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "hv/hv.h"
#include "io/file.h"

enum { FILE_MAX_OCTETS = 1 << 20 };

/* Where an emulator with a user of its own finds copies of them, in the VM's folder, and only while it reads them. */
#define LENT "tls"
static const char *const lent[] = {"ca-cert.pem",   "server-cert.pem", "client-cert.pem",
                                   "dh-params.pem", "server-key.pem",  "client-key.pem"};

static int make_link(const struct hv *hv, const char *name, const char *file) {
        char path[sizeof hv->tls_dir + 24];

        snprintf(path, sizeof path, "%s/%s", hv->tls_dir, name);
        if (unlink(path) < 0 && errno != ENOENT)
                return -errno;
        return symlink(file, path) < 0 ? -errno : 0;
}

static const char DH_PARAMS[] = "-----BEGIN DH PARAMETERS-----\n"
                                "MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz\n"
                                "+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a\n"
                                "87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7\n"
                                "YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi\n"
                                "7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD\n"
                                "ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==\n"
                                "-----END DH PARAMETERS-----\n";

static int write_group(const struct hv *hv) {
        char path[sizeof hv->tls_dir + 24];

        snprintf(path, sizeof path, "%s/dh-params.pem", hv->tls_dir);
        return gw_file_write(path, DH_PARAMS, sizeof DH_PARAMS - 1, 0644);
}

int hv_security_init(struct hv *hv) {
        const struct gw_conf_common *c = &hv->config->common;
        const char *const links[][2] = {{"ca-cert.pem", c->tls_ca},
                                        {"server-cert.pem", c->tls_cert},
                                        {"client-cert.pem", c->tls_cert},
                                        {"server-key.pem", c->tls_key},
                                        {"client-key.pem", c->tls_key}};
        int r = 0;

        if (strcmp(hv->config->migration_tls, "on") != 0) {
                gw_log(GW_NOTICE, "migration-tls is off: memory and disks of VMs that move can be read on the way");
                return 0;
        }
        snprintf(hv->tls_dir, sizeof hv->tls_dir, "%s/tls", c->state_dir);
        r = gw_dir_make(hv->tls_dir, 0700);
        for (size_t i = 0; r == 0 && i < sizeof links / sizeof *links; i++)
                r = make_link(hv, links[i][0], links[i][1]);
        return r == 0 ? write_group(hv) : r;
}

/* By the name that its emulator knows the folder by. */
struct gw_vm_security hv_security_of(const struct hv_vm *vm) {
        const char *dir = vm->record.uid ? LENT : vm->hv->tls_dir;

        return (struct gw_vm_security){vm->record.move.tls ? dir : NULL, vm->record.move.peer_id.s};
}

/* ---- for emulators with a user of their own ---- */

static void lent_path(const struct hv_vm *vm, const char *name, char out[static PATH_MAX]) {
        snprintf(out, PATH_MAX, "%s/vm/%s/" LENT "%s%s", vm->hv->config->common.state_dir, vm->record.id.s,
                 *name ? "/" : "", name);
}

static int write_all(int fd, const char *bytes, size_t size) {
        ssize_t n = write(fd, bytes, size);

        return n == (ssize_t)size ? 0 : n < 0 ? -errno : -ENOSPC;
}

/* Not synced: it does not outlive the command that it is for. */
static int lend_file(const struct hv_vm *vm, const char *name) {
        char from[sizeof vm->hv->tls_dir + 24], to[PATH_MAX], *bytes = NULL;
        size_t size;
        int fd, r;

        snprintf(from, sizeof from, "%s/%s", vm->hv->tls_dir, name);
        lent_path(vm, name, to);
        r = gw_file_read(from, FILE_MAX_OCTETS, &bytes, &size);
        if (r < 0)
                return r;
        unlink(to);
        fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
        r = fd < 0 ? -errno : write_all(fd, bytes, size);
        if (r == 0 && fchown(fd, vm->record.uid, vm->record.gid) < 0)
                r = -errno;
        if (fd >= 0)
                close(fd);
        OPENSSL_cleanse(bytes, size);
        free(bytes);
        return r;
}

int hv_security_lend(const struct hv_vm *vm, struct gw_error *error) {
        char folder[PATH_MAX];
        int r;

        if (!vm->record.uid || !vm->record.move.tls)
                return 0;
        lent_path(vm, "", folder);
        r = gw_dir_make(folder, 0711);
        if (r == 0 && chmod(folder, 0711) < 0) /* one that an older agent made under another umask */
                r = -errno;
        for (size_t i = 0; r == 0 && i < sizeof lent / sizeof *lent; i++)
                r = lend_file(vm, lent[i]);
        if (r == 0)
                return 0;
        hv_security_take_back(vm);
        return gw_fail(error, r, "", "cannot lend the certificates to the emulator in %s: %s", folder, strerror(-r));
}

void hv_security_forget(const struct hv_vm *vm) {
        if (vm->record.move.tls && vm->machine)
                vm->machine->driver->forget_keys(vm->machine);
}

void hv_security_take_back(const struct hv_vm *vm) {
        char path[PATH_MAX];

        if (!vm->record.uid)
                return;
        for (size_t i = 0; i < sizeof lent / sizeof *lent; i++) {
                lent_path(vm, lent[i], path);
                if (unlink(path) < 0 && errno != ENOENT)
                        gw_log(GW_ERR, "vm=%s cannot take %s back: %s", vm->record.id.s, path, strerror(errno));
        }
}
