/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which accelerator VMs get. `auto` is decided once per boot of the host, by
 * booting a kernel under KVM, and the verdict is kept in state-dir: nested
 * virtualisation may come and go with a reboot, not without one.
 */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "hv/hv.h"
#include "hypervisor/kvm.h"
#include "io/file.h"

static void verdict_path(const struct hv *hv, char *out, size_t size) {
        snprintf(out, size, "%s/accelerator.json", hv->config->common.state_dir);
}

static bool remembered(struct hv *hv) {
        char path[512];
        json_t *object = NULL;
        const char *boot, *word;

        verdict_path(hv, path, sizeof path);
        if (gw_file_read_json(path, 4096, &object, NULL))
                return false;
        boot = json_string_value(json_object_get(object, "boot"));
        word = json_string_value(json_object_get(object, "accelerator"));
        if (boot && word && strcmp(boot, hv->boot) == 0)
                hv->accelerator = strcmp(word, "kvm") == 0 ? HV_ACCELERATOR_KVM : HV_ACCELERATOR_TCG;
        json_decref(object);
        return hv->accelerator != HV_ACCELERATOR_UNKNOWN;
}

static void remember(struct hv *hv, const char *reason) {
        char path[512];
        json_t *object = json_pack("{s:s, s:s, s:s}", "boot", hv->boot, "accelerator",
                                   hv->accelerator == HV_ACCELERATOR_KVM ? "kvm" : "tcg", "reason", reason);

        verdict_path(hv, path, sizeof path);
        if (gw_file_write_json(path, object, 0600) < 0)
                gw_log(GW_WARNING, "cannot write %s; KVM will be tried again at the next start", path);
        json_decref(object);
}

static void on_verdict(bool works, const char *reason, void *user) {
        struct hv *hv = user;

        hv->accelerator = works ? HV_ACCELERATOR_KVM : HV_ACCELERATOR_TCG;
        gw_log(GW_NOTICE, "accelerator=%s: %s", works ? "kvm" : "tcg", reason);
        remember(hv, reason);
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

static void decide(struct hv *hv, const char *reason) {
        hv->accelerator = HV_ACCELERATOR_TCG;
        gw_log(GW_NOTICE, "accelerator=tcg: %s", reason);
}

void hv_accelerator_start(struct hv *hv) {
        const char *word = hv->config->accelerator;
        char kernel[512];

        if (strcmp(word, "auto")) {
                hv->accelerator = strcmp(word, "kvm") == 0 ? HV_ACCELERATOR_KVM : HV_ACCELERATOR_TCG;
                return;
        }
        if (remembered(hv))
                return;
        if (access("/dev/kvm", R_OK | W_OK) < 0)
                decide(hv, "no /dev/kvm that may be used");
        else if (!find_kernel(kernel, sizeof kernel))
                decide(hv, "no kernel in /boot to try KVM with; set accelerator = kvm if it is known to work");
        else if (gw_kvm_probe_new(&hv->probe, hv->loop->event, hv->config->qemu, kernel, hv->config->common.state_dir,
                                  on_verdict, hv) < 0)
                decide(hv, "the probe of KVM could not be run");
}
