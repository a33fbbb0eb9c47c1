/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading QEMU's command line. An option is "-name value" or "-name" alone;
 * which of the two is told by whether the next argument starts with a dash, as
 * no value that a hypervisor driver writes does. Values are "head,key=value,..."
 * lists; a comma inside a value is written twice.
 */
#include "synth/args.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Copies the value of `key=` (or, with key NULL, the head of the list) without its doubled commas. */
static bool list_value(const char *list, const char *key, char *out, size_t size) {
        size_t n_key = key ? strlen(key) : 0, n = 0;
        bool first = true;

        for (const char *at = list; *at; first = false) {
                bool wanted = key ? strncmp(at, key, n_key) == 0 && at[n_key] == '=' : first;

                if (wanted && key)
                        at += n_key + 1;
                for (; *at && (*at != ',' || at[1] == ','); at++) {
                        if (*at == ',')
                                at++;
                        if (wanted && n + 1 < size)
                                out[n++] = *at;
                }
                if (wanted) {
                        out[n] = '\0';
                        return true;
                }
                if (*at == ',')
                        at++;
        }
        return false;
}

/* "key=value" among words separated by spaces. */
static bool word_value(const char *words, const char *key, char *out, size_t size) {
        size_t n_key = strlen(key);

        for (const char *at = words; *at;) {
                size_t n = strcspn(at, " ");

                if (n > n_key && strncmp(at, key, n_key) == 0 && at[n_key] == '=' && n - n_key - 1 < size) {
                        memcpy(out, at + n_key + 1, n - n_key - 1);
                        out[n - n_key - 1] = '\0';
                        return true;
                }
                at += n;
                at += strspn(at, " ");
        }
        return false;
}

static bool complain(const char *what, const char *value) {
        fprintf(stderr, "godwit-synth: %s: %s\n", what, value);
        return false;
}

static bool take_netdev(struct synth_args *args, const char *value) {
        char kind[16], fd[16];

        if (!list_value(value, NULL, kind, sizeof kind) || strcmp(kind, "tap") ||
            !list_value(value, "fd", fd, sizeof fd))
                return complain("-netdev must be tap,id=..,fd=N", value);
        if (args->n_ports == SYNTH_PORTS_MAX)
                return complain("too many ports", value);
        args->ports[args->n_ports++].fd = atoi(fd);
        return true;
}

static bool take_device(struct synth_args *args, const char *value) {
        char kind[32], mac[32];

        if (!list_value(value, NULL, kind, sizeof kind) || strcmp(kind, "virtio-net-pci"))
                return true;
        if (args->n_devices == SYNTH_PORTS_MAX || !list_value(value, "mac", mac, sizeof mac) ||
            gw_mac_parse(mac, &args->ports[args->n_devices].mac))
                return complain("-device virtio-net-pci needs mac=", value);
        args->n_devices++;
        return true;
}

static bool take_append(struct synth_args *args, const char *value) {
        char number[16];

        if (!word_value(value, "guest", args->guest, sizeof args->guest))
                return complain("-append needs guest=SOCKET, the keeper's", value);
        if (word_value(value, "pause_ms", number, sizeof number))
                args->pause_ms = (unsigned)strtoul(number, NULL, 10);
        if (word_value(value, "copy_ms", number, sizeof number))
                args->copy_ms = (unsigned)strtoul(number, NULL, 10);
        return true;
}

/* A socket is the control socket's. */
static bool take_chardev(struct synth_args *args, const char *value) {
        char kind[16], fd[16];

        if (!list_value(value, NULL, kind, sizeof kind) || strcmp(kind, "socket"))
                return true;
        if (!list_value(value, "fd", fd, sizeof fd))
                return complain("-chardev socket needs fd=", value);
        args->qmp = atoi(fd);
        return true;
}

static bool take(struct synth_args *args, const char *option, const char *value) {
        if (strcmp(option, "-netdev") == 0)
                return take_netdev(args, value);
        if (strcmp(option, "-device") == 0)
                return take_device(args, value);
        if (strcmp(option, "-append") == 0)
                return take_append(args, value);
        if (strcmp(option, "-chardev") == 0)
                return take_chardev(args, value);
        if (strcmp(option, "-name") == 0)
                snprintf(args->name, sizeof args->name, "%s", value);
        if (strcmp(option, "-S") == 0)
                args->held = true;
        if (strcmp(option, "-incoming") == 0)
                args->incoming = true;
        return true;
}

bool synth_args_parse(struct synth_args *args, int argc, char **argv) {
        *args = (struct synth_args){.qmp = -1};
        for (int i = 1; i < argc; i++) {
                bool has_value = i + 1 < argc && argv[i + 1][0] != '-';

                if (argv[i][0] != '-')
                        return complain("unexpected argument", argv[i]);
                if (!take(args, argv[i], has_value ? argv[i + 1] : ""))
                        return false;
                i += has_value;
        }
        if (args->qmp < 0 || !args->guest[0])
                return complain("needed", "-chardev socket,fd=N,... and -append guest=SOCKET");
        if (args->n_devices != args->n_ports)
                return complain("each -netdev needs its -device", args->name);
        return true;
}
