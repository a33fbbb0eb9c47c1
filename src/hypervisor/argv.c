/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line. What is chosen, and why:
 *
 * -nodefaults -no-user-config: only what is written here exists, so both ends
 * of a move have the same devices in the same slots.
 * -cpu: a fixed model. "host" or "max" differ between machines, and a guest that
 * has seen an instruction keeps using it after the move. enforce: what this host
 * cannot give is refused here, not left out.
 * -sandbox: a guest that breaks out of its emulator cannot start programs.
 * -blockdev takes JSON, which no path can break out of. discard: what a guest, or
 * a mirror, says is empty takes no room.
 * tap descriptors keep their numbers. romfile= : no option ROM, nobody boots
 * from the network, and one thing less that must be equal on both ends.
 * host_mtu: the guest learns the overlay's MTU from the device itself.
 * rx_queue_size: what arrives while a guest warms up after a move must fit.
 * Control socket and console are descriptors: an emulator that has a user of its own needs no folder to write in. The
 * console's path stands beside its descriptor for those who look for an emulator that nobody has written down.
 * -m under emulation (tcg): a little less than asked, see add_memory().
 */
#include "hypervisor/argv.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/driver.h"

static const char DEFAULT_CPU[] = "Nehalem";
static const char SANDBOX[] = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

static void push(struct gw_argv *argv, char *text) {
        if (!text || argv->failed) {
                argv->failed = argv->failed ? argv->failed : -ENOMEM;
                free(text);
                return;
        }
        if (argv->n + 2 > argv->size) {
                size_t size = argv->size ? argv->size * 2 : 64;
                char **grown = realloc(argv->v, size * sizeof *grown);

                if (!grown) {
                        argv->failed = -ENOMEM;
                        free(text);
                        return;
                }
                argv->v = grown;
                argv->size = size;
        }
        argv->v[argv->n++] = text;
        argv->v[argv->n] = NULL;
}

void gw_argv_add(struct gw_argv *argv, const char *format, ...) {
        va_list args;
        char *text;
        int n;

        va_start(args, format);
        n = vasprintf(&text, format, args);
        va_end(args);
        push(argv, n < 0 ? NULL : text);
}

void gw_argv_deinit(struct gw_argv *argv) {
        for (size_t i = 0; i < argv->n; i++)
                free(argv->v[i]);
        free(argv->v);
        *argv = (struct gw_argv){0};
}

/* QEMU's option lists end a value at a comma; a doubled one stands for itself. */
static void add_escaped(struct gw_argv *argv, const char *head, const char *value, const char *tail) {
        size_t room = strlen(head) + 2 * strlen(value) + strlen(tail) + 1;
        char *text = malloc(room), *at = text;

        if (text) {
                at = stpcpy(at, head);
                for (const char *c = value; *c; c++) {
                        *at++ = *c;
                        if (*c == ',')
                                *at++ = ',';
                }
                strcpy(at, tail);
        }
        push(argv, text);
}

static void add_disk(struct gw_argv *argv, const struct gw_definition_disk *disk, size_t i) {
        char node[32];
        json_t *object;

        snprintf(node, sizeof node, "disk%zu", i);
        object = json_pack("{s:s, s:s, s:s, s:{s:s, s:s, s:s}}", "driver", disk->format, "node-name", node, "discard",
                           "unmap", "file", "driver", "file", "filename", disk->path, "discard", "unmap");
        gw_argv_add(argv, "-blockdev");
        push(argv, object ? json_dumps(object, JSON_COMPACT) : NULL);
        json_decref(object);
        gw_argv_add(argv, "-device");
        gw_argv_add(argv, "virtio-blk-pci,drive=%s,id=blk%zu", node, i);
}

static void add_port(struct gw_argv *argv, const struct gw_definition *d, size_t i, int fd) {
        const struct gw_definition_port *port = &d->ports[i];
        bool other = d->nic_model[0] && strcmp(d->nic_model, GW_NIC_VIRTIO);
        char mac[GW_MAC_TEXT], mtu[32] = "";

        if (port->mtu_octets)
                snprintf(mtu, sizeof mtu, ",host_mtu=%u", port->mtu_octets);
        gw_argv_add(argv, "-netdev");
        gw_argv_add(argv, "tap,id=n%zu,fd=%d", i, fd);
        gw_argv_add(argv, "-device");
        gw_argv_add(argv, "%s,netdev=n%zu,mac=%s,id=nic%zu,romfile=%s%s", other ? d->nic_model : "virtio-net-pci", i,
                    gw_mac_text(port->mac, mac), i, other ? "" : ",rx_queue_size=1024", other ? "" : mtu);
}

/*
 * Where a block of memory is a multiple of 64 pages QEMU 7.2 takes its dirty bits a word at a time, and forgets to tell the
 * emulated processor, which goes on writing to pages it has just used without a record: a moved guest finds old memory
 * (decision 70). Of a block that ends in between it takes each page, and does tell. 8 KiB: QEMU rounds sizes to that.
 */
static void add_memory(struct gw_argv *argv, const struct gw_vm_start *start) {
        enum { ODD_KIB = 8 };

        gw_argv_add(argv, "-m");
        gw_argv_add(argv, "%lluK", start->definition->memory_mib * 1024ULL - (start->kvm ? 0 : ODD_KIB));
}

static void add_machine(struct gw_argv *argv, const struct gw_vm_start *start) {
        const struct gw_definition *d = start->definition;

        gw_argv_add(argv, "-name");
        gw_argv_add(argv, "%s", d->id.s);
        gw_argv_add(argv, "-nodefaults");
        gw_argv_add(argv, "-no-user-config");
        gw_argv_add(argv, "-nographic");
        gw_argv_add(argv, "-sandbox");
        gw_argv_add(argv, "%s", SANDBOX);
        gw_argv_add(argv, "-machine");
        gw_argv_add(argv, "pc");
        gw_argv_add(argv, "-accel");
        gw_argv_add(argv, "%s", start->kvm ? "kvm" : "tcg");
        gw_argv_add(argv, "-cpu");
        gw_argv_add(argv, "%s,enforce", d->cpu_model[0] ? d->cpu_model : DEFAULT_CPU);
        add_memory(argv, start);
        gw_argv_add(argv, "-smp");
        gw_argv_add(argv, "%u", d->vcpus);
}

static void add_boot(struct gw_argv *argv, const struct gw_definition *d) {
        const char *pairs[][2] = {{"-kernel", d->kernel}, {"-initrd", d->initrd}, {"-append", d->cmdline}};

        for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
                if (d->kernel[0] && pairs[i][1][0]) {
                        gw_argv_add(argv, "%s", pairs[i][0]);
                        gw_argv_add(argv, "%s", pairs[i][1]);
                }
}

void gw_argv_add_file(struct gw_argv *argv, int fd, int set, const char *path) {
        char head[64];

        snprintf(head, sizeof head, "fd=%d,set=%d,opaque=", fd, set);
        gw_argv_add(argv, "-add-fd");
        add_escaped(argv, head, path, "");
}

static void add_control(struct gw_argv *argv, const struct gw_vm_start *start, const struct gw_argv_fds *fds) {
        enum { CONSOLE_SET = 1 };
        char path[4096];

        if (strlen(start->directory) + sizeof "/" GW_QEMU_QMP_FILE > GW_QMP_PATH_MAX)
                argv->failed = -ENAMETOOLONG;
        snprintf(path, sizeof path, "%s/" GW_QEMU_CONSOLE_FILE, start->directory);
        gw_argv_add_file(argv, fds->console, CONSOLE_SET, path);
        gw_argv_add(argv, "-chardev");
        gw_argv_add(argv, "file,id=serial0,path=/dev/fdset/%d,append=on", CONSOLE_SET);
        gw_argv_add(argv, "-serial");
        gw_argv_add(argv, "chardev:serial0");
        gw_argv_add(argv, "-chardev");
        gw_argv_add(argv, "socket,id=qmp0,fd=%d,server=on,wait=off", fds->qmp);
        gw_argv_add(argv, "-mon");
        gw_argv_add(argv, "chardev=qmp0,mode=control");
}

/* The gate reads its environment once and removes it again. */
static void add_tap_gate(struct gw_argv *argv, const struct gw_vm_start *start, int userfault) {
        char fds[256] = "";
        size_t at = 0;

        for (size_t i = 0; i < start->definition->n_ports && at < sizeof fds - 12; i++)
                at += (size_t)snprintf(fds + at, sizeof fds - at, "%s%d", i ? "," : "", start->tap_fds[i]);
        gw_argv_add(argv, "env");
        gw_argv_add(argv, "LD_PRELOAD=%s", start->tap_gate);
        gw_argv_add(argv, "GODWIT_TAP_FDS=%s", fds);
        if (userfault >= 0)
                gw_argv_add(argv, "GODWIT_USERFAULT_FD=%d", userfault);
}

int gw_argv_build(struct gw_argv *argv, const struct gw_vm_start *start, const struct gw_argv_fds *fds) {
        const struct gw_definition *d = start->definition;

        *argv = (struct gw_argv){0};
        if (start->tap_gate)
                add_tap_gate(argv, start, fds->userfault);
        gw_argv_add(argv, "%s", start->emulator);
        add_machine(argv, start);
        add_boot(argv, d);
        for (size_t i = 0; i < d->n_disks; i++)
                add_disk(argv, &d->disks[i], i);
        for (size_t i = 0; i < d->n_ports; i++)
                add_port(argv, d, i, start->tap_fds[i]);
        add_control(argv, start, fds);
        if (start->held)
                gw_argv_add(argv, "-S");
        if (start->incoming) {
                gw_argv_add(argv, "-incoming");
                gw_argv_add(argv, "defer");
        }
        return argv->failed;
}
