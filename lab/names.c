/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the things of a lab are called, and where files are found. A host is "h1".."hN";
 * "nva" and "net" (the underlay's switch) have namespaces too; any other name is a
 * namespace guest.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/client.h"
#include "lab/lab.h"

static unsigned host_number(const char *host) {
        char *end;
        unsigned long n;

        if (host[0] != 'h' || host[1] < '1' || host[1] > '9')
                return 0;
        n = strtoul(host + 1, &end, 10);
        return *end || n > GW_LAB_HOSTS_MAX ? 0 : (unsigned)n;
}

bool gw_lab_has_host(const struct gw_lab *lab, const char *host) {
        unsigned n = host_number(host);

        return n && n <= lab->hosts;
}

const char *gw_lab_netns(const struct gw_lab *lab, const char *host, char out[static 64]) {
        bool guest = !host_number(host) && strcmp(host, "nva") != 0 && strcmp(host, "net") != 0;

        snprintf(out, 64, "gw-%s-%s%s", lab->name, guest ? "g-" : "", host);
        return out;
}

const char *gw_lab_locator(const struct gw_lab *lab, const char *host, char out[static GW_IP_TEXT]) {
        unsigned n = host_number(host) ? host_number(host) : 254;

        snprintf(out, GW_IP_TEXT, lab->underlay == 4 ? "10.99.0.%u" : "fd99::%u", n);
        return out;
}

void gw_lab_api(const char *name, char out[static GW_LAB_PATH]) {
        snprintf(out, GW_LAB_PATH, GW_LAB_ROOT "/%s/nva/api.sock", name);
}

int gw_lab_client(const struct gw_lab *lab, struct gw_client **out, struct gw_error *error) {
        char api[GW_LAB_PATH];
        struct gw_client_options options = {.api = api};

        gw_lab_api(lab->name, api);
        return gw_client_new(out, &options, error);
}

size_t gw_lab_list(char names[][GW_LAB_NAME_MAX + 1], size_t max) {
        DIR *root = opendir(GW_LAB_ROOT);
        struct dirent *entry;
        size_t n = 0;

        while (root && (entry = readdir(root))) {
                if (*entry->d_name == '.' || strlen(entry->d_name) > GW_LAB_NAME_MAX)
                        continue;
                if (n < max)
                        strcpy(names[n], entry->d_name);
                n++;
        }
        if (root)
                closedir(root);
        return n;
}

/* The folder of this program, without a final slash. */
static int own_folder(char out[static GW_LAB_PATH]) {
        ssize_t n = readlink("/proc/self/exe", out, GW_LAB_PATH - 1);
        char *slash;

        if (n < 0)
                return -errno;
        out[n] = 0;
        slash = strrchr(out, '/');
        *slash = 0;
        return 0;
}

/* "godwit-nva" is beside this program when installed; in the build tree it is in src/nva, and this program in
 * src/cli. Files of the laboratory ("lab/guest/build.sh") are in the source tree, the parent of the build tree, or
 * in share/godwit. */
int gw_lab_program(const char *name, char out[static GW_LAB_PATH], struct gw_error *error) {
        const char *part = strchr(name, '-') ? strchr(name, '-') + 1 : name;
        char folder[GW_LAB_PATH];
        int r = own_folder(folder);

        if (r < 0)
                return gw_fail(error, r, "", "cannot tell where this program is: %s", strerror(-r));
        for (int place = 0; place < 5; place++) {
                int n = place == 0   ? snprintf(out, GW_LAB_PATH, "%s/%s", folder, name)
                        : place == 1 ? snprintf(out, GW_LAB_PATH, "%s/../%s/%s", folder, part, name)
                        : place == 2 ? snprintf(out, GW_LAB_PATH, "%s/../../lab/%s/%s", folder, part, name)
                        : place == 3 ? snprintf(out, GW_LAB_PATH, "%s/../../../%s", folder, name)
                                     : snprintf(out, GW_LAB_PATH, "%s/../share/godwit/%s", folder, name);

                if (n < GW_LAB_PATH && access(out, X_OK) == 0)
                        return 0;
        }
        return gw_fail(error, GW_E_CONFLICT, "",
                       "%s is not where this program (in %s) looks for it; build or install it", name, folder);
}
