/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which accelerator VMs get. `auto` is decided once per boot of the host, by
 * booting a kernel under KVM, and the verdict is kept in RUN_DIR: nested
 * virtualisation may come and go with a reboot, not without one. Several agents
 * on one host (a laboratory) share the verdict; a lock lets one of them try.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "hv/hv.h"
#include "hypervisor/kvm.h"
#include "io/file.h"

#define RUN_DIR "/run/godwit"
#define VERDICT_FILE RUN_DIR "/accelerator.json"
#define LOCK_FILE RUN_DIR "/accelerator.lock"

enum { WAIT_MS = 200 };

static bool remembered(struct hv *hv) {
        json_t *object = NULL;
        const char *boot, *word;

        if (gw_file_read_json(VERDICT_FILE, 4096, &object, NULL))
                return false;
        boot = json_string_value(json_object_get(object, "boot"));
        word = json_string_value(json_object_get(object, "accelerator"));
        if (boot && word && strcmp(boot, hv->boot) == 0)
                hv->accelerator = strcmp(word, "kvm") == 0 ? HV_ACCELERATOR_KVM : HV_ACCELERATOR_TCG;
        json_decref(object);
        return hv->accelerator != HV_ACCELERATOR_UNKNOWN;
}

static void remember(struct hv *hv, const char *reason) {
        json_t *object = json_pack("{s:s, s:s, s:s}", "boot", hv->boot, "accelerator",
                                   hv->accelerator == HV_ACCELERATOR_KVM ? "kvm" : "tcg", "reason", reason);

        if (gw_file_write_json(VERDICT_FILE, object, 0644) < 0)
                gw_log(GW_WARNING, "cannot write " VERDICT_FILE "; KVM will be tried again at the next start");
        json_decref(object);
}

/* Others may try. */
static void end_turn(struct hv *hv) {
        if (hv->probe_lock >= 0)
                close(hv->probe_lock);
        hv->probe_lock = -1;
}

static void on_verdict(bool works, const char *reason, void *user) {
        struct hv *hv = user;

        hv->accelerator = works ? HV_ACCELERATOR_KVM : HV_ACCELERATOR_TCG;
        gw_log(GW_NOTICE, "accelerator=%s: %s", works ? "kvm" : "tcg", reason);
        remember(hv, reason);
        end_turn(hv);
        hv_start_waiting(hv);
}

/* The newest kernel of this host, which a guest could be given as well. */
static bool find_kernel(char *out, size_t size) {
        struct dirent *entry;
        char best[256] = "";
        DIR *dir = opendir("/boot");

        if (!dir)
                return false;
        while ((entry = readdir(dir)))
                if (strncmp(entry->d_name, "vmlinuz-", 8) == 0 && strverscmp(entry->d_name, best) > 0)
                        snprintf(best, sizeof best, "%s", entry->d_name);
        closedir(dir);
        snprintf(out, size, "/boot/%s", best);
        return best[0] != '\0';
}

/* For this agent, until it starts anew. */
static void decide(struct hv *hv, const char *reason) {
        hv->accelerator = HV_ACCELERATOR_TCG;
        end_turn(hv);
        gw_log(GW_NOTICE, "accelerator=tcg: %s", reason);
}

static void on_wait_over(void *user) {
        struct hv *hv = user;

        hv_accelerator_start(hv);
        if (hv->accelerator != HV_ACCELERATOR_UNKNOWN)
                hv_start_waiting(hv);
}

/* True when this agent is the one to try; otherwise it will look again, or go on without a lock that cannot be had. */
static bool my_turn(struct hv *hv) {
        gw_dir_make(RUN_DIR, 0755);
        hv->probe_lock = open(LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (hv->probe_lock < 0 || flock(hv->probe_lock, LOCK_EX | LOCK_NB) == 0)
                return true;
        close(hv->probe_lock);
        hv->probe_lock = -1;
        gw_timer_free(hv->probe_wait);
        hv->probe_wait = NULL;
        return gw_timer_new(&hv->probe_wait, hv->loop, gw_ms(WAIT_MS), gw_ms(0), on_wait_over, hv) < 0;
}

/* Other agents' emulators may have another user, so what this one may is no part of the verdict. */
static bool may_open(const struct hv *hv, const char *path, int flags) {
        int fd = gw_user_open(&hv->user, path, flags | O_NONBLOCK);

        if (fd >= 0)
                close(fd);
        return fd >= 0;
}

/* It is our turn. */
static void try_kvm(struct hv *hv) {
        char kernel[512], reason[700];

        if (!find_kernel(kernel, sizeof kernel)) {
                decide(hv, "no kernel in /boot to try KVM with; set accelerator = kvm if it is known to work");
                return;
        }
        if (!may_open(hv, kernel, O_RDONLY)) {
                snprintf(reason, sizeof reason,
                         "%s, to try KVM with, cannot be read by %s; let that user, or set accelerator = kvm if it is "
                         "known to work",
                         kernel, hv->user.uid ? hv->user.name : "the agent");
                decide(hv, reason);
                return;
        }
        if (gw_kvm_probe_new(&hv->probe, hv->loop->event, hv->config->qemu, kernel, hv->config->common.state_dir,
                             hv_user(hv), on_verdict, hv) < 0)
                decide(hv, "the probe of KVM could not be run");
}

void hv_accelerator_start(struct hv *hv) {
        const char *word = hv->config->accelerator;

        if (strcmp(word, "auto")) {
                hv->accelerator = strcmp(word, "kvm") == 0 ? HV_ACCELERATOR_KVM : HV_ACCELERATOR_TCG;
                return;
        }
        if (!may_open(hv, "/dev/kvm", O_RDWR)) {
                decide(hv, "no /dev/kvm that may be used");
                return;
        }
        if (remembered(hv) || !my_turn(hv))
                return;
        if (remembered(hv)) /* by another, meanwhile */
                end_turn(hv);
        else
                try_kvm(hv);
}
